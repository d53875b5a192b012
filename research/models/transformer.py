"""A Transformer block. In place of attention to itself it may have a recurrent layer.

A pure function of parameters and inputs. What decoding remembers goes in and comes out, of a shape that never changes, so
that it sits in `lax.scan`. Dropout draws from the "dropout" randomness, only where `train`. Reverse-mode derivatives only.

Dimensions: B sequences, T positions (of queries), S positions (of keys), L the longest that a cache holds, C width,
H heads, D = C / H, I inputs, O outputs. `f` is the dtype of the computation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array, lax

from research.models import rnn
from research.models.attention import attend, attention_weights, causal_mask, rotate

Mixer = Literal["attention", "elman", "lstm", "gru", "mingru", "minlstm"]
Norm = Literal["pre", "post"]
Activation = Literal["gelu", "relu", "swiglu"]
Positions = Literal["learned", "sinusoidal", "rotary", "none"]
Weights = Literal["normal", "xavier"]
KeyValue = tuple[Array, Array]  # f[B,H,S,D] each
WEIGHTS = "attention_weights"  # flax collection, filled only where it is asked for

RECURRENT: dict[str, Any] = {
    "elman": rnn.Elman,
    "lstm": rnn.LSTM,
    "gru": rnn.GRU,
    "mingru": rnn.MinGRU,
    "minlstm": rnn.MinLSTM,
}


@dataclass(frozen=True)
class Shape:
    """What a Transformer is made of. The defaults are GPT-2's (Radford et al. 2019), as small as nanoGPT's on a CPU.

    mixer              what lets a position see those before it: attention, or a recurrent layer of float32
    norm               before each sub-layer, with one more at the end (pre), or after each sum (post: Vaswani et al. 2017)
    positions          added to embeddings (learned, sinusoidal) or turning queries and keys (rotary: Su et al. 2021)
    longest            positions that there are, wherever they are told
    weights            normal: N(0, 0.02^2), what is added to the residual divided by sqrt(2 * layers); xavier: uniform
    tied               the last layer is the embedding's transpose (Press and Wolf 2017)
    scaled             embeddings are multiplied by sqrt(width) (Vaswani et al. 2017, section 3.4)
    dropout            of embeddings and of what is added to the residual; attention_dropout of attention's weights
    dtype              of the computation; parameters, normalisation, logits and attention's scores and weights are float32,
                       unless cuDNN's fused attention takes over (see `fusible`; not where attention drops weights)
    remat              blocks are computed again for the gradient instead of kept
    """

    width: int = 128
    heads: int = 4
    layers: int = 4
    hidden: int = 512
    longest: int = 64
    mixer: Mixer = "attention"
    norm: Norm = "pre"
    activation: Activation = "gelu"
    positions: Positions = "learned"
    weights: Weights = "normal"
    bias: bool = True
    tied: bool = True
    scaled: bool = False
    dropout: float = 0.0
    attention_dropout: float = 0.0
    dtype: Any = jnp.float32
    remat: bool = False

    def __post_init__(self) -> None:
        if self.mixer == "attention" and self.width % self.heads:
            fits = [n for n in range(1, self.width + 1) if self.width % n == 0]
            raise ValueError(f"heads={self.heads} does not divide width={self.width}; those that do: {fits}")
        if self.positions in ("sinusoidal", "rotary") and self.width // self.heads % 2:
            raise ValueError(
                f"positions={self.positions!r} needs pairs of numbers; width/heads={self.width // self.heads}"
            )


def gelu(x: Array) -> Array:
    """x times the normal distribution function (Hendrycks and Gimpel 2016), exact in float32: `erf` takes a third of
    `erfc`'s time, and in 16 bits their sum with 1 would cancel."""
    y = x.astype(jnp.float32)
    return (0.5 * y * (1.0 + lax.erf(y * math.sqrt(0.5)))).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def product(x: Array, kernel: Array, dtype: Any) -> Array:
    """x f[...,I] times kernel f32[I,O], rounded to x's type -> [...,O] of `dtype`. The kernel's gradient is not rounded, and
    faster on a CPU than the one that JAX derives."""
    rows = x.reshape(-1, x.shape[-1])  # [..., I]
    return jnp.matmul(rows, kernel.astype(x.dtype), preferred_element_type=dtype).reshape(*x.shape[:-1], -1)


