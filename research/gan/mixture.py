"""Mixtures of equal Gaussians, whose samples can be judged exactly.

Dimensions: K modes, P coordinates, M samples.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array


class Mixture(NamedTuple):
    """centres f32[K,P], and the deviation of each coordinate around one, f32[]"""

    centres: Array
    deviation: Array


def ring(modes: int = 8, radius: float = 1.0, deviation: float = 0.01) -> Mixture:
    """Modes on a circle (Srivastava et al. 2017, section 4.1)"""
    angles = 2 * np.pi * np.arange(modes) / modes
    centres = radius * np.stack([np.cos(angles), np.sin(angles)], 1)
    return Mixture(centres.astype(np.float32), np.float32(deviation))


def grid(side: int = 5, spacing: float = 2.0, deviation: float = 0.05) -> Mixture:
    """Modes on a square grid around 0 (Srivastava et al. 2017, section 4.1)"""
    places = spacing * (np.arange(side) - (side - 1) / 2)
    centres = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)
    return Mixture(centres.astype(np.float32), np.float32(deviation))


def line(mean: float = 0.5, deviation: float = 0.5) -> Mixture:
    """One Gaussian on a line, near 0, where units bend: what any pair of nets must match."""
    return Mixture(np.array([[mean]], np.float32), np.float32(deviation))


MIXTURES = {"ring": ring(), "grid": grid(), "line": line()}


def draw(key: Array, mixture: Mixture, count: int) -> Array:
    """Independent samples f32[count,P]."""
    mode_key, place_key = jax.random.split(key)
    modes = jax.random.randint(mode_key, (count,), 0, mixture.centres.shape[0])
    places = jax.random.normal(place_key, (count, mixture.centres.shape[1]))
    return mixture.centres[modes] + mixture.deviation * places


def judge(samples: np.ndarray, mixture: Mixture) -> dict[str, float]:
    """Samples f32[M,P] -> modes, high_quality, reverse_kl, collapsed: how much of a mixture is there, and of what quality.

    high_quality  share of samples within three deviations of a centre: of the mixture's own, in a plane, 98.9 %
    modes         centres that have a sample of high quality (Srivastava et al. 2017, section 4.1)
    reverse_kl    sum over modes of q log(q K), where q is a mode's share of the samples of high quality: 0 where all modes
                  have equally many, log K where one has all; NaN where no sample is of high quality
    collapsed     1 where fewer than half of the modes are there, else 0
    """
    centres = np.asarray(mixture.centres, np.float64)
    apart = np.linalg.norm(np.asarray(samples, np.float64)[:, None] - centres[None], axis=2)  # [M, K]
    nearest, good = apart.argmin(1), apart.min(1) < 3 * float(mixture.deviation)
    counts = np.bincount(nearest[good], minlength=len(centres))
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return {
        "modes": float((counts > 0).sum()),
        "collapsed": float((counts > 0).mean() < 0.5),
        "high_quality": float(good.mean()),
        "reverse_kl": float((shares * np.log(shares * len(centres))).sum()) if counts.any() else float("nan"),
    }
