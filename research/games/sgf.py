"""Records of Go in the Smart Game Format, FF[4] (Hollosi 1999): what is written opens in any viewer; of what is read the main
line counts, of games that begin on an empty board and in which Black and White move in turn.
"""

import math
import re
from typing import NamedTuple


class Record(NamedTuple):
    """One game: moves as in `go`, the number behind the last point being a pass; who played, the result as written, and how
    many of the first moves were nobody's but drawn by chance"""

    size: int
    komi: float
    moves: tuple[int, ...]
    result: str = ""
    black: str = ""
    white: str = ""
    by_chance: int = 0


LETTERS = "abcdefghijklmnopqrs"
TOKEN = re.compile(r"\s*(?:([();])|([A-Za-z]+)\s*((?:\[(?:\\.|[^\]\\])*\]\s*)+))", re.DOTALL)
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
BY_CHANCE = re.compile(r"moves by chance: (\d{1,9})")
VALUE = re.compile(r"\[((?:\\.|[^\]\\])*)\]", re.DOTALL)


def written(record: Record) -> str:
    """The text of one game."""
    head = {"GM": "1", "FF": "4", "CA": "UTF-8", "RU": "Chinese", "SZ": str(record.size), "KM": f"{record.komi:g}"}
    head |= {"PB": record.black, "PW": record.white, "RE": record.result}
    head |= {"GC": f"moves by chance: {record.by_chance}" if record.by_chance else ""}
    fields = "".join(f"{name}[{escaped(value)}]" for name, value in head.items() if value)
    moves = "".join(f";{'BW'[n % 2]}[{coordinates(move, record.size)}]" for n, move in enumerate(record.moves))
    return f"(;{fields}\n{moves})\n"


def escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("]", "\\]")


def coordinates(move: int, size: int) -> str:
    """Column and row from the upper left corner; nothing is a pass."""
    return "" if move == size**2 else LETTERS[move % size] + LETTERS[move // size]


def read(text: str) -> list[Record]:
    """All games of a collection. Raises ValueError, naming the game by its number, for what is no record of such a game."""
    found = []
    for number, nodes in enumerate(main_lines(text), 1):
        try:
            found.append(record(nodes))
        except ValueError as wrong:
            raise ValueError(f"game {number}: {wrong}") from None
    return found


Node = dict[str, list[str]]


def main_lines(text: str) -> list[list[Node]]:
    """The nodes of each game, of variations the first ones. Raises ValueError for text that is no SGF."""
    games: list[list[Node]] = []
    depth, place = 0, text.find("(")
    place = len(text) if place < 0 else place
    ended = [False]  # at each depth, whether a variation has been read there already
    while text[place:].strip():
        token = TOKEN.match(text, place)
        if token is None:
            shown = text[place:].split()[0][:20]
            raise ValueError(f"{shown!r} is not SGF at character {place + 1}; as in (;SZ[9];B[ee];W[gc])")
        place = token.end()
        mark, name, values = token.groups()
        if mark == "(":
            depth += 1
            ended.append(ended[-1] if depth > 1 else False)
            if depth == 1:
                games.append([])
        elif mark == ")":
            depth -= 1
            if depth < 0:
                raise ValueError(f"')' at character {place} closes nothing")
            ended.pop()
            ended[-1] = depth > 0  # what follows a variation is another one
        elif depth and not ended[-1]:
            if mark == ";":
                games[-1].append({})
            elif not games[-1]:
                raise ValueError(f"{name} at character {place} stands in no node; it begins with ';'")
            else:
                # Older formats add letters for people, which say nothing.
                name = "".join(c for c in name if c.isupper())
                games[-1][-1][name] = [ESCAPE.sub(r"\1", value) for value in VALUE.findall(values)]
    if depth:
        raise ValueError("the text ends within a game; is it whole?")
    return games


def record(nodes: list[Node]) -> Record:
    """Raises ValueError for another game than Go, for stones that are set and for a player who moves twice."""
    head = nodes[0] if nodes else {}
    said = lambda name, usual: head.get(name, [usual])[0].strip()
    if said("GM", "1") != "1":
        raise ValueError(f"GM[{said('GM', '1')}] is not Go, which is GM[1]")
    if not said("SZ", "19").isdecimal() or not 2 <= int(said("SZ", "19")) <= 19:
        raise ValueError(f"SZ[{said('SZ', '19')}] must be 2 to 19")
    size = int(said("SZ", "19"))
    moves: list[int] = []
    for node in nodes:
        for name in ("AB", "AW", "AE"):
            if name in node:
                raise ValueError(f"{name} sets stones, as in a handicap game; use games that begin on an empty board")
        for name in ("B", "W"):
            if name in node:
                if name != "BW"[len(moves) % 2]:
                    raise ValueError(
                        f"move {len(moves) + 1} is {name}'s; the players must move in turn, and Black first"
                    )
                moves.append(move_at(node[name][0].strip(), size))
    try:
        komi = float(said("KM", "0"))
    except ValueError:
        komi = math.nan
    if not math.isfinite(komi):
        raise ValueError(f"KM[{said('KM', '0')}] is no number")
    by_chance = BY_CHANCE.search(said("GC", ""))
    drawn = min(int(by_chance[1]), len(moves)) if by_chance else 0
    return Record(size, komi, tuple(moves), said("RE", ""), said("PB", ""), said("PW", ""), drawn)


def move_at(text: str, size: int) -> int:
    """Raises ValueError for what is no point."""
    if not text or (text == "tt" and size < 20):
        return size**2
    if len(text) != 2 or any(c not in LETTERS[:size] for c in text):
        raise ValueError(f"[{text}] is no point of {size}x{size}; as in [ee]")
    return LETTERS.index(text[1]) * size + LETTERS.index(text[0])
