"""What lies in docs/results, read strictly.

A folder with a table.md is a study's. Any other folder holds summaries of runs and what belongs to them. Beside the folders
lie summaries, and what scripts/bench.py has stored and written. A Markdown file named as what it speaks of (about.md in a
folder) is laid above it. A file of none of these kinds stops the build.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from research.catalog import RECIPES
from research.studies import STUDIES

SUMMARY = {"name", "recipe", "setup", "unit", "steps_per_seed", "seconds", "machine", "interval", "count", "n", "rows"}
ABOUT = "about.md"
SHOWN = {".png": "picture", ".txt": "text"}
LINKED = {".csv", ".tex", ".jsonl", ".sgf"}
OF_OTHERS = {"demo-curve.png": "ppo-cartpole"}  # a picture whose name does not begin with its summary's
SPEED = "speed.md", "bench.md", "growth.md"  # the first is written by hand, the others by scripts/bench.py
BENCHES = ("bench-", "growth-")  # what they are made of
TESTED = "mutants"  # tests/mutants.py writes this folder and its table


class Summary(NamedTuple):
    """A summary of runs, its place in docs/results, and the pictures that belong to it."""

    path: Path
    found: dict[str, Any]
    pictures: list[Path]
    about: str


class Results(NamedTuple):
    """Everything in docs/results, by name. `folders` hold runs that are no study: their summaries and their other files."""

    studies: dict[str, Path]
    folders: dict[str, Path]
    summaries: list[Summary]
    home: Path


def read(home: Path) -> Results:
    """Raises ValueError for a file that it does not understand."""
    found = Results({}, {}, [], home)
    claimed: set[Path] = set()
    for path in sorted(home.iterdir()):
        if path.name == TESTED or path.name.startswith(BENCHES) or path.name in SPEED:
            continue
        if path.is_dir():
            read_folder(found, path)
        elif path.suffix == ".json":
            pictures = [x for x in sorted(home.glob("*.png")) if owner(x, home) == path.stem]
            about = path.with_suffix(".md")
            found.summaries.append(Summary(path, summary(path), pictures, about.read_text() if about.exists() else ""))
            claimed |= {*pictures, about}
    for path in home.iterdir():
        belongs = path in claimed or path.name in SPEED or path.name.startswith(BENCHES)
        if path.is_file() and path.suffix != ".json" and not belongs:
            raise ValueError(
                f"{path}: no summary of that name lies beside it; name it after the JSON that it belongs to"
            )
    return found


def owner(picture: Path, home: Path) -> str:
    """The summary whose name a picture's begins with, the longest of them."""
    stems = [path.stem for path in home.glob("*.json") if picture.stem.startswith(path.stem)]
    return OF_OTHERS.get(picture.name, max(stems, key=len, default=""))


def read_folder(found: Results, folder: Path) -> None:
    files = sorted(folder.iterdir())
    strange = [
        path
        for path in files
        if path.is_dir() or path.suffix not in {*SHOWN, *LINKED, ".json"} and path.name not in (ABOUT, "table.md")
    ]
    if strange:
        raise ValueError(f"{strange[0]}: no kind of file that a result has; see {Path(__file__).name}")
    if (folder / "table.md").exists():
        if folder.name not in STUDIES:
            raise ValueError(
                f"{folder} holds a study's table.md, and no study has that name; known: {', '.join(STUDIES)}"
            )
        tables((folder / "table.md").read_text(), folder)
        found.studies[folder.name] = folder
        return
    inside = [Summary(path, summary(path), [], "") for path in files if path.suffix == ".json"]
    if not inside:
        raise ValueError(f"{folder} holds neither table.md nor a run's summary")
    found.summaries.extend(inside)
    found.folders[folder.name] = folder


def summary(path: Path) -> dict[str, Any]:
    """What scripts/train.py left of a run. Raises ValueError for anything else."""
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is no JSON: {error}") from None
    missing = SUMMARY - set(found)
    if missing:
        raise ValueError(f"{path} is no summary of a run: it has no {', '.join(sorted(missing))}")
    if found["recipe"] not in RECIPES:
        raise ValueError(f"{path} is of the recipe {found['recipe']!r}, which is not in the catalog")
    return found


def tables(text: str, folder: Path) -> None:
    """Raises ValueError unless a study's table.md begins with a table of numbers, each with its n."""
    lines = text.splitlines()
    if len(lines) < 3 or not lines[0].startswith("| on | arm |") or not lines[0].rstrip().endswith("| n |"):
        raise ValueError(f"{folder / 'table.md'} is no study's table: it does not begin with `| on | arm | ... | n |`")
