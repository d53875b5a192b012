"""A run's record: JSON lines that are only appended, and the promise that no tick stands there twice. What stands in each
file tells research/report/run_folder.py."""

import contextlib
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from research.engine.errors import Damaged
from research.engine.experiment import Ratio
from research.engine.files import COUNT, EVALUATIONS, METRICS, TIMINGS, each_line
from research.engine.plan import Plan


class Record:
    """Appends lines to a run folder's files and hands them to its viewers. The lines are the truth."""

    def __init__(self, folder: Path, tick: int, plan: Plan) -> None:
        """Opens the record at `tick`: what was written past it (and will be written again) is cut.

        Raises Damaged, and cuts nothing, where a line up to there is missing or stands in another's place.
        """
        self.folder = folder
        ends = [(folder / name, end_of(folder / name, lines)) for name, lines in due(plan, tick).items()]
        with contextlib.ExitStack() as stack:
            files = [(stack.enter_context(open(path, "ab")), end) for path, end in ends]
            for file, end in files:
                file.truncate(end)

    def append(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Appends all lines with one write."""
        with open(self.folder / name, "a") as file:
            file.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))

    def sync(self) -> None:
        """Waits until all lines are on disk: before a checkpoint, which relies on the lines up to its tick."""
        for name in (METRICS, EVALUATIONS, TIMINGS):
            with open(self.folder / name, "ab") as file:
                os.fsync(file.fileno())


def due(plan: Plan, tick: int) -> dict[str, Iterable[tuple[int, int | None]]]:
    """Tick and row of each line that a run has written by a tick, in their order, by file."""
    budget, rows = plan.budget, range(len(plan.rows))
    at = lambda every: range(every, tick + 1, every)
    last = [tick] if tick == plan.ticks and tick % budget.evaluate_every else []
    return {
        METRICS: product(at(budget.record_every), rows),
        EVALUATIONS: product([*at(budget.evaluate_every), *last], rows),
        TIMINGS: ((each, None) for each in at(budget.chunk)),
    }


def end_of(path: Path, lines: Iterable[tuple[int, int | None]]) -> int:
    """The byte where the last of these lines ends, with which a file must begin. Raises Damaged where it does not."""
    found, end = each_line(path), 0
    for tick, row in lines:
        line, end = next(found, ({}, end))
        if (line.get("tick"), line.get("row"), line.get("final")) != (tick, row, None):
            told = "" if row is None else f" and row {row}"
            raise Damaged(
                f"{path} has no line of tick {tick}{told} where it should stand: lines were lost, doubled or moved; "
                "restore the file, or start over with --fresh"
            )
    return end


def metric_lines(metrics: Mapping[str, Any], ticks: np.ndarray, rows: int) -> list[dict[str, Any]]:
    """metrics: NumPy [R,W] arrays or Ratios of them; ticks i64[W], each window's last -> one line a window and row."""
    return [
        {"tick": int(tick), "row": row}
        | dict(entry for name, m in metrics.items() for entry in _entries(name, m, row, w))
        for w, tick in enumerate(ticks)
        for row in range(rows)
    ]


def _entries(name: str, metric: Any, row: int, window: int) -> Iterator[tuple[str, Any]]:
    if isinstance(metric, Ratio):
        total, count = float(metric.total[row, window]), float(metric.count[row, window])
        yield name, number(total / count) if count else None
        yield name + COUNT, number(count)
    else:
        yield name, number(metric[row, window])


def number(value: Any) -> Any:
    """A NumPy scalar as JSON: float32 in its shortest form, what is not finite as null."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return float(str(value)) if math.isfinite(value) else None
