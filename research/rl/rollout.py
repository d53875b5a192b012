"""Rollouts of many environments side by side under one actor, and the evaluation that every method shares.

Dimensions: T steps, B environments side by side, E evaluation episodes, R rows; O an observation's shape.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.engine.experiment import Ratio
from research.rl import environments
from research.rl.environments import Environment, Episodes, Transition


class Actor(NamedTuple):
    """What chooses actions, as pure functions.

    draw    (key, (T, B)) -> the randomness of a rollout, leaves [T,...]: many small draws cost more than the environment
    act     (memory, episodes, what was drawn for this step) -> (memory, action i32[B] or f32[B,A], note)
    memory  B -> what it keeps from step to step, as it stands at first, leaves [B,...]; () where it keeps nothing

    A note is what a learner wants to know of a choice. An episode that begins has a length of 0.
    """

    draw: Callable[[Array, tuple[int, int]], Any]
    act: Callable[[Any, Episodes, Any], tuple[Any, Array, Any]]
    memory: Callable[[int], Any] = lambda count: ()


def rollout(
    environment: Environment,
    actor: Actor,
    memory: Any,
    episodes: Episodes,
    key: Array,
    length: int,
    fresh_key: Array | None = None,
) -> tuple[tuple[Any, Episodes], tuple[Transition, Array, Any]]:
    """T = length steps of B environments -> (memory, episodes), (transitions [T,B], actions [T,B], notes [T,...]).

    fresh_key  draws the episodes that follow on those that end; without, an environment starts over as it stands in
               `episodes`
    """
    act_key, step_key = jax.random.split(key)
    shape = (length, episodes.length.shape[0])
    starts = episodes
    fresh = None if fresh_key is None else environments.fresh(environment, fresh_key, shape)
    drawn = actor.draw(act_key, shape)
    step_keys = jax.random.split(step_key, shape)

    def take(carry: Any, now: Any) -> Any:
        memory, episodes = carry
        drawn, keys, fresh = now
        memory, action, note = actor.act(memory, episodes, drawn)
        episodes, transition = environments.advance(
            environment, keys, episodes, action, starts if fresh is None else fresh
        )
        return (memory, episodes), (transition, action, note)

    return lax.scan(take, (memory, episodes), (drawn, step_keys, fresh))


def finished(transitions: Transition) -> dict[str, Ratio]:
    """Metrics: return and length of the episodes that ended within transitions [T,B]."""
    ended = transitions.ended
    count = ended.astype(jnp.float32).sum()
    return {
        "episode_return": Ratio(jnp.where(ended, transitions.total, 0.0).sum(), count),
        "episode_length": Ratio(jnp.where(ended, transitions.length, 0).astype(jnp.float32).sum(), count),
    }


class Evaluation(NamedTuple):
    """The first episode in each of E environments: returns f32[E], lengths i32[E]"""

    returns: Array
    lengths: Array


@dataclass(frozen=True, eq=False)
class Play:
    """An experiment's evaluation: episodes from their start, by what a state has learned.

    actor  state -> Actor that does not learn
    count  E
    """

    environment: Environment
    actor: Callable[[Any], Actor]
    count: int

    def __call__(self, key: Array, state: Any, hyper: Any, data: Any) -> Evaluation:
        return play(self.environment, self.actor(state), key, self.count)


def play(environment: Environment, actor: Actor, key: Array, count: int) -> Evaluation:
    """Plays E = count episodes from their start, with a frozen actor."""
    start_key, rollout_key = jax.random.split(key)
    episodes = environments.start(environment, start_key, count)
    limit = environment.time_limit
    _, (transitions, _, _) = rollout(environment, actor, actor.memory(count), episodes, rollout_key, limit)
    # Each environment starts over after its first episode; what follows is not counted.
    end = jnp.where(transitions.ended.any(0), transitions.ended.argmax(0), limit - 1)[None]
    return Evaluation(*(jnp.take_along_axis(x, end, 0)[0] for x in (transitions.total, transitions.length)))


class Episode(NamedTuple):
    """One of the E episodes of an evaluation, and the returns and lengths of them all. L = time limit, T = its length.

    states [L+1,...], observations f32[L+1,O], totals f32[L+1]: before each step and after the last, up to entry T;
    terminated bool[], truncated bool[]: how it ended; evaluation of the E
    """

    states: Any
    observations: Array
    totals: Array
    terminated: Array
    truncated: Array
    evaluation: Evaluation


def watch(environment: Environment, actor: Actor, key: Array, count: int, chosen: Array) -> Episode:
    """Plays what `play` does with the same key, and keeps every state of the episode in environment `chosen` i32[]."""
    start_key, rollout_key = jax.random.split(key)
    act_key, step_key = jax.random.split(rollout_key)
    shape = (environment.time_limit, count)
    first = environments.start(environment, start_key, count)

    # An environment is not started over: what comes after its end is cut off, and the state it ended in is kept.
    def take(carry: Any, now: Any) -> Any:
        memory, episodes = carry
        drawn, keys = now
        memory, action, _ = actor.act(memory, episodes, drawn)
        outcome = jax.vmap(environment.step)(keys, episodes.states, action)
        after = Episodes(outcome.state, outcome.observation, episodes.total + outcome.reward, episodes.length + 1)
        seen = jax.tree.map(lambda x: x[chosen], after)
        late = environments.truncated(environment, outcome, after.length)
        return (memory, after), (seen, after.total, outcome.terminated, late)

    steps = actor.draw(act_key, shape), jax.random.split(step_key, shape)
    _, (seen, totals, terminated, truncated) = lax.scan(take, (actor.memory(count), first), steps)
    ended = terminated | truncated  # [L, E]
    end = jnp.where(ended.any(0), ended.argmax(0), environment.time_limit - 1)
    whole = jax.tree.map(lambda x, rest: jnp.concatenate([x[chosen][None], rest]), first, seen)
    evaluation = Evaluation(totals[end, jnp.arange(count)], (end + 1).astype(jnp.int32))
    return Episode(
        whole.states,
        whole.observation,
        whole.total,
        terminated[end[chosen], chosen],
        truncated[end[chosen], chosen],
        evaluation,
    )


def score(outputs: Evaluation) -> dict[str, np.ndarray]:
    """Means over the E episodes of each row, R rows."""
    figures = {"episode_return": outputs.returns, "episode_length": outputs.lengths}
    return {name: np.asarray(x, np.float64).mean(-1) for name, x in figures.items()}
