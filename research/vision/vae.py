"""Variational autoencoder of binarised images (Kingma and Welling 2014), by gradients of a reparametrised ELBO.

One tick is one update by Adam. A pixel is 1 with the probability that is its brightness, drawn anew at each update.
With the posterior q(z | x) = N(mean, exp(log_variance)), diagonal, and the prior p(z) = N(0, I), an update lowers

    beta * KL(q(z | x) || p(z)) - log p(x | mean + exp(log_variance / 2) * noise)        noise from N(0, I)

whose mean at beta = 1 is -ELBO; other weights are those of Higgins et al. 2017. All figures are in nats per image, and
none but `loss` contains beta.

Dimensions: B images in a batch, N images in all, M held out, S shown, H rows, W columns, C channels, P = H * W * C
pixels, L dimensions of the latent, K samples of an importance-weighted bound, R rows of a lane.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research.data.image_files import FACTS
from research.engine.experiment import Experiment, Tick
from research.engine.fields import AtMostHalf, Count, Fraction, NonNegative, Positive
from research.engine.placement import spread
from research.models.mlp import Activation, check_widths
from research.models.vae import Nets, make_nets
from research.numerics.blocks import map_blocks
from research.numerics.optimizers import adam, descend
from research.numerics.schedules import AFTER_WARMUP, AfterWarmup
from research.numerics.shuffle import epoch_indices, name_order

ACTIVE = 0.01  # variance above which a unit is active (Burda et al. 2016, section 5.2)
BINARIZED = 0  # seed of the one binarisation of held-out images that every evaluation shares
SHOWN = 24  # held-out images that are reconstructed for people
SAMPLES = 64  # images drawn from the prior for people


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    data: Literal["digits", "mnist"] = "digits"
    """Images to model, as probabilities of their pixels."""
    validation: AtMostHalf = 0.1
    """Share of the training images that is held out for validation."""
    widths: tuple[int, ...] = (200, 200)
    """Hidden layers of the encoder; the decoder has them in reverse."""
    activation: Activation = "tanh"
    """Nonlinearity of hidden layers."""
    latent: Count = 50
    """Dimensions of the latent."""
    batch_size: Count = 100
    """Images in an update."""
    schedule: AfterWarmup = "cosine"
    """Learning rate after the warm-up."""
    importance_samples: Count = 50
    """Samples for each held-out image, of which the importance-weighted bound and the reconstruction term are made."""
    evaluation_batch: Count = 500
    """Held-out images that are evaluated at a time."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 1e-3
    """Highest learning rate of the schedule."""
    beta: NonNegative = 1.0
    """Weight of the KL term; at 1 the objective is the ELBO."""
    warmup: Fraction = 0.0
    """Share of the run over which the learning rate rises."""


class State(NamedTuple):
    """params f32, Adam's moments, order u32[] which names this row's order of the images in each epoch"""

    params: Any
    optimizer: optax.OptState
    order: Array


class Data(NamedTuple):
    """train u8[N,H,W,C], held_out u8[M,H,W,C]"""

    train: Array
    held_out: Array


class Outputs(NamedTuple):
    """Of each held-out image f32[M]: the ELBO's two terms and the importance-weighted bound. Of each unit of the latent:
    variance f32[L] over images of the posterior's mean. For people: the first images as they were binarised and their
    reconstructions at the posterior's mean, both u8[S,H,W,C], and images u8[SAMPLES,H,W,C] from the prior."""

    reconstruction: Array
    kl: Array
    iwae_bound: Array
    variance: Array
    binarized: Array
    reconstructed: Array
    samples: Array


def make(setup: Setup) -> Experiment:
    """A variational autoencoder as an experiment."""
    check_widths(setup.widths, usual=(200, 200))
    pixels = math.prod(FACTS[setup.data].shape)
    nets = make_nets(setup.widths, setup.latent, pixels, setup.activation)
    return Experiment(
        init=partial(init, nets), step=partial(step, setup, nets), evaluate=partial(evaluate, setup, nets), score=score
    )


def init(nets: Nets, key: Array, hyper: Hyper, data: Data) -> State:
    net_key, order_key = jax.random.split(key)
    params = nets.init(net_key)
    return State(params, adam().init(params), name_order(order_key))


def step(
    setup: Setup, nets: Nets, state: State, hyper: Hyper, data: Data, tick: Tick
) -> tuple[State, dict[str, Array]]:
    pixel_key, noise_key = jax.random.split(tick.key)
    chosen = spread(epoch_indices(state.order, tick.index, setup.batch_size, data.train.shape[0]))
    pixels = binarize(pixel_key, data.train[chosen])
    noise = jax.random.normal(noise_key, (setup.batch_size, setup.latent))
    (_, metrics), gradient = jax.value_and_grad(objective, has_aux=True)(state.params, nets, pixels, noise, hyper.beta)
    learning_rate = hyper.learning_rate * AFTER_WARMUP[setup.schedule](tick.index, tick.total, hyper.warmup)
    params, optimizer = descend(adam(), state.params, state.optimizer, gradient, learning_rate)
    return State(params, optimizer, state.order), metrics


def binarize(key: Array, images: Array) -> Array:
    """Draws each pixel with its brightness as the probability of 1. key key[], images u8[...,H,W,C] -> f32[...,P]"""
    probabilities = images.reshape(*images.shape[:-3], -1).astype(jnp.float32) / 255.0
    return jax.random.bernoulli(key, probabilities).astype(jnp.float32)


