"""curve.png: a run's learning curves with a band over seeds, drawn from the run folder alone.

Dimensions: N rows (seeds), T times.
"""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from research.report import folder as run_folder
from research.report.folder import COUNT, Run
from research.report.stats import LEVEL, mean_band

CURVE = "curve.png"
POINTS = 200
PANELS, COLUMNS = 6, 3
FEW, BAND_FROM = 10, 3
# Okabe and Ito's palette, which stays apart under all common kinds of colour blindness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
METRIC, EVALUATION, FINAL = "training metric", "evaluation", "test set"
COLOURS = {METRIC: PALETTE[0], EVALUATION: PALETTE[1], FINAL: PALETTE[6]}
PREFIXES = ("validation_", "test_", "train_")


class Series(NamedTuple):
    """One figure of all rows: kind METRIC, EVALUATION or FINAL; ticks i64[T]; values f64[N,T], NaN where none is."""

    name: str
    kind: str
    ticks: np.ndarray
    values: np.ndarray


def draw(folder: Path, watch: tuple[str, ...] | None = None) -> Path:
    """Writes curve.png into a run folder, complete or not -> its path.

    watch  the figures to draw, most important first; by default those that the manifest names, or else all
           figures of the evaluations. What belongs together shares a panel: accuracy, validation_accuracy and
           test_accuracy are one quantity measured on three sets.

    Rows that share their hyper-parameters are one curve: the mean over seeds with the 95 % t interval of that mean at
    each time. Raises ValueError where nothing is recorded yet, or `watch` names figures that are not.
    """
    run = run_folder.read(Path(folder))
    panels = arrange(read_series(run), run.watch if watch is None else watch, strict=watch is not None)
    if not panels:
        raise ValueError(f"{folder} has no recorded figure to draw yet; let the run reach its first chunk")
    columns = min(len(panels), COLUMNS)
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(max(3.6 * columns, 5.4), 2.9 * lines + 0.5), dpi=150, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False).flat
    for axis, (name, series) in zip(axes, panels.items(), strict=False):
        draw_panel(axis, run, name, series)
    for axis in list(axes)[len(panels) :]:
        axis.remove()
    figure.suptitle(headline(run), x=0.01, ha="left", fontsize=11, fontweight="bold")
    figure.supxlabel(caption(run, panels), x=0.01, ha="left", fontsize=7.5, color="0.35")
    path = run.folder / CURVE
    part = path.with_name(path.name + ".part")
    figure.savefig(part, format="png", metadata={"Software": None})
    os.replace(part, path)
    return path


def read_series(run: Run) -> list[Series]:
    """All figures of a run; metrics are folded further, to at most `POINTS` points."""
    found = []
    for kind, lines in (
        (METRIC, run.metrics),
        (EVALUATION, [line for line in run.evaluations if not line.get("final")]),
        (FINAL, [line for line in run.evaluations if line.get("final")]),
    ):
        ticks = np.unique([line["tick"] for line in lines]).astype(np.int64)
        column = {int(tick): t for t, tick in enumerate(ticks)}
        names = dict.fromkeys(name for line in lines for name in run_folder.figures(line))
        values = {name: np.full((len(run.rows), len(ticks)), np.nan) for name in names}
        counts = {name: np.full((len(run.rows), len(ticks)), np.nan) for name in names if name + COUNT in lines[0]}
        for line in lines:
            at = line["row"], column[line["tick"]]
            for name, x in run_folder.figures(line).items():
                values[name][at] = np.nan if x is None else x
                if name in counts:
                    counts[name][at] = line[name + COUNT] or 0.0
        for name in names:
            every = math.ceil(len(ticks) / POINTS)
            found.append(Series(name, kind, ticks[every - 1 :: every], fold(values[name], counts.get(name), every)))
    return found


def fold(values: np.ndarray, counts: np.ndarray | None, every: int) -> np.ndarray:
    """Means over `every` neighbouring windows; what does not fill the last group is left out.

    values f64[N,T], counts f64[N,T] of a ratio or None -> f64[N, T // every]. Ratios weigh each window by its
    count and skip those that counted nothing; anything else that is missing makes its group missing.
    """
    n, groups = values.shape[0], values.shape[1] // every
    x = values[:, : groups * every].reshape(n, groups, every)  # [N, T/every, every]
    if counts is None:
        return x.mean(2)
    weight = counts[:, : groups * every].reshape(n, groups, every)  # [N, T/every, every]
    total = weight.sum(2)
    return np.where(weight > 0, weight * x, 0.0).sum(2) / np.where(total > 0, total, np.nan)


def quantity(name: str) -> str:
    """'validation_accuracy' -> 'accuracy': what is measured, without the set that it is measured on."""
    return next((name[len(prefix) :] for prefix in PREFIXES if name.startswith(prefix)), name)


def arrange(series: list[Series], watch: tuple[str, ...], strict: bool = False) -> dict[str, list[Series]]:
    """One panel for each quantity that is watched: {quantity: its series}, at most `PANELS`."""
    recorded = {s.name for s in series}
    if strict and (unknown := [name for name in watch if name not in recorded]):
        raise ValueError(f"watch={unknown} names no recorded figure; there are {', '.join(sorted(recorded))}")
    evaluated = [s.name for s in series if s.kind != METRIC]
    wanted = [name for name in watch if name in recorded] or evaluated or [s.name for s in series]
    names = list(dict.fromkeys(quantity(name) for name in wanted))[:PANELS]
    return {name: [s for s in series if quantity(s.name) == name] for name in names}


