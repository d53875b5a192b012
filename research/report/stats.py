"""Intervals for figures over seeds: what a handful of runs says about the runs one did not make.

Aggregates over tasks (IQM, optimality gap, profiles, probability of improvement) are those of Agarwal et al. 2021,
"Deep reinforcement learning at the edge of the statistical precipice".

Dimensions: N scores or curves (one per seed), T times, M tasks, K thresholds. Scores of several tasks are a mapping
from the task's name to f64[N], where N may differ from task to task.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats
from scipy.special import ndtr, stdtrit

LEVEL = 0.95
ENDS = (1 - LEVEL) / 2, (1 + LEVEL) / 2


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
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1; usual: {LEVEL}")
    if x.ndim != 1 or not len(x):
        raise ValueError(f"scores of shape {x.shape} must be one-dimensional and hold at least one; give one per seed")
    if not np.isfinite(x).all():
        raise ValueError(f"scores hold {(~np.isfinite(x)).sum()} of {len(x)} that are not finite; report those apart")
    mean, low, high, n = (line.item() for line in mean_band(x[:, None], level))
    return Estimate(mean, None, None, n) if n == 1 else Estimate(mean, low, high, n)


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


Scores = Mapping[str, Sequence[float] | np.ndarray]
FEW = 5


def mean(*tasks: np.ndarray) -> Any:
    """Mean of the tasks' means: each task counts the same, however many runs it has."""
    return np.mean([np.mean(x, axis=-1) for x in tasks], axis=0)


def median(*tasks: np.ndarray) -> Any:
    """Median over tasks of the means over runs."""
    return np.median([np.mean(x, axis=-1) for x in tasks], axis=0)


def iqm(*tasks: np.ndarray) -> Any:
    """Interquartile mean: of all runs of all tasks together, the mean of those in the middle half (Agarwal et al. 2021,
    section 4.3)."""
    return stats.trim_mean(np.concatenate(tasks, axis=-1), 0.25, axis=-1)


def optimality_gap(gamma: float) -> Callable[..., Any]:
    """-> by how much runs miss the score `gamma` on average; a run beyond it counts as one that reaches it."""
    return lambda *tasks: gamma - np.mean([np.mean(np.minimum(x, gamma), axis=-1) for x in tasks], axis=0)


