"""The run folder: manifest, append-only JSON lines, and the promise that no tick stands there twice.

manifest.json      what the run is (`Plan.identity`) and what it ran on
metrics.jsonl      {tick, row, finite, ...} for each window of ticks and row
evaluations.jsonl  {tick, row, ...} for each evaluation and row; `final: true` marks the test set's
timings.jsonl      {tick, seconds} for each chunk: the only lines that differ between equal runs
"""

import contextlib
import json
import math
import os
import platform
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import jax
import numpy as np

import research as package
from research.engine.experiment import Ratio
from research.engine.files import COUNT, EVALUATIONS, METRICS, TIMINGS, Damaged, each_line
from research.engine.placement import DETERMINISTIC, Placement
from research.engine.plan import Plan

# What of jax.config decides a result.
SETTINGS = ("jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_x64", "jax_threefry_partitionable")


def machine(placement: Placement) -> dict[str, Any]:
    """What a run's bits depend on besides its plan."""
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag != DETERMINISTIC]
    packages = ("jax", "jaxlib", "flax", "optax", "gymnax", "pgx", "numpy", "scikit-learn")
    return {
        "backend": placement.devices[0].platform,
        "device_kind": placement.devices[0].device_kind,
        "device_count": len(placement.devices),
        "processes": jax.process_count(),
        "lane_width": placement.width,
        "processor": processor(),
        "threads": os.environ.get("NPROC") or f"all {os.cpu_count()}",
        "deterministic": DETERMINISTIC in os.environ.get("XLA_FLAGS", ""),
        "xla_flags": sorted(flags),
        "jax_settings": {name: str(getattr(jax.config, name)) for name in SETTINGS},
        "versions": {name: version(name) for name in packages},
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def processor() -> str:
    """The processor's name, where the system tells it: vector widths decide how sums are rounded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def revision() -> dict[str, Any]:
    """The package's git revision and whether its tree is dirty; empty outside a checkout. For the reader only."""
    here = Path(package.__path__[0])
    try:
        commit, status = (
            subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"revision": commit, "dirty": bool(status)}


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The fields in which two JSON values differ, as 'budget.steps: 1000 -> 2000'."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path}: {json.dumps(old)} -> {json.dumps(new)}"


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
