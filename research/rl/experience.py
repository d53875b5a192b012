"""What methods that learn from a replay share: what is kept of a rollout, and when learning begins.

Dimensions: T steps of a rollout, B environments, S slots of the replay, n steps of a return, O an observation's shape.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from research.engine.experiment import Ratio, Tick
from research.numerics import replay
from research.rl.environments import Discrete, Environment, Episodes, Transition
from research.rl.observations import flat


class Experience(NamedTuple):
    """observation [...,O stored], action i32[...] or f32[...,A], reward f32[...], terminated and ended bool[...],
    final_observation [...,O stored] what the action led to before any reset; see `stored`"""

    observation: Array
    action: Array
    reward: Array
    terminated: Array
    ended: Array
    final_observation: Array


def check_replay(setup: Any, n_steps: int = 1, prioritized: bool = False) -> None:
    """Raises ValueError for a capacity or a start of learning that does not fit a setup's rollouts."""
    written = setup.environments * setup.rollout_length
    if setup.capacity % written:
        below = setup.capacity // written * written
        raise ValueError(
            f"capacity={setup.capacity} is not a multiple of environments * rollout_length = {written}; "
            f"nearest: {f'{below} or ' if below else ''}{below + written}"
        )
    slots = setup.capacity // setup.environments
    # What a tick overwrites and what still waits for its n steps must not meet in the tree of priorities.
    longest = slots - setup.rollout_length + 1 if prioritized else slots
    if n_steps > longest:
        raise ValueError(
            f"n_steps={n_steps} is more than {longest}, the most that capacity={setup.capacity} allows with "
            f"{setup.environments} environments and rollout_length={setup.rollout_length}; use less, or a larger capacity"
        )
    if setup.learning_starts < n_steps * setup.environments:
        raise ValueError(
            f"learning_starts={setup.learning_starts} leaves no whole return of n_steps={n_steps} in "
            f"{setup.environments} environments to learn from; use at least {n_steps * setup.environments}"
        )


def empty_ring(setup: Any, environment: Environment, episodes: Episodes) -> Experience:
    """A replay of zeros, leaves [S*B,...]."""
    nothing = jnp.zeros((1, setup.environments))
    flags, seen = nothing.astype(bool), stored(environment, episodes.observation)[None]
    actions = environment.actions
    discrete = isinstance(actions, Discrete)
    action = nothing.astype(jnp.int32) if discrete else jnp.zeros((*nothing.shape, len(actions.low)))
    return replay.empty(Experience(seen, action, nothing, flags, flags, seen), setup.capacity // setup.environments)


def write(
    environment: Environment, ring: Experience, transitions: Transition, actions: Array, index: Array
) -> Experience:
    """Puts tick `index`'s transitions [T,B] over the oldest ones."""
    items = Experience(
        stored(environment, transitions.observation),
        actions,
        transitions.reward,
        transitions.terminated,
        transitions.ended,
        stored(environment, transitions.final_observation),
    )
    return replay.write(ring, items, index)


def stored(environment: Environment, observation: Array) -> Array:
    """What the replay keeps of observations f32[...,O]: f32[...,O flat], or u8[...,O flat / 8] of bits where they are
    binary."""
    seen = flat(environment, observation)
    return jnp.packbits(seen.astype(bool), -1) if environment.binary else seen


def restored(environment: Environment, kept: Array) -> Array:
    """The observations f32[...,O flat] that `stored` has kept."""
    if not environment.binary:
        return kept
    return jnp.unpackbits(kept, -1, math.prod(environment.observation_shape)).astype(jnp.float32)


def draw(setup: Any, key: Array, index: Array, count: int, n_steps: int = 1) -> Array:
    """M = count places i32[M] of transitions whose next n - 1 steps stand in the replay too, each as likely as any other."""
    slots = setup.capacity // setup.environments
    oldest, whole = replay.complete(index, setup.rollout_length, slots, n_steps)
    return replay.draw(key, oldest, whole, slots, setup.environments, count)


def first_learning(setup: Any) -> int:
    """The number of ticks that have played `setup.learning_starts` steps."""
    return -(-setup.learning_starts // (setup.rollout_length * setup.environments))


def batches(setup: Any, samples: Any) -> Any:
    """Leaves [updates * batch_size,...] -> [updates,batch_size,...]"""
    return jax.tree.map(lambda x: x.reshape(setup.updates, setup.batch_size, *x.shape[1:]), samples)


def learn_from(
    setup: Any, tick: Tick, learn: Callable[[Any, Array], tuple[Any, dict[str, Array]]], carry: Any, key: Array
) -> tuple[Any, dict[str, Ratio]]:
    """learn(carry, key) -> carry, metrics f32[updates], once `setup.learning_starts` steps have been played; before that
    nothing changes or is counted."""

    def counted(carry: Any, key: Array) -> tuple[Any, dict[str, Ratio]]:
        carry, losses = learn(carry, key)
        return carry, {name: Ratio(x.sum(), jnp.float32(setup.updates)) for name, x in losses.items()}

    _, kinds = jax.eval_shape(counted, carry, key)
    idle = lambda carry, key: (carry, jax.tree.map(lambda kind: jnp.zeros(kind.shape, kind.dtype), kinds))
    # The index is the same in every row, so this stays a branch under vmap.
    return lax.cond(tick.index + 1 >= first_learning(setup), counted, idle, carry, key)
