"""Another program that plays Go and speaks the Go Text Protocol, as a process of its own."""

import shlex
import subprocess


class Program:
    """One such process, on an empty board."""

    def __init__(self, line: str, size: int, komi: float):
        """Raises ValueError for a command line that cannot be run, or a program that does not know the board."""
        self.line = line
        try:
            self.process = subprocess.Popen(shlex.split(line), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        except OSError as error:
            raise ValueError(f"{line!r} cannot be run ({error.strerror}); is it installed?") from None
        try:
            for told in (f"boardsize {size}", "clear_board", f"komi {komi:g}"):
                self.ask(told)
        except ValueError:
            self.close()
            raise

    def ask(self, told: str) -> str:
        """The answer to a command. Raises ValueError where there is none, or where it is refused."""
        assert self.process.stdin is not None and self.process.stdout is not None
        lines: list[str] = []
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
        if not lines or not lines[0].startswith("="):
            answer = " ".join(lines) or "nothing"
            raise ValueError(f"{self.line!r} answered {told!r} with {answer!r}; does it speak GTP 2?")
        return " ".join([lines[0][1:].strip(), *lines[1:]]).strip()

    def close(self) -> None:
        self.process.terminate()
        self.process.communicate()


def colour(number: int) -> str:
    """Of the player who makes a game's move of that number."""
    return "bw"[number % 2]
