"""Sweeps: cells and seeds as lanes of one program, run by the engine, resumed, and reported."""

import contextlib
import io
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import jax
import pytest
import submitit
from own import linear
from rich.console import Console

from research.engine.errors import Damaged
from research.engine.files import read_lines
from research.engine.plan import Budget, Plan, Row
from research.engine.run import run
from research.report import collect
from research.sweep import grid, lanes, launch
from research.sweep.lanes import Sweep, even

ROOT = Path(__file__).resolve().parent.parent
RECIPE = replace(linear.recipe, budget=Budget(40, chunk=10, record_every=10, evaluate_every=20))
QUIET = Console(quiet=True)


def sweep(*texts: str, seeds: int = 3, width: int = 64, recipe=RECIPE) -> Sweep:
    cells = tuple(grid.combine(recipe, grid.grid(recipe, texts)))
    return Sweep(recipe, cells, tuple(range(seeds)), recipe.budget, width)


def test_cells_of_one_setup_share_a_program_and_lanes_share_a_width():
    whole = sweep("learning_rate=0.1,0.2,0.3,0.4,0.5", "batch_size=8,16", seeds=3, width=8)
    assert whole.programs == 2 and len(whole.lanes) == 4
    # 15 rows of each Setup in lanes of at most 8 are 8 and 7, both run 8 wide.
    assert [len(plan.rows) for plan in whole.lanes] == [8, 7, 8, 7]
    assert {plan.lane_width for plan in whole.lanes} == {8}
    rows = [(plan.setup.batch_size, row.hyper.learning_rate, row.seed) for plan in whole.lanes for row in plan.rows]
    assert len(set(rows)) == 30


@pytest.mark.parametrize(("rows", "most", "width"), [(100, 64, 50), (64, 64, 64), (65, 64, 33), (3, 64, 3), (7, 1, 1)])
def test_lanes_are_even(rows, most, width):
    assert even(rows, most) == width


def test_a_sweeps_rows_are_the_runs_they_stand_for(tmp_path):
    whole = sweep("learning_rate=0.1,0.01", seeds=2)
    assert lanes.run_lanes(whole, tmp_path, QUIET, device_count=1) == []
    entries = collect.entries([tmp_path / whole.name])
    assert [(e.settings["hyper.learning_rate"], e.seed) for e in entries] == [(0.1, 0), (0.1, 1), (0.01, 0), (0.01, 1)]
    for entry in entries:
        hyper = linear.Hyper(entry.settings["hyper.learning_rate"])
        alone = Plan(RECIPE, RECIPE.setup, (Row(entry.seed, hyper),), RECIPE.budget)
        folder = run(alone, tmp_path / "alone", device_count=1)
        assert entry.figures["error"] == pytest.approx(read_lines(folder / "evaluations.jsonl")[-1]["error"], rel=1e-5)


def test_all_lanes_of_a_sweep_compile_one_program_and_finished_ones_run_no_more(tmp_path):
    whole = sweep("learning_rate=0.11,0.12,0.13,0.14,0.15", seeds=3, width=5)
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, seconds, **_: compiled.append(event) if event.endswith("backend_compile_duration") else None
    )
    first, *others = whole.lanes
    lanes.run_lanes(whole, tmp_path, QUIET, only=lambda lane: lane == 0, device_count=1)
    after_first = len(compiled)
    lanes.run_lanes(whole, tmp_path, QUIET, device_count=1)
    assert after_first > 0 and len(compiled) == after_first
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}
    assert len(stamps) == 3
    lanes.run_lanes(whole, tmp_path, QUIET, device_count=1)
    assert stamps == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.jsonl")}


