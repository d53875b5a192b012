"""summary.json: a run's last figures, pooled over seeds. Every number comes from the run folder."""

import json
from pathlib import Path
from typing import Any

from research.engine.files import write_text
from research.report import run_folder
from research.report.run_folder import Run
from research.report.stats import LEVEL, mean_interval

SUMMARY = "summary.json"
# fmt: off
FIELDS = frozenset((
    "name", "recipe", "setup", "hyper", "unit", "complete", "tick", "steps_per_seed", "seconds", "steps_per_second",
    "machine", "note", "level", "pooled_over", "n", "seeds", "finite_rows", "interval", "min", "max", "count", "cells", "rows",
))
# fmt: on


def summarize(folder: Path) -> dict[str, Any]:
    """Writes summary.json from what the run folder holds, complete or not -> its content.

    <figure>          mean over rows of the last evaluation, or of the test set's (`final`), under the figure's own name
    best_<figure>     mean over rows of each one's best evaluation, for the figure that the recipe calls best: better than
                      the last one by chance alone where evaluations are noisy
    interval          {figure: [low, high]}, 95 % (`level`), Student's t over seeds; null where n = 1
    min, max, count   {figure: number}: the smallest and largest row, and how many rows have a value
    n, seeds          how many rows, and their seeds
    finite_rows       rows whose last metrics are finite
    pooled_over       "seeds", or "seeds within cells" for rows that differ in hyper: then means, intervals, min, max
                      and count stand in `cells`, one for each setting, because a mean over settings means nothing
    rows              [{seed, hyper, finite, figures}]
    tick              the last tick recorded
    steps_per_seed    steps done by each row, in `unit`; null where an incomplete run's folder does not say
    seconds           time in chunks (s): training without compilation, evaluation and saving
    steps_per_second  steps of all rows in that time
    note              what a reader must know of the run's input; usually empty

    A figure that some row lacks (it diverged, or no episode ended) has no mean and no interval: one over the
    surviving rows would flatter. Its min, max and count say what there is.
    """
    run = run_folder.read(Path(folder))
    rows = [row | last for row, last in zip(run.rows, last_lines(run), strict=True)]
    cells = run_folder.cells(rows)
    seconds = sum(line["seconds"] for line in run.timings)
    steps = run.tick * run.steps_per_tick if run.steps_per_tick is not None else None
    summary = {
        "name": run.folder.resolve().name,
        "recipe": run.manifest["recipe"],
        "setup": run.manifest["setup"],
        "unit": run.manifest.get("unit", "ticks"),
        "complete": run.complete,
        "tick": run.tick,
        "steps_per_seed": steps,
        "seconds": round(seconds, 6),
        "steps_per_second": steps * len(rows) / seconds if steps is not None and seconds else None,
        "machine": run.manifest.get("machine", {}),
        "note": run.manifest.get("note", ""),
        "level": LEVEL,
        "pooled_over": "seeds" if len(cells) == 1 else "seeds within cells",
        "finite_rows": sum(row["finite"] for row in rows),
    }
    if len(cells) == 1:
        summary |= {"hyper": rows[0]["hyper"]} | pool(rows)
    else:
        summary |= {"n": len(rows), "seeds": list(dict.fromkeys(row["seed"] for row in rows))}
        summary["cells"] = [{"hyper": rows[cell[0]]["hyper"]} | pool([rows[i] for i in cell]) for cell in cells]
    summary["rows"] = rows
    write_text(run.folder / SUMMARY, json.dumps(summary, indent=2, allow_nan=False) + "\n")
    return summary


def last_lines(run: Run) -> list[dict[str, Any]]:
    """For each row {finite, figures}: its last evaluation and the test set's, figures that are watched first."""
    finite = [True] * len(run.rows)
    last: list[dict[str, float | None]] = [{} for _ in run.rows]
    for line in run.metrics:
        finite[line["row"]] = line["finite"]
    for line in run.evaluations:
        last[line["row"]] |= run_folder.figures(line)
    if best := run.manifest.get("best"):
        name, choose = best.removeprefix("-"), min if best.startswith("-") else max
        values: list[list[float]] = [[] for _ in run.rows]
        for line in run.evaluations:
            if line.get(name) is not None:
                values[line["row"]].append(line[name])
        for figures, known in zip(last, values, strict=True):
            if name in figures:  # a row that diverged has none, whatever it had before
                figures[f"best_{name}"] = choose(known) if figures[name] is not None else None
    # A figure that shares its name with a field of the summary is told apart by a dot.
    return [
        {
            "finite": ok,
            "figures": {f".{name}" if name in FIELDS else name: x for name, x in run.in_order(named).items()},
        }
        for ok, named in zip(finite, last, strict=True)
    ]


def pool(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The figures of rows that differ in their seed alone: flat means, and the fields of `summarize` beside them."""
    means: dict[str, Any] = {}
    pooled: dict[str, Any] = {"interval": {}, "min": {}, "max": {}, "count": {}}
    for name in dict.fromkeys(name for row in rows for name in row["figures"]):
        values = [row["figures"].get(name) for row in rows]
        known = [x for x in values if x is not None]
        whole = mean_interval(known) if len(known) == len(rows) else None
        means[name] = whole.value if whole else None
        pooled["interval"][name] = [whole.low, whole.high] if whole and whole.low is not None else None
        pooled["min"][name], pooled["max"][name] = min(known, default=None), max(known, default=None)
        pooled["count"][name] = len(known)
    return means | pooled | {"n": len(rows), "seeds": [row["seed"] for row in rows]}
