"""A finished study on paper: its arms, each against the first, and published figures beside ours."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from research.report import collect, figures, paper, summary, tables
from research.report.collect import Group
from research.report.numerals import MISSING, interval
from research.report.paper import Section
from research.report.stats import (
    FEW,
    LEVEL,
    Difference,
    Estimate,
    bootstrap,
    holm,
    improvement,
    iqm,
    optimality_gap,
    paired,
)
from research.studies.study import BEFORE, Study, verdict


def write(study: Study, folder: Path, quick: bool = False) -> list[Any]:
    """Writes report.html, table.md, table.tex, table.csv and figures into the study's folder -> tables to print."""
    found = groups(study, folder, quick)
    blocks = {block.name: [found[block.name][arm.name] for arm in study.arms] for block in study.blocks}
    everything = [group for members in blocks.values() for group in members]
    names = [study.figure, *study.beside]
    pictures: dict[str, Any] = {}
    for block, members in blocks.items():
        # The best evaluation of a run has no course over it, the evaluations themselves do.
        drawn = list(dict.fromkeys([*names, study.figure.removeprefix("best_")]))
        for name, picture in figures.draw([arms_only(group) for group in members], drawn).items():
            axis = picture.axes[0]
            axis.set_title(f"{block}\n{axis.get_title(loc='left')}", loc="left", fontsize=10)
            pictures[f"{block}-{name}"] = picture
        if study.picture:
            last = {group.values["study.arm"]: newest_picture(group, study.picture) for group in members}
            pictures[f"{block}-{study.picture}"] = figures.strips(f"{block}: {study.picture}", last)
    together = scaled(study, blocks)
    if whole := figures.profile({arm: tasks for arm, tasks in together.items() if tasks}, "share of the full score"):
        pictures["profile"] = whole
    further = [Section(f"All of them together, {SCALE}", TOGETHER, aggregates(together))] if together else []
    if len(study.arms) > 1:
        apart = differences(list(blocks.values()), study.figure)
        further.append(Section("Each arm against the first, seed by seed", DIFFERENCE, apart))
    first = found.get(BEFORE, {}).values()
    further.append(Section("What it cost", COST, [cost(group) for group in [*first, *everything]]))
    if not quick and study.published:
        further.append(Section("Beside published figures", PUBLISHED, published(study, blocks)))
    title = f"{study.name}{' (quick: a look, no result)' if quick else ''}: {study.question}"
    paper.write(folder, title, everything, names, pictures, further)
    told = [*paper.warnings(collect.members(everything)), paper.provenance(collect.members(everything))]
    return [tables.comparison(everything, names), *told, *map(as_table, further)]


def groups(study: Study, folder: Path, quick: bool) -> dict[str, dict[str, Group]]:
    """The rows of each block's arms, from their run folders. Raises ValueError where an arm has none."""
    found: dict[str, dict[str, Group]] = {}
    for block, arms, sweep in study.work(quick, folder):
        home = folder / block / sweep.name
        for plan in sweep.lanes:
            summary.summarize(home / plan.name)
        entries = collect.entries([home])
        for arm, cell in zip(arms, sweep.cells, strict=True):
            mine = tuple(entry for entry in entries if sweep.cells_of[entry.folder.name][entry.row][1:] == cell[1:])
            found.setdefault(block, {})[arm.name] = Group({"study.on": block, "study.arm": arm.name}, mine)
    return found


def newest_picture(group: Group, name: str) -> Path | None:
    """The last picture of that name in the run folder of an arm's first seed."""
    found = (group.entries[0].folder / "pictures").glob(f"{name}-*.png")
    return max(found, key=lambda path: int(path.stem.rpartition("-")[2]), default=None)


def arms_only(group: Group) -> Group:
    return Group({"study.arm": group.values["study.arm"]}, group.entries)


SCALE = "as a share of the full score"
TOGETHER = ("arm", "IQM", "interval", "optimality gap", "interval", "P(beats the first)", "interval", "n")


def scaled(study: Study, blocks: dict[str, list[Group]]) -> dict[str, dict[str, np.ndarray]]:
    """{arm: {block: scores f64[N] / full score}}, with no block for an arm of which a seed has no value; empty unless
    several blocks name their full score."""
    full = {block.name: block.full_score for block in study.blocks if block.full_score is not None}
    if len(blocks) < 2 or set(full) != set(blocks):
        return {}
    found: dict[str, dict[str, np.ndarray]] = {}
    for number, arm in enumerate(study.arms):
        scores = {block: list(members[number].scores(study.figure).values()) for block, members in blocks.items()}
        lacks = any(None in x for x in scores.values())
        found[arm.name] = {} if lacks else {block: np.array(x, np.float64) / full[block] for block, x in scores.items()}
    return found


