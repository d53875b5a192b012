"""Intervals against hand-worked numbers, and against the rate that they promise."""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from research.report import stats
from research.report.stats import (
    Estimate,
    bootstrap,
    holm,
    improvement,
    mean_band,
    mean_interval,
    paired,
    performance_profile,
    prediction_interval,
    unseen_share,
)

RLIABLE = np.load(Path(__file__).with_name("parity") / "rliable_reference.npz")


def test_mean_interval_by_hand():
    # Mean 2, sample standard deviation 1, so the standard error is 1/sqrt(3) = 0.57735. The 97.5 % point of Student's
    # t with 2 degrees of freedom is 4.30265 (any table), so half the width is 2.48414.
    value, low, high, n = mean_interval([1.0, 2.0, 3.0])
    assert (value, n) == (2.0, 3)
    assert [low, high] == pytest.approx([2 - 2.48414, 2 + 2.48414], abs=1e-5)
    # At 90 % the point is 2.91999.
    assert mean_interval([1.0, 2.0, 3.0], 0.9).high == pytest.approx(2 + 2.91999 * 0.57735, abs=1e-4)


def test_one_score_has_no_interval():
    assert mean_interval([0.7]) == (0.7, None, None, 1)


def test_equal_scores_have_width_zero():
    assert mean_interval([500.0] * 16) == (500.0, 500.0, 500.0, 16)


@pytest.mark.parametrize(
    ("scores", "level", "message"),
    [
        ([], 0.95, "hold at least one"),
        ([[1.0, 2.0]], 0.95, "one-dimensional"),
        ([1.0, float("nan")], 0.95, "1 of 2 that are not finite"),
        ([1.0, 2.0], 95, "level=95 must be between 0 and 1"),
        ([1.0, 2.0], 1, "level=1 must be between 0 and 1"),
        ([1.0, 2.0], 0, "level=0 must be between 0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused(scores, level, message):
    with pytest.raises(ValueError, match=message):
        mean_interval(scores, level)


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [2, 5, 16])
def test_mean_interval_covers_the_truth_at_its_rate(n, level):
    scores = np.random.default_rng(0).normal(3.0, 2.0, (n, 20_000))
    _, low, high, _ = mean_band(scores, level)
    covered = ((low <= 3.0) & (high >= 3.0)).mean()
    # Exact for normal scores: four standard errors of 20,000 trials are 0.011 at 80 %, 0.006 at 95 %.
    assert covered == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 20_000))


@pytest.mark.filterwarnings("error")
def test_band_is_the_interval_at_each_time_over_what_is_there():
    curves = np.random.default_rng(1).normal(size=(5, 4))
    curves[0, 1] = np.nan
    curves[1:, 2] = np.nan
    curves[:, 3] = np.nan
    mean, low, high, n = mean_band(curves)
    assert n.tolist() == [5, 4, 1, 0]
    assert (mean[0], low[0], high[0]) == pytest.approx(mean_interval(curves[:, 0])[:3])
    assert (mean[1], low[1], high[1]) == pytest.approx(mean_interval(curves[1:, 1])[:3])
    assert mean[2] == curves[0, 2]
    assert np.isnan([low[2], high[2], mean[3], low[3], high[3]]).all()


def test_a_few_failing_seeds_are_often_missed_as_the_docstring_says():
    rng = np.random.default_rng(0)
    scores = np.where(rng.random((16, 20_000)) < 0.05, 300.0, 500.0)
    _, low, high, _ = mean_band(scores)
    assert 0.5 < ((low <= 490) & (high >= 490)).mean() < 0.6


def test_share_of_seeds_unlike_all_that_were_seen():
    # (1 - p)^1 = 0.05: p = 0.95. With n = 16, p = 0.1708: in 5 % of draws of 16 none is unlike the others.
    assert unseen_share(1) == pytest.approx(0.95)
    unlike = np.random.default_rng(0).random((20_000, 16)) < unseen_share(16)
    assert (~unlike.any(1)).mean() == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 20_000))
    with pytest.raises(ValueError, match="n=0"):
        unseen_share(0)


# Aggregates over tasks


