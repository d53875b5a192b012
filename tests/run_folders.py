"""Run folders written by hand, as the engine writes them, so that the report is tested without training anything."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any


def write(
    folder: Path,
    rows: Iterable[tuple[int, dict[str, float]]],
    metrics: Iterable[dict[str, Any]] = (),
    evaluations: Iterable[dict[str, Any]] = (),
    timings: Iterable[dict[str, Any]] = (),
    **manifest: Any,
) -> Path:
    """rows are (seed, hyper); lines go into the folder as they are, with those that a complete run ends with, without a
    figure, where they are not among them -> the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(rows)
    files = {"metrics": [*metrics], "evaluations": [*evaluations], "timings": [*timings]}
    end = max((line["tick"] for lines in files.values() for line in lines), default=100)
    places = [{"row": row} for row in range(len(rows))]
    last = {
        "metrics": [{"finite": True} | place for place in places],
        "evaluations": places,
        "timings": [{"seconds": 0.0}],
    }
    content = {
        "recipe": "toy",
        "setup": {"width": 8},
        "rows": [{"seed": seed, "hyper": hyper} for seed, hyper in rows],
        "budget": {"steps": 10 * end, "chunk": 10, "record_every": 5, "evaluate_every": 50},
        "machine": {"device_kind": "cpu", "device_count": 1},
        "unit": "updates",
        "steps_per_tick": 10,
        "watch": [],
        "complete": True,
    }
    (folder / "manifest.json").write_text(json.dumps(content | manifest))
    for name, lines in files.items():
        ended = [line.get("row") for line in lines if line["tick"] == end]
        if (content | manifest)["complete"]:
            lines += [{"tick": end} | line for line in last[name] if line.get("row") not in ended]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder
