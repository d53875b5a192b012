"""The classic small convolutional nets, by name.

Dimensions: B images, H rows, W columns, C channels, N classes.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from research.models.conv import Conv

TRUNCATED = 0.8796256610342398  # standard deviation of a standard normal that is cut off at -2 and 2


class Stage(NamedTuple):
    """A convolution with its ReLU, and max-pooling over `pool` by `pool` pixels (1: none)."""

    features: int
    kernel: int = 3
    pool: int = 2


class ConvNet(nn.Module):
    """Stages of convolution, then dense layers with ReLU, then one logit per class. Nothing random, no statistics.

    classes  0: the last dense layer's features come out, and no logits
    dtype    of the computation; parameters and logits are float32
    """

    stages: tuple[Stage, ...]
    dense: tuple[int, ...]
    classes: int = 10
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """images f[B,H,W,C] -> logits f32[B,N]. Pooling must divide the image: two stages need H and W by fours."""
        x = images
        for stage in self.stages:
            conv = Conv(stage.features, (stage.kernel, stage.kernel), stage.pool, dtype=self.dtype)
            x = nn.relu(conv(x))
        x = x.reshape(x.shape[0], -1)  # [B, H/4 * W/4 * features]
        for features in self.dense:
            x = nn.relu(nn.Dense(features, dtype=self.dtype)(x))
        if not self.classes:
            return x
        # The loss takes differences of logits: 8 bits of them would be too few.
        return nn.Dense(self.classes, dtype=jnp.float32)(x)


Net = Literal["conv32-conv64-dense128", "lenet", "conv32"]
# conv32-conv64-dense128: the net of most MNIST tutorials.
# lenet: after LeNet-5 (LeCun et al. 1998), with ReLU, max-pooling and padded convolutions, so that 8x8 images fit too.
# conv32: the net of TensorFlow's CIFAR-10 tutorial, padded likewise.
NETS: dict[Net, Callable[..., ConvNet]] = {
    "conv32-conv64-dense128": partial(ConvNet, stages=(Stage(32), Stage(64)), dense=(128,)),
    "lenet": partial(ConvNet, stages=(Stage(6, 5), Stage(16, 5)), dense=(120, 84)),
    "conv32": partial(ConvNet, stages=(Stage(32), Stage(64), Stage(64, pool=1)), dense=(64,)),
}


def initialize(net: ConvNet, key: Array, images: Array) -> Any:
    """Parameters as `net.init` gives them: kernels LeCun-normal, biases 0. key key[], images f32[B,H,W,C]

    All kernels come from one draw. Compiling a draw takes longer than anything else at a small run's start, and
    `net.init` has one for each kernel.
    """
    leaves, structure = jax.tree.flatten(jax.eval_shape(net.init, key, images))
    ends = np.cumsum([leaf.size for leaf in leaves])
    drawn = jax.random.truncated_normal(key, -2.0, 2.0, (int(ends[-1]),))

    def kernel_or_bias(numbers: Array, leaf: jax.ShapeDtypeStruct) -> Array:
        if leaf.ndim == 1:  # a ConvNet has no scales
            return jnp.zeros(leaf.shape, leaf.dtype)
        fan_in = leaf.size // leaf.shape[-1]
        return numbers.reshape(leaf.shape) / (TRUNCATED * fan_in**0.5)

    parts = jnp.split(drawn, ends[:-1])
    return jax.tree.unflatten(structure, [kernel_or_bias(*pair) for pair in zip(parts, leaves, strict=True)])


def normalized(images: Array, mean: Array, std: Array) -> Array:
    """What a net sees: images u8[B,H,W,C] -> f32[B,H,W,C], less the mean f32[C] and over the deviation f32[C] of pixels from 0
    to 1"""
    pixels = images.astype(jnp.float32) / 255.0
    return (pixels - mean.reshape(1, 1, 1, -1)) / std.reshape(1, 1, 1, -1)
