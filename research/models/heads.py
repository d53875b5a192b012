"""Policy and value networks, and what a policy's outputs mean: distributions over actions as small pure functions.

Parameters of a distribution lead, before the batch: a trailing axis of two or three entries is what a processor
vectorises worst (in an update of 16 rows the trailing layout took as long for a head's gradient as a 64x64 layer does).
Randomness goes in as noise, drawn for a whole rollout in one call; a sample is then a function without a key.
Dimensions: `...` any batch, I inputs, A actions (categorical) or action components (Gaussian), P parameters.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from research.models.conv import Conv
from research.models.mlp import ACTIVATIONS, MLP, Activation, Initial, initializers
from research.models.rnn import GRU

Grid = tuple[int, int, int] | None  # (H, W, C) of an observation that is a small picture


class Head(nn.Module):
    """A linear layer whose outputs lead: f32[...,I] -> f32[P,...]"""

    outputs: int
    gain: float
    initial: Initial = "orthogonal"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        kernel_init, bias_init = initializers(self.initial, self.gain, x.shape[-1])
        kernel = self.param("kernel", kernel_init, (self.outputs, x.shape[-1]))
        bias = self.param("bias", bias_init, (self.outputs,))
        product = jnp.einsum("pi,...i->p...", kernel, x)
        return product + lead(bias, product)


def lead(parameters: Array, like: Array) -> Array:
    """parameters f32[P] over the batch of `like` f32[P,...]"""
    return jax.lax.broadcast_in_dim(parameters, like.shape, (0,))


def perceived(
    x: Array,
    widths: tuple[int, ...],
    activation: Activation,
    grid: Grid,
    layer_norm: bool = False,
    initial: Initial = "orthogonal",
) -> Array:
    """Hidden layers over observations, as part of the module that calls it: f32[...,I] -> f32[...,last width].

    grid  a convolution of 16 features comes first, as in Young and Tian 2019; where dense layers are orthogonal its weights
          are LeCun-normal
    """
    if grid:
        batch = x.shape[:-1]
        kernel, bias = initializers(initial, 1.0, 9 * grid[-1])
        kernel = nn.initializers.lecun_normal() if initial == "orthogonal" else kernel
        x = Conv(16, padding="VALID", kernel_init=kernel, bias_init=bias)(x.reshape(-1, *grid))
        x = nn.LayerNorm()(x) if layer_norm else x
        x = ACTIVATIONS[activation](x).reshape(*batch, -1)
    return MLP(widths, activation, layer_norm, initial)(x)


class Memory(nn.Module):
    """What a network remembers of an episode: a hidden layer over observations and a GRU over time.

    memory f32[...,H], observations f32[T,...,I], begins bool[T,...] at the first step of an episode -> f32[T,...,H]
    """

    units: int
    activation: Activation = "tanh"
    grid: Grid = None

    @nn.compact
    def __call__(self, memory: Array, x: Array, begins: Array) -> Array:
        return GRU(self.units)(memory, perceived(x, (self.units,), self.activation, self.grid), begins)


class PolicyNetwork(nn.Module):
    """Observations f32[...,I] -> parameters f32[P,...] of a distribution over actions, close to uniform at first.

    Categorical: P = A logits. Gaussian: P = 2A, means and log standard deviations; the latter do not see the observation.
    """

    widths: tuple[int, ...]
    actions: int
    continuous: bool
    activation: Activation = "tanh"
    grid: Grid = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        # A small gain here is the choice of initialisation that matters (Andrychowicz et al. 2021, section 3.2).
        outputs = Head(self.actions, gain=0.01)(perceived(x, self.widths, self.activation, self.grid))
        if not self.continuous:
            return outputs
        log_deviation = self.param("log_deviation", nn.initializers.zeros, (self.actions,))
        return jnp.concatenate([outputs, lead(log_deviation, outputs)])


class ValueNetwork(nn.Module):
    """Observations f32[...,I] -> values f32[...]."""

    widths: tuple[int, ...]
    activation: Activation = "tanh"
    grid: Grid = None

    @nn.compact
    def __call__(self, x: Array) -> Array:
        return Head(1, gain=1.0)(perceived(x, self.widths, self.activation, self.grid))[0]


class QNetwork(nn.Module):
    """Observations f32[...,I] -> values f32[A,...] of the A actions.

    layer_norm  before each activation, which steadies Q-learning without a target network (Gallici et al. 2025)
    dueling     the state's value and each action's advantage over the mean apart (Wang et al. 2016, eq. 9)
    initial     of the weights
    """

    widths: tuple[int, ...]
    actions: int
    activation: Activation = "relu"
    layer_norm: bool = False
    dueling: bool = False
    grid: Grid = None
    initial: Initial = "orthogonal"

    @nn.compact
    def __call__(self, x: Array) -> Array:
        x = perceived(x, self.widths, self.activation, self.grid, self.layer_norm, self.initial)
        values = Head(self.actions, 1.0, self.initial)(x)
        if not self.dueling:
            return values
        state = Head(1, 1.0, self.initial)(x)
        return values - values.mean(0, keepdims=True) + jnp.broadcast_to(state, values.shape)


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


LOG_DEVIATIONS = -20.0, 2.0  # the bounds that Haarnoja et al. 2018 use in their code


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


DIAGONAL_GAUSSIAN = Distribution(
    noise=lambda key, shape, actions: jax.random.normal(key, (actions, *shape)),
    sample=gaussian_sample,
    mode=gaussian_mode,
    log_probability=gaussian_log_probability,
    entropy=gaussian_entropy,
)
