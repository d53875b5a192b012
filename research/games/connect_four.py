"""Connect four on the host, as numbers whose bits are stones, and a player who looks so many moves ahead.

Cell (column c, row r from below) is bit 7 c + r; bit 7 c + 6 stays empty, so that no row runs on into the next column.
A position is `own`, the stones of whoever is to move, and `mask`, all stones.
"""

import numpy as np

COLUMNS, ROWS = 7, 6
BOTTOM = [1 << 7 * c for c in range(COLUMNS)]
TOP = [1 << 7 * c + ROWS - 1 for c in range(COLUMNS)]
COLUMN = [((1 << ROWS) - 1) << 7 * c for c in range(COLUMNS)]
BOARD, FLOOR = sum(COLUMN), sum(BOTTOM)
MIDDLE_FIRST = (3, 2, 4, 1, 5, 0, 6)  # columns in which a good move is found soonest


def won(stones: int) -> bool:
    """Whether four stones stand in a row."""
    for step in (1, 6, 7, 8):
        pairs = stones & stones >> step
        if pairs & pairs >> 2 * step:
            return True
    return False


def threats(stones: int, mask: int) -> int:
    """The empty cells that would give these stones four in a row."""
    found = stones << 1 & stones << 2 & stones << 3  # three in a column
    for step in (6, 7, 8):
        pairs = stones << step & stones << 2 * step
        found |= pairs & stones << 3 * step | pairs & stones >> step
        pairs = stones >> step & stones >> 2 * step
        found |= pairs & stones >> 3 * step | pairs & stones << step
    return found & (BOARD ^ mask)


def after(own: int, mask: int, column: int) -> tuple[int, int]:
    """Stones of whoever is to move then, and all."""
    return own ^ mask, mask | mask + BOTTOM[column] & COLUMN[column]


def free(mask: int) -> list[int]:
    return [c for c in range(COLUMNS) if not mask & TOP[c]]


WON = 1000  # more than any position is worth that is not won


def look_ahead(own: int, mask: int, depth: int, low: int = -2 * WON, high: int = 2 * WON) -> int:
    """What a position is worth to whoever is to move, by looking `depth` moves ahead with bounds (alpha-beta), and there by the
    cells that would win for either. A win counts the more the sooner it comes."""
    if won(own ^ mask):
        return -WON - depth
    if mask == BOARD:
        return 0
    if depth == 0:
        return threats(own, mask).bit_count() - threats(own ^ mask, mask).bit_count()
    best = -2 * WON
    for column in MIDDLE_FIRST:
        if not mask & TOP[column]:
            best = max(best, -look_ahead(*after(own, mask, column), depth - 1, -high, -max(low, best)))
            if best >= high:
                break
    return best


def best_columns(own: int, mask: int, depth: int) -> list[int]:
    """The moves that look best `depth` moves ahead, at least 1, the move itself being the first."""
    worth = {c: -look_ahead(*after(own, mask, c), depth - 1) for c in free(mask)}
    return [c for c in worth if worth[c] == max(worth.values())]


def read(observation: np.ndarray) -> tuple[int, int]:
    """A position [6,7,2] as pgx shows it to whoever is to move, the lowest row being the last -> own, mask"""
    own, other = (
        sum(1 << 7 * int(c) + ROWS - 1 - int(r) for r, c in np.argwhere(observation[..., plane])) for plane in range(2)
    )
    return own, own | other
