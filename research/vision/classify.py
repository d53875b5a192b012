"""Image classification by minimising cross-entropy, with Adam or momentum and decoupled weight decay.

One tick is one update. With the direction u that the optimizer makes of the gradient, a kernel's weights w change by

    -learning_rate * schedule * (u + weight_decay * w)

and biases by the same without decay: AdamW as PyTorch and optax have it, where the learning rate scales the decay too
(in Loshchilov and Hutter 2019, algorithm 2, only the schedule does). Every image is seen once in an epoch.

Dimensions: B images in a batch, N images in all, M held out, H rows, W columns, C channels.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from research.data.augment import cutout, flip, shift
from research.data.image_files import FACTS, Split
from research.engine.experiment import Experiment, Tick
from research.engine.fields import AtMostHalf, Count, Fraction, Natural, NonNegative, Positive, Precision
from research.engine.placement import spread
from research.models.cnn import NETS, ConvNet, Net, initialize, normalized
from research.numerics.blocks import map_blocks
from research.numerics.objectives import cross_entropy
from research.numerics.optimizers import descend
from research.numerics.schedules import AFTER_WARMUP, AfterWarmup
from research.numerics.shuffle import epoch_indices, name_order

OPTIMIZERS = {"adam": optax.scale_by_adam(), "momentum": optax.trace(0.9, nesterov=True)}


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images to classify."""
    validation: AtMostHalf = 0.1
    """Share of the training images that is held out for validation."""
    net: Net = "conv32-conv64-dense128"
    """Network, by its name in research/models/cnn.py."""
    compute_dtype: Precision = "float32"
    """Type of activations and of their products; parameters and their updates are float32."""
    batch_size: Count = 128
    """Images in an update."""
    shift: Natural = 1
    """Augmentation: move each image by up to so many pixels."""
    flip: bool = False
    """Augmentation: mirror half of the images left to right."""
    cutout: Natural = 0
    """Augmentation: blank a square of so many pixels a side."""
    optimizer: Literal["adam", "momentum"] = "adam"
    """Adam (0.9, 0.999) or Nesterov momentum (0.9)."""
    schedule: AfterWarmup = "cosine"
    """Learning rate after the warm-up."""
    evaluation_batch: Count = 500
    """Held-out images that are evaluated at a time."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2e-3
    """Highest learning rate of the schedule."""
    weight_decay: NonNegative = 1e-2
    """Decoupled decay of kernels."""
    label_smoothing: Fraction = 0.05
    """Share of the target that is spread over all classes."""
    warmup: Fraction = 0.05
    """Share of the run over which the learning rate rises."""


class State(NamedTuple):
    """params f32, the optimizer's moments, order u32[] which names this row's order of the images in each epoch"""

    params: Any
    optimizer: optax.OptState
    order: Array


class Data(NamedTuple):
    """train u8[N,H,W,C], held_out u8[M,H,W,C], both with labels; mean and std f32[C] of pixels from 0 to 1"""

    train: Split
    held_out: Split
    mean: Array
    std: Array


class Outputs(NamedTuple):
    """Of each held-out image: logits' highest class i32[M], whether it is right bool[M], cross-entropy f32[M]"""

    prediction: Array
    correct: Array
    loss: Array


def make(setup: Setup) -> Experiment:
    """Classification as an experiment."""
    net = NETS[setup.net](classes=len(FACTS[setup.data].classes), dtype=jnp.dtype(setup.compute_dtype))
    return Experiment(
        init=partial(init, setup, net),
        step=partial(step, setup, net),
        evaluate=partial(evaluate, setup, net),
        score=score,
    )


def init(setup: Setup, net: ConvNet, key: Array, hyper: Hyper, data: Data) -> State:
    net_key, order_key = jax.random.split(key)
    params = initialize(net, net_key, normalized(data.train.images[:1], data.mean, data.std))
    return State(params, OPTIMIZERS[setup.optimizer].init(params), name_order(order_key))


def step(
    setup: Setup, net: ConvNet, state: State, hyper: Hyper, data: Data, tick: Tick
) -> tuple[State, dict[str, Array]]:
    """One update -> the state after it, and metrics of its images."""
    chosen = spread(epoch_indices(state.order, tick.index, setup.batch_size, data.train.labels.shape[0]))
    images, labels = augment(setup, tick.key, data.train.images[chosen], data), data.train.labels[chosen]
    gradient, metrics = jax.grad(objective, has_aux=True)(state.params, net, images, labels, hyper)
    learning_rate = hyper.learning_rate * AFTER_WARMUP[setup.schedule](tick.index, tick.total, hyper.warmup)
    rule = OPTIMIZERS[setup.optimizer]
    params, optimizer = descend(
        rule, state.params, state.optimizer, gradient, learning_rate, weight_decay=hyper.weight_decay
    )
    return State(params, optimizer, state.order), metrics


def augment(setup: Setup, key: Array, images: Array, data: Data) -> Array:
    """images u8[B,H,W,C] -> f32[B,H,W,C] normalised, each image changed by chance: what moves in is black, what is cut
    out becomes the mean, as in the papers"""
    shift_key, flip_key, cutout_key = jax.random.split(key, 3)
    if setup.shift:
        images = shift(shift_key, images, setup.shift)
    if setup.flip:
        images = flip(flip_key, images)
    images = normalized(images, data.mean, data.std)
    return cutout(cutout_key, images, setup.cutout) if setup.cutout else images


def objective(params: Any, net: ConvNet, images: Array, labels: Array, hyper: Hyper) -> tuple[Array, dict[str, Array]]:
    """images f32[B,H,W,C], labels i32[B] -> mean smoothed cross-entropy f32[], and metrics, of which `loss` is not
    smoothed: the quantity that is evaluated, here on augmented images"""
    logits = net.apply(params, images)
    smoothed = cross_entropy(logits, labels, hyper.label_smoothing).mean()
    loss = cross_entropy(logits, labels).mean()
    return smoothed, {"loss": loss, "smoothed_loss": smoothed, "accuracy": (logits.argmax(1) == labels).mean()}


def evaluate(setup: Setup, net: ConvNet, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    """All held-out images, batch by batch."""

    def judge(split: Split) -> Outputs:
        logits = net.apply(state.params, normalized(split.images, data.mean, data.std))
        prediction = logits.argmax(1).astype(jnp.int32)
        return Outputs(prediction, prediction == split.labels, cross_entropy(logits, split.labels))

    return map_blocks(judge, data.held_out, setup.evaluation_batch)


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> accuracy f64[R] between 0 and 1, and mean cross-entropy f64[R] in nats"""
    return {
        "accuracy": outputs.correct.mean(axis=1, dtype=np.float64),
        "loss": outputs.loss.mean(axis=1, dtype=np.float64),
    }
