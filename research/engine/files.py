"""Files of a run folder: replaced whole, read strictly, held by one process at a time. Loads no JAX."""

import fcntl
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from research.engine.errors import Damaged

MANIFEST, METRICS, EVALUATIONS, TIMINGS = "manifest.json", "metrics.jsonl", "evaluations.jsonl", "timings.jsonl"
# What a line says besides figures, and how the name of a ratio's count ends.
MARKS, COUNT = ("tick", "row", "final", "finite"), ".count"


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
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
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
    """The whole lines of a record; see `each_line`."""
    return [line for line, _ in each_line(path)]


def each_line(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Each whole line of a record, and the byte where it ends.

    A last line cut off by a crash is not one; any other bad line raises Damaged.
    """
    end = 0
    with open(path, "rb") if path.exists() else io.BytesIO() as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return
            end += len(text)
            try:
                line = json.loads(text)
                if not isinstance(line.get("tick"), int) or not isinstance(line.get("row", 0), int):
                    raise ValueError("no tick, or a row that is no number")
            except (ValueError, AttributeError) as error:
                raise Damaged(
                    f"{path} line {number} is not a record ({error}): {text[:60]!r}; "
                    "restore that line, or start over with --fresh"
                ) from error
            yield line, end


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run folder's manifest. Raises ValueError where the folder is not there or is no run folder, Damaged where what stands
    there is no manifest."""
    if not (folder / MANIFEST).is_file():
        told = f"holds no {MANIFEST}, so it is not a run folder" if folder.is_dir() else "does not exist"
        raise ValueError(f"{folder} {told}; give a folder such as runs/NAME")
    manifest = read_json(folder / MANIFEST)
    try:
        _ = manifest["rows"][0]["hyper"], manifest["budget"]["steps"], manifest["recipe"], manifest["machine"]
    except (KeyError, TypeError, IndexError) as error:
        raise Damaged(
            f"{folder / MANIFEST} is not a run's manifest ({error!r}); restore it, or start over with --fresh"
        ) from error
    return manifest
