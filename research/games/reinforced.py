"""Policy gradient by self-play against a pool of earlier selves (Silver et al. 2016, stage two).

A tick draws one opponent from the pool and plays B games against it to their end, half of them as either side, both sides by
chance as their policies say; then the net takes one step up

    mean over the net's moves of (z - b) log p(move)

where z is how the move's game ended for the net, 1, 0 or -1, and b the mean of the other games' z. Every so many ticks the net
joins the pool, in place of the oldest; at first that holds the net which the run begins with.

Dimensions: B games, L moves of the longest game, K nets in the pool, A moves of the board, H rows, W columns, C planes.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.fields import Count, Natural, NonNegative, Positive
from research.engine.placement import spread
from research.games import boards
from research.games.boards import Board, Position
from research.games.contest import Plays, by_chance, check_even, contest, going_on, judge_of
from research.games.search import Judge, sampled
from research.models.board import BoardNet, Kind
from research.models.board import check as check_net
from research.numerics.optimizers import adam, descend


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    board: str = "go_9x9"
    """Name of a board."""
    pretrained: str = ""
    """Folder of a run of go-supervised, whose net this begins with and is judged against; without, a new net."""
    net: Kind = "residual"
    """Without a pretrained net: dense layers, or residual blocks of convolutions."""
    widths: tuple[int, ...] = (32, 32, 32)
    """Without a pretrained net: units of each layer, or features of each block, which are all the same."""
    games: Count = 64
    """Games in a tick."""
    longest: Natural = 0
    """Moves after which a game is stopped and counts as drawn; 0: as many as the board allows."""
    pool: Count = 20
    """Nets in the pool."""
    join_every: Count = 20
    """Ticks between two that join the pool."""
    opening: Natural = 2
    """Moves by chance that a game of an evaluation begins with, an even number."""
    contests: Count = 400
    """Games of an evaluation, half of them as either side."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 3e-4
    """Of Adam."""
    entropy_coefficient: NonNegative = 0.0
    """Weight of the policy's entropy."""


class State(NamedTuple):
    """params f32 and Adam's moments; pool, params [K,...]"""

    params: Any
    optimizer: optax.OptState
    pool: Any


class Outputs(NamedTuple):
    """f32[B]: 1, 0 or -1 for the net, against the one it began with, and against moves by chance"""

    first: Array
    chance: Array


