"""The Go Text Protocol, version 2 (Farneback 2002), spoken by a player of Go: what a program like GoGui, or a referee, asks.

A line holds an optional number, a command and its arguments. The answer begins with '=' or, where the command could not be
done, with '?', bears the same number, and ends with an empty line.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from research.games import go
from research.games.go import BLACK, WHITE, Go

RESIGN = -1
# Whose move it is, and the moves so far as (colour, move) -> all moves by preference; RESIGN first resigns.
Choose = Callable[[int, Sequence[tuple[int, int]]], Sequence[int]]


class Refused(Exception):
    """A command that is understood, and not done; its text is the answer."""


class Move(NamedTuple):
    """Who moved, what was done, and the position before"""

    colour: int
    move: int
    before: Go


class Engine:
    """A player of one size of board, and the game that it is in."""

    def __init__(self, name: str, version: str, size: int, komi: float, choose: Choose):
        self.told = {"name": name, "version": version}
        self.size, self.points, self.choose = size, komi, choose
        self.game, self.moves = go.start(size), list[Move]()
        self.open = True

    def answer(self, line: str) -> str:
        """The whole answer to a line, and nothing to one that says nothing."""
        cleaned = "".join(c for c in line.replace("\t", " ") if c.isprintable()).split("#")[0].split()
        if not cleaned:
            return ""
        number = cleaned.pop(0) if cleaned[0].isdecimal() else ""
        try:
            if not cleaned or cleaned[0] not in COMMANDS:
                raise Refused("unknown command")
            sign, text = "=", fitting(COMMANDS[cleaned[0]], self, cleaned[1:])() or ""
        except Refused as refused:
            sign, text = "?", str(refused)
        return f"{sign}{number} {text}".rstrip() + "\n\n"

    # Each command by its name in the protocol.

    def protocol_version(self) -> str:
        return "2"

    def name(self) -> str:
        return self.told["name"]

    def version(self) -> str:
        return self.told["version"]

    def list_commands(self) -> str:
        return "\n".join(sorted(COMMANDS))

    def known_command(self, name: str) -> str:
        return str(name in COMMANDS).lower()

    def quit(self) -> None:
        self.open = False

    def boardsize(self, size: str) -> None:
        if whole(size) != self.size:
            raise Refused("unacceptable size")
        self.clear_board()

    def query_boardsize(self) -> str:
        return str(self.size)

    def clear_board(self) -> None:
        self.game, self.moves = go.start(self.size), []

    def komi(self, komi: str) -> None:
        """For the score alone: who chooses the moves has learned with one komi."""
        self.points = number(komi)

    def get_komi(self) -> str:
        return f"{self.points:g}"

    def play(self, colour: str, vertex: str) -> None:
        who = colour_of(colour)
        try:
            self.make(who, go.point(vertex, self.size))
        except ValueError as illegal:
            raise Refused("illegal move") from illegal

    def genmove(self, colour: str) -> str:
        move = self.chosen(colour_of(colour))
        if move == RESIGN:
            return "resign"
        self.make(colour_of(colour), move)
        return go.name(move, self.size)

    def reg_genmove(self, colour: str) -> str:
        move = self.chosen(colour_of(colour))
        return "resign" if move == RESIGN else go.name(move, self.size)

    def undo(self) -> None:
        if not self.moves:
            raise Refused("cannot undo")
        self.game = self.moves.pop().before

    def move_history(self) -> str:
        return "\n".join(f"{NAMES[x.colour]} {go.name(x.move, self.size)}" for x in reversed(self.moves))

    def final_score(self) -> str:
        return score_text(go.lead(self.game, self.points))

    def final_status_list(self, status: str) -> str:
        if status not in ("alive", "dead", "seki"):
            raise Refused("syntax error")
        stones = [point for point, stone in enumerate(self.game.stones) if stone]
        return "\n".join(go.name(x, self.size) for x in stones) if status == "alive" else ""

    def showboard(self) -> str:
        black, white = self.game.captured
        return f"\n{go.shown(self.game)}\nblack has captured {black}, white {white}"

    def time_settings(self, main: str, byo: str, stones: str) -> None:
        """Accepted: how long a move takes is settled by the number of simulations."""
        whole(main), whole(byo), whole(stones)

    def time_left(self, colour: str, seconds: str, stones: str) -> None:
        colour_of(colour), whole(seconds), whole(stones)

    # What they share.

    def make(self, colour: int, move: int) -> None:
        """Raises ValueError for a move that the rules forbid."""
        after = go.after(self.game, move, colour)
        self.moves.append(Move(colour, move, self.game))
        self.game = after

    def chosen(self, colour: int) -> int:
        """The first of the moves that the rules, superko among them, allow."""
        wanted = self.choose(colour, [(x.colour, x.move) for x in self.moves])
        return next(x for x in wanted if x == RESIGN or go.legal(self.game, x, colour))


Command = Callable[..., str | None]  # an engine and a command's arguments -> its answer
SPOKEN = (
    "protocol_version name version list_commands known_command quit boardsize query_boardsize clear_board komi "
    "get_komi play genmove reg_genmove undo move_history final_score final_status_list showboard time_settings "
    "time_left"
)
COMMANDS: dict[str, Command] = {name: getattr(Engine, name) for name in SPOKEN.split()}
NAMES = {BLACK: "black", WHITE: "white"}


def fitting(command: Command, engine: Engine, arguments: list[str]) -> Callable[[], str | None]:
    """The command with its arguments; refused where these are too many or too few."""
    try:
        inspect.signature(command).bind(engine, *arguments)
    except TypeError as error:
        raise Refused("syntax error") from error
    return partial(command, engine, *arguments)


def colour_of(text: str) -> int:
    if text.lower() in ("b", "black"):
        return BLACK
    if text.lower() in ("w", "white"):
        return WHITE
    raise Refused("syntax error")


def whole(text: str) -> int:
    if not text.isdecimal():
        raise Refused("syntax error")
    return int(text)


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise Refused("syntax error") from error
    if not math.isfinite(value):
        raise Refused("syntax error")
    return value


def score_text(lead: float) -> str:
    """Black's lead as the protocol writes it: 'B+3.5', 'W+7.5' or '0'."""
    return "0" if lead == 0 else f"{'B' if lead > 0 else 'W'}+{abs(lead):g}"
