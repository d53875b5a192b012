"""Another program that plays Go and speaks the Go Text Protocol, as a process of its own."""

import shlex
import subprocess
import threading
from typing import Self

PATIENCE, PARTING = 300.0, 5.0  # seconds for an answer, and to end when told to


class NoAnswer(ValueError):
    """A program has ended, says nothing, or refuses what it is told."""


class Program:
    """One such process; with a `with`, it ends behind it."""

    def __init__(self, line: str, size: int, komi: float):
        """Raises ValueError for a command line that cannot be run, NoAnswer for a program that does not know the board."""
        self.line, self.size, self.komi = line, size, komi
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise ValueError(f"{line!r} is no command line ({error}); close its quotation marks") from None
        if not words:
            raise ValueError("the command line of the program is empty; as in 'gnugo --mode gtp'")
        try:
            self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise ValueError(f"{line!r} cannot be run ({error.strerror}); is it installed?") from None
        try:
            self.name = f"{self.ask('name')} {self.ask('version')}"
            self.clear()
        except BaseException:
            self.close()
            raise

    def clear(self) -> None:
        """An empty board."""
        for told in (f"boardsize {self.size}", "clear_board", f"komi {self.komi:g}"):
            self.ask(told)

    def runs(self) -> bool:
        """Whether the process goes on; known after a second at the latest."""
        try:
            self.process.wait(timeout=1)  # what has closed its streams is about to end
        except subprocess.TimeoutExpired:
            return True
        return False

    def knows(self, command: str) -> bool:
        return self.ask(f"known_command {command}") == "true"

    def ask(self, told: str) -> str:
        """The answer to a command. Raises NoAnswer where there is none, or where it is refused; a program that says nothing for
        PATIENCE seconds is ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        lines: list[str] = []
        alarm = threading.Timer(PATIENCE, self.process.kill)
        alarm.start()
        try:
            self.process.stdin.write(told + "\n")
            self.process.stdin.flush()
            while (line := self.process.stdout.readline()).strip() or not lines:
                if not line or (not lines and line[:1] not in "=?\n"):
                    lines = [line.strip()] if line else lines
                    break  # it has ended, or speaks otherwise
                if line.strip():
                    lines.append(line.strip())
        except BrokenPipeError:
            lines = []
        finally:
            alarm.cancel()
        if not lines or not lines[0].startswith("="):
            answer = " ".join(lines) or "nothing"
            raise NoAnswer(f"{self.line!r} answered {told!r} with {answer!r}; does it speak GTP 2?")
        return " ".join([lines[0][1:].strip(), *lines[1:]]).strip()

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=PARTING)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def colour(number: int) -> str:
    """Of the player who makes a game's move of that number."""
    return "bw"[number % 2]
