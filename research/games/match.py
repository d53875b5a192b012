"""Matches against players who live outside a program: another one that speaks the Go Text Protocol, or one who looks ahead.

Games go on side by side. Each opening is played twice, once with either side to begin, and half of the games wait for us while
the other half waits for the rival.
Dimensions: B games.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.games import boards, connect_four, go
from research.games.boards import Board, Position
from research.games.contest import Player, check_even
from research.games.gtp import RESIGN
from research.games.program import NoAnswer, Program, colour


class Rival(Protocol):
    """Somebody who answers with a move, in each of many games at once."""

    name: str

    def reply(self, game: int, moves: Sequence[int]) -> int:
        """The move after `moves`, or RESIGN. Raises NoAnswer."""

    def winner(self, moves: Sequence[int]) -> int | None:
        """Who has won a game that two passes ended, by the rival's own count: 1 whoever began, -1 the other, 0 nobody; None
        where the rival does not count."""

    def close(self) -> None: ...


# By what a game ends: two passes, the rival's resigning, a move that the rules of Go forbid, by superko say, which loses, as
# many moves as a game may have, or, on other boards, their rules.
Ending = Literal["two passes", "resignation", "forbidden move", "length", "rules"]


class Result(NamedTuple):
    """A game that is over: the number of its opening, who began (0: we did), its moves, how it ended for us, 1, 0 or -1, and by
    what, and whether the rival counts it as we do, None where he was not asked or could not say"""

    opening: int
    began: int
    moves: list[int]
    outcome: float
    ending: Ending
    agreed: bool | None = None


def openings(board: Board, key: Array, count: int, length: int) -> np.ndarray:
    """`count` beginnings of `length` legal moves by chance, i32[count,length]. Raises ValueError where these end a game."""
    check_even("so that whoever began is to move", opening=length)
    positions, actions = boards.opened(board, key, count, length)
    if bool(positions.terminated.any()):
        raise ValueError(f"opening={length} moves by chance can end a game of {board.name}; use fewer")
    return np.asarray(actions).T


def play(name: str, ours: Player, rival: Rival, begun: np.ndarray, key: Array) -> Iterator[Result]:
    """The games on the board of that name, of full length, that begin from each of B/2 openings i32[B/2,L] twice; each as soon
    as it is over. Raises NoAnswer where the rival does."""
    board, step = compiled(name)
    half, length = begun.shape
    positions = boards.starts(board, half)
    for number in range(length):
        positions = step(positions, jnp.asarray(begun[:, number]))
    # The half in which we began, where we are to move now, and that of the rival.
    halves = [Half(began, positions, [list(map(int, line)) for line in begun], [False] * half) for began in range(2)]
    for turn in range(board.longest):
        for part in halves:
            if all(part.over):
                continue
            if part.began == turn % 2:
                key, own_key = jax.random.split(key)
                actions = [int(x) for x in ours(own_key, part.positions)]
            else:
                actions = [
                    0 if over else rival.reply(part.began * half + i, moves)
                    for i, (moves, over) in enumerate(zip(part.moves, part.over, strict=True))
                ]
            yield from move(board, rival, step, part, actions)


@functools.cache
def compiled(name: str) -> tuple[Board, Callable[[Position, Array], Position]]:
    """The board of that name, and B games on it after a move each, compiled once in a process."""
    board = boards.full_length(name)
    return board, jax.jit(partial(boards.played, board))


@dataclass
class Half:
    """The games that one side began (0: ours): positions of B/2, the moves that led there, and which games are over."""

    began: int
    positions: Position
    moves: list[list[int]]
    over: list[bool]


def move(
    board: Board, rival: Rival, step: Callable[[Position, Any], Position], part: Half, actions: list[int]
) -> list[Result]:
    """Makes a move in each game of a half that goes on -> those that are over by it."""
    part.positions = step(part.positions, jnp.asarray([max(action, 0) for action in actions], jnp.int32))
    terminated, rewards = np.asarray(part.positions.terminated), np.asarray(part.positions.rewards[:, 0])
    results = []
    for i, (moves, action) in enumerate(zip(part.moves, actions, strict=True)):
        if part.over[i]:
            continue
        if action == RESIGN:  # which the rival alone does
            results.append(Result(i, part.began, moves, 1.0, "resignation"))
        else:
            moves.append(action)
            if terminated[i]:
                ending, of_first, agreed = ending_of(board, moves), float(rewards[i]), None
                if ending == "two passes" and (winner := rival.winner(moves)) is not None:
                    agreed = winner == of_first
                outcome = of_first if part.began == 0 else -of_first
                results.append(Result(i, part.began, moves, outcome, ending, agreed))
    for result in results:
        part.over[result.opening] = True
    return results


def ending_of(board: Board, moves: list[int]) -> Ending:
    """By what these moves have ended a game."""
    if not boards.is_go(board):
        return "rules"
    if moves[-2:] == [board.actions - 1] * 2:
        return "two passes"
    before = go.replayed(board.shape[0], moves[:-1])
    return "length" if go.legal(before, moves[-1]) else "forbidden move"


class LooksAhead:
    """Alpha-beta on connect four; one of the best moves by chance."""

    def __init__(self, depth: int, seed: int):
        self.name, self.depth, self.random = f"alpha-beta of depth {depth}", depth, np.random.default_rng(seed)

    def reply(self, game: int, moves: Sequence[int]) -> int:
        own = mask = 0
        for column in moves:
            own, mask = connect_four.after(own, mask, column)
        return int(self.random.choice(connect_four.best_columns(own, mask, self.depth)))

    def winner(self, moves: Sequence[int]) -> None:
        return None

    def close(self) -> None:
        pass


class Speaks:
    """A program that speaks the Go Text Protocol, which is shown each game anew before each of its moves.

    Two passes end a game, and every stone on the board counts then. Where a pass would lose the rival a game that way, and he
    knows the command kgs-genmove_cleanup, he is asked for a move that takes dead stones off first.
    """

    def __init__(self, line: str, size: int, komi: float):
        """Raises ValueError for a program that cannot be asked."""
        self.program = Program(line, size, komi)
        self.name = self.program.name
        try:
            self.cleans = self.program.knows("kgs-genmove_cleanup")
            self.counts = self.program.knows("final_score")
        except ValueError:
            self.close()
            raise

    def reply(self, game: int, moves: Sequence[int]) -> int:
        return self.again(lambda: self.chosen(moves))

    def again(self, ask: Callable[[], Any]) -> Any:
        """What `ask` gives. A program that ends over it, or that was ended because it said nothing, is started again, once."""
        try:
            return ask()
        except NoAnswer:
            if self.program.runs():
                raise
        self.program.close()
        self.program = Program(self.program.line, self.program.size, self.program.komi)
        return ask()

    def chosen(self, moves: Sequence[int]) -> int:
        size = self.program.size
        self.show(moves)
        answer = self.program.ask(f"genmove {colour(len(moves))}")
        if answer.lower() == "pass" and self.cleans and self.loses_by_passing(moves):
            self.program.ask("undo")
            answer = self.program.ask(f"kgs-genmove_cleanup {colour(len(moves))}")
        try:
            return RESIGN if answer.lower() == "resign" else go.point(answer, size)
        except ValueError as wrong:
            raise NoAnswer(f"{self.program.line!r} moves to {wrong}") from None

    def show(self, moves: Sequence[int]) -> None:
        self.program.clear()
        for number, move in enumerate(moves):
            self.program.ask(f"play {colour(number)} {go.name(move, self.program.size)}")

    def winner(self, moves: Sequence[int]) -> int | None:
        if not self.counts:
            return None

        def score() -> str:
            self.show(moves)
            return self.program.ask("final_score")

        try:
            return {"B": 1, "W": -1}.get(self.again(score)[:1].upper(), 0)
        except NoAnswer:  # it cannot say, which is its right
            return None

    def loses_by_passing(self, moves: Sequence[int]) -> bool:
        game = go.replayed(self.program.size, moves)
        return go.lead(game, self.program.komi) * game.colour < 0

    def close(self) -> None:
        self.program.close()
