"""Several passes over samples in minibatches, each pass in an order of its own.

Dimensions: N samples, M samples of a minibatch.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from research.numerics.shuffle import name_order, permute


def passes(
    learn: Callable[[Any, Any], tuple[Any, Any]], carry: Any, samples: Any, key: Array, epochs: int, minibatches: int
) -> tuple[Any, Any]:
    """Scans `learn` over minibatches of samples [N,...], each pass in an order of its own -> carry, mean outputs."""
    count = jax.tree.leaves(samples)[0].shape[0]
    # Outside the scan, where XLA cannot fuse a permutation into each of the gathers that read it.
    orders = jax.vmap(partial(order, count=count))(jax.random.split(key, epochs))
    orders = orders.reshape(epochs, minibatches, -1)  # [epochs, N] -> [epochs, minibatches, M]

    def one(carry: Any, order: Array) -> Any:
        return lax.scan(learn, carry, jax.tree.map(lambda x: x[order], samples))

    carry, outputs = lax.scan(one, carry, orders)
    return carry, jax.tree.map(jnp.mean, outputs)


def order(key: Array, count: int) -> Array:
    """A random order of N = count samples, i32[N], without sorting as `jax.random.permutation` does."""
    return permute(name_order(key), jnp.arange(count, dtype=jnp.uint32), count)


def check_minibatches(told: str, samples: int, minibatches: int) -> None:
    """Raises ValueError where minibatches do not divide the samples, whose number is `told`."""
    if samples % minibatches:
        divisors = [n for n in range(1, samples + 1) if samples % n == 0]
        nearest = min(divisors, key=lambda n: abs(n - minibatches))
        raise ValueError(f"minibatches={minibatches} does not divide {told} = {samples}; nearest: {nearest}")
