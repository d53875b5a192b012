"""kill -9 at random moments, SIGTERM and Ctrl-C: what was committed is whole, and a resumed run ends with the same bits."""

import json
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import kills
import pytest
from kills import recorded, wait_for_lines

from research.catalog import find
from research.engine.plan import Budget

pytestmark = pytest.mark.xdist_group("kill")  # they share the run that was never stopped

OWN = str(kills.ROOT / "tests" / "own" / "linear.py")
BUDGET = Budget(40_000, chunk=500, record_every=125, evaluate_every=5000)
LINES = 3 * BUDGET.steps // BUDGET.record_every
PLAN = [OWN, "--steps", BUDGET.steps, "--chunk", BUDGET.chunk, "--record-every", BUDGET.record_every]
PLAN += ["--evaluate-every", BUDGET.evaluate_every, "--seeds", 3]
start = partial(kills.start, PLAN, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(out: Path) -> Path:
    """The folder of the run, after it was started once more and has ended."""
    process = start(out)
    _, said = process.communicate()
    assert process.returncode == 0, said
    return folder_in(out)


def folder_in(out: Path) -> Path:
    (folder,) = out.glob("linear-*")
    return folder


def assert_same_run(folder: Path, whole: Path) -> None:
    kills.assert_same_run(find(OWN), whole, folder, LINES)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    return finished(tmp_path_factory.mktemp("whole"))


def kill_and_resume(out: Path, times: int, seed: int) -> Path:
    """Kills the run so many times, each after a random while, and lets the last process finish -> its folder."""
    moments = random.Random(seed)
    some = LINES // (times + 1)  # lines, so that the run is not over before the last kill
    for _ in range(times):
        process = start(out)
        if moments.random() < 0.8:  # the others are killed while they start, load or compile
            wait_for_lines(process, out, recorded(out) + moments.randrange(some) + 1)
            time.sleep(moments.uniform(0, 0.02))
        else:
            time.sleep(moments.uniform(0, 1))
        kills.kill(process)
    return finished(out)


def test_killed_three_times_equals_never_killed(tmp_path, whole):
    assert_same_run(kill_and_resume(tmp_path, times=3, seed=0), whole)


@pytest.mark.slow
def test_killed_twenty_times_equals_never_killed(tmp_path, whole):
    assert_same_run(kill_and_resume(tmp_path, times=20, seed=1), whole)


def test_a_signal_saves_within_a_chunk_and_says_how_to_go_on(tmp_path, whole):
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path)
        wait_for_lines(process, tmp_path, recorded(tmp_path) + 1)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number, said
        said = " ".join(said.replace("│", " ").split())
        assert f"stopped by {number.name} at tick" in said
        assert "the same command, without --fresh, goes on from there" in said
        folder = folder_in(tmp_path)
        last = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
        ticks = [json.loads(line)["tick"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert last == max(ticks), "saved where it stopped"
    assert_same_run(finished(tmp_path), whole)
