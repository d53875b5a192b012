"""How a run is asked to stop: by SIGTERM or Ctrl-C, after the chunk that it is at."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any

from research.engine.errors import Interrupted


class Stop:
    """The first signal that asked to stop, or 0; `working` once there are chunks to finish."""

    signal: int = 0
    working: bool = False


@contextlib.contextmanager
def signals() -> Iterator[Stop]:
    """Turns the first SIGTERM or SIGINT into a wish to stop after the chunk; a second SIGINT stops at once.

    Before the first chunk there is nothing to finish, and the first signal stops at once.
    """
    stop = Stop()

    def heed(number_: int, frame: Any) -> None:
        if not stop.working:
            name = signal.Signals(number_).name
            raise Interrupted(
                f"stopped by {name} before the first chunk; the same command starts again", number_, False
            )
        if stop.signal and number_ == signal.SIGINT:
            raise KeyboardInterrupt
        stop.signal = stop.signal or number_

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number_: signal.signal(number_, heed) for number_ in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number_, handler in before.items():
            signal.signal(number_, handler)
