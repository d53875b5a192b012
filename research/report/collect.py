"""Rows of many run folders beside each other: one entry for each row, grouped by the fields that a question is about."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from research.engine.fields import bare, nearest, written
from research.engine.files import MANIFEST
from research.report.run_folder import Run, read, varied
from research.report.stats import Estimate, mean_interval
from research.report.summary import last_lines


class Entry(NamedTuple):
    """One row of a run, read once: its settings by full name ('hyper.clip'; the budget's steps and the source code that
    ran are settings like any other), its seed, and its last figures by name."""

    run: Run
    row: int
    settings: dict[str, Any]
    seed: int
    finite: bool
    figures: dict[str, float | None]

    @property
    def folder(self) -> Path:
        return self.run.folder

    @property
    def recipe(self) -> str:
        return self.run.manifest["recipe"]

    @property
    def complete(self) -> bool:
        return self.run.complete


class Group(NamedTuple):
    """The entries that share the values of the fields in question."""

    values: dict[str, Any]
    entries: tuple[Entry, ...]

    def scores(self, figure: str) -> dict[int, float | None]:
        """Each seed's value of a figure, None where a row has none."""
        return {entry.seed: entry.figures.get(figure) for entry in self.entries}

    def estimate(self, figure: str) -> Estimate | None:
        """Mean with its interval over seeds; None where a row lacks the figure: a mean over the others would flatter."""
        known = self.known(figure)
        return mean_interval(known) if len(known) == len(self.entries) else None

    def known(self, figure: str) -> list[float]:
        """The values of a figure that there are."""
        return [x for x in self.scores(figure).values() if x is not None]

    def numbers(self, figure: str) -> dict[str, Any]:
        """{mean, low, high, min, max, n} of a figure, where None is missing."""
        whole, known = self.estimate(figure), self.known(figure)
        mean, low, high = whole[:3] if whole else (None, None, None)
        ends = {"min": min(known, default=None), "max": max(known, default=None)}
        return {"mean": mean, "low": low, "high": high} | ends | {"n": len(known)}

    @property
    def settings(self) -> list[str]:
        return [written(value) for value in self.values.values()]


def folders(paths: Iterable[Path]) -> list[Path]:
    """Run folders at or below the given paths, in order. Raises ValueError where a path holds none."""
    found: dict[Path, None] = {}
    for path in map(Path, paths):
        below = sorted(manifest.parent for manifest in path.rglob(MANIFEST))
        below = [folder for folder in below if ".old-" not in folder.name]
        if not below:
            raise ValueError(f"{path} holds no run folder (none with a {MANIFEST}); give runs/NAME or a folder of them")
        found |= dict.fromkeys(folder.resolve() for folder in below)
    return list(found)


def entries(paths: Iterable[Path]) -> list[Entry]:
    """All rows of all run folders at or below the paths. Raises ValueError where they are of several recipes."""
    rows: list[Entry] = []
    for path in folders(paths):
        run = read(path)
        setup = {f"setup.{name}": value for name, value in run.manifest["setup"].items()}
        setup |= {"budget.steps": run.manifest["budget"]["steps"], "code.source": run.manifest.get("source")}
        for index, (row, last) in enumerate(zip(run.rows, last_lines(run), strict=True)):
            settings = setup | {f"hyper.{name}": value for name, value in row["hyper"].items()}
            rows.append(Entry(run, index, settings, row["seed"], last["finite"], last["figures"]))
    recipes = sorted({entry.recipe for entry in rows})
    if len(recipes) > 1:
        raise ValueError(
            f"these folders hold runs of several recipes ({', '.join(recipes)}), whose figures do not compare; "
            "give one recipe's folders at a time"
        )
    return rows


def field_name(rows: Sequence[Entry], name: str) -> str:
    """'clip' or 'hyper.clip' -> 'hyper.clip'. Raises ValueError for a field that the runs do not have."""
    known = list(rows[0].settings)
    matches = [full for full in known if name.replace("-", "_") in (full, bare(full))]
    if len(matches) != 1:
        hint = nearest(name, map(bare, known))
        raise ValueError(f"by={name!r} is {'ambiguous' if matches else 'no field of these runs'}; {hint}")
    return matches[0]


def group(rows: Sequence[Entry], fields: Sequence[str]) -> list[Group]:
    """Rows by their values of `fields`, in the order of first sight.

    Raises ValueError where anything else varies within a group: a mean would mix it.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in rows:
        groups.setdefault(repr([entry.settings.get(name) for name in fields]), []).append(entry)
    for members in groups.values():
        if others := varied([entry.settings for entry in members]):
            raise ValueError(
                f"one mean would mix several settings: beside {', '.join(fields) or 'their seeds'} the runs also differ in "
                f"{', '.join(others)}; add --by for each, or give fewer folders"
            )
        if len({entry.seed for entry in members}) < len(members):
            raise ValueError("the same runs are given twice, in folders of their own; give each once")
    return [
        Group({name: members[0].settings.get(name) for name in fields}, tuple(members)) for members in groups.values()
    ]


def runs(rows: Iterable[Entry]) -> dict[Path, Run]:
    """The run folders that rows stand in."""
    return {entry.folder: entry.run for entry in rows}


def members(groups: Sequence[Group]) -> list[Entry]:
    return [entry for group in groups for entry in group.entries]


def headings(groups: Sequence[Group]) -> list[str]:
    """The names of the fields that tell the groups apart."""
    return [bare(field) for field in groups[0].values]


def figures_of(rows: Sequence[Entry]) -> list[str]:
    """Names of all figures, in the order of first sight: what a recipe watches stands first."""
    return list(dict.fromkeys(name for entry in rows for name in entry.figures))


def chosen_figures(rows: Sequence[Entry], names: Sequence[str]) -> list[str]:
    """The figures asked for, or those of the evaluations. Raises ValueError for one that no run has."""
    known = figures_of(rows)
    unknown = [name for name in names if name not in known]
    if unknown or not known:
        there = f"there are {', '.join(known)}" if known else "none has been evaluated yet"
        raise ValueError(f"figure={', '.join(unknown)!r} is in no evaluation of these runs; {there}")
    return list(names) or known
