"""Generators and discriminators: dense ones for points and small pictures, convolutional ones for pictures.

A generator is called with latent numbers, a discriminator with samples, and both with `classes` f32[B,K], one-hot, which are
read beside them; K is 0 where classes play no part.

Dimensions: B samples, Z latent numbers, K classes, F features of a sample, H rows, W columns, C channels.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from research.models.conv import Conv

COLLECTION = "batch_stats"  # flax's name for what batch norm has seen, and for the vectors of spectral normalisation
SLOPE = 0.2  # of a leaky ReLU below 0 (Radford et al. 2016, section 3)


class Generator(nn.Module):
    """Hidden layers of `widths`, then a linear one: latent f32[B,Z] -> samples f32[B,*shape].

    batch_norm  before each activation (Ioffe and Szegedy 2015), of the batch's own mean and variance; without `train`, of
                the batch that filled the collection COLLECTION
    leaky       leaky ReLU in place of ReLU
    bounded     ends in tanh, for pixels from -1 to 1
    deviation   of the normal distribution that weights are drawn from; 0: LeCun's
    """

    widths: tuple[int, ...]
    shape: tuple[int, ...]
    batch_norm: bool = False
    leaky: bool = True
    bounded: bool = False
    deviation: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, classes: Array, train: bool = True) -> Array:
        x = jnp.concatenate([latent, classes], 1)
        for width in self.widths:
            x = dense(width, self.deviation, self.dtype, use_bias=not self.batch_norm)(x)
            x = normalized(x, train) if self.batch_norm else x
            x = nn.leaky_relu(x, SLOPE) if self.leaky else nn.relu(x)
        x = dense(math.prod(self.shape), self.deviation, jnp.float32)(x)
        return (jnp.tanh(x) if self.bounded else x).reshape(-1, *self.shape)


class Discriminator(nn.Module):
    """Hidden layers of `widths`, then one logit: samples f32[B,...] -> f32[B], above 0 for what seems real.

    pieces          1: leaky ReLU; more: each unit is the largest of so many linear ones (maxout, Goodfellow et al. 2013)
    dropout         share of hidden units that are blanked in training
    spectral        weights are divided by their largest singular value (Miyato et al. 2018), found by one step of power
                    iteration from the vectors in COLLECTION
    deviation_read  the mean over units of their deviation over the batch is a further input of the last layer (Karras
                    et al. 2018, section 3), so that a batch of copies shows; without this, no sample sees another
    """

    widths: tuple[int, ...]
    pieces: int = 1
    dropout: float = 0.0
    spectral: bool = False
    deviation_read: bool = False
    deviation: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, samples: Array, classes: Array, train: bool = True, refresh: bool = False) -> Array:
        """`train` turns dropout on, `refresh` keeps the step of power iteration, where COLLECTION is mutable."""
        flat = samples.reshape(samples.shape[0], -1)  # [B, F]
        x = jnp.concatenate([flat, classes], 1)
        for width in self.widths:
            x = divided(dense(width * self.pieces, self.deviation, self.dtype), self.spectral, refresh)(x)
            x = maxout(x.reshape(-1, width, self.pieces)) if self.pieces > 1 else nn.leaky_relu(x, SLOPE)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = with_deviation(x) if self.deviation_read else x
        return divided(dense(1, self.deviation, jnp.float32), self.spectral, refresh)(x)[:, 0]


class ConvGenerator(nn.Module):
    """DCGAN's generator (Radford et al. 2016): a linear layer of widths[0] features on a small image, which each further
    layer doubles in height and width, the last to `shape` = (H, W, C): latent f32[B,Z] -> images f32[B,H,W,C] from -1 to 1.

    hidden  units of a dense layer before these, or 0: as in its authors' code for MNIST, which sees the whole image at once
    """

    widths: tuple[int, ...]
    shape: tuple[int, int, int]
    batch_norm: bool = True
    hidden: int = 0
    deviation: float = 0.02
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, latent: Array, classes: Array, train: bool = True) -> Array:
        height, width, channels = self.shape
        small = (height >> len(self.widths), width >> len(self.widths), self.widths[0])
        x = jnp.concatenate([latent, classes], 1)
        if self.hidden:
            x = dense(self.hidden, self.deviation, self.dtype, not self.batch_norm)(x)
            x = nn.relu(normalized(x, train) if self.batch_norm else x)
        x = dense(math.prod(small), self.deviation, self.dtype, not self.batch_norm)(x).reshape(-1, *small)
        last = len(self.widths) - 1
        for number, features in enumerate([*self.widths[1:], channels]):
            x = nn.relu(normalized(x, train) if self.batch_norm else x)
            x = doubled(blockwise(4 * features, self.deviation, self.dtype if number < last else jnp.float32, False), x)
            if number == last or not self.batch_norm:
                bias = self.param(f"bias_{number}", nn.initializers.zeros_init(), (features,))
                x = x + bias.astype(x.dtype).reshape(1, 1, 1, -1)
        return jnp.tanh(x)


class ConvDiscriminator(nn.Module):
    """DCGAN's discriminator: each layer halves height and width, then one logit: images f32[B,H,W,C] -> f32[B]. What is
    not said here is as in `Discriminator`.

    batch_norm  in every layer but the first, of the batch that is read
    hidden      units of a dense layer before the last, or 0: without it no unit sees more of an image than a patch
    classes     enter by the projection of Miyato and Koyama 2018: the features' product with a vector of the class is
                added to the logit
    """

    widths: tuple[int, ...]
    batch_norm: bool = False
    hidden: int = 0
    dropout: float = 0.0
    spectral: bool = False
    deviation_read: bool = False
    deviation: float = 0.02
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, samples: Array, classes: Array, train: bool = True, refresh: bool = False) -> Array:
        def activated(x: Array, norm: bool) -> Array:
            x = nn.leaky_relu(normalized(x, True) if norm else x, SLOPE)
            return nn.Dropout(self.dropout, deterministic=not train)(x)

        x = samples
        for number, features in enumerate(self.widths):
            norm = self.batch_norm and number > 0
            layer = blockwise(features, self.deviation, self.dtype, not norm)
            x = activated(halved(divided(layer, self.spectral, refresh), x), norm)
        x = x.reshape(x.shape[0], -1)  # [B, F]
        if self.hidden:
            joined = dense(self.hidden, self.deviation, self.dtype, not self.batch_norm)
            x = activated(divided(joined, self.spectral, refresh)(x), self.batch_norm)
        x = x.astype(jnp.float32)
        told = with_deviation(x) if self.deviation_read else x
        logit = divided(dense(1, self.deviation, jnp.float32), self.spectral, refresh)(told)[:, 0]
        if classes.shape[1]:
            vector = dense(x.shape[1], self.deviation, jnp.float32, use_bias=False)
            logit = logit + (divided(vector, self.spectral, refresh)(classes) * x).sum(1)
        return logit


class Scales(nn.Module):
    """A discriminator for each of `scales` sizes of an image, each half as high and wide as the one before (Wang et al.
    2018, section 3.2): images f32[B,H,W,C] -> f32[B,scales]"""

    make: Callable[[], nn.Module]
    scales: int

    @nn.compact
    def __call__(self, samples: Array, classes: Array, train: bool = True, refresh: bool = False) -> Array:
        logits = []
        for scale in range(self.scales):
            if scale:
                batch, height, width, channels = samples.shape
                samples = samples.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))
            logits.append(self.make()(samples, classes, train, refresh))
        return jnp.stack(logits, 1)


def normalized(x: Array, train: bool) -> Array:
    """Batch norm in float32, within a module; no average over batches: what is sampled from is this state, and not those
    before it."""
    norm = nn.BatchNorm(use_running_average=not train, momentum=0.0, dtype=jnp.float32)
    return norm(x.astype(jnp.float32)).astype(x.dtype)


def divided(layer: nn.Module, spectral: bool, refresh: bool) -> Callable[[Array], Array]:
    """The layer, its weights divided by their largest singular value where `spectral`."""
    return functools.partial(nn.SpectralNorm(layer), update_stats=refresh) if spectral else layer


def with_deviation(x: Array) -> Array:
    """Features [B,F], and beside each row the mean of the features' deviations over the batch -> [B,F+1]"""
    deviation = jnp.sqrt(x.astype(jnp.float32).var(0) + 1e-8).mean()
    return jnp.concatenate([x, jnp.full((x.shape[0], 1), deviation, x.dtype)], 1)


