"""Recorded games as positions to learn from.

Dimensions: G games, L moves of the longest, P positions of all games, H rows, W columns, C planes.
"""

import functools
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.games import boards
from research.games.boards import Board, Position
from research.games.sgf import Record


class Positions(NamedTuple):
    """What was on the board before each move that a player made, game by game: moves by chance are nobody's.

    planes   u8[P,ceil(H*W*C/8)], bits of the observation of whoever was to move
    legal    u8[P,ceil(A/8)], bits of the moves that were legal
    move     i32[P], what was played
    outcome  f32[P], how the game ended for whoever was to move, 1 or -1, and 0 where the record does not say who won
    number   i32[P], of the move in its game, from 0
    first    i32[G], where each game begins; length i32[G]
    """

    planes: np.ndarray
    legal: np.ndarray
    move: np.ndarray
    outcome: np.ndarray
    number: np.ndarray
    first: np.ndarray
    length: np.ndarray


AT_A_TIME = 100  # games that are played through at a time


def positions(board: Board, records: Sequence[Record], numbers: Sequence[int] = ()) -> Positions:
    """The positions of games on this board. Raises ValueError for a move that is not legal, naming the game by its number, of
    `numbers` where they are not in order from 1."""
    longest = max((len(record.moves) for record in records), default=0)
    moves = np.full((len(records), longest), -1, np.int32)
    for row, record in zip(moves, records, strict=True):
        row[: len(record.moves)] = record.moves
    by_chance = np.array([record.by_chance for record in records], np.int32)
    made = (moves >= 0) & (np.arange(longest) >= by_chance[:, None])
    follow = compiled(board.name)
    planes, legal = [], []
    for begin in range(0, len(records), AT_A_TIME):
        part = moves[begin : begin + AT_A_TIME]
        filled = np.pad(part, ((0, AT_A_TIME - len(part)), (0, 0)), constant_values=-1)
        seen, mask, allowed = (np.asarray(x)[: len(part)] for x in follow(filled))
        wrong = np.argwhere((part >= 0) & ~allowed)
        if len(wrong):
            game, number = wrong[0]
            named = numbers[begin + game] if len(numbers) else begin + game + 1
            raise ValueError(
                f"game {named}: move {number + 1} is not legal by the rules of {board.name}; record it anew"
            )
        theirs = made[begin : begin + AT_A_TIME]
        planes.append(np.packbits(seen[theirs].reshape(-1, math.prod(board.shape)), axis=1))
        legal.append(np.packbits(mask[theirs], axis=1))
    lengths = made.sum(1).astype(np.int32)
    number = np.nonzero(made)[1].astype(np.int32)
    sides = np.where(number % 2 == 0, 1.0, -1.0)
    won = np.repeat([{"B": 1.0, "W": -1.0}.get(record.result[:1], 0.0) for record in records], lengths)
    first = np.cumsum(lengths) - lengths
    outcome = (won * sides).astype(np.float32)
    return Positions(
        np.concatenate(planes), np.concatenate(legal), moves[made], outcome, number, first.astype(np.int32), lengths
    )


@functools.cache
def compiled(name: str) -> Callable[[Array], tuple[Array, Array, Array]]:
    """`followed` on the board of that name, compiled once in a process."""
    return jax.jit(partial(followed, boards.full_length(name)))


def followed(board: Board, moves: Array) -> tuple[Array, Array, Array]:
    """What games i32[G,L] show before each move, bool[G,L,H,W,C], what is legal there bool[G,L,A], and whether the move is
    bool[G,L]"""

    def play(now: Position, actions: Array) -> tuple[Position, tuple[Array, Array, Array]]:
        allowed = jnp.take_along_axis(now.legal_action_mask, jnp.maximum(actions, 0)[:, None], 1)[:, 0]
        seen = now.observation, now.legal_action_mask, allowed & ~now.terminated
        return boards.stepped(board, now, actions), seen

    shown = lax.scan(play, boards.starts(board, moves.shape[0]), moves.T)[1]
    return jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), shown)


def unpacked(bits: Array, shape: tuple[int, ...]) -> Array:
    """u8[M,...] -> bool[M,*shape]"""
    return jnp.unpackbits(bits, axis=1, count=math.prod(shape)).reshape(-1, *shape).astype(bool)


def distinct(board: Board, games: Sequence[Record]) -> list[int]:
    """Which games, from 0, have moves that a player made, and of those that are each other's images by a symmetry of the board
    the first."""
    back = np.argsort(board.moves, 1)  # where each symmetry brings a move
    found: dict[tuple[int, ...], int] = {}
    for number, game in enumerate(games):
        if len(game.moves) > game.by_chance:
            found.setdefault(min(map(tuple, back[:, list(game.moves)].tolist())), number)
    return list(found.values())


def repeated(board: Board, found: Positions, ours: np.ndarray, theirs: np.ndarray) -> float:
    """Share of the positions at `ours` i32 whose stones and mover, by some symmetry, are those of one at `theirs` i32."""
    seen = np.unpackbits(found.planes, axis=1, count=math.prod(board.shape)).reshape(
        -1, board.cells.shape[1], board.shape[2]
    )
    stones = np.concatenate([seen[:, :, 0] + 2 * seen[:, :, 1], (found.number % 2)[:, None]], 1).astype(np.uint8)
    images = [np.concatenate([stones[:, cells], stones[:, -1:]], 1) for cells in board.cells]
    key = [min(image[place].tobytes() for image in images) for place in range(len(seen))]
    known = {key[place] for place in theirs}
    return float(np.mean([key[place] in known for place in ours]))


def split(found: Positions, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Whole games, by chance, for training, validation and test -> numbers of games; of the latter two `share` of all each."""
    count = len(found.length)
    held_out = max(1, round(share * count))
    order = np.random.default_rng(0).permutation(count)
    return np.sort(order[2 * held_out :]), np.sort(order[:held_out]), np.sort(order[held_out : 2 * held_out])


def places(found: Positions, games: np.ndarray, one: bool = False) -> np.ndarray:
    """Where the positions of some games are, i32: all of them, or `one` of each game by chance."""
    if one:
        random = np.random.default_rng(1)
        return (found.first[games] + random.integers(found.length[games])).astype(np.int32)
    return np.concatenate([np.arange(a, a + n) for a, n in zip(found.first[games], found.length[games], strict=True)])
