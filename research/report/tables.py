"""A summary as a table for the terminal."""

import math
from collections.abc import Iterable
from typing import Any

from rich.table import Table

from research.report.collect import Group, figures_of, headings, members
from research.report.folder import label, varied, written
from research.report.stats import LEVEL, unseen_share

MISSING = "–"


def table(summary: dict[str, Any]) -> Table:
    """summary of `summary.summarize` -> figure, mean, 95 % interval, min, max, n; a sweep has one block for each cell.

    Below stands what the run cost, and what a reader must not overlook: an incomplete run, one seed, rows without
    a value.
    """
    cells = summary.get("cells") or [summary]
    names = varied(summary["rows"])
    built = Table(title=title(summary), caption="\n".join(notes(summary)), title_justify="left", caption_justify="left")
    if names:
        built.add_column("cell", overflow="fold")
    built.add_column("figure", overflow="fold")
    for heading in ("mean", f"{100 * summary['level']:g} % interval", "min", "max", "n"):
        built.add_column(heading, justify="right", no_wrap=True)
    for cell in cells:
        figures = list(cell["interval"])
        for name in figures:
            mean, *between, low, high = alike(
                [cell[name], *(cell["interval"][name] or []), cell["min"][name], cell["max"][name]]
            )
            built.add_row(
                *([label(cell, names) if name == figures[0] else ""] if names else []),
                name,
                mean,
                f"[{between[0]}, {between[1]}]" if between else MISSING,
                low,
                high,
                str(cell["count"][name]),
                end_section=name == figures[-1] and cell is not cells[-1],
            )
    return built


def title(summary: dict[str, Any]) -> str:
    """'ppo-cartpole: 16 seeds of 500,000 steps': the run in one line."""
    seeds, cells = len(summary["seeds"]), len(summary.get("cells", [None]))
    settings = f"{cells} settings, {len(summary['rows'])} rows" if cells > 1 else count(seeds, "seed")
    steps = summary["steps_per_seed"]
    return f"{summary['recipe']}: {settings}" + (f", {steps:,} {summary['unit']} each" if steps else "")


def notes(summary: dict[str, Any]) -> Iterable[str]:
    """The lines below the table."""
    if not summary["complete"]:
        yield f"incomplete: stopped at tick {summary['tick']}, figures are the newest there are"
    cells = summary.get("cells") or [summary]
    if all(cell["n"] == 1 for cell in cells):
        yield "one seed: no interval, run more with --seeds"
    rows = summary["rows"]
    if summary["finite_rows"] < len(rows):
        lost = [str(row["seed"]) for row in rows if not row["finite"]]
        yield f"not finite: {len(lost)} of {count(len(rows), 'row')} (seed {', '.join(lost)})"
    if any(k < cell["n"] for cell in cells for k in cell["count"].values()):
        yield f"{MISSING} where a row has no value: a mean over the others would flatter"
    for cell in cells:
        alike_ = [name for name, between in cell["interval"].items() if between and between[0] == between[1]]
        if alike_:
            yield (
                f"{', '.join(alike_)}: equal in all {cell['n']} seeds, so the interval saw no spread; "
                f"up to {unseen_share(cell['n']):.0%} of seeds may differ (95 %)"
            )
    if summary["note"]:
        yield summary["note"]
    rate, machine = summary["steps_per_second"], summary["machine"]
    cost = [f"{summary['seconds']:,.1f} s in training chunks"]
    cost += [f"{rate:,.0f} {summary['unit']}/s over all rows"] if rate else []
    cost += [f"{machine.get('device_count')} x {machine['device_kind']}"] if "device_kind" in machine else []
    yield ", ".join(cost)


def count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def alike(values: list[float | None]) -> list[str]:
    """Numbers of one row with the same decimals: three significant digits of how far they lie apart."""
    known = [x for x in values if x is not None]
    apart, largest = max(known, default=0) - min(known, default=0), max(map(abs, known), default=0)
    if largest and not 1e-3 <= largest < 1e7:
        return [MISSING if x is None else f"{x:.3g}" for x in values]
    if not apart:
        return [MISSING if x is None else f"{x:.5g}" for x in values]
    decimals = min(max(2 - math.floor(math.log10(apart)), 0), 5)
    return [MISSING if x is None else f"{x:,.{decimals}f}" for x in values]


def comparison(groups: list[Group], figures: list[str] | None = None) -> Table:
    """Groups of `collect.group` as a table: a line for each, with mean, interval, smallest, largest and n of a figure."""
    names = figures or figures_of(members(groups))[:1]
    built = Table(title_justify="left", caption_justify="left")
    for name in headings(groups) or ["setting"]:
        built.add_column(name, overflow="fold")
    for name in names:
        built.add_column(name, justify="right", no_wrap=True)
        built.add_column(f"{100 * LEVEL:g} % interval", justify="right", no_wrap=True)
        built.add_column("min", justify="right", no_wrap=True)
    built.add_column("n", justify="right")
    for group in groups:
        cells = []
        for name in names:
            whole, known = group.estimate(name), [x for x in group.scores(name).values() if x is not None]
            mean, *between, low = alike(
                [whole.value if whole else None, *(whole[1:3] if whole else ()), min(known, default=None)]
            )
            cells += [mean, f"[{between[0]}, {between[1]}]" if whole and whole.low is not None else MISSING, low]
        settings = [written(value) for value in group.values.values()] or ["all"]
        built.add_row(*settings, *cells, str(len(group.entries)))
    return built
