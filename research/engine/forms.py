"""What the JSON files of runs hold, field by field: for whoever reads them, since anything may stand in a file."""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any

Fits = Callable[[Any], bool]


def misfit(found: Any, fits: Mapping[str, Fits], needed: Iterable[str]) -> str:
    """The first field of `found` that is missing though it is needed, or is not as it `fits`; '' where there is none."""
    missing = [name for name in needed if not isinstance(found, dict) or name not in found]
    wrong = missing or [name for name, holds in fits.items() if name in found and not holds(found[name])]
    return next(iter(wrong), "")


def is_figure(x: Any) -> bool:
    """A finite number, a bool, or None."""
    return x is None or (isinstance(x, int | float) and abs(x) <= sys.float_info.max)


def is_positive(x: Any) -> bool:
    return is_figure(x) and x is not None and x > 0


def texts(x: Any) -> bool:
    return isinstance(x, list) and all(isinstance(item, str) for item in x)


def whole_numbers(x: Any) -> bool:
    return isinstance(x, dict) and all(type(item) is int and item > 0 for item in x.values())


def rows(x: Any) -> bool:
    """Rows of one recipe: each has a seed, and all the same hyper-parameters."""
    return (
        bool(x)
        and isinstance(x, list)
        and all(
            isinstance(row, dict)
            and type(row.get("seed")) is int
            and isinstance(row.get("hyper"), dict)
            and row["hyper"].keys() == x[0]["hyper"].keys()
            and all(map(is_figure, row["hyper"].values()))
            for row in x
        )
    )


def kind(*kinds: type) -> Fits:
    return lambda x: type(x) in kinds


ALWAYS = ("recipe", "setup", "rows", "budget", "machine")
MANIFESTS: dict[str, Fits] = {
    "recipe": kind(str),
    "setup": kind(dict),
    "rows": rows,
    "budget": lambda x: whole_numbers(x) and "steps" in x,
    "machine": lambda x: isinstance(x, dict) and isinstance(x.get("versions", {}), dict),
    "unit": kind(str),
    "watch": texts,
    "best": kind(str, type(None)),
    "steps_per_tick": lambda x: type(x) is int and x > 0,
    "file": kind(str, type(None)),
    "note": kind(str),
    "final": kind(bool),
    "complete": kind(bool),
    "revision": kind(str),
    "dirty": kind(bool),
    "earlier_machines": kind(list),
}
