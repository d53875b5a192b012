"""Recurrent layers over whole sequences, which start afresh wherever a sequence begins.

Dimensions: T steps, `...` any batch, I inputs, H units.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax


def each_gate(initializer: Callable[..., Array]) -> Callable[..., Array]:
    """Initialises a kernel f32[I,3H] gate by gate."""

    def init(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
        rows, columns = shape
        parts = [initializer(k, (rows, columns // 3), dtype) for k in jax.random.split(key, 3)]
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

        def take(memory: Array, moment: tuple[Array, Array]) -> tuple[Array, Array]:
            inputs, begins = moment
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
