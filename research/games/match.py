"""Matches against players who live outside a program: another one that speaks the Go Text Protocol, or one who looks ahead.

Games go on side by side. Each opening is played twice, once with either side to begin, and half of the games wait for us while
the other half waits for the rival.
Dimensions: B games.
"""

import functools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.games import boards, connect_four, go
from research.games.boards import Board, Position
from research.games.contest import Player
from research.games.gtp import RESIGN
from research.games.program import Program, colour


class Rival(Protocol):
    """Somebody who answers with a move, in each of many games at once."""

    name: str

    def reply(self, game: int, moves: Sequence[int]) -> int:
        """The move after `moves`, or RESIGN."""

    def winner(self, moves: Sequence[int]) -> int | None:
        """Who has won a game that two passes ended, by the rival's own count: 1 whoever began, -1 the other, 0 nobody; None
        where the rival does not count."""

    def close(self) -> None: ...


class Result(NamedTuple):
    """A game: its moves, who began (0: we did), how it ended for us, 1, 0 or -1, whether by the rival's resigning, and whether
    the rival counts it as we do, None where it was not asked"""

    moves: list[int]
    began: int
    outcome: float
    resigned: bool
    agreed: bool | None = None


def openings(board: Board, key: jax.Array, count: int, length: int) -> np.ndarray:
    """`count` beginnings of `length` legal moves by chance, i32[count,length]. Raises ValueError where these end a game."""
    if length % 2:
        raise ValueError(f"opening={length} must be even, so that whoever began is to move; try {length + 1}")
    positions, actions = boards.opened(board, key, count, length)
    if bool(positions.terminated.any()):
        raise ValueError(f"opening={length} moves by chance can end a game of {board.name}; use fewer")
    return np.asarray(actions).T


def play(
    board: Board, ours: Player, rival: Rival, begun: np.ndarray, key: jax.Array, told: Callable[[int, int], Any]
) -> list[Result]:
    """The games that begin from each of B/2 openings i32[B/2,L], first those in which we begin. `told` hears how many are over
    after each move, and how many there are."""
    half, length = begun.shape
    step = stepper(board.name)
    positions = boards.starts(board, half)
    for number in range(length):
        positions = step(positions, jnp.asarray(begun[:, number]))
    games = [[Game(list(map(int, line))) for line in begun] for _ in range(2)]  # those in which we began, and the rival
    # Of each half: its positions, who is to move there (0: we are), and its games.
    halves = [Half(positions, 0, games[0]), Half(positions, 1, games[1])]
    rounds = 0
    while not all(game.over for part in halves for game in part.games) and rounds < board.longest:
        for number, part in enumerate(halves):
            if part.turn == 0:
                key, own_key = jax.random.split(key)
                actions = [int(x) for x in ours(own_key, part.positions)]
            else:
                actions = [
                    0 if game.over else rival.reply(number * half + i, game.moves) for i, game in enumerate(part.games)
                ]
            halves[number] = advanced(step, part, actions)
        rounds += 1
        told(sum(game.over for part in halves for game in part.games), 2 * half)
    return [
        Result(
            game.moves,
            began,
            game.outcome if began == 0 else -game.outcome,
            game.resigned,
            agreed(board, rival, game),
        )
        for began, part in enumerate(halves)
        for game in part.games
    ]


@functools.cache
def stepper(name: str) -> Callable[[Position, Array], Position]:
    """B games after a move each on the board of that name, compiled once in a process."""
    return jax.jit(partial(boards.played, boards.make(name)))


class Game(NamedTuple):
    """moves so far; outcome for whoever began"""

    moves: list[int]
    over: bool = False
    outcome: float = 0.0
    resigned: bool = False


def agreed(board: Board, rival: Rival, game: Game) -> bool | None:
    """Whether the rival counts a game that two passes ended as we do; None for other games, and where he does not count."""
    if not boards.is_go(board) or game.moves[-2:] != [board.actions - 1] * 2:
        return None
    winner = rival.winner(game.moves)
    return None if winner is None else winner == game.outcome


class Half(NamedTuple):
    positions: Position
    turn: int
    games: list[Game]


def advanced(step: Callable[[Position, Any], Position], part: Half, actions: list[int]) -> Half:
    """A half of the games after a move each; what is over stays."""
    after = step(part.positions, jnp.asarray([max(action, 0) for action in actions], jnp.int32))
    ended, rewards = np.asarray(after.terminated), np.asarray(after.rewards[:, 0])
    games = []
    for i, (game, action) in enumerate(zip(part.games, actions, strict=True)):
        if game.over:
            games.append(game)
        elif action == RESIGN:
            # It is the rival who resigns, and whoever began has lost where that is he.
            mover_began = len(game.moves) % 2 == 0
            games.append(game._replace(over=True, outcome=-1.0 if mover_began else 1.0, resigned=True))
        else:
            games.append(Game([*game.moves, action], bool(ended[i]), float(rewards[i])))
    return Half(after, 1 - part.turn, games)


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
        size = self.program.size
        self.show(moves)
        answer = self.program.ask(f"genmove {colour(len(moves))}")
        if answer.lower() == "pass" and self.cleans and self.loses_by_passing(moves):
            self.program.ask("undo")
            answer = self.program.ask(f"kgs-genmove_cleanup {colour(len(moves))}")
        return RESIGN if answer.lower() == "resign" else go.point(answer, size)

    def show(self, moves: Sequence[int]) -> None:
        self.program.clear()
        for number, move in enumerate(moves):
            self.program.ask(f"play {colour(number)} {go.name(move, self.program.size)}")

    def winner(self, moves: Sequence[int]) -> int | None:
        if not self.counts:
            return None
        try:
            self.show(moves)
            return {"B": 1, "W": -1}.get(self.program.ask("final_score")[:1].upper(), 0)
        except ValueError:  # it cannot say, which is its right
            return None

    def loses_by_passing(self, moves: Sequence[int]) -> bool:
        position = go.start(self.program.size)
        for move in moves:
            position = go.after(position, move)
        black, white = go.area(position)
        return (black - white - self.program.komi) * position.colour < 0

    def close(self) -> None:
        self.program.close()
