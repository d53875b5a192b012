"""curve.png: a run's learning curves with a band over seeds, drawn from the run folder alone.

Dimensions: N rows (seeds), T times.
"""

import math
import textwrap
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from research.engine.files import replacing
from research.report import run_folder
from research.report.numerals import short
from research.report.run_folder import Run
from research.report.series import EVALUATION, FINAL, METRIC, Series, quantity, read_series
from research.report.stats import LEVEL, mean_band

CURVE = "curve.png"
PANELS, COLUMNS = 6, 3
# Up to THIN seeds are drawn one by one; a band needs BAND_FROM, since with two the t interval is 13 times their spread.
THIN, BAND_FROM = 10, 3
LEGEND = 16
# Okabe and Ito's palette, which stays apart under all common kinds of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
TRANSIENT = 0.1
COLOURS = {METRIC: PALETTE[0], EVALUATION: PALETTE[1], FINAL: PALETTE[6]}


def draw(folder: Path, watch: tuple[str, ...] | None = None) -> Path:
    """Writes curve.png into a run folder, complete or not -> its path.

    watch  the figures to draw, most important first; by default those that the manifest names, or else all
           figures of the evaluations. What belongs together shares a panel: accuracy, validation_accuracy and
           test_accuracy are one quantity measured on three sets.

    Rows that share their hyper-parameters are one curve: the mean over seeds with the 95 % t interval of that mean at
    each time. Raises ValueError where nothing is recorded yet, or `watch` names figures that are not.
    """
    run = run_folder.read(Path(folder))
    recorded = read_series(run)
    if len(run_folder.cells(run.rows)) > 1 and any(s.kind == EVALUATION for s in recorded):
        recorded = [s for s in recorded if s.kind != METRIC]  # colour tells cells apart there, so one kind of line
    panels = arrange(recorded, run.watch if watch is None else watch, strict=watch is not None)
    if not panels:
        raise ValueError(f"{folder} has no recorded figure to draw yet; let the run reach its first chunk")
    columns = min(len(panels), COLUMNS)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(3.6 * columns, 5.4), 2.9 * lines + 0.5), dpi=150, layout="constrained")
    axes = list(figure.subplots(lines, columns, squeeze=False).flat)
    cropped = [draw_panel(axis, run, *panel) for axis, panel in zip(axes, panels.items(), strict=False)]
    for axis in axes[len(panels) :]:
        axis.remove()
    figure.suptitle(headline(run), x=0.01, ha="left", fontsize=11, fontweight="bold")
    entries, texts = axes[0].get_legend_handles_labels()
    if len(run_folder.cells(run.rows)) > 1 and len(entries) <= LEGEND:
        figure.legend(entries, texts, loc="outside right upper", fontsize=7.5, frameon=False)
    text = textwrap.fill(caption(run, panels, cropped), int(16 * figure.get_figwidth()))
    figure.supxlabel(text, x=0.01, ha="left", fontsize=7.5, color="0.35")
    path = run.folder / CURVE
    with replacing(path) as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    return path


def arrange(series: list[Series], watch: tuple[str, ...], strict: bool = False) -> dict[str, list[Series]]:
    """One panel for each quantity that is watched: {quantity: its series}, at most `PANELS`."""
    recorded = {s.name for s in series}
    if strict and (unknown := [name for name in watch if name not in recorded]):
        raise ValueError(f"watch={unknown} names no recorded figure; there are {', '.join(sorted(recorded))}")
    evaluated = [s.name for s in series if s.kind != METRIC]
    wanted = [name for name in watch if name in recorded] or evaluated or [s.name for s in series]
    names = list(dict.fromkeys(quantity(name) for name in wanted))[:PANELS]
    return {name: [s for s in series if quantity(s.name) == name] for name in names}


def quieten(axis: Axes) -> None:
    """A light grid behind what is drawn, and no frame."""
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)


def draw_panel(axis: Axes, run: Run, name: str, series: list[Series]) -> bool:
    """One quantity -> whether its start was cropped. Colour tells kinds apart, in a sweep the cells."""
    cells = run_folder.cells(run.rows)
    labels = run_folder.labels([run.rows[cell[0]] for cell in cells])
    spans: list[np.ndarray] = []
    for s in series:
        steps = s.ticks * (run.steps_per_tick or 1)
        for number, cell in enumerate(cells):
            text, colour = named(s), COLOURS[s.kind]
            if s.kind == FINAL and np.isfinite(s.values).all():
                text = f"{FINAL}: {s.values.mean():.4g}"
            if len(cells) > 1:
                # A cell's test set shares its colour, and its entry in the legend.
                text = "" if s.kind == FINAL else labels[number]
                colour = colour_of(number, len(cells))
            quiet = len(cells) > len(PALETTE)
            spans += [draw_curve(axis, s, s.values[cell], steps, colour, text, quiet)]
    cropped = limit(axis, np.concatenate(spans, axis=1))
    axis.set_ylabel(name.replace("_", " "))
    axis.set_xlabel(run.manifest.get("unit", "steps") if run.steps_per_tick else "ticks")
    axis.set_xlim(0, 1.03 * max(run.tick, 1) * (run.steps_per_tick or 1))
    quieten(axis)
    axis.xaxis.set_major_formatter(lambda x, _: short(x))
    if len(series) > 1 and len(cells) == 1:
        axis.legend(fontsize=7.5, frameon=False, loc="best")
    return cropped