def bootstrap(
    scores: Scores,
    statistic: Callable[..., Any],
    *,
    method: Literal["expanded", "percentile", "BCa"] = "expanded",
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """A statistic with its stratified bootstrap interval: runs are drawn anew within each task, tasks are kept.

    scores {task: f64[N]}, finite; statistic (f64[...,N1], f64[...,N2], ...) -> f64[...]; the same `seed` gives the same
    interval. method: percentile (Efron 1979); BCa (Efron 1987), which corrects bias and skew; expanded, the
    percentiles of a wider level (Hesterberg 2015, section 5.3), which makes up for what both lack with few runs: at 10
    normal scores they cover about 90 % where 95 % is stated, and this 95 % (tests/test_stats.py measures it).
    Warns where a task has fewer than 5 runs: no bootstrap of so few keeps its level.
    """
    tasks = tuple(checked(scores).values())
    n = min(map(len, tasks))
    value = float(statistic(*tasks))
    if n == 1:
        return Estimate(value, None, None, n)
    if all(np.ptp(x) == 0 for x in tasks):
        return Estimate(value, value, value, n)
    if n < FEW:
        warnings.warn(
            f"n={n} runs are too few for a bootstrap: its interval is too narrow; use {FEW} or more", stacklevel=2
        )
    found = stats.bootstrap(
        tasks,
        lambda *drawn, axis: statistic(*drawn),  # `axis` is the last; that it is there says that many are drawn at once
        n_resamples=resamples,
        confidence_level=wider(LEVEL, n, sum(len(x) - 1 for x in tasks)) if method == "expanded" else LEVEL,
        method="percentile" if method == "expanded" else method,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    if np.isnan(found.low):  # BCa has no interval where leaving one run out changes nothing
        return Estimate(value, None, None, n)
    return Estimate(value, float(found.low), float(found.high), n)


def wider(level: float, n: int, freedom: int) -> float:
    """The level whose percentiles stand as far out as Student's interval of n runs: resampling makes the standard error
    sqrt((n - 1) / n) too small, and percentiles have the normal's tails."""
    return 1 - 2 * float(ndtr(np.sqrt(n / (n - 1)) * stdtrit(freedom, (1 - level) / 2)))


def performance_profile(
    scores: Scores, thresholds: np.ndarray, *, resamples: int = 2_000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of runs that score above each threshold, the mean over tasks (Agarwal et al. 2021, equation 3).

    thresholds f64[K] -> share, low, high f64[K]: a stratified bootstrap's percentile interval at each threshold, too
    narrow for few runs and without width for one.
    """
    tasks = checked(scores).values()
    rng = np.random.default_rng(seed)

    def shares(*drawn: np.ndarray) -> np.ndarray:
        above = [(x[..., None, :] > thresholds[:, None]).mean(-1) for x in drawn]  # [..., K]
        return np.mean(above, axis=0)

    drawn = [rng.choice(x, (resamples, len(x))) for x in tasks]  # [resamples, N]
    low, high = np.quantile(shares(*drawn), ENDS, axis=0)
    return shares(*tasks), low, high


def better(ours: np.ndarray, theirs: np.ndarray) -> Any:
    """Share of pairs in which one of ours beats one of theirs, ties half (Mann and Whitney 1947): [...,N], [...,L] -> [...]"""
    gap = ours[..., :, None] - theirs[..., None, :]
    return (np.sign(gap) / 2 + 0.5).mean((-2, -1))


def improvement(ours: Scores, theirs: Scores, *, resamples: int = 2_000, seed: int = 0) -> Estimate:
    """Probability that a run of ours beats one of theirs on a task drawn at random (Agarwal et al. 2021, section 4.3),
    with a stratified bootstrap's percentile interval; none for fewer than 5 runs, or where no draw tells another story."""
    if set(ours) != set(theirs):
        raise ValueError(f"tasks differ: {sorted(set(ours) ^ set(theirs))} stand on one side only; give both the same")
    rng = np.random.default_rng(seed)
    others = checked(theirs)
    pairs = [(x, others[task]) for task, x in checked(ours).items()]
    value = float(np.mean([better(x, y) for x, y in pairs]))
    drawn = [
        better(rng.choice(x, (resamples, len(x))), rng.choice(y, (resamples, len(y)))) for x, y in pairs
    ]  # [resamples]
    n = min(len(x) for pair in pairs for x in pair)
    if n < FEW:
        # Runs that are all better stay so however they are drawn: an interval of width 0 would say that this is sure.
        return Estimate(value, None, None, n)
    low, high = np.quantile(np.mean(drawn, axis=0), ENDS)
    return Estimate(value, float(low), float(high), n) if low < high else Estimate(value, None, None, n)


class Difference(NamedTuple):
    """ours - theirs over shared seeds: the mean with its t interval, and the two-sided p of the paired t test."""

    estimate: Estimate
    p: float | None


def paired(ours: Mapping[int, float], theirs: Mapping[int, float]) -> Difference:
    """Compares two settings seed by seed: equal seeds share their randomness, and its part of the noise falls out.

    {seed: score}, finite. Raises ValueError where they share no seed; seeds of one side alone are left out.
    """
    shared = sorted(set(ours) & set(theirs))
    if not shared:
        raise ValueError("the two settings share no seed, so nothing can be paired; run both with the same seeds")
    gaps = np.array([ours[seed] - theirs[seed] for seed in shared], np.float64)
    estimate = mean_interval(gaps)
    if np.ptp(gaps) == 0:
        return Difference(estimate, None if len(gaps) < 2 or estimate.value else 1.0)
    return Difference(estimate, float(stats.ttest_1samp(gaps, 0.0).pvalue))


def holm(p: Sequence[float]) -> np.ndarray:
    """p values corrected for their number, so that the chance of any false alarm stays below the level (Holm 1979)."""
    values = np.asarray(p, np.float64)
    order = np.argsort(values)
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected


def prediction_interval(scores: Sequence[float] | np.ndarray, further: int = 1) -> Estimate:
    """Where the mean of m = `further` more runs would fall: mean +- t * s * sqrt(1/m + 1/n), for normal scores.

    The question to ask of a published single run: could it be one of ours?
    """
    whole = mean_interval(scores)
    if whole.high is None:
        return whole
    half = float((whole.high - whole.value) * np.sqrt(whole.n / further + 1))  # t s / sqrt(n) times sqrt(n/m + 1)
    return Estimate(whole.value, whole.value - half, whole.value + half, whole.n)


def checked(scores: Scores) -> dict[str, np.ndarray]:
    """The tasks' scores as arrays. Raises ValueError for none, or for some that are not finite."""
    tasks = {name: np.asarray(x, np.float64) for name, x in scores.items()}
    if not tasks:
        raise ValueError("scores of no task have no statistic; give {task: scores}")
    for name, x in tasks.items():
        if x.ndim != 1 or not len(x) or not np.isfinite(x).all():
            raise ValueError(f"scores of task {name!r} must be one-dimensional, at least one, and finite; found {x}")
    return tasks


def unseen_share(n: int) -> float:
    """The largest share of seeds that may be unlike the n seen, which were all alike: p with (1 - p)^n = 1 - LEVEL.

    Clopper and Pearson (1934) at none of n.
    """
    if n < 1:
        raise ValueError(f"n={n} must be at least 1; nothing seen says nothing")
    return 1 - (1 - LEVEL) ** (1 / n)
