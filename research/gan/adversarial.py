"""Generative adversarial networks (Goodfellow et al. 2014), with what is known against mode collapse.

A generator G turns latent numbers z into samples, a discriminator D gives each sample a logit. One tick is so many updates
of D, each on fresh samples x and G(z), and then one of G on fresh z: either descends its objective (`objectives`) by Adam.
Against collapse, by fields of `Setup` and `Hyper`:

    packing      D reads m samples at once (Lin et al. 2018)
    deviation    D is told how much a batch varies (Karras et al. 2018)
    unrolled     G descends the objective that D would leave it after k more updates, and its gradient goes through
                 these (Metz et al. 2017)
    noise        on all that D reads, falling to nothing over the run (Arjovsky and Bottou 2017)
    two learning rates (Heusel et al. 2017), R1 and WGAN-GP's penalty, spectral normalisation

Dimensions: B packs in a batch, m samples in a pack, P coordinates, Z latent numbers, M samples that are judged.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research.engine.experiment import Experiment, Tick
from research.engine.fields import BelowOne, Count, Fraction, Natural, NonNegative, Positive
from research.engine.placement import spread
from research.gan.mixture import Mixture, draw, judge
from research.gan.objectives import OBJECTIVES, Name, interpolated, r1
from research.models.gan import COLLECTION, Discriminator, Generator
from research.numerics.averages import tail_average
from research.numerics.optimizers import descend


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    data: Literal["ring", "grid", "line"] = "ring"
    """What to imitate: 8 Gaussians on a ring or 25 on a grid, or one on a line."""
    latent: Count = 2
    """Normal numbers that the generator makes a sample of."""
    generator: tuple[int, ...] = (400, 400, 400, 400)
    """Widths of the generator's hidden layers, each with a ReLU."""
    batch_norm: bool = True
    """In the generator, of the batch that is drawn; samples to judge are drawn with the statistics of one large batch."""
    discriminator: tuple[int, ...] = (200, 200, 200)
    """Widths of the discriminator's hidden layers."""
    pieces: Count = 5
    """Linear functions of which each of its units is the largest; with 1 it has a leaky ReLU instead."""
    dropout: BelowOne = 0.0
    """Share of its units that are blanked in training."""
    spectral: bool = False
    """Divide its weights by their largest singular value."""
    weights: NonNegative = 0.02
    """Deviation of both nets' first weights; 0 is LeCun's rule."""
    objective: Name = "non-saturating"
    """What either net descends."""
    penalty: Literal["none", "r1", "interpolated"] = "none"
    """On the discriminator's slope: at real samples (R1), or its distance from 1 between real and generated (WGAN-GP)."""
    discriminator_steps: Count = 1
    """Updates of the discriminator before each of the generator."""
    packing: Count = 1
    """Samples that the discriminator reads at once."""
    deviation_read: bool = False
    """Tell the discriminator how much its batch varies."""
    unrolled: Natural = 0
    """Updates of the discriminator that the generator looks ahead."""
    input_noise: bool = False
    """Add noise to all that the discriminator reads."""
    batch_size: Count = 100
    """Packs in an update, of real samples and of generated ones."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of hidden layers and of their products; parameters, logits, samples and updates are float32."""
    samples: Count = 2500
    """Samples that are judged."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    generator_learning_rate: Positive = 1e-4
    """Of the generator's Adam."""
    discriminator_learning_rate: Positive = 1e-4
    """Of the discriminator's Adam."""
    beta1: BelowOne = 0.8
    """Adam's average of gradients: what is kept from one update to the next."""
    beta2: BelowOne = 0.999
    """Adam's average of squared gradients, likewise."""
    penalty_weight: NonNegative = 10.0
    """What the penalty is multiplied by."""
    noise: NonNegative = 0.1
    """With input_noise in the setup, its deviation at first."""
    average: Fraction = 0.0
    """About how old, as a share of the run so far, the generator's parameters are on average in the mean that is judged: 0 is
    the last, and 1 counts all alike."""


class Player(NamedTuple):
    """A net's params f32, Adam's moments of them, and what power iteration keeps (vectors and values), or nothing"""

    params: Any
    optimizer: optax.OptState
    vectors: Any


class State(NamedTuple):
    """Both nets, and the average of the generator's parameters that is judged"""

    generator: Player
    discriminator: Player
    average: Any


class Outputs(NamedTuple):
    """Samples f32[M,P], and what they should be of: centres f32[K,P], deviation f32[]"""

    samples: Array
    mixture: Mixture


