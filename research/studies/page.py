"""A finished study on paper: its arms, each against the first, and published figures beside ours."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from research.report import collect, figures, paper, summary, tables
from research.report.collect import Group
from research.report.paper import Section
from research.report.stats import LEVEL, Difference, holm, paired
from research.report.tables import MISSING, alike
from research.studies.study import Block, Study, verdict


def write(study: Study, folder: Path, quick: bool = False) -> list[Any]:
    """Writes report.html, table.md, table.tex, table.csv and figures into the study's folder -> tables to print."""
    blocks = {block: groups(study, block, folder, quick) for block in study.blocks}
    everything = [group for members in blocks.values() for group in members]
    names = [study.figure]
    pictures = {}
    for block, members in blocks.items():
        for name, picture in figures.draw([arms_only(group) for group in members], names).items():
            axis = picture.axes[0]
            axis.set_title(f"{block.name}: {axis.get_title(loc='left')}", loc="left", fontsize=10)
            pictures[f"{block.name}-{name}"] = picture
    further = [
        Section(
            "Each arm against the first, seed by seed", DIFFERENCE, differences(list(blocks.values()), study.figure)
        )
    ]
    if not quick and study.published:
        further.append(Section("Beside published figures", PUBLISHED, published(study, blocks)))
    title = f"{study.name}{' (quick: a look, no result)' if quick else ''}: {study.question}"
    paper.write(folder, title, everything, names, pictures, further)
    told = paper.warnings(collect.members(everything))
    return [tables.comparison(everything, names), *told, *map(as_table, further)]


def groups(study: Study, block: Block, folder: Path, quick: bool) -> list[Group]:
    """The block's rows by arm, from its run folders. Raises ValueError where an arm has none."""
    sweep = study.sweep(block, quick)
    home = folder / block.name / sweep.name
    for plan in sweep.lanes:
        summary.summarize(home / plan.name)
    entries = collect.entries([home])
    found = []
    settings = {plan.name: plan for plan in sweep.lanes}
    for arm, cell in zip(study.arms, sweep.cells, strict=True):
        members = tuple(
            entry
            for entry in entries
            for plan in [settings[entry.folder.name]]
            if (plan.setup, plan.rows[entry.row].hyper) == (cell.setup, cell.hyper)
        )
        if not members:
            raise ValueError(f"arm {arm.name!r} of {study.name} has no finished run in {home}; run the study again")
        found.append(Group({"study.on": block.name, "study.arm": arm.name}, members))
    return found


def arms_only(group: Group) -> Group:
    return Group({"study.arm": group.values["study.arm"]}, group.entries)


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


PUBLISHED = ("on", "arm", "ours", "published", "n", "source", "selected", "verdict")


def published(study: Study, blocks: dict[Block, list[Group]]) -> list[list[str]]:
    """Every published figure beside ours, with the verdict by `study.verdict`."""
    named = {(block.name, group.values["study.arm"]): group for block, members in blocks.items() for group in members}
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
