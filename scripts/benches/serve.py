"""The contestant's side of scripts/bench.py: a line in, one measured repetition, a line of JSON out."""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any


def serve(measure: Callable[[], dict[str, Any]]) -> None:
    """Answers every line on stdin with `measure()`; whatever a library prints goes to stderr.

    Adds `busy`, the cores' worth of time that the process got: less than it may use where others took theirs.
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for _ in sys.stdin:
        wall, used = time.perf_counter(), sum(os.times()[:4])  # of this process and of those that it has waited for
        answer = measure()
        busy = (sum(os.times()[:4]) - used) / (time.perf_counter() - wall)
        answers.write(json.dumps({**answer, "busy": busy}) + "\n")
        answers.flush()
