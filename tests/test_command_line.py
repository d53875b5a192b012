"""What a user types: good input leaves a run folder, bad input one message with value, rule and repair, and no trace."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import research
from research import command
from research.catalog import RECIPES, find
from research.engine import placement

ROOT = Path(__file__).resolve().parent.parent
OWN = str(ROOT / "tests" / "own" / "linear.py")
SMALL = ["--steps", "200", "--seeds", "2", "--device-count", "1"]


def train(monkeypatch, capsys, *arguments: str) -> tuple[int, str, str]:
    """Runs scripts/train.py in this process -> (exit code, what it printed, what it printed on stderr)."""
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(ROOT / "scripts" / "train.py"), run_name="__main__")
    printed = capsys.readouterr()
    return int(stop.value.code or 0), printed.out, " ".join(printed.err.replace("│", " ").split())


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BAD_INPUT = {
    "unknown recipe": (["clasify"], "recipe='clasify' is not in the catalog; did you mean 'classify'?"),
    "missing recipe file": (
        ["./nowhere.py"],
        "recipe file 'nowhere.py' does not exist; give the path of a Python file",
    ),
    "unknown field": ([OWN, "--setup.batch-sise", "8"], "--setup.batch-size"),
    "unknown option": ([OWN, "--sedes", "8"], "--seeds"),
    "wrong type": ([OWN, "--setup.batch-size", "many"], "invalid literal for int() with base 10: 'many'"),
    "below its rule": ([OWN, "--setup.batch-size", "0"], "batch_size=0 must be at least 1; usual: 32"),
    "negative": ([OWN, "--hyper.learning-rate", "-1"], "learning_rate=-1.0 must be above 0; usual: 0.1"),
    "nan": ([OWN, "--hyper.learning-rate", "nan"], "learning_rate=nan must be above 0; usual: 0.1"),
    "no seeds": ([OWN, "--seeds", "0"], "seeds=0 must be at least 1"),
    "more seeds than anyone waits for": (
        [OWN, "--seeds", "1000000"],
        "seeds=1000000 must be at least 1 and at most 100000",
    ),
    "negative seed": ([OWN, "--first-seed", "-1"], "seed=-1 must be at least 0"),
    "steps that do not divide": (
        [OWN, "--steps", "250"],
        "steps=250 is not a multiple of chunk=100; nearest: 200 or 300",
    ),
    "chunks that do not divide": ([OWN, "--record-every", "7"], "chunk=100 is not a multiple of record_every=7"),
    "seconds below 0": ([OWN, "--save-seconds", "-1"], "save_seconds=-1.0 must be at least 0; usual: 30"),
    "too many devices": ([OWN, "--device-count", "99"], "device_count=99 must be at least 1 and at most"),
    "no devices": ([OWN, "--device-count", "0"], "device_count=0 must be at least 1"),
    "unknown choice": (["classify", "--setup.data", "imagenet"], "invalid choice 'imagenet'"),
    "unknown environment": (["ppo", "--setup.environment", "CartPole"], "CartPole-v1"),
    "minibatches that do not divide": (["ppo-cartpole", "--setup.minibatches", "7"], "minibatches=7"),
}


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_exits_with_2_and_says_value_rule_and_repair(case, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    arguments, message = BAD_INPUT[case]
    code, _, said = train(monkeypatch, capsys, *arguments)
    assert code == 2
    assert message in said, said
    assert "Traceback" not in said
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_a_file_that_python_cannot_read_is_refused_and_a_mistake_in_it_is_the_users_to_see(
    monkeypatch, capsys, tmp_path
):
    path = tmp_path / "own.py"
    path.write_bytes(b"recipe = 1\0")
    code, _, said = train(monkeypatch, capsys, str(path))
    assert (
        code == 2 and "is not Python source (source code string cannot contain null bytes); give a file of text" in said
    )
    path.write_text("recipe = 1\nrecipe = (")
    with pytest.raises(SyntaxError) as error:
        find(str(path))
    assert (error.value.filename, error.value.lineno) == (str(path), 2)


def test_ctrl_c_outside_of_a_run_exits_as_a_shell_expects(capsys):
    def main(arguments):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as stop:
        command.command(main)
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert (
        stop.value.code == 130
        and "stopped by Ctrl-C; what was saved before is whole" in said
        and "Traceback" not in said
    )


def test_a_bug_in_one_of_several_processes_is_shown_before_it_leaves_the_others(monkeypatch, capsys):
    left: list[int] = []
    monkeypatch.setattr(command, "several", lambda: SimpleNamespace(lost=lambda error: "", part=left.append))
    with pytest.raises(SystemExit) as stop:
        command.command(lambda arguments: [].pop())
    assert stop.value.code == 1 and left == [1]
    assert "IndexError: pop from empty list" in capsys.readouterr().err


def test_a_misspelt_name_of_the_package_is_told_of_those_there_are():
    with pytest.raises(
        AttributeError, match="'research' has no attribute 'Budgets'; it has Budget, Experiment, .*, Tick"
    ):
        getattr(research, "Budgets")  # noqa: B009


def test_missing_data_names_the_place_and_the_command(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESEARCH_DATA_DIR", str(tmp_path / "empty"))
    code, _, said = train(monkeypatch, capsys, "classify", "--setup.data", "mnist", "--device-count", "1")
    assert code == 2 and "prepare_data.py mnist" in said and "empty" in said.replace(" ", "")
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_written_exits_with_1(monkeypatch, capsys, tmp_path):
    (tmp_path / "runs").write_text("a file where a folder should be")
    code, _, said = train(monkeypatch, capsys, OWN, *SMALL, "--out", str(tmp_path / "runs"))
    assert code == 1 and "failed" in said and "Traceback" not in said
    assert (tmp_path / "runs").read_text() == "a file where a folder should be"


def test_memory_that_does_not_hold_it_exits_with_1(monkeypatch, capsys, tmp_path):
    few = "--setup.data", "digits", "--setup.stacks", str(10**14)
    code, _, said = train(monkeypatch, capsys, "stacked-mnist", *few, "--out", str(tmp_path))
    assert code == 1 and "not enough memory" in said and "fewer seeds" in said and "Traceback" not in said


def test_a_path_with_brackets_is_printed_as_it_is_and_bytes_that_are_no_text_are_refused(monkeypatch, capsys, tmp_path):
    out = str(tmp_path / "a[/]:smile:")
    code, printed, said = train(monkeypatch, capsys, OWN, *SMALL, "--out", out)
    assert code == 0, said
    assert printed.strip().splitlines()[-1].startswith(f"{out}/linear-")
    code, _, said = train(monkeypatch, capsys, OWN, *SMALL, "--out", str(tmp_path / "\udcff"))
    assert code == 2 and "is not UTF-8, and no checkpoint can be written there; give another --out" in said
    assert [path.name for path in tmp_path.iterdir()] == ["a["]


def test_a_full_disk_exits_with_1_and_keeps_what_was_committed(monkeypatch, capsys, tmp_path):
    """A limit on the size of files stands for a full disk: both fail inside a write."""
    out = str(tmp_path / "runs")
    limit = "import resource, sys, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000)); sys.argv = sys.argv[1:]; "
    code = limit + "runpy.run_path(sys.argv[0], run_name='__main__')"
    # What measures coverage would write a file, too.
    unmeasured = {name: x for name, x in os.environ.items() if not name.startswith("COVERAGE")}
    command = [OWN, "--steps", "5000", "--chunk", "500", "--record-every", "10", "--save-seconds", "0", "--out", out]
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT / "scripts" / "train.py"), *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=unmeasured,
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr and "failed" in done.stderr
    (folder,) = Path(out).iterdir()
    assert any(path.name.isdigit() for path in (folder / "checkpoints").iterdir())
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "train.py"), *command], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / "summary.json").read_text())["complete"]


def test_a_corrupt_line_exits_with_1_and_changes_nothing(monkeypatch, capsys, tmp_path):
    out = str(tmp_path)
    train(monkeypatch, capsys, OWN, *SMALL, "--out", out)
    (folder,) = tmp_path.iterdir()
    path = folder / "metrics.jsonl"
    path.write_text("{broken\n" + path.read_text())
    before = files(folder)
    code, _, said = train(monkeypatch, capsys, OWN, *SMALL, "--out", out)
    assert code == 1 and "metrics.jsonl line 1 is not a record" in said and "--fresh" in said
    assert files(folder) == before


def test_a_run_leaves_its_folder_and_is_complete(monkeypatch, capsys, tmp_path):
    arguments = [OWN, *SMALL, "--out", str(tmp_path), "--tensorboard"]
    code, printed, _ = train(monkeypatch, capsys, *arguments)
    assert code == 0
    (folder,) = tmp_path.iterdir()
    names = {path.name for path in folder.iterdir()}
    assert {"manifest.json", "metrics.jsonl", "evaluations.jsonl", "summary.json", "curve.png", "tensorboard"} <= names
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["n"] == 2 and summary["error"] > 0 and summary["complete"]
    assert printed.strip().splitlines()[-1] == str(folder)
    before = files(folder)
    code, printed, _ = train(monkeypatch, capsys, *arguments[:-1])
    assert code == 0 and files(folder).keys() == before.keys()
    assert files(folder)["metrics.jsonl"] == before["metrics.jsonl"]


def test_debug_and_profile(monkeypatch, capsys, tmp_path):
    few = "--steps", "20", "--chunk", "10", "--record-every", "10", "--evaluate-every", "20"
    configured: list[tuple[int, bool]] = []
    with monkeypatch.context() as patch:
        patch.setattr(placement, "configure", lambda rows, light, **how: configured.append((rows, light)))
        code, printed, _ = train(monkeypatch, capsys, OWN, *few, "--debug", "--out", str(tmp_path))
    assert code == 0 and "no failure in 20 ticks of 1 rows" in printed
    assert configured == [(1, False)], "a recipe has all threads unless it says that it is light"
    assert not list(tmp_path.iterdir())
    train(monkeypatch, capsys, OWN, *SMALL, "--profile", "--out", str(tmp_path))
    (folder,) = tmp_path.iterdir()
    assert list((folder / "profile").rglob("*.xplane.pb"))


@pytest.mark.parametrize("name", [*RECIPES, OWN])
def test_help_documents_every_field(name, monkeypatch, capsys):
    import dataclasses

    from research.catalog import find

    code, printed, _ = train(monkeypatch, capsys, name, "--help")
    assert code == 0
    recipe = find(name)
    names = [f"--setup.{field.name}" for field in dataclasses.fields(recipe.setup)]
    names += [f"--hyper.{field}" for field in recipe.hyper._fields]
    words = printed.replace("│", " ").split()
    for name_ in names:
        option = name_.replace("_", "-")
        # A flag that is on by default is documented as the one that turns it off.
        spelled = option if option in words else option.replace(".", ".no-", 1)
        last = len(words) - 1 - words[::-1].index(spelled)  # the recipe's text may name it before
        documented = " ".join(words[last + 1 :]).split(" --", 1)[0]
        text, default, _ = documented.partition("(default:")
        assert default and len(text.split()) > 2, f"{option} has no text: {documented!r}"


def test_the_list_of_recipes_names_all(monkeypatch, capsys):
    code, printed, _ = train(monkeypatch, capsys, "--help")
    assert code == 0 and all(name in printed for name in RECIPES)