def reparametrize(mean: Array, log_variance: Array, noise: Array) -> Array:
    """A draw from the posterior as a function of its parameters. All f32[...,L] -> f32[...,L]"""
    return mean + jnp.exp(0.5 * log_variance) * noise


def log_likelihood(logits: Array, pixels: Array) -> Array:
    """log p(x | z) in nats, pixels independent. logits f32[...,P], pixels f32[...,P] of 0 and 1 -> f32[...]"""
    return (pixels * logits - jax.nn.softplus(logits)).sum(-1)


def gaussian_kl(mean: Array, log_variance: Array) -> Array:
    """KL(N(mean, exp(log_variance)) || N(0, I)) in nats (Kingma and Welling 2014, appendix B). f32[...,L] -> f32[...]"""
    return 0.5 * (jnp.exp(log_variance) + mean**2 - 1.0 - log_variance).sum(-1)


def objective(params: Any, nets: Nets, pixels: Array, noise: Array, beta: Array) -> tuple[Array, dict[str, Array]]:
    """pixels f32[B,P] of 0 and 1, noise f32[B,L] standard normal, beta f32[] -> loss f32[], and metrics, means over images:
    the loss, the ELBO, and its two terms"""
    mean, log_variance = nets.encode(params, pixels)
    logits = nets.decode(params, reparametrize(mean, log_variance, noise))
    reconstruction, kl = log_likelihood(logits, pixels).mean(), gaussian_kl(mean, log_variance).mean()
    loss = beta * kl - reconstruction
    return loss, {"loss": loss, "elbo": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}


def evaluate(setup: Setup, nets: Nets, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    """All held-out images, batch by batch; of an image's figures neither its batch nor the number of images is a part."""
    noise_key, prior_key = jax.random.split(key)

    def judge(records: tuple[Array, Array]) -> tuple[Array, ...]:
        images, index = records
        pixels = jax.vmap(binarize)(keys_of(jax.random.key(BINARIZED), index), images)
        mean, log_variance = nets.encode(state.params, pixels)
        likelihoods, weights = draws(setup, nets, keys_of(noise_key, index), state.params, pixels, mean, log_variance)
        return likelihoods.mean(0), gaussian_kl(mean, log_variance), iwae_bound(weights), mean, pixels

    index = jnp.arange(data.held_out.shape[0])
    reconstruction, kl, bound, means, pixels = map_blocks(judge, (data.held_out, index), setup.evaluation_batch)
    shape = data.held_out.shape[1:]
    prior = jax.random.normal(prior_key, (SAMPLES, setup.latent))
    reconstructed, samples = (
        grey(jax.nn.sigmoid(nets.decode(state.params, latent)), shape) for latent in (means[:SHOWN], prior)
    )
    binarized = grey(pixels[:SHOWN], shape)
    return Outputs(reconstruction, kl, bound, means.var(0), binarized, reconstructed, samples)


def keys_of(key: Array, index: Array) -> Array:
    """A key for each image. key key[], index i32[B] -> key[B]"""
    return jax.vmap(partial(jax.random.fold_in, key))(index)


def draws(
    setup: Setup, nets: Nets, keys: Array, params: Any, pixels: Array, mean: Array, log_variance: Array
) -> tuple[Array, Array]:
    """K draws z from each image's posterior, one after another, so that many need no more memory than one.

    keys key[B], pixels f32[B,P], mean and log_variance f32[B,L] -> log p(x | z) f32[K,B], log p(x, z) / q(z | x) f32[K,B]
    """

    def draw(sample: Array) -> tuple[Array, Array]:
        noise = jax.vmap(lambda key: jax.random.normal(jax.random.fold_in(key, sample), (setup.latent,)))(keys)
        latent = reparametrize(mean, log_variance, noise)
        likelihood = log_likelihood(nets.decode(params, latent), pixels)
        # The two densities' powers of 2 pi cancel.
        return likelihood, likelihood + 0.5 * (noise**2 + log_variance - latent**2).sum(-1)

    return lax.map(draw, jnp.arange(setup.importance_samples))


def iwae_bound(log_weights: Array) -> Array:
    """Logarithm of the mean weight: below log p(x) in expectation, the closer the more samples (Burda et al. 2016, eq. 8).

    log_weights f32[K,...] = log p(x, z) / q(z | x) -> f32[...] in nats
    """
    return jax.nn.logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


def grey(probabilities: Array, shape: tuple[int, ...]) -> Array:
    """f32[S,P] from 0 to 1 -> u8[S,H,W,C]"""
    return jnp.rint(probabilities * 255.0).astype(jnp.uint8).reshape(-1, *shape)


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> in nats per image, f64[R]: the ELBO, its terms with ELBO = reconstruction - KL, and
    the importance-weighted bound as an estimate of log p(x) from below; and f64[R] the number of active units"""
    reconstruction, kl, bound = (x.mean(axis=1, dtype=np.float64) for x in outputs[:3])
    return {
        "elbo": reconstruction - kl,
        "iwae_bound": bound,
        "reconstruction": reconstruction,
        "kl": kl,
        "active_units": (outputs.variance > ACTIVE).sum(axis=1).astype(np.float64),
    }
