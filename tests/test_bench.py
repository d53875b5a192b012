"""scripts/bench.py with fake contestants: how they are asked, what fails, and what is written. No time is measured."""

import ast
import json
import os
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from research.catalog import find
from research.engine.plan import Plan, Row

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS, RESULTS = ROOT / "scripts", ROOT / "docs" / "results"
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS / "benches")]

import bench  # noqa: E402
import serve  # noqa: E402
from benches import growth, harness, registry, results  # noqa: E402
from benches.registry import Bench, Contestant, series  # noqa: E402

del sys.path[:2]  # what is named there must not hide other tests' modules

CORE = min(os.sched_getaffinity(0))
PINNED = range(CORE, CORE + 1)
# In its n-th repetition it makes n times its first argument, and 1000 in the warm-up; it ends itself before its last.
FAKE = """
import sys
sys.path.insert(0, {benches!r})
from serve import options, serve
chosen, n = options(speed=1.0, last=100, status=3), -1
def measure():
    global n
    n += 1
    if n == chosen.last:
        sys.exit(chosen.status)
    print("what a library says")
    return {{"rate": n * chosen.speed or 1000.0, "unit": "things/s", "repetition": n, "cores": chosen.cores}}
serve(measure)
"""


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """(speed, last) -> a contestant; a bench that runs in this checkout meanwhile is not waited for."""
    monkeypatch.setattr(harness, "ENVIRONMENTS", tmp_path / "environments")
    file = tmp_path / "fake.py"
    file.write_text(FAKE.format(benches=str(SCRIPTS / "benches")))
    return lambda speed, last=100: Contestant(str(file), ("--speed", str(speed), "--last", str(last)))


def test_contestants_are_asked_in_turn_and_the_warm_up_does_not_count(fake, capsys):
    found = harness.compare({"ours": fake(10), "theirs": fake(5)}, PINNED, 3)
    assert found["ours"]["rates"] == [10, 20, 30] and found["theirs"]["rates"] == [5, 10, 15]
    assert found["ours"]["repetition"] == 3 and found["ours"]["cores"] == 1 and len(found["ours"]["busy"]) == 3
    assert found["ours"]["megabytes"] > 1
    told = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert told == [[f"{n}/3", name] for n in (1, 2, 3) for name in ("ours", "theirs")]


def test_a_contestant_that_dies_is_named_with_its_status(fake):
    with pytest.raises(ChildProcessError, match="contestant 'theirs' ended with status 3; its message"):
        harness.compare({"ours": fake(10), "theirs": fake(5, last=2)}, PINNED, 3)


