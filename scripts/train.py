"""Trains a recipe over seeds and leaves a run folder: `python scripts/train.py ppo-cartpole --seeds 16`.

The same command again resumes. `python scripts/train.py RECIPE --help` documents every field; a path to your own
file that defines `recipe` works like a name.
"""

from typing import Any

import tyro
from rich.console import Console
from rich.table import Table

from research.catalog import RECIPES, find
from research.command import command, terminal
from research.engine import processes
from research.engine.placement import configure
from research.engine.plan import Plan, Row
from research.options import budget, options, seeds

OWN_OPTIONS = {
    "debug": (bool, False, "Run un-jitted and name the failing row, seed, hyper-parameters and tick; writes nothing."),
    "profile": (bool, False, "Write a jax.profiler trace of one chunk into the run folder."),
    "tensorboard": (bool, False, "Mirror the record as TensorBoard event files."),
    "coordinator": (
        str,
        "",
        "HOST:PORT of process 0, where several processes share the batch of one seed; auto under Slurm or on TPU pods.",
    ),
    "processes": (int | None, None, "How many processes there are."),
    "process": (int | None, None, "Which of them this is, from 0; process 0 alone writes the run folder."),
    "wandb": (bool, False, "Mirror the record to Weights & Biases; offline unless WANDB_MODE=online."),
}


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        list_recipes()
        return 0 if arguments else 2
    recipe = find(arguments[0])
    chosen = tyro.cli(
        options(recipe, OWN_OPTIONS),
        args=arguments[1:],
        prog=f"train.py {arguments[0]}",
        description=recipe.about,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    named = seeds(chosen)
    configure(len(named), light=recipe.light, device_count=chosen.device_count, fast=chosen.fast)
    if chosen.coordinator:
        terminal(stderr=True).print(f"waiting for the run's other processes at {chosen.coordinator}", style="dim")
    processes.join(chosen.coordinator, chosen.processes, chosen.process)
    rows = tuple(Row(seed, chosen.hyper) for seed in named)
    plan = Plan(recipe, chosen.setup, rows, budget(recipe, chosen))
    console = terminal()
    if chosen.debug:
        from research.engine.debug import debug

        debug(plan, console)
        console.print(f"no failure in {plan.ticks} ticks of {len(plan.rows)} rows")
        return 0
    return train(plan, chosen, console)


def train(plan: Plan, chosen: Any, console: Console) -> int:
    from research.engine.run import run
    from research.report import curves, summary, tables, viewers

    asked = [(chosen.tensorboard, viewers.TensorBoard), (chosen.wandb, viewers.WeightsAndBiases)]
    for wanted, viewer in asked:
        if wanted:
            viewer.check(chosen.seeds)  # refused before anything is compiled
    folder = run(
        plan,
        chosen.out,
        fresh=chosen.fresh,
        other_machine=chosen.other_machine,
        device_count=chosen.device_count,
        save_seconds=chosen.save_seconds,
        profile=chosen.profile,
        console=console,
        viewers=[viewer for wanted, viewer in asked if wanted],
    )
    if not processes.leads():
        return 0
    found = summary.summarize(folder)
    curves.draw(folder)
    console.print(tables.table(found))
    console.print(str(folder), soft_wrap=True)
    return 0


def list_recipes() -> None:
    table = Table("recipe", "what it does", title="python scripts/train.py RECIPE [--help]", box=None)
    for name in RECIPES:
        table.add_row(name, find(name).about.strip().splitlines()[0])
    table.add_row("./my_idea.py", "Your own file: anything that defines `recipe`.")
    terminal().print(table)


if __name__ == "__main__":
    command(main)
