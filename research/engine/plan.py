"""What to run: a Recipe (a named preset), its Budget, and the Plan that puts rows into a lane.

Everything a user can get wrong is checked here, before anything is compiled or written.
"""

import functools
import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from research.engine.experiment import Experiment, Inputs
from research.engine.fields import check
from research.engine.keys import SEEDS
from research.engine.source import source_hash

TICKS = 2**31
NAME = re.compile(r"\w[\w.-]*")


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
        ticks = self.steps // steps_per_tick
        if ticks >= TICKS:
            raise ValueError(f"steps={self.steps} makes more than {TICKS - 1} ticks, which are counted in 32 bits")
        return ticks


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
    watch           figures, as recorded, for the progress line, the table and the curve, most important first
    best            evaluation figure, as recorded, whose best state is kept, '-' in front where smaller is better
    pictures        (outputs, inputs.data) -> dict[str, u8[H,W,3]] on the host, written at each evaluation; or None
    light           True where a tick is so small that threads inside one operation slow it down (docs/design/traps.md)
    file            the user's own file that defines it, None for ours; its content is part of a run's name
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
    file: Path | None = None
    about: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a recipe that is none, where its author can see it."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(
                f"name={self.name!r} names a folder: use letters, digits, '.', '_' and '-', as in 'my-idea'"
            )
        for name, kind, fits in (
            ("setup", "an object of a frozen dataclass", frozen(self.setup)),
            ("hyper", "an object of a NamedTuple", isinstance(self.hyper, tuple) and hasattr(self.hyper, "_asdict")),
            ("make", "a function of a setup", callable(self.make)),
            ("load", "a function of a setup", callable(self.load)),
            ("budget", "a Budget", isinstance(self.budget, Budget)),
        ):
            if not fits:
                raise ValueError(f"{name}={getattr(self, name)!r} of recipe {self.name!r} must be {kind}")


def frozen(setup: Any) -> bool:
    """Whether it can be the key of a compiled program."""
    try:
        hash(setup)
    except TypeError:
        return False
    return is_dataclass(setup) and not isinstance(setup, type)


class Row(NamedTuple):
    """One run of a lane: a seed and one value of every hyper-parameter."""

    seed: int
    hyper: Any


@dataclass(frozen=True)
class Plan:
    """One lane: rows that share a Setup and so one program. Valid by construction.

    width  rows of its program, where lanes with fewer rows are to share it; the last row is repeated then
    """

    recipe: Recipe
    setup: Any
    rows: tuple[Row, ...]
    budget: Budget
    width: int | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise ValueError("seeds=0 must be at least 1; try seeds=1")
        check(self.setup, self.recipe.setup)
        for hyper in {id(row.hyper): row.hyper for row in self.rows}.values():  # seeds share theirs
            check(hyper, self.recipe.hyper)
            for name, value in hyper._asdict().items():
                with np.errstate(over="ignore"):
                    held = float(np.float32(value))
                if not np.isfinite(held) or (held == 0) != (value == 0):
                    raise ValueError(f"{name}={value!r} becomes {held:g} as a float32; use 1e-38 to 3e38, or 0")
        for row in self.rows:
            if not 0 <= row.seed < SEEDS:
                raise ValueError(f"seed={row.seed} must be at least 0 and below {SEEDS}; usual: 0")
        _ = self.experiment, self.ticks  # fields that do not fit each other are refused here

    @functools.cached_property
    def experiment(self) -> Experiment:
        return self.recipe.make(self.setup)

    @property
    def lane_width(self) -> int:
        """Rows of the program before it is padded to fill its devices."""
        return self.width or len(self.rows)

    @property
    def steps_per_tick(self) -> int:
        return self.recipe.steps_per_tick(self.setup)

    @property
    def ticks(self) -> int:
        return self.budget.ticks(self.steps_per_tick)

    def stacked(self, width: int) -> tuple[np.ndarray, Any]:
        """-> seeds u32[width], hyper with leaves f32[width]; the last row is repeated to fill the lane."""
        rows = [*self.rows, *[self.rows[-1]] * (width - len(self.rows))]
        hyper = jax.tree.map(lambda *values: np.array(values, np.float32), *[row.hyper for row in rows])
        return np.array([row.seed for row in rows], np.uint32), hyper

    def manifest(self) -> dict[str, Any]:
        """What a run folder says of its plan: its identity, and how to read its figures; JSON."""
        recipe = self.recipe
        return self.identity() | {
            "unit": recipe.unit,
            "watch": list(recipe.watch),
            "best": recipe.best,
            "steps_per_tick": self.steps_per_tick,
            "file": str(recipe.file.resolve()) if recipe.file else None,
        }

    def identity(self) -> dict[str, Any]:
        """Everything that decides the result, apart from the machine; JSON."""
        return json.loads(
            json.dumps(
                {
                    "recipe": self.recipe.name,
                    "setup": asdict(self.setup),
                    "rows": [{"seed": row.seed, "hyper": row.hyper._asdict()} for row in self.rows],
                    "budget": asdict(self.budget),
                    "source": source_hash(self.recipe.make, self.recipe.file),
                },
                default=refuse,
            )
        )

    @property
    def name(self) -> str:
        """The run's name: its recipe and a hash of what decides its result."""
        text = json.dumps(self.identity(), sort_keys=True)
        return f"{self.recipe.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def refuse(value: Any) -> Any:
    """For json.dumps: a path by its name; what else JSON cannot hold has no name that stays from run to run."""
    if isinstance(value, Path):
        return str(value)
    raise ValueError(
        f"{value!r} in a Setup cannot be part of a run's name; use numbers, strings, None or tuples of them"
    )


def pack(rows: Sequence[Row], width: int) -> list[tuple[Row, ...]]:
    """Cuts a grid of rows into lanes of at most `width`; a lane's program has its width whatever it holds."""
    if width < 1:
        raise ValueError(f"width={width} must be at least 1; try width=1")
    return [tuple(rows[start : start + width]) for start in range(0, len(rows), width)]
