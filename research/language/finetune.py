"""Classification of sentences by a language model that has read unlabelled text before (Radford et al. 2018).

The net of `lm` without its last layer gives a vector for each token; their mean over a sentence goes through one linear
layer, the head. One tick is one update by AdamW on a batch of sentences of like length, whose mean cross-entropy

    -mean over b of log p(label[b] | sentence[b])

it descends. What moves is the head and, by `mode`, nothing else, the last blocks, everything, or beside each matrix W of
the blocks two small ones (LoRA, Hu et al. 2022),

    W + scale * A B,        A f32[I,r] random, B f32[r,O] at first 0.

What does not move stands in `data`, once for all rows.

Dimensions: B sentences of a batch, L tokens that a bucket has room for, T tokens of the longest, V tokens of the vocabulary,
M held-out sentences, K classes, r rank, I inputs and O outputs of a matrix.
"""

from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import Array, lax

from research.data.pairs import TOGETHER, Buckets, bucket_rows, check_rising, turn
from research.engine.experiment import Experiment, Tick
from research.engine.fields import BelowOne, Count, Fraction, NonNegative, Positive
from research.engine.placement import spread
from research.language import lm
from research.models.sequences import GPT
from research.numerics.blocks import map_blocks
from research.numerics.calibration import calibration_error
from research.numerics.objectives import cross_entropy
from research.numerics.shuffle import epoch_indices, name_order

ABSENT = -1  # stands where a sentence has no token any more
LAST_LAYER = "output/"  # what a language model's net has, and a classifier's has not
# What the net of a run of `lm` must share, by the names that the fields have there.
NET = (*(field.name for field in fields(lm.Architecture)), "context")

Net = dict[str, Array]  # a net's parameters f32[...] by their path


@dataclass(frozen=True)
class Setup(lm.Architecture):
    """Static: a change compiles again."""

    data: str = "sst2"
    """Sentences with labels: sst2, or the path of a text in UTF-8 whose lines are a sentence, a tab and its label."""
    held_out: Fraction = 0.1
    """Share of a file's sentences, at its end, that are held out: half to validate, half to test. SST-2 has parts of its
    own."""
    pretrained: str = ""
    """Folder of a run of `lm` to begin with, whose best state of its first row is taken; its text must still be there, and the
    path is part of this run's name. Without one the net is new, and all of it learns."""
    mode: Literal["all", "last", "head", "lora"] = "all"
    """What learns beside the head: all of the net, its last blocks, nothing, or small matrices beside each of the blocks'."""
    last: Count = 1
    """In mode last, how many blocks learn."""
    rank: Count = 4
    """In mode lora, the rank of what is added to a matrix."""
    byte_pairs: Count = 4096
    """Tokens of the vocabulary of a new net; a pretrained one has its own."""
    context: Count = 64
    """Tokens that the net sees at once, at least those of the last bucket."""
    dropout: BelowOne = 0.1
    """Share of numbers that are blanked in training."""
    buckets: tuple[int, ...] = (24, 40, 64)
    """Lengths to which sentences are padded, in tokens; longer ones are cut to the last."""
    tokens: Count = 1024
    """Tokens of an update, padding counted."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of activations and of their products; parameters, norms, logits and updates are float32."""
    evaluation_batch: Count = 64
    """Held-out sentences that are classified at a time."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 1e-3
    """Highest learning rate of the schedule."""
    final_learning_rate: Fraction = 0.0
    """Where the cosine ends, as a share of the highest."""
    warmup: Fraction = 0.1
    """Share of the run over which the learning rate rises."""
    weight_decay: NonNegative = 0.1
    """Decoupled decay of matrices."""
    beta1: BelowOne = 0.9
    """Adam's average of gradients: what is kept from one update to the next."""
    beta2: BelowOne = 0.99
    """Adam's average of squared gradients, likewise."""
    max_gradient_norm: Positive = 1.0
    """Global norm that a gradient is scaled down to."""
    lora_scale: Positive = 2.0
    """In mode lora, what the product of the two small matrices is multiplied by."""


