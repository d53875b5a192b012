"""Board games for two as pure functions. The rules are pgx's (Koyamada et al. 2023), which this file alone names here.

A *position* is pgx's state of one game. Read of it are, by these names,

    observation        [H,W,C] of whoever is to move, who sees his own stones first
    current_player     i32[], who is to move; player 0 is the one who moves first in the game
    legal_action_mask  bool[A], all True once the game is over
    terminated         bool[]
    rewards            f32[2], of either player by the last move: 1, -1 or 0 where the game is over, else 0

A move in a game that is over changes nothing but the rewards, which are 0 then.

Dimensions: B games side by side, M positions, A moves, H rows, W columns, C planes, S symmetries.
"""

import difflib
import functools
import importlib
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.numerics.foreign import lenient, settle

Position = Any
KOMI = 7.5  # points that White gets in pgx's Go


class Board(NamedTuple):
    """One game, in which the players move in turn; a pass is a move.

    shape    (H, W, C) of an observation
    actions  A
    longest  moves after which every game is over
    start    -> the first position
    play     (position, action i32[]) -> position
    cells    i32[S,H*W], moves i32[S,A]: each symmetry s of the rules turns a position into one whose observation, cell by
             cell, is observation[cells[s]], and whose legal moves are legal[moves[s]]; the first one changes nothing
    """

    name: str
    shape: tuple[int, int, int]
    actions: int
    longest: int
    start: Callable[[], Position]
    play: Callable[[Position, Array], Position]
    cells: np.ndarray
    moves: np.ndarray


# Module and class in pgx, the symmetries of its rules, and the number of moves that no game is longer than.
GAMES = {
    "tic_tac_toe": ("tic_tac_toe", "TicTacToe", "square", 9),
    "connect_four": ("connect_four", "ConnectFour", "mirror", 42),
    "othello": ("othello", "Othello", "diagonal", 124),  # 60 stones, and at most one pass before and after each
    "hex": ("hex", "Hex", "half turn", 122),  # 121 cells, and once the sides may be swapped
    "animal_shogi": ("animal_shogi", "AnimalShogi", "none", 256),
    "gardner_chess": ("gardner_chess", "GardnerChess", "none", 256),
    "chess": ("chess", "Chess", "none", 512),
    "shogi": ("shogi", "Shogi", "none", 512),
}
GO = re.compile(r"go_(\d+)x(\d+)")
LONGEST = 1000  # moves of a game of Go outside training, where 2 N * N would end one in a few hundred before its time


@functools.cache
@lenient
def make(name: str, longest: int | None = None) -> Board:
    """The board of that name: pgx's own, or 'go_NxN' of any size, where a game ends after `longest` moves at the latest,
    usually 2 N * N. Raises ValueError for another."""
    rules = {}
    if (go := GO.fullmatch(name)) and go[1] == go[2] and 3 <= int(go[1]) <= 19:
        size = int(go[1])
        most = 2 * size * size if longest is None else longest
        module, game, kind, rules = "go", "Go", "square", {"size": size, "komi": KOMI, "max_terminal_steps": most}
    elif name in GAMES and longest is None:
        module, game, kind, most = GAMES[name]
    else:
        if name in GAMES:
            raise ValueError(f"longest={longest} is Go's alone; board={name!r} ends by its own rules")
        known = [*GAMES, "go_9x9", "go_19x19"]
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {close[0]!r}? known" if close else "use one of"
        raise ValueError(
            f"board={name!r} is no board for two that pgx has; {hint}: {', '.join(known)}; go from 3x3 to 19x19"
        )
    built = getattr(importlib.import_module(f"pgx.{module}"), game)(**rules)
    kinds = jax.eval_shape(built.init, jax.random.key(0))
    # Who is player 0 is drawn with the key: one with which it is the first to move.
    mover = jax.jit(lambda key: built.init(key).current_player)
    key = next(key for key in map(jax.random.key, range(64)) if int(mover(key)) == 0)

    @jax.jit
    @lenient
    def start() -> Position:
        return settle(built.init(key), kinds)

    @lenient
    def play(position: Position, action: Array) -> Position:
        return settle(built.step(position, action), kinds)

    shape, actions = kinds.observation.shape, kinds.legal_action_mask.shape[0]
    cells, moves = symmetries(kind, shape[0], shape[1], actions)
    return Board(name, shape, actions, most, start, play, cells, moves)


