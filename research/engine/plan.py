"""What to run: a Recipe (a named preset), its Budget, and the Plan that puts rows into a lane.

Everything a user can get wrong is checked here, before anything is compiled or written.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from research.engine.experiment import Experiment, Inputs
from research.engine.fields import check


@dataclass(frozen=True)
class Budget:
    """How long a run is. This is the one place where it stands; schedules read it as `tick.total`.

    steps           steps per seed, in the recipe's unit (environment steps, updates)
    chunk           ticks between two looks at the host: progress, record, save, signals
    record_every    ticks folded into one line of metrics.jsonl; divides `chunk`
    evaluate_every  ticks between evaluations, a multiple of `chunk`; one always follows the last tick
    """

    steps: int
    chunk: int = 10
    record_every: int = 10
    evaluate_every: int = 100

    def ticks(self, steps_per_tick: int) -> int:
        """Ticks in the run. Raises ValueError where the budget does not divide: it is never rounded."""
        for name in ("steps", "chunk", "record_every", "evaluate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 1; try {name}=1 or more")
        divides("chunk", self.chunk, "record_every", self.record_every)
        divides("evaluate_every", self.evaluate_every, "chunk", self.chunk)
        unit = "chunk" if steps_per_tick == 1 else f"chunk={self.chunk} ticks of {steps_per_tick} steps"
        divides("steps", self.steps, unit, self.chunk * steps_per_tick)
        return self.steps // steps_per_tick


def divides(name: str, value: int, unit_name: str, unit: int) -> None:
    """Raises ValueError unless `value` is a multiple of `unit`, naming the nearest that are."""
    if value % unit:
        below = value // unit * unit
        nearest = f"{below} or {below + unit}" if below else f"{unit}"
        raise ValueError(f"{name}={value} is not a multiple of {unit_name}={unit}; nearest: {nearest}")


@dataclass(frozen=True)
class Recipe:
    """A named preset: an experiment with its settings, its input and its budget. An ordinary Python object.

    name            what the command line calls it
    make            setup -> Experiment; raises ValueError for fields that do not fit each other
    setup, hyper    the preset's Setup (static) and Hyper (traced)
    load            setup -> Inputs
    budget          the preset's Budget
    steps_per_tick  setup -> steps that one tick counts for
    unit            what a step is called
    watch           figures shown in the progress line, the summary's table and the curve, most important first
    best            evaluation figure whose best state is kept, '-' in front where smaller is better; None keeps none
    pictures        (outputs, inputs.data) -> dict[str, u8[H,W,3]] on the host, written at each evaluation; or None
    light           True where a tick is so small that threads inside one operation slow it down (DESIGN 2.10)
    about           claim, result, cost, command: the text of `--help`
    """

    name: str
    make: Callable[[Any], Experiment]
    setup: Any
    hyper: Any
    load: Callable[[Any], Inputs]
    budget: Budget
    steps_per_tick: Callable[[Any], int] = lambda setup: 1
    unit: str = "updates"
    watch: tuple[str, ...] = ()
    best: str | None = None
    pictures: Callable[[Any, Any], dict[str, np.ndarray]] | None = None
    light: bool = False
    about: str = ""
