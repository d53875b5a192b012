"""From the command to the first recorded chunk of `train.py ppo-cartpole --seeds 16`, with an empty or a filled cache."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from serve import options, serve_rate

TRAIN = Path(__file__).resolve().parent.parent / "train.py"


def main() -> None:
    chosen = options(cache=("filled", "empty"))
    filled = tempfile.TemporaryDirectory()

    def seconds() -> float:
        with tempfile.TemporaryDirectory() as empty:
            # The first call, which the harness throws away, fills the cache.
            return first_chunk(filled.name if chosen.cache == "filled" else empty)

    serve_rate("starts/h", 3600, seconds)


def first_chunk(cache: str) -> float:
    """Seconds until a fresh process has recorded its first chunk; it is killed then."""
    with tempfile.TemporaryDirectory() as out:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, str(TRAIN), "ppo-cartpole", "--seeds", "16", "--out", out],
            env={**os.environ, "JAX_COMPILATION_CACHE_DIR": cache},
            stdout=subprocess.DEVNULL,
        )
        while not any(path.stat().st_size for path in Path(out).glob("*/metrics.jsonl")):
            if process.poll() is not None:
                raise RuntimeError(f"train.py ended with status {process.returncode} before its first chunk")
            time.sleep(0.01)
        seconds = time.perf_counter() - begin
        process.send_signal(signal.SIGKILL)
        process.wait()
        return seconds


if __name__ == "__main__":
    main()
