"""Runs a recipe over settings and seeds: `python scripts/sweep.py ppo-cartpole --grid clip=0.1,0.2 --seeds 10`.

--grid FIELD=a,b,c     every combination with the other grids
--list FIELD=a,b       several of these are paired by position
--draw FIELD=log:LOW:HIGH  (or uniform:LOW:HIGH) random values, as many as --draws says
--ablate FIELD[=VALUE] the full thing, and beside it each of these switched off (or set to VALUE) by itself

Fields of Hyper and seeds are rows of one program; each value of a Setup field compiles one. The same command again goes
on where it was stopped, and runs no finished lane twice. Exit code 1 says that a lane failed or a row diverged.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from research.catalog import find
from research.command import BAD_INPUT, MACHINE, command, say, terminal
from research.engine.fields import bare
from research.engine.files import METRICS
from research.engine.placement import configure
from research.engine.plan import Recipe
from research.engine.progress import clock
from research.options import budget, options, seeds
from research.report import collect, summary, tables
from research.sweep import grid, lanes, launch
from research.sweep.lanes import Sweep

FEW_CHUNKS = 20  # one of so many, timed for the plan, is 5 % of the work
Texts = tyro.conf.UseAppendAction[tuple[str, ...]]
OWN_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "grid": (Texts, (), "FIELD=a,b,c: every combination with the other grids."),
    "list": (Texts, (), "FIELD=a,b,c: several of these are paired by position."),
    "draw": (Texts, (), "FIELD=log:LOW:HIGH or FIELD=uniform:LOW:HIGH: random values."),
    "draws": (int, 20, "How many settings are drawn."),
    "draw_seed": (int, 0, "Seed of the drawn settings."),
    "ablate": (Texts, (), "FIELD or FIELD=VALUE: each switched off, one at a time, beside the full thing."),
    "search": (int, 0, "Let Optuna propose so many settings from --draw instead, and drop those that lag."),
    "sampler": (
        Literal["random", "tpe"],
        "random",
        "How a search proposes: at random, or by a model of what was found.",
    ),
    "prune": (Literal["none", "median", "halving"], "median", "Which settings a search drops between chunks."),
    "rungs": (int, 4, "How often a search compares settings, the end included."),
    "figure": (str, "", "What a search improves: an evaluation's figure, '-' in front where smaller is better."),
    "lanes": (
        int | Literal["auto"],
        64,
        "Rows in one program at most; auto: as many as fit into half of the free memory.",
    ),
    "plan_only": (bool, False, "Show the plan and run nothing."),
    "launch": (
        Literal["here", "local", "slurm"],
        "here",
        "Where lanes run: in this process, in processes of this machine, or as a Slurm job array.",
    ),
    "jobs": (int | None, None, "Lanes at a time with --launch local (default: one per core) or slurm (default: all)."),
    "slurm": (Texts, (), "KEY=VALUE for Slurm: partition=gpu, time=60 (minutes), gres=gpu:1, mem=16GB."),
    "lane": (int | None, None, "Run this lane alone and print no table: what --launch starts."),
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
    if chosen.search:
        return search(recipe, chosen, tuple(named), most)
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
    sweep = Sweep(recipe, cells, tuple(named), budget(recipe, chosen), most)
    if chosen.lanes == "auto":
        kinds = {plan.setup: plan for plan in sweep.lanes}.values()
        fitting = lambda: min(lanes.fitting_width(plan, chosen.device_count) for plan in kinds)
        sweep = replace(sweep, width=lanes.begun_width(sweep, chosen.out) or fitting())
    console = terminal()
    if chosen.lane is not None:
        return one_lane(sweep, chosen, console)
    console.print(overview(sweep, chosen))
    if chosen.plan_only:
        return 0
    return run(sweep, chosen, console, arguments)


def duration(sweep: Sweep, chosen: Any) -> str:
    """How long the lanes that are left should take."""
    if chosen.launch == "slurm":
        return "not known here: jobs run on other machines"
    try:
        waiting = sweep.lanes if chosen.fresh else lanes.unfinished(sweep, chosen.out / sweep.name)
        chunks = sum(plan.ticks // plan.budget.chunk for plan in waiting)
        few = chunks < FEW_CHUNKS * len({plan.setup for plan in waiting})
        if chosen.launch == "here" and not chosen.plan_only and few:
            why = f"to time one of {chunks} chunks beforehand would take too long (--plan-only does)"
            return f"shown with the progress; {why}"
        seconds = lanes.remaining_seconds(waiting, chosen.device_count)
    except Exception as error:  # it will stop its own lane, and no other
        return f"not known: {error!r}"
    return f"about {clock(seconds)} by one chunk's time, one lane after another, without evaluations"


def overview(sweep: Sweep, chosen: Any) -> Table:
    """What the sweep will do."""
    table = Table(title=f"{sweep.name}: the plan", box=None, show_header=False, title_justify="left")
    rows = len(sweep.cells) * len(sweep.seeds)
    for name, value in (
        ("cells", f"{len(sweep.cells)}"),
        ("seeds", f"{len(sweep.seeds)}"),
        ("runs", f"{rows} of {sweep.budget.steps:,} {sweep.recipe.unit}"),
        ("programs to compile", f"{sweep.programs}"),
        ("lanes", f"{len(sweep.lanes)} of {', '.join(map(str, sorted({p.lane_width for p in sweep.lanes})))} rows"),
        ("training time", duration(sweep, chosen)),
    ):
        table.add_row(name, value)
    return table


def search(recipe: Recipe, chosen: Any, seeds: tuple[int, ...], most: int) -> int:
    if chosen.grid or chosen.list or chosen.ablate:
        raise ValueError("a search proposes its settings from --draw; leave out --grid, --list and --ablate")
    unused = ("plan_only", "fresh", "other_machine", "jobs", "slurm", "lane")
    named = [f"--{name.replace('_', '-')}" for name in unused if getattr(chosen, name) not in (False, None, ())]
    if named or chosen.launch != "here" or chosen.lanes == "auto":
        raise ValueError(
            f"a search runs here, in lanes of a width that you name: leave out {', '.join(named) or '--launch, --lanes auto'}"
        )
    if not chosen.figure and not recipe.best:
        raise ValueError("a search needs to know what is better; say --figure NAME, or --figure=-NAME where smaller is")
    configure(most, light=recipe.light, device_count=chosen.device_count, fast=chosen.fast)
    from research.sweep import search as searching

    space = searching.distributions(recipe, chosen.draw)
    found = searching.Search(
        recipe,
        space,
        chosen.search,
        seeds,
        budget(recipe, chosen),
        chosen.figure or recipe.best,
        chosen.sampler,
        chosen.prune,
        most,
        chosen.rungs,
        chosen.draw_seed,
    )
    console = terminal()
    console.print(f"{found.name}: {found.trials} settings x {len(seeds)} seeds, {found.batch} settings at a time")
    result = searching.run_search(
        found, chosen.out, lambda text: console.print(text, highlight=False), chosen.device_count
    )
    table = Table(*map(bare, space), found.figure.removeprefix("-"), title="the ten best settings")
    for outcome in [x for x in result.outcomes if x.complete][:10]:
        table.add_row(*[f"{x:.4g}" for x in outcome.params.values()], f"{outcome.scores[-1]:.5g}")
    console.print(table)
    console.print(
        f"{result.ticks:,.0f} ticks of rows, {result.ticks / result.ticks_unpruned:.0%} of the same without pruning"
    )
    if result.outcomes[0].complete:
        # What was selected looks better than it is, until seeds that did not select it say the same.
        told = searching.confirmed(found, result.outcomes[0])
        console.print(f"selected on these seeds; confirm it on others, with train.py and your other options:\n{told}")
    console.print(str(chosen.out / found.name), soft_wrap=True)
    return 0


def how(chosen: Any) -> dict[str, Any]:
    """What of the options concerns each lane's run."""
    return {name: getattr(chosen, name) for name in ("fresh", "other_machine", "device_count", "save_seconds")}


