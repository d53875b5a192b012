"""Language modelling: the next token of any text, by a Transformer or by recurrent layers.

One tick is one update by AdamW on B random crops of T tokens and their next ones, whose mean cross-entropy in nats,

    -mean over b, t of log p(x[b, t+1] | x[b, 1], ..., x[b, t])

it descends, with dropout where that is asked for. Sizes and schedule of the defaults are those of nanoGPT's CPU setting.

Dimensions: B crops of an update, T tokens that a model sees at once, N tokens of a text, V tokens of the vocabulary,
E evaluation batches, W windows of the held-out text.
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research.data.text import draw_crops
from research.engine.experiment import Experiment, Tick
from research.engine.fields import BelowOne, Count, Fraction, Interval, Natural, NonNegative, Positive
from research.engine.placement import spread
from research.models.sequences import GPT
from research.models.transformer import Activation, Mixer, Norm, Shape
from research.numerics import optimizers, schedules
from research.numerics.blocks import summed
from research.numerics.objectives import cross_entropy


@dataclass(frozen=True)
class Architecture:
    """A net's layers: what must be alike where one run begins with another's net."""

    mixer: Mixer = "attention"
    """What lets a position read those before it: attention, or a recurrent layer."""
    layers: Count = 4
    """Blocks, each of a mixer and a feed-forward layer."""
    heads: Count = 4
    """Attention heads, which divide the width; recurrent layers have none."""
    width: Count = 128
    """Numbers that stand for a token between the layers."""
    hidden: Count = 512
    """Width of the feed-forward layers."""
    activation: Activation = "gelu"
    """In the feed-forward layers."""
    positions: Literal["learned", "sinusoidal", "rotary"] = "learned"
    """How attention is told where a token stands; recurrent layers know."""
    norm: Norm = "pre"
    """Layer norm before what a block adds, or after it was added."""
    bias: bool = False
    """Biases in linear layers and layer norms; those of recurrent gates are always there."""


@dataclass(frozen=True)
class Setup(Architecture):
    """Static: a change compiles again."""

    text: str = "tinyshakespeare"
    """What to read: tinyshakespeare, sst2 (its training sentences, without labels), or the path of a text in UTF-8."""
    byte_pairs: Natural = 0
    """Tokens of a byte-pair vocabulary, at least 256; 0 makes each character a token."""
    validation: Annotated[float, Interval(0, 0.5)] = 0.1
    """Share of the text, at its end, that is held out; at most a half."""
    streamed: bool = False
    """Read the tokens from a file while the run goes on, for texts that are larger than memory. The crops are then the same
    whatever the seed, which draws weights and dropout alone."""
    tied: bool = True
    """The output layer's weights are the embedding's."""
    dropout: BelowOne = 0.0
    """Share of numbers that are blanked in training."""
    context: Count = 64
    """Tokens that the model sees at once."""
    batch_size: Count = 12
    """Crops of an update."""
    accumulation: Count = 1
    """Equal parts of a batch that are worked on one after another, to save memory."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations and of their products; parameters, norms, logits, updates and, but for cuDNN's fused kernel,
    attention's scores are float32."""
    remat: bool = False
    """Compute each block's activations twice instead of keeping them."""
    held_out: Count = 1_000_000
    """At most so many held-out tokens, the first ones, are evaluated."""
    evaluation_batches: Count = 20
    """Random batches of the noisy validation loss, as nanoGPT takes it."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 1e-3
    """Highest learning rate of the schedule."""
    final_learning_rate: Fraction = 0.1
    """Where the cosine ends, as a share of the highest."""
    warmup: Fraction = 0.05
    """Share of the run over which the learning rate rises."""
    weight_decay: NonNegative = 0.1
    """Decoupled decay of matrices."""
    beta1: BelowOne = 0.9
    """Adam's average of gradients: what is kept from one update to the next."""
    beta2: BelowOne = 0.99
    """Adam's average of squared gradients, likewise."""
    max_gradient_norm: Positive = 1.0
    """Global norm that a gradient is scaled down to."""


