"""What multiplies the learning rate over a run, as functions of how far the run is. Between 0 and 1."""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
from jax import Array


def warmup(index: Array, total: Array, share: Array) -> Array:
    """Rises in equal steps to 1 over the first `share` of the ticks; its first value is above 0.

    index i32[], total i32[], share f32[] from 0 to 1 -> f32[]
    """
    ticks = jnp.maximum(share * total.astype(jnp.float32), 1.0)
    return jnp.minimum((index.astype(jnp.float32) + 1.0) / ticks, 1.0)


def cosine(index: Array, total: Array, share: Array, floor: Array | float = 0.0) -> Array:
    """Warm-up, then half a cosine from 1 to `floor` (Loshchilov and Hutter 2017, eq. 5, one period), which its last value
    does not quite reach.

    index i32[], total i32[], share f32[] from 0 to 1, floor f32[] from 0 to 1 -> f32[]
    """
    ticks = total.astype(jnp.float32)
    passed = index.astype(jnp.float32) - share * ticks
    progress = jnp.clip(passed / jnp.maximum((1.0 - share) * ticks, 1.0), 0.0, 1.0)
    return warmup(index, total, share) * (floor + (1.0 - floor) * 0.5 * (1.0 + jnp.cos(jnp.pi * progress)))


def inverse_square_root(index: Array, total: Array, share: Array) -> Array:
    """Warm-up, then falls with the root of the ticks taken (Vaswani et al. 2017, section 5.3), where the highest value is 1.

    index i32[], total i32[], share f32[] from 0 to 1 -> f32[]
    """
    ticks = jnp.maximum(share * total.astype(jnp.float32), 1.0)
    return warmup(index, total, share) * jnp.sqrt(ticks / jnp.maximum(index.astype(jnp.float32) + 1.0, ticks))


AfterWarmup = Literal["cosine", "constant"]
AFTER_WARMUP: dict[AfterWarmup, Callable[[Array, Array, Array], Array]] = {"cosine": cosine, "constant": warmup}