def draw_panel(axis: Axes, run: Run, name: str, series: list[Series]) -> None:
    """One quantity. Without a sweep colour tells metric and evaluation apart; in a sweep it tells the cells apart."""
    cells = run_folder.cells(run.rows)
    if len(cells) > 1 and any(s.kind != METRIC for s in series):
        series = [s for s in series if s.kind != METRIC]
    names = run_folder.varied(run.rows)
    span: list[np.ndarray] = []
    for s in series:
        for number, cell in enumerate(cells):
            text = name_of(s) if len(cells) == 1 else run_folder.label(run.rows[cell[0]], names)
            colour = COLOURS[s.kind] if len(cells) == 1 else PALETTE[number % len(PALETTE)]
            quiet = len(cells) > 1 and s.kind == FINAL and len(series) > 1
            span += draw_curve(
                axis, s, s.values[cell], s.ticks * (run.steps_per_tick or 1), colour, "" if quiet else text
            )
    limit(axis, np.concatenate(span))
    axis.set_ylabel(name.replace("_", " "))
    axis.set_xlabel(run.manifest.get("unit", "steps") if run.steps_per_tick else "ticks")
    axis.set_xlim(0, None)
    axis.grid(color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    axis.xaxis.set_major_formatter(lambda x, _: short(x))
    if len(series) > 1 or len(cells) > 1:
        axis.legend(fontsize=7.5, frameon=False, loc="best")


def draw_curve(
    axis: Axes, series: Series, values: np.ndarray, steps: np.ndarray, colour: str, text: str
) -> list[np.ndarray]:
    """Mean, band and, where they are few, single seeds of values f64[N,T] -> what the y axis must hold."""
    mean, low, high, n = mean_band(values)
    banded = n >= BAND_FROM
    inside = np.clip([low, high], np.nanmin(values, 0), np.nanmax(values, 0)) if len(steps) else np.zeros((2, 0))
    label = text or "_nolegend_"
    if len(steps) == 1:
        error = np.where(banded, [mean - low, high - mean], 0.0)
        axis.errorbar(steps, mean, error, color=colour, marker="D", markersize=4.5, capsize=3, label=label, zorder=4)
        return [mean, inside[:, 0][np.isfinite(inside[:, 0])]]
    marker = "o" if series.kind == EVALUATION and len(steps) <= 40 else None
    axis.plot(steps, mean, color=colour, linewidth=1.6, marker=marker, markersize=3, label=label, zorder=3)
    if banded.any():
        axis.fill_between(steps, low, high, where=banded, color=colour, alpha=0.2, linewidth=0, zorder=1)
    if 1 < len(values) <= FEW:
        axis.plot(steps, values.T, color=colour, linewidth=0.5, alpha=0.45, zorder=2)
        return [mean, values.ravel()]
    return [mean, inside[:, banded].ravel()]


def limit(axis: Axes, shown: np.ndarray) -> None:
    """Fits the y axis to values that occurred, so that a wide band of few seeds cannot flatten the curves.

    A quantity that falls through two decades or more, staying positive, gets a logarithmic axis.
    """
    shown = shown[np.isfinite(shown)]
    if not len(shown):
        return
    low, high = shown.min(), shown.max()
    if low > 0 and high / low > 100 and shown[-1] < shown[0] / 100:
        axis.set_yscale("log")
        axis.set_ylim(low / 1.3, high * 1.3)
    else:
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        axis.set_ylim(low - margin, high + margin)


def name_of(series: Series) -> str:
    """'validation' where the name says so, 'training metric' or 'evaluation' where it does not."""
    prefix = series.name[: -len(quantity(series.name))].rstrip("_")
    return {"test": FINAL, "train": METRIC}.get(prefix, prefix) or series.kind


def headline(run: Run) -> str:
    seeds, cells = len({row["seed"] for row in run.rows}), len(run_folder.cells(run.rows))
    parts = [run.manifest["recipe"], f"{seeds} seed" + "s" * (seeds > 1)]
    parts += [f"{cells} settings"] if cells > 1 else []
    parts += [] if run.complete else ["incomplete"]
    return ", ".join(parts)


def caption(run: Run, panels: dict[str, list[Series]]) -> str:
    """What the reader needs to read the picture: n, kind of band, folding, and rows that were lost."""
    sizes = sorted({len(cell) for cell in run_folder.cells(run.rows)})
    n = f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
    lines = []
    if sizes[-1] == 1:
        lines.append("One seed, so no interval.")
    else:
        text = f"Line: mean over seeds (n = {n})."
        text += f" Band: {LEVEL:.0%} t interval of that mean." if sizes[-1] >= BAND_FROM else " No band over so few."
        lines.append(text + (" Thin: single seeds." if sizes[-1] <= FEW else ""))
    windows = [s.ticks[0] for group in panels.values() for s in group if s.kind == METRIC and len(s.ticks)]
    if windows:
        unit = run.manifest.get("unit", "ticks") if run.steps_per_tick else "ticks"
        each = max(windows) * (run.steps_per_tick or 1)
        lines.append(f"Training metrics are means over {each:,} {unit}.")
    lost = sorted({run.rows[line["row"]]["seed"] for line in run.metrics if not line["finite"]})
    if lost:
        lines.append(f"Not finite: seed {', '.join(map(str, lost))}; the mean goes on over the others.")
    return " ".join(lines)


def short(x: float) -> str:
    """500000 -> '500k'."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(x) >= size:
            return f"{x / size:g}{letter}"
    return f"{x:g}"
