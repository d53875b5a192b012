"""A finished study on paper: its arms, each against the first, and published figures beside ours."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from research.report import collect, figures, paper, summary, tables
from research.report import folder as run_folder
from research.report.collect import Group
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
from research.report.tables import MISSING, alike
from research.studies.study import BEFORE, Block, Study, verdict


def write(study: Study, folder: Path, quick: bool = False) -> list[Any]:
    """Writes report.html, table.md, table.tex, table.csv and figures into the study's folder -> tables to print."""
    blocks = {block.name: groups(study, block, folder, quick) for block in study.blocks}
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
    further.append(
        Section("What it cost", COST, [cost(group) for group in [*made_first(study, folder, quick), *everything]])
    )
    if not quick and study.published:
        further.append(Section("Beside published figures", PUBLISHED, published(study, blocks)))
    title = f"{study.name}{' (quick: a look, no result)' if quick else ''}: {study.question}"
    paper.write(folder, title, everything, names, pictures, further)
    told = [*paper.warnings(collect.members(everything)), paper.provenance(collect.members(everything))]
    return [tables.comparison(everything, names), *told, *map(as_table, further)]


def groups(study: Study, block: Block, folder: Path, quick: bool) -> list[Group]:
    """The block's rows by arm, from its run folders. Raises ValueError where an arm has none."""
    found: dict[str, Group] = {}
    for arms, sweep in study.sweeps(block, quick, folder):
        home = folder / block.name / sweep.name
        plans = {plan.name: plan for plan in sweep.lanes}
        for name in plans:
            summary.summarize(home / name)
        entries = collect.entries([home])
        for arm, cell in zip(arms, sweep.cells, strict=True):
            members = tuple(
                entry
                for entry in entries
                for plan in [plans[entry.folder.name]]
                if (plan.setup, plan.rows[entry.row].hyper) == (cell.setup, cell.hyper)
            )
            if not members:
                raise ValueError(f"arm {arm.name!r} of {study.name} has no finished run in {home}; run the study again")
            found[arm.name] = Group({"study.on": block.name, "study.arm": arm.name}, members)
    return [found[arm.name] for arm in study.arms]


def newest_picture(group: Group, name: str) -> Path | None:
    """The last picture of that name in the run folder of an arm's first seed."""
    return max((group.entries[0].folder / "pictures").glob(f"{name}-*.png"), default=None)


def made_first(study: Study, folder: Path, quick: bool) -> list[Group]:
    """The run that the arms begin from, where there is one."""
    first = study.first(quick)
    if first is None:
        return []
    members = tuple(collect.entries([folder / BEFORE / first.name]))
    return [Group({"study.on": BEFORE, "study.arm": first.recipe.name}, members)]


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
                found = [bootstrap(tasks, iqm), bootstrap(tasks, optimality_gap())]
        if tasks and first and tasks is not first:
            found.append(improvement(tasks, first))
        told = []
        for x in found:
            value, low, high = alike([x.value, x.low, x.high])
            told += [value, f"[{low}, {high}]" if x.low is not None and x.n >= FEW else MISSING]
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
        value, low, high = alike([x.estimate.value, x.estimate.low, x.estimate.high])
        between = f"[{low}, {high}]" if x.estimate.low is not None else MISSING
        rows.append(
            [*group.values.values(), value, between, f"{p:.2g}" if x.p is not None else MISSING, str(x.estimate.n)]
        )
    return rows


COST = ("on", "arm", "seconds a run", "steps a second", "n")


def cost(group: Group) -> list[str]:
    """Training time of a group's runs: each one's equal share of the chunks of the lane that it ran in."""
    shares = []
    for folder in dict.fromkeys(entry.folder for entry in group.entries):
        run = run_folder.read(folder)
        seconds = sum(line["seconds"] for line in run.timings) / len(run.rows)
        mine = [entry for entry in group.entries if entry.folder == folder]
        shares += [(seconds, run.tick * (run.steps_per_tick or 1))] * len(mine)
    seconds, steps = (sum(x) for x in zip(*shares, strict=True))
    return [
        *group.values.values(),
        f"{seconds / len(shares):.3g}",
        f"{steps / seconds:,.0f}" if seconds else MISSING,
        str(len(shares)),
    ]


PUBLISHED = ("on", "arm", "ours", "published", "n", "source", "selected", "verdict")


def published(study: Study, blocks: dict[str, list[Group]]) -> list[list[str]]:
    """Every published figure beside ours, with the verdict by `study.verdict`."""
    named = {(block, group.values["study.arm"]): group for block, members in blocks.items() for group in members}
    rows = []
    for theirs in study.published:
        group = named[theirs.block, theirs.arm]
        scores = list(group.scores(study.figure).values())
        whole = group.estimate(study.figure)
        seen = [x for x in scores if x is not None]
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
