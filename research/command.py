"""What every script shares: one boxed message for what went wrong, and the exit code that says whose fault it was."""

import linecache
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

BAD_INPUT, MACHINE = 2, 1


def command(main: Callable[[list[str]], Any]) -> None:
    """Runs `main(arguments)` and exits: 2 for input that does not fit, 1 for what the machine did, 128+n for a signal.

    Errors that are nobody's input (a bug, or a user's own code) keep their traceback.
    """
    from research.engine.files import Damaged
    from research.engine.session import Diverged, Interrupted

    try:
        sys.exit(main(sys.argv[1:]))
    except Interrupted as stop:
        say("stopped", str(stop), "yellow")
        sys.exit(128 + stop.signal_number)
    except KeyboardInterrupt:
        say("stopped", "stopped by Ctrl-C; what was saved before is whole, and the same command goes on", "yellow")
        sys.exit(128 + signal.SIGINT)
    except (ValueError, OSError, Damaged, Diverged) as error:
        refused = isinstance(error, ValueError | FileNotFoundError) and raised_on_purpose(error)
        if isinstance(error, ValueError) and not refused:
            raise
        say("bad input" if refused else "failed", str(error), "red")
        sys.exit(BAD_INPUT if refused else MACHINE)


def raised_on_purpose(error: BaseException) -> bool:
    """True where a `raise` of ours, or of a user's own file, made the error; what NumPy or JAX raise inside is a bug."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    module = frame.f_globals.get("__name__", "")
    ours = module == "__main__" or module.split(".")[0] == "research" or module.startswith("own_")
    return ours and linecache.getline(frame.f_code.co_filename, line).strip().startswith("raise ")


def say(title: str, message: str, colour: str) -> None:
    """One box on standard error."""
    Console(stderr=True).print(Panel(Text(message), title=title, title_align="left", border_style=colour))
