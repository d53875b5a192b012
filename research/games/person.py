"""A person at a board: positions as text, moves by their names, and a game against what a run has learned.

Player 0, who begins, is X, or has the capital letters. A cell is named by its column's letter and its row's number from below,
as in Go, where no column is I. So are moves that are a cell; a column is named by its number, and a piece's move by the cells
that it leaves and reaches, with what it becomes there (A7A8=Q), or with what is put there (P*C4).
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.games import go
from research.games.boards import Board, Position, alone
from research.games.search import Advice

COMMANDS = """a move's name: make it       moves: those that are legal
policy: what the net would do, and who it thinks wins       search: likewise, after looking ahead
undo: take your last move back, and the answer       help       quit"""
SIDES = {"hex": "X joins top and bottom, O left and right", "go": "X is Black"}

# key, one position [1,...], whether to search -> advice of it [1,...]
Think = Callable[[Array, Position, bool], Advice]


class Pieces(NamedTuple):
    """How pgx shows a board to whoever is to move: a plane for each kind of his stones or pieces, named by `letters`, and from
    the plane `other` on those of the other player, named by `others`. Player 1 sees it as player 0 does, turned by half, or
    mirrored top to bottom. From the plane `held` on stands what he has in hand, for each letter of `hand` a plane that is full,
    and then what the other one has."""

    letters: str
    others: str
    other: int
    view: Literal["same", "turned", "mirrored"]
    hand: str = ""
    held: int = 0


STONES = Pieces("X", "O", 1, "same")
PIECES = {
    "chess": Pieces("PNBRQK", "pnbrqk", 6, "mirrored"),
    "gardner_chess": Pieces("PNBRQK", "pnbrqk", 6, "mirrored"),
    "animal_shogi": Pieces("CEGLH", "ceglh", 5, "turned", hand="CCEEGG", held=10),
    # TUVW are promoted pawn, lance, knight and silver.
    "shogi": Pieces("PLNSBRGKTUVWHD", "plnsbrgktuvwhd", 31, "turned", hand="PPPPPPPPLLLLNNNNSSSSGGGGBBRR", held=62),
}
VIEWS = {"same": lambda x: x, "turned": lambda x: x[::-1, ::-1], "mirrored": lambda x: x[::-1]}


def stands(board: Board, position: Position) -> np.ndarray:
    """What is on each cell, i64[H,W], seen by player 0: the number from 1 of his kind of stone or piece, that of the other
    player's below 0."""
    seen = np.asarray(position.observation)
    pieces = PIECES.get(board.name, STONES)
    kinds = np.arange(1, len(pieces.letters) + 1)
    own, other = (seen[..., at : at + len(kinds)] @ kinds for at in (0, pieces.other))
    found = (own - other).astype(int)
    return found if int(position.current_player) == 0 else -VIEWS[pieces.view](found)


def shown(board: Board, position: Position) -> str:
    """One position."""
    pieces = PIECES.get(board.name, STONES)
    signs = "." + pieces.letters + pieces.others[::-1]  # those of the other player's are counted from behind
    texts = [[signs[x] for x in row] for row in stands(board, position)]
    if board.name == "connect_four":
        return "\n".join([*map(" ".join, texts), " ".join(str(column + 1) for column in range(board.shape[1]))])
    return go.grid(texts, slanted=board.name == "hex") + in_hand(board, position)


def in_hand(board: Board, position: Position) -> str:
    """What either player could put on the board, if anything."""
    pieces = PIECES.get(board.name, STONES)
    size = len(pieces.hand)
    full = np.asarray(position.observation)[0, 0, pieces.held : pieces.held + 2 * size] > 0
    held = [
        "".join(letter for letter, there in zip(pieces.hand, part, strict=True) if there)
        for part in (full[:size], full[size:])
    ]
    first, second = held if int(position.current_player) == 0 else held[::-1]
    return f"\nin hand: {first or '-'} {second.lower() or '-'}" if first or second else ""


