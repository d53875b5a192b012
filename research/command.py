"""What scripts share: the options of a run, one boxed message for what went wrong, and an exit code that says whose
fault it was."""

import codecs
import io
import linecache
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from research.catalog import find
from research.engine import saved
from research.engine.chunk import alive
from research.engine.experiment import Inputs
from research.engine.files import read_manifest
from research.engine.manifest import data_hash
from research.engine.placement import configure
from research.engine.plan import Budget, Plan, Recipe
from research.engine.source import source_hash

BAD_INPUT, MACHINE = 2, 1
ROWS = 100_000  # seeds of a run at most: each is a row with a state of its own


def command(main: Callable[[list[str]], Any]) -> None:
    """Runs `main(arguments)` and exits: 2 for input that does not fit, 1 for what the machine did, 128+n for a signal.

    Errors that are nobody's input (a bug, or a user's own code) keep their traceback.
    """
    from research.engine import processes
    from research.engine.files import Damaged
    from research.engine.session import Diverged
    from research.engine.signals import Interrupted

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path that cannot be shown is no reason to stop
    code = 0
    try:
        code = main(sys.argv[1:])
    except Interrupted as stop:
        say("stopped", str(stop), "yellow")
        code = 128 + stop.signal_number
        if stop.together:
            sys.exit(code)  # in order: none waits in vain for another
    except KeyboardInterrupt:
        say("stopped", "stopped by Ctrl-C; what was saved before is whole, and the same command goes on", "yellow")
        code = 128 + signal.SIGINT
    except Exception as error:
        refused = isinstance(error, ValueError | FileNotFoundError) and raised_on_purpose(error)
        gone = "" if refused else processes.lost(error) or short_of_memory(error)
        if gone or refused or isinstance(error, (OSError, Damaged, Diverged)):
            say("bad input" if refused else "failed", gone or str(error), "red")
        elif processes.several():
            traceback.print_exc()
        else:
            raise
        code = BAD_INPUT if refused else MACHINE
    if code:
        processes.part(code)
    sys.exit(code)


def short_of_memory(error: BaseException) -> str:
    """What to tell where the host's or a device's memory does not hold what was asked for; '' for any other error."""
    if not isinstance(error, MemoryError) and not str(error).startswith("RESOURCE_EXHAUSTED"):
        return ""
    told = str(error).partition("\n")[0]
    return f"not enough memory ({told or 'no more is free'}); use fewer seeds, fewer --lanes or a smaller setup"


def raised_on_purpose(error: BaseException) -> bool:
    """True where a `raise` of ours, or of a user's own file, made the error; what NumPy or JAX raise inside is a bug."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "")
    ours = module == "__main__" or module.split(".")[0] == "research" or module.startswith("own_")
    return ours and linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")


def say(title: str, message: str, colour: str) -> None:
    """One box on standard error."""
    terminal(stderr=True).print(Panel(Text(message), title=title, title_align="left", border_style=colour))


def terminal(**how: Any) -> Console:
    """A console that prints what it is given as it stands: paths and names may hold brackets and colons of their own."""
    return Console(markup=False, emoji=False, **how)


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


@dataclass(frozen=True)
class OfRun:
    """Options of scripts that use what a run has learned."""

    folder: Annotated[Path, tyro.conf.Positional]
    """The run folder."""
    seed: int | None = None
    """Which of the run's seeds; by default the first."""
    row: int | None = None
    """Which of the run's rows, from 0: a sweep has rows of the same seed."""
    best: bool = False
    """Use the best state instead of the last, where the recipe keeps it."""
    recipe: str = ""
    """The recipe's name or file, where it is another than when the run began."""


class Learned(NamedTuple):
    """One row's state after a tick, as NumPy arrays, and what its recipe reads now"""

    plan: Plan
    row: int
    state: Any
    tick: int
    inputs: Inputs


def inputs_of(run: Learned, folder: Path) -> Inputs:
    """What a run has read. Raises ValueError where that has changed since."""
    if data_hash(run.inputs) != read_manifest(folder)["data"]:
        raise ValueError(
            f"{folder} was trained on other data than there are now: what it read, or the code that reads it, has changed; "
            "bring that back, or train again"
        )
    return run.inputs


def check_ending(out: Path, usual: str) -> None:
    """Raises ValueError unless `out` is a file of the kind that the file name `usual` is."""
    ending = Path(usual).suffix
    if out.suffix.lower() != ending:
        better = out / usual if out.is_dir() else out.with_suffix(ending)
        raise ValueError(f"out={str(out)!r} must end in {ending}; try {str(better)!r}")


def given_lines() -> Iterator[str]:
    """The lines of standard input. Raises ValueError, naming the line, for what is not UTF-8."""
    for number, line in enumerate(sys.stdin.buffer, 1):
        line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        try:
            yield line.decode()
        except UnicodeDecodeError as error:
            wrong = f"byte 0x{line[error.start]:02X} is not UTF-8; give text in UTF-8"
            raise ValueError(f"standard input, line {number}: {wrong}") from None


def learned(chosen: OfRun, console: Console, fits: Callable[[Plan], Any] = lambda plan: None) -> Learned:
    """What a row has learned, for a process that has not used JAX yet; tells where the code has changed since.

    fits  raises ValueError for a plan, of that row alone, that a script has no use for, before a state is read
    Raises ValueError where there is no such run, row or state, or where the state holds a NaN."""
    manifest = read_manifest(chosen.folder)
    file = manifest.get("file")
    if file and not chosen.recipe and not Path(file).is_file():
        raise ValueError(f"the recipe's file {file!r} is no longer there; say where it is: --recipe PATH.py")
    recipe = find(chosen.recipe or file or manifest["recipe"])
    configure(1, light=recipe.light, device_count=1)
    plan = saved.plan_of(recipe, manifest)
    row = saved.row_of(plan, chosen.seed, chosen.row)
    fits(replace(plan, rows=(plan.rows[row],)))
    state, tick, inputs = saved.state_of(plan, chosen.folder, row, chosen.best)
    if not alive(state):
        raise ValueError(
            f"the state of seed {plan.rows[row].seed} holds a NaN at tick {tick}: that row diverged; use another one"
        )
    if source_hash(recipe.make, recipe.file) != manifest.get("source"):
        told = "the code has changed since this run began: what was learned then is used by the code as it is now"
        console.print(told, style="yellow", soft_wrap=True)
    return Learned(plan, row, state, tick, inputs)


def of_kind(kind: type, told: str) -> Callable[[Plan], None]:
    """For `learned`: raises ValueError for a plan whose Setup is not of that kind, which is `told` in words."""

    def fits(plan: Plan) -> None:
        if not isinstance(plan.setup, kind):
            raise ValueError(f"this is a run of {plan.recipe.name!r}, and no {told}; give the folder of one")

    return fits
