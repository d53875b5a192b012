"""Ratings of players from games between them, by the Bradley-Terry model (Bradley and Terry 1952) on Elo's scale.

Who is rated d points above another gets 1 / (1 + 10^(-d / 400)) of the points of their games, a draw being half a point.

Dimensions: K players.
"""

from typing import NamedTuple

import numpy as np

from research.report.stats import LEVEL, check_level

SCALE = 400 / np.log(10)


class Meeting(NamedTuple):
    """Games of player `one` against player `other`, who are numbers from 0: points f64[N] that `one` got, from 0 to 1 each, in
    each of N units that are independent of each other: the mean of the games of one opening, say, of which there are `games`"""

    one: int
    other: int
    points: np.ndarray
    games: int = 1


class Ratings(NamedTuple):
    """f64[K] each, in Elo points above the first player, who has 0 and no interval"""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def ratings(players: int, meetings: list[Meeting], resamples: int = 1000, seed: int = 0) -> Ratings:
    """Ratings with 95 % intervals, the percentiles of a bootstrap over the units of each meeting.

    Each pair that met is given one drawn game more, without which whoever won all of his games is rated infinite. Raises
    ValueError where players fall into groups that never met.
    """
    check_level(LEVEL)
    together(players, meetings)
    random = np.random.default_rng(seed)
    drawn = [
        fitted(players, [m._replace(points=random.choice(m.points, len(m.points))) for m in meetings])
        for _ in range(resamples)
    ]
    low, high = np.quantile(np.stack(drawn), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return Ratings(fitted(players, meetings), low, high)


def together(players: int, meetings: list[Meeting]) -> None:
    """Raises ValueError where not every player is reached from the first by meetings."""
    reached = {0}
    for _ in range(players):
        reached |= {side for m in meetings if {m.one, m.other} & reached for side in (m.one, m.other)}
    if missing := set(range(players)) - reached:
        raise ValueError(f"player {min(missing)} never met player 0, not even by way of others; let them play")


def fitted(players: int, meetings: list[Meeting]) -> np.ndarray:
    """The likeliest ratings f64[K] in Elo points, by Newton's method."""
    won, met = np.zeros((players, players)), np.zeros((players, players))
    for one, other, points, games in meetings:
        got = games * points.sum() + 0.5
        won[one, other] += got
        won[other, one] += games * len(points) + 1 - got
        met[[one, other], [other, one]] += games * len(points) + 1
    strength = np.zeros(players)
    for _ in range(100):
        expected = 1 / (1 + np.exp(strength[None] - strength[:, None]))
        gradient = (won - met * expected).sum(1)
        curvature = met * expected * expected.T
        hessian = np.diag(curvature.sum(1)) - curvature
        step = np.zeros(players)
        step[1:] = np.linalg.solve(hessian[1:, 1:], gradient[1:])
        strength += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-10:
            break
    return SCALE * strength
