"""What an expert would play, and who wins: a net learns both or one of them from recorded games (Silver et al. 2016).

One tick is one update on M positions, each shown by a symmetry of the board, which descends

    mean(policy_weight * cross-entropy of the move + value_weight * (value - outcome)^2)

Positions of one game are alike and share their outcome. A value that learns from all of them remembers games; `one` position of
each game is what the authors took instead.

Dimensions: M positions in an update, N held-out positions, P positions of all games, A moves of the board, H rows, W columns,
C planes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Fraction, Interval, NonNegative, Positive, Precision
from research.engine.placement import spread
from research.engine.plan import Plan
from research.games import boards
from research.games.boards import Board
from research.games.contest import Plays, judge_of
from research.games.records import Positions, unpacked
from research.games.search import Rule
from research.models.board import BoardNet, Kind
from research.models.board import check as check_net
from research.numerics.blocks import map_blocks
from research.numerics.optimizers import adam, descend
from research.numerics.schedules import cosine


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    board: str = "go_9x9"
    """Name of a board."""
    records: str = ""
    """SGF file of games; without, those that are shipped, 200 of GNU Go's on 9x9."""
    held_out: Annotated[float, Interval(0, 0.4, above=True)] = 0.1
    """Share of the games that are kept for validation, and as many for the test."""
    positions: Literal["all", "one"] = "all"
    """Learn from all positions of a game or from one of them."""
    net: Kind = "residual"
    """Dense layers, or residual blocks of convolutions."""
    widths: tuple[int, ...] = (32, 32, 32)
    """Units of each layer, or features of each block, which are all the same; none with net=dense is a linear model."""
    batch_size: Count = 128
    """Positions in an update."""
    symmetries: bool = True
    """Show each position turned or mirrored by chance, as the board's rules allow."""
    compute_dtype: Precision = "float32"
    """Type of the net's hidden layers; parameters, logits and values are float32."""
    evaluation_batch: Count = 256
    """Held-out positions that are evaluated at a time."""
    rule: Rule = "gumbel"
    """How a search with this net chooses, where it plays."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 2e-3
    """Of Adam, at its highest; it falls by half a cosine."""
    warmup: Fraction = 0.05
    """Share of the run in which the learning rate rises."""
    weight_decay: NonNegative = 1e-2
    """Of matrices, a step's share of them being this times the learning rate."""
    policy_weight: NonNegative = 1.0
    """Of the move's loss."""
    value_weight: NonNegative = 1.0
    """Of the outcome's loss."""


class Data(NamedTuple):
    """all positions; train i32, held_out i32[N], where those are that are learned from or judged; usual i32[], the move that is
    most frequent among those learned from"""

    positions: Positions
    train: np.ndarray
    held_out: np.ndarray
    usual: np.ndarray


class State(NamedTuple):
    """params f32 and Adam's moments"""

    params: Any
    optimizer: optax.OptState


class Outputs(NamedTuple):
    """Of each held-out position: hit bool[N], whether the likeliest legal move was played; usual bool[N], whether the most
    frequent one was; surprise f32[N], minus the log-probability of what was played; error f32[N], the squared error of the
    value, and right f32[N], 1 where its sign is the outcome's, NaN where nobody knows who won; game i32[N], which it is of"""

    hit: Array
    usual: Array
    surprise: Array
    error: Array
    right: Array
    game: Array


def make(setup: Setup) -> Experiment:
    """Learning from records as an experiment."""
    board = boards.make(setup.board)
    check_net(setup.net, setup.widths)
    net = BoardNet(setup.net, setup.widths, board.actions, dtype=jnp.dtype(setup.compute_dtype))
    return Experiment(
        init=partial(init, board, net),
        step=partial(step, setup, board, net),
        evaluate=Evaluation(board, partial(judge_of, net), setup.rule, 0, partial(evaluate, setup, board, net)),
        score=score,
    )


@dataclass(frozen=True, eq=False)
class Evaluation(Plays):
    """What held-out games say, of a net that plays too."""

    figures: Callable[[State, Data], Outputs]

    def check(self, plan: Plan) -> None:
        if all(row.hyper.policy_weight == 0.0 for row in plan.rows):
            raise ValueError(
                f"policy_weight=0: this run of {plan.recipe.name!r} has learned who wins and not what to play; give one that "
                "has, or search with this one's value: train.py go-search --setup.value FOLDER"
            )

    def __call__(self, key: Array, state: State, hyper: Hyper, data: Data) -> Outputs:
        return self.figures(state, data)


