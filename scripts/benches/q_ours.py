"""Our DQN or PQN as the engine runs it, with the settings of rejax's configs/gymnax/cartpole.yaml."""

import argparse
import time
from dataclasses import replace
from importlib.metadata import version

from serve import serve

from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Budget, Plan, Row
from research.recipes.dqn import DQN
from research.recipes.pqn import PQN

SWITCHES = {"double": True, "dueling": True, "widths": (64, 64), "activation": "swish"}
SETTINGS = {
    "dqn": (
        DQN,
        {"environments": 10, "rollout_length": 1, "updates": 5, "batch_size": 100, "learning_starts": 5000}
        | {"target_every": 1}
        | SWITCHES,
        {"learning_rate": 1e-3, "target_mixing": 0.02},
        Budget(20_000, chunk=100, record_every=100, evaluate_every=2000),
    ),
    "pqn": (
        PQN,
        {"environments": 16, "rollout_length": 128, "epochs": 5, "minibatches": 16, "widths": (64, 64)},
        {"learning_rate": 3e-4, "q_lambda": 0.9},
        Budget(131_072, chunk=16, record_every=16, evaluate_every=64),
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--method", choices=list(SETTINGS), required=True)
    parser.add_argument("--environment", default="CartPole-v1")
    parser.add_argument("--steps", type=int, help="of a repetition; by default as many as take a second or two")
    parser.add_argument("--capacity", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    recipe, fields, hyper, budget = SETTINGS[options.method]
    capacity = {"capacity": options.capacity} if options.method == "dqn" else {}
    budget = replace(budget, steps=options.steps or budget.steps)
    configure(1, light=True)
    setup = replace(recipe.setup, environment=options.environment, anneal_learning_rate=False, **fields, **capacity)
    plan = Plan(recipe, setup, (Row(0, recipe.hyper._replace(**hyper)),), budget)
    lane = Lane(plan, recipe.load(setup), Placement.choose(1))
    lane.compile(lane.start())

    def measure() -> dict[str, object]:
        passed = 0.0
        for _ in range(options.repeats):
            state = lane.start()
            begin = time.perf_counter()
            for tick in range(0, plan.ticks, budget.chunk):
                state, metrics = lane.advance(state, tick)
                lane.placement.get_rows(metrics)
            passed += time.perf_counter() - begin
        versions = {name: version(name) for name in ("gymnax", "jax")}
        rate = options.repeats * budget.steps / passed
        return {"rate": rate, "unit": "environment steps/s", "capacity": options.capacity, "versions": versions}

    serve(measure)


if __name__ == "__main__":
    main()
