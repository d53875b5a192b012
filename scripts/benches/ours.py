"""What our contestants share: a recipe's rows on their devices, as the engine places them, and the time that they take."""

import time
from collections.abc import Callable
from typing import Any

import jax
from serve import serve_rate

from research.engine.experiment import Inputs
from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Budget, Plan, Recipe, Row


def one_chunk(ticks: int) -> Budget:
    return Budget(ticks, chunk=ticks, record_every=ticks, evaluate_every=ticks)


def lane_of(
    recipe: Recipe,
    setup: Any,
    budget: Budget,
    load: Callable[[Any], Inputs] | None = None,
    hyper: Any = None,
    rows: int = 1,
    devices: int = 1,
) -> Lane:
    """`rows` seeds of a recipe on `devices`: more than there are cores only where XLA_FLAGS asks for them."""
    configure(rows, light=recipe.light, device_count=devices)
    plan = Plan(recipe, setup, tuple(Row(seed, hyper or recipe.hyper) for seed in range(rows)), budget)
    return Lane(plan, (load or recipe.load)(setup), Placement.choose(rows, devices))


def seconds(lane: Lane) -> float:
    """What the chunks of all rows take from a fresh start, whose making does not count."""
    state = jax.block_until_ready(lane.start())
    begun = time.perf_counter()
    for tick in range(0, lane.plan.ticks, lane.plan.budget.chunk):
        state, metrics = lane.advance(state, tick)
        lane.placement.get_rows(metrics)
    return time.perf_counter() - begun


def serve_lane(
    lane: Lane, unit: str, per_step: int = 1, packages: tuple[str, ...] = ("jax",), repeats: int = 1
) -> None:
    """Answers with the rate of all rows together; a step of the budget counts for `per_step` of `unit`."""
    rows = len(lane.plan.rows)
    amount = repeats * rows * lane.plan.budget.steps * per_step
    state = sum(x.nbytes for x in jax.tree.leaves(lane.template())) / 1e6
    work = lambda: sum(seconds(lane) for _ in range(repeats))
    serve_rate(f"{unit}/s", amount, work, packages, rows=rows, state_megabytes=state)