def make(setup: Setup) -> Experiment:
    """A GAN as an experiment."""
    check(setup)
    return Experiment(
        init=partial(init, setup), step=partial(step, setup), evaluate=partial(evaluate, setup), score=score
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    for name in ("generator", "discriminator"):
        widths = getattr(setup, name)
        if not widths or min(widths) < 1:
            raise ValueError(f"{name}={widths} must be widths of at least 1 of at least one layer; as in (128, 128)")
    if setup.objective == "wasserstein" and setup.penalty != "interpolated" and not setup.spectral:
        raise ValueError(
            "objective='wasserstein' grows without end unless the discriminator's slope is held everywhere; use "
            "penalty=interpolated, or spectral"
        )
    for name, mixes in (("penalty", setup.penalty != "none"), ("dropout", setup.dropout > 0)):
        if mixes and setup.deviation_read:
            raise ValueError(
                f"{name}={getattr(setup, name)!r} does not go with deviation_read: a penalty is of each sample's own "
                "slope, and dropout makes copies differ; use one of the two"
            )


def generator_of(setup: Setup, shape: tuple[int, ...]) -> Generator:
    dtype = jnp.dtype(setup.compute_dtype)
    return Generator(setup.generator, shape, setup.batch_norm, leaky=False, deviation=setup.weights, dtype=dtype)


def discriminator_of(setup: Setup) -> Discriminator:
    return Discriminator(
        setup.discriminator,
        setup.pieces,
        setup.dropout,
        setup.spectral,
        setup.deviation_read,
        setup.weights,
        jnp.dtype(setup.compute_dtype),
    )


def adam(setup: Setup, hyper: Hyper) -> optax.GradientTransformation:
    # The root in Adam has no slope at 0, which unrolled updates need wherever a gradient is exactly 0.
    return optax.scale_by_adam(hyper.beta1, hyper.beta2, eps_root=1e-16 if setup.unrolled else 0.0)


def init(setup: Setup, key: Array, hyper: Hyper, data: Mixture) -> State:
    generator_key, discriminator_key = jax.random.split(key)
    size = data.centres.shape[1]
    drawn = generator_of(setup, (size,)).init(generator_key, jnp.zeros((2, setup.latent)))["params"]
    found = discriminator_of(setup).init(discriminator_key, jnp.zeros((2, setup.packing * size)), train=False)
    generator = Player(drawn, adam(setup, hyper).init(drawn), {})
    discriminator = Player(found["params"], adam(setup, hyper).init(found["params"]), found.get(COLLECTION, {}))
    # A copy of its own: the engine gives the state's memory away, each array once.
    return State(generator, discriminator, jax.tree.map(jnp.copy, drawn))


def step(setup: Setup, state: State, hyper: Hyper, data: Mixture, tick: Tick) -> tuple[State, dict[str, Array]]:
    *keys, generator_key = jax.random.split(tick.key, setup.discriminator_steps + 1)
    level = noise_level(hyper, tick)

    def turn(discriminator: Player, key: Array) -> tuple[Player, Array]:
        latent_key, real_key, play_key = jax.random.split(key, 3)
        fake = generate(setup, state.generator.params, latents(setup, latent_key), data)
        return discriminate(setup, hyper, level, discriminator, real_packs(setup, real_key, data), fake, play_key)

    discriminator, losses = lax.scan(turn, state.discriminator, jnp.stack(keys))
    objective = partial(generator_objective, setup, hyper, level, discriminator, data, generator_key)
    loss, gradient = jax.value_and_grad(objective)(state.generator.params)
    generator = moved(setup, hyper, state.generator, gradient, hyper.generator_learning_rate)
    average = tail_average(state.average, generator.params, tick.index, hyper.average)
    metrics = {"generator_loss": loss, "discriminator_loss": losses.mean()}
    return State(generator, discriminator, average), metrics


def noise_level(hyper: Hyper, tick: Tick) -> Array:
    """Falls in equal steps, from `noise` to nothing after the last tick."""
    return hyper.noise * (1.0 - tick.index / tick.total)


def latents(setup: Setup, key: Array) -> Array:
    """f32[B*m,Z]"""
    return spread(jax.random.normal(key, (setup.batch_size * setup.packing, setup.latent)))


def real_packs(setup: Setup, key: Array, data: Mixture) -> Array:
    """f32[B,m*P]"""
    return packed(setup, spread(draw(key, data, setup.batch_size * setup.packing)))


def packed(setup: Setup, samples: Array) -> Array:
    """f32[B*m,P] -> f32[B,m*P]"""
    return samples.reshape(-1, setup.packing * samples.shape[1])


def generate(setup: Setup, params: Any, latent: Array, data: Mixture) -> Array:
    """What the generator makes of latent f32[B*m,Z], as in training -> f32[B,m*P]"""
    net = generator_of(setup, data.centres.shape[1:])
    samples, _ = net.apply({"params": params}, latent, mutable=[COLLECTION])
    return packed(setup, samples)


def discriminate(
    setup: Setup, hyper: Hyper, level: Array, player: Player, real: Array, fake: Array, key: Array
) -> tuple[Player, Array]:
    """One update of the discriminator on packs f32[B,m*P] -> discriminator, its objective without the penalty"""
    net = discriminator_of(setup)
    real_key, fake_key, real_dropout, fake_dropout, penalty_key = jax.random.split(key, 5)
    real, fake = noisy(setup, real_key, real, level), noisy(setup, fake_key, fake, level)

    def logit(params: Any, packs: Array, dropout_key: Array) -> Array:
        return logits(net, player._replace(params=params), packs, dropout_key)

    def objective(params: Any) -> tuple[Array, Array]:
        loss = OBJECTIVES[setup.objective].discriminator(
            logit(params, real, real_dropout), logit(params, fake, fake_dropout)
        )
        # The slope of the very function that judged the real samples: with its dropout.
        one = partial(logit, params, dropout_key=real_dropout)
        if setup.penalty == "r1":
            return loss + hyper.penalty_weight * r1(one, real), loss
        if setup.penalty == "interpolated":
            between = jax.random.uniform(penalty_key, real.shape[:1])
            return loss + hyper.penalty_weight * interpolated(one, real, fake, between), loss
        return loss, loss

    (_, loss), gradient = jax.value_and_grad(objective, has_aux=True)(player.params)
    player = moved(setup, hyper, player, gradient, hyper.discriminator_learning_rate)
    return player._replace(vectors=iterated(net, player, real)), loss


def logits(net: Discriminator, player: Player, packs: Array, key: Array) -> Array:
    """Packs f32[B,m*P] -> f32[B], as in training"""
    return net.apply({"params": player.params, COLLECTION: player.vectors}, packs, rngs={"dropout": key})


def iterated(net: Discriminator, player: Player, packs: Array) -> Any:
    """The vectors of power iteration after one more step."""
    if not net.spectral:
        return player.vectors
    variables = {"params": player.params, COLLECTION: player.vectors}
    return net.apply(variables, packs[:1], train=False, refresh=True, mutable=[COLLECTION])[1][COLLECTION]


def noisy(setup: Setup, key: Array, packs: Array, level: Array) -> Array:
    return packs + level * jax.random.normal(key, packs.shape) if setup.input_noise else packs


def generator_objective(
    setup: Setup, hyper: Hyper, level: Array, discriminator: Player, data: Mixture, key: Array, params: Any
) -> Array:
    """What the generator descends, by the discriminator as it is or as it would be after `unrolled` updates on one batch."""
    latent_key, noise_key, dropout_key, real_key, *keys = jax.random.split(key, 4 + setup.unrolled)
    fake = generate(setup, params, latents(setup, latent_key), data)
    if setup.unrolled:
        real = real_packs(setup, real_key, data)
        for ahead in keys:
            discriminator, _ = discriminate(setup, hyper, level, discriminator, real, fake, ahead)
    read = noisy(setup, noise_key, fake, level)
    return OBJECTIVES[setup.objective].generator(logits(discriminator_of(setup), discriminator, read, dropout_key))


def moved(setup: Setup, hyper: Hyper, player: Player, gradient: Any, rate: Array) -> Player:
    """A net after one step against a gradient."""
    params, moments = descend(adam(setup, hyper), player.params, player.optimizer, gradient, rate)
    return player._replace(params=params, optimizer=moments)


def evaluate(setup: Setup, key: Array, state: State, hyper: Hyper, data: Mixture) -> Outputs:
    return Outputs(sample(setup, state.average, key, setup.samples, data), data)


def sample(setup: Setup, params: Any, key: Array, count: int, data: Mixture) -> Array:
    """count samples f32[count,P]; each depends on its own latent numbers alone, for batch norm has the statistics of one large
    batch."""
    net = generator_of(setup, data.centres.shape[1:])
    filling_key, key = jax.random.split(key)
    variables = {"params": params}
    if setup.batch_norm:
        many = jax.random.normal(filling_key, (FILLING, setup.latent))
        variables |= net.apply(variables, many, mutable=[COLLECTION])[1]
    return net.apply(variables, jax.random.normal(key, (count, setup.latent)), train=False)


FILLING = 2000  # samples whose mean and variance batch norm has while others are drawn


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> what `mixture.judge` finds, f64[R]"""
    rows = [judge(samples, Mixture(*row)) for samples, *row in zip(outputs.samples, *outputs.mixture, strict=True)]
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
