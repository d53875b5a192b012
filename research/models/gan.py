"""Generators and discriminators of points and of flattened pictures.

Dimensions: B samples, Z latent numbers, F features of a sample, H the last hidden width.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

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
    def __call__(self, latent: Array, train: bool = True) -> Array:
        x = latent
        for width in self.widths:
            x = dense(width, self.deviation, self.dtype, use_bias=not self.batch_norm)(x)
            if self.batch_norm:
                # No average over batches: what is sampled from is this state, and not those before it.
                norm = nn.BatchNorm(use_running_average=not train, momentum=0.0, dtype=jnp.float32)
                x = norm(x.astype(jnp.float32)).astype(self.dtype)
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
    def __call__(self, samples: Array, train: bool = True, refresh: bool = False) -> Array:
        """`train` turns dropout on, `refresh` keeps the step of power iteration, where COLLECTION is mutable."""

        def layer(width: int, dtype: Any, x: Array) -> Array:
            inner = dense(width, self.deviation, dtype)
            return nn.SpectralNorm(inner)(x, update_stats=refresh) if self.spectral else inner(x)

        x = samples.reshape(samples.shape[0], -1)  # [B, F]
        for width in self.widths:
            x = layer(width * self.pieces, self.dtype, x)
            x = maxout(x.reshape(-1, width, self.pieces)) if self.pieces > 1 else nn.leaky_relu(x, SLOPE)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        if self.deviation_read:
            deviation = jnp.sqrt(x.astype(jnp.float32).var(0) + 1e-8).mean()
            x = jnp.concatenate([x, jnp.full((x.shape[0], 1), deviation, x.dtype)], 1)  # [B, H + 1]
        return layer(1, jnp.float32, x)[:, 0]


def maxout(pieces: Array) -> Array:
    """The largest of a unit's pieces: [B,H,pieces] -> [B,H]. By comparison in pairs, because the gradient of a maximum over an
    axis asks which pieces equal it, and divides by none where a compiler has computed them twice with other rounding."""
    return functools.reduce(lambda a, b: jnp.where(a >= b, a, b), jnp.moveaxis(pieces, 2, 0))


def dense(width: int, deviation: float, dtype: Any, use_bias: bool = True) -> nn.Dense:
    """A linear layer, whose weights are normal of a deviation, or by LeCun's rule where that is 0."""
    kernel = nn.initializers.normal(deviation) if deviation else nn.initializers.lecun_normal()
    return nn.Dense(width, use_bias, dtype=dtype, kernel_init=kernel)
