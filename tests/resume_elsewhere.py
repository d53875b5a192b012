"""`resume_elsewhere.py OUT` goes on with the runs that the contract suite stopped there, in a process of its own."""

import sys
from pathlib import Path

import conftest  # noqa: F401  the same settings as the tests
from recipes import PROGRAMS, plan_of, tiny

from research.engine.run import run

for name in PROGRAMS:
    run(plan_of(tiny(name)), Path(sys.argv[1]), device_count=1)
