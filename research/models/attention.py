"""Attention of queries to keys (Vaswani et al. 2017), who sees whom, and where tokens stand: functions without parameters.

Reverse-mode derivatives only.

Dimensions: B sequences, T positions of queries, S positions of keys, H heads, D numbers of a head. `f` is the dtype of the
computation.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


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
