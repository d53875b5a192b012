"""A random order of any number of things, evaluated only at the places asked for.

Swap-or-not (Hoang, Morris and Rogaway 2012, "An enciphering scheme based on a card shuffle", figure 1): in each round
every x is paired with K - x (mod n), and a keyed coin, the same for both, says whether the two change places. Each round
is its own inverse, so the whole is a bijection for every n, no order is stored, and the cost is that of the batch.

Dimensions: B places.
"""

import jax
import jax.numpy as jnp
from jax import Array, lax

# Rounds until single places and pairs of places are uniform to what a chi-square test can tell (tests/test_shuffle.py).
ROUNDS = 32


def epoch_indices(order: Array, index: Array, batch: int, n: int) -> Array:
    """The records of a tick's batch: each of the n comes once in an epoch, in an order of that epoch's own.

    order u32[] names the orders, index i32[] the tick, batch and n static -> i32[batch]
    A batch may end one epoch and begin the next. The places are counted in 32 bits: index * batch stays below 2**32.
    """
    places = index.astype(jnp.uint32) * jnp.uint32(batch) + jnp.arange(batch, dtype=jnp.uint32)
    return permute(mix(order + mix(places // jnp.uint32(n))), places % jnp.uint32(n), n)


def permute(order: Array, places: Array, n: int) -> Array:
    """Where `places` of 0, ..., n - 1 go in the permutation named `order`.

    order u32[] or u32[B], places u32[B] below n, n static and at most 2**31 -> i32[B]
    """
    if not 1 <= n <= 2**31:
        raise ValueError(f"n={n} must be at least 1 and at most {2**31}; a permutation has something to permute")
    size = jnp.uint32(n)

    def swap(x: Array, turn: Array) -> tuple[Array, None]:
        turn = mix(order + mix(turn))
        partner = (turn % size + size - x) % size
        coin = mix(jnp.maximum(x, partner) ^ mix(turn)) >> 31
        return jnp.where(coin == 1, partner, x), None

    x, _ = lax.scan(swap, places, jnp.arange(1, ROUNDS + 1, dtype=jnp.uint32), unroll=8)
    return x.astype(jnp.int32)


def mix(x: Array) -> Array:
    """A bijection of 32 bits in which every bit depends on every other: MurmurHash3's finalizer (Appleby 2011).

    u32[...] -> u32[...]
    """
    x = x + jnp.uint32(0x9E3779B9)  # so that 0 does not stay 0
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)


def name_order(key: Array) -> Array:
    """Draws a name for a row's orders. key key[] -> u32[]"""
    return jax.random.bits(key, dtype=jnp.uint32)
