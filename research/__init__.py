"""A run is four pure functions; a small engine gives it time, breadth and disk."""

from research.engine.experiment import Experiment, Inputs, Ratio, Tick
from research.engine.plan import Budget, Plan, Recipe, Row

__all__ = ["Budget", "Experiment", "Inputs", "Plan", "Ratio", "Recipe", "Row", "Tick"]
