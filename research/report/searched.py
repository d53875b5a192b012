"""A finished search on paper: every setting with how far it came, as tables, a page and parallel coordinates."""

import html
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from research.engine.errors import Damaged
from research.engine.fields import bare
from research.engine.files import read_json
from research.engine.forms import MANIFESTS, Fits, is_positive, kind, misfit, whole_numbers
from research.report import figures
from research.report.numerals import MISSING
from research.report.paper import (
    Section,
    booktabs,
    comma_separated,
    document,
    drawing,
    origin,
    pipes,
    plain,
    write_files,
)
from research.report.run_folder import SEARCH, fits_outcome

BEST = 20  # lines of the printed tables; table.csv has all


def write(search: Path, out: Path, title: str = "") -> list[str]:
    """Writes report.html, table.md, table.tex, table.csv and figures of a search's folder -> what to tell."""
    found = read(search)
    name = found["figure"].removeprefix("-")
    title = title or f"{found['recipe']}: {len(found['outcomes'])} settings searched for {name}"
    pictures = draw(found)
    heads, rows = table(found)
    note = (
        f"{name}: mean over {len(found['seeds'])} seeds at the last comparison that a setting reached. The best were "
        "selected on these seeds and look better than they are; confirm them on others."
    )
    body = [f'<p class="warn">{html.escape(note)}</p>', f'<p class="small">{html.escape(provenance(found))}</p>']
    body += [f"<figure>{drawing(picture)}</figure>" for picture in pictures.values()]
    body += [plain(Section("Settings, best first", heads, rows))]
    texts = {
        "table.md": f"{pipes(heads, rows[:BEST])}\n\n{note}\n",
        "table.tex": booktabs(heads, rows[:BEST], "l" * len(heads), [note]),
        "table.csv": comma_separated(full(found)),
        "report.html": document(title, body),
    }
    write_files(out, texts, pictures)
    return [title, provenance(found), note]


def read(search: Path) -> dict[str, Any]:
    """The result file of a search. Raises Damaged where it is not one."""
    found = read_json(search / SEARCH, "run the search again")
    wrong = misfit(found, SEARCHES, SEARCHES)
    if not wrong and not all(fits_outcome(x, found["log"], len(found["stops"])) for x in found["outcomes"]):
        wrong = "outcomes"
    if wrong:
        raise Damaged(f"{search / SEARCH} is not a search's result (see {wrong!r} in it); run the search again")
    return found


SEARCHES: dict[str, Fits] = {
    "recipe": kind(str),
    "unit": kind(str),
    "figure": kind(str),
    "sampler": kind(str),
    "pruner": kind(str),
    "seeds": kind(list),
    "stops": lambda x: isinstance(x, list) and len(x) > 0 and all(type(tick) is int for tick in x),
    "ticks": is_positive,
    "ticks_unpruned": is_positive,
    "budget": lambda x: whole_numbers(x) and "steps" in x,
    "log": lambda x: isinstance(x, dict) and all("." in name and type(law) is bool for name, law in x.items()),
    "machine": MANIFESTS["machine"],
    "outcomes": lambda x: isinstance(x, list) and len(x) > 0,
}


def full(found: dict[str, Any]) -> list[list[Any]]:
    """Heads, and every setting at full precision; what diverged at once has no score."""
    fields = list(found["outcomes"][0]["params"])
    rows: list[list[Any]] = [["rank", *map(bare, fields), found["figure"].removeprefix("-"), "ticks", "complete"]]
    for rank, x in enumerate(found["outcomes"], 1):
        score, ticks = (x["scores"][-1], found["stops"][len(x["scores"]) - 1]) if x["scores"] else (None, 0)
        rows.append([rank, *(x["params"][field] for field in fields), score, ticks, x["complete"]])
    return rows


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Every setting, to be read -> heads and rows."""
    (*heads, _, _), *rows = full(found)
    texts = []
    for rank, *numbers, score, ticks, complete in rows:
        reached = [MISSING if score is None else f"{score:.6g}", f"{ticks}{'' if complete else ' (dropped)'}"]
        texts.append([str(rank), *(f"{x:.4g}" for x in numbers), *reached])
    return [*heads, "ticks reached"], texts


def draw(found: dict[str, Any]) -> dict[str, Figure]:
    """Parallel coordinates, and the figure over each field; settings that were dropped are grey."""
    name, outcomes = found["figure"].removeprefix("-"), found["outcomes"]
    columns = {field: [outcome["params"][field] for outcome in outcomes] for field in outcomes[0]["params"]}
    values = np.array([x["scores"][-1] if x["complete"] else np.nan for x in outcomes])
    last = np.array([x["scores"][-1] if x["scores"] else np.nan for x in outcomes])
    made = {"parallel": figures.coordinates(columns, values, name, found["figure"].startswith("-"))}
    for field, column in columns.items():
        figure, axis = figures.panel(f"{name} over {bare(field)}; grey: dropped, its last value")
        axis.plot(column, np.where(np.isnan(values), last, np.nan), "o", color="0.75", markersize=3)
        axis.plot(column, values, "o", color=figures.PALETTE[0], markersize=4)
        if found["log"][field]:
            axis.set_xscale("log")
        axis.set_xlabel(bare(field).replace("_", " "))
        axis.set_ylabel(name.replace("_", " "))
        made[f"over-{bare(field)}"] = figure
    return {key: figure for key, figure in made.items() if figure is not None}


def provenance(found: dict[str, Any]) -> str:
    machine, jax, code = origin(found)
    return " · ".join(
        [
            f"{found['recipe']}: {len(found['outcomes'])} settings x {len(found['seeds'])} seeds of at most "
            f"{found['budget']['steps']:,} {found['unit']}",
            f"{found['sampler']} proposals, {found['pruner']} pruning at ticks {', '.join(map(str, found['stops']))}",
            f"{found['ticks']:,.0f} ticks of rows, {found['ticks'] / found['ticks_unpruned']:.0%} of the same unpruned",
            machine,
            jax,
            f"code {code}",
        ]
    )
