"""Generative adversarial networks (Goodfellow et al. 2014), with what is known against mode collapse.

A generator G turns latent numbers z into samples, a discriminator D gives each sample a logit. One tick is so many updates
of D, each on fresh samples x and G(z), and then one of G on fresh z: either descends its objective (`objectives`) by Adam.
Against collapse, by fields of `Setup` and `Hyper`:

    packing         D reads m samples at once (Lin et al. 2018)
    deviation_read  D is told how much a batch varies (Karras et al. 2018)
    unrolled        G descends the objective that D would leave it after k more updates, and its gradient goes through
                    these (Metz et al. 2017)
    input_noise  on all that D reads, falling to nothing over the run (Arjovsky and Bottou 2017)
    two learning rates (Heusel et al. 2017), R1 and WGAN-GP's penalty, spectral normalisation

What is imitated, and how samples are judged, is a `Game`'s: `points` and `images` are two.

Dimensions: B packs in a batch, m samples in a pack, C a sample's last axis (coordinates, or channels behind rows and
columns), Z latent numbers, K classes (0 where they play no part).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from research.engine.experiment import Tick
from research.engine.fields import BelowOne, Count, Fraction, Natural, NonNegative, Positive, Precision
from research.engine.placement import spread
from research.gan.objectives import OBJECTIVES, Name, interpolated, r1
from research.gan.packs import Batch, packed
from research.models.gan import COLLECTION
from research.numerics.averages import tail_average
from research.numerics.optimizers import descend


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    latent: Count = 2
    """Numbers that the generator makes a sample of."""
    latent_law: Literal["normal", "uniform"] = "normal"
    """How these are distributed: with deviation 1, or from -1 to 1."""
    generator: tuple[int, ...] = (400, 400, 400, 400)
    """Widths of the generator's hidden layers, or their features where they are convolutions."""
    batch_norm: bool = True
    """In the generator, of the batch that is drawn; samples to judge are drawn with the statistics of one large batch."""
    discriminator: tuple[int, ...] = (200, 200, 200)
    """Widths of the discriminator's hidden layers, likewise."""
    dropout: BelowOne = 0.0
    """Share of the discriminator's units that are blanked in training."""
    spectral: bool = False
    """Divide the discriminator's weights by their largest singular value."""
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
    compute_dtype: Precision = "float32"
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


class Game(NamedTuple):
    """Who plays, for what.

    generator      latent f32[B*m,Z], classes f32[B*m,K] -> samples f32[B*m,...,C]
    discriminator  packs f32[B,...,m*C], classes f32[B,m*K] -> logits f32[B], or f32[B,S] of S discriminators
    real           (key, data, count) -> Batch of real samples
    changed        (key, samples) -> samples: what is done by chance to all that the discriminator reads
    """

    setup: Setup
    generator: nn.Module
    discriminator: nn.Module
    real: Callable[[Array, Any, int], Batch]
    changed: Callable[[Array, Array], Array] = lambda key, samples: samples


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
    alone = setup.batch_size * setup.packing == 1
    for name, one in (("batch_norm", setup.batch_norm and alone), ("deviation_read", setup.deviation_read and alone)):
        if one:
            raise ValueError(f"batch_size=1 has nothing to compare a sample with, as {name} does; give 2 or more")


def adam(setup: Setup, hyper: Hyper) -> optax.GradientTransformation:
    # The root in Adam has no slope at 0, which unrolled updates need wherever a gradient is exactly 0.
    return optax.scale_by_adam(hyper.beta1, hyper.beta2, eps_root=1e-16 if setup.unrolled else 0.0)


def init(game: Game, key: Array, hyper: Hyper, data: Any) -> State:
    """Both nets, of shapes that two packs of samples show, and the average, which begins as the generator."""
    class_key, generator_key, discriminator_key = jax.random.split(key, 3)
    setup = game.setup
    classes = game.real(class_key, data, 2 * setup.packing).classes
    drawn = game.generator.init(generator_key, jnp.zeros((len(classes), setup.latent)), classes)
    samples = game.generator.apply(drawn, jnp.zeros((len(classes), setup.latent)), classes, mutable=[COLLECTION])[0]
    packs = packed(Batch(samples, classes), setup.packing)
    found = game.discriminator.init(discriminator_key, *packs, train=False)
    vectors = found[COLLECTION] if setup.spectral else {}
    generator = Player(drawn["params"], adam(setup, hyper).init(drawn["params"]), {})
    discriminator = Player(found["params"], adam(setup, hyper).init(found["params"]), vectors)
    # A copy of its own: the engine gives the state's memory away, each array once.
    return State(generator, discriminator, jax.tree.map(jnp.copy, generator.params))


def step(game: Game, state: State, hyper: Hyper, data: Any, tick: Tick) -> tuple[State, dict[str, Array]]:
    """One round: updates of the discriminator, then one of the generator -> State, both objectives f32[]"""
    setup = game.setup
    *keys, generator_key = jax.random.split(tick.key, setup.discriminator_steps + 1)
    level = noise_level(hyper, tick)

    def turn(discriminator: Player, key: Array) -> tuple[Player, Array]:
        latent_key, real_key, play_key = jax.random.split(key, 3)
        batch = real(game, real_key, data)
        fake = generate(game, state.generator.params, latent_key, batch.classes)
        return discriminate(game, hyper, level, discriminator, batch, fake, play_key)

    discriminator, losses = lax.scan(turn, state.discriminator, jnp.stack(keys))
    objective = partial(generator_objective, game, hyper, level, discriminator, data, generator_key)
    loss, gradient = jax.value_and_grad(objective)(state.generator.params)
    generator = moved(setup, hyper, state.generator, gradient, hyper.generator_learning_rate)
    average = tail_average(state.average, generator.params, tick.index, hyper.average)
    metrics = {"generator_loss": loss, "discriminator_loss": losses.mean()}
    return State(generator, discriminator, average), metrics


def noise_level(hyper: Hyper, tick: Tick) -> Array:
    """Falls in equal steps, from `noise` to nothing after the last tick."""
    return hyper.noise * (1.0 - tick.index / tick.total)


def latents(setup: Setup, key: Array, count: int) -> Array:
    """f32[count,Z]"""
    if setup.latent_law == "uniform":
        return jax.random.uniform(key, (count, setup.latent), minval=-1.0)
    return jax.random.normal(key, (count, setup.latent))


def real(game: Game, key: Array, data: Any) -> Batch:
    """Real samples for an update."""
    return jax.tree.map(spread, game.real(key, data, game.setup.batch_size * game.setup.packing))


def generate(game: Game, params: Any, key: Array, classes: Array) -> Batch:
    """Generated samples of these classes, as in training."""
    latent = spread(latents(game.setup, key, classes.shape[0]))
    samples, _ = game.generator.apply({"params": params}, latent, classes, mutable=[COLLECTION])
    return Batch(samples, classes)


def shown(game: Game, level: Array, key: Array, batch: Batch) -> Batch:
    """What the discriminator reads of a batch: changed by chance, packed, with noise."""
    change_key, noise_key = jax.random.split(key)
    packs = packed(batch._replace(samples=game.changed(change_key, batch.samples)), game.setup.packing)
    if not game.setup.input_noise:
        return packs
    return packs._replace(samples=packs.samples + level * jax.random.normal(noise_key, packs.samples.shape))


def discriminate(
    game: Game, hyper: Hyper, level: Array, player: Player, real: Batch, fake: Batch, key: Array
) -> tuple[Player, Array]:
    """One update of the discriminator -> discriminator, its objective without the penalty"""
    real_key, fake_key, real_dropout, fake_dropout, penalty_key = jax.random.split(key, 5)
    real, fake = shown(game, level, real_key, real), shown(game, level, fake_key, fake)

    def objective(params: Any) -> tuple[Array, Array]:
        held = player._replace(params=params)
        loss = OBJECTIVES[game.setup.objective].discriminator(
            logits(game, held, real, real_dropout), logits(game, held, fake, fake_dropout)
        )

        # The slope of the very function that judged the real samples: with its classes and dropout.
        def one(samples: Array) -> Array:
            return logits(game, held, real._replace(samples=samples), real_dropout)

        if game.setup.penalty == "r1":
            return loss + hyper.penalty_weight * r1(one, real.samples), loss
        if game.setup.penalty == "interpolated":
            between = jax.random.uniform(penalty_key, real.samples.shape[:1])
            return loss + hyper.penalty_weight * interpolated(one, real.samples, fake.samples, between), loss
        return loss, loss

    (_, loss), gradient = jax.value_and_grad(objective, has_aux=True)(player.params)
    player = moved(game.setup, hyper, player, gradient, hyper.discriminator_learning_rate)
    return player._replace(vectors=iterated(game, player, real)), loss


def logits(game: Game, player: Player, packs: Batch, key: Array) -> Array:
    """As in training."""
    variables = {"params": player.params, COLLECTION: player.vectors}
    return game.discriminator.apply(variables, *packs, rngs={"dropout": key}, mutable=[COLLECTION])[0]


def iterated(game: Game, player: Player, packs: Batch) -> Any:
    """The vectors of power iteration after one more step."""
    if not game.setup.spectral:
        return player.vectors
    variables = {"params": player.params, COLLECTION: player.vectors}
    one = jax.tree.map(lambda x: x[:1], packs)
    return game.discriminator.apply(variables, *one, train=False, refresh=True, mutable=[COLLECTION])[1][COLLECTION]


def generator_objective(
    game: Game, hyper: Hyper, level: Array, discriminator: Player, data: Any, key: Array, params: Any
) -> Array:
    """What the generator descends, by the discriminator as it is or as it would be after `unrolled` updates on one batch."""
    latent_key, read_key, dropout_key, real_key, *keys = jax.random.split(key, 4 + game.setup.unrolled)
    batch = real(game, real_key, data)
    fake = generate(game, params, latent_key, batch.classes)
    for ahead in keys:
        discriminator, _ = discriminate(game, hyper, level, discriminator, batch, fake, ahead)
    found = logits(game, discriminator, shown(game, level, read_key, fake), dropout_key)
    return OBJECTIVES[game.setup.objective].generator(found)


def moved(setup: Setup, hyper: Hyper, player: Player, gradient: Any, learning_rate: Array) -> Player:
    """A net after one step against a gradient."""
    params, optimizer = descend(adam(setup, hyper), player.params, player.optimizer, gradient, learning_rate)
    return player._replace(params=params, optimizer=optimizer)