def tasks(scores: np.ndarray) -> dict[str, np.ndarray]:
    """scores f64[runs,tasks] as rliable has them -> {task: f64[runs]}"""
    return {str(task): scores[:, task] for task in range(scores.shape[1])}


def test_aggregates_by_hand():
    # Eight runs 1..8 in two tasks: the middle half is 3, 4, 5, 6, of mean 4.5.
    two = {"a": [1.0, 2, 3, 4], "b": [5.0, 6, 7, 8]}
    arrays = [np.array(x) for x in two.values()]
    assert stats.iqm(*arrays) == 4.5
    # Task means 2.5 and 6.5; an outlier in one run moves the median, but not with three tasks.
    assert stats.mean(*arrays) == stats.median(*arrays) == 4.5
    assert stats.median(*arrays, np.array([1e9])) == 6.5
    # Below 6: 1 + 2 + 3 + 4 misses 5 + 4 + 3 + 2 = 14 of 4 runs; 5 misses 1 of 4: (3.5 + 0.25) / 2.
    assert stats.optimality_gap(6.0)(*arrays) == pytest.approx(1.875)
    # Tasks of different sizes count the same in the mean.
    assert stats.mean(np.array([1.0]), np.array([4.0, 6.0])) == 3.0


def test_aggregates_equal_rliables():
    arrays = list(tasks(RLIABLE["ours"]).values())
    found = [f(*arrays) for f in (stats.mean, stats.median, stats.iqm, stats.optimality_gap(1.0))]
    np.testing.assert_allclose(found, RLIABLE["aggregates"], rtol=1e-12)


def test_profile_equals_rliables_and_its_band_holds_it():
    share, low, high = performance_profile(tasks(RLIABLE["ours"]), RLIABLE["thresholds"], resamples=500)
    np.testing.assert_allclose(share, RLIABLE["profile"], rtol=1e-12)
    assert (low <= share).all() and (share <= high).all() and (high - low).max() > 0.05


def test_percentiles_of_shares_by_hand():
    """Half of forty runs at 1, the others at 0: of forty drawn anew Binomial(40, 1/2) are at 1: less than 14 of them in
    1.9 % of draws and at most 14 in 4.0 %, and as often as many more than twenty."""
    runs = {"": np.repeat([0.0, 1.0], 20)}
    found = performance_profile(runs, np.array([-1.0, 0.5, 1.0]), resamples=20_000)
    np.testing.assert_allclose(found, [[1, 0.5, 0], [1, 0.35, 0], [1, 0.65, 0]], atol=1e-9)
    found = improvement(runs, {"": [0.5] * 9}, resamples=20_000)
    assert found == pytest.approx((0.5, 0.35, 0.65, 9), abs=1e-9)
    for statistic in (stats.mean, stats.median, stats.optimality_gap(1.0)):
        found = bootstrap(runs, statistic, method="percentile", resamples=20_000)
        assert found == pytest.approx((0.5, 0.35, 0.65, 40), abs=1e-9)


def test_improvement_equals_rliables_and_by_hand():
    ours, theirs = tasks(RLIABLE["ours"]), tasks(RLIABLE["theirs"])
    found = improvement(ours, theirs)
    assert found == improvement(ours, theirs, resamples=2000, seed=0)
    assert found.value == pytest.approx(float(RLIABLE["improvement"]), rel=1e-12)
    assert found.low < found.value < found.high
    # 2 beats 1, ties 2, loses to 3: (1 + 1/2 + 0) / 3.
    assert improvement({"": [2.0]}, {"": [1.0, 2.0, 3.0]}).value == 0.5
    # Three runs that are all better would stay so however they are drawn.
    assert improvement({"": [2.0, 3.0, 4.0]}, {"": [0.0, 0.1, 0.2]})[:3] == (1.0, None, None)
    # So would five; and where one side has fewer, its number counts.
    assert improvement({"": [2.0, 3, 4, 5, 6]}, {"": [0.0, 0.1, 0.2, 0.3, 0.4]}) == (1.0, None, None, 5)
    assert improvement({"": [2.0, 0, 4, 0, 6]}, {"": [1.0, 3.0]})[1:] == (None, None, 2)
    assert improvement({"": [2.0, 0, 4, 0]}, {"": [1.0] * 9})[1:] == (None, None, 4)
    assert improvement({"": [2.0, 0, 4, 0, 6]}, {"": [1.0] * 9}).low is not None
    with pytest.raises(ValueError, match=r"tasks differ: \['a'\]"):
        improvement({"a": [1.0], "b": [1.0]}, {"b": [1.0]})


