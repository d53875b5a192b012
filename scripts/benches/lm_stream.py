"""nanoGPT's CPU setting as the engine runs it, its text resident or streamed from a token file of 2 GB, which the system
keeps in its memory as far as it has room: a cold disk is not measured.

The file is made once, of random tokens, in the folder for temporary files; remove `research-bench-tokens` there afterwards.
"""

import argparse
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from serve import serve

from research.data.text import Crops
from research.engine.experiment import Inputs
from research.engine.lane import Lane
from research.engine.placement import Placement, configure
from research.engine.plan import Budget, Plan, Row
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


def most_memory() -> float:
    """MB of memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--by", choices=("resident", "streamed"), required=True)
    parser.add_argument("--tokens", type=int, default=10**9)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    configure(1, light=NANOGPT_CPU.light)
    streamed = options.by == "streamed"
    setup = replace(NANOGPT_CPU.setup, streamed=streamed)
    tokens = np.random.default_rng(0).integers(0, CHARACTERS, RESIDENT, np.uint16)
    train = tokens[:0] if streamed else tokens
    feed = Crops(token_file(options.tokens), setup.batch_size, setup.context) if streamed else None
    inputs = Inputs(lm.Data(train, tokens[:1000], np.ones(CHARACTERS, np.int32)), feed=feed)
    budget = Budget(60, chunk=20, record_every=20, evaluate_every=60)
    lane = Lane(Plan(NANOGPT_CPU, setup, (Row(0, NANOGPT_CPU.hyper),), budget), inputs, Placement.choose(1))
    state, first = lane.start(), 0
    lane.compile(state)

    def measure() -> dict[str, object]:
        nonlocal state, first
        begun = time.perf_counter()
        feed = lane.feed(first)
        for _ in range(budget.steps // budget.chunk):
            state, metrics = lane.advance(state, first, feed)
            first += budget.chunk
            feed = lane.feed(first)  # while the device works, as in a run
            lane.placement.get_rows(metrics)
        rate = budget.steps * setup.batch_size * setup.context / (time.perf_counter() - begun)
        return {"rate": rate, "unit": "tokens/s", "megabytes": round(most_memory())}

    serve(measure)


if __name__ == "__main__":
    main()
