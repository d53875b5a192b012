"""A comparison's figures: curves, bars, profiles, a two-factor map, parallel coordinates. From run folders alone.

Dimensions: N rows (seeds), T times, G groups.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from PIL import Image

from research.engine.fields import bare, described, written
from research.report.collect import Group, members, runs
from research.report.curves import BAND_FROM, LEGEND, PALETTE, colour_of, quieten
from research.report.numerals import short
from research.report.series import EVALUATION, METRIC, Series, read_series
from research.report.stats import FEW, LEVEL, Scores, mean_band, performance_profile

FACTORS = 2
MOST_CURVES = 24


def label(group: Group) -> str:
    """'clip=0.1, environments=8'; of a study the arm's own name."""
    if "study.arm" in group.values:
        return str(group.values["study.arm"])
    return described(group.values) or "all runs"


def panel(title: str, height: float = 3.4) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(7.0, height), dpi=150, layout="constrained")
    axis = figure.subplots()
    axis.set_title(title, loc="left", fontsize=10)
    quieten(axis)
    return figure, axis


def curves(groups: Sequence[Group], name: str, recorded: dict[Path, list[Series]]) -> Figure | None:
    """Mean of a figure over steps with its interval over seeds, a line for each group; None where nothing recurs.

    Evaluations where there are several, else the training metric of that name.
    """
    figure, axis = panel(f"{name}: mean over seeds, band: {100 * LEVEL:g} % t interval of the mean", 3.8)
    unit, drawn = "ticks", 0
    for number, group in enumerate(groups[:MOST_CURVES]):
        found = series(group, name, recorded)
        if found is None:
            continue
        steps, values, unit = found
        mean, low, high, n = mean_band(values)
        colour = colour_of(number, len(groups))
        axis.plot(steps, mean, color=colour, linewidth=1.6, label=f"{label(group)} (n = {len(values)})")
        if (n >= BAND_FROM).any() and len(groups) <= len(PALETTE):
            axis.fill_between(steps, low, high, where=n >= BAND_FROM, color=colour, alpha=0.2, linewidth=0)
        drawn += 1
    if not drawn:
        return None
    axis.set_xlabel(unit)
    axis.set_ylabel(name.replace("_", " "))
    axis.xaxis.set_major_formatter(lambda x, _: short(x))
    if len(groups) <= LEGEND:
        figure.legend(loc="outside lower left", fontsize=7.5, frameon=False, ncols=2)
    return figure


def series(group: Group, name: str, recorded: dict[Path, list[Series]]) -> tuple[np.ndarray, np.ndarray, str] | None:
    """A group's values of a figure over time -> steps [T], values f64[N,T], the unit of steps."""
    for kind in (EVALUATION, METRIC):
        lines = []
        for entry in group.entries:
            found = next((s for s in recorded[entry.folder] if s.name == name and s.kind == kind), None)
            if found is None or len(found.ticks) < 2:
                break
            lines.append((found.ticks * (entry.run.steps_per_tick or 1), found.values[entry.row]))
        else:
            length = min(len(steps) for steps, _ in lines)  # of runs that were stopped
            unit = group.entries[0].run.manifest.get("unit", "ticks")
            return lines[0][0][:length], np.stack([values[:length] for _, values in lines]), unit
    return None


