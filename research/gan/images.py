"""GANs on images, judged by a frozen classifier.

Dimensions: M samples that are judged, n of them by neighbours, N training images, k images that are laid upon each other in
one sample, H rows, W columns, C channels of an image, F features, Z latent numbers, K classes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import Array

from research.data import augment
from research.data.image_files import FACTS, Split
from research.engine.experiment import Experiment
from research.engine.fields import Count, Interval, Natural
from research.gan import adversarial
from research.gan import judge as judging
from research.gan.adversarial import Game, Hyper, State
from research.gan.judge import NEIGHBOURS, Judge
from research.gan.packs import Batch
from research.gan.sampling import Way, between, filled, independent, sample
from research.gan.stacks import apart, combined, laid, shares
from research.models.cnn import NETS, Net
from research.models.gan import ConvDiscriminator, ConvGenerator, Discriminator, Generator, Scales
from research.numerics.blocks import map_blocks

ROWS, COLUMNS = 8, 10  # of samples that are looked at
BATCH = 500  # samples that are made at a time


@dataclass(frozen=True)
class Setup(adversarial.Setup):
    """Static: a change compiles again."""

    data: Literal["digits", "mnist", "cifar10"] = "mnist"
    """Images to imitate."""
    images: Natural = 0
    """Training images that are used, of every class in proportion; 0: all."""
    stack: Annotated[int, Interval(1, 4)] = 1
    """Images, drawn independently, that are laid upon each other as the channels of one sample."""
    stacks: Count = 128_000
    """Where that is more than one, such samples in the training set."""
    net: Literal["dense", "convolution"] = "dense"
    """Dense layers, or DCGAN's."""
    hidden: Natural = 0
    """Units of a dense layer at the small end of either of DCGAN's nets, as in its authors' code for MNIST; 0: none."""
    discriminator_batch_norm: bool = False
    """In DCGAN's discriminator, of the batch that is read."""
    conditional: bool = False
    """Both nets are told the class."""
    shift: Natural = 0
    """Change by chance what the discriminator reads: move it by up to so many pixels."""
    cutout: Natural = 0
    """Likewise: blank a square of so many pixels a side."""
    recolour: bool = False
    """Likewise: change brightness, saturation and contrast."""
    scales: Count = 1
    """Discriminators, each of which reads the image half as high and wide as the one before."""
    judge: str = ""
    """Folder of a finished run of `classify` on these images, whose classifier judges; without, the one that is shipped."""
    judge_net: Net = "lenet"
    """Its network, by its name in research/models/cnn.py."""
    near: Count = 2000
    """Samples, at most, that are compared by nearest neighbours."""


class Data(NamedTuple):
    """train u8[N,H,W,C] with labels; stacks i32[S,k], the training images of each real sample; held_out and its stacks
    likewise, which samples are compared with; judge"""

    train: Split
    stacks: np.ndarray
    held_out: Split
    held_out_stacks: np.ndarray
    judge: Judge


class Outputs(NamedTuple):
    """What is judged, and what is looked at.

    features     f32[M,k*F] of generated samples, `real_features` of held-out ones
    predicted    i32[M], the class that the judge takes a sample for, whose digits are those of a stack's images;
                 `real_predicted` likewise of held-out images
    asked        i32[M], the class that was asked for; -1 where none is
    to_train     f32[n] distance to the nearest training image, `real_to_train` of held-out images; NaN of stacks
    expected     f32[K**k], the classes' shares among real samples
    accuracy     f32[], the judge's on held-out images (of a stack, all of them)
    judge        u32[], the judge's hash
    samples      u8[ROWS*COLUMNS,H,W,k*C], of latent numbers that are the same at every evaluation; where there are
                 classes, a column for each of the first COLUMNS
    between      u8[ROWS*COLUMNS,H,W,k*C], in each row on the way from one sample to another
    """

    features: Array
    real_features: Array
    predicted: Array
    real_predicted: Array
    asked: Array
    to_train: Array
    real_to_train: Array
    expected: Array
    accuracy: Array
    judge: Array
    samples: Array
    between: Array


