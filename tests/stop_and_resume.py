"""`stop_and_resume.py OUT stop` runs every program for one chunk and is stopped; `... resume` runs them to their end."""

import os
import signal
import sys
from pathlib import Path

import conftest  # noqa: F401  the same settings as the tests
from recipes import PROGRAMS, plan_of, tiny

from research.engine.lane import Lane
from research.engine.run import run
from research.engine.session import Interrupted

out, what = Path(sys.argv[1]), sys.argv[2]
advance = Lane.advance


def advance_and_be_stopped(*args):
    os.kill(os.getpid(), signal.SIGTERM)
    return advance(*args)


for name in PROGRAMS:
    Lane.advance = advance_and_be_stopped if what == "stop" else advance
    try:
        folder = run(plan_of(tiny(name)), out, device_count=1)
        assert what == "resume", f"{name} was not stopped"
    except Interrupted:
        assert what == "stop", f"{name} was stopped"