def _product_gradient(dtype: Any, saved: tuple[Array, Array], gradient: Array) -> tuple[Array, Array]:
    x, kernel = saved
    gradient = gradient.astype(x.dtype)
    # Over all leading dimensions at once, and the input first: XLA copies the first operand transposed, together with all
    # that leads to it, which is short for an input and the whole residual chain for a gradient; and of rows in one
    # dimension it makes no copy, and a product at two thirds of the speed.
    leading = tuple(range(x.ndim - 1))
    over = ((leading, leading), ((), ()))
    whole = partial(lax.dot_general, dimension_numbers=over, preferred_element_type=jnp.float32)
    # XLA's products on a CPU do not take 16 bits and give 32 (jaxlib 0.10.2).
    total = lax.platform_dependent(
        x, gradient, cpu=lambda *a: whole(*(y.astype(jnp.float32) for y in a)), default=whole
    )
    before = lax.dot_general(gradient, kernel.astype(x.dtype), (((x.ndim - 1,), (1,)), ((), ())))
    return before, total


product.defvjp(lambda x, kernel, dtype: (product(x, kernel, dtype), (x, kernel)), _product_gradient)


class Linear(nn.Module):
    """A linear layer with the parameters of `flax.linen.Dense`: f[...,I] -> f[...,O].

    parts     matrices beside each other in the kernel, each initialised by itself
    residual  what it gives is added to the residual
    """

    shape: Shape
    features: int
    parts: int = 1
    residual: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        shape = self.shape
        if shape.weights == "normal":
            init = nn.initializers.normal(0.02 / math.sqrt(2 * shape.layers) if self.residual else 0.02)
        else:
            inputs, outputs = x.shape[-1], self.features
            scale = (inputs + outputs) / (inputs + outputs / self.parts)
            init = nn.initializers.variance_scaling(scale, "fan_avg", "uniform")
        kernel = self.param("kernel", init, (x.shape[-1], self.features))
        y = product(x.astype(shape.dtype), kernel, shape.dtype)
        if not shape.bias:
            return y
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(shape.dtype)
        return y + jnp.broadcast_to(bias, y.shape)


class Normalization(nn.Module):
    """Layer normalisation (Ba et al. 2016), in float32: f[...,C] -> f[...,C]"""

    shape: Shape

    @nn.compact
    def __call__(self, x: Array) -> Array:
        norm = nn.LayerNorm(1e-5, use_bias=self.shape.bias, dtype=jnp.float32, use_fast_variance=False, name="norm")
        return norm(x.astype(jnp.float32)).astype(self.shape.dtype)


class Attention(nn.Module):
    """Several heads of attention (Vaswani et al. 2017, section 3.2.2): to itself, or `cross`, to a memory."""

    shape: Shape
    cross: bool = False

    def setup(self) -> None:
        width = self.shape.width
        if self.cross:
            self.query = Linear(self.shape, width)
            self.key_value = Linear(self.shape, 2 * width, parts=2)
        else:
            self.query_key_value = Linear(self.shape, 3 * width, parts=3)
        self.output = Linear(self.shape, width, residual=True)
        self.drop = nn.Dropout(self.shape.attention_dropout)

    def heads(self, x: Array, parts: int) -> list[Array]:
        """f[B,T,parts*C] -> as many f[B,H,T,D]"""
        split = jnp.split(x, parts, -1)  # its gradient is a concatenation, that of slices a sum
        return [part.reshape(*x.shape[:2], self.shape.heads, -1).swapaxes(1, 2) for part in split]

    def remember(self, memory: Array) -> KeyValue:
        """f[B,S,C] -> keys and values for `cross` attention"""
        key, value = self.heads(self.key_value(memory), 2)
        return key, value

    def mixed(self, query: Array, key: Array, value: Array, mask: Array | None, causal: bool, train: bool) -> Array:
        drop = partial(self.drop, deterministic=False) if train and self.shape.attention_dropout else None
        y = attend(query, key, value, mask, causal, drop).swapaxes(1, 2)  # [B, T, H, D]
        return self.output(y.reshape(*y.shape[:2], -1))  # [B, T, C]

    def across(self, x: Array, memory: KeyValue, mask: Array | None, train: bool) -> Array:
        """x f[B,T,C], memory of S positions, mask bool[B|1,1,1,S] -> f[B,T,C]"""
        (query,) = self.heads(self.query(x), 1)
        if self.is_mutable_collection(WEIGHTS) and not self.is_initializing():  # for `alignment` alone
            self.sow(WEIGHTS, "cross", attention_weights(query, memory[0], mask))
        return self.mixed(query, *memory, mask, False, train)

    def __call__(
        self, x: Array, mask: Array | None, causal: bool, cache: KeyValue | None, start: Array | int, train: bool
    ) -> tuple[Array, KeyValue | None]:
        """x f[B,T,C], mask bool[B|1,1,T|1,T], and a cache filled up to `start` -> f[B,T,C], the cache filled further"""
        query, key, value = self.heads(self.query_key_value(x), 3)
        if self.shape.positions == "rotary":
            query, key = (rotate(part, start, self.shape.longest) for part in (query, key))
        if cache is None:
            return self.mixed(query, key, value, mask, causal, train), None
        place = partial(lax.dynamic_update_slice_in_dim, start_index=start, axis=2)
        key, value = place(cache[0], key), place(cache[1], value)
        mask = causal_mask(x.shape[1], key.shape[2], start)
        return self.mixed(query, key, value, mask, False, train), (key, value)


