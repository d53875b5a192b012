"""What values a field of Setup or Hyper may take: written beside its type, checked when a plan is built.

class Hyper(NamedTuple):
    learning_rate: Positive = 3e-4
    discount: Fraction = 0.99
"""

import math
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints


class Interval(NamedTuple):
    """The finite numbers from `low` to `high`; `above` and `below` leave out the end points."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def holds(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return over and under

    def __str__(self) -> str:
        bounds = ["finite"]
        if math.isfinite(self.low):
            bounds.append(f"{'above' if self.above else 'at least'} {self.low:g}")
        if math.isfinite(self.high):
            bounds.append(f"{'below' if self.below else 'at most'} {self.high:g}")
        return " and ".join(bounds[1:] or bounds)


Positive = Annotated[float, Interval(0, above=True)]
NonNegative = Annotated[float, Interval(0)]
Fraction = Annotated[float, Interval(0, 1)]
BelowOne = Annotated[float, Interval(0, 1, below=True)]
Count = Annotated[int, Interval(1)]
Natural = Annotated[int, Interval(0)]


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
        bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        if get_origin(bare) is Literal:
            if value not in get_args(bare):
                raise ValueError(
                    f"{name}={value!r} must be one of {', '.join(map(repr, get_args(bare)))}; usual: {usual!r}"
                )
        elif bare in (int, float, bool, str):
            accepted = (int, float) if bare is float else bare
            # bool is an int to Python, but not to a reader.
            if not isinstance(value, accepted) or (isinstance(value, bool) and bare is not bool):
                raise ValueError(f"{name}={value!r} must be of type {bare.__name__}; usual: {usual!r}")
        elif get_origin(bare) is tuple and (item := get_args(bare)[0]) in (int, float, str):
            accepted = {int, float} if item is float else {item}
            fits = isinstance(value, tuple) and {type(x) for x in value} <= accepted
            if not fits:
                raise ValueError(f"{name}={value!r} must be a tuple of {item.__name__}; usual: {usual!r}")
        for interval in intervals:
            if not interval.holds(value):
                raise ValueError(f"{name}={value!r} must be {interval}; usual: {usual!r}")