def aggregates(arms: dict[str, dict[str, np.ndarray]]) -> list[list[str]]:
    """Interquartile mean, optimality gap and probability of improvement over the first arm (Agarwal et al. 2021), each
    with its stratified bootstrap interval from 5 seeds on."""
    first = next(iter(arms.values()))
    rows = []
    for name, tasks in arms.items():
        found: list[Estimate] = []
        if tasks:
            with warnings.catch_warnings():  # an interval of fewer is not shown
                warnings.simplefilter("ignore")
                found = [bootstrap(tasks, iqm), bootstrap(tasks, optimality_gap(1.0))]
        if tasks and first and tasks is not first:
            found.append(improvement(tasks, first))
        told = []
        for x in found:
            value, between = interval(*x[:3])
            told += [value, between if x.n >= FEW else MISSING]
        n = str(found[0].n) if found else "a seed has no value"
        rows.append([name, *told, *[MISSING] * (6 - len(told)), n])
    return rows


DIFFERENCE = ("on", "arm", "difference", f"{100 * LEVEL:g} % interval", "p (Holm)", "n")


def differences(blocks: Sequence[Sequence[Group]], figure: str) -> list[list[str]]:
    """Each arm minus its block's first over shared seeds; p of the paired t test, corrected for all arms of all blocks,
    those without a value included."""
    found: list[tuple[Group, Difference | None]] = []
    for first, *others in blocks:
        ours = first.scores(figure)
        for group in others:
            theirs = group.scores(figure)
            whole = None not in [*ours.values(), *theirs.values()] and set(ours) == set(theirs)
            found.append((group, paired(theirs, ours) if whole else None))  # type: ignore[arg-type]  # no None in it
    corrected: Any = holm([1.0 if x is None or x.p is None else x.p for _, x in found]) if found else []
    rows = []
    for (group, x), p in zip(found, corrected, strict=True):
        if x is None:
            rows.append([*group.values.values(), MISSING, MISSING, MISSING, "a seed has no value"])
            continue
        told = [*interval(*x.estimate[:3]), f"{p:.2g}" if x.p is not None else MISSING, str(x.estimate.n)]
        rows.append([*group.values.values(), *told])
    return rows


COST = ("on", "arm", "seconds a run", "steps a second", "n")


def cost(group: Group) -> list[str]:
    """Training time of a group's runs: each one's equal share of the chunks of the lane that it ran in."""
    mine = [entry.run for entry in group.entries]
    seconds = sum(line["seconds"] / len(run.rows) for run in mine for line in run.timings)
    steps = sum(run.tick * (run.steps_per_tick or 1) for run in mine)
    rate = f"{steps / seconds:,.0f}" if seconds else MISSING
    return [*group.values.values(), f"{seconds / len(mine):.3g}", rate, str(len(mine))]


PUBLISHED = ("on", "arm", "ours", "published", "n", "source", "selected", "verdict")


def published(study: Study, blocks: dict[str, list[Group]]) -> list[list[str]]:
    """Every published figure beside ours, with the verdict by `study.verdict`."""
    named = {(block, group.values["study.arm"]): group for block, members in blocks.items() for group in members}
    rows = []
    for theirs in study.published:
        group = named[theirs.block, theirs.arm]
        whole, seen = group.estimate(study.figure), group.known(study.figure)
        if len(seen) < study.seeds or not all(entry.complete for entry in group.entries):
            told = f"not comparable: {len(seen)} of our {study.seeds} seeds have a final value"
        else:
            told = verdict(seen, theirs)
        spread = f" ± {theirs.spread:g} ({theirs.kind})" if theirs.spread is not None else ""
        rows.append(
            [theirs.block, theirs.arm, f"{whole.value:.4g}" if whole else MISSING, f"{theirs.value:g}{spread}"]
            + [str(theirs.n), theirs.source, "yes" if theirs.selected else "no", told]
        )
    return rows


def as_table(section: Section) -> Table:
    table = Table(*section.heads, title=section.title, title_justify="left")
    for row in section.rows:
        table.add_row(*row)
    return table
