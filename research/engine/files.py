"""Files of a run folder: replaced whole, read strictly, held by one process at a time. Loads no JAX."""

import contextlib
import fcntl
import io
import json
import math
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from research.engine.errors import Damaged
from research.engine.forms import ALWAYS, MANIFESTS, is_figure, misfit

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


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Where to write what replaces `path` whole, or not at all: a reader sees the old one or the new one, however many
    processes write."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")  # beside `path`, so that the renaming is atomic
    try:
        yield part
        os.replace(part, path)
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_text(path: Path, text: str) -> None:
    """Replaces a file whole."""
    with replacing(path) as part:
        # A name that is no UTF-8, as an argument of a command may be, is no reason to write nothing.
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")


def read_json(path: Path, repair: str = "restore it, or start over with --fresh") -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=finite, parse_float=finite)
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{path} is not JSON ({error}); {repair}") from error


def finite(text: str) -> float:
    """A number of a JSON text. Raises ValueError for NaN and Infinity, which Python writes and reads, and 1e999."""
    if not math.isfinite(float(text)):
        raise ValueError(f"{text} is no number of JSON")
    return float(text)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a record; see `each_line`."""
    return [line for line, _ in each_line(path)]


def each_line(path: Path, figures: bool = True) -> Iterator[tuple[dict[str, Any], int]]:
    """Each whole line of a record, and the byte where it ends.

    A last line cut off by a crash is not one; any other bad line raises Damaged, and so does, unless `figures` is False,
    one that holds other things than numbers.
    """
    end = 0
    with open(path, "rb") if path.exists() else io.BytesIO() as file:
        for number, text in enumerate(file, 1):
            if not text.endswith(b"\n"):
                return
            end += len(text)
            try:
                line = json.loads(text)
                if (
                    not isinstance(line, dict)
                    or type(line.get("tick")) is not int
                    or type(line.get("row", 0)) is not int
                ):
                    raise ValueError("no tick, or a row that is no number")
                if figures and not all(map(is_figure, line.values())):
                    raise ValueError("a figure that is no finite number")
            except (ValueError, RecursionError) as error:
                raise Damaged(
                    f"{path} line {number} is not a record ({error}): {text[:60]!r}; "
                    "restore that line, or start over with --fresh"
                ) from error
            yield line, end


def read_manifest(folder: Path) -> dict[str, Any]:
    """A run folder's manifest. Raises ValueError where the folder is not there or is no run folder, Damaged where what stands
    there is no manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        told = f"holds no {MANIFEST}, so it is not a run folder" if folder.is_dir() else "does not exist"
        raise ValueError(f"{folder} {told}; give a folder such as runs/NAME")
    manifest = read_json(path)
    if wrong := misfit(manifest, MANIFESTS, ALWAYS):
        raise Damaged(f"{path} is not a run's manifest (see {wrong!r} in it); restore it, or start over with --fresh")
    return manifest
