"""Goes on with runs that the contract suite has stopped, in a process of its own: a recipe's name and the folder of its runs by
line, and the name again when that run is at its end."""

import sys
from pathlib import Path

import conftest  # noqa: F401  the same settings as the tests
from recipes import plan_of, tiny

from research.engine.run import run

for line in sys.stdin:
    name, out = line.rstrip("\n").split("\t")
    run(plan_of(tiny(name)), Path(out), device_count=1)
    print(name, flush=True)
