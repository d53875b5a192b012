"""What every script has: one boxed message for what went wrong, and an exit code that says whose fault it was. Loads no JAX."""

import codecs
import io
import linecache
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from research.engine.errors import Damaged, Diverged, Interrupted

BAD_INPUT, MACHINE = 2, 1


def command(main: Callable[[list[str]], Any]) -> None:
    """Runs `main(arguments)` and exits: 2 for input that does not fit, 1 for what the machine did, 128+n for a signal.

    Errors that are nobody's input (a bug, or a user's own code) keep their traceback.
    """
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
        others = several()
        gone = "" if refused else (others.lost(error) if others else "") or short_of_memory(error)
        if gone or refused or isinstance(error, (OSError, Damaged, Diverged)):
            say("bad input" if refused else "failed", gone or str(error), "red")
        elif others:
            traceback.print_exc()
        else:
            raise
        code = BAD_INPUT if refused else MACHINE
    if code and (others := several()):
        others.part(code)
    sys.exit(code)


def several() -> Any:
    """research.engine.processes where this process shares a run with others, else None; what has not loaded it does not."""
    loaded: Any = sys.modules.get("research.engine.processes")
    return loaded if loaded and loaded.several() else None


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
