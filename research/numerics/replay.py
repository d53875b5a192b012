"""A ring of experience in the state of a run: written in place, drawn from uniformly (`priorities`: by priority).

A slot is a step in time and holds the transitions of B environments, each at a place: slot * B + environment. Where a
tick writes is a function of its index, which no row batches, so that under `vmap` too a write is one block and nothing
else of the ring is touched. (As [S,B,...] rings of one row and one environment were laid out anew, and copied, at both
ends of every chunk.)

Dimensions: S slots, B environments, T slots written by a tick, M transitions drawn, n steps of a return.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def empty(like: Any, slots: int) -> Any:
    """A ring of zeros [S*B,...] for items like `like` [T,B,...] (arrays or their shapes)."""
    return jax.tree.map(lambda x: jnp.zeros((slots * x.shape[1], *x.shape[2:]), x.dtype), like)


def write(ring: Any, items: Any, index: Array) -> Any:
    """Puts tick `index`'s items [T,B,...] over the oldest ones of a ring [S*B,...]; T divides S."""

    def put(old: Array, new: Array) -> Array:
        new = new.reshape(-1, *old.shape[1:])  # [T, B, ...] -> [T*B, ...]
        first = index % (old.shape[0] // new.shape[0]) * new.shape[0]  # no product that outgrows 32 bits
        return lax.dynamic_update_slice_in_dim(old, new, first, 0)

    return jax.tree.map(put, ring, items)


def complete(index: Array, written: int, slots: int, n: int) -> tuple[Array, Array]:
    """The slots whose next n - 1 slots hold what followed in time, once tick `index` has written its T = `written`.

    -> the oldest of them i32[], how many there are i32[] (0 at first)
    """
    ticks = slots // written
    oldest = jnp.where(index < ticks, 0, (index + 1) % ticks * written)
    return oldest, jnp.maximum(jnp.minimum(index + 1, ticks) * written - (n - 1), 0)


def draw(key: Array, oldest: Array, count: Array, slots: int, environments: int, size: int) -> Array:
    """M = size places i32[M], each as likely as any other of `count` slots from `oldest` on, with replacement."""
    number = jax.random.randint(key, (size,), 0, jnp.maximum(count, 1) * environments)
    return (oldest * environments + number) % (slots * environments)


def at(ring: Any, places: Array) -> Any:
    """What stands at places i32[...]: ring [S*B,...] -> [...,...]"""
    return jax.tree.map(lambda x: x[places], ring)


def later(ring: Any, places: Array, steps: Array, environments: int) -> Any:
    """What stands `steps` i32[...,M] slots behind each of the places i32[...,M]: ring [S*B,...] -> [...,M,...]"""
    size = jax.tree.leaves(ring)[0].shape[0]
    return at(ring, (jnp.broadcast_to(places, steps.shape) + steps * environments) % size)


def stretch(ring: Any, places: Array, n: int, environments: int) -> Any:
    """What stands at n slots in a row from each of the places i32[M]: ring [S*B,...] -> [n,M,...]"""
    steps = lax.broadcasted_iota(jnp.int32, (n, places.shape[0]), 0)
    return later(ring, places[None], steps, environments)
