"""Reads a run folder: the one file of the report that knows how a run lies on disk. Loads no JAX.

manifest.json      what the run is and what it ran on; `complete: true` once it has ended
metrics.jsonl      {tick, row, finite, <name>, <name>.count where <name> is a ratio} for each window and row
evaluations.jsonl  {tick, row, <name>} for each evaluation and row; `final: true` marks the test set's
timings.jsonl      {tick, seconds} for each chunk
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from research.engine.errors import Damaged
from research.engine.fields import described
from research.engine.files import COUNT, EVALUATIONS, MARKS, METRICS, TIMINGS, read_lines, read_manifest
from research.engine.forms import is_figure

SEARCH = "search.json"  # the result of a search, which has no run folders


class Run(NamedTuple):
    """What a run folder holds, as it was read; `tick` is the last one recorded, 0 where nothing is."""

    folder: Path
    manifest: dict[str, Any]
    metrics: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    timings: list[dict[str, Any]]
    tick: int

    @property
    def complete(self) -> bool:
        return bool(self.manifest.get("complete"))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Each row's {seed, hyper}."""
        return self.manifest["rows"]

    @property
    def watch(self) -> tuple[str, ...]:
        """The figures that the recipe watches, most important first; empty where the manifest does not say."""
        return tuple(self.manifest.get("watch", ()))

    def in_order(self, named: dict[str, Any]) -> dict[str, Any]:
        """The same figures, those that are watched first."""
        return {name: named[name] for name in dict.fromkeys([*self.watch, *named]) if name in named}

    @property
    def steps_per_tick(self) -> int | None:
        """Steps of the recipe's unit that a tick counts for; None where the folder does not say."""
        return self.manifest.get("steps_per_tick")


def read(folder: Path) -> Run:
    """Reads a run folder, complete or not. Raises ValueError where there is none, Damaged for a bad line or no last one."""
    folder = Path(folder)
    manifest = read_manifest(folder)
    metrics, evaluations, timings = (read_lines(folder / name) for name in (METRICS, EVALUATIONS, TIMINGS))
    rows = range(len(manifest["rows"]))
    needs = (
        (METRICS, metrics, "finite", bool),
        (EVALUATIONS, evaluations, "tick", int),
        (TIMINGS, timings, "seconds", float),
    )
    for name, lines, field, kind in needs:
        for line in lines:
            placed = line.get("row") in rows if name != TIMINGS else "row" not in line
            if not placed or not isinstance(line.get(field), kind | int if kind is float else kind):
                raise Damaged(
                    f"{folder / name} has a line without {field!r}, or with a row that the manifest lacks: "
                    f"{json.dumps(line)[:60]}; restore it, or start over with --fresh"
                )
    if manifest.get("complete") and "steps_per_tick" in manifest:
        end = manifest["budget"]["steps"] // manifest["steps_per_tick"]
        last = [(name, [line for line in lines if line["tick"] == end]) for name, lines, *_ in needs]
        if manifest.get("final"):
            last.append((EVALUATIONS, [line for line in evaluations if line.get("final")]))
        for name, lines in last:
            if {line.get("row") for line in lines} != ({None} if name == TIMINGS else {*rows}):
                raise Damaged(
                    f"{folder / name} lacks lines of tick {end}, the last one, though the run is complete: they were lost; "
                    "restore the file, or repeat the run with --fresh"
                )
    tick = max((line["tick"] for line in [*metrics[-1:], *evaluations[-1:], *timings[-1:]]), default=0)
    return Run(folder, manifest, metrics, evaluations, timings, tick)


def fits_outcome(outcome: Any, fields: Iterable[str], rungs: int) -> bool:
    """Whether it is what became of a setting in a search over `fields` with so many comparisons."""
    if not isinstance(outcome, dict) or not {"params", "scores", "complete", "ticks"} <= outcome.keys():
        return False
    params, scores, numbers = outcome["params"], outcome["scores"], [outcome["ticks"]]
    if not isinstance(params, dict) or params.keys() != {*fields} or not isinstance(scores, list):
        return False
    numbers += [*params.values(), *scores]
    known = len(scores) == rungs if outcome["complete"] else len(scores) <= rungs
    return known and type(outcome["complete"]) is bool and all(x is not None and is_figure(x) for x in numbers)


def figures(line: dict[str, Any]) -> dict[str, float | None]:
    """A line's figures by name, without its marks and the counts of ratios."""
    return {name: x for name, x in line.items() if name not in MARKS and not name.endswith(COUNT)}


def cells(rows: list[dict[str, Any]]) -> list[list[int]]:
    """Rows grouped by hyper, as indices: each cell holds the seeds of one setting, in the order of first sight."""
    groups: dict[str, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(json.dumps(row["hyper"], sort_keys=True), []).append(index)
    return list(groups.values())


def varied(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names under which settings differ."""
    names = dict.fromkeys(name for one in settings for name in one)
    return [name for name in names if len({repr(one.get(name)) for one in settings}) > 1]


def labels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """'learning_rate=0.001, clip=0.2' for each row: what tells its cell from the others, empty where there is one."""
    hypers = [row["hyper"] for row in rows]
    names = varied(hypers)
    return [described({name: hyper[name] for name in names}) for hyper in hypers]
