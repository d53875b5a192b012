"""Go on the host: by these rules games are recorded, refereed and scored, whatever a program or a library takes them to be.

Area scoring, no suicide, and no move that makes the board what it was before (positional superko); komi is the referee's.
Points count row by row from the upper left corner, as in pgx; the number behind the last is a pass.

Dimensions: N points a side.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

BLACK, WHITE = 1, -1
LETTERS = "ABCDEFGHJKLMNOPQRST"  # columns, without I


class Go(NamedTuple):
    """A position of a game.

    stones  N*N numbers: 1 black, -1 white, 0 empty; seen  all that the board has been; captured  by Black and by White
    passes  that were the last moves
    """

    size: int
    stones: tuple[int, ...]
    colour: int
    seen: frozenset[tuple[int, ...]]
    captured: tuple[int, int] = (0, 0)
    passes: int = 0


def start(size: int) -> Go:
    empty = (0,) * size**2
    return Go(size, empty, BLACK, frozenset([empty]))


def replayed(size: int, moves: Sequence[int]) -> Go:
    """The position after these moves. Raises ValueError for one that the rules forbid."""
    return functools.reduce(after, moves, start(size))


@functools.cache
def neighbours(size: int) -> tuple[tuple[int, ...], ...]:
    """The points beside each point."""
    grid = [(row, column) for row in range(size) for column in range(size)]
    inside = lambda row, column: 0 <= row < size and 0 <= column < size
    beside = lambda r, c: ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1))
    return tuple(tuple(a * size + b for a, b in beside(*point) if inside(a, b)) for point in grid)


def group(stones: list[int] | tuple[int, ...], size: int, point: int) -> tuple[set[int], set[int]]:
    """The points of one value that hang together with this one, and all others that they touch."""
    inside, border, waiting = {point}, set(), [point]
    while waiting:
        for other in neighbours(size)[waiting.pop()]:
            if stones[other] != stones[point]:
                border.add(other)
            elif other not in inside:
                inside.add(other)
                waiting.append(other)
    return inside, border


def after(game: Go, move: int, colour: int | None = None) -> Go:
    """The position after a move, of whoever is to move or of a colour. Raises ValueError for a move that the rules forbid."""
    colour = colour or game.colour
    if move == game.size**2:
        return game._replace(colour=-colour, passes=game.passes + 1)
    if not 0 <= move < game.size**2:
        raise ValueError(f"move={move} is no point of {game.size}x{game.size}")
    if game.stones[move]:
        raise ValueError(f"{name(move, game.size)} is taken")
    stones = list(game.stones)
    stones[move] = colour
    taken = 0
    for other in neighbours(game.size)[move]:
        if stones[other] == -colour:
            inside, border = group(stones, game.size, other)
            if all(stones[point] for point in border):
                taken += len(inside)
                for point in inside:
                    stones[point] = 0
    if all(stones[point] for point in group(stones, game.size, move)[1]):
        raise ValueError(f"{name(move, game.size)} has no liberty")
    board = tuple(stones)
    if board in game.seen:
        raise ValueError(f"{name(move, game.size)} makes the board what it was before")
    black, white = game.captured
    captured = (black + taken, white) if colour == BLACK else (black, white + taken)
    return Go(game.size, board, -colour, game.seen | {board}, captured)


def legal(game: Go, move: int, colour: int | None = None) -> bool:
    try:
        after(game, move, colour)
    except ValueError:
        return False
    return True


def area(game: Go) -> tuple[int, int]:
    """Points of Black and of White: stones, and empty points from which no stone of the other can be reached over empty ones.
    Every stone counts as alive."""
    points, looked = {BLACK: 0, WHITE: 0}, set()
    for point, stone in enumerate(game.stones):
        if stone:
            points[stone] += 1
        elif point not in looked:
            inside, border = group(game.stones, game.size, point)
            looked |= inside
            owners = {game.stones[other] for other in border}
            if len(owners) == 1:
                points[owners.pop()] += len(inside)
    return points[BLACK], points[WHITE]


def lead(game: Go, komi: float) -> float:
    """By how many points Black is ahead."""
    black, white = area(game)
    return black - white - komi


def name(move: int, size: int) -> str:
    """A move as people and programs write it: 'D4', the first row being the lowest, or 'pass'."""
    return "pass" if move == size**2 else cell(*divmod(move, size), size)


def cell(row: int, column: int, height: int) -> str:
    """A cell of a board of so many rows, the first of which is the uppermost, as people write it."""
    return f"{LETTERS[column]}{height - row}"


def point(text: str, size: int) -> int:
    """The move of that name. Raises ValueError for none."""
    text = text.upper()
    if text == "PASS":
        return size**2
    column, row = LETTERS.find(text[:1]), text[1:]
    if not text or column < 0 or column >= size or not row.isdecimal() or not 1 <= int(row) <= size:
        raise ValueError(f"{text!r} is no point of {size}x{size}; as in D4, or pass")
    return (size - int(row)) * size + column


def shown(game: Go) -> str:
    """The board for people."""
    size = game.size
    return grid([[".XO"[stone] for stone in game.stones[row * size : (row + 1) * size]] for row in range(size)])


def grid(rows: Sequence[Sequence[str]], slanted: bool = False) -> str:
    """A board of a letter in each cell, with the names of its columns and rows; `slanted` as in hex, where each row stands half
    a cell to the right of the one above."""
    letters = "   " + " ".join(LETTERS[: len(rows[0])])
    lines = [letters]
    for number, row in enumerate(rows):
        name = len(rows) - number
        lines.append(f"{' ' * number * slanted}{name:2} {' '.join(row)} {name}")
    return "\n".join([*lines, " " * (len(rows) - 1) * slanted + letters])
