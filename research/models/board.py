"""Policy and value networks over boards: a dense one, and residual convolutions.

No layer keeps statistics of batches: a position is valued alike alone, in a search and in training. A residual block
begins as the identity, by a gain of 0 on its last product (De and Smith 2020), which is what it needs in place of batch norm.

Dimensions: `...` any batch, N positions of it, H rows, W columns, C planes, A moves, F features.
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from research.models.conv import Conv

Kind = Literal["dense", "residual"]

HEAD = 4  # features of the 1x1 convolution that each head begins with
HIDDEN = 64  # units of the value head's hidden layer


class BoardNet(nn.Module):
    """A body and two heads: observations [...,H,W,C] -> logits f32[...,A] of moves, values f32[...] from -1 to 1 of
    whoever is to move.

    kind     dense: a layer of each of `widths`, none being a linear model. residual: a 3x3 convolution of widths[0] features,
             and a block of two for each width, which are all the same
    actions  A
    forward_only  see Conv; `looking` is the net so
    """

    kind: Kind
    widths: tuple[int, ...]
    actions: int
    dtype: Any = jnp.float32
    forward_only: bool = False

    @nn.compact
    def __call__(self, observation: Array) -> tuple[Array, Array]:
        batch, board = observation.shape[:-3], observation.shape[-3:]
        x = observation.reshape(-1, *board).astype(self.dtype)
        x = self.dense(x) if self.kind == "dense" else self.residual(x)
        return self.policy(x).reshape(*batch, self.actions), self.value(x).reshape(batch)

    def looking(self) -> "BoardNet":
        """The same net where nothing is differentiated: in play and in a search."""
        return self.clone(forward_only=True)

    def conv(self, features: int, size: tuple[int, int], init: Any) -> Conv:
        return Conv(features, size, dtype=self.dtype, kernel_init=init, forward_only=self.forward_only)

    def dense(self, x: Array) -> Array:
        """[N,H,W,C] -> [N,last width]"""
        x = x.reshape(x.shape[0], -1)
        for width in self.widths:
            x = nn.relu(nn.Dense(width, dtype=self.dtype, kernel_init=nn.initializers.he_normal())(x))
        return x

    def residual(self, x: Array) -> Array:
        """[N,H,W,C] -> [N,H,W,F]"""
        he = nn.initializers.he_normal()
        x = self.conv(self.widths[0], (3, 3), he)(x)
        for number, width in enumerate(self.widths):
            inner = nn.relu(self.conv(width, (3, 3), he)(nn.relu(x)))
            inner = inner + pooled(inner, self.dtype)
            gain = self.param(f"gain_{number}", nn.initializers.zeros_init(), ())
            x = x + gain.astype(self.dtype) * self.conv(width, (3, 3), he)(inner)
        return nn.relu(x)

    def policy(self, x: Array) -> Array:
        """[N,...] -> logits f32[N,A], close to uniform at first"""
        if x.ndim == 4:
            x = nn.relu(self.conv(HEAD, (1, 1), nn.initializers.lecun_normal())(x)).reshape(x.shape[0], -1)
        return nn.Dense(self.actions, kernel_init=nn.initializers.normal(0.01))(x.astype(jnp.float32))

    def value(self, x: Array) -> Array:
        """[N,...] -> f32[N] from -1 to 1"""
        if x.ndim == 4:
            x = nn.relu(self.conv(HEAD, (1, 1), nn.initializers.lecun_normal())(x)).reshape(x.shape[0], -1)
            x = nn.relu(nn.Dense(HIDDEN, dtype=self.dtype)(x))
        return jnp.tanh(nn.Dense(1, kernel_init=nn.initializers.normal(0.01))(x.astype(jnp.float32)))[:, 0]


def check(kind: Kind, widths: tuple[int, ...], name: str = "widths") -> None:
    """Raises ValueError for widths that no such net has."""
    if any(width < 1 for width in widths) or (kind == "residual" and len({*widths}) != 1):
        raise ValueError(
            f"{name}={widths} must be at least 1, and with residual blocks one or more that are all the same; as in (32, 32)"
        )


def pooled(x: Array, dtype: Any) -> Array:
    """What the whole board says to each of its cells, by features' means and maxima (Wu 2019, section 3.3), as part of the
    module that calls it: [B,H,W,F] -> [B,1,1,F]"""
    whole = jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], -1)
    return nn.Dense(x.shape[-1], dtype=dtype, kernel_init=nn.initializers.zeros_init())(whole)[:, None, None]
