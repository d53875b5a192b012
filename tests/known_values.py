"""Five tiny environments whose values are known, each with endings that are terminations and with time limits instead.

    constant   earns 1 whatever happens
    seen       earns what is seen, -1 or 1
    later      sees the first state, then the second, and only then earns 1
    chosen     earns 1 by action 1, nothing by action 0
    matched    earns 1 where the action is what is seen, otherwise loses 1

There are two states, which observations name, and two actions, or one number that stands for what lies between them.
Where a time limit ends an episode the last action leads to a state of a known value: all values would be others if that
were not counted. They are tables, so that an algorithm learns in all ten at once, each a row of one program; rows share
nothing.

Dimensions: S = 2 states, A = 2 actions.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.engine.chunk import advance, begin
from research.engine.experiment import Experiment
from research.rl.environments import Box, Discrete, Environment, Outcome

STATES, DISCOUNT, LIMIT = 2, 0.5, 3


class Task(NamedTuple):
    """leads_to i32[S], terminated bool[S], reward f32[S,A]; limit i32[], steps before an episode is truncated; beginnings
    i32[], of how many states an episode may begin in one"""

    leads_to: np.ndarray
    terminated: np.ndarray
    reward: np.ndarray
    limit: np.ndarray
    beginnings: np.ndarray


class Known(NamedTuple):
    """What is known of a task at discount 1/2.

    task
    values   f32[S,A] of the best policy
    as_ended f32[S]: values of the best policy where a time limit counts as an ending
    best     what every episode of the best policy earns, where that depends on actions
    """

    task: Task
    values: np.ndarray
    as_ended: np.ndarray
    best: float | None = None


def by_state(*rows: Any) -> np.ndarray:
    """A row for each state, of one value for both actions or one for each -> f32[S,A]"""
    return np.stack([np.broadcast_to(row, 2) for row in rows]).astype(np.float32)


def task(leads_to: Any, terminated: Any, reward: Any, limit: int = LIMIT, beginnings: int = STATES) -> Task:
    return Task(np.int32(leads_to), np.array(terminated, bool), by_state(*reward), *np.int32([limit, beginnings]))


NEVER, AT_ONCE, STAY = (0, 0), (1, 1), (0, 1)
BY_ACTION, BY_MATCH = ((0, 1), (0, 1)), ((1, -1), (-1, 1))
KNOWN = {
    "constant": Known(task(STAY, AT_ONCE, (1, 1)), by_state(1, 1), np.ones(2)),
    "seen": Known(task(STAY, AT_ONCE, (-1, 1)), by_state(-1, 1), np.array([-1, 1])),
    "later": Known(task((1, 1), (0, 1), (0, 1), beginnings=1), by_state(0.5, 1), np.array([0.5, 1])),
    "chosen": Known(task(STAY, AT_ONCE, BY_ACTION), by_state(*BY_ACTION), np.ones(2), 1.0),
    "matched": Known(task(STAY, AT_ONCE, BY_MATCH), by_state(*BY_MATCH), np.ones(2), 1.0),
    # Truncated after three steps in one state: 1 + 1/2 + 1/4 + ... = 2. To the limit they are worth 1.75, 1.5 and 1.
    "constant, truncated": Known(task(STAY, NEVER, (1, 1)), by_state(2, 2), np.full(2, 4.25 / 3)),
    "seen, truncated": Known(task(STAY, NEVER, (-1, 1)), by_state(-2, 2), np.array([-4.25, 4.25]) / 3),
    # V(1) = 1 + V(0)/2 and V(0) = V(1)/2, so 4/3 and 2/3. To the limit, on the way 0, 1, 0: 1/2, 1 and 0.
    "later, truncated": Known(task((1, 0), NEVER, (0, 1), beginnings=1), by_state(2 / 3, 4 / 3), np.array([0.25, 1])),
    # One step, and what it leads to is worth 2: the best action 1 + 2/2, the other 0 + 2/2 or -1 + 2/2.
    "chosen, truncated": Known(task(STAY, NEVER, BY_ACTION, limit=1), by_state((1, 2), (1, 2)), np.ones(2), 1.0),
    "matched, truncated": Known(task(STAY, NEVER, BY_MATCH, limit=1), by_state((2, 0), (0, 2)), np.ones(2), 1.0),
}


def environment(task: Task, continuous: bool = False) -> Environment:
    """A task to act in; its tables may be traced. Observations are one-hot.

    A continuous action earns what action 1 does at 1/2 and what action 0 does at -1/2, and less at a squared distance from
    the better of them, so that the best one is neither the first guess nor a bound.
    """

    def observe(state: Array) -> Array:
        return jax.nn.one_hot(state, STATES)

    def reset(key: Array) -> tuple[Any, Array]:
        state = jax.random.randint(key, (), 0, task.beginnings)
        return (state, jnp.int32(0)), observe(state)

    def step(key: Array, now: Any, action: Array) -> Outcome:
        state, time = now
        first, second = rewards = jnp.asarray(task.reward)[state]
        if continuous:
            distance = action[0] - 0.5 * jnp.sign(second - first)
            reward = jnp.maximum(first, second) - jnp.abs(second - first) * distance**2
        else:
            reward = rewards[action]
        after, terminated = jnp.asarray(task.leads_to)[state], jnp.asarray(task.terminated)[state]
        truncated = ~terminated & (time + 1 >= task.limit)
        return Outcome((after, time + 1), observe(after), reward, terminated, truncated)

    actions = Box(np.float32([-1]), np.float32([1])) if continuous else Discrete(2)
    return Environment("known", (STATES,), actions, LIMIT, reset, step, one_hot=True, binary=True)


def learned(experiment: Experiment, hyper: Any, ticks: int, seed: int = 0) -> tuple[Any, dict[str, Array], Any]:
    """-> state, metrics [ticks], hyper as traced numbers, of one run"""
    state, metrics = jax.jit(lambda seed: trained(experiment, hyper, ticks, seed))(jnp.uint32(seed))
    return state, metrics, jax.tree.map(jnp.float32, hyper)


def trained(experiment: Experiment, hyper: Any, ticks: int, seed: Array) -> tuple[Any, Any]:
    """Takes so many ticks as the engine does -> state, metrics [ticks]."""
    traced = jax.tree.map(jnp.float32, hyper)
    state = begin(experiment)(seed, traced, ())
    return advance(experiment, ticks, 1)(state, seed, traced, (), jnp.int32(0), jnp.int32(ticks), None)
