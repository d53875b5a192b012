"""Multilayer perceptrons, and what their weights are at first.

Dimensions: `...` any batch, I inputs, H the last width.
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

Activation = Literal["tanh", "relu", "swish"]
ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"tanh": nn.tanh, "relu": nn.relu, "swish": nn.swish}

# orthogonal: weights of a stated gain (Saxe et al. 2014), biases 0.
# uniform: weights and biases in [-1 / sqrt(I), 1 / sqrt(I)], whatever the gain, as PyTorch's layers have them.
Initial = Literal["orthogonal", "uniform"]
Initializer = Callable[..., Array]


def initializers(initial: Initial, gain: float, inputs: int) -> tuple[Initializer, Initializer]:
    """Of a layer's weights and of its biases, where each output reads I = `inputs` numbers."""
    if initial == "orthogonal":
        return nn.initializers.orthogonal(gain), nn.initializers.zeros

    def uniform(key: Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> Array:
        return jax.random.uniform(key, shape, dtype, -(inputs**-0.5), inputs**-0.5)

    return uniform, uniform


class MLP(nn.Module):
    """Hidden layers of `widths`, each followed by the activation: f32[...,I] -> f32[...,H].

    layer_norm  standardises what goes into each activation (Ba et al. 2016)
    initial     of the weights; the orthogonal ones' gain is sqrt(2)
    """

    widths: tuple[int, ...]
    activation: Activation = "tanh"
    layer_norm: bool = False
    initial: Initial = "orthogonal"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        for width in self.widths:
            kernel, bias = initializers(self.initial, math.sqrt(2.0), x.shape[-1])
            x = nn.Dense(width, kernel_init=kernel, bias_init=bias)(x)
            x = nn.LayerNorm()(x) if self.layer_norm else x
            x = ACTIVATIONS[self.activation](x)
        return x


def check_widths(widths: tuple[int, ...], usual: tuple[int, ...]) -> None:
    """Raises ValueError for a hidden layer without units."""
    if any(width < 1 for width in widths):
        raise ValueError(f"widths={widths} must all be at least 1; usual: {usual}")
