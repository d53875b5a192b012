"""4 learning rates x 3 clip ranges x 10 seeds of PPO on CartPole, 100,000 steps each: as a sweep, as calls, as processes.

A sweep is measured whole: 120 runs by `scripts/sweep.py`, from command to table. Calls of `run` in one process and
processes of `scripts/train.py`, two at a time, are measured on 12 of the 120 and counted as rates.
"""

import itertools
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from serve import options, serve_rate

SCRIPTS = Path(__file__).resolve().parent.parent
RATES, CLIPS, STEPS = (1e-4, 2.5e-4, 5e-4, 1e-3), (0.1, 0.2, 0.3), 100_000


def as_sweep(out: str) -> None:
    grids = [("learning_rate", RATES), ("clip", CLIPS)]
    words = [word for name, values in grids for word in ("--grid", f"{name}={','.join(map(str, values))}")]
    run("sweep.py", *words, "--seeds", "10", "--lanes", "120", "--out", out)


def as_processes(out: str) -> None:
    def train(rate: float, clip: float) -> None:
        run("train.py", "--hyper.learning-rate", str(rate), "--hyper.clip", str(clip), "--out", out)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda setting: train(*setting), itertools.product(RATES, CLIPS)))


def run(script: str, *words: str) -> None:
    command = [sys.executable, str(SCRIPTS / script), "ppo-cartpole", "--steps", str(STEPS), *words]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ)


def as_calls(out: str) -> None:
    from research.engine.placement import configure
    from research.engine.plan import Plan, Row
    from research.engine.run import run as run_plan
    from research.recipes.ppo import CARTPOLE

    configure(1, light=True)
    for rate, clip in itertools.product(RATES, CLIPS):
        row = Row(0, CARTPOLE.hyper._replace(learning_rate=rate, clip=clip))
        run_plan(Plan(CARTPOLE, CARTPOLE.setup, (row,), replace(CARTPOLE.budget, steps=STEPS)), Path(out))


def main() -> None:
    chosen = options(by=("sweep", "calls", "processes"))
    go, runs = {"sweep": (as_sweep, 120), "calls": (as_calls, 12), "processes": (as_processes, 12)}[chosen.by]

    def work() -> None:
        with tempfile.TemporaryDirectory() as out:
            go(out)

    serve_rate("runs/h", 3600 * runs, work)


if __name__ == "__main__":
    main()
