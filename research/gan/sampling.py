"""Samples of a trained generator, each of its own latent numbers alone, and which numbers to draw them of.

Dimensions: M samples, C a sample's last axis, Z latent numbers, K classes.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from research.gan.adversarial import Game, Setup, latents
from research.models.gan import COLLECTION

FILLING = 1000  # samples whose mean and variance batch norm has while others are drawn

# (setup, key, rows, columns) -> latent numbers f32[rows*columns,Z], classes i32[rows*columns] that may be K or more
Way = Callable[[Setup, Array, int, int], tuple[Array, Array]]


def filled(game: Game, params: Any, key: Array, data: Any) -> Any:
    """The generator's variables, with the statistics of one large batch where it has batch norm."""
    if not game.setup.batch_norm:
        return {"params": params}
    latent_key, class_key = jax.random.split(key)
    latent, classes = latents(game.setup, latent_key, FILLING), game.real(class_key, data, FILLING).classes
    statistics = game.generator.apply({"params": params}, latent, classes, mutable=[COLLECTION])[1]
    return {"params": params, COLLECTION: statistics[COLLECTION]}


def sample(game: Game, variables: Any, latent: Array, classes: Array) -> Array:
    """Samples [M,...,C] of a generator's `filled` variables, each of its own latent numbers f32[M,Z] alone."""
    return game.generator.apply(variables, latent, classes, train=False)


def independent(setup: Setup, key: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """Latent numbers f32[rows*columns,Z], and of what class each is in turn, i32[rows*columns]: class K is 0 again"""
    count = rows * columns
    return latents(setup, key, count), jnp.arange(count)


def between(setup: Setup, key: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """Likewise, but each row's numbers are on the way from one sample's to another's, and its class is one."""
    starts, ends = (latents(setup, k, rows)[:, None] for k in jax.random.split(key))
    way = jnp.linspace(0.0, 1.0, columns)[None, :, None]
    if setup.latent_law == "normal":
        # The mean of two numbers of deviation 1 has less: along an arc it is the same all over the way.
        mixed = jnp.cos(way * jnp.pi / 2) * starts + jnp.sin(way * jnp.pi / 2) * ends
    else:
        mixed = starts + way * (ends - starts)
    labels = jnp.repeat(jnp.arange(rows), columns)
    return mixed.reshape(rows * columns, -1), labels
