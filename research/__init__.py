"""A run is four pure functions; a small engine gives it time, breadth and disk."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from research.engine.experiment import Experiment, Inputs, Ratio, Tick
    from research.engine.plan import Budget, Plan, Recipe, Row

__all__ = ["Budget", "Experiment", "Inputs", "Plan", "Ratio", "Recipe", "Row", "Tick"]

_HOMES = dict.fromkeys(("Experiment", "Inputs", "Ratio", "Tick"), "research.engine.experiment")
_HOMES |= dict.fromkeys(("Budget", "Plan", "Recipe", "Row"), "research.engine.plan")


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that `research.report` reads run folders without loading JAX.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(_HOMES[name]), name)
