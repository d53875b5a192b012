"""Intervals against hand-worked numbers, and against the rate that they promise."""

import numpy as np
import pytest

from research.report.stats import mean_band, mean_interval, unseen_share


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
