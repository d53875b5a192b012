"""What PPO's objective is made of, over the samples of a minibatch."""

import jax.numpy as jnp
from jax import Array


def standardized(advantage: Array) -> Array:
    """advantage f32[...] -> f32[...] of mean 0 and deviation 1"""
    return (advantage - advantage.mean()) / (advantage.std() + 1e-8)


def policy_objective(log_ratio: Array, advantage: Array, clip: Array | None) -> Array:
    """Surrogate to be ascended, clipped unless `clip` is None (Schulman et al. 2017, eq. 7 and 6).

    log_ratio f32[...], advantage f32[...] -> f32[]
    """
    ratio = jnp.exp(log_ratio)
    if clip is None:
        return (ratio * advantage).mean()
    return jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage).mean()


def value_objective(values: Array, before: Array, targets: Array, bound: Array | None) -> Array:
    """Half the mean squared error, or the larger one of `values` and of `values` held within `bound` of `before`.

    values f32[...], before f32[...], targets f32[...] -> f32[]
    """
    error = (values - targets) ** 2
    if bound is not None:
        held = before + jnp.clip(values - before, -bound, bound)
        error = jnp.maximum(error, (held - targets) ** 2)
    return 0.5 * error.mean()


def divergence(log_ratio: Array) -> Array:
    """Estimate of KL(old, new) with little variance (Schulman 2020, 'Approximating KL divergence'), f32[...] -> f32[]"""
    return (jnp.exp(log_ratio) - 1.0 - log_ratio).mean()