def one_lane(sweep: Sweep, chosen: Any, console: Console) -> int:
    launch.stop_with_launcher()
    if not 0 <= chosen.lane < len(sweep.lanes):
        raise ValueError(f"lane={chosen.lane} must be at least 0 and below the {len(sweep.lanes)} lanes of this sweep")
    return (
        MACHINE if lanes.run_lanes(sweep, chosen.out, console, lambda lane: lane == chosen.lane, **how(chosen)) else 0
    )


def launched(sweep: Sweep, chosen: Any, console: Console, arguments: list[str]) -> list[tuple[str, str]]:
    """Runs the lanes as jobs -> (lane's name, what is known) of those that failed."""
    if chosen.fresh:
        raise ValueError(
            "--fresh would start a job over each time it is queued again; use --launch here, or another --out"
        )
    lanes.open_folder(sweep, chosen.out)
    arguments = [*arguments, "--lanes", str(sweep.width)]  # what auto found here, and not on each machine
    commands = [launch.command(Path(__file__), arguments, lane) for lane in range(len(sweep.lanes))]
    logs = chosen.out / sweep.name / "jobs"
    say_line = lambda text: console.print(text, highlight=False)
    if chosen.launch == "local":
        codes = launch.local(commands, chosen.jobs or min(len(os.sched_getaffinity(0)), len(commands)), logs, say_line)
    else:
        codes = launch.slurm(commands, chosen.slurm, chosen.jobs, logs, say_line)
    return [(plan.name, f"exit code {code}; see {logs}") for plan, code in zip(sweep.lanes, codes, strict=True) if code]


def run(sweep: Sweep, chosen: Any, console: Console, arguments: list[str]) -> int:
    if chosen.launch == "here":
        failures = [(f.plan.name, str(f.error)) for f in lanes.run_lanes(sweep, chosen.out, console, **how(chosen))]
    else:
        failures = launched(sweep, chosen, console, arguments)
    folder: Path = chosen.out / sweep.name
    known = {name for name, _ in failures}
    failures += [(plan.name, "not complete") for plan in lanes.unfinished(sweep, folder) if plan.name not in known]
    for name, what in failures:
        say("failed", f"{name}: {what}; see {folder}", "red")
    if len(failures) == len(sweep.lanes):
        return MACHINE
    for plan in sweep.lanes:
        if (folder / plan.name / METRICS).exists():
            summary.summarize(folder / plan.name)
    rows = collect.entries([folder])
    console.print(tables.comparison(collect.group(rows, sweep.fields)))
    lost = "; ".join(lanes.diverged(sweep, rows))
    if lost:
        say("diverged", lost, "red")
    console.print(str(folder), soft_wrap=True)
    return MACHINE if lost or failures else 0


if __name__ == "__main__":
    command(main)