def test_a_lane_that_fails_stops_no_other(tmp_path):
    def load(setup):
        if setup.batch_size == 8:
            raise OSError("the disk of this data set is gone")
        return linear.load(setup)

    whole = sweep("batch_size=8,16", recipe=replace(RECIPE, load=load))
    (failure,) = lanes.run_lanes(whole, tmp_path, QUIET, device_count=1)
    assert "the disk of this data set is gone" in str(failure.error) and failure.plan.setup.batch_size == 8
    assert [entry.settings["setup.batch_size"] for entry in collect.entries([tmp_path])] == [16] * 3


def test_a_row_that_diverges_is_named_and_stops_nothing(tmp_path):
    whole = sweep("learning_rate=0.1,1e30", seeds=2)
    assert lanes.run_lanes(whole, tmp_path, QUIET, device_count=1) == []
    assert list(lanes.diverged(whole, collect.entries([tmp_path / whole.name]))) == [
        f"learning_rate=1e+30, seed {seed}" for seed in (0, 1)
    ]
    good, bad = collect.group(collect.entries([tmp_path]), ["hyper.learning_rate"])
    assert good.estimate("error") is not None and bad.estimate("error") is None
    # A sweep whose every row diverges is a result too, and is complete.
    lost = sweep("learning_rate=1e29,1e30", seeds=1)
    assert lanes.run_lanes(lost, tmp_path, QUIET, device_count=1) == []
    assert all(entry.complete and not entry.finite for entry in collect.entries([tmp_path / lost.name]))


def test_the_width_that_fits_grows_with_the_memory(monkeypatch):
    plan = sweep("learning_rate=0.1,0.2").lanes[0]
    found = []
    for free in (10**5, 10**6):
        monkeypatch.setattr(lanes, "free_memory", lambda free=free: free)
        found.append(lanes.fitting_width(plan, 1))
    assert 1 <= found[0] < found[1]


