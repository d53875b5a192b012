"""Cells and seeds packed into lanes of one width, and lanes run one after another; every lane is a run folder."""

import functools
import hashlib
import json
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from research.engine.errors import Damaged, Interrupted
from research.engine.files import MANIFEST, read_json, read_manifest, write_json
from research.engine.lane import Lane
from research.engine.placement import Placement
from research.engine.plan import Budget, Plan, Recipe, Row, pack
from research.engine.run import run
from research.report.collect import Entry
from research.sweep.grid import Cell, describe

SWEEP = "sweep.json"


@dataclass(frozen=True)
class Sweep:
    """Cells x seeds of one recipe. Valid by construction: every lane's Plan is.

    width  rows in a program at most; the lanes of one Setup all have the same number, so that they share a program
    """

    recipe: Recipe
    cells: tuple[Cell, ...]
    seeds: tuple[int, ...]
    budget: Budget
    width: int = 64

    def __post_init__(self) -> None:
        if not self.cells:
            raise ValueError("a sweep of no cells runs nothing; name a field with --grid FIELD=a,b,c")
        if not self.seeds:
            raise ValueError("seeds=0 must be at least 1; usual: 5 to 16")
        _ = self.lanes

    @functools.cached_property
    def lanes(self) -> tuple[Plan, ...]:
        # One load for all lanes of a Setup: a data set is read once.
        recipe = replace(self.recipe, load=functools.lru_cache(maxsize=1)(self.recipe.load))
        return tuple(
            Plan(recipe, setup, rows, self.budget, width)
            for setup, whole in self.groups.items()
            for width in [even(len(whole), self.width)]
            for rows in pack(whole, width)
        )

    @functools.cached_property
    def groups(self) -> dict[Any, list[Row]]:
        """Setup -> rows: cells that share a Setup are rows of one program, cell by cell and seed by seed."""
        found: dict[Any, list[Row]] = {}
        for cell in self.cells:
            found.setdefault(cell.setup, []).extend(Row(seed, cell.hyper) for seed in self.seeds)
        return found

    @property
    def programs(self) -> int:
        return len(self.groups)

    @functools.cached_property
    def cells_of(self) -> dict[str, list[Cell]]:
        """The cell of each row, by the name of its lane, which is that of the run folder."""
        known = {(cell.setup, cell.hyper): cell for cell in self.cells}
        return {plan.name: [known[plan.setup, row.hyper] for row in plan.rows] for plan in self.lanes}

    @property
    def fields(self) -> list[str]:
        """What the cells change, by full name."""
        return sorted({name for cell in self.cells for name in cell.changes})

    @functools.cached_property
    def name(self) -> str:
        """Names what is run, and not how wide: the width may follow the memory that is free."""
        plans = [Plan(self.recipe, setup, tuple(rows), self.budget) for setup, rows in self.groups.items()]
        text = json.dumps([plan.identity() for plan in plans], sort_keys=True)
        return f"{self.recipe.name}-sweep-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def manifest(self) -> dict[str, Any]:
        """What the sweep is, and which run folder holds which of its rows; JSON."""
        return {
            "recipe": self.recipe.name,
            "fields": self.fields,
            "cells": [describe(cell.changes) for cell in self.cells],
            "seeds": list(self.seeds),
            "width": self.width,
            "lanes": [plan.name for plan in self.lanes],
        }


