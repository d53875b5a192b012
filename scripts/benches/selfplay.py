"""What both contestants of self-play share: their settings, and how positions are counted."""

import itertools
from argparse import Namespace
from collections.abc import Callable

from serve import options, serve_rate


def settings() -> Namespace:
    """board, blocks and features of the net, simulations of a search, games, and moves of each in a repetition"""
    return options(board="go_9x9", blocks=6, features=128, simulations=32, games=16, moves=2)


def serve_positions(chosen: Namespace, play: Callable[[int], None], packages: tuple[str, ...]) -> None:
    """Answers with positions/s; `play` makes every game's moves, and ends when they are made. It hears the repetition's
    number."""
    numbers = itertools.count()
    serve_rate("positions/s", chosen.games * chosen.moves, lambda: play(next(numbers)), packages, settings=vars(chosen))