def named(board: Board, play: Callable[[Position, Array], Position], position: Position) -> dict[str, int]:
    """The legal moves by their names."""
    legal = np.flatnonzero(position.legal_action_mask)
    height, width, _ = board.shape
    names: dict[str, int] = {}
    for move in map(int, legal):
        if board.name == "connect_four":
            told = str(move + 1)
        elif board.name in PIECES:
            told = piece_move(board, position, play(position, jnp.int32(move)))
        elif move < height * width:
            told = go.cell(*divmod(move, width), height)
        else:
            told = "swap" if board.name == "hex" else "pass"
        names[f"{told}#{move}" if told in names else told] = move
    return names


def piece_move(board: Board, position: Position, after: Position) -> str:
    """What a move did; of two pieces that it moved, what the greater did."""
    side = 1 if int(position.current_player) == 0 else -1
    before, now = side * stands(board, position), side * stands(board, after)
    left, reached = (np.argwhere((one != other) & (one > 0)) for one, other in ((before, now), (now, before)))
    to = max(reached, key=lambda at: now[tuple(at)])
    letters, height = PIECES[board.name].letters, board.shape[0]
    kind, target = letters[now[tuple(to)] - 1], go.cell(to[0], to[1], height)
    if not len(left):
        return f"{kind}*{target}"
    begin = max(left, key=lambda at: before[tuple(at)])
    became = f"={kind}" if letters[before[tuple(begin)] - 1] != kind else ""
    return f"{go.cell(begin[0], begin[1], height)}{target}{became}"


def session(
    board: Board, think: Think, lines: Iterator[str], tell: Callable[[str], Any], second: bool = False
) -> float | None:
    """A game until its end or the end of `lines`, which are what the person types -> how it ended for the person, 1, 0 or -1;
    None where it did not."""
    play = jax.jit(board.play)
    us = 1 if second else 0
    history = [board.start()]
    who = ("capital letters", "small letters") if board.name in PIECES else ("X", "O")
    tell(f"{board.name}: you have {who[us]}. {SIDES.get(board.name.split('_')[0], '')}".strip())
    tell(COMMANDS)
    while not bool(history[-1].terminated):
        position, names = history[-1], named(board, play, history[-1])
        key = jax.random.key(len(history))
        if (len(history) - 1) % 2 != us:
            move = int(think(key, alone(position), True).action[0])
            tell(f"answer: {next(name for name, number in names.items() if number == move)}")
        else:
            tell(shown(board, position))
            opinion = lambda searched, at=position, names=names, key=key: told(names, think(key, alone(at), searched))
            wanted = asked(names, opinion, lines, tell)
            if wanted is None:
                return None
            if wanted == UNDO:
                history = history[:-2] if len(history) > 2 else history
                continue
            move = wanted
        history.append(play(position, jnp.int32(move)))
    outcome = float(history[-1].rewards[us])
    tell(shown(board, history[-1]))
    tell({1.0: "You have won.", 0.0: "A draw.", -1.0: "You have lost."}[outcome])
    return outcome


UNDO = -1


def asked(
    names: dict[str, int], opinion: Callable[[bool], str], lines: Iterator[str], tell: Callable[[str], Any]
) -> int | None:
    """A legal move, UNDO, or None where the person wants no more."""
    known = {name.upper(): move for name, move in names.items()}
    for line in lines:
        match line.strip().lower():
            case "":
                continue
            case "quit" | "exit":
                return None
            case "undo":
                return UNDO
            case "help":
                tell(COMMANDS)
            case "moves":
                tell(" ".join(names))
            case "policy" | "search" as which:
                tell(opinion(which == "search"))
            case text if text.upper() in known:
                return known[text.upper()]
            case text:
                tell(f"{text!r} is no legal move here; `moves` names those that are, and `help` what else can be said")
    return None


SHOWN = 5  # moves of an opinion


def told(names: dict[str, int], advice: Advice) -> str:
    """What is advised at one position [1,...], which is the person's."""
    policy = np.asarray(advice.policy[0])
    best = sorted(names, key=lambda name: -policy[names[name]])[:SHOWN]
    shares = ", ".join(f"{name} {100 * policy[names[name]]:.0f} %" for name in best)
    return f"value for you, from -1 to 1: {float(advice.value[0]):+.2f}; {shares}"
