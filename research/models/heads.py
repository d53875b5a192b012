"""Policy and value networks, and what a policy's outputs mean: distributions over actions as small pure functions.

Randomness goes in as noise, drawn for a whole rollout in one call; a sample is then a function without a key.
Dimensions: `...` any batch, A actions (categorical) or action components (Gaussian), P parameters of the distribution.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from research.models.mlp import MLP, Activation


class PolicyNetwork(nn.Module):
    """Observations f32[...,O] -> parameters f32[...,P] of a distribution over actions, close to uniform at first.

    Categorical: P = A logits. Gaussian: P = 2A, means and log standard deviations; the latter do not see the observation.
    """

    widths: tuple[int, ...]
    actions: int
    continuous: bool
    activation: Activation = "tanh"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        outputs = MLP(self.widths, self.actions, self.activation, output_gain=0.01)(x)
        if not self.continuous:
            return outputs
        log_deviation = self.param("log_deviation", nn.initializers.zeros, (self.actions,))
        return jnp.concatenate([outputs, jnp.broadcast_to(log_deviation, outputs.shape)], -1)


class ValueNetwork(nn.Module):
    """Observations f32[...,O] -> values f32[...]."""

    widths: tuple[int, ...]
    activation: Activation = "tanh"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return MLP(self.widths, 1, self.activation)(x).squeeze(-1)


class Distribution(NamedTuple):
    """A family of distributions over actions, given by P parameters.

    noise            (key, shape [...], A) -> f32[...,A]
    sample           (parameters f32[...,P], noise f32[...,A]) -> action
    mode             parameters f32[...,P] -> action
    log_probability  (parameters f32[...,P], action) -> f32[...]
    entropy          parameters f32[...,P] -> f32[...]
    """

    noise: Callable[[Array, tuple[int, ...], int], Array]
    sample: Callable[[Array, Array], Array]
    mode: Callable[[Array], Array]
    log_probability: Callable[[Array, Array], Array]
    entropy: Callable[[Array], Array]


def categorical_log_probability(logits: Array, action: Array) -> Array:
    """logits f32[...,A], action i32[...] -> f32[...]"""
    chosen = jax.nn.one_hot(action, logits.shape[-1], dtype=logits.dtype)
    return (logits * chosen).sum(-1) - jax.nn.logsumexp(logits, axis=-1)


def categorical_entropy(logits: Array) -> Array:
    """logits f32[...,A] -> f32[...] in nats"""
    log_probabilities = jax.nn.log_softmax(logits)
    return -(jnp.exp(log_probabilities) * log_probabilities).sum(-1)


CATEGORICAL = Distribution(
    # Adding Gumbel noise and taking the largest is sampling (Gumbel 1954; Maddison et al. 2014).
    noise=lambda key, shape, actions: jax.random.gumbel(key, (*shape, actions)),
    sample=lambda logits, noise: jnp.argmax(logits + noise, -1),
    mode=lambda logits: jnp.argmax(logits, -1),
    log_probability=categorical_log_probability,
    entropy=categorical_entropy,
)


def moments(parameters: Array) -> tuple[Array, Array]:
    """Mean f32[...,A] and log standard deviation f32[...,A] from f32[...,2A]."""
    mean, log_deviation = jnp.split(parameters, 2, axis=-1)
    return mean, log_deviation


def gaussian_sample(parameters: Array, noise: Array) -> Array:
    """parameters f32[...,2A], noise f32[...,A] standard normal -> f32[...,A]"""
    mean, log_deviation = moments(parameters)
    return mean + jnp.exp(log_deviation) * noise


def gaussian_log_probability(parameters: Array, action: Array) -> Array:
    """parameters f32[...,2A], action f32[...,A] -> f32[...]"""
    mean, log_deviation = moments(parameters)
    standard = (action - mean) * jnp.exp(-log_deviation)
    return (-0.5 * standard**2 - log_deviation - 0.5 * math.log(2 * math.pi)).sum(-1)


def gaussian_entropy(parameters: Array) -> Array:
    """parameters f32[...,2A] -> f32[...] in nats"""
    _, log_deviation = moments(parameters)
    return (log_deviation + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)


DIAGONAL_GAUSSIAN = Distribution(
    noise=lambda key, shape, actions: jax.random.normal(key, (*shape, actions)),
    sample=gaussian_sample,
    mode=lambda parameters: moments(parameters)[0],
    log_probability=gaussian_log_probability,
    entropy=gaussian_entropy,
)
