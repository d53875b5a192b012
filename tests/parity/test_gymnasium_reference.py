"""Classic control steps as gymnasium's does (made by make_gymnasium_reference.py)."""

from pathlib import Path

import jax
import numpy as np
import pytest

from research.rl import environments
from research.rl.environments import Box

KEY = jax.random.key(0)
FIELDS = {
    "CartPole-v1": ("x", "x_dot", "theta", "theta_dot"),
    "Acrobot-v1": ("joint_angle1", "joint_angle2", "velocity_1", "velocity_2"),
    "MountainCar-v0": ("position", "velocity"),
    "MountainCarContinuous-v0": ("position", "velocity"),
    "Pendulum-v1": ("theta", "theta_dot"),
}


@pytest.fixture(scope="module")
def reference():
    with np.load(Path(__file__).with_name("gymnasium_reference.npz")) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("name", FIELDS)
def test_steps_equal_gymnasium(reference, name):
    environment = environments.make(name)
    state, action, observation, reward, terminated = (
        reference[f"{name}.{x}"] for x in ("state", "action", "observation", "reward", "terminated")
    )
    assert environment.time_limit == reference[f"{name}.limit"]
    if isinstance(environment.actions, Box):
        action = action / environment.actions.high

    @jax.vmap
    def step(fields, action):
        start, _ = environment.reset(KEY)
        return environment.step(KEY, start.replace(**dict(zip(FIELDS[name], fields, strict=True))), action)

    outcome = jax.jit(step)(state, action)
    if name == "MountainCarContinuous-v0":
        # gymnax lets the car keep its speed at the left wall, where gymnasium stops it.
        wall = (observation[:, 0] == np.float32(-1.2)) & (observation[:, 1] == 0)
        assert wall.any() and (outcome.observation[wall, 1] < 0).all()
        outcome = outcome._replace(observation=outcome.observation.at[wall, 1].set(0))
    np.testing.assert_allclose(outcome.observation, observation, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(outcome.reward, reward, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(outcome.terminated, terminated)
    assert terminated.any() or name == "Pendulum-v1"
    assert not outcome.truncated.any()
