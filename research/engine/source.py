"""A hash of the code that decides a run's result: changed code is another run, never the old numbers."""

import contextlib
import functools
import hashlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parents[1]
# What reads runs or chooses which to run decides nothing in one; nor does what is only looked at: files named `*pictures.py`.
LEFT_OUT = tuple(
    PACKAGE / name
    for name in (
        "report",
        "studies",
        "sweep",
        "catalog.py",
        "command.py",
        "learned.py",
        "options.py",
        "engine/saved.py",
    )
)


def source_hash(make: Callable[..., Any], file: Path | None) -> str:
    """A hash of the package's source, and of a user's own `file` that defines a recipe.

    Of a recipe from a notebook the text of `make` counts, and not what it calls.
    """
    digest = package_source().copy()
    if file:
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    elif not make.__module__.startswith(PACKAGE.name):
        with contextlib.suppress(OSError, TypeError):
            digest.update(inspect.getsource(make).encode())
    return digest.hexdigest()[:16]


@functools.cache
def package_source() -> Any:
    """SHA-256 of the package's source, read once: a sweep asks for it with every cell."""
    digest = hashlib.sha256()
    for path in sorted(PACKAGE.rglob("*.py")):
        if not {path, path.parent}.intersection(LEFT_OUT) and not path.name.endswith("pictures.py"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest
