"""What the machinery costs a single run: the same PPO step in the engine's chunks with its record, and in a plain scan.

`--by engine` compiles with the engine, takes chunks, and appends every window to metrics.jsonl; `--by hand` is the
loop one would write without it: a jitted scan over all ticks, one key a tick, metrics stacked and fetched at the end.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
from serve import serve

from research.engine.experiment import Tick
from research.engine.files import METRICS, TIMINGS
from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Plan, Row
from research.engine.record import Record, metric_lines
from research.recipes.ppo import CARTPOLE


def by_engine(plan: Plan) -> Callable[[], object]:
    lane = Lane(plan, CARTPOLE.load(plan.setup), Placement.choose(1))
    record = Record(Path(tempfile.mkdtemp()), 0, plan)
    every, chunk = plan.budget.record_every, plan.budget.chunk

    def measure() -> float:
        state = lane.start()
        begin = time.perf_counter()
        for tick in range(0, plan.ticks, chunk):
            state, metrics = lane.advance(state, tick)
            ticks = np.arange(tick + every, tick + chunk + 1, every)
            record.append(METRICS, metric_lines(lane.placement.get_rows(metrics), ticks, 1))
            record.append(TIMINGS, [{"tick": tick + chunk, "seconds": 0.0}])
        return time.perf_counter() - begin

    return measure


def by_hand(plan: Plan) -> Callable[[], object]:
    import jax
    import jax.numpy as jnp

    experiment = CARTPOLE.make(plan.setup)
    hyper = type(plan.rows[0].hyper)(*map(jnp.float32, plan.rows[0].hyper))

    @jax.jit
    def whole(state, key):
        def take(state, index):
            return experiment.step(state, hyper, (), Tick(index, jnp.int32(plan.ticks), jax.random.fold_in(key, index)))

        return jax.lax.scan(take, state, jnp.arange(plan.ticks))

    start = jax.jit(lambda key: experiment.init(key, hyper, ()))

    def measure() -> float:
        state = jax.block_until_ready(start(jax.random.key(0)))
        begin = time.perf_counter()
        jax.device_get(whole(state, jax.random.key(1))[1])
        return time.perf_counter() - begin

    return measure


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=("engine", "hand"))
    parser.add_argument("--steps", type=int, default=512_000)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    configure(1, light=True)
    setup = replace(CARTPOLE.setup, rollout_length=128)
    plan = Plan(CARTPOLE, setup, (Row(0, CARTPOLE.hyper),), replace(CARTPOLE.budget, steps=options.steps))
    measure = {"engine": by_engine, "hand": by_hand}[options.by](plan)
    versions = {name: version(name) for name in ("gymnax", "jax")}
    serve(lambda: {"rate": options.steps / measure(), "unit": "environment steps/s", "versions": versions})


if __name__ == "__main__":
    main()
