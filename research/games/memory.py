"""What AlphaZero remembers: every position, what was advised there, and, once its game has ended, how.

Dimensions: B games, T moves a tick, S slots (moves in time) of B positions in memory, A moves of the board, H rows, W columns,
C planes.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from research.games.boards import Board
from research.numerics import replay


class Memory(NamedTuple):
    """What is remembered of S*B positions.

    observation [S*B,H,W,C]; policy f32[S*B,A] that was advised; own bool[S*B], whether it was played for the advice and not by
    chance; known bool[S*B], whether the game has ended; outcome f32[S*B] of whoever was to move, and until it is known 1 where
    that is player 0, else -1
    """

    observation: Array
    policy: Array
    own: Array
    known: Array
    outcome: Array


class Moved(NamedTuple):
    """A move in each of B games.

    memory what is remembered of it; ended bool[B], whether it ended the game, and outcome f32[B], how for player 0; resigned
    bool[B], whether that was how; age and doomed f32[B] of the game, doomed 0 where whoever it was could resign
    """

    memory: Memory
    ended: Array
    outcome: Array
    resigned: Array
    age: Array
    doomed: Array


def empty(board: Board, size: int) -> Memory:
    """A memory of S*B = `size` positions, of which nothing is known."""
    none = lambda *shape, dtype=jnp.float32: jnp.zeros((size, *shape), dtype)
    seen = none(*board.shape, dtype=board.start().observation.dtype)
    return Memory(seen, none(board.actions), none(dtype=bool), none(dtype=bool), none())


def remember(memory: Memory, moved: Moved, index: Array) -> Memory:
    """The memory after a tick's moves [T,B,...]: what ended tells all positions of its game how."""
    games = moved.ended.shape[1]

    # From the last move back: how the game goes on from here ends, if it does within this tick.
    def back(following: tuple[Array, Array], now: Moved) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        known, outcome = following
        outcome = jnp.where(now.ended, now.outcome, outcome)
        known = known | now.ended
        return (known, outcome), (known, outcome)

    nothing = jnp.zeros(games, bool), jnp.zeros(games)
    (ended, outcome), (known, outcomes) = lax.scan(back, nothing, moved, reverse=True)
    sign = moved.memory.outcome
    new = moved.memory._replace(known=known, outcome=jnp.where(known, sign * outcomes, sign))
    # Whatever of a game is not known yet belongs to the game under way: the first one to end, if one did.
    by_game = lambda x: x.reshape(-1, games)  # [S, B]
    told = ~by_game(memory.known) & ended[None]
    earlier = jnp.where(told, by_game(memory.outcome) * outcome[None], by_game(memory.outcome))
    memory = memory._replace(known=(by_game(memory.known) | told).reshape(-1), outcome=earlier.reshape(-1))
    return replay.write(memory, new, index)