def draw_curve(
    axis: Axes, series: Series, values: np.ndarray, steps: np.ndarray, colour: str, text: str, quiet: bool
) -> np.ndarray:
    """Mean, band and, where they are few, single seeds of values f64[N,T] -> f64[2,K]: steps and what was drawn there.

    quiet leaves the means alone: too many cells for bands.
    """
    mean, low, high, n = mean_band(values)
    banded = n >= BAND_FROM
    label = text or "_nolegend_"
    known = ~np.isnan(values)
    lowest = np.min(values, 0, initial=np.inf, where=known)
    highest = np.max(values, 0, initial=-np.inf, where=known)
    if len(steps) == 1:
        error = np.where(banded, [mean - low, high - mean], 0.0)
        axis.errorbar(steps, mean, error, color=colour, marker="D", markersize=4, capsize=3, label=label, zorder=4)
    else:
        marker = "o" if series.kind == EVALUATION and len(steps) <= 40 else None
        axis.plot(steps, mean, color=colour, linewidth=1.6, marker=marker, markersize=3, label=label, zorder=3)
    drawn = [mean]
    if banded.any() and not quiet and len(steps) > 1:
        axis.fill_between(steps, low, high, where=banded, color=colour, alpha=0.2, linewidth=0, zorder=1)
    if banded.any() and not quiet:
        drawn += [np.clip(edge, lowest, highest) for edge in (low, high)]
    if 1 < len(values) <= THIN and not quiet and len(steps) > 1:
        axis.plot(steps, values.T, color=colour, linewidth=0.5, alpha=0.45, zorder=2)
        drawn += list(values)
    return np.stack([np.tile(steps, len(drawn)), np.concatenate(drawn)])


def limit(axis: Axes, drawn: np.ndarray) -> bool:
    """Fits the y axis to drawn f64[2,K] -> whether it leaves out part of the start.

    It holds values that occurred, so that a wide band of few seeds cannot flatten the curves. A positive quantity
    that falls to a thirtieth or less gets a logarithmic axis; where the first tenth of a run spans most of the range,
    the axis is fitted to what follows.
    """
    steps, values = drawn[:, np.isfinite(drawn[1])]
    if not len(values):
        return False
    low, high = values.min(), values.max()
    late = values[steps > TRANSIENT * steps.max()]
    if low > 0 and values[np.argmin(steps)] > 30 * np.median(late[-max(len(late) // 10, 1) :]):
        axis.set_yscale("log")
        axis.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        axis.set_ylim(low / 1.2, high * 1.2)
        return False
    cropped = len(late) > 0 and late.max() > late.min() and late.max() - late.min() < (high - low) / 4
    if cropped:
        low, high = late.min(), late.max()
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axis.set_ylim(low - margin, high + margin)
    return cropped


def colour_of(number: int, cells: int) -> str:
    """A cell's colour: apart from every other where they are few, along a scale in the order of cells where many."""
    return PALETTE[number] if cells <= len(PALETTE) else to_hex(colormaps["viridis"](0.95 * number / (cells - 1)))


def named(series: Series) -> str:
    """'validation' where the name says so, 'training' or 'evaluation' where it does not."""
    prefix = series.name[: -len(quantity(series.name))].rstrip("_")
    return {"test": FINAL, "train": METRIC}.get(prefix, prefix) or series.kind


def headline(run: Run) -> str:
    seeds, cells = len({row["seed"] for row in run.rows}), len(run_folder.cells(run.rows))
    parts = [run.manifest["recipe"], f"{seeds} seed" + "s" * (seeds > 1)]
    parts += [f"{cells} settings"] if cells > 1 else []
    parts += [] if run.complete else ["incomplete"]
    return ", ".join(parts)


def caption(run: Run, panels: dict[str, list[Series]], cropped: list[bool]) -> str:
    """What the reader needs to read the picture: n, kind of band, folding, cropping, and rows that were lost."""
    cells = run_folder.cells(run.rows)
    sizes = sorted({len(cell) for cell in cells})
    n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    lines = [run.manifest["note"].removesuffix(".") + "."] if run.manifest.get("note") else []
    if sizes[-1] == 1:
        lines.append("One seed, so no interval.")
    else:
        lines.append(f"Line: mean over seeds (n = {n}).")
        if len(cells) > len(PALETTE):
            lines.append("No bands over so many settings.")
        else:
            lines.append(
                f"Band: {100 * LEVEL:g} % t interval of the mean." if sizes[-1] >= BAND_FROM else "No band over 2."
            )
            lines += ["Thin: single seeds."] if sizes[-1] <= THIN else []
    if len(cells) > LEGEND:
        lines.append(f"{len(cells)} settings, dark to light in the order of summary.json.")
    windows = [s.ticks[0] for group in panels.values() for s in group if s.kind == METRIC and len(s.ticks)]
    if windows:
        unit = run.manifest.get("unit", "ticks") if run.steps_per_tick else "ticks"
        each = max(windows) * (run.steps_per_tick or 1)
        lines.append(f"Training metrics are over windows of {each:,} {unit}.")
    if any(cropped):
        lines.append("Where the first tenth of the run spans most of the range, the y axis leaves part of it out.")
    lost = sorted({run.rows[line["row"]]["seed"] for line in run.metrics if not line["finite"]})
    if lost:
        lines.append(f"Not finite: seed {', '.join(map(str, lost))}.")
    if any(np.isnan(s.values).any() and np.isfinite(s.values).any() for group in panels.values() for s in group):
        lines.append("Where a seed has no value, the mean is over the others, so n is smaller there.")
    return " ".join(lines)
