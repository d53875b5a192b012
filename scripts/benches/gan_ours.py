"""Dense GAN on 28x28 images, batch 128: `gan-mnist`'s step as the engine runs it, one row per core.

The same work as gan_torch.py: an update of the discriminator and one of the generator, on fresh batches of resident images.
"""

from dataclasses import replace

import numpy as np
from ours import lane_of, one_chunk, serve_lane
from serve import options

from research.data.image_files import Split
from research.engine.experiment import Inputs
from research.gan import images
from research.recipes.gan import GAN_MNIST
from research.recipes.judges import judge_for

EXAMPLES, TICKS = 10_240, 50


def load(setup: images.Setup) -> Inputs:
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (EXAMPLES, 28, 28, 1), np.uint8), np.arange(EXAMPLES, dtype=np.int32) % 10)
    few, places = Split(*(x[:100] for x in split)), np.arange(EXAMPLES, dtype=np.int32)[:, None]
    return Inputs(images.Data(split, places, few, places[:100], judge_for(setup)))


def main() -> None:
    chosen = options(rows=0)
    rows = chosen.rows or chosen.cores
    setup = replace(GAN_MNIST.setup, samples=100, near=100)
    devices = min(rows, chosen.cores)
    serve_lane(lane_of(GAN_MNIST, setup, one_chunk(TICKS), load, rows=rows, devices=devices), "updates")


if __name__ == "__main__":
    main()
