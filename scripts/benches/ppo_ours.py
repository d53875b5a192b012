"""Our PPO as the engine runs it, 128 steps and 4 epochs a tick. CartPole: 4 environments, 4 minibatches, 64-64 tanh;
Breakout: 64 environments, 8 minibatches, 64-64 ReLU."""

import argparse
import time
from dataclasses import replace
from importlib.metadata import version

from serve import serve

from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Plan, Row
from research.recipes.ppo import BREAKOUT, CARTPOLE


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=512_000)
    parser.add_argument("--environment", choices=["CartPole-v1", "Breakout-MinAtar"], default="CartPole-v1")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    configure(options.seeds, light=True, device_count=min(options.seeds, options.cores))
    recipe = CARTPOLE if options.environment == "CartPole-v1" else BREAKOUT
    setup = replace(recipe.setup, rollout_length=128)
    rows = tuple(Row(seed, recipe.hyper) for seed in range(options.seeds))
    plan = Plan(recipe, setup, rows, replace(recipe.budget, steps=options.steps))
    lane = Lane(plan, recipe.load(setup), Placement.choose(options.seeds))
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
