"""A finished search on paper: every setting with how far it came, as tables, a page and parallel coordinates."""

import csv
import html
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from research.engine.files import FITS as MANIFEST_FITS
from research.engine.files import Damaged, is_positive, kind, read_json, whole_numbers
from research.report import figures
from research.report.folder import SEARCH, fits_outcome
from research.report.paper import Section, booktabs, document, drawing, origin, pipes, plain, write_files
from research.report.tables import MISSING

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
        "table.csv": comma_separated(found),
        "report.html": document(title, body),
    }
    write_files(out, texts, pictures)
    return [title, provenance(found), note]


def read(search: Path) -> dict[str, Any]:
    """The result file of a search. Raises Damaged where it is not one."""
    found = read_json(search / SEARCH, "run the search again")
    wrong = [name for name in FITS if not isinstance(found, dict) or name not in found]
    wrong = wrong or [name for name, fits in FITS.items() if not fits(found[name])]
    if not wrong and not all(fits_outcome(x, found["log"], len(found["stops"])) for x in found["outcomes"]):
        wrong = ["outcomes"]
    if wrong:
        raise Damaged(f"{search / SEARCH} is not a search's result (see {wrong[0]!r} in it); run the search again")
    return found


FITS: dict[str, Callable[[Any], bool]] = {
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
    "machine": MANIFEST_FITS["machine"],
    "outcomes": lambda x: isinstance(x, list) and len(x) > 0,
}


def comma_separated(found: dict[str, Any]) -> str:
    """Every setting at full precision; what diverged at once has no score."""
    out, fields = io.StringIO(), list(found["outcomes"][0]["params"])
    writer = csv.writer(out, lineterminator="\n")
    name = found["figure"].removeprefix("-")
    writer.writerow(["rank", *(field.split(".")[1] for field in fields), name, "ticks", "complete"])
    for rank, x in enumerate(found["outcomes"], 1):
        ticks = found["stops"][len(x["scores"]) - 1] if x["scores"] else 0
        score = x["scores"][-1] if x["scores"] else ""
        writer.writerow([rank, *(repr(x["params"][field]) for field in fields), score, ticks, x["complete"]])
    return out.getvalue()


def table(found: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Every setting, to be read -> heads and rows."""
    fields = list(found["outcomes"][0]["params"])
    heads = ["rank", *(field.split(".")[1] for field in fields), found["figure"].removeprefix("-"), "ticks reached"]
    rows = []
    for rank, outcome in enumerate(found["outcomes"], 1):
        score = f"{outcome['scores'][-1]:.6g}" if outcome["scores"] else MISSING
        reached = found["stops"][len(outcome["scores"]) - 1] if outcome["scores"] else 0
        numbers = [f"{outcome['params'][field]:.4g}" for field in fields]
        rows.append([str(rank), *numbers, score, f"{reached}{'' if outcome['complete'] else ' (dropped)'}"])
    return heads, rows


def draw(found: dict[str, Any]) -> dict[str, Figure]:
    """Parallel coordinates, and the figure over each field; settings that were dropped are grey."""
    name, outcomes = found["figure"].removeprefix("-"), found["outcomes"]
    columns = {field: [outcome["params"][field] for outcome in outcomes] for field in outcomes[0]["params"]}
    values = np.array([x["scores"][-1] if x["complete"] else np.nan for x in outcomes])
    last = np.array([x["scores"][-1] if x["scores"] else np.nan for x in outcomes])
    made = {"parallel": figures.coordinates(columns, values, name, found["figure"].startswith("-"))}
    for field, column in columns.items():
        figure, axis = figures.panel(f"{name} over {field.split('.')[1]}; grey: dropped, its last value")
        axis.plot(column, np.where(np.isnan(values), last, np.nan), "o", color="0.75", markersize=3)
        axis.plot(column, values, "o", color=figures.PALETTE[0], markersize=4)
        if found["log"][field]:
            axis.set_xscale("log")
        axis.set_xlabel(field.split(".")[1].replace("_", " "))
        axis.set_ylabel(name.replace("_", " "))
        made[f"over-{field.split('.')[1]}"] = figure
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