def make(setup: Setup) -> Experiment:
    """Self-play as an experiment."""
    board = boards.make(setup.board)
    check(setup)
    net = BoardNet(setup.net, setup.widths, board.actions)
    return Experiment(
        init=partial(init, setup, board, net),
        step=partial(step, setup, board, net),
        evaluate=Evaluation(board, partial(judge_of, net), "gumbel", 0, setup),
        score=score,
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    check_net(setup.net, setup.widths)
    check_even("half as either side", games=setup.games, contests=setup.contests)
    check_even("so that whoever began is to move", opening=setup.opening)


def init(setup: Setup, board: Board, net: BoardNet, key: Array, hyper: Hyper, data: Any) -> State:
    """data: the pretrained params, or {} where there are none."""
    params = jax.tree.map(jnp.asarray, data) if data else net.init(key, jnp.zeros((1, *board.shape)))
    pool = jax.tree.map(lambda x: jnp.broadcast_to(x, (setup.pool, *x.shape)), params)
    return State(jax.tree.map(jnp.copy, params), adam().init(params), jax.tree.map(jnp.copy, pool))


class Moves(NamedTuple):
    """The net's moves [L,B/2], at move t in half t % 2 of the games: observation [...,H,W,C], legal bool[...,A], action i32,
    live bool, whether the game was going on"""

    observation: Array
    legal: Array
    action: Array
    live: Array


def step(
    setup: Setup, board: Board, net: Any, state: State, hyper: Hyper, data: Any, tick: Tick
) -> tuple[State, dict[str, Array | Ratio]]:
    pool_key, play_key = jax.random.split(tick.key)
    members = jnp.minimum(tick.index // setup.join_every + 1, setup.pool)
    rival = jax.tree.map(lambda x: x[jax.random.randint(pool_key, (), 0, members)], state.pool)
    look = net.looking().apply
    moves, outcome = games(setup, board, partial(look, state.params), partial(look, rival), play_key)
    gradient, told = jax.grad(partial(objective, net, hyper), has_aux=True)(state.params, moves, advantages(outcome))
    params, moments = descend(adam(), state.params, state.optimizer, gradient, hyper.learning_rate)
    # The pool's first place is the net that the run began with, until it is the oldest.
    place = (tick.index // setup.join_every + 1) % setup.pool
    joins = (tick.index + 1) % setup.join_every == 0
    pool = jax.tree.map(lambda old, new: jnp.where(joins, old.at[place].set(new), old), state.pool, params)
    told |= {
        "moves": Ratio(moves.live.sum(dtype=jnp.float32), jnp.float32(setup.games)),  # the net's, in a game
        "wins": (outcome > 0).mean(dtype=jnp.float32),
        "draws": (outcome == 0).mean(dtype=jnp.float32),
    }
    return State(params, moments, pool), told


def games(setup: Setup, board: Board, ours: Judge, theirs: Judge, key: Array) -> tuple[Moves, Array]:
    """B games to their end: our moves, and how the games ended for us f32[2,B/2], those in which we began first."""
    longest = setup.longest or board.longest
    longest += longest % 2

    def turn(both: tuple[Position, Position], key: Array) -> tuple[tuple[Position, Position], Moves]:
        mine, yours = (spread(x) for x in both)  # where we are to move, where they are
        our_key, their_key = jax.random.split(key)
        action = sampled(ours, our_key, mine)
        moves = Moves(mine.observation, mine.legal_action_mask, action, ~mine.terminated)
        after = going_on(board, mine, action), going_on(board, yours, sampled(theirs, their_key, yours))
        return (after[1], after[0]), moves

    begin = boards.starts(board, setup.games // 2)
    (first, second), moves = lax.scan(turn, (begin, begin), jax.random.split(key, longest))
    # After an even number of turns each half is where it was: we began in the first, and they in the second.
    return moves, jnp.stack([first.rewards[:, 0], -second.rewards[:, 0]])


def advantages(outcome: Array) -> Array:
    """Each game's outcome f32[2,B/2] less the mean of the others'."""
    count = outcome.size
    return outcome - (outcome.sum() - outcome) / (count - 1)


def objective(
    net: Any, hyper: Hyper, params: Any, moves: Moves, advantage: Array
) -> tuple[Array, dict[str, Array | Ratio]]:
    """What a tick descends, f32[], and its parts."""
    longest, half = moves.action.shape
    flat = jax.tree.map(lambda x: x.reshape(longest * half, *x.shape[2:]), moves)
    logits, _ = net.apply(params, flat.observation)
    log_policy = jax.nn.log_softmax(boards.masked(logits, flat.legal))
    chosen = jnp.take_along_axis(log_policy, flat.action[:, None], 1)[:, 0]
    worth = jnp.tile(advantage, (longest // 2, 1)).reshape(-1)  # move t belongs to half t % 2
    live = flat.live.astype(jnp.float32)
    count = jnp.maximum(live.sum(), 1.0)
    policy_loss = -(chosen * worth * live).sum() / count
    policy = jnp.exp(log_policy)
    entropy = (-jnp.where(flat.legal, policy * log_policy, 0.0).sum(1) * live).sum() / count
    loss = policy_loss - hyper.entropy_coefficient * entropy
    return loss, {"policy_loss": policy_loss, "entropy": entropy}


@dataclass(frozen=True, eq=False)
class Evaluation(Plays):
    """Games against the net that the run began with, where that was pretrained, and against chance; all moves are drawn."""

    setup: Setup

    def __call__(self, key: Array, state: State, hyper: Hyper, data: Any) -> Outputs:
        opening_key, first_key, chance_key = jax.random.split(key, 3)
        openings, _ = boards.opened(self.board, opening_key, self.setup.contests // 2, self.setup.opening)
        ours = partial(sampled, self.judge(state))
        chance = contest(self.board, ours, by_chance, chance_key, openings)
        if not data:
            return Outputs(jnp.full(chance.shape, jnp.nan), chance)
        theirs = partial(sampled, self.judge(state._replace(params=data)))
        return Outputs(contest(self.board, ours, theirs, first_key, openings), chance)


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> figures f64[R]: shares of games won"""
    won = lambda x: (np.asarray(x) > 0).mean(1, dtype=np.float64)
    told = {"wins_chance": won(outputs.chance)}
    if not np.isnan(outputs.first).any():
        told = {
            "wins_pretrained": won(outputs.first),
            "draws_pretrained": (np.asarray(outputs.first) == 0).mean(1),
        } | told
    return told
