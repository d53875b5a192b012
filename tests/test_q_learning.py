"""Tabular Q-learning: the update by hand, cells, and a lake to cross."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import pytest
from known_values import trained

from research.rl import environments, q_learning
from research.rl.q_learning import Cells, Hyper, Setup

KEY = jax.random.key(0)


def test_the_update_by_hand():
    # Q(0, 1) = 2, r = 1, discount 1/2, best of the next state 4: 2 + 1/4 * (1 + 2 - 2) = 2.25.
    table = jnp.array([[0.0, 2.0], [4.0, 3.0]])
    seen = lambda terminated: (jnp.int32(0), jnp.int32(1), jnp.float32(1), jnp.bool_(terminated), jnp.int32(1))
    after, error = q_learning.learn(jnp.float32(0.5), jnp.float32(0.25), table, seen(False))
    assert after.tolist() == [[0.0, 2.25], [4.0, 3.0]] and float(error) == 1.0
    # Where the episode is over nothing follows: 2 + 1/4 * (1 - 2).
    assert q_learning.learn(jnp.float32(0.5), jnp.float32(0.25), table, seen(True))[0].tolist() == [
        [0.0, 1.75],
        [4.0, 3.0],
    ]


def test_cells_are_counted_row_by_row_and_the_outer_ones_have_no_end():
    cells = Cells((0.0, -1.0), (4.0, 1.0), (4, 2))
    points = jnp.array([[0.5, -0.5], [0.5, 0.5], [3.9, 0.5], [-9.0, -9.0], [9.0, 9.0], [1.0, 0.0]])
    assert q_learning.state_of(cells, points).tolist() == [0, 1, 7, 0, 7, 3]
    assert q_learning.states(cells, environments.make("CartPole-v1")) == 8


def test_frozen_lake_is_crossed():
    """On ice that turns two steps of three aside, the best policy reaches the goal within a hundred steps in 74 of 100
    episodes (by value iteration); a random one in about 1 of 70."""
    experiment = q_learning.make(Setup(environments=8, evaluation_episodes=512))
    state, metrics = jax.jit(lambda: trained(experiment, Hyper(discount=0.99), 400, jnp.uint32(0)))()
    assert float(experiment.evaluate(KEY, state, Hyper(), ()).returns.mean()) > 0.6
    assert metrics["episode_return"].total[:20].sum() / metrics["episode_return"].count[:20].sum() < 0.05


@pytest.mark.parametrize("name", ["FourRooms-misc", "CartPole-v1", "MountainCar-v0"])
def test_named_environments_have_cells(name):
    environment = environments.make(name)
    cells = q_learning.chosen_cells(Setup(environment=name), environment)
    _, observation = environment.reset(KEY)
    assert 0 <= int(q_learning.state_of(cells, observation)) < q_learning.states(cells, environment)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"environment": "Pendulum-v1"}, "has continuous actions, which no table can hold"),
        ({"environment": "Acrobot-v1"}, "no cells are known for them: name 6 numbers each"),
        ({"environment": "CartPole-v1", "cells": (2, 2)}, "must have 4 numbers each"),
        (
            {"environment": "MountainCar-v0", "low": (0.0, 1.0), "high": (1.0, 1.0), "cells": (2, 2)},
            "component 1 is cut into 2 cells from 1.0 to 1.0; low must be below high",
        ),
    ],
)
def test_what_no_table_holds_is_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        q_learning.make(replace(Setup(), **fields))
