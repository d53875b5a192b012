"""Two processes share one run's batch: they give what one gives, stop together, and outlive each other by a message."""

import contextlib
import io
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import multihost_utils

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
        (("", None, 0), "need --coordinator HOST:PORT"),
        (("auto", 2, None), "leave out --processes"),
        (("auto", None, 0), "leave out --processes"),
        (("localhost", 2, 0), "must be HOST:PORT or auto"),
        (("localhost:0", 2, 0), "must be HOST:PORT or auto"),
        (("localhost:65536", 2, 0), "must be HOST:PORT or auto"),
        (("localhost:4321", None, 0), "needs --processes N and --process"),
        (("localhost:4321", 2, None), "needs --processes N and --process"),
        (("localhost:4321", 0, 0), "process=0 must be at least 0 and below processes=0"),
        (("localhost:4321", 2, 2), "process=2 must be at least 0 and below processes=2"),
        (("localhost:4321", 2, -1), "process=-1 must be at least 0"),
    ],
)
def test_what_does_not_name_several_processes_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        processes.join(*arguments)


class Cluster:
    """Stands for JAX's: `asked` is what it was asked for, `explained` what an abort would say by then, and `met` how
    often all processes met; with an `error` it finds nobody."""

    def __init__(self, monkeypatch, *process_of_device: int) -> None:
        self.asked, self.explained, self.met, self.error = [], [], 0, None
        monkeypatch.setattr(processes, "_explain_abort", self.explained.append)
        monkeypatch.setattr(jax.distributed, "initialize", self.initialize)
        monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(process_index=p) for p in process_of_device])
        monkeypatch.setattr(processes, "gathered", self.gathered)

    def initialize(self, *address, **seconds):
        self.asked.append((address, seconds, tuple(self.explained)))
        if self.error:
            raise self.error

    def gathered(self, numbers):
        self.met += 1


def test_without_a_coordinator_there_is_one_process(monkeypatch):
    cluster = Cluster(monkeypatch)
    processes.join("", None, None)
    assert not cluster.asked


MISSED = "the processes of this run did not find each other at localhost:{} within 120 s"


@pytest.mark.parametrize(("port", "count", "process"), [(1, 1, 0), (65535, 3, 2), (4321, 3, 0)])
def test_processes_have_two_minutes_to_join_and_an_hour_to_part(port, count, process, monkeypatch):
    cluster = Cluster(monkeypatch, *range(count))
    processes.join(f"localhost:{port}", count, process)
    seconds = {"initialization_timeout": 120, "shutdown_timeout_seconds": 3600}
    assert cluster.asked == [((f"localhost:{port}", count, process), seconds, (MISSED.format(port),))]
    assert cluster.explained[1:] == [processes.GONE], "from then on"
    assert cluster.met == 1, "while all are at the same point"
    assert not jax.config.jax_enable_preemption_service, "SIGTERM is for the engine"


def test_processes_that_do_not_find_each_other_say_so(monkeypatch):
    cluster = Cluster(monkeypatch)
    cluster.error = RuntimeError("DEADLINE_EXCEEDED: Barrier timed out")
    with pytest.raises(OSError, match=f"{MISSED.format(4321)}: DEADLINE_EXCEEDED: Barrier timed out"):
        processes.join("localhost:4321", 2, 0)


def test_auto_outside_a_cluster_is_refused(monkeypatch):
    """Outside a cluster JAX finds no address for 'auto', and asks for one."""
    cluster = Cluster(monkeypatch)
    cluster.error = ValueError("coordinator_address should be defined.")
    with pytest.raises(ValueError, match="coordinator='auto' finds no cluster .*coordinator_address.*give HOST:PORT"):
        processes.join("auto", None, None)
    assert [address for address, *_ in cluster.asked] == [(None, None, None)], "JAX finds all three out"


def test_processes_of_unequal_size_are_refused(monkeypatch):
    Cluster(monkeypatch, 1, 0, 1)
    with pytest.raises(ValueError, match="found 1 in process 0, 2 in process 1; give each the same --device-count"):
        processes.join("localhost:4321", 2, 0)


def test_where_jax_aborts_the_process_its_last_words_say_why():
    program = "import os; from research.engine import processes; processes._explain_abort('why'); os.abort()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "\nwhy (JAX's lines above say what it saw)\n"


@pytest.mark.parametrize(
    ("count", "process", "several", "leads"), [(1, 0, False, True), (2, 0, True, True), (2, 1, True, False)]
)
def test_the_first_of_several_leads(count, process, several, leads, monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    monkeypatch.setattr(jax, "process_index", lambda: process)
    assert (processes.several(), processes.leads()) == (several, leads)


def test_one_process_leads_and_is_asked_nothing_before_jax_has_begun(monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: pytest.fail("starts the backend"))
    assert not processes.several() and processes.leads() is True


SENT = {
    "tick": np.int32(-7),
    "seed": np.array([2**63, 2**32 + 1], np.uint64),
    "rate": np.array([[0.1, np.nan], [np.inf, -0.0]]),
    "alive": np.array([True, False]),
    "none": np.zeros((0, 3), np.float32),
}


def test_every_bit_of_the_leaders_arrays_arrives(monkeypatch):
    """JAX sums, process by process, what only the leader's holds, and knows no 64 bits."""
    wire = iter([x for x in jax.tree.leaves(SENT) if x.size])

    def broadcast(own):
        assert own.dtype == np.uint8 and own.size
        return jnp.int32(np.frombuffer(next(wire).tobytes(), np.uint8))

    assert processes.from_leader(SENT) is SENT, "one process has them already"
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(multihost_utils, "broadcast_one_to_all", broadcast)
    received = processes.from_leader(jax.tree.map(np.zeros_like, SENT))
    assert received.keys() == SENT.keys()
    for name, x in SENT.items():
        assert (received[name].shape, received[name].dtype) == (x.shape, x.dtype), name
        assert received[name].tobytes() == x.tobytes(), name


@pytest.mark.parametrize(("options", "named"), [("aab", "2"), ("abb", "1, 2"), ("aaa", None)])
def test_processes_that_differ_from_the_first_are_named(options, named, monkeypatch):
    digests = np.array([[ord(option)] * 32 for option in options], np.uint8)
    monkeypatch.setattr(processes, "gathered", lambda digest: digests)
    refused = pytest.raises(ValueError, match=f"^process {named} was started with other options")
    with refused if named else contextlib.nullcontext():
        processes.agree(digests[0])


@pytest.mark.parametrize(("count", "process", "pauses"), [(1, 0, None), (2, 0, [1]), (2, 1, [])])
def test_one_of_several_ends_at_once_when_all_is_said_the_leader_a_second_later(count, process, pauses, monkeypatch):
    said = {name: io.BytesIO() for name in ("stdout", "stderr")}
    slept, ended = [], []
    for name, stream in said.items():
        monkeypatch.setattr(sys, name, io.TextIOWrapper(stream))
        print(name, end="", file=getattr(sys, name))
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: count)
    monkeypatch.setattr(jax, "process_index", lambda: process)
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(os, "_exit", lambda code: ended.append((code, *[x.getvalue() for x in said.values()])))
    processes.part(3)
    assert (ended, slept) == (([], []) if pauses is None else ([(3, b"stdout", b"stderr")], pauses))


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