def symmetries(kind: str, height: int, width: int, actions: int) -> tuple[np.ndarray, np.ndarray]:
    """-> cells i32[S,H*W], moves i32[S,A]. A move is a cell, or a column, or comes behind these and stays what it is."""
    grid = np.arange(height * width).reshape(height, width)
    if kind == "none":
        return grid.reshape(1, -1).astype(np.int32), np.arange(actions, dtype=np.int32)[None]
    turned = [np.rot90(grid, n) for n in range(4 if height == width else 1)]
    every = {
        "mirror": [grid, np.fliplr(grid)],
        "half turn": [grid, np.rot90(grid, 2)],
        # Of a square those that leave both diagonals in place.
        "diagonal": [grid, np.rot90(grid, 2), grid.T, np.rot90(grid, 2).T],
        "square": [*turned, *(np.fliplr(x) for x in turned)],
    }[kind]
    cells = np.stack([x.reshape(-1) for x in every])
    on_board = np.stack([x[0] for x in every]) if kind == "mirror" else cells
    rest = np.tile(np.arange(on_board.shape[1], actions), (len(every), 1))
    return cells.astype(np.int32), np.concatenate([on_board, rest], 1).astype(np.int32)


def full_length(name: str) -> Board:
    """The board of that name for play outside training: a game of Go ends after LONGEST moves at the latest."""
    return make(name, LONGEST) if GO.fullmatch(name) else make(name)


def starts(board: Board, count: int) -> Position:
    """B = count first positions."""
    return jax.tree.map(lambda x: jnp.broadcast_to(x, (count, *x.shape)), board.start())


def opened(board: Board, key: Array, count: int, length: int) -> tuple[Position, Array]:
    """B = count positions after `length` moves by chance (`opening_moves`), and these moves i32[length,B]."""

    def move(positions: Position, key: Array) -> tuple[Position, Array]:
        actions = opening_moves(board, key, positions)
        return played(board, positions, actions), actions

    return lax.scan(move, starts(board, count), jax.random.split(key, length))


def opening_moves(board: Board, key: Array, positions: Position) -> Array:
    """Legal moves i32[B], each as likely, in Go none of them a pass unless nothing else is legal."""
    mask = positions.legal_action_mask
    if is_go(board):
        mask = mask.at[:, -1].set(~mask[:, :-1].any(1))
    return drawn_from(key, mask)


def drawn_from(key: Array, mask: Array) -> Array:
    """Of the moves that are marked in bool[B,A] one each by chance, i32[B]"""
    return jax.random.categorical(key, jnp.where(mask, 0.0, -jnp.inf)).astype(jnp.int32)


def alone(position: Position) -> Position:
    """One position as B = 1 of them."""
    return jax.tree.map(lambda x: x[None], position)


def played(board: Board, positions: Position, actions: Array) -> Position:
    """B games after a move each, i32[B]."""
    return jax.vmap(board.play)(positions, actions)


def stepped(board: Board, positions: Position, actions: Array) -> Position:
    """B games after a move each, i32[B], as they were where that is -1."""
    return chosen(actions < 0, positions, played(board, positions, jnp.maximum(actions, 0)))


def reached(board: Board, moves: np.ndarray) -> Position:
    """The positions that moves i32[B,L] lead to, -1 behind the last."""
    play = lambda positions, actions: (stepped(board, positions, actions), None)
    return lax.scan(play, starts(board, moves.shape[0]), jnp.asarray(moves).T)[0]


def chosen(condition: Array, yes: Any, no: Any) -> Any:
    """condition bool[B], trees of arrays [B,...] -> the one where it holds, else the other."""
    return jax.tree.map(lambda a, b: lax.select(lax.broadcast_in_dim(condition, a.shape, (0,)), a, b), yes, no)


def turned(board: Board, key: Array, observation: Array, *of_moves: Array) -> tuple[Array, ...]:
    """Each of M positions [M,H,W,C], and what is said of its moves [M,A] each, by a symmetry of the board of its own."""
    which = jax.random.randint(key, (observation.shape[0],), 0, len(board.cells))
    cells, moves = jnp.asarray(board.cells)[which], jnp.asarray(board.moves)[which]  # [M, H*W], [M, A]
    flat = observation.reshape(observation.shape[0], -1, board.shape[2])
    seen = jnp.take_along_axis(flat, cells[:, :, None], 1).reshape(observation.shape)
    return seen, *(jnp.take_along_axis(x, moves, 1) for x in of_moves)


def is_go(board: Board) -> bool:
    return GO.fullmatch(board.name) is not None


def masked(logits: Array, mask: Array) -> Array:
    """Logits f32[...,A] of legal moves bool[...,A] alone; those of others are as low as can be."""
    return jnp.where(mask, logits - logits.max(-1, keepdims=True), jnp.finfo(logits.dtype).min)
