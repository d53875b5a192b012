"""RotNet: features learned without labels, by telling how far an image was turned (Gidaris et al. 2018).

One tick is one update. Each image of the batch is shown turned by 0, 90, 180 and 270 degrees counterclockwise, and the
net says which turn it sees: cross-entropy over 4 classes. Images that look alike turned (a 0, a 6 and a 9) keep that
accuracy below 1. Labels are used in `evaluate` alone, where a linear read-out of the last hidden layer is fitted in
closed form to the training images, upright, and judged on the held-out ones: what the features are worth.

Dimensions: B images in a batch, N images in all, M held out, H rows, W = H columns, C channels, D features, K classes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from research.data.augment import shift
from research.data.image_files import FACTS
from research.engine.experiment import Experiment, Tick
from research.engine.fields import AtMostHalf, Count, Fraction, Natural, NonNegative, Positive, Precision
from research.engine.placement import spread
from research.models.cnn import NETS, ConvNet, Net, initialize, normalized
from research.numerics.blocks import map_blocks
from research.numerics.objectives import cross_entropy
from research.numerics.optimizers import descend
from research.numerics.schedules import AFTER_WARMUP, AfterWarmup
from research.numerics.shuffle import epoch_indices, name_order
from research.vision.classify import Data

TURNS = 4  # by 90 degrees each
ADAM = optax.scale_by_adam()


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    data: Literal["digits", "mnist", "cifar10"] = "digits"
    """Images to turn."""
    validation: AtMostHalf = 0.1
    """Share of the training images that is held out for validation."""
    net: Net = "conv32-conv64-dense128"
    """Network, by its name in research/models/cnn.py."""
    compute_dtype: Precision = "float32"
    """Type of activations and of their products; parameters, their updates and the read-out are float32."""
    batch_size: Count = 32
    """Images in an update, each shown in its four turns."""
    shift: Natural = 1
    """Augmentation: move each image by up to so many pixels before it is turned."""
    schedule: AfterWarmup = "cosine"
    """Learning rate after the warm-up."""
    evaluation_batch: Count = 500
    """Images that are evaluated at a time, each in its four turns."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2e-3
    """Highest learning rate of the schedule."""
    weight_decay: NonNegative = 1e-2
    """Decoupled decay of kernels."""
    warmup: Fraction = 0.05
    """Share of the run over which the learning rate rises."""
    ridge: Positive = 1e-3
    """Penalty of the read-out's squared weights, in units of the features' mean variance; training knows nothing of it. Float32
    cannot solve for features that are all alike with less than 1e-6."""


class State(NamedTuple):
    """params f32, Adam's moments, order u32[] which names this row's order of the images in each epoch"""

    params: Any
    optimizer: optax.OptState
    order: Array


class Outputs(NamedTuple):
    """Of each held-out image: whether each of its turns is told bool[M,4], their cross-entropy f32[M,4], and whether the
    read-out names the image's class bool[M]"""

    turn_correct: Array
    turn_loss: Array
    readout_correct: Array


def make(setup: Setup) -> Experiment:
    """Rotation prediction as an experiment."""
    net = NETS[setup.net](classes=TURNS, dtype=jnp.dtype(setup.compute_dtype))
    return Experiment(
        init=partial(init, net),
        step=partial(step, setup, net),
        evaluate=partial(evaluate, setup, net),
        score=score,
    )


def init(net: ConvNet, key: Array, hyper: Hyper, data: Data) -> State:
    net_key, order_key = jax.random.split(key)
    params = initialize(net, net_key, normalized(data.train.images[:1], data.mean, data.std))
    return State(params, ADAM.init(params), name_order(order_key))


def step(
    setup: Setup, net: ConvNet, state: State, hyper: Hyper, data: Data, tick: Tick
) -> tuple[State, dict[str, Array]]:
    """One update -> the state after it, and metrics of its images."""
    images = data.train.images[
        spread(epoch_indices(state.order, tick.index, setup.batch_size, data.train.images.shape[0]))
    ]
    if setup.shift:
        images = shift(tick.key, images, setup.shift)
    gradient, metrics = jax.grad(objective, has_aux=True)(state.params, net, normalized(images, data.mean, data.std))
    learning_rate = hyper.learning_rate * AFTER_WARMUP[setup.schedule](tick.index, tick.total, hyper.warmup)
    params, optimizer = descend(
        ADAM, state.params, state.optimizer, gradient, learning_rate, weight_decay=hyper.weight_decay
    )
    return State(params, optimizer, state.order), metrics


