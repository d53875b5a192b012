"""Multilayer perceptrons with orthogonal initialisation.

Dimensions: `...` any batch, I inputs, O outputs.
"""

from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

Activation = Literal["tanh", "relu"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": nn.tanh, "relu": nn.relu}


class MLP(nn.Module):
    """Hidden layers of `widths`, then a linear layer to `outputs`: f32[...,I] -> f32[...,O].

    Orthogonal weights (Saxe et al. 2014) of gain sqrt(2), or `output_gain` in the last layer, and zero biases: the choice
    that mattered in Andrychowicz et al. 2021, section 3.2.
    """

    widths: tuple[int, ...]
    outputs: int
    activation: Activation = "tanh"
    output_gain: float = 1.0

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.widths:
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(jnp.sqrt(2.0)))(x)
            x = ACTIVATIONS[self.activation](x)
        return nn.Dense(self.outputs, kernel_init=nn.initializers.orthogonal(self.output_gain))(x)
