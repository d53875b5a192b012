"""Debug mode: the same functions un-jitted, one row after another in a plain loop, so that a failure has a place."""

import contextlib

import jax
import numpy as np
from rich.console import Console

from research.engine.chunk import FINITE, advance, begin, judge
from research.engine.plan import Plan
from research.engine.progress import Progress


def debug(plan: Plan, console: Console | None = None) -> None:
    """Runs every row to its end and writes nothing.

    The first failure is raised where it happened, with a note of row, seed, hyper-parameters and tick; the first
    operation that makes a NaN raises FloatingPointError.
    """
    experiment, inputs = plan.experiment, plan.recipe.load(plan.setup)
    progress = Progress(console, f"{plan.name} (debug)", plan.ticks * len(plan.rows), "ticks")
    seeds, hypers = plan.stacked(len(plan.rows))
    with progress, jax.disable_jit(), jax.debug_nans(True):
        for row in range(len(plan.rows)):
            seed, hyper = jax.tree.map(lambda x, row=row: jax.numpy.asarray(x[row]), (seeds, hypers))
            data = jax.tree.map(jax.numpy.asarray, inputs.data)
            with named(plan, row, 0):
                state = begin(experiment)(seed, hyper, data)
            for tick in range(plan.ticks):
                with named(plan, row, tick):
                    feed = inputs.feed(tick, 1) if inputs.feed else None
                    one = advance(experiment, 1, 1)
                    state, metrics = one(state, seed, hyper, data, np.int32(tick), np.int32(plan.ticks), feed)
                    if not metrics[FINITE].all():
                        bad = [name for name, m in metrics.items() if not np.isfinite(jax.tree.leaves(m)).all()]
                        raise FloatingPointError(f"{', '.join(bad)} not finite")
                progress.advance(row * plan.ticks + tick + 1)
            with named(plan, row, plan.ticks):
                judge(experiment)(state, seed, hyper, data, np.int32(plan.ticks))


@contextlib.contextmanager
def named(plan: Plan, row: int, tick: int):
    """Notes on any exception inside which row, seed, hyper-parameters and tick it came from."""
    try:
        yield
    except Exception as error:
        seed, hyper = plan.rows[row]
        values = ", ".join(f"{name}={value}" for name, value in hyper._asdict().items())
        error.add_note(f"in row {row} (seed {seed}, {values}) at tick {tick}")
        raise
