"""Random command lines and damaged run folders: bad input gets one clear box and exit code 2 (1 for what the machine did),
never a traceback, never a hang, and nothing is lost.

What `make test` runs is the same every time, and so is what `make test-slow` runs; for as many others:
`pytest -m slow tests/test_fuzz.py --hypothesis-profile random --hypothesis-seed 1`.
"""

import shutil
import traceback
from pathlib import Path

import pytest
from damage import (
    Case,
    Damage,
    cases,
    content,
    damage,
    damages,
    meet,
    one_process,
    reading_cases,
    repaired,
    why_other,
    wrong,
)
from fuzz import OWN_BUGS, READERS, Home, Line, lines, nothing_runs, script
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

# How many examples: in `make test`, and of the marker `slow`.
LINES, ALL_LINES = 200, 2000
FOLDERS, ALL_FOLDERS = 40, 400  # of runs that are trained on, swept, searched, reproduced and reported
READ_FOLDERS, ALL_READ_FOLDERS = 15, 100  # of runs that are played, generated from, ...

# Lines that were found to end in a traceback, to hang, or to take all memory.
LINEAR = str(Path(__file__).parent / "own" / "linear.py")
RATE = ["--draw", "learning_rate=log:1e-4:1"]
MANY = ",".join(map(str, range(1, 151)))
KNOWN = [
    Line("train.py", [LINEAR, "--seeds", "1000000"]),
    Line("train.py", [LINEAR, "--seeds", "1" + "0" * 30]),
    Line("train.py", ["ppo", "--coordinator", "new[/]"]),
    Line("train.py", ["lm", "--setup.text", LINEAR, "--setup.byte-pairs", "1" + "0" * 12]),
    Line("train.py", ["stacked-mnist", "--setup.data", "digits", "--setup.stacks", "1" + "0" * 14]),
    Line("sweep.py", [LINEAR, *RATE, "--draws", "20000"]),
    Line("sweep.py", [LINEAR, *RATE, "--draw-seed", "-1"]),
    Line("sweep.py", ["ppo", "--draw", "clip=uniform:-1e308:1e308"]),
    Line("sweep.py", [LINEAR, "--grid", f"learning_rate={MANY}", "--grid", f"batch_size={MANY}"]),
    *[Line("train.py", [name]) for name in ("up.py", "list.py", "no-setup.py", "dict.py", "no-load.py", "budget.py")],
    Line("gtp.py", ["runs/alphazero-go-9x9", "--recipe", "no-setup.py"]),
    Line("generate.py", ["runs/translate-tiny"]),
    Line("generate.py", ["runs/finetune"]),
    Line("reproduce.py", [""]),
    Line("bench.py", ["nothing"]),
    Line("bench.py", ["sweep", "--cores", "1"]),
    Line("bench.py", ["sweep", "--cores", "1" + "0" * 30]),
    Line("report.py", ["runs/linear", "--title", "\udcff", "--out", "new[/]\udcff"]),
]

on_lines, on_folders = pytest.mark.xdist_group("fuzzed lines"), pytest.mark.xdist_group("fuzzed folders")


def examples(count: int) -> settings:
    return settings(max_examples=count, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The working directory of all command lines."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESEARCH_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        folder = tmp_path_factory.mktemp("home")
        patch.chdir(folder)
        patch.setenv("HOME", str(folder / "empty"))
        yield Home(folder)


@pytest.fixture(scope="module")
def met(tmp_path_factory):
    """Every case of a folder that may be damaged."""
    with one_process():
        yield cases(tmp_path_factory.mktemp("cases"))


def meet_line(line: Line, home: Home) -> None:
    with nothing_runs():
        said = script(*line)
    lost = home.lost()
    assert not lost, f"{line} lost {lost}"
    if said.error is not None:
        told = "".join(traceback.format_exception(said.error))
        assert any(name in word and name in told for name in OWN_BUGS for word in line.words), f"{line}\n{told}"
        return
    assert said.code in (None, 0, 1, 2), f"{line} ended with {said.code}"
    assert "Traceback" not in said.err, f"{line}\n{said.err}"
    told_usage = "scripts/" in said.out or "usage: " in said.out  # where nothing is named
    if said.code and not told_usage:
        assert "╭" in said.err and len(said.message.split()) >= 4, f"{line} says {said.err!r}"


def meet_folder(case: Case, done: list[Damage], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    out = folder / "out"
    shutil.copytree(case.begun, out)
    told = [damage(out, each) for each in done]
    before = content(out)
    said = meet(case, out)
    assert not (fault := wrong(case, out, before, said)), f"{case.name}, {told}: {fault}"
    if said.code == 0 and case.begun.name.endswith("-begun") and case.script != "report.py":
        assert (again := meet(case, out)).code == 0, f"{case.name}, {told}: well, and then {again.message}"
    if case.name == "train, begun" and said.code:
        assert (last := repaired(case, out, said)).code == 0, f"{told}: {said.message}, and then: {last.message}"
        ((place, whole),) = case.ends.items()
        assert not (fault := why_other(out / place, whole, {})), f"{told}: repaired, but {fault}"


@on_lines
@examples(LINES)
@given(data=st.data())
def test_any_command_line_ends_well(data, home):
    meet_line(data.draw(lines(home)), home)


@pytest.mark.slow
@examples(ALL_LINES)
@given(data=st.data())
def test_any_of_many_command_lines_ends_well(data, home):
    meet_line(data.draw(lines(home)), home)


@on_lines
@pytest.mark.parametrize("line", KNOWN, ids=lambda line: f"{line.script} {' '.join(line.words)[:40]!a}")
def test_a_command_line_that_once_did_not_end_well_does(line, home):
    meet_line(line, home)


some_damages = st.lists(damages, min_size=1, max_size=2)


@on_folders
@examples(FOLDERS)
@given(data=st.data(), done=some_damages)
def test_any_damaged_folder_is_told_or_repaired(data, done, met, tmp_path_factory):
    meet_folder(data.draw(st.sampled_from(met)), done, tmp_path_factory.getbasetemp() / "damaged")


@pytest.mark.slow
@examples(ALL_FOLDERS)
@given(data=st.data(), done=some_damages)
def test_any_of_many_damaged_folders_is_told_or_repaired(data, done, met, tmp_path_factory):
    meet_folder(data.draw(st.sampled_from(met)), done, tmp_path_factory.getbasetemp() / "damaged")


def read(data, done, home, folder: Path) -> None:
    found = reading_cases((name, home.folder / home.runs[run]) for name, run in READERS.items())
    with nothing_runs():
        meet_folder(data.draw(st.sampled_from(found)), done, folder)


@on_lines
@examples(READ_FOLDERS)
@given(data=st.data(), done=some_damages)
def test_any_damaged_folder_is_read_or_refused(data, done, home, tmp_path_factory):
    read(data, done, home, tmp_path_factory.getbasetemp() / "read")


@pytest.mark.slow
@examples(ALL_READ_FOLDERS)
@given(data=st.data(), done=some_damages)
def test_any_of_many_damaged_folders_is_read_or_refused(data, done, home, tmp_path_factory):
    read(data, done, home, tmp_path_factory.getbasetemp() / "read")
