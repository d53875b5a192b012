"""Games between players, and how many are won.

A player is (key, positions of B games) -> moves i32[B]; it is asked only where it is to move.
Dimensions: B games, N solved positions, L moves that lead to them, A moves of the board.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.engine.plan import Plan
from research.games import boards
from research.games.boards import Board, Position, played
from research.games.search import Advice, Judge, Rule, opinion, search
from research.models.board import BoardNet

Player = Callable[[Array, Position], Array]
Opponent = Literal["random", "perfect"]


class Solved(NamedTuple):
    """What is known of a board for certain; of length 0 where nothing is.

    table  bool[3**9,9], the best moves of tic-tac-toe by the position's `code`
    moves  i32[N,L], which lead to positions, -1 behind the last; best bool[N,A], the best moves there
    """

    table: np.ndarray
    moves: np.ndarray
    best: np.ndarray


class Outputs(NamedTuple):
    """outcome f32[B] for the judged, 1, 0 or -1, the first half as player 0; agreed bool[N], whether the net's first choice is
    a best move of the solved positions; found bool[N], likewise of the player's"""

    outcome: Array
    agreed: Array
    found: Array


def contest(board: Board, ours: Player, theirs: Player, key: Array, openings: Position) -> Array:
    """How B games go that begin from each of B/2 positions twice: f32[B] for us, 1, 0 or -1, who are player 0 in the first half
    and player 1 in the second. In these positions player 0 must be to move."""

    def unfinished(carry: tuple[Position, Position, Array, Array]) -> Array:
        return ~(carry[0].terminated & carry[1].terminated).all() & (carry[3] < board.longest)

    def turn(carry: tuple[Position, Position, Array, Array]) -> tuple[Position, Position, Array, Array]:
        mine, yours, key, count = carry  # where we are to move, where they are
        key, our_key, their_key = jax.random.split(key, 3)
        moved = going_on(board, mine, ours(our_key, mine)), going_on(board, yours, theirs(their_key, yours))
        return moved[1], moved[0], key, count + 1

    mine, yours, _, count = lax.while_loop(unfinished, turn, (openings, openings, key, jnp.int32(0)))
    # Of player 0, in games that have changed places by each turn.
    first, second = mine.rewards[:, 0], yours.rewards[:, 0]
    changed = count % 2 == 1
    return jnp.concatenate([jnp.where(changed, second, first), -jnp.where(changed, first, second)])


def going_on(board: Board, positions: Position, actions: Array) -> Position:
    """Games after a move, as they were where they are over."""
    return boards.chosen(positions.terminated, positions, played(board, positions, actions))


def by_chance(key: Array, positions: Position) -> Array:
    """A player who makes any legal move, i32[B]"""
    return boards.drawn_from(key, positions.legal_action_mask)


def perfect(solved: Solved, key: Array, positions: Position) -> Array:
    """A player of tic-tac-toe who makes any of the best moves, i32[B]"""
    return boards.drawn_from(key, jnp.asarray(solved.table)[code(positions.observation)])


def code(observation: Array) -> Array:
    """A number for each position of tic-tac-toe: bool[B,3,3,2] -> i32[B], a digit of base 3 for each cell, which is 1 for a
    stone of whoever is to move and 2 for another's"""
    digits = observation.reshape(-1, 9, 2).astype(jnp.int32) @ jnp.array([1, 2])
    return digits @ 3 ** jnp.arange(9)


def agreement(solved: Solved, actions: Array) -> Array:
    """Whether moves i32[N] at the solved positions are among the best, bool[N]"""
    return jnp.take_along_axis(jnp.asarray(solved.best), actions[:, None], 1)[:, 0]


@dataclass(frozen=True, eq=False)
class Plays:
    """An experiment's evaluation, where what is learned is a player.

    judge        a state -> what looks at positions
    rule         how a search chooses, and simulations of one in the evaluation
    """

    board: Board
    judge: Callable[[Any], Judge]
    rule: Rule
    simulations: int

    def advise(self, board: Board, state: Any, simulations: int, key: Array, positions: Position) -> Advice:
        """What a state has learned to do at B positions, without noise; its judge's own opinion where simulations is 0."""
        judge = self.judge(state)
        if not simulations:
            return opinion(judge, positions)
        return search(board, judge, self.rule, simulations, key, positions)

    def advisor(self, state: Any, asked: int | None) -> tuple[Board, Callable[[Array, Position], Advice]]:
        """The board at full length, and what is advised there, compiled with the state as an argument of the program."""
        board, count = boards.full_length(self.board.name), self.searched(asked)
        advise = jax.jit(lambda state, key, positions: self.advise(board, state, count, key, positions))
        return board, partial(advise, jax.device_put(state))

    def searched(self, asked: int | None) -> int:
        """Simulations of a search in play: as many as a person asks for, by default as in the evaluation."""
        return self.simulations if asked is None else asked

    def check(self, plan: Plan) -> None:
        """Raises ValueError where what the plan learns is no player after all."""


@dataclass(frozen=True, eq=False)
class Judged(Plays):
    """Games from the first position, and the choices at solved positions."""

    opponent: Opponent
    contests: int

    def __call__(self, key: Array, state: Any, hyper: Any, data: Solved) -> Outputs:
        def ours(key: Array, positions: Position) -> Array:
            return self.advise(self.board, state, self.simulations, key, positions).action

        game_key, known_key = jax.random.split(key)
        theirs = by_chance if self.opponent == "random" else partial(perfect, data)
        outcome = contest(self.board, ours, theirs, game_key, boards.starts(self.board, self.contests // 2))
        if not len(data.moves):
            return Outputs(outcome, jnp.zeros(0, bool), jnp.zeros(0, bool))
        known = boards.reached(self.board, data.moves)
        guessed = self.advise(self.board, state, 0, known_key, known).action
        return Outputs(outcome, agreement(data, guessed), agreement(data, ours(known_key, known)))


def judge_of(net: BoardNet, state: Any) -> Judge:
    """What looks with the net that a state holds."""
    return partial(net.looking().apply, state.params)


def check_even(why: str, **numbers: int) -> None:
    """Raises ValueError for a number that is odd."""
    for name, number in numbers.items():
        if number % 2:
            raise ValueError(f"{name}={number} must be even, {why}; try {number + 1}")


def player_of(plan: Plan) -> Plays:
    """The evaluation of a plan's experiment. Raises ValueError where it plays no board game."""
    player = plan.experiment.evaluate
    if not isinstance(player, Plays):
        raise ValueError(
            f"recipe {plan.recipe.name!r} plays no board game; give the folder of a run that does, such as "
            "alphazero-tic-tac-toe's"
        )
    player.check(plan)
    return player


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> figures f64[R]: games lost in all, shares won and drawn as either player, and shares of
    the solved positions where the move is a best one"""
    outcome = np.asarray(outputs.outcome)
    halves = dict(zip(("first", "second"), np.split(outcome, 2, axis=1), strict=True))
    told: dict[str, Any] = {"losses": (outcome < 0).sum(1)}
    for name, half in halves.items():
        told |= {f"wins_{name}": (half > 0).mean(1), f"draws_{name}": (half == 0).mean(1)}
    if outputs.agreed.shape[1]:
        told |= {"policy_agrees": outputs.agreed.mean(1), "search_agrees": outputs.found.mean(1)}
    return {name: np.asarray(value, np.float64) for name, value in told.items()}
