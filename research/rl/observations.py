"""How networks see observations: as one vector, or as a small picture before a convolution.

Dimensions: O stands for the shape of an observation.
"""

import math
from typing import Literal

from jax import Array

from research.models.heads import Grid
from research.rl.environments import Environment

Features = Literal["dense", "convolution"]
PICTURE = 3  # rank


def flat(environment: Environment, observation: Array) -> Array:
    """observation f32[...,O] -> f32[...,O flat]"""
    shape = environment.observation_shape
    return observation.reshape(*observation.shape[: observation.ndim - len(shape)], math.prod(shape))


def grid_of(environment: Environment, features: Features) -> Grid:
    """(rows, columns, channels) where a convolution is asked for, else None. Raises ValueError where there are none."""
    shape = environment.observation_shape
    if features == "dense":
        return None
    if len(shape) != PICTURE:
        raise ValueError(
            f"features='convolution' needs observations of rows, columns and channels; {environment.name!r} has {shape}: "
            "use features='dense'"
        )
    return shape