class State(NamedTuple):
    """params f32, and Adam's moments"""

    params: Any
    optimizer: optax.OptState


class Data(NamedTuple):
    """train u16|i32[N] or empty where tokens are streamed, held_out u16|i32[N], lengths i32[V]: bytes that each token spells"""

    train: Array
    held_out: Array
    lengths: Array


class Outputs(NamedTuple):
    """Sums of cross-entropy in nats over each window of the held-out text, f32[W], with their tokens i32[W] and bytes i32[W];
    mean cross-entropy of E random batches of it, f32[E]"""

    nats: Array
    tokens: Array
    bytes: Array
    noisy: Array


def make(setup: Setup) -> Experiment:
    """Language modelling as an experiment."""
    check(setup)
    return Experiment(
        init=partial(init, setup), step=partial(step, setup), evaluate=partial(evaluate, setup), score=score
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    if setup.batch_size % setup.accumulation:
        divisors = [n for n in range(1, setup.batch_size + 1) if setup.batch_size % n == 0]
        nearest = min(divisors, key=lambda n: abs(n - setup.accumulation))
        raise ValueError(
            f"accumulation={setup.accumulation} does not divide batch_size={setup.batch_size}; nearest: {nearest}"
        )
    if 0 < setup.byte_pairs < 256:
        raise ValueError(
            f"byte_pairs={setup.byte_pairs} must be 0, for characters, or at least 256, the bytes; usual: 2048"
        )
    if setup.context < 2:
        raise ValueError(f"context={setup.context} leaves nothing to look at; use at least 2, usual: 64")
    model_of(setup, 1)


def model_of(setup: Setup, vocabulary: int) -> GPT:
    """The network for a vocabulary of so many tokens. Raises ValueError for a width that heads do not divide."""
    positions = setup.positions if setup.mixer == "attention" else "none"
    shape = Shape(
        width=setup.width,
        heads=setup.heads,
        layers=setup.layers,
        hidden=setup.hidden,
        longest=setup.context,
        mixer=setup.mixer,
        norm=setup.norm,
        activation=setup.activation,
        positions=positions,
        bias=setup.bias,
        tied=setup.tied,
        dropout=setup.dropout,
        attention_dropout=setup.dropout,
        dtype=jnp.dtype(setup.compute_dtype),
        remat=setup.remat,
    )
    return GPT(shape, vocabulary)


def init(setup: Setup, key: Array, hyper: Hyper, data: Data) -> State:
    tokens = jnp.zeros((1, setup.context), jnp.int32)
    params = model_of(setup, data.lengths.shape[0]).init(key, tokens)
    return State(params, optax.scale_by_adam().init(params))


def step(setup: Setup, state: State, hyper: Hyper, data: Data, tick: Tick) -> tuple[State, dict[str, Array]]:
    crop_key, dropout_key = jax.random.split(tick.key)
    crops = tick.feed if setup.streamed else draw_crops(crop_key, data.train, setup.batch_size, setup.context)
    loss, gradient = accumulated(setup, model_of(setup, data.lengths.shape[0]), state.params, crops, dropout_key)
    params, moments, norm = descend(hyper, state.params, state.optimizer, gradient, tick)
    return State(params, moments), {"loss": loss, "gradient_norm": norm}


def descend(hyper: Any, params: Any, moments: optax.OptState, gradient: Any, tick: Tick) -> tuple[Any, Any, Array]:
    """One step of AdamW against a gradient that is scaled down -> parameters, moments, the gradient's norm before f32[]"""
    norm = optax.tree.norm(gradient)
    rate = hyper.learning_rate * schedules.cosine(tick.index, tick.total, hyper.warmup, hyper.final_learning_rate)
    adam = optax.scale_by_adam(hyper.beta1, hyper.beta2)
    params, moments = optimizers.descend(
        adam, params, moments, gradient, rate, hyper.max_gradient_norm, hyper.weight_decay
    )
    return params, moments, norm


def accumulated(setup: Setup, model: GPT, params: Any, crops: Array, key: Array) -> tuple[Array, Any]:
    """Mean loss f32[] of crops i32[B,T+1] and its gradient, one part of the batch after another."""
    parts = crops.reshape(setup.accumulation, -1, crops.shape[1])
    keys = jax.random.split(key, setup.accumulation) if setup.accumulation > 1 else key[None]
    learn = jax.value_and_grad(partial(objective, model))
    total = summed(lambda part: learn(params, spread(part[0]), part[1]), (parts, keys))
    return jax.tree.map(lambda x: x / setup.accumulation, total)


def objective(model: GPT, params: Any, crops: Array, key: Array | None = None) -> Array:
    """Mean cross-entropy f32[] of crops i32[B,T+1]; with a key as in training, with dropout."""
    return losses(model, params, crops, key).mean()


def losses(model: GPT, params: Any, crops: Array, key: Array | None = None) -> Array:
    """Cross-entropy of each next token: crops i32[B,T+1] -> f32[B,T]"""
    logits: Any = model.apply(params, crops[:, :-1], key is not None, rngs={} if key is None else {"dropout": key})
    targets = crops[:, 1:]
    return cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1)).reshape(targets.shape)


