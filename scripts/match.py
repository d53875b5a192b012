"""Matches of what a run has learned: `python scripts/match.py runs/NAME --against random --games 200`.

--against is `random`, another run's folder, `alpha-beta-6` (connect four, so many moves ahead), or the command line of a
program that speaks the Go Text Protocol: `--against "gnugo --mode gtp --level 1 --chinese-rules --positional-superko"`. Each
opening is played twice, with either side to begin; the interval is over openings.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro
from rich.console import Console

from research.command import Learned, OfRun, check_ending, command, learned
from research.engine.fields import Count, Interval, Natural, check
from research.games import boards, contest, match, sgf
from research.games.contest import Player, Plays, player_of
from research.report.stats import mean_interval


@dataclass(frozen=True)
class Arguments(OfRun):
    against: str = "random"
    """random, a run folder, alpha-beta-DEPTH, or a command line."""
    games: Count = 200
    """Games, an even number."""
    simulations: Natural | None = None
    """Of a search before each of our moves; 0: the net's own choice; by default as in the run's evaluation."""
    their_simulations: Natural | None = None
    """Likewise, of another run's moves."""
    opening: Natural = 2
    """Moves by chance that a game begins with, an even number."""
    draw: Annotated[int, Interval(0, 2**32 - 1)] = 0
    """Seed of openings and of chance in play."""
    out: Path | None = None
    """Where the records of games of Go are written; by default match.sgf in the run folder."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="match.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    if chosen.games % 2:
        raise ValueError(f"games={chosen.games} must be even, each opening twice; try {chosen.games + 1}")
    out = chosen.out or chosen.folder / "match.sgf"
    check_ending(out, "match.sgf")
    console = Console(highlight=False)
    run = learned(chosen, console, player_of)
    judged = player_of(run.plan)
    ours = player(run, chosen.simulations)
    opening_key, key = jax.random.split(jax.random.key(chosen.draw))
    results: list[match.Result] = []
    begun = match.openings(judged.board, opening_key, chosen.games // 2, chosen.opening)
    if chosen.against == "random" or Path(chosen.against).is_dir():
        theirs, name = opponent(chosen, console, judged)
        reached = contest.reached(judged.board, begun)
        outcome = np.asarray(jax.jit(lambda key: contest.contest(judged.board, ours, theirs, key, reached))(key))
    else:
        rival = rival_of(chosen.against, judged, chosen.draw)
        name = rival.name
        try:
            with console.status("playing") as status:
                told = lambda over, all_: status.update(f"{over} of {all_} games are over")
                results = match.play(judged.board, ours, rival, begun, key, told)
        finally:
            rival.close()
        outcome = np.array([result.outcome for result in results])
    for text in told_of(outcome, judged.board.name, name):
        console.print(text, soft_wrap=True)
    if results and boards.is_go(judged.board):
        console.print(str(recorded(out, judged, run.plan.recipe.name, name, results)), soft_wrap=True)
    return 0


def player(run: Learned, simulations: int | None) -> Player:
    judged = player_of(run.plan)
    count = judged.simulations if simulations is None else simulations
    return lambda key, positions: judged.advise(judged.board, run.state, count, key, positions).action


def opponent(chosen: Arguments, console: Console, judged: Plays) -> tuple[Player, str]:
    """Raises ValueError where the other run is one on another board."""
    if chosen.against == "random":
        return contest.by_chance, "moves by chance"
    other = learned(Arguments(Path(chosen.against)), console, player_of)
    board = player_of(other.plan).board.name
    if board != judged.board.name:
        raise ValueError(f"against={chosen.against!r} plays {board}, and {chosen.folder} {judged.board.name}")
    return player(other, chosen.their_simulations), Path(chosen.against).name


def rival_of(against: str, judged: Plays, seed: int) -> match.Rival:
    """Raises ValueError for one who does not know the board."""
    board = judged.board.name
    if ahead := re.fullmatch(r"alpha-beta-(\d+)", against):
        if board != "connect_four" or not int(ahead[1]):
            raise ValueError(
                f"against={against!r}: alpha-beta-1 and above know connect_four, and this run plays {board}"
            )
        return match.LooksAhead(int(ahead[1]), seed)
    if not boards.is_go(judged.board):
        raise ValueError(
            f"against={against!r} is neither random nor a run folder, and programs are asked to play Go alone, not {board}"
        )
    return match.Speaks(against, judged.board.shape[0], boards.KOMI)


def recorded(out: Path, judged: Plays, ours: str, theirs: str, results: list[match.Result]) -> Path:
    """Writes the games of Go."""
    size = judged.board.shape[0]
    texts = []
    for result in results:
        names = (ours, theirs) if result.began == 0 else (theirs, ours)
        black = result.outcome if result.began == 0 else -result.outcome
        how = "R" if result.resigned else ""
        texts.append(
            sgf.written(
                sgf.Record(size, boards.KOMI, tuple(result.moves), f"{'B' if black > 0 else 'W'}+{how}", *names)
            )
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(texts))
    return out


def told_of(outcome: np.ndarray, board: str, name: str) -> list[str]:
    """What came of B games, the first half of which we began."""
    lines = [f"{board}, {len(outcome)} games against {name}:"]
    for began, half in zip(("we begin", "they begin"), np.split(outcome, 2), strict=True):
        won, drawn, lost = ((half > 0).sum(), (half == 0).sum(), (half < 0).sum())
        lines.append(f"  {began}: {won} won, {drawn} drawn, {lost} lost")
    points = np.split((1 + outcome) / 2, 2)
    pairs = mean_interval((points[0] + points[1]) / 2)
    interval = "" if pairs.low is None else f", 95 % interval [{100 * pairs.low:.1f}, {100 * pairs.high:.1f}]"
    lines.append(f"  {100 * pairs.value:.1f} % of the points{interval} over {pairs.n} openings")
    return lines


if __name__ == "__main__":
    command(main)
