"""An exact solver of connect four for win, draw or loss, and the positions that it solved for the recipe.

    python tests/connect_four.py     writes research/recipes/positions/connect_four.npz

Positions are reached by players who win where they can at once, block what they must, and else move by chance. Kept are those
where some moves keep what the position is worth and others do not.

Positions are those of `research.games.connect_four`.
"""

import sys
import time
from pathlib import Path

import numpy as np

from research.games.connect_four import BOARD, BOTTOM, COLUMN, COLUMNS, FLOOR, MIDDLE_FIRST, after, free, threats, won


def value(
    own: int, mask: int, low: int = -1, high: int = 1, known: dict[tuple[int, int], tuple[int, int]] | None = None
) -> int:
    """What a position is worth to whoever is to move, whose stones are `own`: 1, 0 or -1, between the bounds asked for.

    mask  all stones; known  bounds that were found for positions before
    """
    known = {} if known is None else known
    possible = mask + FLOOR & BOARD
    if threats(own, mask) & possible:
        return 1
    other = own ^ mask
    danger = threats(other, mask)
    forced = possible & danger
    if forced:
        if forced & forced - 1:
            return -1
        possible = forced
    possible &= ~(danger >> 1)  # never below a cell that wins for the other
    if not possible:
        return 0 if mask == BOARD else -1
    if (BOARD ^ mask).bit_count() <= 2:
        return 0
    least, most = known.get((own, mask), (-1, 1))
    low, high = max(low, least), min(high, most)
    if low >= high:
        return low
    best, floor = -1, low
    for column in MIDDLE_FIRST:
        if stone := possible & COLUMN[column]:
            best = max(best, -value(other, mask | stone, -high, -floor, known))
            floor = max(floor, best)
            if floor >= high:
                break
    known[own, mask] = (best, most) if best >= high else (least, best) if best <= low else (best, best)
    return best


def worth(own: int, mask: int) -> dict[int, int]:
    """What each move is worth to whoever makes it."""
    known: dict[tuple[int, int], tuple[int, int]] = {}
    told = {}
    for column in free(mask):
        others, filled = after(own, mask, column)
        told[column] = 1 if won(others ^ filled) else 0 if filled == BOARD else -value(others, filled, known=known)
    return told


def sensible(random: np.random.Generator, own: int, mask: int) -> int:
    """A move of somebody who looks one move ahead."""
    columns = free(mask)
    for stones in (own, own ^ mask):
        for column in columns:
            if won(stones | mask + BOTTOM[column] & COLUMN[column]):
                return column
    return int(random.choice(columns))


def positions(seed: int, count: int, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Moves i32[count,last] that lead to positions after `first` to `last` moves, -1 behind them, and the best moves there
    bool[count,7]"""
    random = np.random.default_rng(seed)
    moves, best, seen, begun = [], [], set(), time.time()
    while len(moves) < count:
        own = mask = 0
        line: list[int] = []
        length = int(random.integers(first, last + 1))
        while len(line) < length and not won(own ^ mask) and mask != BOARD:
            line.append(sensible(random, own, mask))
            own, mask = after(own, mask, line[-1])
        if won(own ^ mask) or mask == BOARD or (own, mask) in seen:
            continue
        told = worth(own, mask)
        if len(set(told.values())) > 1:
            seen.add((own, mask))
            moves.append(line + [-1] * (last - len(line)))
            best.append([told.get(c) == max(told.values()) for c in range(COLUMNS)])
            print(f"\r{len(moves)} of {count}, {time.time() - begun:.0f} s", end="", file=sys.stderr, flush=True)
    return np.array(moves, np.int32), np.array(best)


if __name__ == "__main__":
    out = Path(__file__).parents[1] / "research" / "recipes" / "positions" / "connect_four.npz"
    out.parent.mkdir(exist_ok=True)
    moves, best = positions(seed=0, count=1000, first=16, last=34)
    np.savez_compressed(out, moves=moves.astype(np.int8), best=best)
    print(f"\n{out.name}: {best.sum(1).mean():.2f} best moves in a position")