def bars(groups: Sequence[Group], name: str) -> Figure:
    """Means with intervals, a bar for each group, single seeds as dots."""
    figure, axis = panel(f"{name}: mean and {100 * LEVEL:g} % t interval over seeds", 1.2 + 0.34 * len(groups))
    axis.grid(axis="y", visible=False)
    for y, group in enumerate(groups):
        scores = group.known(name)
        axis.plot(scores, np.full(len(scores), y), "o", color="0.6", markersize=3, zorder=2)
        whole = group.estimate(name)
        if whole:
            low, high = (whole.value if end is None else end for end in (whole.low, whole.high))
            error = [[whole.value - low], [high - whole.value]]
            axis.errorbar(whole.value, y, xerr=error, fmt="D", color=PALETTE[0], markersize=5, capsize=3, zorder=3)
    axis.set_yticks(range(len(groups)), [label(group) for group in groups], fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel(name.replace("_", " "))
    return figure


def profiles(groups: Sequence[Group], name: str) -> Figure | None:
    """The share of seeds that score above each threshold; None where nothing differs."""
    scores = {label(group): [*group.scores(name).values()] for group in groups}
    return profile({told: {"": np.array(x, np.float64)} for told, x in scores.items() if None not in x}, name)


def profile(settings: Mapping[str, Scores], name: str) -> Figure | None:
    """Each setting's performance profile over its tasks (Agarwal et al. 2021), with a band from 5 seeds on; None where
    nothing differs."""
    every = np.array([x for tasks in settings.values() for scores in tasks.values() for x in scores], np.float64)
    if not len(every) or len(settings) > LEGEND or np.ptp(every) == 0:
        return None
    thresholds = np.linspace(every.min() - 0.02 * np.ptp(every), every.max(), 101)
    figure, axis = panel(f"{name}: share of seeds above a score, band: {100 * LEVEL:g} % bootstrap", 3.8)
    for number, (told, tasks) in enumerate(settings.items()):
        share, low, high = performance_profile(tasks, thresholds)
        colour = colour_of(number, len(settings))
        axis.step(thresholds, share, where="post", color=colour, label=told)
        if len(settings) <= len(PALETTE) and min(map(len, tasks.values())) >= FEW:
            axis.fill_between(thresholds, low, high, step="post", color=colour, alpha=0.15, linewidth=0)
    axis.set_xlabel(f"{name.replace('_', ' ')} above")
    axis.set_ylabel("share of seeds")
    figure.legend(loc="outside lower left", fontsize=7.5, frameon=False, ncols=2)
    return figure


def heat_map(groups: Sequence[Group], name: str) -> Figure | None:
    """Means over two fields; None unless exactly two vary."""
    fields = list(groups[0].values)
    if len(fields) != FACTORS:
        return None
    rows, columns = (list(dict.fromkeys(written(group.values[field]) for group in groups)) for field in fields)
    # Fewer places than groups: some settings read alike, and one would hide the other.
    places = {tuple(written(group.values[field]) for field in fields) for group in groups}
    whole = len(groups) == len(places) == len(rows) * len(columns)
    if not whole or min(len(rows), len(columns)) < 2 or max(len(rows), len(columns)) > 24:
        return None
    table = np.full((len(rows), len(columns)), np.nan)
    for group in groups:
        found = group.estimate(name)
        at = rows.index(written(group.values[fields[0]])), columns.index(written(group.values[fields[1]]))
        table[at] = np.nan if found is None else found.value
    figure, axis = panel(f"{name}: mean over seeds", 1.4 + 0.5 * len(rows))
    axis.grid(visible=False)
    picture = axis.imshow(table, cmap="viridis", aspect="auto")
    middle = (np.nanmin(table) + np.nanmax(table)) / 2 if np.isfinite(table).any() else 0.0
    for (y, x), value in np.ndenumerate(table):
        colour = "white" if value <= middle else "black"  # also where there is no value, and so no colour behind it
        axis.text(x, y, "–" if np.isnan(value) else f"{value:.4g}", ha="center", va="center", fontsize=8, color=colour)
    axis.set_xticks(range(len(columns)), columns)
    axis.set_yticks(range(len(rows)), rows)
    axis.set_xlabel(bare(fields[1]))
    axis.set_ylabel(bare(fields[0]))
    figure.colorbar(picture)
    return figure


def parallel(groups: Sequence[Group], name: str) -> Figure | None:
    """Each group as a line through its fields' values, coloured by the mean of a figure; None for less than two fields
    or three means."""
    means = np.array([found.value if (found := group.estimate(name)) else np.nan for group in groups])
    if np.isfinite(means).sum() < 3:
        return None
    return coordinates({field: [group.values[field] for group in groups] for field in groups[0].values}, means, name)


def coordinates(
    named: Mapping[str, Sequence[object]], means: np.ndarray, name: str, smaller: bool = False
) -> Figure | None:
    """Settings as lines through the values of `named` fields, coloured by f64[G], grey where that is NaN; the best lie
    on top, which are the smallest where `smaller`. None for less than two fields, or without a value."""
    fields = list(named)
    if len(fields) < FACTORS or not np.isfinite(means).any():
        return None
    figure, axis = panel(f"each setting as a line, coloured by its {name}", 3.8)
    axis.grid(visible=False)
    columns = list(named.values())
    heights = np.stack([places(column) for column in columns])  # [fields, G]
    scale = Normalize(np.nanmin(means), np.nanmax(means))
    for g in np.argsort(np.nan_to_num(-means if smaller else means, nan=-np.inf)):  # the best on top
        colour = "0.85" if np.isnan(means[g]) else colormaps["viridis"](scale(means[g]))
        axis.plot(range(len(fields)), heights[:, g], color=colour, linewidth=1.2)
    for x, column in enumerate(columns):
        ends = (column[int(np.argmin(heights[x]))], 0.0, "top"), (column[int(np.argmax(heights[x]))], 1.0, "bottom")
        for value, y, place in ends:
            axis.text(
                x, y + (0.03 if place == "bottom" else -0.03), written(value), ha="center", va=place, fontsize=7.5
            )
    axis.set_xticks(range(len(fields)), [bare(field) for field in fields])
    axis.set_yticks([])
    axis.set_ylim(-0.12, 1.12)
    figure.colorbar(ScalarMappable(scale, "viridis"), ax=axis, label=name.replace("_", " "))
    return figure


def places(column: Sequence[object]) -> np.ndarray:
    """Where a field's values stand on its axis, f64[G] from 0 to 1: numbers by size, by their logarithm where they span
    a factor of 30 or more; others by order of first sight."""
    if all(isinstance(x, int | float) and not isinstance(x, bool) for x in column):
        x = np.array(column, np.float64)
        if x.min() > 0 and x.max() / x.min() >= 30:
            x = np.log(x)
    else:
        seen = list(dict.fromkeys(map(repr, column)))
        x = np.array([seen.index(repr(value)) for value in column], np.float64)
    return (x - x.min()) / np.ptp(x) if np.ptp(x) else np.full(len(x), 0.5)


def draw(groups: Sequence[Group], names: Sequence[str]) -> dict[str, Figure]:
    """All figures that fit the comparison, {file name: figure}; the first of `names` is the one that it turns on."""
    recorded = {folder: read_series(run) for folder, run in runs(members(groups)).items()}
    made: dict[str, Figure | None] = {f"curve-{name}": curves(groups, name, recorded) for name in names}
    first = names[0]
    made |= {f"bars-{name}": bars(groups, name) for name in names if len(groups) <= MOST_CURVES}
    made["profile"] = profiles(groups, first)
    made["heat-map"] = heat_map(groups, first)
    made["parallel"] = parallel(groups, first)
    return {name: figure for name, figure in made.items() if figure is not None}


def save(figure: Figure, path: Path) -> None:
    """Writes PNG or PDF by the path's ending, without dates, so that equal runs give equal files."""
    empty = {"Software": None} if path.suffix == ".png" else {"CreationDate": None, "Producer": None}
    figure.savefig(path, metadata=empty)


def strips(title: str, pictures: Mapping[str, Path | None]) -> Figure:
    """A picture for each name, below each other; an empty place where there is none."""
    shown = {name: np.asarray(Image.open(path)) if path else None for name, path in pictures.items()}
    height = sum(0.3 if pixels is None else 7.0 * pixels.shape[0] / pixels.shape[1] for pixels in shown.values())
    figure = Figure(figsize=(7.0, height + 0.25 * len(shown)), dpi=150, layout="constrained")
    figure.suptitle(title, fontsize=10)
    for axis, (name, pixels) in zip(np.atleast_1d(figure.subplots(len(shown))), shown.items(), strict=True):
        axis.set_title(f"{name}: no picture" if pixels is None else name, loc="left", fontsize=8)
        axis.axis("off")
        if pixels is not None:
            axis.imshow(pixels)
    return figure
