"""Recurrent layers over whole sequences, which start afresh wherever a sequence begins.

All are called alike: (memory, x f32[T,...,I], begins bool[T,...] where the memory is forgotten before the step) -> the
memory after each step. What is carried on is the last of it, what the next layer sees is `outputs` of it, and what a
first sequence starts from is `nothing`. Generation takes T = 1. Memory is f32[...,H]; an LSTM's is a pair of them.

Dimensions: T steps, `...` any batch, I inputs, H units.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

Memory = Any  # f32[...,H], or for an LSTM two of them


def nothing(layer: "Elman | LSTM | GRU | MinGRU | MinLSTM", batch: tuple[int, ...]) -> Memory:
    """The memory of a layer that has seen nothing: zeros f32[*batch,H], for an LSTM twice"""
    zeros = jnp.zeros((*batch, layer.units))
    return (zeros, zeros) if isinstance(layer, LSTM) else zeros


def outputs(memories: Memory) -> Array:
    """What the next layer sees of the memory after each step: f32[T,...,H]"""
    return memories[0] if isinstance(memories, tuple) else memories


def each_gate(initializer: Callable[..., Array], gates: int = 3) -> Callable[..., Array]:
    """Initialises a kernel f32[I,gates*H] gate by gate."""

    def init(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
        rows, columns = shape
        parts = [initializer(k, (rows, columns // gates), dtype) for k in jax.random.split(key, gates)]
        return jnp.concatenate(parts, -1)

    return init


class GRU(nn.Module):
    """A gated recurrent unit (Cho et al. 2014), with the reset gate behind the recurrent product, as cuDNN has it:

        r, z = sigmoid(W x + U h + b)    n = tanh(W_n x + b_n + r * (U_n h + c_n))    h' = (1 - z) * n + z * h

    memory f32[...,H], x f32[T,...,I], begins bool[T,...] where the memory is forgotten before the step -> f32[T,...,H],
    of which the last is the memory that is carried on.
    """

    units: int

    @nn.compact
    def __call__(self, memory: Array, x: Array, begins: Array) -> Array:
        # What does not wait for the memory is one product for all steps.
        inputs = nn.Dense(3 * self.units, kernel_init=each_gate(nn.initializers.glorot_uniform()))(x)
        kernel = self.param("recurrent", each_gate(nn.initializers.orthogonal()), (self.units, 3 * self.units))
        bias = self.param("recurrent_bias", nn.initializers.zeros, (self.units,))

        def take(memory: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            inputs, begins = now
            memory = jnp.where(begins[..., None], 0.0, memory)
            reset, keep, new = jnp.split(inputs, 3, -1)
            reset_by, keep_by, new_by = jnp.split(memory @ kernel, 3, -1)
            candidate = jnp.tanh(
                new + jax.nn.sigmoid(reset + reset_by) * (new_by + jnp.broadcast_to(bias, new_by.shape))
            )
            gate = jax.nn.sigmoid(keep + keep_by)
            memory = (1.0 - gate) * candidate + gate * memory
            return memory, memory

        return lax.scan(take, memory, (inputs, begins))[1]


class Elman(nn.Module):
    """A simple recurrent network (Elman 1990):  h' = tanh(W x + U h + b)

    memory f32[...,H], x f32[T,...,I], begins bool[T,...] -> f32[T,...,H]
    """

    units: int

    @nn.compact
    def __call__(self, memory: Array, x: Array, begins: Array) -> Array:
        inputs = nn.Dense(self.units, kernel_init=nn.initializers.glorot_uniform())(x)
        kernel = self.param("recurrent", nn.initializers.orthogonal(), (self.units, self.units))

        def take(memory: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
            inputs, begins = now
            memory = jnp.tanh(inputs + jnp.where(begins[..., None], 0.0, memory) @ kernel)
            return memory, memory

        return lax.scan(take, memory, (inputs, begins))[1]


class LSTM(nn.Module):
    """Long short-term memory (Hochreiter and Schmidhuber 1997) with a forget gate (Gers et al. 2000):

        i, f, o = sigmoid(W x + U h + b)    g = tanh(W_g x + U_g h + b_g)    c' = f * c + i * g    h' = o * tanh(c')

    Gates stand as i, f, g, o. The forget gate's bias is 1 at first (Jozefowicz et al. 2015).
    memory (h, c) f32[...,H] each, x f32[T,...,I], begins bool[T,...] -> (h, c) f32[T,...,H] each
    """

    units: int

    @nn.compact
    def __call__(self, memory: tuple[Array, Array], x: Array, begins: Array) -> tuple[Array, Array]:
        units = self.units

        def remembers(key: Array, shape: tuple[int], dtype: Any = jnp.float32) -> Array:
            return jnp.zeros(shape, dtype).at[units : 2 * units].set(1.0)

        uniform = each_gate(nn.initializers.glorot_uniform(), 4)
        inputs = nn.Dense(4 * units, kernel_init=uniform, bias_init=remembers)(x)
        kernel = self.param("recurrent", each_gate(nn.initializers.orthogonal(), 4), (units, 4 * units))

        def take(memory: tuple[Array, Array], now: tuple[Array, Array]) -> tuple[Any, Any]:
            inputs, begins = now
            hidden, cell = (jnp.where(begins[..., None], 0.0, part) for part in memory)
            put, keep, new, show = jnp.split(inputs + hidden @ kernel, 4, -1)
            cell = jax.nn.sigmoid(keep) * cell + jax.nn.sigmoid(put) * jnp.tanh(new)
            memory = jax.nn.sigmoid(show) * jnp.tanh(cell), cell
            return memory, memory

        return lax.scan(take, memory, (inputs, begins))[1]


class MinGRU(nn.Module):
    """A GRU whose gates do not wait for the memory, so that all steps are one parallel scan (Feng et al. 2024, section 3.1):

        z = sigmoid(W x + b)    h' = (1 - z) * h + z * positive(W_n x + b_n)

    with the paper's `positive` of appendix B. memory f32[...,H], x f32[T,...,I], begins bool[T,...] -> f32[T,...,H]
    """

    units: int

    @nn.compact
    def __call__(self, memory: Array, x: Array, begins: Array) -> Array:
        inputs = nn.Dense(2 * self.units, kernel_init=each_gate(nn.initializers.glorot_uniform(), 2))(x)
        gate, new = jnp.split(inputs, 2, -1)
        return blended(memory, jax.nn.sigmoid(-gate), jax.nn.sigmoid(gate) * positive(new), begins)


class MinLSTM(nn.Module):
    """An LSTM whose gates do not wait for the memory (Feng et al. 2024, section 3.2), its two gates summing to 1:

        f, i = sigmoid(W x + b)    h' = f / (f + i) * h + i / (f + i) * positive(W_n x + b_n)

    memory f32[...,H], x f32[T,...,I], begins bool[T,...] -> f32[T,...,H]
    """

    units: int

    @nn.compact
    def __call__(self, memory: Array, x: Array, begins: Array) -> Array:
        inputs = nn.Dense(3 * self.units, kernel_init=each_gate(nn.initializers.glorot_uniform()))(x)
        keep, put, new = jnp.split(inputs, 3, -1)
        # f / (f + i) = sigmoid(log f - log i), which has no 0 / 0 where both gates are shut.
        share = jax.nn.log_sigmoid(keep) - jax.nn.log_sigmoid(put)
        return blended(memory, jax.nn.sigmoid(share), jax.nn.sigmoid(-share) * positive(new), begins)


def positive(x: Array) -> Array:
    """x + 1/2 where x is positive, sigmoid(x) elsewhere (Feng et al. 2024, appendix B.2): f32[...] -> f32[...] above 0"""
    return jnp.where(x >= 0.0, x + 0.5, jax.nn.sigmoid(x))


def blended(memory: Array, keep: Array, new: Array, begins: Array) -> Array:
    """h' = keep * h + new for all steps at once, in about 2 log2(T) passes (Blelloch 1990).

    As `keep` is at most 1, products of it never overflow, and need no logarithms.
    memory f32[...,H], keep and new f32[T,...,H], begins bool[T,...] -> f32[T,...,H]
    """
    keep = jnp.where(begins[..., None], 0.0, keep)
    new = jnp.concatenate([new[:1] + keep[:1] * memory[None], new[1:]])

    def joined(first: tuple[Array, Array], then: tuple[Array, Array]) -> tuple[Array, Array]:
        return then[0] * first[0], then[0] * first[1] + then[1]

    return lax.associative_scan(joined, (keep, new))[1]
