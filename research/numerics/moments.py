"""Running mean and variance of a stream that arrives in batches (Chan, Golub & LeVeque 1979).

Dimensions: `...` the shape of one item, kept apart entry by entry.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array


class Moments(NamedTuple):
    """count f32[] items seen, mean f32[...], squares f32[...] sum of squared distances from the mean"""

    count: Array  # type: ignore[assignment]  # not tuple.count
    mean: Array
    squares: Array


def unseen(shape: tuple[int, ...]) -> Moments:
    """Moments of nothing yet: mean 0, and a variance that reads as 1."""
    return Moments(jnp.zeros(()), jnp.zeros(shape), jnp.zeros(shape))


def seen(moments: Moments, items: Array) -> Moments:
    """Takes in a batch: items f32[N...,...], any number of leading axes."""
    axes = tuple(range(items.ndim - moments.mean.ndim))
    count = float(math.prod(items.shape[: len(axes)]))
    mean = items.mean(axes)
    squares = ((items - jnp.broadcast_to(mean, items.shape)) ** 2).sum(axes)
    total = moments.count + count
    gap = mean - moments.mean
    return Moments(
        total,
        moments.mean + gap * (count / total),
        moments.squares + squares + gap**2 * (moments.count * count / total),
    )


def deviation(moments: Moments) -> Array:
    """Standard deviation f32[...]; 1 where nothing has been seen or nothing varies by more than rounding."""
    variance = moments.squares / jnp.maximum(moments.count, 1.0)
    varies = variance > 1e-10 * moments.mean**2
    return jnp.sqrt(jnp.where(varies, variance, 1.0))


def standardize(moments: Moments, items: Array, limit: float = 10.0) -> Array:
    """Items f32[...,...] in deviations from the mean, cut at +-limit."""
    mean, scale = (jnp.broadcast_to(x, items.shape) for x in (moments.mean, deviation(moments)))
    return jnp.clip((items - mean) / scale, -limit, limit)
