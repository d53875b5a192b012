"""conv32-conv64-dense128 on 28x28x1, batch 128, Adam: the family's own step in the engine's own chunk, one row per core.

The same work as classify_torch.py: batches drawn from resident u8 images, normalised, no augmentation, one update.
"""

from dataclasses import replace

import numpy as np
from ours import lane_of, one_chunk, serve_lane
from serve import options

from research.data.image_files import Split
from research.engine.experiment import Inputs
from research.recipes.classify import CLASSIFY
from research.vision.classify import Data, Hyper, Setup

BATCH, EXAMPLES = 128, 10_240


def load(setup: Setup) -> Inputs:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (EXAMPLES, 28, 28, 1), np.uint8)
    train = Split(images, random.integers(0, 10, EXAMPLES, np.int32))
    return Inputs(Data(train, Split(*(x[:1] for x in train)), np.zeros(1, np.float32), np.ones(1, np.float32)))


def main() -> None:
    chosen = options(rows=0, devices=0, steps=40)
    rows = chosen.rows or chosen.cores
    setup = replace(CLASSIFY.setup, batch_size=BATCH, shift=0)
    plain = Hyper(learning_rate=1e-3, weight_decay=0.0, label_smoothing=0.0, warmup=0.0)
    devices = chosen.devices or min(rows, chosen.cores)
    serve_lane(lane_of(CLASSIFY, setup, one_chunk(chosen.steps), load, plain, rows, devices), "samples", BATCH)


if __name__ == "__main__":
    main()
