"""Peak memory of DQN on Breakout-MinAtar by its replay's capacity, beside the ring's own bytes.

    python scripts/benches/replay_memory.py --capacity 1000000

Each figure is of a process of its own; what one with a small replay needs is taken off. `--by run` goes through the whole
engine with its record and checkpoints, `--by lane` through its chunks alone.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import jax

from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Budget, Plan, Row
from research.engine.run import run
from research.recipes.dqn import DQN

SMALL, CHUNK = 10_000, 100


def plan_of(capacity: int, environments: int) -> Plan:
    """Four chunks of a replay that begins to learn in the first."""
    setup = replace(DQN.setup, environment="Breakout-MinAtar", environments=environments, rollout_length=10)
    setup = replace(setup, capacity=capacity, learning_starts=1000, widths=(64,))
    ticks = 4 * CHUNK
    budget = Budget(ticks * DQN.steps_per_tick(setup), chunk=CHUNK, record_every=CHUNK, evaluate_every=ticks)
    return Plan(DQN, setup, (Row(0, DQN.hyper),), budget)


def measure(capacity: int, environments: int, by: str) -> dict[str, int]:
    """Bytes: peak of this process, and what the ring and the rest of the replay should take."""
    configure(1, light=True)
    plan = plan_of(capacity, environments)
    lane = Lane(plan, DQN.load(plan.setup), Placement.choose(1))
    if by == "lane":
        state = lane.start()
        for tick in range(0, plan.ticks, CHUNK):
            state, _ = lane.advance(state, tick)
        jax.block_until_ready(state)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(plan, Path(folder), device_count=1)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"peak": peak, "ring": sum(x.nbytes for x in jax.tree.leaves(lane.template().ring))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--capacity", type=int, default=1_000_000)
    parser.add_argument("--environments", type=int, default=1)
    parser.add_argument("--by", choices=["lane", "run"], default="lane")
    parser.add_argument("--alone", action="store_true", help="measure this process and print JSON")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(measure(options.capacity, options.environments, options.by)))
        return
    found, same = [], ["--by", options.by, "--environments", str(options.environments)]
    for capacity in (SMALL, options.capacity):
        command = [sys.executable, __file__, "--alone", *same, "--capacity", str(capacity)]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found.append(json.loads(output.splitlines()[-1]))
        print(
            f"{capacity:>9,} transitions: peak {found[-1]['peak'] / 1e6:,.0f} MB, ring {found[-1]['ring'] / 1e6:,.1f} MB"
        )
    small, large = found
    grown = {name: large[name] - small[name] for name in small}
    ratio = grown["peak"] / grown["ring"]
    print(f"difference: peak {grown['peak'] / 1e6:,.0f} MB, ring {grown['ring'] / 1e6:,.1f} MB, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