def make(setup: Setup) -> Experiment:
    """A GAN on images as an experiment."""
    check(setup)
    game = game_of(setup)
    return Experiment(
        init=partial(adversarial.init, game),
        step=partial(adversarial.step, game),
        evaluate=partial(evaluate, setup, game),
        score=score,
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    adversarial.check(setup)
    height, width, channels = FACTS[setup.data].shape
    if setup.net == "convolution":
        for name in ("generator", "discriminator"):
            layers = len(getattr(setup, name)) + (setup.scales - 1 if name == "discriminator" else 0)
            if height % 2**layers or width % 2**layers:
                told = " after scales" if layers > len(getattr(setup, name)) else ""
                raise ValueError(
                    f"{name}={getattr(setup, name)} halves {height}x{width} pixels {layers} times{told}, which does not come "
                    f"out even; use {even(height) - layers + len(getattr(setup, name))} layers at most"
                )
    if setup.scales > 1 and height % 2 ** (setup.scales - 1):
        raise ValueError(f"scales={setup.scales} halves {height} pixels too often; use {even(height) + 1} at most")
    dense = "net='dense'", setup.net == "dense"
    batch_norm = "discriminator_batch_norm", setup.discriminator_batch_norm
    penalty = f"penalty={setup.penalty!r}", setup.penalty != "none"
    stacked = f"stack={setup.stack}", setup.stack > 1
    recolour = "recolour", setup.recolour
    refused = [
        (dense, batch_norm),
        (dense, (f"hidden={setup.hidden}", setup.hidden > 0)),
        (("spectral", setup.spectral), batch_norm),
        (penalty, batch_norm),
        (("deviation_read", setup.deviation_read), batch_norm),
        (penalty, (f"scales={setup.scales}", setup.scales > 1)),
        (stacked, ("conditional", setup.conditional)),
        (stacked, recolour),
        ((f"data={setup.data!r}", channels == 1), recolour),
    ]
    for (one, has_one), (other, has_other) in refused:
        if has_one and has_other:
            raise ValueError(f"{one} does not go with {other}; use one of the two")
    if min(setup.near, setup.samples) <= NEIGHBOURS:
        raise ValueError(
            f"near={setup.near} and samples={setup.samples} must both be above {NEIGHBOURS}, the neighbours that a sample is "
            "judged by; usual: 2000 and 10000"
        )


def even(size: int) -> int:
    """How often a size can be halved."""
    return (size & -size).bit_length() - 1


def classes_of(setup: Setup) -> int:
    """K"""
    return len(FACTS[setup.data].classes)


def game_of(setup: Setup) -> Game:
    height, width, channels = FACTS[setup.data].shape
    shape = (height, width, setup.stack * channels)
    common = {"deviation": setup.weights, "dtype": jnp.dtype(setup.compute_dtype)}
    told = common | {"dropout": setup.dropout, "spectral": setup.spectral, "deviation_read": setup.deviation_read}
    if setup.net == "dense":
        generator: nn.Module = Generator(setup.generator, shape, setup.batch_norm, bounded=True, **common)
        discriminator: Any = partial(Discriminator, setup.discriminator, **told)
    else:
        generator = ConvGenerator(setup.generator, shape, setup.batch_norm, setup.hidden, **common)
        discriminator = partial(
            ConvDiscriminator, setup.discriminator, setup.discriminator_batch_norm, setup.hidden, **told
        )
    rival = discriminator() if setup.scales == 1 else Scales(discriminator, setup.scales)
    return Game(setup, generator, rival, partial(real, setup), partial(changed, setup))


def real(setup: Setup, key: Array, data: Data, count: int) -> Batch:
    """Samples [count,H,W,k*C] of the training images, and the classes of the first image of each."""
    chosen = data.stacks[jax.random.randint(key, (count,), 0, data.stacks.shape[0])]  # [count, k]
    classes = one_hot(setup, data.train.labels[chosen[:, 0]])
    return Batch(pixels(laid(data.train.images[chosen])), classes)


def pixels(images: Array) -> Array:
    """u8 -> f32 from -1 to 1"""
    return images.astype(jnp.float32) / 127.5 - 1.0


def one_hot(setup: Setup, labels: Array) -> Array:
    """labels i32[M] -> f32[M,K], where classes play no part f32[M,0]"""
    return jax.nn.one_hot(labels, classes_of(setup) if setup.conditional else 0)


def changed(setup: Setup, key: Array, samples: Array) -> Array:
    """Differentiable augmentation (Zhao et al. 2020): what is changed by chance is both real and generated."""
    colour_key, shift_key, cutout_key = jax.random.split(key, 3)
    if setup.recolour:
        samples = augment.recolour(colour_key, samples)
    if setup.shift:
        samples = augment.shift(shift_key, samples, setup.shift)
    return augment.cutout(cutout_key, samples, setup.cutout) if setup.cutout else samples


def evaluate(setup: Setup, game: Game, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    filling_key, latent_key, class_key = jax.random.split(key, 3)
    variables = filled(game, state.average, filling_key, data)
    classes = real(setup, class_key, data, setup.samples).classes
    samples = sampled(game, variables, adversarial.latents(setup, latent_key, setup.samples), classes)
    net = NETS[setup.judge_net](classes=classes_of(setup))
    features, predicted = judged(setup, net, data.judge, samples)
    held_out = laid(data.held_out.images[data.held_out_stacks])
    real_features, real_predicted = judged(setup, net, data.judge, held_out)
    right = real_predicted == combined(data.held_out.labels[data.held_out_stacks], classes_of(setup))
    near = min(setup.near, setup.samples, held_out.shape[0])
    to_train = real_to_train = jnp.full(near, jnp.nan)
    if setup.stack == 1:
        to_train, real_to_train = (judging.nearest(x[:near], data.train.images) for x in (samples, held_out))
    return Outputs(
        features,
        real_features,
        predicted,
        real_predicted,
        classes.argmax(1).astype(jnp.int32) if setup.conditional else jnp.full(setup.samples, -1),
        to_train,
        real_to_train,
        shares(data.train.labels, classes_of(setup), setup.stack),
        right.mean(),
        data.judge.hash,
        drawn(setup, game, variables, independent),
        drawn(setup, game, variables, between),
    )


def sampled(game: Game, variables: Any, latent: Array, classes: Array) -> Array:
    """Images u8[M,H,W,k*C] of latent numbers f32[M,Z] and classes f32[M,K]"""

    def draw(block: tuple[Array, Array]) -> Array:
        samples = sample(game, variables, *block)
        return jnp.round((samples + 1.0) * 127.5).astype(jnp.uint8)

    return map_blocks(draw, (latent, classes), BATCH)


def judged(setup: Setup, net: nn.Module, judge: Judge, samples: Array) -> tuple[Array, Array]:
    """Samples u8[M,H,W,k*C] -> features f32[M,k*F], class i32[M]"""
    features, predicted = judging.read(net, judge, apart(samples, setup.stack))
    return features.reshape(samples.shape[0], -1), combined(predicted.reshape(-1, setup.stack), classes_of(setup))


def drawn(
    setup: Setup,
    game: Game,
    variables: Any,
    way: Way,
    key: Array | None = None,
    rows: int = ROWS,
    columns: int = COLUMNS,
    label: int | None = None,
) -> Array:
    """Images u8[rows*columns,H,W,k*C] for people: `independent` ones or those `between` some. Without a key always of the same
    latent numbers; with a label all of that class."""
    latent, labels = way(setup, jax.random.key(0) if key is None else key, rows, columns)
    labels = labels % classes_of(setup) if label is None else jnp.full_like(labels, label)
    return sampled(game, variables, latent, one_hot(setup, labels))


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> what `judge` finds, f64[R]"""
    rows = [score_row(Outputs(*row)) for row in zip(*outputs, strict=True)]
    return {name: np.array([row[name] for row in rows], np.float64) for name in rows[0]}


def score_row(row: Outputs) -> dict[str, float]:
    found = judging.classes(row.predicted, row.expected.astype(np.float64))
    found[f"FD-{int(row.judge):08x}"] = judging.frechet(row.features, row.real_features)
    found["judge_accuracy"] = float(row.accuracy)
    near = len(row.to_train)
    found |= judging.neighbours(row.features[:near], row.real_features[:near])
    if np.isfinite(row.to_train).all():
        taken_for = row.predicted[:near], row.real_predicted[:near]
        found["memorised"] = judging.memorised(row.to_train, row.real_to_train, *taken_for)
    if row.asked[0] >= 0:
        found["as_asked"] = float((row.predicted == row.asked).mean())
    return found
