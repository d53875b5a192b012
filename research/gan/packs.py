"""Samples with their classes, and packs of them that a discriminator reads at once (Lin et al. 2018).

Dimensions: B packs, m samples in a pack, C a sample's last axis, K classes (0 where they play no part).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array


class Batch(NamedTuple):
    """samples f32[B*m,...,C], and their classes, one-hot: f32[B*m,K]"""

    samples: Array
    classes: Array


def packed(batch: Batch, size: int) -> Batch:
    """m = size neighbours beside each other: samples f32[B*m,...,C] -> f32[B,...,m*C], classes f32[B*m,K] -> f32[B,m*K]"""

    def pack(x: Array) -> Array:
        count = x.shape[0] // size
        packs = x.reshape(count, size, *x.shape[1:])  # [B, m, ..., C]
        beside = jnp.moveaxis(packs, 1, -2)  # [B, ..., m, C]
        return beside.reshape(count, *x.shape[1:-1], size * x.shape[-1])

    return jax.tree.map(pack, batch)
