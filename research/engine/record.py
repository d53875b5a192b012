"""A run's record: JSON lines that are only appended, and the promise that no tick stands there twice. What stands in each
file tells research/report/run_folder.py."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from research.engine.experiment import Ratio
from research.engine.files import COUNT, EVALUATIONS, METRICS, TIMINGS, each_line


class Record:
    """Appends lines to a run folder's files and hands them to its viewers. The lines are the truth."""

    def __init__(self, folder: Path, tick: int) -> None:
        """Opens the record at `tick`: what was written past it (and will be written again) is cut."""
        self.folder = folder
        for name in (METRICS, EVALUATIONS, TIMINGS):
            ends = (end for line, end in each_line(folder / name) if line["tick"] <= tick and not line.get("final"))
            end = max(ends, default=0)  # ticks rise, and what is final stands last
            with open(folder / name, "ab") as file:
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
