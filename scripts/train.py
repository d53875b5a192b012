"""Trains a recipe over seeds and leaves a run folder: `python scripts/train.py ppo-cartpole --seeds 16`.

The same command again resumes. `python scripts/train.py RECIPE --help` documents every field; a path to your own
file that defines `recipe` works like a name.
"""

from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.table import Table

from research.catalog import RECIPES, find
from research.command import command
from research.engine.placement import configure
from research.engine.plan import Plan, Recipe, Row

HELP = tyro.conf.arg


def options(recipe: Recipe) -> Any:
    """A dataclass of the recipe's own fields and what every run has."""
    budget, unit = recipe.budget, recipe.unit
    fields = {
        "setup": (type(recipe.setup), recipe.setup, None),
        "hyper": (type(recipe.hyper), recipe.hyper, None),
        "seeds": (int, 1, "How many seeds; each is a row of one program."),
        "first_seed": (int, 0, "The first seed; the others count up from it."),
        "steps": (int, budget.steps, f"Length of the run per seed ({unit})."),
        "chunk": (int, budget.chunk, "Ticks between two looks at the host: progress, saving, signals."),
        "record_every": (int, budget.record_every, "Ticks folded into one line of metrics.jsonl."),
        "evaluate_every": (int, budget.evaluate_every, "Ticks between evaluations."),
        "out": (Path, Path("runs"), "Folder of run folders."),
        "fresh": (bool, False, "Start over; an older folder of the same run is set aside."),
        "other_machine": (bool, False, "Resume although devices or versions differ; equal bits are not promised then."),
        "save_seconds": (float, 30.0, "A checkpoint at most this often (s); 0 saves after every chunk."),
        "device_count": (int | None, None, "Devices to use; one seed on several spreads its batch."),
        "fast": (bool, False, "Lift determinism on GPU."),
        "debug": (
            bool,
            False,
            "Run un-jitted and name the failing row, seed, hyper-parameters and tick; writes nothing.",
        ),
        "profile": (bool, False, "Write a jax.profiler trace of one chunk into the run folder."),
        "tensorboard": (bool, False, "Mirror the record as TensorBoard event files."),
        "wandb": (bool, False, "Mirror the record to Weights & Biases (WANDB_MODE=offline works)."),
    }
    return make_dataclass(
        "Options",
        [
            (name, Annotated[kind, HELP(help=text)] if text else kind, field(default=default))
            for name, (kind, default, text) in fields.items()
        ],
        frozen=True,
    )


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        list_recipes()
        return 0 if arguments else 2
    recipe = find(arguments[0])
    chosen = tyro.cli(
        options(recipe),
        args=arguments[1:],
        prog=f"train.py {arguments[0]}",
        description=recipe.about,
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if chosen.seeds < 1:
        raise ValueError(f"seeds={chosen.seeds} must be at least 1; usual: 5 to 16")
    configure(chosen.seeds, light=recipe.light, device_count=chosen.device_count, fast=chosen.fast)
    budget = replace(
        recipe.budget,
        steps=chosen.steps,
        chunk=chosen.chunk,
        record_every=chosen.record_every,
        evaluate_every=chosen.evaluate_every,
    )
    seeds = range(chosen.first_seed, chosen.first_seed + chosen.seeds)
    plan = Plan(recipe, chosen.setup, tuple(Row(seed, chosen.hyper) for seed in seeds), budget)
    console = Console()
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
    Console().print(table)


if __name__ == "__main__":
    command(main)
