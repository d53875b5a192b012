"""How cost grows: growth.md and a picture of each series, both from the growth-*.json of a folder alone."""

from pathlib import Path
from typing import Any

from benches.registry import BENCHES, Growth, point
from benches.results import by_processor, described, markdown, ratios, show, stored, summary
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, StrMethodFormatter

from research.report.curves import PALETTE

MEMORY = ("most memory, MB", "state, MB")


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
        "cost would be if it grew in proportion. The clock also counts what others did on this machine, processor time does",
        "not; `times the first` compares the latter round by round. Memory is the most that a process held in its last",
        "round; a state is what a run saves.",
    ]
    for name, _, entry in stored(folder, "growth"):
        bench = BENCHES[f"growth-{name}"]
        rounds = len(next(iter(entry["contestants"].values()))["rates"])
        lines += ["", f"## {name.capitalize()}", "", f"{bench.compared[0].upper()}{bench.compared[1:]}.", ""]
        lines += [f"![{bench.growth.cost}, by {bench.growth.axis}](growth-{name}.png)", ""]
        head = (bench.growth.axis, "", f"{bench.growth.cost}, μs", "μs of processor time", "times the first", *MEMORY)
        lines += markdown(head, table_rows(bench.growth, entry["contestants"]))
        lines += [
            "",
            f"{rounds} rounds on {entry['date']}, pinned to cores {entry['pinned_to']} of {described(entry['machine'])}; ",
        ]
        lines[-1] += f"revision {entry['revision']}; load before it began {entry['load']}."
    return "\n".join(lines) + "\n"


def costs(growth: Growth, value: int, rates: list[float]) -> list[float]:
    """Seconds of each round."""
    return [(value if growth.together else 1) / rate for rate in rates]


def table_rows(growth: Growth, found: dict[str, Any]) -> list[tuple[str, ...]]:
    rows = []
    for line in growth.lines:
        every = [found[point(line, value)] for value in growth.values]
        paid = [costs(growth, value, by_processor(each)) for value, each in zip(growth.values, every, strict=True)]
        for value, result, taken in zip(growth.values, every, paid, strict=True):
            spent = (costs(growth, value, result["rates"]), taken)
            notes = (f"{result[key]:,.0f}" if key in result else "" for key in ("megabytes", "state_megabytes"))
            rows.append((f"{value:,}", line, *map(microseconds, spent), show(ratios(taken, paid[0])), *notes))
    return rows


def microseconds(seconds: list[float]) -> str:
    spread = {name: 1e6 * value for name, value in summary(seconds).items()}
    return show(spread, ",.0f" if spread["median"] >= 100 else ".2f")


def draw(path: Path, growth: Growth, found: dict[str, Any]) -> None:
    """Cost by setting, by the clock and by processor time, and the most memory that each process held."""
    figure = Figure(figsize=(12, 3.8), dpi=130, layout="constrained")
    clock, processor, memory = figure.subplots(1, 3)
    processor.sharey(clock)
    for line, colour in zip(growth.lines, PALETTE, strict=False):
        every = [found[point(line, value)] for value in growth.values]
        for axes, rates in ((clock, [each["rates"] for each in every]), (processor, [*map(by_processor, every)])):
            spreads = [summary(costs(growth, value, of)) for value, of in zip(growth.values, rates, strict=True)]
            middle = [spread["median"] for spread in spreads]
            bars = [[abs(spread[end] - spread["median"]) for spread in spreads] for end in ("min", "max")]
            axes.errorbar(growth.values, middle, bars, fmt="o-", color=colour, capsize=3, markersize=4, label=line)
            proportional = [middle[0] * value / growth.values[0] for value in growth.values]
            axes.plot(growth.values, proportional, "--", color=colour, alpha=0.5, linewidth=1)
        memory.plot(growth.values, [each["megabytes"] for each in every], "o-", color=colour, markersize=4)
    clock.plot([], [], "--", color="0.5", linewidth=1, label="in proportion")
    clock.legend(fontsize=8, frameon=False)
    dress(clock, growth, f"seconds for {growth.cost}")
    dress(processor, growth, f"processor seconds for {growth.cost}")
    dress(memory, growth, "most memory in a round (MB)")
    memory.set_ylim(100, 2 * max(1000, memory.get_ylim()[1]))
    memory.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    figure.savefig(path, metadata={"Software": None})


def dress(axes: Axes, growth: Growth, label: str) -> None:
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel(growth.axis, fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.set_xticks(growth.values, [f"{value:,}" for value in growth.values])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(True, which="major", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
