"""What a policy's outputs mean: distributions over actions as small pure functions.

Parameters lead, before the batch (`heads` says why). Randomness goes in as noise, drawn for a whole rollout in one call; a
sample is then a function without a key.
Dimensions: `...` any batch, A actions (categorical) or action components (Gaussian), P parameters.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

LOG_DEVIATIONS = -20.0, 2.0  # the bounds that Haarnoja et al. 2018 use in their code


class Distribution(NamedTuple):
    """A family of distributions over actions, given by P parameters.

    An action is i32[...] (categorical) or f32[...,A] (Gaussian).

    noise            (key, shape [...], A) -> f32[A,...]
    sample           (parameters f32[P,...], noise f32[A,...]) -> action
    mode             parameters f32[P,...] -> action
    log_probability  (parameters f32[P,...], action) -> f32[...]
    entropy          parameters f32[P,...] -> f32[...]
    """

    noise: Callable[[Array, tuple[int, ...], int], Array]
    sample: Callable[[Array, Array], Array]
    mode: Callable[[Array], Array]
    log_probability: Callable[[Array, Array], Array]
    entropy: Callable[[Array], Array]


def categorical_log_probability(logits: Array, action: Array) -> Array:
    """logits f32[A,...], action i32[...] -> f32[...]"""
    chosen = jax.nn.one_hot(action, logits.shape[0], dtype=logits.dtype, axis=0)
    return (logits * chosen).sum(0) - jax.nn.logsumexp(logits, axis=0)


def categorical_entropy(logits: Array) -> Array:
    """logits f32[A,...] -> f32[...] in nats"""
    log_probabilities = jax.nn.log_softmax(logits, axis=0)
    return -(jnp.exp(log_probabilities) * log_probabilities).sum(0)


CATEGORICAL = Distribution(
    # Adding Gumbel noise and taking the largest is sampling (Gumbel 1954; Maddison et al. 2014).
    noise=lambda key, shape, actions: jax.random.gumbel(key, (actions, *shape)),
    sample=lambda logits, noise: jnp.argmax(logits + noise, 0),
    mode=lambda logits: jnp.argmax(logits, 0),
    log_probability=categorical_log_probability,
    entropy=categorical_entropy,
)


def gaussian_mode(parameters: Array) -> Array:
    """parameters f32[2A,...] -> f32[...,A]"""
    return jnp.moveaxis(jnp.split(parameters, 2)[0], 0, -1)


def gaussian_sample(parameters: Array, noise: Array) -> Array:
    """parameters f32[2A,...], noise f32[A,...] standard normal -> f32[...,A]"""
    mean, log_deviation = jnp.split(parameters, 2)
    return jnp.moveaxis(mean + jnp.exp(log_deviation) * noise, 0, -1)


def gaussian_log_probability(parameters: Array, action: Array) -> Array:
    """parameters f32[2A,...], action f32[...,A] -> f32[...]"""
    mean, log_deviation = jnp.split(parameters, 2)
    standard = (jnp.moveaxis(action, -1, 0) - mean) * jnp.exp(-log_deviation)
    return (-0.5 * standard**2 - log_deviation - 0.5 * math.log(2 * math.pi)).sum(0)


def gaussian_entropy(parameters: Array) -> Array:
    """parameters f32[2A,...] -> f32[...] in nats"""
    _, log_deviation = jnp.split(parameters, 2)
    return (log_deviation + 0.5 * math.log(2 * math.pi * math.e)).sum(0)


DIAGONAL_GAUSSIAN = Distribution(
    noise=lambda key, shape, actions: jax.random.normal(key, (actions, *shape)),
    sample=gaussian_sample,
    mode=gaussian_mode,
    log_probability=gaussian_log_probability,
    entropy=gaussian_entropy,
)


def squashed_sample(parameters: Array, noise: Array) -> tuple[Array, Array]:
    """An action a = tanh(u), u Gaussian, and its log-probability (Haarnoja et al. 2018, appendix C).

    parameters f32[2A,...] mean and log deviation of u, noise f32[A,...] standard normal -> f32[...,A] in (-1, 1), f32[...]
    """
    mean, log_deviation = jnp.split(parameters, 2)
    log_deviation = jnp.clip(log_deviation, *LOG_DEVIATIONS)
    u = mean + jnp.exp(log_deviation) * noise
    # log(1 - tanh(u)^2) without the cancellation where |u| is large
    log_slope = 2.0 * (math.log(2.0) - u - jax.nn.softplus(-2.0 * u))
    log_probability = -0.5 * noise**2 - log_deviation - 0.5 * math.log(2 * math.pi) - log_slope
    return jnp.moveaxis(jnp.tanh(u), 0, -1), log_probability.sum(0)
