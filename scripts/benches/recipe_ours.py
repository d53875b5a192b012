"""A recipe of the catalog as the engine runs it, without its evaluations; or, with --whole, a run from its start to its
last checkpoint. --setup, --hyper and --budget say in JSON what differs from the preset."""

import tempfile
from dataclasses import replace
from pathlib import Path

from ours import lane_of, serve_lane
from serve import options, serve_rate

from research.catalog import find
from research.engine.run import run


def main() -> None:
    chosen = options(
        recipe="", rows=1, devices=0, setup={}, hyper={}, budget={}, steps=0, repeats=1, whole=False, packages="jax"
    )
    recipe = find(chosen.recipe)
    budget = replace(recipe.budget, **chosen.budget)
    if chosen.steps:
        budget = replace(budget, steps=chosen.steps)
    lane = lane_of(
        recipe,
        replace(recipe.setup, **chosen.setup),
        budget,
        hyper=recipe.hyper._replace(**chosen.hyper),
        rows=chosen.rows,
        devices=chosen.devices or min(chosen.rows, chosen.cores),
    )
    packages = tuple(chosen.packages.split(","))
    if not chosen.whole:
        return serve_lane(lane, recipe.unit, packages=packages, repeats=chosen.repeats)

    def whole() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run(lane.plan, Path(folder), device_count=1)

    serve_rate(f"{recipe.unit}/s", chosen.rows * budget.steps, whole, packages)


if __name__ == "__main__":
    main()