def turned(images: Array) -> tuple[Array, Array]:
    """images [B,H,H,C] -> [4B,H,H,C] and the turns i32[4B]: the first image by 0, 90, 180 and 270 degrees
    counterclockwise, then the second: so each device turns its own images"""
    turns = jnp.stack([jnp.rot90(images, turn, axes=(1, 2)) for turn in range(TURNS)], axis=1)
    labels = jnp.tile(jnp.arange(TURNS, dtype=jnp.int32), images.shape[0])
    return turns.reshape(-1, *images.shape[1:]), labels


def objective(params: Any, net: ConvNet, images: Array) -> tuple[Array, dict[str, Array]]:
    """images f32[B,H,H,C] -> mean cross-entropy of their 4B turns f32[], and metrics"""
    images, turns = turned(images)
    logits = net.apply(params, images)
    loss = cross_entropy(logits, turns).mean()
    return loss, {"turn_loss": loss, "turn_accuracy": (logits.argmax(1) == turns).mean()}


def evaluate(setup: Setup, net: ConvNet, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    """All held-out images, batch by batch; nothing is random."""

    def features(images: Array) -> Array:
        hidden = net.clone(classes=0)  # the same net without its last layer, whose parameters stay unread
        return hidden.apply(state.params, normalized(images, data.mean, data.std)).astype(jnp.float32)

    def judge(images: Array) -> tuple[Array, Array]:
        shown, turns = turned(normalized(images, data.mean, data.std))
        logits = net.apply(state.params, shown)
        correct, loss = logits.argmax(1) == turns, cross_entropy(logits, turns)
        return correct.reshape(-1, TURNS), loss.reshape(-1, TURNS)

    fitted = map_blocks(features, data.train.images, setup.evaluation_batch)
    judged = map_blocks(features, data.held_out.images, setup.evaluation_batch)
    weights, bias = read_out(fitted, data.train.labels, len(FACTS[setup.data].classes), hyper.ridge)
    prediction = (jnp.matmul(judged, weights, precision="highest") + bias[None]).argmax(1)
    turn_correct, turn_loss = map_blocks(judge, data.held_out.images, setup.evaluation_batch)
    return Outputs(turn_correct, turn_loss, prediction == data.held_out.labels)


def read_out(features: Array, labels: Array, classes: int, ridge: Array) -> tuple[Array, Array]:
    """features f32[N,D], labels i32[N], ridge f32[] -> weights f32[D,K] and bias f32[K] that minimise

        mean over N of |features @ weights + bias - onehot(labels)|^2  +  ridge * v * |weights|^2

    where v is the mean variance of a feature. Features that are all constant get no weight: the commonest class wins."""
    targets = jax.nn.one_hot(labels, classes)
    mean, target_mean = features.mean(0), targets.mean(0)
    centred = features - mean[None]
    product = partial(jnp.matmul, precision="highest")  # squares of 8 or 11 bits would be too few to solve with
    covariance = product(centred.T, centred) / len(labels)
    penalty = jnp.maximum(ridge * jnp.diagonal(covariance).mean(), jnp.finfo(jnp.float32).tiny)
    penalized = covariance + penalty * jnp.eye(features.shape[1])
    crossed = product(centred.T, targets - target_mean[None]) / len(labels)
    weights = jax.scipy.linalg.solve(penalized, crossed, assume_a="pos")
    return weights, target_mean - product(mean, weights)


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> accuracies f64[R] between 0 and 1, of the turns and of the read-out's classes, and
    mean cross-entropy of the turns f64[R] in nats"""
    return {
        "readout_accuracy": outputs.readout_correct.mean(axis=1, dtype=np.float64),
        "turn_accuracy": outputs.turn_correct.mean(axis=(1, 2), dtype=np.float64),
        "turn_loss": outputs.turn_loss.mean(axis=(1, 2), dtype=np.float64),
    }
