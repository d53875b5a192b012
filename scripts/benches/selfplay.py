"""What both contestants of self-play share: their settings, and how positions are counted."""

import argparse
import itertools
import time
from argparse import Namespace
from collections.abc import Callable
from importlib.metadata import version

from serve import serve


def settings() -> Namespace:
    """board, blocks and features of the net, simulations of a search, games, and moves of each in a repetition"""
    parser = argparse.ArgumentParser()
    parser.add_argument("--board", default="go_9x9")
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--features", type=int, default=128)
    parser.add_argument("--simulations", type=int, default=32)
    parser.add_argument("--games", type=int, default=16)
    parser.add_argument("--moves", type=int, default=2, help="of each game in a repetition")
    parser.add_argument("--cores", type=int, default=1)
    return parser.parse_args()


def serve_positions(options: Namespace, play: Callable[[int], None], packages: tuple[str, ...]) -> None:
    """Answers with positions/s; `play` makes every game's moves, and ends when they are made. It hears the repetition's
    number."""
    numbers = itertools.count()

    def measure() -> dict[str, object]:
        begin = time.perf_counter()
        play(next(numbers))
        rate = options.games * options.moves / (time.perf_counter() - begin)
        versions = {name: version(name) for name in packages}
        return {"rate": rate, "unit": "positions/s", "settings": vars(options), "versions": versions}

    serve(measure)
