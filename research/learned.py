"""What a run has learned, for scripts that use it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from rich.console import Console

from research.catalog import find
from research.engine import saved
from research.engine.chunk import alive
from research.engine.experiment import Inputs
from research.engine.files import read_manifest
from research.engine.manifest import data_hash
from research.engine.placement import configure
from research.engine.plan import Plan
from research.engine.source import source_hash


@dataclass(frozen=True)
class OfRun:
    """Options of scripts that use what a run has learned."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    seed: int | None = None
    """Which of the run's seeds; by default the first."""
    row: int | None = None
    """Which of the run's rows, from 0: a sweep has rows of the same seed."""
    best: bool = False
    """Use the best state instead of the last, where the recipe keeps it."""
    recipe: str = ""
    """The recipe's name or file, where it is another than when the run began."""


class Learned(NamedTuple):
    """One row's state after a tick, as NumPy arrays, and what its recipe reads now"""

    plan: Plan
    row: int
    state: Any
    tick: int
    inputs: Inputs


def inputs_of(run: Learned, folder: Path) -> Inputs:
    """What a run has read. Raises ValueError where that has changed since."""
    if data_hash(run.inputs) != read_manifest(folder)["data"]:
        raise ValueError(
            f"{folder} was trained on other data than there are now: what it read, or the code that reads it, has changed; "
            "bring that back, or train again"
        )
    return run.inputs


def learned(chosen: OfRun, console: Console, fits: Callable[[Plan], Any] = lambda plan: None) -> Learned:
    """What a row has learned, for a process that has not used JAX yet; tells where the code has changed since.

    fits  raises ValueError for a plan, of that row alone, that a script has no use for, before a state is read
    Raises ValueError where there is no such run, row or state, or where the state holds a NaN."""
    manifest = read_manifest(chosen.folder)
    file = manifest.get("file")
    if file and not chosen.recipe and not Path(file).is_file():
        raise ValueError(f"the recipe's file {file!r} is no longer there; say where it is: --recipe PATH.py")
    recipe = find(chosen.recipe or file or manifest["recipe"])
    configure(1, light=recipe.light, device_count=1)
    plan = saved.plan_of(recipe, manifest)
    row = saved.row_of(plan, chosen.seed, chosen.row)
    fits(replace(plan, rows=(plan.rows[row],)))
    state, tick, inputs = saved.state_of(plan, chosen.folder, row, chosen.best)
    if not alive(state):
        raise ValueError(
            f"the state of seed {plan.rows[row].seed} holds a NaN at tick {tick}: that row diverged; use another one"
        )
    if source_hash(recipe.make, recipe.file) != manifest.get("source"):
        told = "the code has changed since this run began: what was learned then is used by the code as it is now"
        console.print(told, style="yellow", soft_wrap=True)
    return Learned(plan, row, state, tick, inputs)


def of_kind(kind: type, told: str) -> Callable[[Plan], None]:
    """For `learned`: raises ValueError for a plan whose Setup is not of that kind, which is `told` in words."""

    def fits(plan: Plan) -> None:
        if not isinstance(plan.setup, kind):
            raise ValueError(f"this is a run of {plan.recipe.name!r}, and no {told}; give the folder of one")

    return fits
