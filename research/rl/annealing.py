"""What falls over a run: a learning rate, the chance of a random action, or anything else that goes from one value to
another."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from research.engine.experiment import Tick


def annealed(progress: Array, share: Array, start: Array, end: Array) -> Array:
    """From `start` linearly to `end` over the first `share` of a run, at once where that is 0; progress f32[] from 0 to 1
    -> f32[]"""
    return jnp.where(share > 0, start + (end - start) * jnp.minimum(progress / jnp.maximum(share, 1e-8), 1.0), end)


def exploration(hyper: Any, tick: Tick) -> Array:
    """The chance of a random action at a tick, f32[], by hyper's epsilon_start, epsilon_end and exploration_fraction."""
    progress = tick.index / tick.total
    return annealed(progress, hyper.exploration_fraction, hyper.epsilon_start, hyper.epsilon_end)


def learning_rate(setup: Any, hyper: Any, tick: Tick) -> Array:
    """hyper's learning_rate at a tick, f32[], falling linearly to 0 where `setup.anneal_learning_rate`."""
    return hyper.learning_rate * (1.0 - tick.index / tick.total if setup.anneal_learning_rate else 1.0)
