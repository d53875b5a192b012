"""Records games of Go that a program plays against itself: `python scripts/record_games.py --games 2000 --out games.sgf`.

The program speaks the Go Text Protocol; GNU Go is Debian's package gnugo. Each game begins with up to --opening moves by
chance, which its number decides. The same command goes on where it was stopped, and what was recorded stays.
"""

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
    program: str = "gnugo --mode gtp --level 1 --chinese-rules"
    """Command line of the program."""
    games: Count = 2000
    """Games in the file in the end."""
    size: Annotated[int, Interval(3, 19)] = 9
    """Points a side."""
    opening: Natural = 6
    """A game begins with so many moves by chance, or fewer, each number as likely."""
    workers: Count = 2
    """Games that are played at a time."""
    draw: Annotated[int, Interval(0, 2**32 - 1)] = 0
    """Seed of the openings."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="record_games.py", description=__doc__)
    check(chosen, Arguments())
    check_ending(chosen.out, "games.sgf")
    Program(
        chosen.program, chosen.size, KOMI
    ).close()  # a program that cannot be asked is refused before anything is written
    done = whole(chosen.out, chosen.size)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns) as progress, ThreadPoolExecutor(chosen.workers) as pool, chosen.out.open("a") as file:
        task = progress.add_task(str(chosen.out), total=chosen.games, completed=done)
        for record in pool.map(lambda number: played(chosen, number), range(done, chosen.games)):
            file.write(sgf.written(record))
            file.flush()
            progress.advance(task)
    return 0


def whole(out: Path, size: int) -> int:
    """How many games a file holds; a last one that was cut off is taken away. Raises ValueError for what holds no games."""
    if not out.exists():
        return 0
    text = out.read_text()
    kept = text[: text.rfind(")\n") + 2] if ")\n" in text else ""
    try:
        games = sgf.read(kept)
    except ValueError as error:
        raise ValueError(f"{out}, {error}; name another file with --out") from None
    if text.strip() and (not games or games[0].size != size):
        raise ValueError(f"{out} holds other things than games of {size}x{size}; name another file with --out")
    out.write_text(kept)
    return len(games)


def played(chosen: Arguments, number: int) -> sgf.Record:
    """The game of that number."""
    random = np.random.default_rng((chosen.draw, number))
    program = Program(chosen.program, chosen.size, KOMI)
    name = f"{program.ask('name')} {program.ask('version')}"
    game, moves = go.start(chosen.size), list[int]()
    for _ in range(random.integers(chosen.opening + 1)):
        allowed = [move for move in range(chosen.size**2) if go.legal(game, move)]
        if not allowed:
            break
        moves.append(int(random.choice(allowed)))
        game = go.after(game, moves[-1])
        program.ask(f"play {colour(len(moves) - 1)} {go.name(moves[-1], chosen.size)}")
    result = ""
    while game.passes < 2 and len(moves) < 3 * chosen.size**2:
        answer = program.ask(f"genmove {colour(len(moves))}").lower()
        if answer == "resign":
            result = "W+R" if game.colour == go.BLACK else "B+R"
            break
        move = go.point(answer, chosen.size)
        if not go.legal(game, move):
            break  # superko, of which not every program knows; who wins is then what the program says
        moves.append(move)
        game = go.after(game, move)
    result = result or program.ask("final_score").upper()
    program.close()
    return sgf.Record(chosen.size, KOMI, tuple(moves), result, name, name)


if __name__ == "__main__":
    command(main)
