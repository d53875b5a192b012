"""One progress line: rate, remaining time, newest figures. Plain lines where nobody watches a terminal."""

import math
import time
from collections.abc import Mapping

from rich.console import Console
from rich.live import Live
from rich.text import Text

PLAIN_SECONDS, LIVE_SECONDS = 5.0, 0.1


class Progress:
    """Shows how far a run is. `steps` counts over all rows; without `console` nothing is shown."""

    def __init__(self, console: Console | None, name: str, steps: int, unit: str) -> None:
        self.console, self.name, self.steps, self.unit = console, name, steps, unit
        self.figures: dict[str, float] = {}
        self._last_print = -math.inf
        self._live = Live(console=console, auto_refresh=False) if console and console.is_terminal else None
        self.begin(0)

    def __enter__(self) -> "Progress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def stage(self, text: str) -> None:
        """Says what takes time before or after the chunks: loading, compiling, evaluating."""
        self._show(Text(f"{self.name}  {text}", style="dim"), force=True)

    def begin(self, done: int) -> None:
        """Starts the clock; steps done before (a resumed run) do not count into the rate."""
        self._begun_done = done
        self._begun_at = time.perf_counter()

    def note(self, figures: Mapping[str, float]) -> None:
        """Newest figures, shown with the next `advance`."""
        self.figures.update(figures)

    def advance(self, done: int) -> None:
        """Shows that more steps are done than at `begin`."""
        elapsed = max(time.perf_counter() - self._begun_at, 1e-9)
        rate = (done - self._begun_done) / elapsed
        share = done / self.steps
        newest = "  ".join(f"{name} {value:.4g}" for name, value in self.figures.items())
        left = (self.steps - done) / rate
        line = f"{self.name}  {share:4.0%}  {rate:,.0f} {self.unit}/s  {clock(left)} left  {newest}"
        self._show(Text(line), force=done >= self.steps)

    def _show(self, line: Text, force: bool) -> None:
        if not self.console:
            return
        now = time.perf_counter()
        if not force and now - self._last_print < (LIVE_SECONDS if self._live else PLAIN_SECONDS):
            return
        self._last_print = now
        if self._live:
            self._live.update(line, refresh=True)
        else:
            self.console.print(line, soft_wrap=True)


def clock(seconds: float) -> str:
    """'0:07', '12:34', '1:02:03'."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
