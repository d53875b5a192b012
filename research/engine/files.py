"""Files of a run folder: replaced whole, read strictly, held by one process at a time. Loads no JAX."""

import fcntl
import json
import os
from pathlib import Path
from typing import Any

MANIFEST, METRICS, EVALUATIONS, TIMINGS = "manifest.json", "metrics.jsonl", "evaluations.jsonl", "timings.jsonl"


class Damaged(Exception):
    """A file of a run folder does not hold what was written to it."""


def claim(folder: Path) -> int:
    """Locks a run folder for this process, until it ends. Raises ValueError where another process holds it."""
    handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ValueError(
            f"run folder {folder} is in use: one process at a time may write there; wait for it, or give another --out"
        ) from None
    return handle


def write_text(path: Path, text: str) -> None:
    """Replaces a file whole: a reader sees the old one or the new one."""
    part = path.with_name(path.name + ".part")
    part.write_text(text)
    os.replace(part, path)


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise Damaged(f"{path} is not JSON ({error}); restore it, or start over with --fresh") from error


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a record. A last line cut off by a crash is not one; any other bad line raises Damaged."""
    if not path.exists():
        return []
    lines = []
    *whole, _torn = path.read_bytes().split(b"\n")
    for number, text in enumerate(whole, 1):
        try:
            line = json.loads(text)
            if not isinstance(line.get("tick"), int):
                raise ValueError("no tick")
        except (ValueError, AttributeError) as error:
            raise Damaged(
                f"{path} line {number} is not a record ({error}): {text[:60]!r}; "
                "restore that line, or start over with --fresh"
            ) from error
        lines.append(line)
    return lines
