"""Dense GAN on 28x28 images, batch 128: `gan-mnist`'s step as the engine runs it, one row per core.

The same work as gan_torch.py: an update of the discriminator and one of the generator, on fresh batches of resident images.
"""

import argparse
import time
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from serve import serve

from research.data.image_files import Split
from research.engine.experiment import Inputs
from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Budget, Plan, Row
from research.gan import images
from research.recipes.gan import GAN_MNIST
from research.recipes.judges import judge_for

EXAMPLES, TICKS = 10_240, 50


def inputs(setup: images.Setup) -> Inputs:
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (EXAMPLES, 28, 28, 1), np.uint8), np.arange(EXAMPLES, dtype=np.int32) % 10)
    few, places = Split(*(x[:100] for x in split)), np.arange(EXAMPLES, dtype=np.int32)[:, None]
    return Inputs(images.Data(split, places, few, places[:100], judge_for(setup)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, help="independent runs; one per core where absent")
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    rows = options.rows or options.cores
    configure(rows, light=True, device_count=min(rows, options.cores))
    setup = replace(GAN_MNIST.setup, samples=100, near=100)
    budget = Budget(1000 * TICKS, chunk=TICKS, record_every=TICKS, evaluate_every=1000 * TICKS)
    plan = Plan(GAN_MNIST, setup, tuple(Row(seed, GAN_MNIST.hyper) for seed in range(rows)), budget)
    lane = Lane(plan, inputs(setup), Placement.choose(rows, min(rows, options.cores)))
    state = lane.start()
    lane.compile(state)

    def measure() -> dict[str, object]:
        nonlocal state
        begun = time.perf_counter()
        state, metrics = lane.advance(state, 0)
        lane.placement.get_rows(metrics)
        rate = rows * TICKS / (time.perf_counter() - begun)
        return {"rate": rate, "unit": "updates/s", "rows": rows, "versions": {"jax": version("jax")}}

    serve(measure)


if __name__ == "__main__":
    main()
