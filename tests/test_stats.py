"""Intervals against hand-worked numbers, and against the rate that they promise."""

import numpy as np
import pytest

from research.report.stats import mean_band, mean_interval, proportion_interval


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


def test_proportion_interval_by_hand():
    # z = 1.959964, z^2 = 3.841459. 8 of 10: centre (0.8 + 0.192073) / 1.384146 = 0.716740,
    # half (1.959964 * sqrt(0.016 + 0.00960365)) / 1.384146 = 0.226577.
    assert proportion_interval(8, 10) == pytest.approx((0.8, 0.490162, 0.943317, 10), abs=2e-6)
    # 0 of 10: low is 0, high is z^2 / (n + z^2) = 0.277533; all of 10 mirrors it.
    assert proportion_interval(0, 10) == pytest.approx((0.0, 0.0, 0.277533, 10), abs=1e-6)
    assert proportion_interval(10, 10) == pytest.approx((1.0, 0.722467, 1.0, 10), abs=1e-6)


def test_proportion_interval_covers_the_truth_near_its_rate():
    # Wilson's interval meets its rate on average over the truth; at single truths it moves around it.
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 1, 4000)
    successes = rng.binomial(30, truth)
    ends = np.array([proportion_interval(int(k), 30)[1:3] for k in successes])
    covered = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    assert covered == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_proportions_are_refused(successes, trials):
    with pytest.raises(ValueError, match=f"successes={successes} of trials={trials}"):
        proportion_interval(successes, trials)
