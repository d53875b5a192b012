"""By what a run ends early, besides bad input (ValueError) and what the operating system refuses (OSError). Loads no JAX."""


class Damaged(Exception):
    """A file of a run folder does not hold what was written to it."""


class Diverged(Exception):
    """No row's metrics are finite any more."""


class Interrupted(Exception):
    """A signal came; the run is saved and goes on when it is started again.

    together  whether all processes of the run stopped at this point
    """

    def __init__(self, message: str, signal_number: int, together: bool = True) -> None:
        super().__init__(message)
        self.signal_number, self.together = signal_number, together
