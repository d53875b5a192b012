"""kill -9 at random moments, SIGTERM and Ctrl-C: what was committed is whole, and a resumed run ends with the same bits."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from research.engine.plan import Budget

pytestmark = pytest.mark.xdist_group("kill")  # they share the run that was never stopped

ROOT = Path(__file__).resolve().parent.parent
OWN = str(ROOT / "tests" / "own" / "linear.py")
BUDGET = Budget(40_000, chunk=500, record_every=125, evaluate_every=5000)
LINES = 3 * BUDGET.steps // BUDGET.record_every
PLAN = [OWN, "--steps", BUDGET.steps, "--chunk", BUDGET.chunk, "--record-every", BUDGET.record_every]
PLAN += ["--evaluate-every", BUDGET.evaluate_every, "--seeds", 3]
DEVICES = ["--device-count", "1", "--save-seconds", "0"]


def command(out: Path, *arguments: str) -> list[str]:
    return [
        sys.executable,
        str(ROOT / "scripts" / "train.py"),
        *map(str, PLAN),
        *DEVICES,
        "--out",
        str(out),
        *arguments,
    ]


def start(out: Path) -> subprocess.Popen:
    return subprocess.Popen(command(out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def folder_in(out: Path) -> Path | None:
    return next(iter(out.glob("linear-*")), None) if out.exists() else None


def lines(folder: Path) -> int:
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for_lines(process: subprocess.Popen, out: Path, more_than: int) -> None:
    """Until the run has recorded more lines than that, or has ended."""
    while process.poll() is None and (folder_in(out) is None or lines(folder_in(out)) <= more_than):
        time.sleep(0.005)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    subprocess.run(command(out), check=True, capture_output=True, cwd=ROOT)
    return folder_in(out)


def assert_same_run(folder: Path, whole: Path) -> None:
    from own import linear

    from research.catalog import find
    from research.engine.checkpoint import Checkpoints
    from research.engine.lane import Lane
    from research.engine.placement import Placement
    from research.engine.plan import Plan, Row

    recipe = find(OWN)
    rows = tuple(Row(seed, recipe.hyper) for seed in range(3))
    plan = Plan(recipe, recipe.setup, rows, BUDGET)
    template = {"state": Lane(plan, linear.load(recipe.setup), Placement.choose(3, 1)).template()}
    states = []
    for run in (folder, whole):
        for name in ("metrics.jsonl", "evaluations.jsonl"):
            assert (run / name).read_bytes() == (whole / name).read_bytes(), name
        checkpoints = Checkpoints(run / "checkpoints")
        states.append(checkpoints.restore(BUDGET.steps, template)["state"])
        checkpoints.close()
    assert states[0].slope.tobytes() == states[1].slope.tobytes()
    assert states[0].intercept.tobytes() == states[1].intercept.tobytes()
    assert lines(whole) == LINES, "no line doubled, none missing"


def kill_and_resume(out: Path, kills: int, seed: int) -> Path:
    """Kills the run `kills` times, each after a random while, and lets the last process finish -> its folder."""
    moments = random.Random(seed)
    some = LINES // (kills + 1)  # lines, so that the run is not over before the last kill
    killed = 0
    while killed < kills:
        process = start(out)
        before = lines(folder_in(out)) if folder_in(out) else 0
        if moments.random() < 0.8:  # the others are killed while they start, load or compile
            wait_for_lines(process, out, before + moments.randrange(some))
            time.sleep(moments.uniform(0, 0.02))
        else:
            time.sleep(moments.uniform(0, 1))
        assert process.poll() is None, (
            process.communicate()[1] or "the run ended before it could be killed; make it longer"
        )
        process.kill()
        process.wait()
        killed += 1
    done = subprocess.run(command(out), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return folder_in(out)


def test_killed_three_times_equals_never_killed(tmp_path, whole):
    assert_same_run(kill_and_resume(tmp_path, kills=3, seed=0), whole)


@pytest.mark.slow
def test_killed_twenty_times_equals_never_killed(tmp_path, whole):
    assert_same_run(kill_and_resume(tmp_path, kills=20, seed=1), whole)


def test_a_signal_saves_within_a_chunk_and_says_how_to_go_on(tmp_path, whole):
    for number in (signal.SIGTERM, signal.SIGINT):
        process = start(tmp_path)
        wait_for_lines(process, tmp_path, lines(folder_in(tmp_path)) if folder_in(tmp_path) else 0)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 128 + number, said
        said = " ".join(said.replace("│", " ").split())
        assert f"stopped by {number.name} at tick" in said
        assert "the same command, without --fresh, goes on from there" in said
        folder = folder_in(tmp_path)
        last = max(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())
        recorded = [json.loads(line)["tick"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
        assert last == max(recorded), "saved where it stopped"
    done = subprocess.run(command(tmp_path), capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert_same_run(folder, whole)
