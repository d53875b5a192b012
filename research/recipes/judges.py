"""Classifiers that judge generated images: one for each set of images is shipped, and any run of `classify` may be one.

The shipped ones were trained by

    python scripts/train.py classify --setup.net lenet [--setup.data mnist]
    python scripts/train.py classify-cifar10 --setup.net lenet
    python -m research.recipes.judges runs/classify-...

the last of which keeps their weights, rounded to 16 bits, in research/recipes/weights/.
"""

import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

from research.engine import saved
from research.gan import images
from research.gan.judge import Judge, judge_of
from research.recipes.classify import RECIPES

WEIGHTS = Path(__file__).with_name("weights")


def judge_for(setup: images.Setup) -> Judge:
    """The judge that a setup names. Raises ValueError where there is none, or where it does not fit the images."""
    if setup.judge:
        return of_run(Path(setup.judge).expanduser(), setup)
    if setup.judge_net != "lenet":
        raise ValueError(
            f"judge_net={setup.judge_net!r} is the net of no judge that is shipped: these are 'lenet'; leave it out, or give "
            "--setup.judge the folder of a run of classify with that net"
        )
    with np.load(WEIGHTS / f"{setup.data}-judge.npz") as stored:
        arrays = {name: stored[name].astype(np.float32) for name in stored.files}
    mean, std = arrays.pop("mean"), arrays.pop("std")
    return judge_of(nested(arrays), mean, std)


def of_run(folder: Path, setup: images.Setup) -> Judge:
    """The classifier that a run has trained. Raises ValueError for a run of another kind, other images or another net."""
    plan = saved.plan_in(folder, RECIPES, "judge")
    for name, found, asked in (
        ("data", plan.setup.data, setup.data),
        ("judge_net", plan.setup.net, setup.judge_net),
    ):
        if found != asked:
            raise ValueError(
                f"judge={str(folder)!r} was trained with {found!r} and {name}={asked!r} is asked for; give "
                f"--setup.{name.replace('_', '-')} {found}, or another run"
            )
    state, _, inputs = saved.living_state(plan, folder, "judge")
    return judge_of(state.params, inputs.data.mean, inputs.data.std)


def nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """{'a/b': x} -> {'a': {'b': x}}"""
    whole: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, leaf = name.split("/")
        place = whole
        for part in path:
            place = place.setdefault(part, {})
        place[leaf] = array
    return whole


def keep(folder: Path) -> Path:
    """Writes the judge that a run has trained into WEIGHTS."""
    plan = saved.plan_in(folder, RECIPES, "judge")
    state, _, inputs = saved.living_state(plan, folder, "judge")
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    arrays: dict[str, Any] = {"/".join(key.key for key in path): leaf.astype(np.float16) for path, leaf in leaves}
    path = WEIGHTS / f"{plan.setup.data}-judge.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, mean=inputs.data.mean, std=inputs.data.std, **arrays)
    return path


if __name__ == "__main__":
    print(keep(Path(sys.argv[1])))