def test_rows_over_two_devices_have_the_memory_of_each(monkeypatch):
    """A device holds what one alone would with half of the memory, and there are two."""
    plan = sweep("learning_rate=0.1,0.2").lanes[0]
    monkeypatch.setattr(lanes, "free_memory", lambda: 10**6)
    both = lanes.fitting_width(plan, 2)
    monkeypatch.setattr(lanes, "free_memory", lambda: 10**6 // 2)
    assert both % 2 == 0 and both / 2 == pytest.approx(lanes.fitting_width(plan, 1), rel=0.02)


def test_free_memory_is_the_accelerators_or_else_the_machines(monkeypatch):
    told: list[dict[str, int] | None] = [{"bytes_limit": 100, "bytes_in_use": 30}, {"bytes_limit": 100}, {}, None]
    monkeypatch.setattr(jax, "local_devices", lambda: [SimpleNamespace(memory_stats=lambda: told.pop(0))])
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 5, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert [lanes.free_memory() for _ in range(4)] == [70, 100, 20480, 20480]


def test_a_sweep_has_a_cell_and_a_seed():
    whole = sweep("learning_rate=0.1")
    with pytest.raises(ValueError, match="a sweep of no cells runs nothing; name a field with --grid"):
        replace(whole, cells=())
    with pytest.raises(ValueError, match="seeds=0 must be at least 1"):
        replace(whole, seeds=())


def test_a_sweep_keeps_the_width_that_it_was_begun_with(tmp_path):
    narrow, wide = sweep("learning_rate=0.1,0.2", width=2), sweep("learning_rate=0.1,0.2", width=6)
    assert narrow.name == wide.name and narrow.lanes != wide.lanes
    assert lanes.begun_width(narrow, tmp_path) is None
    lanes.open_folder(narrow, tmp_path)
    assert lanes.begun_width(wide, tmp_path) == 2
    with pytest.raises(ValueError, match="lanes=6, but .* was begun with lanes of 2; go on with --lanes 2"):
        lanes.open_folder(wide, tmp_path)
    for damaged in ("[]", "{}", '{"width": "2"}', '{"width": true}'):
        (tmp_path / narrow.name / "sweep.json").write_text(damaged)
        with pytest.raises(
            Damaged, match="sweep.json does not say the width of the sweep's lanes; restore it, or remove it"
        ):
            lanes.begun_width(narrow, tmp_path)


def test_a_job_is_told_to_save_while_its_process_is_waited_for(tmp_path):
    """submitit calls `checkpoint` in a signal handler on top of `__call__`: neither may hold a lock the other needs."""
    script = """
import signal, sys, time
from research.sweep.launch import LaneJob
child = [sys.executable, "-c", "import signal, time\\nsignal.signal(15, lambda *_: exit(143))\\nprint('up', flush=True)\\n"
         "time.sleep(60)"]
job = LaneJob(child)
def warned(*_):
    again = job.checkpoint()
    print("saved with", job.process.returncode, "queued again:", again.function.words == child, flush=True)
    sys.exit(0)
signal.signal(signal.SIGUSR2, warned)
job()
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "up\n"
    process.send_signal(signal.SIGUSR2)
    assert process.communicate(timeout=30)[0] == "saved with 143 queued again: True\n"


def test_a_job_that_was_told_to_stop_waits_to_be_queued_again_and_others_end(monkeypatch):
    """Slurm ends what has not ended by itself, and would take a job that ends before as done."""
    slept: list[float] = []
    monkeypatch.setattr(launch.time, "sleep", slept.append)
    for code, grace in ((0, []), (3, []), (143, [launch.GRACE_SECONDS])):
        slept.clear()
        codes, signals = [None, code, code], []
        process = SimpleNamespace(poll=lambda codes=codes: codes.pop(0), send_signal=signals.append)
        monkeypatch.setattr(launch.subprocess, "Popen", lambda words, process=process, **how: process)
        job = launch.LaneJob(["train"])
        assert job() == code and slept == [launch.POLL_SECONDS / 10, *grace]
        assert job.checkpoint().function.words == ["train"] and signals == [], "none is sent to what has ended"


def test_a_lane_whose_launcher_has_ended_before_it_began_ends_too(monkeypatch):
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(launch.ctypes, "CDLL", lambda name: SimpleNamespace(prctl=lambda *words: asked.append(words)))
    monkeypatch.setattr(sys, "platform", "linux")
    launch.stop_with_launcher()
    assert asked == [], "a lane that nobody launched stops with nobody"
    monkeypatch.setenv(launch.LAUNCHER, str(os.getppid()))
    launch.stop_with_launcher()
    assert asked == [(1, signal.SIGTERM)]
    monkeypatch.setenv(launch.LAUNCHER, str(os.getpid()))  # nobody is its own parent
    with pytest.raises(SystemExit) as stop:
        launch.stop_with_launcher()
    assert stop.value.code == 143


# The command line


def command(script: str, *arguments: object) -> list[str]:
    return [sys.executable, str(ROOT / "scripts" / script), *map(str, arguments)]


def call(script: str, *arguments: object) -> subprocess.CompletedProcess:
    environment = os.environ | {"COLUMNS": "400"}
    return subprocess.run(command(script, *arguments), capture_output=True, text=True, cwd=ROOT, env=environment)


def report(*arguments: object) -> SimpleNamespace:
    """`call("report.py", ...)` in this process, which saves its start: it reads run folders and sets nothing up."""
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "argv", ["report.py", *map(str, arguments)]),
        mock.patch.dict(os.environ, COLUMNS="400"),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stop,
    ):
        runpy.run_path(str(ROOT / "scripts" / "report.py"), run_name="__main__")
    return SimpleNamespace(returncode=int(stop.value.code or 0), stdout=out.getvalue(), stderr=err.getvalue())


OWN = ROOT / "tests" / "own" / "linear.py"
GRID = ["--grid", "learning_rate=0.1,0.05,0.01", "--seeds", 3, "--device-count", 1]


def table(folder: Path, out: Path) -> bytes:
    done = report(folder, "--out", out)
    assert done.returncode == 0, done.stderr
    return (out / "table.csv").read_bytes()


@pytest.mark.parametrize("kills", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_a_sweep_killed_at_random_ends_with_the_same_table(kills, tmp_path):
    steps = 10_000 if kills == 1 else 40_000
    long = [OWN, *GRID, "--steps", steps, "--chunk", 1000, "--record-every", 1000, "--evaluate-every", 10_000]
    long += ["--lanes", 3, "--save-seconds", 0]
    whole = call("sweep.py", *long, "--out", tmp_path / "whole")
    assert whole.returncode == 0, whole.stderr
    moments = random.Random(kills)
    chunks = lambda: sum(path.read_bytes().count(b"\n") for path in (tmp_path / "killed").glob("*/*/timings.jsonl"))
    for _ in range(kills):
        process = subprocess.Popen(
            command("sweep.py", *long, "--out", tmp_path / "killed"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
        )
        if moments.random() < 0.2:  # while it starts, plans or compiles
            time.sleep(moments.uniform(0, 4))
        else:
            enough = chunks() + moments.randint(1, 10)
            while process.poll() is None and chunks() < enough:
                time.sleep(0.01)
        assert process.poll() is None, "the sweep ended before it could be killed; make it longer"
        process.kill()
        process.wait()
    done = call("sweep.py", *long, "--out", tmp_path / "killed")
    assert done.returncode == 0, done.stderr
    assert table(tmp_path / "whole", tmp_path / "a") == table(tmp_path / "killed", tmp_path / "b")


def test_a_sweep_shows_its_plan_and_its_table_and_a_report_stands_alone(tmp_path):
    done = call("sweep.py", OWN, *GRID, "--steps", 1000, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "cells 3" in said and "seeds 3" in said and "programs to compile 1" in said and "lanes 1 of 9 rows" in said
    assert "learning_rate" in said and "95 % interval" in said
    (folder,) = tmp_path.glob("linear-sweep-*")
    assert done.stdout.strip().endswith(folder.name)
    paper = tmp_path / "report"
    done = report(folder, "--by", "learning_rate", "--out", paper)
    assert done.returncode == 0, done.stderr
    names = {path.name for path in paper.iterdir()}
    assert names >= {
        "report.html",
        "table.md",
        "table.tex",
        "table.csv",
        "curve-error.png",
        "bars-error.pdf",
        "profile.png",
    }
    html = (paper / "report.html").read_text()
    assert "src=" not in html and 'href="http' not in html and "@import" not in html, "no external asset"
    body = html.split("<tbody>")[1].split("</tbody>")[0]
    links = {part.split('"')[0] for part in body.split('href="')[1:]}
    assert len(links) == 1 and all((paper / link).exists() for link in links)
    lines = (paper / "table.csv").read_text().splitlines()
    assert lines[0].startswith("learning_rate,error.mean,error.low,error.high") and len(lines) == 4
    assert (paper / "table.tex").read_text().count(r"\\") == 4
    assert (paper / "table.md").read_text().count("\n| ") == 4
    again = tmp_path / "again"
    assert report(folder, "--by", "learning_rate", "--out", again).returncode == 0
    assert (again / "table.csv").read_bytes() == (paper / "table.csv").read_bytes()


def test_divergence_exits_with_1_and_says_where(tmp_path):
    done = call("sweep.py", OWN, "--grid", "learning_rate=0.1,1e30", "--seeds", 2, "--steps", 400, "--out", tmp_path)
    assert done.returncode == 1 and "learning_rate=1e+30, seed 0" in done.stderr
    assert json.loads(next(tmp_path.rglob("manifest.json")).read_text())["complete"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([OWN], "a sweep varies a field; name one with --grid"),
        ([OWN, "--grid", "learning_rat=1"], "did you mean 'learning_rate'?"),
        ([OWN, "--grid", "learning_rate=-1"], "learning_rate=-1.0 must be above 0"),
        ([OWN, "--grid", "learning_rate=0.1", "--seeds", 0], "seeds=0 must be at least 1"),
        ([OWN, "--grid", "learning_rate=0.1", "--lanes", 0], "lanes=0 must be at least 1"),
        ([OWN, "--grid", "learning_rate=0.1", "--list", "learning_rate=0.2"], "hyper.learning_rate is varied twice"),
    ],
)  # fmt: skip
def test_a_sweep_that_does_not_fit_exits_with_2(arguments, message, tmp_path):
    done = call("sweep.py", *arguments, "--out", tmp_path / "out")
    assert done.returncode == 2 and message in " ".join(done.stderr.split()), done.stderr
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_a_report_that_does_not_fit_exits_with_2(tmp_path):
    whole = sweep("learning_rate=0.1,0.01", seeds=2)
    lanes.run_lanes(whole, tmp_path / "linear", QUIET, device_count=1)
    other = replace(RECIPE, name="other")
    lanes.run_lanes(sweep("learning_rate=0.1", recipe=other), tmp_path / "other", QUIET, device_count=1)
    (tmp_path / "empty").mkdir()
    linear_runs, longer, copied = (tmp_path / name for name in ("linear", "longer", "copied"))
    shutil.copytree(linear_runs, copied)
    cells = tuple(grid.combine(RECIPE, grid.grid(RECIPE, ["learning_rate=0.1"])))
    lanes.run_lanes(Sweep(RECIPE, cells, (7,), replace(RECIPE.budget, steps=80)), longer, QUIET, device_count=1)
    for arguments, message in [
        ([], "no folder given"),
        ([tmp_path / "empty"], "holds no run folder"),
        ([tmp_path / "nowhere"], "holds no run folder"),
        ([linear_runs, "--by", "learning_rat"], "did you mean 'learning_rate'?"),
        ([linear_runs, "--by", "batch_size"], "the runs also differ in hyper.learning_rate; add --by"),
        ([linear_runs, longer, "--by", "learning_rate"], "the runs also differ in budget.steps; add --by"),
        ([linear_runs, copied, "--by", "learning_rate"], "the same runs are given twice"),
        ([linear_runs, "--figure", "accuracy"], "figure='accuracy' is in no evaluation"),
        ([tmp_path], "runs of several recipes (linear, other)"),
    ]:
        done = report(*arguments, "--out", tmp_path / "report")
        assert done.returncode == 2 and message in " ".join(done.stderr.split()), (arguments, done.stderr)
        assert "Traceback" not in done.stderr and not (tmp_path / "report").exists()


def test_lanes_as_processes_give_the_same_table(tmp_path):
    lanes_of_three = [OWN, *GRID, "--steps", 1000, "--lanes", 3]
    here = call("sweep.py", *lanes_of_three, "--out", tmp_path / "here")
    assert here.returncode == 0, here.stderr
    apart = call("sweep.py", *lanes_of_three, "--out", tmp_path / "apart", "--launch", "local", "--jobs", 2)
    assert apart.returncode == 0, apart.stderr
    assert apart.stdout.count("ended with exit code 0") == 3
    assert table(tmp_path / "here", tmp_path / "a") == table(tmp_path / "apart", tmp_path / "b")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_lanes_save_and_stop_when_their_launcher_is_killed(tmp_path):
    long = [OWN, *GRID, "--steps", 10_000_000, "--chunk", 1000, "--record-every", 1000, "--evaluate-every", 10_000_000]
    words = command("sweep.py", *long, "--lanes", 9, "--out", tmp_path, "--launch", "local", "--save-seconds", 1000)
    launcher = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    until = time.time() + 120
    while time.time() < until and not any(path.stat().st_size for path in tmp_path.rglob("timings.jsonl")):
        time.sleep(0.05)
    launcher.kill()
    launcher.wait()
    while time.time() < until and not any("stopped by SIGTERM" in p.read_text() for p in tmp_path.rglob("lane-0.txt")):
        time.sleep(0.05)
    (log,) = tmp_path.rglob("lane-0.txt")
    assert "saved in" in log.read_text() and list(tmp_path.rglob("checkpoints/[1-9]*"))


def test_a_job_that_fails_is_named_with_its_log(tmp_path):
    said: list[str] = []
    codes = launch.local([[sys.executable, "-c", "print('hm'); raise SystemExit(3)"]], 1, tmp_path, said.append)
    assert codes == [3] and said == ["lane 1 of 1 ended with exit code 3"]
    assert (tmp_path / "lane-0.txt").read_text() == "hm\n"
    with pytest.raises(ValueError, match="jobs=999 must be at least 1 and at most the"):
        launch.local([], 999, tmp_path, said.append)


class Cluster:
    """Stands for submitit's executor under Slurm: jobs end as `ends` says, the later the earlier they were submitted."""

    ends: list[int | BaseException] = []

    def __init__(self, folder):
        self.jobs, self.batches, self.parameters = [], 0, {}
        Cluster.last = self

    def update_parameters(self, **parameters):
        self.parameters = parameters

    @contextlib.contextmanager
    def batch(self):
        self.batches += 1
        yield

    def submit(self, job):
        number, end = len(self.jobs), self.ends[len(self.jobs)]
        waits = iter([False] * (len(self.ends) - number) + [True])
        error = end if isinstance(end, BaseException) else None
        self.jobs.append(job)
        return SimpleNamespace(
            job_id=f"7_{number}", done=lambda: next(waits), exception=lambda: error, result=lambda: end
        )


def test_lanes_are_one_array_of_slurms_whose_exit_codes_come_back(tmp_path, monkeypatch):
    monkeypatch.setattr(submitit, "SlurmExecutor", Cluster)
    monkeypatch.setattr(launch, "POLL_SECONDS", 0)
    monkeypatch.setattr(Cluster, "ends", [0, OSError("node failure"), 3])
    said: list[str] = []
    words = [["train", str(lane)] for lane in range(3)]
    codes = launch.slurm(words, ["partition=gpu", "time=60", "mem=16GB"], 2, tmp_path / "logs", said.append)
    assert codes == [0, 1, 3], "1 for a job that was lost"
    assert Cluster.last.parameters == {"array_parallelism": 2, "partition": "gpu", "time": 60, "mem": "16GB"}
    assert Cluster.last.batches == 1 and [job.words for job in Cluster.last.jobs] == words
    assert said == [
        "submitted 7_0, 7_1, 7_2; this process may be stopped, the jobs go on",
        "lane 3 of 3 (job 7_2) ended with exit code 3",
        "lane 2 of 3 (job 7_1) ended with exit code 1",
        "lane 1 of 3 (job 7_0) ended with exit code 0",
    ]


def test_slurm_settings_that_do_not_fit_are_refused(tmp_path, monkeypatch):
    (tmp_path / "srun").touch(0o755)  # as much of Slurm as submitit looks for
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="--slurm mem=2GB, partitoin=main: .*partitoin"):
        launch.slurm([], ["mem=2GB", "partitoin=main"], None, tmp_path / "logs", print)
    with pytest.raises(ValueError, match="--slurm 'partition' must be KEY=VALUE"):
        launch.slurm([], ["partition"], None, tmp_path, print)
    with pytest.raises(ValueError, match="array_parallelism must be left out; --jobs says"):
        launch.slurm([], ["array_parallelism=many"], None, tmp_path, print)
    with pytest.raises(ValueError, match="jobs=0 must be at least 1"):
        launch.slurm([], [], 0, tmp_path, print)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="--launch slurm: .*use --launch local"):
        launch.slurm([], ["partition=main"], None, tmp_path, print)
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(ValueError, match=r"submitit is not installed.*pip install 'research\[cluster\]'"):
        launch.slurm([], ["partition=main"], None, tmp_path, print)
