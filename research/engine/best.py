"""Each row's best state, kept beside the last one where a recipe asks for it, and what a checkpoint holds of both.

Dimensions: R rows.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from research.engine.plan import Plan


class Best(NamedTuple):
    """Each row's best state so far: value f64[R], tick i64[R], state [R, ...]."""

    value: np.ndarray
    tick: np.ndarray
    state: Any


def saved_tree(plan: Plan, state: Any, best: Best | None) -> dict[str, Any]:
    """What a checkpoint holds: the state [R, ...] without a lane's padding, and where the recipe asks for it each
    row's best. state [width, ...]"""
    state = jax.tree.map(lambda x: x[: len(plan.rows)], state)
    if plan.recipe.best is None:
        return {"state": state}
    return {"state": state, "best": (best or no_best(state))._asdict()}


def no_best(state: Any) -> Best:
    """Before the first evaluation: worse than any. state [R, ...]"""
    rows = len(jax.tree.leaves(state)[0])
    return Best(np.full(rows, -np.inf), np.zeros(rows, np.int64), state)


def best_figure(best: str, figures: dict[str, np.ndarray]) -> np.ndarray:
    """The figure that `Recipe.best` names, larger is better. Raises ValueError where there is none of that name."""
    name = best.removeprefix("-")
    if name not in figures:
        raise ValueError(f"{best!r} names no figure of an evaluation; there are {', '.join(figures)}")
    return -figures[name] if best.startswith("-") else figures[name]
