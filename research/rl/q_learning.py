"""Tabular Q-learning (Watkins 1989): after each step, Q(s, a) <- (1 - step_size) Q(s, a) + step_size (r + discount max Q(s')).

Observations that are no discrete states are cut into cells. Where an episode is terminated, nothing follows; through a
time limit the update bootstraps.

Dimensions: T steps of a tick, B environments (updated one after another), S states, A actions, K components of an
observation that is cut into cells.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction
from research.rl import annealing, environments
from research.rl.environments import Discrete, Environment, Episodes
from research.rl.greedy import epsilon_greedy, greedy_play
from research.rl.observations import flat
from research.rl.rollout import finished, score


class Cells(NamedTuple):
    """Each of K components is cut into equal cells between low and high; what lies outside belongs to the outer ones."""

    low: tuple[float, ...]
    high: tuple[float, ...]
    count: tuple[int, ...]  # type: ignore[assignment]  # not tuple.count


# For environments whose observations are no states. CartPole: position, speed, angle, angular speed.
CELLS = {
    "CartPole-v1": Cells((-2.4, -3.0, -0.21, -3.0), (2.4, 3.0, 0.21, 3.0), (3, 5, 9, 7)),
    "MountainCar-v0": Cells((-1.2, -0.07), (0.6, 0.07), (24, 24)),
    # Rows and columns of agent and goal, whole numbers.
    "FourRooms-misc": Cells((-0.5,) * 4, (12.5,) * 4, (13,) * 4),
}


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    environment: str = "FrozenLake-misc"
    """Name of an environment with discrete actions."""
    environments: Count = 1
    """Environments side by side; they share the table."""
    rollout_length: Count = 100
    """Steps that each environment takes in a tick."""
    low: tuple[float, ...] = ()
    """Lower end of each component's cells; known ones where empty."""
    high: tuple[float, ...] = ()
    """Upper end of each component's cells; known ones where empty."""
    cells: tuple[int, ...] = ()
    """How many cells each component is cut into; known ones where empty."""
    evaluation_episodes: Count = 32
    """Episodes in an evaluation, without exploration."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    step_size: Fraction = 0.1
    """How far a value moves to what was seen."""
    step_size_end: Fraction = 0.01
    """The same at the run's end; it falls linearly."""
    discount: Fraction = 0.99
    """Weight of a reward one step later."""
    initial_value: float = 0.0
    """What every action is taken to be worth at first; above what can be earned, it explores."""
    epsilon_start: Fraction = 1.0
    """Chance of a random action at the start."""
    epsilon_end: Fraction = 0.05
    """Chance of a random action after the exploration."""
    exploration_fraction: Fraction = 0.5
    """Share of the run over which that chance falls."""


class State(NamedTuple):
    """table f32[S,A]; B episodes under way"""

    table: Array
    episodes: Episodes


def make(setup: Setup, environment: Environment | None = None) -> Experiment:
    """Q-learning as an experiment, in `setup.environment` or in an Environment of one's own."""
    environment = environments.chosen(environment, setup.environment)
    if not isinstance(environment.actions, Discrete):
        raise ValueError(
            f"environment={environment.name!r} has continuous actions, which no table can hold; use ppo or sac"
        )
    cells = chosen_cells(setup, environment)
    return Experiment(
        init=partial(init, setup, environment, cells),
        step=partial(step, setup, environment, cells),
        evaluate=greedy_play(setup, environment, lambda state: partial(values, cells, state.table)),
        score=score,
    )


