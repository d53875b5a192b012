"""Elo ratings by the model's own definition, by hand for two, and by the coverage of their intervals."""

import numpy as np
import pytest

from research.report.elo import Meeting, ratings


def expected(difference: float) -> float:
    return 1 / (1 + 10 ** (-difference / 400))


def test_two_players_are_as_far_apart_as_their_points_say():
    """75 points of 100 and one drawn game more: 75.5 of 101."""
    found = ratings(2, [Meeting(0, 1, 75.0, 100)])
    assert expected(-found.value[1]) == pytest.approx(75.5 / 101)
    assert found.value[0] == found.low[0] == found.high[0] == 0
    # The logit of a share p of n games has a standard error of 1 / sqrt(n p (1 - p)).
    error = 400 / np.log(10) / np.sqrt(75.5 * 25.5 / 101)
    assert found.high[1] - found.low[1] == pytest.approx(2 * 1.96 * error, rel=1e-3)


def test_who_won_every_game_is_rated_all_the_same_and_far_from_surely():
    found = ratings(2, [Meeting(1, 0, 100.0, 100)])
    assert expected(found.value[1]) == pytest.approx(100.5 / 101)
    assert found.low[1] < found.value[1] - 400 and found.high[1] > found.value[1] + 400


def test_many_players_get_back_the_ratings_that_their_games_were_drawn_from():
    """Among them two who never met."""
    truth, random = np.array([0.0, 120.0, -200.0, 300.0]), np.random.default_rng(0)
    pairs = [(0, 1), (0, 2), (1, 2), (3, 1), (3, 0)]
    won = [random.binomial(20_000, expected(truth[a] - truth[b])) for a, b in pairs]
    found = ratings(4, [Meeting(a, b, float(points), 20_000) for (a, b), points in zip(pairs, won, strict=True)])
    assert np.abs(found.value - truth).max() < 10
    assert (found.low[1:] <= truth[1:]).all() and (found.high[1:] >= truth[1:]).all()


@pytest.mark.parametrize(
    ("truth", "games", "least"),
    [(80.0, 20, 930), (400.0, 20, 930), (600.0, 20, 860), (80.0, 200, 930), (400.0, 200, 930), (600.0, 200, 930)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(truth, games, least):
    random, held = np.random.default_rng(1), 0
    for _ in range(1000):
        found = ratings(2, [Meeting(0, 1, float(random.binomial(games, expected(-truth))), games)])
        held += bool(found.low[1] <= truth <= found.high[1])
    assert held >= least


def test_players_who_never_met_are_not_compared():
    with pytest.raises(ValueError, match="player 2 never met player 0"):
        ratings(4, [Meeting(0, 1, 4.0, 4), Meeting(2, 3, 4.0, 4)])
