"""A function of a batch, in blocks of it that fit memory.

Dimensions: N records, B in a block, A parts.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def map_blocks(function: Callable[[Any], Any], records: Any, size: int) -> Any:
    """function(records) block by block: arrays [N,...] -> arrays [N,...]. What it finds for a record may depend on no other;
    the last block is filled up with zeros, of which nothing is kept.

    records  pytree of arrays [N,...]; size  records in a block, at most N are used
    """
    count = jax.tree.leaves(records)[0].shape[0]
    size = min(size, count)

    def blocks(x: Array) -> Array:
        filled = jnp.pad(x, ((0, -count % size), *[(0, 0)] * (x.ndim - 1)))
        return filled.reshape(-(-count // size), size, *x.shape[1:])

    found = lax.map(function, jax.tree.map(blocks, records))
    return jax.tree.map(lambda x: x.reshape(x.shape[0] * size, *x.shape[2:])[:count], found)


def summed(function: Callable[[Any], Any], parts: Any) -> Any:
    """function(part) added up over parts [A,...], one after another; of one part there is no loop."""
    first = jax.tree.map(lambda x: x[0], parts)
    if jax.tree.leaves(parts)[0].shape[0] == 1:
        return function(first)

    def add(total: Any, part: Any) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, function(part)), None

    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(function, first))
    return lax.scan(add, nothing, parts)[0]
