"""Runs of scripts/train.py that are killed, beside the same one that was not. An `out` folder holds one run."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from research.engine.files import read_manifest
from research.engine.plan import Recipe
from research.engine.saved import last_tree, plan_of

ROOT = Path(__file__).resolve().parent.parent


def command(arguments: Sequence[Any], out: Path) -> list[str]:
    """A command that saves after every chunk."""
    script = ROOT / "scripts" / "train.py"
    every = [script, *arguments, "--save-seconds", 0, "--device-count", 1, "--out", out]
    return [sys.executable, *map(str, every)]


def start(arguments: Sequence[Any], out: Path, **how: Any) -> subprocess.Popen:
    return subprocess.Popen(command(arguments, out), cwd=ROOT, text=True, **how)


def recorded(out: Path) -> int:
    """Lines of metrics so far."""
    return sum(path.read_bytes().count(b"\n") for path in out.glob("*/metrics.jsonl"))


def wait_for_lines(process: subprocess.Popen, out: Path, at_least: int) -> None:
    """Until there are so many lines of metrics, or the run has ended."""
    while process.poll() is None and recorded(out) < at_least:
        time.sleep(0.005)


def kill(process: subprocess.Popen) -> None:
    """kill -9, of a run that has not ended."""
    assert process.poll() is None, "the run ended before it could be killed; make it longer"
    process.kill()
    process.wait()


def assert_same_run(recipe: Recipe, whole: Path, killed: Path, lines: int) -> None:
    """Both run folders have the same record, of so many lines of metrics, and the same bits in every row's state."""
    assert recorded(whole.parent) == lines, "no line doubled, none missing"
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    plan = plan_of(recipe, read_manifest(whole))
    (tick, tree, _), (other_tick, other, _) = (last_tree(plan, folder) for folder in (whole, killed))
    assert tick == other_tick == plan.ticks
    for x, y in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        assert x.tobytes() == y.tobytes()


def assert_ends_alike(recipe: Recipe, arguments: list[str], home: Path, moments: tuple[int, ...], lines: int) -> None:
    """Runs train.py with these arguments once to its end, and once more, killed as soon as there are so many lines of
    metrics: both end alike, with `lines` lines."""
    how = {"env": os.environ | {"XDG_CACHE_HOME": str(home / "cache")}, "stdout": subprocess.DEVNULL}
    whole, killed = home / "whole", home / "killed"
    assert start(arguments, whole, **how).wait() == 0
    for moment in moments:
        process = start(arguments, killed, **how)
        wait_for_lines(process, killed, moment)
        kill(process)
    assert start(arguments, killed, **how).wait() == 0
    assert_same_run(recipe, next(whole.iterdir()), next(killed.iterdir()), lines)