def even(rows: int, most: int) -> int:
    """The width of equal lanes of at most `most` rows: 100 rows in lanes of at most 64 are two of 50."""
    return -(-rows // -(-rows // most))


class Failure(NamedTuple):
    """A lane that an error stopped; the others went on."""

    plan: Plan
    error: BaseException


def run_lanes(
    sweep: Sweep,
    out: Path,
    console: Console,
    only: Callable[[int], bool] = lambda lane: True,
    **how: Any,
) -> list[Failure]:
    """Runs the lanes that are not complete yet -> those that failed. `how` is passed on to `run`.

    A row that diverges is a result of its cell; an error stops its lane alone; a signal stops the sweep.
    """
    folder = open_folder(sweep, out)
    failures = []
    for number, plan in enumerate(sweep.lanes):
        if not only(number):
            continue
        console.print(f"lane {number + 1} of {len(sweep.lanes)}: {len(plan.rows)} rows", highlight=False)
        try:
            run(plan, folder, console=console, heed_divergence=False, **how)
        except (Interrupted, KeyboardInterrupt):
            raise
        except Exception as error:
            console.print(f"lane {number + 1} failed: {error!r}", style="red", highlight=False)
            (folder / f"lane-{number + 1}-failed.txt").write_text(traceback.format_exc())
            failures.append(Failure(plan, error))
    return failures


def remaining_seconds(plans: Sequence[Plan], device_count: int | None = None) -> float:
    """How long lanes take one after another, without evaluations, by one chunk of each program."""
    chunk = {
        setup: seconds_per_chunk(plan, device_count) for setup, plan in {plan.setup: plan for plan in plans}.items()
    }
    return sum(chunk[plan.setup] * plan.ticks / plan.budget.chunk for plan in plans)


def unfinished(sweep: Sweep, folder: Path) -> list[Plan]:
    """The lanes that are not complete."""
    paths = [(plan, folder / plan.name) for plan in sweep.lanes]
    return [p for p, path in paths if not (path / MANIFEST).exists() or not read_manifest(path).get("complete")]


def open_folder(sweep: Sweep, out: Path) -> Path:
    """Makes the sweep's folder and says in it what it is, unless that stands there: lanes may be jobs side by side."""
    folder = out / sweep.name
    begun = begun_width(sweep, out)
    if begun not in (None, sweep.width):
        raise ValueError(
            f"lanes={sweep.width}, but {folder} was begun with lanes of {begun}; go on with --lanes {begun}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if begun is None:
        write_json(folder / SWEEP, sweep.manifest())
    return folder


def begun_width(sweep: Sweep, out: Path) -> int | None:
    """The width that a sweep's folder was begun with, None where there is none."""
    path = out / sweep.name / SWEEP
    if not path.exists():
        return None
    repair = "restore it, or remove it: it is written again"
    found = read_json(path, repair)
    if not isinstance(found, dict) or type(found.get("width")) is not int:
        raise Damaged(f"{path} does not say the width of the sweep's lanes; {repair}")
    return found["width"]


def seconds_per_chunk(plan: Plan, device_count: int | None = None) -> float:
    """One chunk's time (s), measured on a state that is thrown away; the program is the one that the lane will use."""
    lane = Lane(plan, plan.recipe.load(plan.setup), Placement.choose(plan.lane_width, device_count))
    state = lane.start()
    lane.compile(state)
    feed = lane.feed(0)
    begin = time.perf_counter()
    jax.block_until_ready(lane.advance(state, 0, feed))
    return time.perf_counter() - begin


def fitting_width(plan: Plan, device_count: int | None = None, share: float = 0.5) -> int:
    """How many rows of this plan's kind fit into `share` of the free memory, by the compiled programs' own account.

    Two programs are compiled, of one and of two rows a device; memory grows by the same amount with each further row.
    """
    inputs = plan.recipe.load(plan.setup)
    devices = len(Placement.choose(plan.lane_width, device_count).devices)

    def needed(rows: int) -> int:
        wide = replace(plan, rows=plan.rows[:1] * (rows * devices), width=None)
        lane = Lane(wide, inputs, Placement.choose(rows * devices, device_count))
        return lane.memory(lane.start())

    one, two = needed(1), needed(2)
    free = free_memory() // (devices if jax.default_backend() == "cpu" else 1)
    return max(1, int((share * free - (2 * one - two)) // max(two - one, 1))) * devices


def free_memory() -> int:
    """Bytes free on an accelerator, or in the machine where devices share its memory."""
    found = jax.local_devices()[0].memory_stats()
    if found and "bytes_limit" in found:
        return found["bytes_limit"] - found.get("bytes_in_use", 0)
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def diverged(sweep: Sweep, rows: Iterable[Entry]) -> Iterator[str]:
    """'learning_rate=10, seed 3' for each of the sweep's rows whose last metrics are not finite."""
    for entry in rows:
        if not entry.finite:
            cell = sweep.cells_of[entry.folder.name][entry.row]
            yield f"{describe(cell.changes)}, seed {entry.seed}"
