"""A Transformer block, and the nets put together from it: GPT, encoder, encoder-decoder. In place of attention to itself
a block may have a recurrent layer.

All are pure functions of parameters and inputs. What decoding remembers goes in and comes out as a `Cache`, whose shape
never changes, so that it sits in `lax.scan`. Dropout draws from the "dropout" randomness, only where `train`.
Reverse-mode derivatives only.

Dimensions: B sequences, T positions (of queries), S positions (of keys), L the longest that a cache holds, C width,
H heads, D = C / H, V vocabulary, I inputs, O outputs. `f` is the dtype of the computation.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.models import rnn

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


class Cache(NamedTuple):
    """What each layer remembers of what was decoded so far.

    layers    pairs of keys and values f[B,H,L,D], or memories of recurrent layers f32[B,C]
    position  i32[] how many positions are filled
    """

    layers: tuple[Any, ...]
    position: Array


class Memory(NamedTuple):
    """What a decoder sees of the source: keys and values for each layer, f[B,H,S,D], and mask bool[B,1,1,S]."""

    layers: tuple[KeyValue, ...]
    mask: Array


def empty_cache(shape: Shape, batch: int, length: int) -> Cache:
    """A cache of `length` positions, none filled. Decoding more than fit overwrites the last ones: do not. Recurrent layers
    have room for any number."""
    if shape.mixer != "attention":
        memory = rnn.nothing(RECURRENT[shape.mixer](shape.width), (batch,))
        return Cache((memory,) * shape.layers, jnp.zeros((), jnp.int32))
    if length > shape.longest:
        raise ValueError(f"length={length} is more than there are positions: longest={shape.longest}; raise longest")
    zeros = jnp.zeros((batch, shape.heads, length, shape.width // shape.heads), shape.dtype)
    return Cache(tuple((zeros, zeros) for _ in range(shape.layers)), jnp.zeros((), jnp.int32))


def padding_mask(lengths: Array, size: int) -> Array:
    """lengths i32[B] -> bool[B,1,1,size], True where a position is none of padding"""
    return jnp.arange(size).reshape(1, 1, 1, -1) < lengths.reshape(-1, 1, 1, 1)


def causal_mask(queries: int, keys: int, start: Array | int = 0) -> Array:
    """bool[1,1,queries,keys], True where a key's position is at most the query's; the first query stands at `start`."""
    positions = start + jnp.arange(queries)
    return (jnp.arange(keys)[None] <= positions[:, None])[None, None]


def sinusoids(length: int, width: int) -> np.ndarray:
    """f32[length,width]: sines, then cosines, of wavelengths from 2 pi to 20,000 pi (Vaswani et al. 2017, section 3.5)"""
    angles = np.arange(length)[:, None] / 10_000 ** (np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], -1).astype(np.float32)[:, :width]


def rotate(x: Array, start: Array | int, longest: int) -> Array:
    """Turns pairs of numbers by angles that grow with the position (Su et al. 2021, eq. 34), so that a query's product
    with a key depends on how far they are apart. Pairs are a half apart.

    x f[B,H,T,D], the first at position `start` -> f[B,H,T,D]
    """
    sine, cosine = jnp.split(positioned(sinusoids(longest, x.shape[-1]), start, x.shape[-2]), 2, -1)  # [T, D/2]
    sine, cosine = (a[None, None] for a in (sine, cosine))
    one, other = jnp.split(x.astype(jnp.float32), 2, -1)
    return jnp.concatenate([one * cosine - other * sine, one * sine + other * cosine], -1).astype(x.dtype)


def positioned(table: Any, start: Array | int, length: int) -> Array:
    """Rows `start` to `start + length` of a table f32[longest,...]"""
    return lax.dynamic_slice_in_dim(jnp.asarray(table), start, length)


def attend(
    query: Array, key: Array, value: Array, mask: Array | None, causal: bool, drop: Callable | None = None
) -> Array:
    """Mixes values by query-key similarity (Vaswani et al. 2017, eq. 1). Where a query sees no key, it is their mean.

    query f[B,H,T,D], key and value f[B,H,S,D], mask bool[B|1,1,T|1,S] True where visible; drop of weights f32[B,H,T,S]
    -> f[B,H,T,D]
    """
    dtype = query.dtype
    if drop is None and fusible(query, mask, jax.default_backend()):
        query, key, value = (x.swapaxes(1, 2) for x in (query, key, value))  # [B, T, H, D]
        fused = jax.nn.dot_product_attention(query, key, value, mask=mask, is_causal=causal, implementation="cudnn")
        return fused.swapaxes(1, 2)
    # In this layout, and with the smaller factor scaled, a step on a CPU takes a twentieth less than with XLA's form of
    # that function. Products of 16 bits with sums of 32 have a gradient of mixed dtypes, which strict promotion refuses.
    query, key, value = (x.astype(jnp.float32) for x in (query, key, value))
    scores = jnp.einsum("bhtd,bhsd->bhts", query * (1.0 / math.sqrt(query.shape[-1])), key)
    visible = causal_mask(query.shape[2], key.shape[2]) if causal else None
    for shown in (mask, visible):
        scores = scores if shown is None else jnp.where(shown, scores, jnp.finfo(jnp.float32).min)
    weights = jax.nn.softmax(scores, -1)
    return jnp.einsum("bhts,bhsd->bhtd", drop(weights) if drop else weights, value).astype(dtype)


def fusible(query: Array, mask: Array | None, backend: str) -> bool:
    """True where cuDNN has an attention of one kernel for query f[B,H,T,D]: 16 bits, heads of certain widths; with a mask it
    would ask for one of T rows."""
    width = query.shape[-1]
    return backend == "gpu" and query.dtype.itemsize == 2 and mask is None and width % 8 == 0 and width <= 128


def attention_weights(query: Array, key: Array, mask: Array | None) -> Array:
    """What `attend` weighs values with: of values that are the unit vectors, it mixes the weights themselves.

    query f[B,H,T,D], key f[B,H,S,D], mask bool[B|1,1,T|1,S] -> f32[B,H,T,S]
    """
    places = key.shape[2]
    units = jnp.broadcast_to(jnp.eye(places, dtype=jnp.float32), (*key.shape[:2], places, places))
    return attend(query.astype(jnp.float32), key.astype(jnp.float32), units, mask, False)


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


class Stack(nn.Module):
    """Blocks one behind the other, and with pre-norm a last normalisation."""

    shape: Shape
    causal: bool = False
    cross: bool = False

    def setup(self) -> None:
        block = nn.remat(Block, static_argnums=(7,)) if self.shape.remat else Block
        self.blocks = [block(self.shape, self.causal, self.cross) for _ in range(self.shape.layers)]
        self.norm = Normalization(self.shape) if self.shape.norm == "pre" else None

    def remember(self, encoded: Array, mask: Array) -> Memory:
        return Memory(tuple(block.remember(encoded) for block in self.blocks), mask)

    def __call__(
        self,
        x: Array,
        mask: Array | None = None,
        memory: Memory | None = None,
        cache: Cache | None = None,
        train: bool = False,
    ) -> tuple[Array, Any]:
        """x f[B,T,C], mask bool[B|1,1,T|1,T] -> f[B,T,C], the cache with T positions more"""
        start = cache.position if cache else 0
        kept: list[Any] = []
        for i, block in enumerate(self.blocks):
            seen, hidden = (memory.layers[i], memory.mask) if memory else (None, None)
            x, filled = block(x, mask, seen, hidden, cache.layers[i] if cache else None, start, train)
            kept.append(filled)
        x = self.norm(x) if self.norm else x
        return x, Cache(tuple(kept), cache.position + x.shape[1]) if cache else None


class Embedding(nn.Module):
    """Tokens to vectors with their positions, and vectors back to logits."""

    shape: Shape
    vocabulary: int

    def setup(self) -> None:
        shape = self.shape
        init = nn.initializers.normal(0.02 if shape.weights == "normal" else shape.width**-0.5)
        self.table = self.param("table", init, (self.vocabulary, shape.width))
        if shape.positions == "learned":
            self.positions = self.param("positions", init, (shape.longest, shape.width))
        self.drop = nn.Dropout(shape.dropout)

    def __call__(
        self, tokens: Array, start: Array | int = 0, train: bool = False, strength: Array | None = None
    ) -> Array:
        """tokens i32[B,T], the first of them at position `start`, and what each one's vector is multiplied by, f32[B,T]
        -> f[B,T,C]"""
        shape, length = self.shape, tokens.shape[1]
        if length > shape.longest and shape.positions != "none":
            raise ValueError(
                f"{length} tokens are more than there are positions: longest={shape.longest}; raise longest"
            )
        x = self.table[tokens] * (math.sqrt(shape.width) if shape.scaled else 1.0)
        x = x if strength is None else x * strength[..., None]
        if shape.positions in ("learned", "sinusoidal"):
            table = self.positions if shape.positions == "learned" else sinusoids(shape.longest, shape.width)
            x = x + positioned(table, start, length)[None]
        return self.drop(x.astype(shape.dtype), deterministic=not train)

    def logits(self, x: Array) -> Array:
        """f[B,T,C] -> f32[B,T,V]"""
        return product(x, self.table.T, jnp.float32)


class Output(nn.Module):
    """Vectors to logits by a layer of its own, without bias: f[B,T,C] -> f32[B,T,V]"""

    shape: Shape
    vocabulary: int

    @nn.compact
    def __call__(self, x: Array) -> Array:
        init = nn.initializers.normal(0.02 if self.shape.weights == "normal" else self.shape.width**-0.5)
        kernel = self.param("kernel", init, (self.shape.width, self.vocabulary))
        return product(x, kernel, jnp.float32)


class GPT(nn.Module):
    """A language model that sees only what comes before (Radford et al. 2019)."""

    shape: Shape
    vocabulary: int

    def setup(self) -> None:
        self.embedding = Embedding(self.shape, self.vocabulary)
        self.stack = Stack(self.shape, causal=True)
        self.output = None if self.shape.tied else Output(self.shape, self.vocabulary)

    def logits(self, x: Array) -> Array:
        return self.output(x) if self.output else self.embedding.logits(x)

    def __call__(self, tokens: Array, train: bool = False) -> Array:
        """tokens i32[B,T] -> logits f32[B,T,V] of each next token"""
        return self.logits(self.features(tokens, train))

    def features(self, tokens: Array, train: bool = False, strength: Array | None = None) -> Array:
        """What the last layer reads: tokens i32[B,T], what each one's vector is multiplied by f32[B,T] -> f[B,T,C]"""
        return self.stack(self.embedding(tokens, 0, train, strength), train=train)[0]

    def decode(self, tokens: Array, cache: Cache) -> tuple[Array, Cache]:
        """tokens i32[B,T] behind those in the cache, a prompt or one -> logits f32[B,T,V] and the cache with T more"""
        x, cache = self.stack(self.embedding(tokens, cache.position), cache=cache)
        return self.logits(x), cache


