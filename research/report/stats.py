"""Intervals for figures over seeds: what a handful of runs says about the runs one did not make.

Dimensions: N scores or curves (one per seed), T times.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95


class Estimate(NamedTuple):
    """A point estimate with its confidence interval; `low` and `high` are None where n is too small for one."""

    value: float
    low: float | None
    high: float | None
    n: int


def mean_interval(scores: Sequence[float] | np.ndarray, level: float = LEVEL) -> Estimate:
    """The mean of independent scores with Student's t interval (Student 1908): mean +- t * s / sqrt(n).

    scores f64[N], one per seed, finite; `s` is the sample's standard deviation with n - 1 degrees of freedom. Exact
    for normal scores. It covers less often where a few seeds fail badly and the sample may hold none of them: with 5 %
    of seeds at 300 and the rest at 500, n = 16, in about half of all samples (tests/test_stats.py). Scores that are
    all equal give width 0, which says that no spread was seen, not that there is none; see `unseen_share`. One score
    has no spread, so no interval.

    Raises ValueError for no scores, for scores that are not finite (whoever drops diverged runs must do so in
    sight of the reader), and for a level outside (0, 1).
    """
    x = np.asarray(scores, np.float64)
    check_level(level)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"scores of shape {x.shape} must be one-dimensional and hold at least one; give one per seed")
    if not np.isfinite(x).all():
        raise ValueError(f"scores hold {(~np.isfinite(x)).sum()} of {len(x)} that are not finite; report those apart")
    mean, low, high, n = (float(line[0]) for line in mean_band(x[:, None], level))
    return Estimate(mean, None, None, 1) if n == 1 else Estimate(mean, low, high, int(n))


def mean_band(curves: np.ndarray, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """`mean_interval` at each time T of N curves, one interval for each time and none for the curve as a whole.

    curves f64[N,T], NaN where a curve has no value -> mean, low, high f64[T], n i64[T]. The mean is over the curves
    that have a value there, NaN where none has; low and high are NaN where fewer than two have.
    """
    there = np.isfinite(curves)
    n = there.sum(0)
    x = np.where(there, curves, 0.0)
    known = np.where(n > 0, n, np.nan)
    mean = x.sum(0) / known
    squares = (np.where(there, x - mean, 0.0) ** 2).sum(0)
    spread = np.where(n > 1, n, np.nan)
    half = stdtrit(spread - 1, (1 + level) / 2) * np.sqrt(squares / (spread - 1) / spread)
    return mean, mean - half, mean + half, n


def unseen_share(n: int, level: float = LEVEL) -> float:
    """The largest share of seeds that may be unlike the n seen, which were all alike: p with (1 - p)^n = 1 - level.

    Clopper and Pearson (1934) at none of n.
    """
    check_level(level)
    if n < 1:
        raise ValueError(f"n={n} must be at least 1; nothing seen says nothing")
    return 1 - (1 - level) ** (1 / n)


def check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1; usual: {LEVEL}")
