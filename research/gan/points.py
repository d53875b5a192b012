"""GANs on mixtures of Gaussians, whose samples can be judged exactly.

Dimensions: P coordinates, M samples that are judged, K modes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.engine.experiment import Experiment
from research.engine.fields import Count
from research.gan import adversarial
from research.gan.adversarial import Game, Hyper, State
from research.gan.mixture import MIXTURES, Mixture, draw, judge
from research.gan.packs import Batch
from research.gan.sampling import filled, sample
from research.models.gan import Discriminator, Generator


@dataclass(frozen=True)
class Setup(adversarial.Setup):
    """Static: a change compiles again."""

    data: Literal["ring", "grid", "line"] = "ring"
    """What to imitate: 8 Gaussians on a ring or 25 on a grid, or one on a line."""
    pieces: Count = 5
    """Linear functions of which each of the discriminator's units is the largest; with 1 it has a leaky ReLU instead."""


class Outputs(NamedTuple):
    """Samples f32[M,P], and what they should be of: centres f32[K,P], deviation f32[]"""

    samples: Array
    mixture: Mixture


def make(setup: Setup) -> Experiment:
    """A GAN on points as an experiment."""
    adversarial.check(setup)
    game = game_of(setup)
    return Experiment(
        init=partial(adversarial.init, game),
        step=partial(adversarial.step, game),
        evaluate=partial(evaluate, game),
        score=score,
    )


def game_of(setup: Setup) -> Game:
    dtype = jnp.dtype(setup.compute_dtype)
    shape = MIXTURES[setup.data].centres.shape[1:]
    generator = Generator(setup.generator, shape, setup.batch_norm, leaky=False, deviation=setup.weights, dtype=dtype)
    discriminator = Discriminator(
        setup.discriminator, setup.pieces, setup.dropout, setup.spectral, setup.deviation_read, setup.weights, dtype
    )
    return Game(setup, generator, discriminator, real)


def real(key: Array, data: Mixture, count: int) -> Batch:
    """`count` points [count,P]; classes play no part."""
    return Batch(draw(key, data, count), jnp.zeros((count, 0)))


def evaluate(game: Game, key: Array, state: State, hyper: Hyper, data: Mixture) -> Outputs:
    return Outputs(sampled(game, state, key, game.setup.samples, data), data)


def sampled(game: Game, state: State, key: Array, count: int, data: Mixture) -> Array:
    """What the averaged generator makes of fresh latent numbers -> f32[count,P]"""
    filling_key, key = jax.random.split(key)
    variables = filled(game, state.average, filling_key, data)
    latent = adversarial.latents(game.setup, key, count)
    return sample(game, variables, latent, jnp.zeros((count, 0)))


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> what `mixture.judge` finds, f64[R]"""
    rows = [judge(samples, Mixture(*row)) for samples, *row in zip(outputs.samples, *outputs.mixture, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
