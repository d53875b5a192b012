"""What every script shares: one boxed message for what went wrong, and the exit code that says whose fault it was."""

import sys
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
    except (ValueError, FileNotFoundError) as error:
        if raised_outside_package(error):
            raise
        say("bad input", str(error), "red")
        sys.exit(BAD_INPUT)
    except (OSError, Damaged, Diverged) as error:
        say("failed", str(error), "red")
        sys.exit(MACHINE)


def raised_outside_package(error: BaseException) -> bool:
    """True where the innermost frame is neither ours nor the operating system's: a library's ValueError is a bug."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    module = frame.tb_frame.f_globals.get("__name__", "") if frame else ""
    return not (module.startswith("research") or isinstance(error, OSError))


def say(title: str, message: str, colour: str) -> None:
    """One box on standard error."""
    Console(stderr=True).print(Panel(Text(message), title=title, title_align="left", border_style=colour))