def maxout(pieces: Array) -> Array:
    """The largest of a unit's pieces: [B,H,pieces] -> [B,H]. By comparison in pairs, because the gradient of a maximum over an
    axis asks which pieces equal it, and divides by none where a compiler has computed them twice with other rounding."""
    return functools.reduce(lambda a, b: jnp.where(a >= b, a, b), jnp.moveaxis(pieces, 2, 0))


def dense(width: int, deviation: float, dtype: Any, use_bias: bool = True) -> nn.Dense:
    """A linear layer, whose weights are normal of a deviation, or by LeCun's rule where that is 0."""
    return nn.Dense(width, use_bias, dtype=dtype, kernel_init=initializer(deviation))


def blockwise(features: int, deviation: float, dtype: Any, use_bias: bool) -> Conv:
    """A convolution over windows of two by two, for `doubled` and `halved`."""
    init = initializer(deviation)
    return Conv(features, (2, 2), padding="VALID", use_bias=use_bias, dtype=dtype, kernel_init=init)


def initializer(deviation: float) -> Callable[..., Array]:
    return nn.initializers.normal(deviation) if deviation else nn.initializers.lecun_normal()


def halved(layer: Callable[[Array], Array], images: Array) -> Array:
    """A convolution of 4 by 4, stride 2 and a border of one, as `layer`'s of 2 by 2 over blocks of 2 by 2 pixels:
    [B,H,W,C] -> [B,H/2,W/2,O]"""
    batch, height, width, channels = images.shape
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    blocks = padded.reshape(batch, height // 2 + 1, 2, width // 2 + 1, 2, channels)
    joined = jnp.moveaxis(blocks, 2, 3)  # [B, H/2 + 1, W/2 + 1, 2, 2, C]
    return layer(joined.reshape(*joined.shape[:3], 4 * channels))


def doubled(layer: Callable[[Array], Array], images: Array) -> Array:
    """A transposed convolution of 4 by 4, stride 2 and a border of one, as `layer`'s of 2 by 2, which makes four pixels of
    each window: [B,H,W,C] -> [B,2H,2W,O]

    Row 2h of the result sees rows h - 1 and h, row 2h + 1 sees h and h + 1; columns alike.
    """
    batch, height, width, _ = images.shape
    windows = layer(jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))))  # [B, H + 1, W + 1, 4 O]
    windows = windows.reshape(batch, height + 1, width + 1, 2, 2, -1)
    rows = [
        jnp.stack([windows[:, a : a + height, b : b + width, a, b] for b in range(2)], 3)  # [B, H, W, 2, O]
        for a in range(2)
    ]
    return jnp.stack(rows, 2).reshape(batch, 2 * height, 2 * width, -1)
