"""A run that is killed again and again, beside the same one that was not."""

import os
import subprocess
import sys
import time
from pathlib import Path

import jax

from research.engine.plan import Recipe
from research.engine.saved import manifest_of, plan_of, state_of

ROOT = Path(__file__).resolve().parent.parent


def assert_ends_alike(recipe: Recipe, arguments: list[str], home: Path, moments: tuple[int, ...], lines: int) -> None:
    """Runs train.py with these arguments once to its end, and once more, killed by SIGKILL as soon as there are so many lines
    of metrics: both end with the same `lines` lines and the same bits."""
    command = [
        sys.executable,
        str(ROOT / "scripts" / "train.py"),
        *arguments,
        "--save-seconds",
        "0",
        "--device-count",
        "1",
    ]
    environment = os.environ | {"XDG_CACHE_HOME": str(home / "cache")}

    def start(out: str) -> subprocess.Popen:
        return subprocess.Popen([*command, "--out", str(home / out)], env=environment, stdout=subprocess.DEVNULL)

    def recorded(out: str) -> int:
        return sum(path.read_bytes().count(b"\n") for path in (home / out).glob("*/metrics.jsonl"))

    assert start("whole").wait() == 0
    for moment in moments:
        process = start("killed")
        while process.poll() is None and recorded("killed") < moment:
            time.sleep(0.005)
        assert process.poll() is None, "the run ended before it could be killed; make it longer"
        process.kill()
        process.wait()
    assert start("killed").wait() == 0
    whole, killed = (next((home / out).iterdir()) for out in ("whole", "killed"))
    assert recorded("whole") == lines
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    plan = plan_of(recipe, manifest_of(whole))
    states = [jax.tree.leaves(state_of(plan, folder, 0).state) for folder in (whole, killed)]
    assert all(x.tobytes() == y.tobytes() for x, y in zip(*states, strict=True))
