"""Multilayer perceptrons with orthogonal initialisation.

Dimensions: `...` any batch, I inputs, H the last width.
"""

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
from jax import Array

Activation = Literal["tanh", "relu", "swish"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": nn.tanh, "relu": nn.relu, "swish": nn.swish}


class MLP(nn.Module):
    """Hidden layers of `widths`, each followed by the activation: f32[...,I] -> f32[...,H].

    Orthogonal weights of gain sqrt(2) (Saxe et al. 2014) and zero biases.

    layer_norm  standardises what goes into each activation (Ba et al. 2016)
    """

    widths: tuple[int, ...]
    activation: Activation = "tanh"
    layer_norm: bool = False

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.widths:
            x = nn.Dense(width, kernel_init=nn.initializers.orthogonal(math.sqrt(2.0)))(x)
            x = nn.LayerNorm()(x) if self.layer_norm else x
            x = ACTIVATIONS[self.activation](x)
        return x
