"""How cost grows: growth.md and a picture of each series, both from the growth-*.json of a folder alone."""

from pathlib import Path
from typing import Any

from benches.registry import BENCHES, Growth, point
from benches.results import described, markdown, ratios, show, stored, summary
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from research.report.curves import PALETTE


def pictures(folder: Path) -> None:
    for name, _, entry in stored(folder, "growth"):
        draw(folder / f"growth-{name}.png", BENCHES[f"growth-{name}"].growth, entry["contestants"])


def report(folder: Path) -> str:
    """growth.md: for each series what it is, its picture, its figures, how it was run."""
    lines = [
        "# How cost grows",
        "",
        "Made by `scripts/bench.py table` from the growth-*.json of this folder. All settings of a series are asked in turn,",
        "round after round; points are medians of the rounds, bars go from the least to the most, and dashed lines say where",
        "cost would be if it grew in proportion. `times the first` compares round by round.",
    ]
    for name, cores, entry in stored(folder, "growth"):
        bench = BENCHES[f"growth-{name}"]
        rounds = len(next(iter(entry["contestants"].values()))["rates"])
        lines += ["", f"## {name.capitalize()}", "", f"{bench.compared[0].upper()}{bench.compared[1:]}.", ""]
        lines += [f"![{bench.growth.cost}, by {bench.growth.axis}](growth-{name}.png)", ""]
        head = (bench.growth.axis, "", f"{bench.growth.cost}, μs", "times the first", "most memory, MB", "state, MB")
        lines += markdown(head, table_rows(bench.growth, entry["contestants"]))
        lines += ["", f"{rounds} rounds on {entry['date']}, pinned to {cores} of {described(entry['machine'])}; "]
        lines[-1] += f"revision {entry['revision']}; load before it began {entry['load']}."
    return "\n".join(lines) + "\n"


def costs(growth: Growth, value: int, result: dict[str, Any]) -> list[float]:
    """Seconds of each round."""
    return [(value if growth.together else 1) / rate for rate in result["rates"]]


def table_rows(growth: Growth, found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for line in growth.lines:
        first = costs(growth, growth.values[0], found[point(line, growth.values[0])])
        for value in growth.values:
            result = found[point(line, value)]
            taken = costs(growth, value, result)
            spread = {name: 1e6 * seconds for name, seconds in summary(taken).items()}
            digits = ",.0f" if spread["median"] >= 100 else ".2f"
            memory, state = (f"{result[key]:,.0f}" if key in result else "" for key in ("megabytes", "state_megabytes"))
            rows.append((f"{value:,}", line, show(spread, digits), show(ratios(taken, first)), memory, state))
    return rows


def draw(path: Path, growth: Growth, found: dict[str, Any]) -> None:
    """Cost by setting, and the most memory that each process held."""
    figure = Figure(figsize=(9, 3.6), dpi=150, layout="constrained")
    time, memory = figure.subplots(1, 2)
    for line, colour in zip(growth.lines, PALETTE, strict=False):
        every = [found[point(line, value)] for value in growth.values]
        spreads = [summary(costs(growth, value, each)) for value, each in zip(growth.values, every, strict=True)]
        middle = [spread["median"] for spread in spreads]
        bars = [[abs(spread[end] - spread["median"]) for spread in spreads] for end in ("min", "max")]
        time.errorbar(growth.values, middle, bars, fmt="o-", color=colour, capsize=3, markersize=4, label=line)
        proportional = [middle[0] * value / growth.values[0] for value in growth.values]
        time.plot(growth.values, proportional, "--", color=colour, alpha=0.5, linewidth=1)
        memory.plot(growth.values, [each["megabytes"] for each in every], "o-", color=colour, markersize=4)
    time.plot([], [], "--", color="0.5", linewidth=1, label="in proportion")
    time.legend(fontsize=7.5, frameon=False)
    for axes, label in ((time, f"seconds for {growth.cost}"), (memory, "most memory of the process, MB")):
        dress(axes, growth, label)
    figure.savefig(path, metadata={"Software": None})


def dress(axes: Axes, growth: Growth, label: str) -> None:
    axes.set(xscale="log", yscale="log", xlabel=growth.axis, ylabel=label)
    axes.set_xticks(growth.values, minor=False)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(True, which="both", alpha=0.2)
    axes.spines[["top", "right"]].set_visible(False)
