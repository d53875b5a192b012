"""Our PPO on CartPole-v1 as the engine runs it: 4 environments x 128 steps, 4 epochs x 4 minibatches, 64-64 tanh."""

import argparse
import time
from dataclasses import replace
from importlib.metadata import version

from serve import serve

from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Plan, Row
from research.recipes.ppo import CARTPOLE


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=512_000)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    configure(options.seeds, light=True, device_count=min(options.seeds, options.cores))
    setup = replace(CARTPOLE.setup, rollout_length=128)
    rows = tuple(Row(seed, CARTPOLE.hyper) for seed in range(options.seeds))
    plan = Plan(CARTPOLE, setup, rows, replace(CARTPOLE.budget, steps=options.steps))
    lane = Lane(plan, CARTPOLE.load(setup), Placement.choose(options.seeds))
    lane.compile(lane.start())

    def measure() -> dict[str, object]:
        state = lane.start()
        begin = time.perf_counter()
        for tick in range(0, plan.ticks, plan.budget.chunk):
            state, metrics = lane.advance(state, tick)
            lane.placement.get_rows(metrics)
        rate = options.seeds * options.steps / (time.perf_counter() - begin)
        versions = {name: version(name) for name in ("gymnax", "jax")}
        return {"rate": rate, "unit": "environment steps/s", "seeds": options.seeds, "versions": versions}

    serve(measure)


if __name__ == "__main__":
    main()
