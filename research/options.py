"""The options of a script that starts runs: a recipe's own fields, and what every run has."""

from dataclasses import field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from research.engine.plan import Budget, Recipe

ROWS = 100_000  # seeds of a run at most: each is a row with a state of its own


def options(recipe: Recipe, own: dict[str, tuple[Any, Any, str]]) -> Any:
    """A dataclass of the recipe's own fields, what every run has, and a script's `own` {name: (type, default, help)}."""
    preset, unit = recipe.budget, recipe.unit
    fields = {
        "setup": (type(recipe.setup), recipe.setup, None),
        "hyper": (type(recipe.hyper), recipe.hyper, None),
        "seeds": (int, 1, "How many seeds; each is a row of one program."),
        "first_seed": (int, 0, "The first seed; the others count up from it."),
        "steps": (int, preset.steps, f"Length of the run per seed ({unit})."),
        "chunk": (int, preset.chunk, "Ticks between two looks at the host: progress, saving, signals."),
        "record_every": (int, preset.record_every, "Ticks folded into one line of metrics.jsonl."),
        "evaluate_every": (int, preset.evaluate_every, "Ticks between evaluations."),
        "out": (Path, Path("runs"), "Folder of run folders."),
        "fresh": (bool, False, "Start over; an older folder of the same run is set aside."),
        "other_machine": (bool, False, "Resume although devices or versions differ; equal bits are not promised then."),
        "save_seconds": (float, 30.0, "A checkpoint at most this often (s); 0 saves after every chunk."),
        "device_count": (int | None, None, "Devices to use; one seed on several spreads its batch."),
        "fast": (bool, False, "Lift determinism on GPU."),
    } | own
    return make_dataclass(
        "Options",
        [
            (name, Annotated[kind, tyro.conf.arg(help=text)] if text else kind, field(default=default))
            for name, (kind, default, text) in fields.items()
        ],
        frozen=True,
    )


def budget(recipe: Recipe, chosen: Any) -> Budget:
    """The recipe's budget as the options change it."""
    names = ("steps", "chunk", "record_every", "evaluate_every")
    return replace(recipe.budget, **{name: getattr(chosen, name) for name in names})


def seeds(chosen: Any) -> range:
    """The seeds that the options name. Raises ValueError for none, and for more than anyone waits for."""
    if not 1 <= chosen.seeds <= ROWS:
        raise ValueError(f"seeds={chosen.seeds} must be at least 1 and at most {ROWS}; usual: 5 to 16")
    return range(chosen.first_seed, chosen.first_seed + chosen.seeds)
