"""Policy and value networks.

Outputs lead, before the batch: a trailing axis of two or three entries is what a processor vectorises worst (in an update
of 16 rows the trailing layout took as long for a head's gradient as a 64x64 layer does).
Dimensions: `...` any batch, I inputs, A actions (categorical) or action components (Gaussian), P parameters.
"""

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
