"""A summary, or groups beside each other, as a table for the terminal."""

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from research.report.collect import Group, figures_of, headings, members
from research.report.numerals import MISSING, count, interval
from research.report.run_folder import labels
from research.report.stats import LEVEL, unseen_share


def table(summary: dict[str, Any]) -> Table:
    """summary of `summary.summarize` -> figure, mean, 95 % interval, min, max, n; a sweep has one block for each cell.

    Below stands what the run cost, and what a reader must not overlook: an incomplete run, one seed, rows without
    a value.
    """
    cells = summary.get("cells") or [summary]
    texts = labels(cells)
    built = Table(title=title(summary), caption="\n".join(notes(summary)), title_justify="left", caption_justify="left")
    if any(texts):
        built.add_column("cell", overflow="fold")
    built.add_column("figure", overflow="fold")
    for heading in ("mean", f"{100 * summary['level']:g} % interval", "min", "max", "n"):
        built.add_column(heading, justify="right", no_wrap=True)
    for text, cell in zip(texts, cells, strict=True):
        figures = list(cell["interval"])
        for name in figures:
            between = cell["interval"][name] or (None, None)
            built.add_row(
                *([text if name == figures[0] else ""] if any(texts) else []),
                name,
                *interval(cell[name], *between, cell["min"][name], cell["max"][name]),
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
        numbers = [group.numbers(name) for name in names]
        texts = [text for x in numbers for text in interval(x["mean"], x["low"], x["high"], x["min"])]
        built.add_row(*(group.settings or ["all"]), *texts, str(len(group.entries)))
    return built
