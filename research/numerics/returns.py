"""Returns and advantages of stretches of experience that may contain the ends of several episodes.

Everywhere, `terminated` says that nothing more can be earned after this step, and `ended` that the next step belongs
to another episode (terminated, or truncated by a time limit).
Dimensions: T steps in time order; `...` anything that runs beside time (environments).
"""

import jax.numpy as jnp
from jax import Array, lax


def temporal_differences(
    rewards: Array, values: Array, next_values: Array, terminated: Array, discount: Array
) -> Array:
    """One-step errors r + discount * V(s') - V(s) (Sutton & Barto 2018, eq. 6.5).

    rewards f32[T,...], values f32[T,...] of what the action answered, next_values f32[T,...] of what it led to before
    any reset, terminated bool[T,...], discount f32[] -> f32[T,...]
    """
    # A time limit is not an ending: bootstrap through truncation (Pardo et al. 2018).
    return rewards + discount * jnp.where(terminated, 0.0, next_values) - values


def generalized_advantages(errors: Array, ended: Array, discount: Array, gae_lambda: Array) -> Array:
    """Generalized advantage estimates (Schulman et al. 2016, eq. 16): sums of one-step errors decaying with distance.

    errors f32[T,...] from `temporal_differences`, ended bool[T,...], discount f32[], gae_lambda f32[] -> f32[T,...]
    """
    return backward_sums(errors, discount * gae_lambda * (1.0 - ended.astype(errors.dtype)))


def discounted_returns(rewards: Array, next_values: Array, terminated: Array, ended: Array, discount: Array) -> Array:
    """Discounted rewards to the end of the episode, continued by the value of the state where the data stop.

    rewards f32[T,...], next_values f32[T,...] (read at truncations and at the last step), terminated bool[T,...],
    ended bool[T,...], discount f32[] -> f32[T,...]
    """
    stops = stopping(ended)
    continued = rewards + discount * jnp.where(stops & ~terminated, next_values, 0.0)
    return backward_sums(continued, jnp.where(stops, 0.0, discount))


def n_step_returns(rewards: Array, terminated: Array, ended: Array, discount: Array) -> tuple[Array, Array, Array]:
    """Returns of the first n steps, cut where an episode ends, and what is to be added for the rest.

    rewards f32[n,...], terminated bool[n,...], ended bool[n,...], discount f32[]
    -> sums f32[...]; weight f32[...] of the value of what the last counted step led to, 0 where nothing more can be
    earned; last i32[...], the index of that step
    """
    n = rewards.shape[0]
    before = jnp.cumsum(ended.astype(jnp.int32), 0) - ended.astype(jnp.int32)  # [n,...] episodes that ended earlier
    powers = (discount ** jnp.arange(n).astype(rewards.dtype)).reshape(-1, *[1] * (rewards.ndim - 1))
    counted = before == 0
    sums = jnp.where(counted, rewards * jnp.broadcast_to(powers, rewards.shape), 0.0).sum(0)
    last = jnp.where(ended.any(0), ended.argmax(0), n - 1).astype(jnp.int32)
    over = (counted & terminated).any(0)
    return sums, jnp.where(over, 0.0, discount ** (last.astype(rewards.dtype) + 1)), last


def q_lambda_targets(
    rewards: Array, next_values: Array, terminated: Array, ended: Array, discount: Array, q_lambda: Array
) -> Array:
    """Targets of Q(lambda) after Peng and Williams 1996,

        g[t] = r[t] + discount * ((1 - q_lambda) * v[t] + q_lambda * g[t + 1]),

    where v[t] is the greedy value of what step t led to. Where an episode ends or the data stop, v[t] stands alone, and
    nothing where the episode is terminated.

    rewards f32[T,...], next_values f32[T,...] before any reset, terminated bool[T,...], ended bool[T,...],
    discount f32[], q_lambda f32[] -> f32[T,...]
    """
    stops = stopping(ended)
    own = discount * jnp.where(stops, 1.0, 1.0 - q_lambda) * jnp.where(terminated, 0.0, next_values)
    return backward_sums(rewards + own, jnp.where(stops, 0.0, discount * q_lambda))


def stopping(ended: Array) -> Array:
    """Where nothing that follows is counted: episodes' ends and the data's. ended bool[T,...] -> bool[T,...]"""
    return ended.at[-1].set(True)


def backward_sums(terms: Array, decays: Array) -> Array:
    """x[t] = terms[t] + decays[t] * x[t + 1], with x[T] = 0.

    terms f32[T,...], decays f32[T,...] -> f32[T,...]
    """
    return running_sums(jnp.zeros(terms.shape[1:], terms.dtype), terms, decays, reverse=True)[1]


def forward_sums(first: Array, terms: Array, decays: Array) -> tuple[Array, Array]:
    """x[t] = terms[t] + decays[t] * x[t - 1], with x[-1] = first: a return that is watched as it grows.

    first f32[...], terms f32[T,...], decays f32[T,...] -> (x[T - 1] f32[...], x f32[T,...])
    """
    return running_sums(first, terms, decays, reverse=False)


def running_sums(first: Array, terms: Array, decays: Array, reverse: bool) -> tuple[Array, Array]:
    """`forward_sums`; with `reverse` from the last step to the first."""

    def on(before: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        term, decay = now
        here = term + decay * before
        return here, here

    return lax.scan(on, first, (terms, decays), reverse=reverse, unroll=16)
