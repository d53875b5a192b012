"""Prioritised replay (Schaul et al. 2016), and uniform replay in the same words: without priorities () stands for them.

Dimensions: S slots of the replay, B environments, U updates of a tick, M transitions of an update, L leaves of the tree.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

from research.engine.experiment import Tick
from research.numerics.priorities import draw_by_priority, importance, no_priorities, prioritize
from research.rl.annealing import annealed
from research.rl.experience import draw


class Priorities(NamedTuple):
    """tree f32[2L] of sums, largest f32[] priority so far"""

    tree: Array
    largest: Array


def none_yet(setup: Any) -> Priorities | tuple[()]:
    """Of an empty replay."""
    return Priorities(no_priorities(setup.capacity), jnp.ones(())) if setup.prioritized else ()


def newest(setup: Any, priorities: Priorities | tuple[()], index: Array) -> Priorities | tuple[()]:
    """Gives what tick `index` wrote the largest priority so far, once the n steps that follow it are there; until then
    none, as what it wrote over."""
    if not isinstance(priorities, Priorities):
        return ()
    slots, length, behind = setup.capacity // setup.environments, setup.rollout_length, setup.n_steps - 1
    # From the first slot whose stretch is whole now to the last one written: the last `behind` of them wait. In the first
    # ticks what lies before slot 0 is the ring's empty end.
    slot = index % (slots // length) * length - behind + jnp.arange(length + behind, dtype=jnp.int32)
    time = jnp.minimum(index, slots // length) * length - behind + jnp.arange(length + behind, dtype=jnp.int32)
    whole = (jnp.arange(length + behind) < length) & (time >= 0)
    leaves = (slot % slots * setup.environments)[:, None] + jnp.arange(setup.environments, dtype=jnp.int32)[None]
    values = jnp.broadcast_to(jnp.where(whole, priorities.largest, 0.0)[:, None], leaves.shape)
    tree = prioritize(priorities.tree, leaves.reshape(-1), values.reshape(-1))
    return Priorities(tree, priorities.largest)


def drawn(setup: Any, hyper: Any, priorities: Priorities | tuple[()], tick: Tick, key: Array) -> tuple[Array, Array]:
    """Places i32[U*M] of transitions to learn from, and their importance f32[U,M]."""
    if not isinstance(priorities, Priorities):
        places = draw(setup, key, tick.index, setup.updates * setup.batch_size, setup.n_steps)
        return places, jnp.ones((setup.updates, setup.batch_size))
    places, chances = draw_by_priority(key, priorities.tree, setup.updates, setup.batch_size)
    exponent = annealed(tick.index / tick.total, jnp.ones(()), hyper.importance_exponent, jnp.ones(()))
    return places, importance(chances, exponent)


def revised(hyper: Any, priorities: Priorities | tuple[()], places: Array, errors: Array) -> Priorities | tuple[()]:
    """Priorities after errors f32[U,M] at places i32[U*M]."""
    if not isinstance(priorities, Priorities):
        return ()
    new = (jnp.abs(errors) + 1e-6) ** hyper.priority_exponent
    tree = prioritize(priorities.tree, places, new.reshape(-1))
    return Priorities(tree, jnp.maximum(priorities.largest, new.max()))
