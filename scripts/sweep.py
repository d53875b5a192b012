"""Runs a recipe over settings and seeds: `python scripts/sweep.py ppo-cartpole --grid clip=0.1,0.2 --seeds 10`.

--grid FIELD=a,b,c     every combination with the other grids
--list FIELD=a,b       several of these are paired by position
--draw FIELD=log:LOW:HIGH  (or uniform:LOW:HIGH) random values, as many as --draws says
--ablate FIELD[=VALUE] the full thing, and beside it each of these switched off (or set to VALUE) by itself

Fields of Hyper and seeds are rows of one program; each value of a Setup field compiles one. The same command again goes
on where it was stopped, and runs no finished lane twice. Exit code 1 says that a lane failed or a row diverged.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from research.catalog import find
from research.command import BAD_INPUT, MACHINE, budget, command, options, say, seeds
from research.engine.placement import configure
from research.engine.progress import clock

Texts = tyro.conf.UseAppendAction[tuple[str, ...]]
OWN_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "grid": (Texts, (), "FIELD=a,b,c: every combination with the other grids."),
    "list": (Texts, (), "FIELD=a,b,c: several of these are paired by position."),
    "draw": (Texts, (), "FIELD=log:LOW:HIGH or FIELD=uniform:LOW:HIGH: random values."),
    "draws": (int, 20, "How many settings are drawn."),
    "draw_seed": (int, 0, "Seed of the drawn settings."),
    "ablate": (Texts, (), "FIELD or FIELD=VALUE: each switched off, one at a time, beside the full thing."),
    "lanes": (
        int | Literal["auto"],
        64,
        "Rows in one program at most; auto: as many as fit into half of the free memory.",
    ),
    "plan_only": (bool, False, "Show the plan and run nothing."),
}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__ + "\nusage: sweep.py RECIPE [--help]")
        return 0 if arguments else BAD_INPUT
    recipe = find(arguments[0])
    chosen = tyro.cli(
        options(recipe, OWN_OPTIONS),
        args=arguments[1:],
        prog=f"sweep.py {arguments[0]}",
        description=__doc__,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    named = seeds(chosen)
    recipe = replace(recipe, setup=chosen.setup, hyper=chosen.hyper)
    most = chosen.lanes if chosen.lanes != "auto" else 64
    if most < 1:
        raise ValueError(f"lanes={most} must be at least 1; usual: 64, or auto")
    from research.sweep import grid

    factors = [
        *grid.grid(recipe, chosen.grid),
        *grid.listed(recipe, chosen.list),
        *grid.drawn(recipe, chosen.draw, chosen.draws, chosen.draw_seed),
        *grid.ablated(recipe, chosen.ablate),
    ]
    if not factors:
        raise ValueError("a sweep varies a field; name one with --grid FIELD=a,b,c, --list, --draw or --ablate")
    cells = tuple(grid.combine(recipe, factors))
    configure(
        min(len(cells) * len(named), most), light=recipe.light, device_count=chosen.device_count, fast=chosen.fast
    )
    from research.sweep import lanes

    sweep = lanes.Sweep(recipe, cells, tuple(named), budget(recipe, chosen), most)
    if chosen.lanes == "auto":
        sweep = replace(sweep, width=lanes.fitting_width(sweep.lanes[0], chosen.device_count))
    console = Console()
    console.print(overview(sweep, chosen.device_count))
    if chosen.plan_only:
        return 0
    return run(sweep, chosen, console)


def overview(sweep: Any, device_count: int | None) -> Table:
    """What the sweep will do, and how long that should take by one chunk of each program."""
    from research.sweep import lanes

    first = {plan.setup: plan for plan in sweep.lanes}
    chunk = {setup: lanes.seconds_per_chunk(plan, device_count) for setup, plan in first.items()}
    seconds = sum(chunk[plan.setup] * plan.ticks / plan.budget.chunk for plan in sweep.lanes)
    table = Table(title=f"{sweep.name}: the plan", box=None, show_header=False, title_justify="left")
    rows = len(sweep.cells) * len(sweep.seeds)
    for name, value in (
        ("cells", f"{len(sweep.cells)}"),
        ("seeds", f"{len(sweep.seeds)}"),
        ("runs", f"{rows} of {sweep.budget.steps:,} {sweep.recipe.unit}"),
        ("programs to compile", f"{sweep.programs}"),
        ("lanes", f"{len(sweep.lanes)} of {', '.join(map(str, sorted({p.lane_width for p in sweep.lanes})))} rows"),
        ("training time", f"about {clock(seconds)} by one chunk's time, without evaluations"),
    ):
        table.add_row(name, value)
    return table


def run(sweep: Any, chosen: Any, console: Console) -> int:
    from research.report import collect, summary, tables
    from research.sweep import lanes

    names = ("fresh", "other_machine", "device_count", "save_seconds")
    failures = lanes.go(sweep, chosen.out, console, **{name: getattr(chosen, name) for name in names})
    folder: Path = chosen.out / sweep.name
    for plan in sweep.lanes:
        if (folder / plan.name / "metrics.jsonl").exists():
            summary.summarize(folder / plan.name)
    fields = sweep.manifest()["fields"]
    console.print(tables.comparison(collect.group(collect.entries([folder]), fields), fields))
    lost = list(lanes.diverged(folder, sweep))
    if lost:
        say("diverged", "; ".join(lost), "red")
    for failure in failures:
        say("failed", f"{failure.plan.name}: {failure.error}", "red")
    console.print(str(folder), soft_wrap=True)
    return MACHINE if lost or failures else 0


if __name__ == "__main__":
    command(main)
