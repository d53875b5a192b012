"""Nets over sequences of tokens, put together from Transformer blocks: GPT, encoder, encoder-decoder.

What decoding remembers goes in and comes out as a `Cache`, whose shape never changes, so that it sits in `lax.scan`.

Dimensions: B sequences, T positions (of queries), S positions (of keys), L the longest that a cache holds, C width,
H heads, D = C / H, V vocabulary. `f` is the dtype of the computation.
"""

import math
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from research.models import rnn
from research.models.attention import padding_mask, positioned, sinusoids
from research.models.transformer import RECURRENT, WEIGHTS, Block, KeyValue, Normalization, Shape, product


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