def test_a_contestant_that_hangs_is_ended_and_named(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(harness, "PATIENCE", 0.3)
    (tmp_path / "hangs.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.raises(ChildProcessError, match=r"contestant 'ours' gave no answer in 0\.3 s"):
        harness.compare({"ours": Contestant(str(tmp_path / "hangs.py"))}, PINNED, 1)


def test_an_environment_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "ENVIRONMENTS", tmp_path)
    monkeypatch.setattr(harness.subprocess, "run", lambda *_, **__: harness.subprocess.CompletedProcess([], 7))
    file = tmp_path / "ours_peer.py"
    file.write_text('# /// script\n# dependencies = ["peer==1.0"]\n# ///\n')
    with pytest.raises(ChildProcessError, match=r"making \.bench/peer ended with status 7"):
        harness.interpreter(Contestant(str(file)))


def test_ratios_are_of_one_round():
    # 2/1, 4/4, 8/2: the median is 2, though the ratio of the medians is 4/2 as well only by the second round's 4.
    assert results.ratios([2.0, 4.0, 8.0], [1.0, 4.0, 2.0]) == {"median": 2, "min": 1, "max": 4}
    # At busy 1/2 and 1, ours made 4 and 4 a second of its processor time, theirs 1 and 2: 4 and 2, median 3.
    ours = {"rates": [2.0, 4.0], "busy": [0.5, 1.0], "unit": "things/s"}
    theirs = {"rates": [1.0, 2.0], "busy": [1.0, 1.0], "unit": "things/s"}
    results.summarize({"ours": ours, "theirs": theirs})
    assert theirs["ratio"] == {"median": 2, "min": 2, "max": 2} and ours["ratio"]["median"] == 1
    assert theirs["ratio_by_processor"] == {"median": 3, "min": 2, "max": 4}


def test_growth_is_the_cost_of_all_and_compared_round_by_round():
    # One row makes 4 steps/s, a step in 0.25 s. Four rows make 8, 4 and 2 steps/s together, so that a step of each
    # takes 4/8, 4/4 and 4/2 s: 2, 4 and 8 times as long.
    shape = series("", "rows", "a step", (1, 4), {"PPO": lambda rows: Contestant("")}, together=True).growth
    assert growth.costs(shape, 4, [8.0, 4.0, 2.0]) == [0.5, 1, 2]
    # They had half of the processor's time, and so took half as much of it.
    found = {
        "PPO: 1": {"rates": [4.0, 4.0, 4.0], "busy": [1.0, 1.0, 1.0], "megabytes": 1.0},
        "PPO: 4": {"rates": [8.0, 4.0, 2.0], "busy": [0.5, 0.5, 0.5], "megabytes": 2.0, "state_megabytes": 3.0},
    }
    one = "250,000 (250,000 to 250,000)"
    four, processor = "1,000,000 (500,000 to 2,000,000)", "500,000 (250,000 to 1,000,000)"
    assert growth.table_rows(shape, found) == [
        ("1", "PPO", one, one, "1.00 (1.00 to 1.00)", "1", ""),
        ("4", "PPO", four, processor, "2.00 (1.00 to 4.00)", "2", "3"),
    ]


def run(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Runs scripts/bench.py in this process -> (exit code, what it printed, what it printed on stderr)."""
    monkeypatch.setattr(sys, "argv", ["bench.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(SCRIPTS / "bench.py"), run_name="__main__")
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, " ".join(printed.err.replace("│", " ").split())


def test_all_goes_on_where_one_fails_writes_the_rest_and_says_so(fake, monkeypatch, capsys, tmp_path):
    lines = {"a step": lambda rows: fake(rows)}
    benches = {
        "good": Bench("ours and theirs", {"ours": fake(10), "theirs": fake(5)}),
        "bad": Bench("one that dies", {"ours": fake(10), "theirs": fake(5, last=1)}),
        "growth-rows": series("more rows", "rows", "one step of each", (1, 4), lines, together=True),
    }
    monkeypatch.setattr(registry, "BENCHES", benches)
    monkeypatch.setattr(growth, "BENCHES", benches)
    out, where = tmp_path / "results", ["--cores", "1", "--first-core", str(CORE)]
    code, told, error = run(monkeypatch, capsys, "all", *where, "--repetitions", "2", "--out", str(out))
    assert code == 1 and "1 of 3 benches failed: bad, cores" in error and "contestant 'theirs' ended with" in error
    assert [f"{n} of 3: {name}," in told for n, name in enumerate(benches, 1)] == [True] * 3
    assert sorted(path.name for path in out.iterdir()) == [
        "bench-good.json",
        "bench.md",
        "growth-rows.json",
        "growth-rows.png",
        "growth.md",
    ]
    (entry,) = json.loads((out / "bench-good.json").read_text()).values()
    assert entry["machine"]["memory_gib"] > 0 and entry["pinned_to"] == [CORE] and entry["date"] and entry["revision"]
    assert entry["contestants"]["theirs"]["ratio"] == {"median": 2, "min": 2, "max": 2}
    written = (out / "bench.md").read_text()
    assert "| good | 1 | ours | 15 things/s | theirs | 2.00 (2.00 to 2.00) | " in written and written in told
    # Four rows make 4 and 8 things/s, one row 1 and 2: four of them take as long as one.
    assert "| 4 | a step | 750,000 (500,000 to 1,000,000) | " in (out / "growth.md").read_text()
    code, again, _ = run(monkeypatch, capsys, "table", "--out", str(out))
    assert code == 0 and again.startswith(written) and (out / "growth.md").read_text() in again


REFUSED = {
    "unknown bench": (["clasify"], "bench='clasify' must be all, growth, table, or one of classify, lm,"),
    "no rounds": (["ppo", "--repetitions", "0"], "repetitions=0 must be at least 1; usual: 5"),
    "no cores": (["ppo", "--cores", "0"], "cores=0 first_core=0 must stay among the free cores"),
    "missing cores": (["ppo", "--first-core", "9999"], "first_core=9999 must stay among the free cores"),
    "too few rounds to publish": (["all", "--repetitions", "4"], "repetitions=4 is too few for results, where"),
    "unknown contestant": (["ppo", "--only", "torch"], "only='torch' must be one of ours, rejax"),
    "a part, written": (["ppo", "--only", "ours", "--out", "x"], "only=ours is for a look at one bench"),
    "a table of nothing": (["table", "--out", "nowhere"], "'nowhere' holds no results; give the folder"),
    "cores it is not for": (["sweep", "--cores", "1"], "sweep is meant for cores=2, and is asked for 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_before_anything_starts(case, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments, message = REFUSED[case]
    code, _, error = run(monkeypatch, capsys, *arguments)
    assert code == 2 and message in error and "╭─ bad input" in error
    assert not list(tmp_path.iterdir())


def test_without_a_name_all_benches_are_listed(monkeypatch, capsys):
    code, told, _ = run(monkeypatch, capsys)
    assert code == 0 and all(name in told for name in registry.BENCHES)


def test_the_tables_are_those_of_the_stored_results():
    assert (RESULTS / "bench.md").read_text() == results.table(RESULTS)
    assert (RESULTS / "growth.md").read_text() == growth.report(RESULTS)


def test_every_stored_result_is_of_a_bench_has_five_rounds_and_its_picture():
    for kind in ("bench", "growth"):
        for name, cores, entry in results.stored(RESULTS, kind):
            meant = registry.BENCHES[f"growth-{name}" if kind == "growth" else name].at(cores)
            assert list(entry["contestants"]) == list(meant), name
            assert all(len(each["rates"]) >= bench.ROUNDS for each in entry["contestants"].values()), name
            assert kind == "bench" or (RESULTS / f"growth-{name}.png").exists()


def test_what_old_results_lack_is_said_and_not_made_up(tmp_path):
    result = {"unit": "things/s", "rates": [1.0], "busy": [1.0]}
    found = {"ours": dict(result), "theirs": dict(result)}
    results.summarize(found)
    machine = {"processor": "AMD EPYC", "cores": 2, "system": "Linux"}
    (tmp_path / "bench-x.json").write_text(json.dumps({"1 core": {"machine": machine, "contestants": found}}))
    text = results.table(tmp_path)
    unknown, even = "not recorded", "1.00 (1.00 to 1.00)"
    assert f"AMD EPYC, 2 cores, memory {unknown}, Linux, Python {unknown}, JAX {unknown}" in text
    assert (
        f"| x | 1 | ours | 1 things/s | theirs | {even} | {even} | 1 | {unknown} | {unknown} | {unknown} | 1 |" in text
    )


def test_ctrl_c_keeps_what_is_measured_and_says_how_to_go_on(fake, monkeypatch, capsys, tmp_path):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(registry, "BENCHES", {"good": Bench("", {"ours": fake(10)})})
    monkeypatch.setattr(harness, "compare", stopped)
    where = ["--cores", "1", "--first-core", str(CORE), "--out", str(tmp_path / "out")]
    code, _, error = run(monkeypatch, capsys, "all", *where)
    assert code == 130 and "stopped by Ctrl-C in good, which is not kept; of what is measured, `bench.py table" in error


EVERY = {f"{name}: {each}": c for name, bench in registry.BENCHES.items() for each, c in bench.contestants.items()}


def accepted(file: Path) -> dict:
    """The keywords of a contestant's call of `options`, or of `selfplay.settings`'s."""
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    (call,) = [c for c in calls if getattr(c.func, "id", "") in ("options", "settings")]
    if call.func.id == "settings":
        return accepted(file.with_name("selfplay.py"))
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


@pytest.mark.parametrize("name", EVERY)
def test_every_contestant_is_there_and_takes_its_arguments(name, monkeypatch):
    contestant = EVERY[name]
    file = SCRIPTS / "benches" / contestant.file
    monkeypatch.setattr(sys, "argv", [file.name, *contestant.arguments, "--cores", "2"])
    chosen = serve.options(**accepted(file))
    assert chosen.cores == 2 and set(contestant.cores) <= {1, 2}
    if contestant.file == "recipe_ours.py":
        recipe = find(chosen.recipe)
        budget = replace(recipe.budget, **chosen.budget)
        budget = replace(budget, steps=chosen.steps or budget.steps)
        row = Row(0, recipe.hyper._replace(**chosen.hyper))
        plan = Plan(recipe, replace(recipe.setup, **chosen.setup), (row,), budget)
        assert recipe.make(plan.setup) and plan.ticks % plan.budget.chunk == 0
