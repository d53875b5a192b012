"""What the machinery costs a single run: the same PPO step in the engine's chunks with its record, and in a plain scan.

`--by engine` compiles with the engine, takes chunks, and appends every window to metrics.jsonl; `--by hand` is the
loop one would write without it: a jitted scan over all ticks, one key a tick, metrics stacked and fetched at the end.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from ours import lane_of
from serve import options, serve_rate

from research.engine.experiment import Tick
from research.engine.files import METRICS, TIMINGS
from research.engine.lane import Lane
from research.engine.record import Record, metric_lines
from research.recipes.ppo import CARTPOLE


def by_engine(lane: Lane) -> Callable[[], float]:
    plan, record = lane.plan, Record(Path(tempfile.mkdtemp()), 0, lane.plan)
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


def by_hand(lane: Lane) -> Callable[[], float]:
    plan, experiment = lane.plan, lane.experiment
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
    chosen = options(by=("engine", "hand"), steps=512_000)
    setup = replace(CARTPOLE.setup, rollout_length=128)
    lane = lane_of(CARTPOLE, setup, replace(CARTPOLE.budget, steps=chosen.steps))
    measure = {"engine": by_engine, "hand": by_hand}[chosen.by](lane)
    serve_rate("environment steps/s", chosen.steps, measure, ("gymnax", "jax"))


if __name__ == "__main__":
    main()
