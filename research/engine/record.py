"""The run folder: manifest, append-only JSON lines, and the promise that no tick stands there twice.

manifest.json      what the run is (`Plan.identity`) and what it ran on
metrics.jsonl      {tick, row, finite, ...} for each window of ticks and row
evaluations.jsonl  {tick, row, ...} for each evaluation; `final: true` marks the last, and so a complete run
timings.jsonl      {tick, seconds} for each chunk: the only lines that differ between equal runs
"""

import json
import math
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

import research as package
from research.engine.experiment import Ratio
from research.engine.files import EVALUATIONS, METRICS, TIMINGS, read_lines, write_text
from research.engine.placement import Placement


def machine(placement: Placement) -> dict[str, Any]:
    """What a run's bits depend on besides its plan."""
    return {
        "backend": placement.devices[0].platform,
        "device_kind": placement.devices[0].device_kind,
        "device_count": len(placement.devices),
        "lane_width": placement.width,
        "threads": os.environ.get("NPROC", "all"),
        "deterministic": "--xla_gpu_deterministic_ops=true" in os.environ.get("XLA_FLAGS", ""),
        "versions": {name: version(name) for name in ("jax", "jaxlib", "flax", "optax", "numpy")},
        "python": platform.python_version(),
    }


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

    def __init__(self, folder: Path, tick: int) -> None:
        """Opens the record at `tick`: what was written past it (and will be written again) is cut."""
        self.folder = folder
        for name in (METRICS, EVALUATIONS, TIMINGS):
            lines = read_lines(folder / name)
            kept = [line for line in lines if line["tick"] <= tick and not line.get("final")]
            write_text(folder / name, "".join(json.dumps(line) + "\n" for line in kept))

    def append(self, name: str, lines: list[dict[str, Any]]) -> None:
        """Appends all lines with one write, and waits until they are on disk."""
        with open(self.folder / name, "a") as file:
            file.write("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
            file.flush()
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
        yield f"{name}.count", number(count)
    else:
        yield name, number(metric[row, window])


def number(value: Any) -> Any:
    """A NumPy scalar as JSON: float32 in its shortest form, what is not finite as null."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    return float(str(value)) if math.isfinite(value) else None
