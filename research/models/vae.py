"""The two networks of a variational autoencoder of images.

Dimensions: `...` any batch, P pixels, L dimensions of the latent.
"""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from research.models.mlp import MLP, Activation


class Encoder(nn.Module):
    """pixels f32[...,P] -> mean f32[...,L] and log-variance f32[...,L] of the posterior"""

    widths: tuple[int, ...]
    latent: int
    activation: Activation = "tanh"

    @nn.compact
    def __call__(self, pixels: Array) -> tuple[Array, Array]:
        hidden = MLP(self.widths, self.activation)(pixels)
        return nn.Dense(self.latent, name="mean")(hidden), nn.Dense(self.latent, name="log_variance")(hidden)


class Decoder(nn.Module):
    """latent f32[...,L] -> logits f32[...,P] of the pixels' Bernoulli probabilities"""

    widths: tuple[int, ...]
    pixels: int
    activation: Activation = "tanh"

    @nn.compact
    def __call__(self, latent: Array) -> Array:
        return nn.Dense(self.pixels, name="logits")(MLP(self.widths, self.activation)(latent))


class Nets(NamedTuple):
    """The two networks; each finds its parameters under its own name."""

    encoder: Encoder
    decoder: Decoder

    def init(self, key: Array) -> dict[str, Any]:
        """Parameters of both: hidden weights orthogonal, those of heads LeCun-normal, biases 0. key key[]"""
        keys = jax.random.split(key)
        return {
            "encoder": self.encoder.init(keys[0], jnp.zeros((1, self.decoder.pixels))),
            "decoder": self.decoder.init(keys[1], jnp.zeros((1, self.encoder.latent))),
        }

    def encode(self, params: Any, pixels: Array) -> Any:
        """pixels f32[...,P] -> mean f32[...,L] and log-variance f32[...,L]"""
        return self.encoder.apply(params["encoder"], pixels)

    def decode(self, params: Any, latent: Array) -> Any:
        """latent f32[...,L] -> logits f32[...,P]"""
        return self.decoder.apply(params["decoder"], latent)


def make_nets(widths: tuple[int, ...], latent: int, pixels: int, activation: Activation) -> Nets:
    """An encoder with hidden layers of these widths, and a decoder that has them in reverse."""
    return Nets(Encoder(widths, latent, activation), Decoder(widths[::-1], pixels, activation))