def chosen_cells(setup: Setup, environment: Environment) -> Cells | None:
    """The cells of an environment's observations, None where they are states already. Raises ValueError where neither."""
    size = math.prod(environment.observation_shape)
    given = Cells(setup.low, setup.high, setup.cells)
    if not any(given):
        if environment.one_hot:
            return None
        if environment.name not in CELLS:
            raise ValueError(
                f"environment={environment.name!r} has observations that are no states, and no cells are known for them: "
                f"name {size} numbers each with --setup.low, --setup.high and --setup.cells"
            )
        given = CELLS[environment.name]
    if {len(part) for part in given} != {size}:
        raise ValueError(
            f"low={given.low}, high={given.high}, cells={given.count} must have {size} numbers each, one for every component "
            f"of what {environment.name} shows"
        )
    wrong = [i for i in range(size) if not given.low[i] < given.high[i] or given.count[i] < 1]
    if wrong:
        i = wrong[0]
        raise ValueError(
            f"component {i} is cut into {given.count[i]} cells from {given.low[i]} to {given.high[i]}; low must be below high, "
            "and cells at least 1"
        )
    return given


def states(cells: Cells | None, environment: Environment) -> int:
    """S"""
    return math.prod(cells.count if cells else environment.observation_shape)


def state_of(cells: Cells | None, observation: Array) -> Array:
    """observation f32[...,O flat] -> i32[...]"""
    if cells is None:
        return jnp.argmax(observation, -1).astype(jnp.int32)
    index = jnp.zeros(observation.shape[:-1], jnp.int32)
    for k, (low, high, count) in enumerate(zip(*cells, strict=True)):
        place = jnp.floor((observation[..., k] - low) / (high - low) * count)
        index = index * count + jnp.clip(place, 0, count - 1).astype(jnp.int32)
    return index


def values(cells: Cells | None, table: Array, observation: Array) -> Array:
    """What table f32[S,A] says of observations f32[B,O flat] -> f32[A,B]"""
    return table[state_of(cells, observation)].T


def init(setup: Setup, environment: Environment, cells: Cells | None, key: Array, hyper: Hyper, data: Any) -> State:
    assert isinstance(environment.actions, Discrete)
    shape = states(cells, environment), environment.actions.count
    table = jnp.full(shape, hyper.initial_value, jnp.float32)
    return State(table, environments.start(environment, key, setup.environments))


def step(
    setup: Setup, environment: Environment, cells: Cells | None, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    draw_key, step_key, fresh_key = jax.random.split(tick.key, 3)
    epsilon = annealing.exploration(hyper, tick)
    step_size = annealing.annealed(tick.index / tick.total, jnp.ones(()), hyper.step_size, hyper.step_size_end)
    shape = setup.rollout_length, setup.environments
    actor = lambda table: epsilon_greedy(environment, partial(values, cells, table), epsilon)
    drawn = actor(state.table).draw(draw_key, shape)
    steps = drawn, jax.random.split(step_key, shape), environments.fresh(environment, fresh_key, shape)

    def take(carry: Any, now: Any) -> Any:
        table, episodes = carry
        drawn, keys, fresh = now
        _, action, _ = actor(table).act((), episodes, drawn)
        episodes, transition = environments.advance(environment, keys, episodes, action, fresh)
        seen, following = (
            state_of(cells, flat(environment, x)) for x in (transition.observation, transition.final_observation)
        )
        rewards = transition.reward, transition.terminated
        table, errors = lax.scan(partial(learn, hyper.discount, step_size), table, (seen, action, *rewards, following))
        return (table, episodes), (transition, jnp.abs(errors).mean())

    (table, episodes), (transitions, errors) = lax.scan(take, (state.table, state.episodes), steps)
    metrics = finished(transitions) | {"error": errors.mean(), "epsilon": epsilon}
    return State(table, episodes), metrics


def learn(discount: Array, step_size: Array, table: Array, seen: Any) -> tuple[Array, Array]:
    """One update by one transition (s, a, r, terminated, s'), scalars -> table f32[S,A], error f32[]"""
    state, action, reward, terminated, following = seen
    target = reward + discount * jnp.where(terminated, 0.0, table[following].max())
    error = target - table[state, action]
    return table.at[state, action].add(step_size * error), error
