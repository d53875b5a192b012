"""Tic-tac-toe, solved by looking at all of it; its rules are written here once more, and not taken from pgx.

A position is nine numbers: 0 for an empty cell, 1 for a stone of whoever is to move, 2 for another's.
"""

import functools

import numpy as np

ROWS = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


@functools.cache
def value(cells: tuple[int, ...]) -> int:
    """How a position ends for whoever is to move where both play their best: 1, 0 or -1."""
    if any(all(cells[i] == 2 for i in row) for row in ROWS):
        return -1
    return max((-value(after(cells, i)) for i in range(9) if not cells[i]), default=0)


def after(cells: tuple[int, ...], move: int) -> tuple[int, ...]:
    """The position after a move, as the other one sees it."""
    own = [*cells]
    own[move] = 1
    return tuple({0: 0, 1: 2, 2: 1}[x] for x in own)


@functools.cache
def best_moves() -> np.ndarray:
    """bool[3**9,9], the best moves of each position, of which cell i is digit i in base 3; all moves where nobody is to move"""
    table = np.ones((3**9, 9), bool)
    for number, row in enumerate(table):
        cells = tuple(number // 3**i % 3 for i in range(9))
        own, others = cells.count(1), cells.count(2)
        free = [i for i in range(9) if not cells[i]]
        if own <= others <= own + 1 and free:
            worth = {i: -value(after(cells, i)) for i in free}
            row[:] = [worth.get(i) == max(worth.values()) for i in range(9)]
    return table