class Recurrence(nn.Module):
    """A recurrent layer in attention's place: what it remembers is its cache."""

    shape: Shape

    @nn.compact
    def __call__(
        self, x: Array, mask: Array | None, causal: bool, cache: Any, start: Array | int, train: bool
    ) -> tuple[Array, Any]:
        """x f[B,T,C], and what is remembered of the positions before, f32[B,C] or a pair -> f[B,T,C], what is remembered"""
        layer = RECURRENT[self.shape.mixer](self.shape.width)
        memory = rnn.nothing(layer, x.shape[:1]) if cache is None else cache
        steps = x.swapaxes(0, 1).astype(jnp.float32)  # [T, B, C]
        memories = layer(memory, steps, jnp.zeros(steps.shape[:2], bool))
        y = rnn.outputs(memories).swapaxes(0, 1).astype(self.shape.dtype)  # [B, T, C]
        return y, None if cache is None else jax.tree.map(lambda memory: memory[-1], memories)


class Block(nn.Module):
    """Attention to itself, if `cross` attention to a memory, and two layers position by position (Vaswani et al. 2017)."""

    shape: Shape
    causal: bool = False
    cross: bool = False

    def setup(self) -> None:
        shape = self.shape
        self.attention = Attention(shape) if shape.mixer == "attention" else Recurrence(shape)
        self.attention_norm = Normalization(shape)
        if self.cross:
            self.cross_attention, self.cross_norm = Attention(shape, cross=True), Normalization(shape)
        # SwiGLU's gate and what it gates are one product (Shazeer 2020).
        gated = 2 if shape.activation == "swiglu" else 1
        self.up, self.down = Linear(shape, gated * shape.hidden, gated), Linear(shape, shape.width, residual=True)
        self.feed_norm = Normalization(shape)
        self.drop = nn.Dropout(shape.dropout)

    def feed(self, x: Array) -> Array:
        x = self.up(x)
        if self.shape.activation == "swiglu":
            gate, x = jnp.split(x, 2, -1)
            return self.down(nn.silu(gate) * x)
        return self.down(gelu(x) if self.shape.activation == "gelu" else nn.relu(x))

    def remember(self, memory: Array) -> KeyValue:
        return self.cross_attention.remember(memory)

    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        memory: KeyValue | None = None,
        memory_mask: Array | None = None,
        cache: Any = None,
        start: Array | int = 0,
        train: bool = False,
    ) -> tuple[Array, Any]:
        """x f[B,T,C], mask bool[B|1,1,T|1,T], memory f[B,H,S,D] twice, mask bool[B|1,1,1,S] -> f[B,T,C], cache"""

        def added(x: Array, norm: Normalization, layer: Callable[[Array], Array]) -> Array:
            before = self.shape.norm == "pre"
            y = self.drop(layer(norm(x) if before else x), deterministic=not train)
            return x + y if before else norm(x + y)

        kept: list[Any] = []

        def itself(x: Array) -> Array:
            y, filled = self.attention(x, mask, self.causal, cache, start, train)
            kept.append(filled)
            return y

        x = added(x, self.attention_norm, itself)
        if memory is not None:
            across = lambda x: self.cross_attention.across(x, memory, memory_mask, train)
            x = added(x, self.cross_norm, across)
        return added(x, self.feed_norm, self.feed), kept[0]
