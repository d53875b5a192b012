"""Translation: sentences of one language in another, learned from pairs of them, by a Transformer (Vaswani et al. 2017).

One tick is one update by Adam on a batch of pairs of like length, whose cross-entropy for each token of the target, with
labels smoothed over all V tokens by e,

    - sum over t of (1 - e) log p(y[t] | y[<t], x) + e / V * sum over v of log p(v | y[<t], x)

it descends, divided by the batch's tokens, padding not counted. What translates is not the last parameters but an average
in which later ones count more (`numerics.averages`), in place of the mean of the last checkpoints.

Dimensions: B pairs of a batch, L tokens that a bucket has room for, V tokens of the vocabulary, M held-out pairs,
S tokens of a source, T tokens of a translation at most, U tokens of the longest reference, W bytes of the longest token.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research.data.pairs import LANGUAGES, TOGETHER, Buckets, bucket_rows, check_rising, turn
from research.data.vocabulary import BEGIN, PADDING, spelt_out
from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import BelowOne, Count, Fraction, NonNegative, Positive
from research.engine.placement import spread
from research.language.bleu import KINDS, bleu, counts
from research.language.generation import lengths, translate
from research.models.sequences import EncoderDecoder, alignment
from research.models.transformer import Norm, Shape
from research.numerics import schedules
from research.numerics.averages import tail_average
from research.numerics.blocks import map_blocks, summed
from research.numerics.objectives import cross_entropy
from research.numerics.optimizers import descend
from research.numerics.shuffle import epoch_indices, name_order


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    source: str = "en"
    """What to translate from: a language of Multi30k (en, de, fr), or the path of a text in UTF-8."""
    target: str = "de"
    """What to translate to: another language of Multi30k, or the path of a text whose line n means the source's line n."""
    held_out: Fraction = 0.1
    """Share of the pairs of two files, at their end, that are held out: half to validate, half to test. Multi30k has
    parts of its own."""
    byte_pairs: Count = 8000
    """Tokens of the vocabulary that both languages share."""
    layers: Count = 4
    """Blocks of the encoder, and as many of the decoder."""
    heads: Count = 4
    """Attention heads, which divide the width."""
    width: Count = 128
    """Numbers that stand for a token between the layers."""
    hidden: Count = 256
    """Width of the feed-forward layers."""
    norm: Norm = "post"
    """Layer norm before what a block adds, or after it was added."""
    dropout: BelowOne = 0.3
    """Share of numbers that are blanked in training; attention's weights are spared."""
    buckets: tuple[int, ...] = (14, 20, 32, 64)
    """Lengths to which pairs are padded, in tokens, of which the sign that ends a sentence takes one: 64 holds 63 others.
    What is longer than the last is left out of training, a held-out source is cut there, and no translation is longer."""
    tokens: Count = 4096
    """Tokens of an update in either language, padding counted."""
    accumulation: Count = 1
    """Equal parts of a batch that are worked on one after another, to save memory."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations and of their products; parameters, norms, logits and updates are float32."""
    beam: Count = 1
    """Hypotheses that are kept while held-out sentences are translated; 1 is greedy."""
    evaluation_batch: Count = 64
    """Held-out sentences that are translated at a time."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 5e-3
    """Highest learning rate of the schedule."""
    warmup: Fraction = 0.25
    """Share of the run over which the learning rate rises, before it falls with the root of the updates."""
    label_smoothing: Fraction = 0.1
    """Share of the target that is spread over all tokens."""
    beta1: BelowOne = 0.9
    """Adam's average of gradients: what is kept from one update to the next."""
    beta2: BelowOne = 0.98
    """Adam's average of squared gradients, likewise."""
    weight_decay: NonNegative = 0.0
    """Decoupled decay of matrices."""
    average: Fraction = 0.04
    """About how old, as a share of the run so far, parameters are on average in the mean that translates; 0 is the last."""
    length_penalty: NonNegative = 0.6
    """How much longer translations are favoured where several hypotheses are kept."""


class State(NamedTuple):
    """params f32, the average of these over ticks that translates, Adam's moments, order u32[] which names this row's
    order of the pairs in each epoch"""

    params: Any
    average: Any
    optimizer: optax.OptState
    order: Array


