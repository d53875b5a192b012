"""Elo ratings by the model's own definition, by hand for two, and by the coverage of their intervals."""

import numpy as np
import pytest

from research.report.elo import Meeting, fitted, ratings


def expected(difference: float) -> float:
    return 1 / (1 + 10 ** (-difference / 400))


def test_two_players_are_as_far_apart_as_their_points_say():
    """75 points of 100 and one drawn game more: 75.5 of 101."""
    points = np.array([1.0] * 70 + [0.5] * 10 + [0.0] * 20)
    _, other = fitted(2, [Meeting(0, 1, points)])
    assert expected(-other) == pytest.approx(75.5 / 101)
    twice = fitted(2, [Meeting(0, 1, points, games=2)])[1]
    assert expected(-twice) == pytest.approx(150.5 / 201)


def test_who_won_every_game_is_rated_all_the_same():
    value = fitted(2, [Meeting(1, 0, np.ones(100))])
    assert value[0] == 0 and expected(value[1]) == pytest.approx(100.5 / 101)


def test_many_players_get_back_the_ratings_that_their_games_were_drawn_from():
    """Among them two who never met."""
    truth, random = np.array([0.0, 120.0, -200.0, 300.0]), np.random.default_rng(0)
    pairs = [(0, 1), (0, 2), (1, 2), (3, 1), (3, 0)]
    meetings = [Meeting(a, b, (random.random(20_000) < expected(truth[a] - truth[b])).astype(float)) for a, b in pairs]
    assert np.abs(fitted(4, meetings) - truth).max() < 10


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    random, truth, held = np.random.default_rng(1), 80.0, 0
    for _ in range(200):
        points = (random.random(100) < expected(-truth)).astype(float)
        found = ratings(2, [Meeting(0, 1, points)], resamples=200)
        assert found.low[1] <= found.value[1] <= found.high[1] and found.low[0] == found.high[0] == 0
        held += bool(found.low[1] <= truth <= found.high[1])
    assert 178 <= held <= 199


def test_players_who_never_met_are_not_compared():
    with pytest.raises(ValueError, match="player 2 never met player 0"):
        ratings(4, [Meeting(0, 1, np.ones(4)), Meeting(2, 3, np.ones(4))])
