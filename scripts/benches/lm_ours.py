"""nanoGPT's CPU setting: the family's own step in the engine's own chunk, one row per core.

The same work as lm_torch.py. On a GPU: `--setting gpu`, nanoGPT's larger setting, for the share of the device's FLOP rate.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np
from serve import serve

from research.engine.chunk import advance, begin
from research.engine.placement import ROW, SHARED, Placement
from research.language import lm
from research.recipes.lm import NANOGPT_CPU, NANOGPT_GPU

CHARACTERS, TOKENS, SIZE = 65, 1_003_854, 1024


def flop_per_token(setup: lm.Setup) -> int:
    """Of an update: 6 for each weight of a matrix product, 12 for each number of a query and each token that it is
    compared with, the later ones included though they are masked (Chowdhery et al. 2022, appendix B)."""
    weights = setup.layers * (4 * setup.width**2 + 2 * setup.width * setup.hidden) + CHARACTERS * setup.width
    return 6 * weights + 12 * setup.layers * setup.width * setup.context


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--setting", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument("--rows", type=int, help="independent runs; one per core where absent")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    recipe = {"cpu": NANOGPT_CPU, "gpu": NANOGPT_GPU}[options.setting]
    setup, rows = recipe.setup, options.rows or options.cores
    jax.config.update("jax_num_cpu_devices", min(rows, options.cores))
    placement = Placement.choose(rows)

    random = np.random.default_rng(0)
    train = random.integers(0, CHARACTERS, TOKENS, np.uint16)
    data = placement.put_shared(lm.Data(train, train[:1000], np.ones(CHARACTERS, np.int32)))
    experiment = lm.make(setup)
    hyper = placement.put_rows(jax.tree.map(lambda value: np.full(rows, value, np.float32), recipe.hyper))
    seeds = placement.put_rows(np.arange(rows, dtype=np.uint32))
    first, total = (placement.put_shared(np.int32(number)) for number in (0, 1_000_000))

    axes = (ROW, ROW, SHARED)
    state = placement.compile(begin(experiment), axes, (seeds, hyper, data))(seeds, hyper, data)
    arguments = (seeds, hyper, data, first, total, None)
    axes = (ROW, ROW, ROW, SHARED, SHARED, SHARED, SHARED)
    chunk = placement.compile(advance(experiment, options.steps, options.steps), axes, (state, *arguments), donate=True)
    square = jnp.ones((8 * SIZE if options.setting == "gpu" else SIZE,) * 2, jnp.dtype(setup.compute_dtype))
    product = jax.jit(jnp.matmul).lower(square, square).compile()

    def peak() -> float:
        """FLOP per second of one device in a large matrix product, the best of five."""
        seconds = []
        for _ in range(5):
            begun = time.perf_counter()
            jax.block_until_ready(product(square, square))
            seconds.append(time.perf_counter() - begun)
        return 2 * square.shape[0] ** 3 / min(seconds)

    def measure() -> dict[str, object]:
        nonlocal state
        begun = time.perf_counter()
        state, metrics = chunk(state, *arguments)
        jax.block_until_ready(metrics)
        rate = rows * options.steps * setup.batch_size * setup.context / (time.perf_counter() - begun)
        share = rate * flop_per_token(setup) / peak() / len(placement.devices)
        return {"rate": rate, "unit": "tokens/s", "share": share, "rows": rows, "versions": {"jax": jax.__version__}}

    serve(measure)


if __name__ == "__main__":
    main()
