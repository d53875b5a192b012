"""How contestants are asked: each a process of its own, started once, pinned to the same cores, warmed up, and then all
in turn, round after round."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Timer
from typing import Any

from benches.registry import Contestant
from rich.console import Console

FOLDER = Path(__file__).resolve().parent
ENVIRONMENTS = FOLDER.parent.parent / ".bench"
PATIENCE = 1800  # seconds for one repetition, compiling included
console = Console()


def requirements(file: Path) -> list[str]:
    """Dependencies in a file's script header (PEP 723), or an empty list."""
    _, _, rest = file.read_text().partition("# /// script\n")
    header, _, _ = rest.partition("# ///\n")
    return tomllib.loads(header.replace("# ", "")).get("dependencies", [])


def interpreter(contestant: Contestant) -> str:
    """The Python that runs a contestant; makes its environment on first use and when its needs change."""
    file = FOLDER / contestant.file
    needs = requirements(file)
    if not needs:
        return sys.executable
    folder = ENVIRONMENTS / (contestant.venv or file.stem.rsplit("_", 1)[-1])
    python, stamp = folder / "bin" / "python", folder / "requirements.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != needs:
        console.print(f"making .bench/{folder.name}: {', '.join(needs)}")
        for command in ([sys.executable, "-m", "venv", folder], [python, "-m", "pip", "install", "--quiet", *needs]):
            if code := subprocess.run(command).returncode:
                raise ChildProcessError(
                    f"making .bench/{folder.name} ended with status {code}; its message stands above"
                )
        stamp.write_text(json.dumps(needs))
    return str(python)


def start(contestant: Contestant, cores: range) -> subprocess.Popen[str]:
    """Starts a contestant pinned to `cores`, in a session that can be ended with all that it starts itself."""
    process = subprocess.Popen(
        [interpreter(contestant), str(FOLDER / contestant.file), *contestant.arguments, "--cores", str(len(cores))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **contestant.environment},
        start_new_session=True,
    )
    os.sched_setaffinity(process.pid, cores)  # before it has loaded anything that counts cores or starts threads
    return process


def end(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def ask(name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """One repetition of a contestant. Raises ChildProcessError where it died or took longer than PATIENCE."""
    assert process.stdin and process.stdout
    late = Event()

    def give_up() -> None:
        late.set()
        end(process)

    limit = Timer(PATIENCE, give_up)
    limit.start()
    try:
        with suppress(BrokenPipeError):
            process.stdin.write("go\n")
            process.stdin.flush()
        line = process.stdout.readline()
    finally:
        limit.cancel()
    if line:
        return json.loads(line)
    why = (
        f"gave no answer in {PATIENCE} s"
        if late.is_set()
        else f"ended with status {process.wait()}; its message stands above"
    )
    raise ChildProcessError(f"contestant {name!r} {why}")


@contextmanager
def alone() -> Iterator[None]:
    """Two benches of one checkout take turns: threads that wait for each other collapse on a core that others use."""
    path = ENVIRONMENTS / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compare(contestants: dict[str, Contestant], cores: range, repetitions: int) -> dict[str, dict[str, Any]]:
    """Asks all contestants in turn, `repetitions` times -> name -> newest notes and rates, one per round."""
    found: dict[str, dict[str, Any]] = {name: {} for name in contestants}
    processes: dict[str, subprocess.Popen[str]] = {}
    with alone():
        try:
            for name, contestant in contestants.items():
                processes[name] = start(contestant, cores)
            for repetition in range(repetitions + 1):
                for name, process in processes.items():
                    answer = ask(name, process)
                    measured = {"rates": answer.pop("rate"), "busy": answer.pop("busy")}
                    if "share" in answer:
                        measured["shares"] = answer.pop("share")
                    found[name] |= answer
                    if repetition == 0:
                        found[name] |= {key: [] for key in measured}
                        continue
                    for key, value in measured.items():
                        found[name][key].append(value)
                    rate, busy = f"{measured['rates']:12,.0f} {answer['unit']}", f"{measured['busy']:.2f} cores busy"
                    console.print(
                        f"  {repetition}/{repetitions}  {name:<40} {rate}, {busy}", highlight=False, soft_wrap=True
                    )
            return found
        finally:
            for process in processes.values():
                end(process)
                process.wait()
