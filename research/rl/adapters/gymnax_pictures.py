"""Drawings of gymnax's environments: the one file that reads their states' own fields. All of it runs on the host.

Each takes (gymnax's object, its parameters, a state) and uses the signs of the equations that it shows: CartPole's pole leans
right where theta > 0, Acrobot's angles are 0 where it hangs, Pendulum's theta is 0 where it stands and grows to the left, the
mountain's height is sin(3 x).

Dimensions: H rows and W columns of pixels.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from research.rl.pictures import BLUE, GREEN, GREY, INK, NIGHT, ORANGE, PAPER, RED, Canvas, Point, board


def cart_pole(built: Any, params: Any, state: Any) -> np.ndarray:
    """The cart at x on its track between the bounds of the task; the pole's length is twice `params.length`."""
    bound = float(params.x_threshold)
    canvas, x, theta = Canvas((0.0, 0.7), 2.6 * bound), float(state.x), float(state.theta)
    length = 2 * float(params.length)
    canvas.line([(-2 * bound, 0), (2 * bound, 0)], GREY, 0.03)
    for end in (-bound, bound):
        canvas.line([(end, -0.25), (end, 0.25)], RED, 0.03)
    canvas.box((x - 0.4, -0.2), (x + 0.4, 0.2), INK)
    canvas.line([(x, 0.2), (x + length * math.sin(theta), 0.2 + length * math.cos(theta))], ORANGE, 0.13)
    canvas.disc((x, 0.2), 0.06, PAPER)
    return canvas.frame()


def acrobot(built: Any, params: Any, state: Any) -> np.ndarray:
    """Two links from a pivot, and the height that the tip must pass; the second angle counts from the first link."""
    first, second = float(state.joint_angle1), float(state.joint_angle1 + state.joint_angle2)
    one, two = float(params.link_length_1), float(params.link_length_2)
    elbow = (one * math.sin(first), -one * math.cos(first))
    tip = (elbow[0] + two * math.sin(second), elbow[1] - two * math.cos(second))
    canvas = Canvas((0.0, 0.0), 1.5 * (one + two) * 2)
    canvas.line([(-4 * one, one), (4 * one, one)], GREEN, 0.03)
    canvas.line([(0, 0), elbow], BLUE, 0.16)
    canvas.line([elbow, tip], ORANGE, 0.16)
    canvas.disc((0, 0), 0.11, INK)
    canvas.disc(elbow, 0.11, INK)
    return canvas.frame()


def pendulum(built: Any, params: Any, state: Any) -> np.ndarray:
    """The rod, and beneath it the torque of the last action as a bar from the middle: to the left where it is positive and
    turns the rod as theta grows, against the clock."""
    theta, torque = float(state.theta), float(state.last_u) / float(params.max_torque)
    canvas = Canvas((0.0, -0.15), 3.6)
    canvas.line([(0, 0), (0, 1.1)], GREY, 0.01)
    canvas.line([(0, 0), (-math.sin(theta), math.cos(theta))], RED, 0.18)
    canvas.disc((0, 0), 0.06, INK)
    canvas.box((-1, -1.36), (1, -1.28), (228, 229, 231))
    canvas.box((min(0.0, -torque), -1.36), (max(0.0, -torque), -1.28), BLUE)
    return canvas.frame()


def mountain_car(built: Any, params: Any, state: Any) -> np.ndarray:
    """The car on the hill of height sin(3 x), drawn at 0.45 of that, and the flag at its goal."""
    low, high, x = float(params.min_position), float(params.max_position), float(state.position)
    height = lambda x: 0.45 * math.sin(3 * x)
    places = np.linspace(low - 0.3, high + 0.3, 120)
    canvas = Canvas(((low + high) / 2, 0.05), 1.1 * (high - low))
    canvas.polygon([(places[0], -2), *[(p, height(p)) for p in places], (places[-1], -2)], (205, 213, 197))
    canvas.line([(p, height(p)) for p in places], INK, 0.008)
    goal = float(params.goal_position)
    canvas.line([(goal, height(goal)), (goal, height(goal) + 0.22)], INK, 0.012)
    top = height(goal) + 0.22
    canvas.polygon([(goal, top), (goal + 0.1, top - 0.04), (goal, top - 0.08)], GREEN)
    body(canvas, (x, height(x)), math.atan(1.35 * math.cos(3 * x)))
    return canvas.frame()


def body(canvas: Canvas, at: Point, slope: float) -> None:
    """A car whose wheels stand at a point of the road, which rises by the angle `slope`."""
    along, across = (math.cos(slope), math.sin(slope)), (-math.sin(slope), math.cos(slope))
    place = lambda a, b: (at[0] + a * along[0] + b * across[0], at[1] + a * along[1] + b * across[1])
    canvas.polygon([place(-0.085, 0.03), place(0.085, 0.03), place(0.085, 0.075), place(-0.085, 0.075)], BLUE)
    canvas.polygon([place(-0.05, 0.07), place(0.045, 0.07), place(0.03, 0.11), place(-0.035, 0.11)], BLUE)
    for a in (-0.05, 0.05):
        canvas.disc(place(a, 0.027), 0.027, INK)


def frozen_lake(built: Any, params: Any, state: Any) -> np.ndarray:
    """The lake's tiles (start, frozen, hole, goal) and the one that is stood on."""
    tiles = np.array([GREY, (205, 226, 240), NIGHT, GREEN], np.uint8)[np.asarray(built.desc)]  # [rows, columns, 3]
    return board(tiles, {divmod(int(state.position), tiles.shape[1]): ORANGE})


def maze(built: Any, params: Any, state: Any) -> np.ndarray:
    """Free places, the goal (green) and the one that is stood on."""
    free = np.asarray(built.env_map, bool)
    tiles = np.where(
        free[..., None], np.array(PAPER, np.uint8), np.array((92, 98, 110), np.uint8)
    )  # [rows, columns, 3]
    row, column = (int(x) for x in state.goal)
    tiles[row, column] = GREEN
    row, column = (int(x) for x in state.pos)
    return board(tiles, {(row, column): ORANGE})


# By the name that gymnax's object gives itself.
DRAWINGS: dict[str, Callable[[Any, Any, Any], np.ndarray]] = {
    "Acrobot-v1": acrobot,
    "CartPole-v1": cart_pole,
    "FourRooms-misc": maze,
    "FrozenLake-misc": frozen_lake,
    "MetaMaze-misc": maze,
    "MountainCar-v0": mountain_car,
    "MountainCarContinuous-v0": mountain_car,
    "Pendulum-v1": pendulum,
}


def drawing(built: Any, params: Any) -> Callable[[Any], np.ndarray] | None:
    """state -> u8[H,W,3] for a gymnax object that has a drawing of its own, or None."""
    found = DRAWINGS.get(getattr(built, "name", ""))
    return functools.partial(found, built, params) if found else None
