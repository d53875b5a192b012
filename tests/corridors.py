"""An environment whose action values are known: a corridor of four places with a reward of 1 at its end."""

import jax
import jax.numpy as jnp

from research.engine.experiment import Tick
from research.engine.keys import at_tick, stream
from research.rl.environments import Discrete, Environment, Outcome

PLACES, LIMIT = 4, 20


def corridor(time_limit: int = LIMIT) -> Environment:
    """Action 1 goes right, action 0 left (or stays at the left end). Past the last place the episode ends with 1.

    An episode begins anywhere. Observations are one-hot.
    """

    def observe(place):
        return jax.nn.one_hot(place, PLACES)

    def reset(key):
        place = jax.random.randint(key, (), 0, PLACES)
        return (place, jnp.int32(0)), observe(place)

    def step(key, state, action):
        place, time = state
        after = jnp.maximum(place + 2 * action - 1, 0)
        terminated = after >= PLACES
        return Outcome(
            (after, time + 1),
            observe(after),
            terminated.astype(jnp.float32),
            terminated,
            ~terminated & (time + 1 >= time_limit),
        )

    return Environment("corridor", (PLACES,), Discrete(2), time_limit, reset, step, one_hot=True, binary=True)


def trained(experiment, hyper, ticks: int, key):
    """Takes so many ticks from an experiment's first state -> state, metrics [ticks], hyper as traced numbers."""
    traced = jax.tree.map(jnp.float32, hyper)
    draws = stream(jnp.uint32(0), "step")

    def take(state, index):
        return experiment.step(state, traced, (), Tick(index, jnp.int32(ticks), at_tick(draws, index)))

    whole = jax.jit(lambda state: jax.lax.scan(take, state, jnp.arange(ticks, dtype=jnp.int32)))
    state, metrics = whole(jax.jit(experiment.init)(key, traced, ()))
    return state, metrics, traced


def best_values(discount: float) -> list[list[float]]:
    """Q*[action][place]: 1 after going right PLACES - place times, each further step costs one discount."""
    right = [discount ** (PLACES - 1 - place) for place in range(PLACES)]
    left = [discount * right[max(place - 1, 0)] for place in range(PLACES)]
    return [left, right]
