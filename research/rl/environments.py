"""Environments as pure functions, and batches of them that reset themselves. Each library of them is behind one file of
`research.rl.adapters`; here is what those files translate to, and the look-up by name over all of them.

An episode ends in two ways that a learner must tell apart (Pardo et al. 2018): it is *terminated* where the task
itself is over and nothing more can be earned, and *truncated* where only a time limit ran out. Every step therefore
also gives the observation that the action led to, before any reset: what a bootstrap through a truncation values.

Dimensions: B environments side by side, A action components; O stands for the shape of an observation.
"""

import difflib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


class Discrete(NamedTuple):
    """Actions i32[] from 0 to count - 1."""

    count: int  # type: ignore[assignment]  # not tuple.count


class Box(NamedTuple):
    """Actions f32[A] that a policy chooses in [-1, 1] and the environment stretches to [low, high].

    low f32[A], high f32[A]
    """

    low: np.ndarray
    high: np.ndarray


class Outcome(NamedTuple):
    """What one action led to, before any reset.

    state; observation f32[O]; reward f32[]; terminated bool[]; truncated bool[]
    """

    state: Any
    observation: Array
    reward: Array
    terminated: Array
    truncated: Array


class Environment(NamedTuple):
    """One environment as pure functions.

    observation_shape  O
    actions            Discrete or Box
    time_limit         steps after which an episode is truncated, whether `step` says so or not
    reset              key -> (state, observation f32[O])
    step               (key, state, action) -> Outcome
    one_hot            True where an observation names one of O states
    binary             True where observations hold nothing but 0 and 1
    draw               state (NumPy, on the host) -> picture u8[H,W,3] for people, or None: then observations are drawn
    """

    name: str
    observation_shape: tuple[int, ...]
    actions: Discrete | Box
    time_limit: int
    reset: Callable[[Array], tuple[Any, Array]]
    step: Callable[[Array, Any, Array], Outcome]
    one_hot: bool = False
    binary: bool = False
    draw: Callable[[Any], np.ndarray] | None = None


class Episodes(NamedTuple):
    """B environments in the middle of their episodes.

    states [B,...], observation f32[B,O], total f32[B] reward so far in the episode, length i32[B] steps so far
    """

    states: Any
    observation: Array
    total: Array
    length: Array


class Transition(NamedTuple):
    """One step of B environments.

    observation f32[B,O] what the action answered; reward f32[B]; terminated bool[B]; truncated bool[B];
    final_observation f32[B,O] what the action led to, before any reset;
    total f32[B], length i32[B] of the episode up to and including this step
    """

    observation: Array
    reward: Array
    terminated: Array
    truncated: Array
    final_observation: Array
    total: Array
    length: Array

    @property
    def ended(self) -> Array:
        """bool[B]: the next observation belongs to a new episode."""
        return self.terminated | self.truncated


def start(environment: Environment, key: Array, count: int) -> Episodes:
    """B = count fresh episodes."""
    return fresh(environment, key, (count,))


def fresh(environment: Environment, key: Array, shape: tuple[int, ...]) -> Episodes:
    """Fresh episodes in a leading `shape`, drawn in one call: far cheaper than one draw inside each step."""
    reset = environment.reset
    for _ in shape:
        reset = jax.vmap(reset)
    states, observation = reset(jax.random.split(key, shape))
    return Episodes(states, observation, jnp.zeros(shape), jnp.zeros(shape, jnp.int32))


def advance(
    environment: Environment, keys: Array, episodes: Episodes, action: Array, replacements: Episodes
) -> tuple[Episodes, Transition]:
    """Takes one step in each of B environments; an episode that ends is followed by its replacement.

    keys key[B], action i32[B] or f32[B,A], replacements Episodes of B
    """
    outcome = jax.vmap(environment.step)(keys, episodes.states, action)
    total, length = episodes.total + outcome.reward, episodes.length + 1
    late = truncated(environment, outcome, length)
    transition = Transition(
        episodes.observation, outcome.reward, outcome.terminated, late, outcome.observation, total, length
    )
    stepped = Episodes(outcome.state, outcome.observation, total, length)
    return jax.tree.map(lambda new, old: where(transition.ended, new, old), replacements, stepped), transition


def truncated(environment: Environment, outcome: Outcome, length: Array) -> Array:
    """Where `step` says so, and where the time limit is reached by length i32[B] steps without a termination: bool[B]"""
    return outcome.truncated | (length >= environment.time_limit) & ~outcome.terminated


def where(condition: Array, yes: Array, no: Array) -> Array:
    """condition bool[B], yes [B,...], no [B,...] -> [B,...]"""
    return lax.select(lax.broadcast_in_dim(condition, yes.shape, (0,)), yes, no)


def make(name: str) -> Environment:
    """The environment `name` of whichever library has it.

    gymnax: its registered names; pgx: "2048" and "minatar-breakout" with its like; mujoco_playground, an optional extra:
    "playground:CartpoleBalance" with its like. Raises ValueError for a name or a space that cannot be used.
    """
    # They need this file's types; and gymnax comes last, for asking it starts JAX's backend.
    from research.rl.adapters import gymnax_adapter, pgx_adapter, playground_adapter

    adapters = pgx_adapter, playground_adapter, gymnax_adapter
    for adapter in adapters:
        if adapter.offers(name):
            return adapter.make(name)
    known = [other for adapter in adapters for other in adapter.names()]
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known
    raise ValueError(
        f"environment={name!r} is not one that gymnax, pgx or mujoco_playground has; close to it: {', '.join(close)}"
    )


def chosen(environment: Environment | None, name: str) -> Environment:
    """One's own environment where there is one, else the one of that name. Raises ValueError for what cannot be used."""
    if environment is None:
        return make(name)
    check(environment)
    return environment


def check(environment: Environment) -> None:
    """Raises ValueError where `reset` or `step` gives other shapes or types than the Environment says."""
    key, actions = jax.random.key(0), environment.actions
    state, observation = jax.eval_shape(environment.reset, key)
    action = jnp.int32(0) if isinstance(actions, Discrete) else jnp.zeros(len(actions.low))
    outcome = jax.eval_shape(environment.step, key, state, action)
    shape, number, flag = environment.observation_shape, jnp.float32, jnp.bool_
    given = [
        ("reset's observation", observation, shape, number),
        ("step's observation", outcome.observation, shape, number),
        ("step's reward", outcome.reward, (), number),
        ("step's terminated", outcome.terminated, (), flag),
        ("step's truncated", outcome.truncated, (), flag),
    ]
    described = lambda tree: jax.tree.map(lambda x: f"{x.dtype}{list(x.shape)}", tree)
    if described(state) != described(outcome.state):
        raise ValueError(
            f"environment {environment.name!r}: step's state is {described(outcome.state)}, reset's is {described(state)}; "
            "they must be alike"
        )
    for what, found, shape, kind in given:
        if found.shape != tuple(shape) or found.dtype != kind:
            raise ValueError(
                f"environment {environment.name!r}: {what} is {found.dtype}{list(found.shape)}; it must be "
                f"{jnp.dtype(kind).name}{list(shape)}: convert it in the environment"
            )