def test_bootstrap_interval_is_near_rliables():
    # Both draw 20,000 stratified resamples; the ends differ by what a seed changes, about a hundredth of the width.
    low, high = RLIABLE["iqm_interval"]
    found = bootstrap(tasks(RLIABLE["ours"]), stats.iqm, method="percentile", resamples=20_000)
    assert found.low == pytest.approx(low, abs=0.03 * (high - low))
    assert found.high == pytest.approx(high, abs=0.03 * (high - low))


def test_bootstrap_heeds_its_seed_and_strata():
    scores = tasks(RLIABLE["ours"])
    again = [bootstrap(scores, stats.iqm, resamples=200, seed=seed) for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]
    # Two tasks without spread: drawn within tasks the mean never moves.
    constant = bootstrap({"a": [0.0] * 9 + [1e-9], "b": [10.0] * 10}, stats.mean, resamples=200)
    assert constant.high - constant.low < 1e-8
    assert bootstrap({"a": [1.0], "b": [1.0, 2.0]}, stats.mean) == (1.25, None, None, 1)
    # Nine seeds at the limit and one below: BCa cannot say, and says so.
    assert bootstrap({"a": [500.0] * 9 + [300.0]}, stats.iqm, method="BCa", resamples=200)[1:3] == (None, None)


@pytest.mark.filterwarnings("error")
def test_tasks_without_any_spread_have_width_zero_and_no_warning():
    assert bootstrap({"a": [1.0, 1.0], "b": [4.0] * 3}, stats.mean, method="BCa") == (2.5, 2.5, 2.5, 2)


OURS, THEIRS = tasks(RLIABLE["ours"]), tasks(RLIABLE["theirs"])


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # SciPy's, of the standard error of one draw
@pytest.mark.parametrize(
    ("function", "resamples"),
    [
        (partial(bootstrap, OURS, stats.mean), 10_000),
        (partial(performance_profile, OURS, RLIABLE["thresholds"]), 2_000),
        (partial(improvement, OURS, THEIRS), 2_000),
    ],
)
def test_draws_are_as_many_as_asked_for_and_the_same_whenever_nothing_is(function, resamples):
    equal = lambda a, b: all(map(np.array_equal, a, b))
    assert equal(function(), function(resamples=resamples, seed=0))
    assert not equal(function(), function(resamples=resamples, seed=1))
    once = function(resamples=1)
    assert np.array_equal(*once[1:3]), "one draw has no width"


def test_the_expanded_interval_is_a_percentile_interval_of_a_wider_level(monkeypatch):
    # Student's t at 97.5 % with 10 degrees of freedom is 2.22814 (any table), times sqrt(3 / 2) 2.72890; the normal's tail
    # beyond that is 0.00318.
    assert stats.wider(0.95, 3, 10) == pytest.approx(1 - 2 * 0.003178, abs=2e-6)
    # Four tasks of 3 runs and one of 4 have 4 x 2 + 3 = 11 degrees of freedom, and 3 runs are the fewest.
    scores = {str(task): np.random.default_rng(task).normal(size=3 + (task == 4)) for task in range(5)}
    with pytest.warns(UserWarning, match="n=3"):
        expanded = bootstrap(scores, stats.mean)
        monkeypatch.setattr(stats, "LEVEL", stats.wider(0.95, 3, 11))
        assert bootstrap(scores, stats.mean, method="percentile") == expanded


def coverage(method: str, n: int, draws: int, resamples: int = 1_000) -> float:
    """How often the interval of n normal scores' mean holds the truth."""
    rng, covered = np.random.default_rng(0), 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for draw in range(draws):
            found = bootstrap({"": rng.normal(0, 1, n)}, stats.mean, method=method, resamples=resamples, seed=draw)
            covered += found.low <= 0 <= found.high
    return covered / draws


