"""Numbers as they are printed in tables and on axes."""

import math
from collections.abc import Sequence

MISSING = "–"


def alike(values: Sequence[float | None]) -> list[str]:
    """Numbers of one row with the same decimals: three significant digits of how far they lie apart."""
    known = [x for x in values if x is not None]
    apart, largest = max(known, default=0) - min(known, default=0), max(map(abs, known), default=0)
    if largest and not 1e-3 <= largest < 1e7:
        return [MISSING if x is None else f"{x:.3g}" for x in values]
    if not apart:
        return [MISSING if x is None else f"{x:.5g}" for x in values]
    decimals = min(max(2 - math.floor(math.log10(apart)), 0), 5)
    return [MISSING if x is None else f"{x:,.{decimals}f}" for x in values]


def interval(value: float | None, low: float | None, high: float | None, *others: float | None) -> list[str]:
    """A value, its interval and others beside it, all with the same decimals -> value, '[low, high]', others."""
    value_, low_, high_, *others_ = alike([value, low, high, *others])
    return [value_, MISSING if low is None else f"[{low_}, {high_}]", *others_]


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def short(x: float) -> str:
    """500000 -> '500k'."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:g}{letter}"
    return f"{x:g}"
