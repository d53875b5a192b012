"""What a run has saved, read back for one row: its plan from the manifest, its state from a checkpoint. Writes nothing."""

from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import jax

from research.engine.best import saved_tree
from research.engine.checkpoint import Checkpoints
from research.engine.chunk import alive
from research.engine.experiment import Inputs
from research.engine.fields import described
from research.engine.files import read_manifest
from research.engine.lane import Lane
from research.engine.placement import Placement
from research.engine.plan import Budget, Plan, Recipe, Row


class Saved(NamedTuple):
    """One row's state as NumPy arrays, the tick after which it was saved (or, of a best state, evaluated), and what its
    recipe reads now."""

    state: Any
    tick: int
    inputs: Inputs


def plan_of(recipe: Recipe, manifest: dict[str, Any]) -> Plan:
    """The plan that a manifest tells of. Raises ValueError where the recipe no longer has its fields or values."""
    setup, rows = manifest["setup"], manifest["rows"]
    now = {field.name for field in fields(recipe.setup)} | set(recipe.hyper._fields)
    lost = sorted(now ^ {*setup, *rows[0]["hyper"]})
    if recipe.name != manifest["recipe"] or lost:
        why = f"only one of the two has {', '.join(lost)}" if lost else "its name is another"
        raise ValueError(
            f"this is a run of recipe {manifest['recipe']!r}, and {recipe.name!r} as it is now does not fit it: {why}; use "
            "the code that made the run, or name the recipe's file"
        )
    hints = get_type_hints(type(recipe.setup))
    values = {name: settled(value, hints[name]) for name, value in setup.items()}
    hypers = [Row(row["seed"], type(recipe.hyper)(**row["hyper"])) for row in rows]
    return Plan(recipe, type(recipe.setup)(**values), tuple(hypers), Budget(**manifest["budget"]))


def settled(value: Any, hint: Any) -> Any:
    """A Setup's value as it was before JSON, which knows neither tuples nor paths; `hint` is its field's type."""
    if isinstance(value, list):
        return tuple(settled(x, None) for x in value)
    return Path(value) if Path in (hint, *get_args(hint)) and isinstance(value, str) else value


def plan_in(folder: Path, recipes: Iterable[Recipe], field: str) -> Plan:
    """The plan of the run that a setup's `field` names. Raises ValueError unless it is one of these recipes'."""
    manifest, known = read_manifest(folder), {recipe.name: recipe for recipe in recipes}
    if manifest["recipe"] not in known:
        raise ValueError(
            f"{field}={str(folder)!r} is a run of {manifest['recipe']!r}, not of {', '.join(known)}; give one of these"
        )
    return plan_of(known[manifest["recipe"]], manifest)


def living_state(plan: Plan, folder: Path, field: str, best: bool = False) -> Saved:
    """The state of such a run's first row. Raises ValueError where there is none, or where the run diverged."""
    try:
        found = state_of(plan, folder, row=0, best=best)
    except ValueError as error:
        raise ValueError(f"{field}={str(folder)!r}, whose data must still be there: {error}") from None
    if not alive(found.state):
        raise ValueError(f"{field}={str(folder)!r} holds a NaN: that run diverged; use another one")
    return found


def row_of(plan: Plan, seed: int | None, row: int | None) -> int:
    """The row of a seed, or the row that is named by its place, from 0; the first where neither is.

    Raises ValueError where there is none, or where several rows have that seed.
    """
    seeds = [r.seed for r in plan.rows]
    if row is not None:
        if not 0 <= row < len(seeds) or seed not in (None, seeds[row]):
            raise ValueError(f"row={row} (seed={seed}) is not one of the run's {len(seeds)} rows; their seeds: {seeds}")
        return row
    found = [i for i, s in enumerate(seeds) if seed is None or s == seed]
    if not found:
        raise ValueError(
            f"seed={seed} is not one of this run's; use one of {', '.join(map(str, dict.fromkeys(seeds)))}"
        )
    if seed is not None and len(found) > 1:
        told = "; ".join(f"{i}: {described(plan.rows[i].hyper._asdict())}" for i in found)
        raise ValueError(f"seed={seed} stands in several rows of this run, choose one with --row ({told})")
    return found[0]


def state_of(plan: Plan, folder: Path, row: int, best: bool = False) -> Saved:
    """The state of a row in a run folder's last checkpoint, or the best one that is kept there.

    Raises ValueError where there is none, Damaged where it cannot be read.
    """
    if best and plan.recipe.best is None:
        raise ValueError(
            f"recipe {plan.recipe.name!r} keeps no best state, only the last; leave --best out, or train with a recipe that "
            "names the figure: Recipe(..., best='NAME')"
        )
    tick, tree, inputs = last_tree(plan, folder)
    chosen, tick = (tree["best"]["state"], int(tree["best"]["tick"][row])) if best else (tree["state"], tick)
    if best and not tick:
        raise ValueError(f"run folder {folder} has not been evaluated yet, so that none of its states is the best")
    return Saved(jax.tree.map(lambda x: x[row], chosen), tick, inputs)


def last_tree(plan: Plan, folder: Path) -> tuple[int, Any, Inputs]:
    """The last checkpoint's tick and tree, and what the recipe reads, which gives the tree its shapes."""
    none = f"run folder {folder} holds no checkpoint; one is saved every half minute and at the end: wait, or resume the run"
    if not (folder / "checkpoints").is_dir():
        raise ValueError(none)
    inputs = plan.recipe.load(plan.setup)
    lane = Lane(plan, inputs, Placement.choose(len(plan.rows), 1))
    checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
    try:
        tick = checkpoints.latest()
        if tick is None:
            raise ValueError(none)
        return tick, checkpoints.restore(tick, saved_tree(plan, lane.template(), None)), inputs
    finally:
        checkpoints.close()
