"""Landing softly with one engine: an environment of one's own."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from research import Budget
from research.recipes import rl
from research.rl import ppo
from research.rl.environments import Discrete, Environment, Outcome

LIMIT, CEILING = 40, 30


class Lander(NamedTuple):
    """height i32[] above the ground, speed i32[] downwards, time i32[]"""

    height: Array
    speed: Array
    time: Array


def observe(state):
    return jnp.stack([state.height, state.speed]).astype(jnp.float32) / jnp.float32(10)


def reset(key):
    state = Lander(jax.random.randint(key, (), 10, 21), jnp.int32(0), jnp.int32(0))
    return state, observe(state)


def step(key, state, action):
    speed = state.speed + 1 - 2 * action  # action 1 burns
    state = Lander(jnp.maximum(state.height - speed, 0), speed, state.time + 1)
    landed, lost = state.height == 0, state.height > CEILING
    over = landed | lost  # the task is: terminated
    late = ~over & (state.time >= LIMIT)  # only the time is: truncated
    crash = 0.1 * jnp.maximum(speed - 1, 0).astype(jnp.float32) ** 2
    reward = jnp.where(landed, 1.0 - crash, jnp.where(lost, -1.0, 0.0)) - 0.02 * action.astype(jnp.float32)
    return Outcome(state, observe(state), reward, over, late)


LANDER = Environment("lander", (2,), Discrete(2), LIMIT, reset, step)

recipe = rl.recipe(
    "lander",
    lambda setup: ppo.make(setup, LANDER),
    ppo.Setup(environment=LANDER.name, evaluation_episodes=16),
    ppo.Hyper(learning_rate=1e-3),
    Budget(100_000, chunk=20, evaluate_every=100),
    "Learns to land softly from heights of 10 to 20.",
    rl.POLICY_WATCH,
)