class State(NamedTuple):
    """trained: what learns, f32[...] by path; Adam's moments of it; order u32[] which names this row's order of the sentences
    in each epoch"""

    trained: Net
    optimizer: optax.OptState
    order: Array


class HeldOut(NamedTuple):
    """text i32[M,T], ABSENT behind the end; label i32[M]"""

    text: Array
    label: Array


class Data(NamedTuple):
    """train: sentences and their labels by length; held_out; pretrained net, or nothing; counts i32[K] of sentences to learn
    from by class; spellings u8[V,W], each token's bytes, then zeros"""

    train: Buckets
    held_out: HeldOut
    pretrained: Net
    counts: Array
    spellings: Array


class Outputs(NamedTuple):
    """Of each held-out sentence the probability of the class that is predicted f32[M], whether it is right bool[M], and
    cross-entropy f32[M]; the share of all parameters that learn, f32[]"""

    confidence: Array
    correct: Array
    loss: Array
    trained: Array


def make(setup: Setup) -> Experiment:
    """Classification of sentences as an experiment."""
    check(setup)
    return Experiment(
        init=partial(init, setup), step=partial(step, setup), evaluate=partial(evaluate, setup), score=score
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    check_rising("buckets", setup.buckets, least=3)
    if setup.buckets[-1] > setup.context:
        raise ValueError(
            f"buckets={setup.buckets} reach beyond context={setup.context}; end them with at most {setup.context}"
        )
    bucket_rows(setup.buckets[-1], setup.tokens, TOGETHER)
    if setup.mode != "all" and not setup.pretrained:
        raise ValueError(
            f"mode={setup.mode!r} keeps a net as it is that has learned nothing; name a run of lm: "
            "--setup.pretrained runs/lm-..., or use mode=all"
        )
    if setup.mode == "last" and setup.last > setup.layers:
        raise ValueError(f"last={setup.last} is more than layers={setup.layers}; use at most {setup.layers}")
    model_of(setup, 1)


def model_of(setup: Setup, vocabulary: int) -> GPT:
    """The language model for a vocabulary of so many tokens. Raises ValueError for a width that heads do not divide."""
    shared = {name: getattr(setup, name) for name in (*NET, "dropout", "compute_dtype")}
    return lm.model_of(lm.Setup(**shared), vocabulary)


def net_of(params: Any) -> Net:
    """A language model's parameters by path, without its last layer."""
    flat = flatten_dict(params["params"], sep="/")
    return {path: x for path, x in flat.items() if not path.startswith(LAST_LAYER)}


def init(setup: Setup, key: Array, hyper: Hyper, data: Data) -> State:
    net_key, order_key = jax.random.split(key)
    trained = learners(setup, net_key, data)
    width, classes = setup.width, data.counts.shape[0]
    trained |= {"head/kernel": jnp.zeros((width, classes)), "head/bias": jnp.zeros(classes)}
    return State(trained, optax.scale_by_adam().init(trained), name_order(order_key))


def learners(setup: Setup, key: Array, data: Data) -> Net:
    """What learns beside the head, as it is at first."""
    if not data.pretrained:
        model = model_of(setup, data.spellings.shape[0])
        return net_of(model.init(key, jnp.zeros((1, 2), jnp.int32)))
    if setup.mode == "lora":
        matrices = {path: x for path, x in data.pretrained.items() if path.startswith("stack/") and x.ndim == 2}
        found: Net = {}
        for number, (path, matrix) in enumerate(sorted(matrices.items())):
            inputs, outputs = matrix.shape
            draw = jax.random.normal(jax.random.fold_in(key, number), (inputs, setup.rank))
            found |= {f"{path}/a": draw * inputs**-0.5, f"{path}/b": jnp.zeros((setup.rank, outputs))}
        return found
    blocks = {"all": setup.layers, "last": setup.last, "head": 0}[setup.mode]
    moving = tuple(f"stack/blocks_{i}/" for i in range(setup.layers - blocks, setup.layers))
    moving += ("stack/norm/",) * (blocks > 0) + ("embedding/",) * (setup.mode == "all")
    # Copies: the engine gives the state's memory away, and data stays.
    return {path: jnp.copy(x) for path, x in data.pretrained.items() if path.startswith(moving)}


def assembled(data: Data, trained: Net, scale: Array) -> Any:
    """The net's parameters, of what learns and what does not."""
    net = {path: trained.get(path, x) for path, x in (data.pretrained or trained).items()}
    for path in data.pretrained:
        if f"{path}/a" in trained:
            net[path] = net[path] + scale * trained[f"{path}/a"] @ trained[f"{path}/b"]
    return {"params": unflatten_dict({path: x for path, x in net.items() if not path.startswith("head/")}, sep="/")}


def logits(
    setup: Setup,
    data: Data,
    trained: Net,
    scale: Array,
    text: Array,
    key: Array | None = None,
    strength: Array | None = None,
) -> Array:
    """text i32[B,L], with a key as in training, and what each token's vector is multiplied by f32[B,L] -> f32[B,K]"""
    model, known = model_of(setup, data.spellings.shape[0]), text != ABSENT
    rngs = {} if key is None else {"dropout": key}
    features: Any = model.apply(
        assembled(data, trained, scale), jnp.maximum(text, 0), key is not None, strength, method="features", rngs=rngs
    )
    weights = known.astype(jnp.float32) / known.sum(1, keepdims=True).astype(jnp.float32)  # [B, L]
    mean = jnp.einsum("bl,blc->bc", weights, features.astype(jnp.float32))
    return mean @ trained["head/kernel"] + trained["head/bias"][None]


def step(setup: Setup, state: State, hyper: Hyper, data: Data, tick: Tick) -> tuple[State, dict[str, Array]]:
    bucket, batch = turn(data.train.schedule, data.train.counts, tick.index)
    branches = [partial(learn, setup, table) for table in data.train.tables]
    (_, metrics), gradient = lax.switch(bucket, branches, state, hyper, data, batch, tick.key)
    params, moments, norm = lm.descend(hyper, state.trained, state.optimizer, gradient, tick)
    return State(params, moments, state.order), metrics | {"gradient_norm": norm}


def learn(
    setup: Setup, table: tuple[Array, Array], state: State, hyper: Hyper, data: Data, batch: Array, key: Array
) -> Any:
    """A bucket's batch number `batch` i32[] -> (loss, metrics), gradient. table: text i32[N,L], label i32[N]"""
    count, length = table[0].shape
    places = epoch_indices(state.order, batch, bucket_rows(length, setup.tokens, TOGETHER), count)
    text, label = (spread(side[places]) for side in table)

    def objective(trained: Net) -> tuple[Array, dict[str, Array]]:
        found = logits(setup, data, trained, hyper.lora_scale, text, key)
        loss = cross_entropy(found, label).mean()
        return loss, {"loss": loss, "accuracy": (found.argmax(1) == label).mean()}

    return jax.value_and_grad(objective, has_aux=True)(state.trained)


def evaluate(setup: Setup, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
    """All held-out sentences, batch by batch."""

    def judge(part: HeldOut) -> tuple[Array, Array, Array]:
        found = logits(setup, data, state.trained, hyper.lora_scale, part.text)
        return jax.nn.softmax(found).max(1), found.argmax(1) == part.label, cross_entropy(found, part.label)

    confidence, correct, loss = map_blocks(judge, data.held_out, setup.evaluation_batch)
    return Outputs(confidence, correct, loss, jnp.float32(trained_share(state.trained, data.pretrained)))


def trained_share(trained: Net, pretrained: Net) -> float:
    """Parameters that learn, as a share of all there are."""
    whole = pretrained | trained
    return sum(x.size for x in trained.values()) / sum(x.size for x in whole.values())


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> accuracy, mean cross-entropy in nats, expected calibration error of 15 bins, and the
    share of parameters that learn, f64[R]"""
    sure = zip(outputs.confidence, outputs.correct, strict=True)
    return {
        "accuracy": outputs.correct.mean(axis=1, dtype=np.float64),
        "loss": outputs.loss.mean(axis=1, dtype=np.float64),
        "calibration_error": np.array([calibration_error(*row) for row in sure]),
        "trained_share": outputs.trained.astype(np.float64),
    }
