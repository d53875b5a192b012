"""minatar-* play as the original MinAtar with the same chances (made by make_minatar_reference.py)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.rl import environments

STEP_KEY, RESET_KEY = jax.random.key(0), jax.random.key(1)


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("minatar_reference.npz")) as arrays:
        return dict(arrays)


def play(environment, actions):
    """Observations before, rewards and endings after the actions i32[T], each episode followed by a fresh one."""

    def take(carry, moment):
        state, seen = carry
        index, action = moment
        outcome = environment.step(jax.random.fold_in(STEP_KEY, index), state, action)
        fresh = environment.reset(jax.random.fold_in(RESET_KEY, index + 1))
        following = jax.lax.cond(outcome.terminated, lambda: fresh, lambda: (outcome.state, outcome.observation))
        return following, (seen, outcome.reward, outcome.terminated)

    start = environment.reset(jax.random.fold_in(RESET_KEY, 0))
    return jax.lax.scan(take, start, (jnp.arange(len(actions)), actions))[1]


def both(reference, name):
    """Observations, rewards and endings: ours, the original's."""
    environment = environments.make(f"minatar-{name}")
    action, packed, shape, *rest = (
        reference[f"{name}.{x}"] for x in ("action", "observation", "shape", "reward", "terminated")
    )
    ours = jax.jit(lambda actions: play(environment, actions))(jnp.int32(action))
    seen = np.unpackbits(packed)[: len(action) * shape.prod()].reshape(len(action), *shape)
    return [np.asarray(x) for x in ours], [seen, *rest]


@pytest.mark.parametrize("name", ["asterix", "breakout", "freeway", "space_invaders"])
def test_games_equal_the_original(reference, name):
    for ours, theirs in zip(*both(reference, name), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_seaquest_differs_from_the_original_as_far_as_is_said(reference):
    (seen, *ours), (expected, *theirs) = both(reference, "seaquest")
    for found, wanted in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert 0 < (seen != expected).any((1, 2, 3)).sum() <= 10
