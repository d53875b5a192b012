"""Runs a study and lays its figures beside the published ones: `python scripts/reproduce.py ppo-ablation`.

`--list` names the studies; `--quick` runs a small version, which prints no verdict. The same command resumes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.table import Table

from research.command import BAD_INPUT, MACHINE, command, say, terminal
from research.engine.placement import configure
from research.report import collect
from research.studies import STUDIES, find, page
from research.studies.study import BEFORE
from research.sweep import lanes


@dataclass(frozen=True)
class Arguments:
    study: Annotated[str | None, tyro.conf.Positional] = None
    """A study's name."""
    list: bool = False
    """Name the studies, and run nothing."""
    quick: bool = False
    """A small version: fewer seeds and steps, no verdict."""
    out: Path = Path("runs")
    """Folder of run folders and of the study's report."""
    fresh: bool = False
    """Start every run over; older folders are set aside."""
    other_machine: bool = False
    """Resume although devices or versions differ; equal bits are not promised then."""
    device_count: int | None = None
    """Devices to use."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, description=__doc__, config=(tyro.conf.FlagCreatePairsOff,))
    console = terminal()
    if chosen.list or chosen.study is None:
        table = Table("study", "question", title="python scripts/reproduce.py STUDY [--quick]", box=None)
        for name in STUDIES:
            table.add_row(name, find(name).question)
        console.print(table)
        return 0 if chosen.list else BAD_INPUT
    study = find(chosen.study)
    folder = chosen.out / f"{study.name}{'-quick' if chosen.quick else ''}"
    work = study.work(chosen.quick, folder)
    light = all(one.sweep.recipe.light for one in work)
    configure(
        min(len(study.arms) * study.seeds_of(chosen.quick), study.width), light=light, device_count=chosen.device_count
    )
    failed: list[tuple[str, str]] = []
    how = {name: getattr(chosen, name) for name in ("fresh", "other_machine", "device_count")}
    for block, _, sweep in work:
        console.print(f"{study.name}: {block}, {sweep.recipe.name}", style="bold")
        stopped = lanes.run_lanes(sweep, folder / block, console, **how)
        failed += [(f.plan.name, repr(f.error)) for f in stopped]
        if len(stopped) < len(sweep.lanes):
            rows = collect.entries([folder / block / sweep.name])
            failed += [(block, f"diverged: {row}") for row in lanes.diverged(sweep, rows)]
        if failed and block == BEFORE:
            break  # the arms begin from it
    for name, what in failed:
        say("failed", f"{name}: {what}", "red")
    if failed and block == BEFORE:
        return MACHINE
    for part in page.write(study, folder, chosen.quick):
        console.print(part)
    console.print(str(folder / "report.html"), soft_wrap=True)
    return MACHINE if failed else 0


if __name__ == "__main__":
    command(main)
