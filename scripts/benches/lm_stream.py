"""nanoGPT's CPU setting as the engine runs it, its text resident or streamed from a token file of 2 GB, which the system
keeps in its memory as far as it has room: a cold disk is not measured.

The file is made once, of random tokens, in the folder for temporary files; remove `research-bench-tokens` there afterwards.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from ours import lane_of
from serve import options, serve_rate

from research.data.text import Crops
from research.engine.experiment import Inputs
from research.engine.plan import Budget
from research.language import lm
from research.recipes.lm import NANOGPT_CPU

CHARACTERS, RESIDENT, PIECE = 65, 1_003_854, 2**24


def token_file(count: int) -> np.ndarray:
    """count random tokens u16, mapped from a file."""
    path = Path(tempfile.gettempdir()) / "research-bench-tokens"
    if not path.exists() or path.stat().st_size != 2 * count:
        random = np.random.default_rng(0)
        with path.open("wb") as file:
            for start in range(0, count, PIECE):
                file.write(random.integers(0, CHARACTERS, min(PIECE, count - start), np.uint16).tobytes())
    return np.memmap(path, np.uint16, "r")


def main() -> None:
    chosen = options(by=("streamed", "resident"), tokens=1_000_000_000)
    streamed = chosen.by == "streamed"

    def load(setup: lm.Setup) -> Inputs:
        tokens = np.random.default_rng(0).integers(0, CHARACTERS, RESIDENT, np.uint16)
        feed = Crops(token_file(chosen.tokens), setup.batch_size, setup.context) if streamed else None
        data = lm.Data(tokens[:0] if streamed else tokens, tokens[:1000], np.ones(CHARACTERS, np.int32))
        return Inputs(data, feed=feed)

    setup = replace(NANOGPT_CPU.setup, streamed=streamed)
    budget = Budget(60, chunk=20, record_every=20, evaluate_every=60)
    lane = lane_of(NANOGPT_CPU, setup, budget, load)
    state, first = lane.start(), 0

    def chunks() -> None:
        nonlocal state, first
        feed = lane.feed(first)
        for _ in range(budget.steps // budget.chunk):
            state, metrics = lane.advance(state, first, feed)
            first += budget.chunk
            feed = lane.feed(first)  # while the device works, as in a run
            lane.placement.get_rows(metrics)

    serve_rate("tokens/s", budget.steps * setup.batch_size * setup.context, chunks, ("jax",))


if __name__ == "__main__":
    main()
