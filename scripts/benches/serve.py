"""The contestant's side of scripts/bench.py: a line in, one measured repetition, a line of JSON out."""

import json
import os
import sys
from collections.abc import Callable
from typing import Any


def serve(measure: Callable[[], dict[str, Any]]) -> None:
    """Answers every line on stdin with `measure()`; whatever a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for _ in sys.stdin:
        answers.write(json.dumps(measure()) + "\n")
        answers.flush()
