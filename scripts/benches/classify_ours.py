"""conv32-conv64-dense128 on 28x28x1, batch 128, Adam: the family's own step in the engine's own chunk, one row per core.

The same work as classify_torch.py: batches drawn from resident u8 images, normalised, no augmentation, one update.
"""

import argparse
import time

import jax
import numpy as np
from serve import serve

from research.data.image_files import Split
from research.engine.chunk import advance, begin
from research.engine.placement import ROW, SHARED, Placement
from research.vision.classify import Data, Hyper, Setup, make

BATCH, EXAMPLES = 128, 10_240


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, help="independent runs; one per core where absent")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    rows = options.rows or options.cores
    jax.config.update("jax_num_cpu_devices", min(rows, options.cores))
    placement = Placement.choose(rows)

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (EXAMPLES, 28, 28, 1), np.uint8)
    train = Split(images, random.integers(0, 10, EXAMPLES, np.int32))
    data = placement.put_shared(
        Data(train, Split(*(x[:1] for x in train)), np.zeros(1, np.float32), np.ones(1, np.float32))
    )
    experiment = make(Setup(batch_size=BATCH, shift=0))
    plain = Hyper(learning_rate=1e-3, weight_decay=0.0, label_smoothing=0.0, warmup=0.0)
    hyper = placement.put_rows(jax.tree.map(lambda value: np.full(rows, value, np.float32), plain))
    seeds = placement.put_rows(np.arange(rows, dtype=np.uint32))
    first, total = (placement.put_shared(np.int32(number)) for number in (0, 1_000_000))

    axes = (ROW, ROW, SHARED)
    state = placement.compile(begin(experiment), axes, (seeds, hyper, data))(seeds, hyper, data)
    arguments = (seeds, hyper, data, first, total, None)
    axes = (ROW, ROW, ROW, SHARED, SHARED, SHARED, SHARED)
    chunk = placement.compile(advance(experiment, options.steps, options.steps), axes, (state, *arguments), donate=True)

    def measure() -> dict[str, object]:
        nonlocal state
        begun = time.perf_counter()
        state, metrics = chunk(state, *arguments)
        jax.block_until_ready(metrics)
        rate = rows * options.steps * BATCH / (time.perf_counter() - begun)
        return {"rate": rate, "unit": "samples/s", "rows": rows, "versions": {"jax": jax.__version__}}

    serve(measure)


if __name__ == "__main__":
    main()
