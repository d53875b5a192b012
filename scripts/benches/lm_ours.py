"""nanoGPT's CPU setting: the family's own step in the engine's own chunk, one row per core.

The same work as lm_torch.py. On a GPU: `--setting gpu`, nanoGPT's larger setting, for the share of the device's FLOP rate.
"""

import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from ours import lane_of, one_chunk, seconds
from serve import options, serve

from research.engine.experiment import Inputs
from research.language import lm
from research.recipes.lm import NANOGPT_CPU, NANOGPT_GPU

CHARACTERS, TOKENS, SIZE = 65, 1_003_854, 1024


def flop_per_token(setup: lm.Setup) -> int:
    """Of an update: 6 for each weight of a matrix product, 12 for each number of a query and each token that it is
    compared with, the later ones included though they are masked (Chowdhery et al. 2022, appendix B)."""
    weights = setup.layers * (4 * setup.width**2 + 2 * setup.width * setup.hidden) + CHARACTERS * setup.width
    return 6 * weights + 12 * setup.layers * setup.width * setup.context


def load(setup: lm.Setup) -> Inputs:
    train = np.random.default_rng(0).integers(0, CHARACTERS, TOKENS, np.uint16)
    return Inputs(lm.Data(train, train[:2000], np.ones(CHARACTERS, np.int32)))


def main() -> None:
    chosen = options(setting=("cpu", "gpu"), rows=0, steps=60, context=0)
    recipe, rows = {"cpu": NANOGPT_CPU, "gpu": NANOGPT_GPU}[chosen.setting], chosen.rows or chosen.cores
    setup = replace(recipe.setup, context=chosen.context or recipe.setup.context)
    lane = lane_of(recipe, setup, one_chunk(chosen.steps), load, rows=rows, devices=min(rows, chosen.cores))
    square = jnp.ones((8 * SIZE if chosen.setting == "gpu" else SIZE,) * 2, jnp.dtype(setup.compute_dtype))
    product = jax.jit(jnp.matmul).lower(square, square).compile()

    def peak() -> float:
        """FLOP per second of one device in a large matrix product, the best of five."""
        taken = []
        for _ in range(5):
            begun = time.perf_counter()
            jax.block_until_ready(product(square, square))
            taken.append(time.perf_counter() - begun)
        return 2 * square.shape[0] ** 3 / min(taken)

    def measure() -> dict[str, object]:
        rate = rows * chosen.steps * setup.batch_size * setup.context / seconds(lane)
        share = rate * flop_per_token(setup) / peak() / len(lane.placement.devices)
        return {"rate": rate, "unit": "tokens/s", "share": share, "rows": rows, "versions": {"jax": jax.__version__}}

    serve(measure)


if __name__ == "__main__":
    main()
