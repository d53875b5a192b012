"""Records games of Go that a program plays against itself: `python scripts/record_games.py --games 2000 --out games.sgf`.

The program speaks the Go Text Protocol; GNU Go is Debian's package gnugo. Each game begins with up to --opening moves by
chance, which its number decides, as it does the program's own chance where that knows set_random_seed. The same command goes
on where it was stopped, and what was recorded stays.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from research.command import check_ending, command
from research.engine.fields import Count, Interval, Natural, check
from research.games import go, sgf
from research.games.boards import KOMI
from research.games.program import Program, colour


@dataclass(frozen=True)
class Arguments:
    out: Path = Path("games.sgf")
    """The file of games, one behind the other."""
    program: str = "gnugo --mode gtp --level 1 --chinese-rules --positional-superko"
    """Command line of the program."""
    games: Count = 2000
    """Games in the file in the end."""
    size: Annotated[int, Interval(3, 19)] = 9
    """Points a side."""
    opening: Natural = 8
    """A game begins with so many moves by chance, or fewer down to half as many, each number as likely."""
    workers: Count = 2
    """Games that are played at a time."""
    draw: Annotated[int, Interval(0, 2**32 - 1)] = 0
    """Seed of the openings."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="record_games.py", description=__doc__)
    check(chosen, Arguments())
    check_ending(chosen.out, "games.sgf")
    with Program(chosen.program, chosen.size, KOMI):
        pass  # one that cannot be asked is refused before anything is written
    done = whole(chosen.out, chosen.size)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress, ThreadPoolExecutor(chosen.workers) as pool, chosen.out.open("a") as file:
        task = progress.add_task(str(chosen.out), total=chosen.games, completed=done)
        for record in pool.map(lambda number: played(chosen, number), range(done, chosen.games)):
            file.write(sgf.written(record))
            file.flush()
            progress.advance(task)
    return 0


def whole(out: Path, size: int) -> int:
    """How many games a file holds; a last one that was cut off is taken away. Raises ValueError for what holds no games."""
    text = out.read_text() if out.exists() else ""
    kept = text
    try:
        games = sgf.read(text)
    except ValueError:
        kept = text[: text.rfind("\n(;") + 1]  # without the last game
        try:
            games = sgf.read(kept)
        except ValueError as error:
            raise ValueError(f"{out}, {error}; name another file with --out") from None
    if (text.strip() and not text.startswith("(;")) or any(game.size != size for game in games):
        raise ValueError(f"{out} holds other things than games of {size}x{size}; name another file with --out")
    if kept != text:
        os.truncate(out, len(kept.encode()))
    return len(games)


def played(chosen: Arguments, number: int) -> sgf.Record:
    """The game of that number. Raises ValueError for a program that makes an illegal move."""
    random = np.random.default_rng((chosen.draw, number))
    size = chosen.size
    with Program(chosen.program, size, KOMI) as program:
        if program.knows("set_random_seed"):
            program.ask(f"set_random_seed {random.integers(1, 2**31)}")
        game, moves, result = go.start(size), list[int](), ""
        for _ in range(random.integers(chosen.opening // 2, chosen.opening + 1)):
            allowed = [move for move in range(size**2) if go.legal(game, move)]
            if not allowed:
                break
            moves.append(int(random.choice(allowed)))
            game = go.after(game, moves[-1])
            program.ask(f"play {colour(len(moves) - 1)} {go.name(moves[-1], size)}")
        by_chance = len(moves)
        while game.passes < 2 and len(moves) < 2 * size**2:  # as many as in training
            answer = program.ask(f"genmove {colour(len(moves))}").lower()
            if answer == "resign":
                result = "W+R" if game.colour == go.BLACK else "B+R"
                break
            move = go.point(answer, size)
            try:
                game = go.after(game, move)
            except ValueError as illegal:
                raise ValueError(f"game {number + 1} of {chosen.program!r}: {illegal}, by positional superko") from None
            moves.append(move)
        result = result or program.ask("final_score").upper()
        return sgf.Record(size, KOMI, tuple(moves), result, program.name, program.name, by_chance)


if __name__ == "__main__":
    command(main)