def evaluate(setup: Setup, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    """The held-out text window by window, each token once, and random crops of it.

    A token is predicted from those before it in its window, so from T / 2 of them on average, as in a random crop."""
    model = model_of(setup, data.lengths.shape[0])
    windows, counts = in_windows(data.held_out, setup.context, setup.batch_size)  # [batches, B, T+1], [batches, B]

    def judge(batch: tuple[Array, Array]) -> tuple[Array, Array]:
        windows, counts = batch
        known = jnp.arange(setup.context)[None] < counts[:, None]
        nats = losses(model, state.params, windows)
        return jnp.where(known, nats, 0.0).sum(1), jnp.where(known, data.lengths[windows[:, 1:]], 0).sum(1)

    nats, spelt = lax.map(judge, (windows, counts))

    def sample(key: Array) -> Array:
        return objective(model, state.params, draw_crops(key, data.held_out, setup.batch_size, setup.context))

    noisy = lax.map(sample, jax.random.split(key, setup.evaluation_batches))
    return Outputs(nats.reshape(-1), counts.reshape(-1), spelt.reshape(-1), noisy)


def in_windows(tokens: Array, length: int, batch: int) -> tuple[Array, Array]:
    """Cuts N tokens into windows of T = `length` and the one after, each of which begins with the last one's last token.

    tokens int[N] -> i32[batches,B,T+1], how many of the T are there i32[batches,B]; what is missing is filled with 0
    """
    count = -(-(tokens.shape[0] - 1) // length)
    count += -count % batch
    starts = jnp.arange(count, dtype=jnp.int32) * length
    counts = jnp.clip(tokens.shape[0] - 1 - starts, 0, length)
    places = starts[:, None] + jnp.arange(length + 1, dtype=jnp.int32)[None]
    windows = jnp.where(places < tokens.shape[0], tokens[jnp.minimum(places, tokens.shape[0] - 1)], 0)
    return windows.astype(jnp.int32).reshape(-1, batch, length + 1), counts.reshape(-1, batch)


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> mean cross-entropy in nats per token, exact and noisy, and in bits per byte, f64[R]"""
    nats = outputs.nats.sum(axis=1, dtype=np.float64)
    return {
        "validation_loss": nats / outputs.tokens.sum(axis=1),
        "noisy_validation_loss": outputs.noisy.mean(axis=1, dtype=np.float64),
        "validation_bits_per_byte": nats / np.log(2) / outputs.bytes.sum(axis=1),
    }