def only_attention(shape: Shape) -> None:
    """Raises ValueError for a recurrent mixer, which sees no mask and nothing behind it."""
    if shape.mixer != "attention":
        raise ValueError(f"mixer={shape.mixer!r} sees only what comes before; an encoder needs mixer='attention'")


class Encoder(nn.Module):
    """Vectors that each see the whole text, and no padding behind it (Vaswani et al. 2017; Devlin et al. 2019)."""

    shape: Shape
    vocabulary: int

    def setup(self) -> None:
        only_attention(self.shape)
        self.embedding = Embedding(self.shape, self.vocabulary)
        self.stack = Stack(self.shape)

    def __call__(self, tokens: Array, lengths: Array, train: bool = False) -> Array:
        """tokens i32[B,S], of which the first lengths i32[B] are no padding -> f[B,S,C]"""
        return self.stack(self.embedding(tokens, 0, train), padding_mask(lengths, tokens.shape[1]), train=train)[0]


class EncoderDecoder(nn.Module):
    """A translation model (Vaswani et al. 2017).

    vocabulary         of the target
    source_vocabulary  None: the same tokens and the same embedding
    """

    shape: Shape
    vocabulary: int
    source_vocabulary: int | None = None

    def setup(self) -> None:
        only_attention(self.shape)
        self.embedding = Embedding(self.shape, self.vocabulary)
        if self.source_vocabulary is not None:
            self.source_embedding = Embedding(self.shape, self.source_vocabulary)
        self.encoder, self.decoder = Stack(self.shape), Stack(self.shape, causal=True, cross=True)
        self.output = None if self.shape.tied else Output(self.shape, self.vocabulary)

    def logits(self, x: Array) -> Array:
        return self.output(x) if self.output else self.embedding.logits(x)

    def encode(self, source: Array, lengths: Array, train: bool = False) -> Memory:
        """source i32[B,S], of which the first lengths i32[B] are no padding -> what the decoder sees of it"""
        embedding = self.embedding if self.source_vocabulary is None else self.source_embedding
        mask = padding_mask(lengths, source.shape[1])
        return self.decoder.remember(self.encoder(embedding(source, 0, train), mask, train=train)[0], mask)

    def __call__(self, source: Array, lengths: Array, target: Array, train: bool = False) -> Array:
        """source i32[B,S], lengths i32[B], target i32[B,T] -> logits f32[B,T,V] of each next token.

        The target needs no lengths: what stands before the padding never sees it.
        """
        memory = self.encode(source, lengths, train)
        return self.logits(self.decoder(self.embedding(target, 0, train), memory=memory, train=train)[0])

    def decode(self, tokens: Array, cache: Cache, memory: Memory) -> tuple[Array, Cache]:
        """tokens i32[B,T] behind those in the cache -> logits f32[B,T,V] and the cache with T more"""
        x, cache = self.decoder(self.embedding(tokens, cache.position), memory=memory, cache=cache)
        return self.logits(x), cache


def alignment(net: EncoderDecoder, params: Any, source: Array, lengths: Array, target: Array) -> Array:
    """Where each layer's heads look in the source while they read a target (Bahdanau et al. 2015, figure 3).

    source i32[B,S], lengths i32[B], target i32[B,T] -> f32[layers,B,H,T,S], sums over S of 1
    """
    _, kept = net.apply(params, source, lengths, target, mutable=WEIGHTS)
    blocks: Any = kept[WEIGHTS]["decoder"]
    return jnp.stack([blocks[f"blocks_{i}"]["cross_attention"]["cross"][0] for i in range(net.shape.layers)])
