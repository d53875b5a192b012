"""A run's figures over time, from the run folder alone.

Dimensions: N rows (seeds), T times.
"""

import math
from typing import NamedTuple

import numpy as np

from research.report import run_folder
from research.report.run_folder import COUNT, Run

POINTS = 100
METRIC, EVALUATION, FINAL = "training", "evaluation", "test set"
PREFIXES = ("validation_", "test_", "train_")


class Series(NamedTuple):
    """One figure of all rows: kind METRIC, EVALUATION or FINAL; ticks i64[T]; values f64[N,T], NaN where none is."""

    name: str
    kind: str
    ticks: np.ndarray
    values: np.ndarray


def read_series(run: Run) -> list[Series]:
    """All figures of a run; metrics are folded further, to at most `POINTS` points."""
    found = []
    for kind, lines in (
        (METRIC, run.metrics),
        (EVALUATION, [line for line in run.evaluations if not line.get("final")]),
        (FINAL, [line for line in run.evaluations if line.get("final")]),
    ):
        ticks = np.unique([line["tick"] for line in lines]).astype(np.int64)
        column = {int(tick): t for t, tick in enumerate(ticks)}
        names = dict.fromkeys(name for line in lines for name in run_folder.figures(line))
        values = {name: np.full((len(run.rows), len(ticks)), np.nan) for name in names}
        counts = {name: np.full((len(run.rows), len(ticks)), np.nan) for name in names if name + COUNT in lines[0]}
        for line in lines:
            at = line["row"], column[line["tick"]]
            for name, x in run_folder.figures(line).items():
                values[name][at] = np.nan if x is None else x
                if name in counts:
                    counts[name][at] = line.get(name + COUNT) or 0.0
        for name in names:
            every = math.ceil(len(ticks) / POINTS) if kind == METRIC else 1
            found.append(Series(name, kind, ticks[every - 1 :: every], fold(values[name], counts.get(name), every)))
    return found


def fold(values: np.ndarray, counts: np.ndarray | None, every: int) -> np.ndarray:
    """Means over `every` neighbouring windows; what does not fill the last group is left out.

    values f64[N,T], counts f64[N,T] of a ratio or None -> f64[N, T // every]. Ratios weigh each window by its
    count and skip those that counted nothing; anything else that is missing makes its group missing.
    """
    n, groups = values.shape[0], values.shape[1] // every
    x = values[:, : groups * every].reshape(n, groups, every)  # [N, T/every, every]
    if counts is None:
        return x.mean(2)
    weight = counts[:, : groups * every].reshape(n, groups, every)  # [N, T/every, every]
    total = weight.sum(2)
    return np.where(weight > 0, weight * x, 0.0).sum(2) / np.where(total > 0, total, np.nan)


def quantity(name: str) -> str:
    """'validation_accuracy' -> 'accuracy': what is measured, without the set that it is measured on."""
    return next((name[len(prefix) :] for prefix in PREFIXES if name.startswith(prefix)), name)
