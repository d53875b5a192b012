"""Environments as pure functions, and batches of them that reset themselves. The one file that names gymnax.

An episode ends in two ways that a learner must tell apart (Pardo et al. 2018): it is *terminated* where the task
itself is over and nothing more can be earned, and *truncated* where only a time limit ran out. Every step therefore
also gives the observation that the action led to, before any reset: what a bootstrap through a truncation values.

Dimensions: B environments side by side, A action components; O stands for the shape of an observation.
"""

import difflib
import functools
import importlib
import sys
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.rl.pictures import drawing


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
    time_limit         steps after which an episode is truncated
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
    transition = Transition(
        episodes.observation, outcome.reward, outcome.terminated, outcome.truncated, outcome.observation, total, length
    )
    stepped = Episodes(outcome.state, outcome.observation, total, length)
    return jax.tree.map(lambda new, old: where(transition.ended, new, old), replacements, stepped), transition


def where(condition: Array, yes: Array, no: Array) -> Array:
    """condition bool[B], yes [B,...], no [B,...] -> [B,...]"""
    return lax.select(lax.broadcast_in_dim(condition, yes.shape, (0,)), yes, no)


def lenient(function: Callable) -> Callable:
    """gymnax mixes types and ranks; code that calls it runs under JAX's own rules, whatever the caller has set."""

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*arguments)

    return call


@lenient
def make(name: str) -> Environment:
    """The gymnax environment `name`. Raises ValueError for a name or a space that cannot be used."""
    with Later("seaborn"):  # it takes 2 s, and gymnax only draws with it
        import gymnax  # starts JAX's backend

    names = gymnax.registered_envs
    if name not in names:
        close = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names
        raise ValueError(f"environment={name!r} is not one that gymnax has; close to it: {', '.join(close)}")
    built, params = gymnax.make(name)
    return adapt(name, built, params)


class Later(types.ModuleType):
    """Stands for a module that is imported within the context, and loads it once something of it is used."""

    def __enter__(self) -> None:
        sys.modules.setdefault(self.__name__, self)

    def __exit__(self, *_: object) -> None:
        if sys.modules[self.__name__] is self:
            del sys.modules[self.__name__]

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self.__name__), name)


@lenient
def adapt(name: str, built: Any, params: Any) -> Environment:
    """A gymnax environment object with its parameters as an Environment."""
    from gymnax.environments import spaces

    actions = action_space(name, built.action_space(params))
    seen = built.observation_space(params)
    one_hot = isinstance(seen, spaces.Discrete)
    shape = (seen.n,) if one_hot else tuple(seen.shape)
    kinds = jax.eval_shape(lambda key: built.reset_env(key, params)[1], jax.random.key(0))

    def observe(observation: Array) -> Array:
        if one_hot:
            return jax.nn.one_hot(observation, seen.n, dtype=jnp.float32)
        return jnp.reshape(observation, shape).astype(jnp.float32)

    # gymnax leaves Python numbers in its states; as array types that change from step to step they would recompile.
    def settle(state: Any) -> Any:
        return jax.tree.map(lambda x, kind: jnp.asarray(x, kind.dtype), state, kinds)

    @lenient
    def reset(key: Array) -> tuple[Any, Array]:
        observation, state = built.reset_env(key, params)
        return settle(state), observe(observation)

    @lenient
    def step(key: Array, state: Any, action: Array) -> Outcome:
        if isinstance(actions, Box):
            action = actions.low + (actions.high - actions.low) * (jnp.clip(action, -1, 1) + 1) / 2
        observation, state, reward, terminated, _ = built.step_env(key, state, action, params)
        truncated = built.is_truncated(state, params)
        reward, terminated, truncated = (jnp.reshape(x, ()) for x in (reward, terminated, truncated))
        return Outcome(settle(state), observe(observation), reward.astype(jnp.float32), terminated, truncated)

    return Environment(
        name,
        shape,
        actions,
        int(params.max_steps_in_episode),
        reset,
        step,
        one_hot,
        binary=one_hot or "MinAtar" in name,
        draw=drawing(built, params),
    )


def action_space(name: str, space: Any) -> Discrete | Box:
    """Translates a gymnax action space. Raises ValueError for one that no policy here can act in."""
    from gymnax.environments import spaces

    if isinstance(space, spaces.Discrete):
        return Discrete(space.n)
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        low, high = (np.broadcast_to(np.asarray(x, np.float32), space.shape) for x in (space.low, space.high))
        if np.all(np.isfinite(low) & np.isfinite(high)):
            return Box(low, high)
    raise ValueError(f"environment={name!r} has actions {space}; they must be Discrete or a bounded Box of rank 1")
