"""Scripts run in the tests' own process, as a shell would run them."""

import contextlib
import io
import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts"


def script(name: str, *arguments: object, given: str | bytes | None = None) -> tuple[int, str, str]:
    """Runs a script with `given` on its standard input -> (exit code, standard output, standard error as one line)."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        if given is not None:
            bytes_given = given if isinstance(given, bytes) else given.encode()
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(bytes_given)))
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(SCRIPTS / name), run_name="__main__")
    return int(stop.value.code or 0), out.getvalue(), " ".join(err.getvalue().replace("│", " ").split())
