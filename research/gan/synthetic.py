"""Does it help a classifier of few images to learn from a GAN's as well? Both learn in one run, from the same few.

For the first part of the run a class-conditional GAN learns (`images`), for the rest a classifier, by cross-entropy, whose
batches are real images and, as far as `generated` says, what the averaged generator makes of fresh latent numbers. Rows draw
their own few images, those of one seed the same ones under every setting: what differs is what the GAN is worth.

Dimensions: N training images, n few ones, B images in a batch of the classifier, M test images, H rows, W columns, C channels.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research.data import augment
from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import BelowOne, Count, Natural
from research.gan import adversarial, images
from research.gan.adversarial import Game, Hyper
from research.gan.images import Data, classes_of
from research.gan.sampling import filled, independent
from research.models.cnn import NETS, ConvNet, Net, initialize
from research.numerics.blocks import map_blocks
from research.numerics.objectives import cross_entropy
from research.numerics.optimizers import adam, descend

LEARNING_RATE = 1e-3  # of the classifier's Adam


@dataclass(frozen=True)
class Setup(images.Setup):
    """Static: a change compiles again."""

    few: Count = 200
    """Training images that a row draws, equally many of each class."""
    generated: BelowOne = 0.5
    """Share of the classifier's batch that is generated; 0 trains no GAN."""
    game: BelowOne = 0.7
    """Share of the run in which the GAN learns, and the classifier not yet."""
    classifier: Net = "lenet"
    """Network, by its name in research/models/cnn.py."""
    classifier_batch: Count = 64
    """Images in an update of the classifier."""
    classifier_shift: Natural = 1
    """Move each image that the classifier learns from by up to so many pixels."""


class State(NamedTuple):
    """The GAN's state; the classifier's params f32 and Adam's moments; chosen i32[n], the row's few images"""

    game: adversarial.State
    params: Any
    optimizer: optax.OptState
    chosen: Array


class Outputs(NamedTuple):
    """correct bool[M], of each test image; samples u8[ROWS*COLUMNS,H,W,C] for people, a column for each class"""

    correct: Array
    samples: Array


def make(setup: Setup) -> Experiment:
    """A GAN and a classifier as an experiment."""
    check(setup)
    game, net = images.game_of(setup), NETS[setup.classifier](classes=classes_of(setup))
    return Experiment(
        init=partial(init, setup, game, net),
        step=partial(step, setup, game, net),
        evaluate=partial(evaluate, setup, game, net),
        score=score,
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    images.check(setup)
    classes = classes_of(setup)
    if not setup.conditional or setup.stack > 1:
        raise ValueError("a classifier learns from labelled images alone; set conditional, and leave stack at 1")
    if setup.few % classes:
        raise ValueError(
            f"few={setup.few} must be equally many of each of {classes} classes; try {classes} or {5 * classes}"
        )


def init(setup: Setup, game: Game, net: ConvNet, key: Array, hyper: Hyper, data: Data) -> State:
    game_key, net_key, choice_key = jax.random.split(key, 3)
    chosen = choose(choice_key, data.train.labels, classes_of(setup), setup.few)
    params = initialize(net, net_key, images.pixels(data.train.images[:1]))
    state = adversarial.init(game, game_key, hyper, own(data, chosen))
    return State(state, params, adam().init(params), chosen)


def choose(key: Array, labels: Array, classes: int, count: int) -> Array:
    """`count` places in labels i32[N], equally many of each class, without replacement, i32[count]"""
    shuffled = jnp.argsort(labels.astype(jnp.float32) + jax.random.uniform(key, labels.shape))  # class by class
    members = jnp.bincount(labels, length=classes)
    first = jnp.cumsum(members) - members
    places = first[:, None] + jnp.arange(count // classes)[None]
    return shuffled[places.reshape(-1)].astype(jnp.int32)


def own(data: Data, chosen: Array) -> Data:
    """The data with the row's few images alone to learn from."""
    return data._replace(stacks=chosen[:, None])


def step(
    setup: Setup, game: Game, net: ConvNet, state: State, hyper: Hyper, data: Data, tick: Tick
) -> tuple[State, dict[str, Ratio]]:
    data = own(data, state.chosen)
    turns = partial(play, setup, game, hyper, data, tick), partial(learn, setup, game, net, data, tick)
    return lax.cond(tick.index / tick.total < setup.game, *turns, state)


def told(**losses: Array) -> dict[str, Ratio]:
    """Metrics of a tick that has some of them."""
    names = ("generator_loss", "discriminator_loss", "loss")
    nothing = Ratio(jnp.float32(0.0), jnp.float32(0.0))
    return {name: Ratio(losses[name], jnp.float32(1.0)) if name in losses else nothing for name in names}


def play(
    setup: Setup, game: Game, hyper: Hyper, data: Data, tick: Tick, state: State
) -> tuple[State, dict[str, Ratio]]:
    """The GAN's tick; nothing where nothing is to be generated."""
    if not setup.generated:
        return state, told()
    after, losses = adversarial.step(game, state.game, hyper, data, tick)
    return state._replace(game=after), told(**losses)


def learn(
    setup: Setup, game: Game, net: ConvNet, data: Data, tick: Tick, state: State
) -> tuple[State, dict[str, Ratio]]:
    """An update of the classifier, on real and generated images."""
    real_key, fake_key, shift_key = jax.random.split(tick.key, 3)
    made = round(setup.generated * setup.classifier_batch)
    batch = images.real(setup, real_key, data, setup.classifier_batch - made)
    if made:
        latent_key, class_key = jax.random.split(fake_key)
        asked = images.real(setup, class_key, data, made).classes
        fake = adversarial.generate(game, state.game.average, latent_key, asked)
        batch = jax.tree.map(lambda *x: jnp.concatenate(x), batch, fake)
    # What moves in is as dark as the images' ground.
    shifted = augment.shift(shift_key, batch.samples + 1.0, setup.classifier_shift) - 1.0

    def objective(params: Any) -> Array:
        return cross_entropy(net.apply(params, shifted), batch.classes.argmax(1).astype(jnp.int32)).mean()

    loss, gradient = jax.value_and_grad(objective)(state.params)
    params, optimizer = descend(adam(), state.params, state.optimizer, gradient, jnp.float32(LEARNING_RATE))
    return state._replace(params=params, optimizer=optimizer), told(loss=loss)


def evaluate(setup: Setup, game: Game, net: ConvNet, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    def right(split: Any) -> Array:
        return net.apply(state.params, images.pixels(split.images)).argmax(1) == split.labels

    variables = filled(game, state.game.average, key, own(data, state.chosen))
    return Outputs(map_blocks(right, data.held_out, images.BATCH), images.drawn(setup, game, variables, independent))


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> accuracy f64[R] on the test images"""
    return {"accuracy": outputs.correct.mean(axis=1, dtype=np.float64)}
