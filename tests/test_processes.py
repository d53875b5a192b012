"""Two processes share one run's batch: they give what one gives, stop together, and outlive each other by a message."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest

from research.engine import processes
from research.engine.files import read_lines, read_manifest

pytestmark = pytest.mark.xdist_group("processes")  # they share the run that was never disturbed

ROOT = Path(__file__).resolve().parent.parent
LINEAR = (ROOT / "tests" / "own" / "linear.py").read_text()
DRAW = 'jax.random.randint(tick.key, (setup.batch_size,), 0, len(data["x"]))'
LENGTH = ["--steps", "1000", "--chunk", "50", "--record-every", "50", "--evaluate-every", "250"]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> str:
    return divisible(tmp_path_factory.mktemp("own"))


def divisible(folder: Path) -> str:
    """The README's experiment, its batch marked as divisible, as a file in that folder."""
    assert LINEAR.count(DRAW) == 1
    path = folder / "linear.py"
    path.write_text("from research.engine.placement import spread\n" + LINEAR.replace(DRAW, f"spread({DRAW})"))
    return str(path)


def start(recipe: str, out: Path, *further: list[str]) -> list[subprocess.Popen]:
    """One process for each list of further arguments; a single one is alone."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    flags = [flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag]
    environment = os.environ | {"XLA_FLAGS": " ".join(flags)}
    words = [sys.executable, str(ROOT / "scripts" / "train.py"), recipe, *LENGTH, "--save-seconds", "0"]
    join = ["--coordinator", f"localhost:{port}", "--processes", str(len(further))]
    return [
        subprocess.Popen(
            [*words, "--out", str(out), *([*join, "--process", str(number)] if len(further) > 1 else []), *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
        )
        for number, more in enumerate(further)
    ]


def finish(running: list[subprocess.Popen]) -> list[str]:
    """-> what each said on standard error, in one line."""
    return [" ".join(p.communicate(timeout=120)[1].replace("│", " ").split()) for p in running]


def folder_in(out: Path) -> Path:
    (folder,) = out.glob("linear-*")
    return folder


def wait_for_checkpoint(running: list[subprocess.Popen], out: Path) -> None:
    while not list(out.glob("linear-*/checkpoints/[1-9]*0")):
        assert all(p.poll() is None for p in running), finish(running)
        time.sleep(0.01)


@pytest.fixture(scope="module")
def whole(recipe, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    running = start(recipe, out, [], [])
    said = finish(running)
    assert [p.returncode for p in running] == [0, 0], said
    machine = read_manifest(folder_in(out))["machine"]
    assert (machine["processes"], machine["device_count"]) == (2, 2)
    return folder_in(out)


def assert_same_record(folder: Path, other: Path) -> None:
    for name in ("metrics.jsonl", "evaluations.jsonl"):
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


def test_two_processes_give_what_one_gives(recipe, whole, tmp_path):
    (alone,) = start(recipe, tmp_path, [])
    finish([alone])
    for name, count in (("metrics.jsonl", 20), ("evaluations.jsonl", 4)):
        two, one = read_lines(whole / name), read_lines(folder_in(tmp_path) / name)
        assert len(two) == len(one) == count
        for a, b in zip(two, one, strict=True):
            assert a.keys() == b.keys()
            np.testing.assert_allclose(list(a.values()), list(b.values()), rtol=1e-4, err_msg=f"{name} {a['tick']}")


@pytest.mark.parametrize("killed", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_where_one_is_killed_the_other_says_so_and_both_resume(killed, recipe, whole, tmp_path):
    running = start(recipe, tmp_path, [], [])
    wait_for_checkpoint(running, tmp_path)
    running[killed].kill()
    said = finish(running)[1 - killed]
    assert running[1 - killed].returncode == 1, said
    assert "another process of this run is gone" in said and "start all of them again" in said
    running = start(recipe, tmp_path, [], [])
    said = finish(running)
    assert [p.returncode for p in running] == [0, 0], said
    assert_same_record(folder_in(tmp_path), whole)


def test_a_signal_to_one_stops_both_at_the_same_tick(recipe, whole, tmp_path):
    running = start(recipe, tmp_path, [], [])
    wait_for_checkpoint(running, tmp_path)
    running[1].send_signal(signal.SIGTERM)
    said = finish(running)
    assert [p.returncode for p in running] == [128 + signal.SIGTERM] * 2, said
    ticks = [text.split("at tick ")[1].split()[0] for text in said]
    assert ticks[0] == ticks[1] and "stopped by SIGTERM" in said[0]
    finish(running := start(recipe, tmp_path, [], []))
    assert [p.returncode for p in running] == [0, 0]
    assert_same_record(folder_in(tmp_path), whole)


def test_processes_with_different_options_are_refused(recipe, tmp_path):
    running = start(recipe, tmp_path, [], ["--hyper.learning-rate", "0.2"])
    said = finish(running)
    assert [p.returncode for p in running] == [2, 2], said
    assert all("process 1 was started with other options" in text for text in said)
    assert not list(tmp_path.glob("linear-*"))


def test_a_recipe_that_divides_nothing_is_refused(tmp_path):
    """Both would do the whole work, and the figures would be right: it is refused by the program, which talks to nobody."""
    path = tmp_path / "linear.py"
    path.write_text(LINEAR)
    said = finish(running := start(str(path), tmp_path, [], []))
    assert [p.returncode for p in running] == [2, 2], said
    assert all("linear marks no batch that several devices could share" in text for text in said)


def test_a_signal_to_one_before_the_first_chunk_ends_both_at_once(recipe, tmp_path):
    first, second = start(recipe, tmp_path, [], [])
    assert "waiting for the run's other processes" in second.stderr.readline()
    time.sleep(2)
    second.send_signal(signal.SIGTERM)
    begun = time.time()
    finish([first, second])
    assert time.time() - begun < 60
    # Either it came before the engine heeds signals, or while it loads and compiles, or it was early enough to be agreed on.
    assert second.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM)
    assert first.returncode in (1, 128 + signal.SIGTERM)


def test_rows_are_not_spread_over_processes(recipe, tmp_path):
    said = finish(running := start(recipe, tmp_path, ["--seeds", "2"], ["--seeds", "2"]))
    assert [p.returncode for p in running] == [2, 2]
    assert "2 rows in 2 processes" in said[0] and "sweep.py --launch" in said[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 2, None), "need --coordinator HOST:PORT"),
        (("auto", 2, 0), "leave out --processes"),
        (("localhost", 2, 0), "must be HOST:PORT or auto"),
        (("localhost:0", 2, 0), "must be HOST:PORT or auto"),
        (("localhost:70000", 2, 0), "must be HOST:PORT or auto"),
        (("localhost:4321", None, 0), "needs --processes N and --process"),
        (("localhost:4321", 2, 2), "process=2 must be at least 0 and below processes=2"),
        (("localhost:4321", 2, -1), "process=-1 must be at least 0"),
    ],
)
def test_what_does_not_name_several_processes_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.join(*arguments)


def test_auto_outside_a_cluster_is_refused(monkeypatch):
    """Outside a cluster JAX finds no address for 'auto', and asks for one."""
    asked: list[object] = []

    def initialize(*address, **seconds):
        asked.extend(address)
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(processes, "_explain_abort", lambda message: None)
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ValueError, match="coordinator='auto' finds no cluster .*coordinator_address.*give HOST:PORT"):
        processes.join("auto", None, None)
    assert asked == [None, None, None], "JAX finds all three out"


def test_processes_of_unequal_size_are_refused(monkeypatch):
    monkeypatch.setattr(processes, "_explain_abort", lambda message: None)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *address, **seconds: None)
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(process_index=number) for number in (1, 0, 1)])
    with pytest.raises(ValueError, match="found 1 in process 0, 2 in process 1; give each the same --device-count"):
        processes.join("localhost:4321", 2, 0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            "UNKNOWN: Gloo all-reduce failed: Connection closed by peer [127.0.0.1]:4321\nand more",
            "Connection closed by peer",
        ),
        ("UNAVAILABLE: failed to connect to all addresses: Socket closed", "Socket closed"),
        ("INTERNAL: Mosaic failed to compile", ""),
        ("what gloo is: connection closed", ""),
    ],
)
def test_an_error_that_tells_of_a_lost_process_is_known_by_its_code_and_words(error, told, monkeypatch):
    assert processes.lost(RuntimeError(error)) == "", "one process loses nobody"
    monkeypatch.setattr(processes, "several", lambda: True)
    found = processes.lost(RuntimeError(error))
    assert found == (f"{processes.GONE} ({error.splitlines()[0]})" if told else "") and told in found
