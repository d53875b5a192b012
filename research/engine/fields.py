"""Fields of Setup and Hyper: what values they may take, written beside the type and checked when a plan is built, and how
names and values are put into words. Loads no JAX.

class Hyper(NamedTuple):
    learning_rate: Positive = 3e-4
    discount: Fraction = 0.99
"""

import difflib
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Interval(NamedTuple):
    """The finite numbers from `low` to `high`; `above` and `below` leave out the end points."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return over and under and abs(value) <= sys.float_info.max  # `isfinite` raises for whole numbers beyond it

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {self.low:g}"
        return low if self.high == math.inf else f"{low} and {'below' if self.below else 'at most'} {self.high:g}"


Positive = Annotated[float, Interval(0, above=True)]
NonNegative = Annotated[float, Interval(0)]
Fraction = Annotated[float, Interval(0, 1)]
BelowOne = Annotated[float, Interval(0, 1, below=True)]
Count = Annotated[int, Interval(1)]
Natural = Annotated[int, Interval(0)]
AtMostHalf = Annotated[float, Interval(0, 0.5, above=True)]
Precision = Literal["float32", "bfloat16"]


def check(values: Any, default: Any) -> None:
    """Raises ValueError for the first field of `values` (a Setup or Hyper) that is outside its declared values.

    `default` is a valid object of the same type; the message offers its value as the repair.
    """
    for name, hint in get_type_hints(type(values), include_extras=True).items():
        value, usual = getattr(values, name), getattr(default, name)
        kinds = [kind for kind in get_args(hint) if kind is not type(None)]
        if type(None) in get_args(hint):
            if value is None:
                continue
            hint = kinds[0] if len(kinds) == 1 else hint
        intervals = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Interval)]
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if get_origin(plain) is Literal:
            if value not in get_args(plain):
                raise ValueError(
                    f"{name}={value!r} must be one of {', '.join(map(repr, get_args(plain)))}; usual: {usual!r}"
                )
        elif plain in (int, float, bool, str):
            accepted = (int, float) if plain is float else plain
            # bool is an int to Python, but not to a reader.
            if not isinstance(value, accepted) or (isinstance(value, bool) and plain is not bool):
                raise ValueError(f"{name}={value!r} must be of type {plain.__name__}; usual: {usual!r}")
        elif get_origin(plain) is tuple and (item := get_args(plain)[0]) in (int, float, str):
            kinds_of_items = {int, float} if item is float else {item}
            if not isinstance(value, tuple) or not {type(x) for x in value} <= kinds_of_items:
                raise ValueError(f"{name}={value!r} must be a tuple of {item.__name__}; usual: {usual!r}")
        for interval in intervals:
            if not interval.holds(value):
                raise ValueError(f"{name}={value!r} must be {interval}; usual: {usual!r}")


def written(value: Any) -> str:
    """A setting as the command line writes it: 0.001, true, 64x64."""
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def bare(name: str) -> str:
    """'hyper.clip' -> 'clip'"""
    return name.rpartition(".")[2]


def described(settings: Mapping[str, Any]) -> str:
    """{'hyper.clip': 0.1, 'setup.widths': (64, 64)} -> 'clip=0.1, widths=64x64'; empty where nothing is set."""
    return ", ".join(f"{bare(name)}={written(value)}" for name, value in settings.items())


def nearest(name: str, known: Iterable[str]) -> str:
    """What to offer for a name that is not `known`."""
    known = list(known)
    close = difflib.get_close_matches(name, known)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