def init(board: Board, net: BoardNet, key: Array, hyper: Hyper, data: Data) -> State:
    params = net.init(key, jnp.zeros((1, *board.shape)))
    return State(params, adam().init(params))


class Batch(NamedTuple):
    """observation bool[M,H,W,C]; legal bool[M,A]; move f32[M,A], one-hot; outcome f32[M]"""

    observation: Array
    legal: Array
    move: Array
    outcome: Array


def at(board: Board, data: Data, places: Array) -> Batch:
    """The positions at places i32[M]."""
    found = data.positions
    return Batch(
        unpacked(jnp.asarray(found.planes)[places], board.shape),
        unpacked(jnp.asarray(found.legal)[places], (board.actions,)),
        jax.nn.one_hot(jnp.asarray(found.move)[places], board.actions),
        jnp.asarray(found.outcome)[places],
    )


def step(
    setup: Setup, board: Board, net: Any, state: State, hyper: Hyper, data: Data, tick: Tick
) -> tuple[State, dict[str, Ratio]]:
    draw_key, turn_key = jax.random.split(tick.key)
    drawn = jax.random.randint(draw_key, (setup.batch_size,), 0, data.train.shape[0])
    batch = spread(at(board, data, jnp.asarray(data.train)[drawn]))
    if setup.symmetries:
        seen, legal, move = boards.turned(board, turn_key, batch.observation, batch.legal, batch.move)
        batch = Batch(seen, legal, move, batch.outcome)

    def objective(params: Any) -> tuple[Array, dict[str, Ratio]]:
        logits, value = net.apply(params, batch.observation)
        cross = optax.softmax_cross_entropy(logits, batch.move)
        squared = jnp.where(batch.outcome != 0, (value - batch.outcome) ** 2, 0.0)
        loss = (hyper.policy_weight * cross + hyper.value_weight * squared).mean()
        hit = (boards.masked(logits, batch.legal).argmax(1) == batch.move.argmax(1)).sum(dtype=jnp.float32)
        count, known = jnp.float32(setup.batch_size), (batch.outcome != 0).sum(dtype=jnp.float32)
        return loss, {
            "policy_loss": Ratio(cross.sum(), count),
            "train_accuracy": Ratio(hit, count),
            "value_loss": Ratio(squared.sum(), known),
        }

    gradient, told = jax.grad(objective, has_aux=True)(state.params)
    rate = hyper.learning_rate * cosine(tick.index, tick.total, hyper.warmup)
    decay = hyper.weight_decay
    params, moments = descend(adam(), state.params, state.optimizer, gradient, rate, weight_decay=decay)
    return State(params, moments), told


def evaluate(setup: Setup, board: Board, net: Any, state: State, data: Data) -> Outputs:
    def judged(places: Array) -> Outputs:
        batch = at(board, data, places)
        logits, value = net.apply(state.params, batch.observation)
        played = batch.move.argmax(1)
        unknown = jnp.where(batch.outcome == 0, jnp.nan, 0.0)
        return Outputs(
            boards.masked(logits, batch.legal).argmax(1) == played,
            data.usual == played,
            optax.softmax_cross_entropy(logits, batch.move),
            (value - batch.outcome) ** 2 + unknown,
            (jnp.sign(value) == batch.outcome).astype(jnp.float32) + unknown,
            jnp.searchsorted(jnp.asarray(data.positions.first), places, side="right").astype(jnp.int32) - 1,
        )

    return map_blocks(judged, jnp.asarray(data.held_out), setup.evaluation_batch)


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> figures f64[R]: shares of moves that were foreseen, by the net and by naming always the
    most frequent one, the standard error of the former over games, cross-entropy in nats, the value's squared error and the
    share of outcomes it has the sign of"""

    def mean(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, np.float64)
        known = ~np.isnan(x)
        return np.where(known, x, 0.0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)

    return {
        "accuracy": mean(outputs.hit),
        "accuracy_error": np.array([error_over(*pair) for pair in zip(outputs.hit, outputs.game, strict=True)]),
        "most_frequent": mean(outputs.usual),
        "loss": mean(outputs.surprise),
        "value_error": mean(outputs.error),
        "outcomes_right": mean(outputs.right),
    }


def error_over(hit: np.ndarray, game: np.ndarray) -> float:
    """The standard error of the mean of hit bool[N], whose games i32[N] are drawn and not its positions (Cochran 1977, 6.4):
    what is alike within a game counts once."""
    away = np.bincount(game, hit - np.mean(hit, dtype=np.float64))
    return float(np.sqrt((away**2).sum()) / len(hit))
