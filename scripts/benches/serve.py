"""The contestant's side of scripts/bench.py: its command line, and a line in, one measured repetition, a line of JSON out."""

import argparse
import ctypes
import json
import os
import resource
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any


def options(**defaults: Any) -> Namespace:
    """A contestant's options, one for each keyword and of its default's type, and `--cores`, which the harness gives.

    A tuple names choices, of which the first is the default; False is a switch; a dict is given as JSON, its lists
    becoming tuples."""
    parser = argparse.ArgumentParser()
    for name, default in {**defaults, "cores": 1}.items():
        flag = "--" + name.replace("_", "-")
        if isinstance(default, bool):
            parser.add_argument(flag, action="store_true")
        elif isinstance(default, tuple):
            parser.add_argument(flag, choices=default, default=default[0])
        else:
            parser.add_argument(flag, type=settings if isinstance(default, dict) else type(default), default=default)
    return parser.parse_args()


def settings(text: str) -> dict[str, Any]:
    return json.loads(text, object_hook=lambda d: {k: tuple(v) if isinstance(v, list) else v for k, v in d.items()})


def serve(measure: Callable[[], dict[str, Any]]) -> None:
    """Answers every line on stdin with `measure()`; whatever a library prints goes to stderr.

    Adds `busy`, the cores' worth of time that the process got: less than it may use where others took theirs; and
    `megabytes`, the most memory that it held meanwhile.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for _ in sys.stdin:
        forget_peak()
        wall, used = time.perf_counter(), processor_time()
        answer = measure()
        busy = (processor_time() - used) / (time.perf_counter() - wall)
        answers.write(json.dumps({**answer, "busy": busy, "megabytes": most_memory()}) + "\n")
        answers.flush()


def serve_rate(unit: str, amount: float, work: Callable[[], Any], packages: tuple[str, ...] = (), **notes: Any) -> None:
    """Answers with `amount` by the seconds that `work` says, or else by those that it took."""
    notes = {"unit": unit, **notes, "versions": {name: version(name) for name in packages}}

    def measure() -> dict[str, Any]:
        begun = time.perf_counter()
        said = work()
        return {"rate": amount / (said or time.perf_counter() - begun), **notes}

    serve(measure)


def processor_time() -> float:
    """Seconds, of this process and of those that it has waited for."""
    return time.process_time() + sum(os.times()[2:4])


def forget_peak() -> None:
    """Begins `most_memory` anew where Linux allows it, without what the compiler has left: a program that was kept on disk
    would need less than one that was compiled."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")


def most_memory() -> float:
    """MB that this process has held at most."""
    with suppress(OSError):
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return round(int(line.split()[1]) * 1024 / 1e6, 1)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