class HeldOut(NamedTuple):
    """source i32[M,S] with END, then padding; target i32[M,U+1] between BEGIN and END, then padding"""

    source: Array
    target: Array


class Data(NamedTuple):
    """train: pairs by length; held_out; spellings u8[V,W], each token's bytes, then zeros"""

    train: Buckets
    held_out: HeldOut
    spellings: Array


class Outputs(NamedTuple):
    """Of each held-out pair, in their order, translation i32[M,T] and reference i32[M,U+1], cross-entropy of the reference
    in nats f32[M] and its tokens i32[M], as far as there are T; attention f32[layers,T,S], the mean over heads, of the
    first pair's translation to its source; and what the tokens spell, u8[V,W]"""

    translation: Array
    reference: Array
    nats: Array
    tokens: Array
    attention: Array
    spellings: Array


def make(setup: Setup) -> Experiment:
    """Translation as an experiment."""
    check(setup)
    return Experiment(
        init=partial(init, setup),
        step=partial(step, setup),
        evaluate=partial(evaluate, setup),
        score=partial(score, setup),
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    check_rising("buckets", setup.buckets, least=2)
    bucket_rows(setup.buckets[-1], setup.tokens, multiple(setup))
    of_multi30k(setup)
    model_of(setup, 1)


def of_multi30k(setup: Setup) -> bool:
    """Whether the texts are Multi30k's, tokenised as `words` has it. Raises ValueError for a language beside a file."""
    named = [name in LANGUAGES for name in (setup.source, setup.target)]
    if any(named) and not all(named):
        raise ValueError(
            f"of source={setup.source!r} and target={setup.target!r} one is a language of Multi30k and the other a file; "
            f"give two of {', '.join(LANGUAGES)}, or two files"
        )
    return all(named)


def multiple(setup: Setup) -> int:
    """What divides the pairs of every batch."""
    return TOGETHER * setup.accumulation


def model_of(setup: Setup, vocabulary: int) -> EncoderDecoder:
    """The network for a vocabulary of so many tokens. Raises ValueError for a width that heads do not divide."""
    shape = Shape(
        width=setup.width,
        heads=setup.heads,
        layers=setup.layers,
        hidden=setup.hidden,
        longest=setup.buckets[-1],
        norm=setup.norm,
        activation="relu",
        positions="sinusoidal",
        weights="xavier",
        tied=True,
        scaled=True,
        dropout=setup.dropout,
        dtype=jnp.dtype(setup.compute_dtype),
    )
    return EncoderDecoder(shape, vocabulary)


def init(setup: Setup, key: Array, hyper: Hyper, data: Data) -> State:
    net_key, order_key = jax.random.split(key)
    some = jnp.zeros((1, 2), jnp.int32)
    params = model_of(setup, data.spellings.shape[0]).init(net_key, some, jnp.array([2]), some)
    # A copy of its own: the engine gives the state's memory away, each array once.
    return State(params, jax.tree.map(jnp.copy, params), adam(hyper).init(params), name_order(order_key))


def adam(hyper: Hyper) -> optax.GradientTransformation:
    # Softmax does not see a key's bias, whose gradient is rounding alone: with the usual 1e-8 Adam makes whole steps of it.
    return optax.scale_by_adam(hyper.beta1, hyper.beta2, eps=1e-6)


def step(setup: Setup, state: State, hyper: Hyper, data: Data, tick: Tick) -> tuple[State, dict[str, Any]]:
    model = model_of(setup, data.spellings.shape[0])
    bucket, batch = turn(data.train.schedule, data.train.counts, tick.index)
    branches = [partial(learn, setup, model, table) for table in data.train.tables]
    loss, gradient = lax.switch(bucket, branches, state, hyper, batch, tick.key)
    rate = hyper.learning_rate * schedules.inverse_square_root(tick.index, tick.total, hyper.warmup)
    decay = hyper.weight_decay
    params, moments = descend(adam(hyper), state.params, state.optimizer, gradient, rate, weight_decay=decay)
    average = tail_average(state.average, params, tick.index, hyper.average)
    norm = optax.tree.norm(gradient)
    return State(params, average, moments, state.order), {"loss": loss, "gradient_norm": norm}


def learn(
    setup: Setup,
    model: EncoderDecoder,
    table: tuple[Array, Array],
    state: State,
    hyper: Hyper,
    batch: Array,
    key: Array,
) -> tuple[Ratio, Any]:
    """A bucket's batch number `batch` i32[] -> cross-entropy in nats per token, not smoothed; gradient of the smoothed one.

    table: source i32[N,L], target i32[N,L+1]
    """
    count, length = table[0].shape
    rows = bucket_rows(length, setup.tokens, multiple(setup))
    places = epoch_indices(state.order, batch, rows, count).reshape(setup.accumulation, -1)  # [parts, B]

    slope = jax.value_and_grad(partial(objective, model), has_aux=True)

    def part(drawn: tuple[Array, Array]) -> tuple[Ratio, Any]:
        places, key = drawn
        source, target = (spread(side[places]) for side in table)
        (_, loss), gradient = slope(state.params, source, target, hyper.label_smoothing, key)
        return loss, gradient

    loss, gradient = summed(part, (places, jax.random.split(key, setup.accumulation)))
    return loss, jax.tree.map(lambda x: x / loss.count, gradient)


def objective(
    model: EncoderDecoder, params: Any, source: Array, target: Array, smoothing: Array, key: Array | None = None
) -> tuple[Array, Ratio]:
    """Sum of smoothed cross-entropies f32[] over all tokens of a batch, and their plain sum with the tokens' number; with
    a key as in training, with dropout. source i32[B,S], target i32[B,T+1]"""
    logits, goal, known = predictions(model, params, source, target, key)
    plain, smoothed = (jnp.where(known, cross_entropy(logits, goal, e), 0.0).sum() for e in (0.0, smoothing))
    return smoothed, Ratio(plain, known.sum().astype(jnp.float32))


def predictions(
    model: EncoderDecoder, params: Any, source: Array, target: Array, key: Array | None
) -> tuple[Array, Array, Array]:
    """source i32[B,S], target i32[B,T+1] -> logits f32[B*T,V], what they should say i32[B*T], and where it is no padding"""
    rngs = {} if key is None else {"dropout": key}
    logits: Any = model.apply(params, source, lengths(source), target[:, :-1], key is not None, rngs=rngs)
    goal = target[:, 1:].reshape(-1)
    return logits.reshape(-1, logits.shape[-1]), goal, goal != PADDING


def evaluate(setup: Setup, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    """Translates the held-out sentences, and asks for their references token by token.

    Sentences of like length go together, because a batch is done when its last one is."""
    model, held_out = model_of(setup, data.spellings.shape[0]), data.held_out
    order = jnp.argsort(lengths(held_out.source))

    def judge(places: Array) -> tuple[Array, Array, Array]:
        source, target = held_out.source[places], held_out.target[places, : setup.buckets[-1] + 1]
        found = translate(model, state.average, source, setup.beam, hyper.length_penalty)
        logits, goal, known = predictions(model, state.average, source, target, None)
        nats = jnp.where(known, cross_entropy(logits, goal), 0.0).reshape(source.shape[0], -1)
        return found.tokens[:, 0], nats.sum(1), known.reshape(nats.shape).sum(1)

    judged = map_blocks(judge, order, setup.evaluation_batch)
    translation, nats, tokens = (x[jnp.argsort(order)] for x in judged)
    first = held_out.source[:1]
    read = jnp.concatenate([jnp.full((1, 1), BEGIN, jnp.int32), translation[:1, :-1]], 1)
    looked = alignment(model, state.average, first, lengths(first), read)[:, 0].mean(1)  # [layers, T, S]
    return Outputs(translation, held_out.target, nats, tokens, looked, data.spellings)


def score(setup: Setup, outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> both BLEU (see `bleu`), 0 to 100, and mean cross-entropy in nats per token, f64[R]"""
    said = lambda side: [spelt_out(x, s) for x, s in zip(side, outputs.spellings, strict=True)]
    rows, apart = list(zip(said(outputs.translation), said(outputs.reference), strict=True)), of_multi30k(setup)
    figures = {kind: np.array([bleu(counts(kind, x, y, apart).sum(0)) for x, y in rows]) for kind in KINDS}
    return figures | {"loss": outputs.nats.sum(axis=1, dtype=np.float64) / outputs.tokens.sum(axis=1)}