def test_bootstrap_covers_the_truth_at_its_rate_with_ten_runs():
    assert 0.93 <= coverage("expanded", 10, draws=2_000) <= 0.97


def test_bootstrap_covers_too_rarely_without_expansion_or_with_three_runs():
    assert 0.86 <= coverage("percentile", 10, draws=400) <= 0.93
    assert 0.86 <= coverage("BCa", 10, draws=400) <= 0.93
    assert 0.60 <= coverage("expanded", 3, draws=400) <= 0.93


def test_fewer_than_five_runs_are_warned_of():
    with pytest.warns(UserWarning, match="n=4 runs are too few for a bootstrap.*use 5 or more") as told:
        bootstrap({"a": [1.0, 2.0, 4.0, 8.0], "b": [0.0] * 9}, stats.mean, resamples=50)
    assert [warning.filename for warning in told] == [__file__], "the line that asked for it"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bootstrap({"": [1.0, 2.0, 4.0, 8.0, 16.0]}, stats.mean, resamples=50)


def test_pairs_take_the_shared_noise_out():
    # Differences 1, 1, 2 over seeds 0, 1, 2: mean 4/3, s = 1/sqrt(3), standard error 1/3, t = 4 with 2 degrees of freedom;
    # two-sided p = 0.0572; half the interval 4.30265 / 3. Seed 9 stands on one side only.
    found = paired({0: 101.0, 1: 51.0, 2: 2.0, 9: 5.0}, {0: 100.0, 1: 50.0, 2: 0.0})
    assert found.estimate == pytest.approx((4 / 3, 4 / 3 - 1.434218, 4 / 3 + 1.434218, 3), abs=1e-5)
    assert found.p == pytest.approx(0.0571909, abs=1e-6)
    # No difference anywhere; one that is the same everywhere, which no noise explains; one seed, which has no spread.
    assert paired({0: 1.0, 1: 2.0}, {0: 1.0, 1: 2.0}).p == 1.0
    assert paired({0: 3.0, 1: 4.0}, {0: 1.0, 1: 2.0}) == ((2.0, 2.0, 2.0, 2), None)
    assert paired({0: 3.0}, {0: 3.0}) == ((0.0, None, None, 1), None)
    # Differences 0 and 1 of two seeds: t = 1 with 1 degree of freedom, half of all lies within +-1.
    assert paired({0: 3.0, 1: 5.0}, {0: 3.0, 1: 4.0}).p == pytest.approx(0.5)
    with pytest.raises(ValueError, match="share no seed"):
        paired({0: 1.0}, {1: 1.0})


def test_holm_by_hand():
    # Sorted 0.005 x 4, 0.01 x 3, 0.03 x 2, 0.04 x 1 = 0.02, 0.03, 0.06, 0.04, of which none may fall below one before.
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]


def test_prediction_interval_by_hand():
    # Half of mean_interval's is 2.48414 here; sqrt(3/1 + 1) = 2 times that for one more run, sqrt(3/3 + 1) for three more.
    one, three = 2 * 2.48414, np.sqrt(2) * 2.48414
    assert prediction_interval([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - one, 2 + one, 3), abs=1e-4)
    assert prediction_interval([1.0, 2.0, 3.0], further=3) == pytest.approx((2, 2 - three, 2 + three, 3), abs=1e-4)


def test_prediction_interval_covers_one_further_run():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(4_000):
        *seen, new = rng.normal(5, 2, 6)
        found = prediction_interval(seen)
        inside.append(found.low <= new <= found.high)
    assert np.mean(inside) == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / 4_000))
    assert prediction_interval([3.0]) == Estimate(3.0, None, None, 1), "one score says nothing of the next"


@pytest.mark.parametrize("scores", [{}, {"a": []}, {"a": [1.0, np.nan]}, {"a": [[1.0]]}])
def test_scores_without_a_statistic_are_refused(scores):
    with pytest.raises(ValueError, match="scores of"):
        bootstrap(scores, stats.mean)
