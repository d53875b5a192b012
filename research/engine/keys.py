"""Randomness as a function of (seed, purpose, tick). Nothing random is ever stored, so resuming is exact.

Two purposes never share a key, and equal seeds are paired across settings.
"""

import zlib

import jax
from jax import Array

SEEDS = 2**32


def stream(seed: Array, purpose: str) -> Array:
    """seed u32[], purpose ('init', 'step', 'evaluate', ...) -> key[], one for the whole run."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def at_tick(stream_key: Array, index: Array) -> Array:
    """stream key[], tick index i32[] -> key[] for that tick."""
    return jax.random.fold_in(stream_key, index)
