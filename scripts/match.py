"""Matches of what a run has learned: `python scripts/match.py runs/NAME --against random --games 200`.

--against is one or more of `random`, another run's folder, `alpha-beta-6` (connect four, so many moves ahead), or the command
line of a program that speaks the Go Text Protocol: `--against "gnugo --mode gtp --level 1 --chinese-rules
--positional-superko"`. Each opening is played twice, with either side to begin; the interval is over openings. Several
opponents play each other too, but for two that are both outside this process, and all get Elo ratings.
"""

import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import numpy as np
import tyro
from jax import Array
from rich.console import Console

from research.command import check_ending, command, terminal
from research.engine.fields import Count, Interval, Natural, check
from research.games import boards, contest, go, match, sgf
from research.games.boards import Board
from research.games.contest import Player, Plays, player_of
from research.games.program import NoAnswer
from research.learned import Learned, OfRun, learned
from research.report.elo import Meeting, ratings
from research.report.stats import mean_interval


@dataclass(frozen=True)
class Arguments(OfRun):
    against: tuple[str, ...] = ("random",)
    """random, a run folder, alpha-beta-DEPTH, or a command line; one or more."""
    games: Count = 200
    """Games of two players, an even number."""
    simulations: Natural | None = None
    """Of a search before each of our moves; 0: the net's own choice; by default as in the run's evaluation."""
    their_simulations: Natural | None = None
    """Likewise, of another run's moves."""
    opening: Natural = 2
    """Moves by chance that a game begins with, an even number."""
    draw: Annotated[int, Interval(0, 2**32 - 1)] = 0
    """Seed of openings and of chance in play."""
    out: Path | None = None
    """Where games of Go against another program are added, behind those of earlier matches; by default match.sgf in the
    run folder."""


class Side(NamedTuple):
    """Whoever plays: a `player` in this process, or a rival outside it."""

    name: str
    player: Player | None = None
    rival: match.Rival | None = None


class Held(NamedTuple):
    """A match after an opening of so many moves by chance: outcome f64[B] for `one`, who began the first half of the games, and
    the games where they were outside."""

    one: Side
    other: Side
    opening: int
    outcome: np.ndarray
    results: list[match.Result]


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="match.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    contest.check_even("each opening twice", games=chosen.games)
    if not chosen.against:
        raise ValueError("against= names nobody; give random, a run folder, alpha-beta-6 or a command line")
    out = chosen.out or chosen.folder / "match.sgf"
    check_ending(out, "match.sgf")
    console = terminal(highlight=False)
    run = learned(chosen, console, player_of)
    judged = player_of(run.plan)
    board = boards.full_length(judged.board.name)
    opening_key, key = jax.random.split(jax.random.key(chosen.draw))
    begun = match.openings(board, opening_key, chosen.games // 2, chosen.opening)
    matches: list[Held] = []
    with ExitStack() as closing:
        sides = [Side(chosen.folder.name, player(run, chosen.simulations))]
        for against in chosen.against:
            side = side_of(against, chosen, console, judged)
            if side.rival:
                closing.callback(side.rival.close)
            same = sum(side.name == other.name.split(" #")[0] for other in sides)
            sides.append(side._replace(name=f"{side.name} #{same + 1}") if same else side)
        for number, (one, other) in enumerate(pairs(sides)):
            with console.status("playing") as status:
                told = lambda over, all_: status.update(f"{over} of {all_} games are over")
                matches.append(hold(board, one, other, begun, jax.random.fold_in(key, number), out, told))
            for text in told_of(matches[-1], board):
                console.print(text, soft_wrap=True)
            if other.rival and boards.is_go(board):
                console.print(str(out), soft_wrap=True)
    if len(sides) > 2:
        for text in rated(sides, matches):
            console.print(text, soft_wrap=True)
    return 0


def player(run: Learned, simulations: int | None) -> Player:
    _, advise = player_of(run.plan).advisor(run.state, simulations)
    return lambda key, positions: advise(key, positions).action


def side_of(against: str, chosen: Arguments, console: Console, judged: Plays) -> Side:
    """Raises ValueError for one who does not know the board."""
    if against == "random":
        return Side("moves by chance", contest.by_chance)
    if not Path(against).is_dir():
        rival = rival_of(against, judged, chosen.draw)
        return Side(rival.name if against.startswith("alpha-beta") else f"{rival.name} ({against})", rival=rival)
    other = learned(Arguments(Path(against)), console, player_of)
    board = player_of(other.plan).board.name
    if board != judged.board.name:
        raise ValueError(f"against={against!r} plays {board}, and {chosen.folder} {judged.board.name}")
    return Side(Path(against).name, player(other, chosen.their_simulations))


def pairs(sides: list[Side]) -> list[tuple[Side, Side]]:
    """Whoever can play each other: not two who are both outside. The first of a pair is in this process."""
    return [
        (one, other) if one.player else (other, one)
        for one, other in combinations(sides, 2)
        if one.player or other.player
    ]


def hold(
    board: Board, one: Side, other: Side, begun: np.ndarray, key: Array, out: Path, told: Callable[[int, int], None]
) -> Held:
    """The games that begin from each of B/2 openings i32[B/2,L]. Those of Go with a rival are added to a file, each as soon as
    it is over. `told` hears then how many are over, and how many there are. Raises NoAnswer where the rival does."""
    assert one.player
    if other.rival:
        results: list[match.Result] = []
        try:
            for result in match.play(board.name, one.player, other.rival, begun, key):
                results.append(result)
                if boards.is_go(board):
                    record(out, board, one, other, begun.shape[1], result)
                told(len(results), 2 * len(begun))
        except NoAnswer as error:
            kept = f", and are in {out}" if results else ""
            raise NoAnswer(f"{error} ({len(results)} of {2 * len(begun)} games were over{kept})") from error
        results.sort(key=lambda result: (result.began, result.opening))
        return Held(one, other, begun.shape[1], np.array([result.outcome for result in results]), results)
    assert other.player
    ours, theirs = one.player, other.player
    play = jax.jit(lambda key, begun: contest.contest(board, ours, theirs, key, boards.reached(board, begun)))
    outcome = np.asarray(play(key, begun), np.float64)
    return Held(one, other, begun.shape[1], outcome, [])


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


def record(out: Path, board: Board, one: Side, other: Side, opening: int, result: match.Result) -> None:
    """Adds a game of Go to a file. Its result is written as SGF has it: the points, R for resigning, and F, to forfeit, for a
    forbidden move."""
    size, black = board.shape[0], result.outcome if result.began == 0 else -result.outcome
    how = {"resignation": "R", "forbidden move": "F"}.get(result.ending)
    if how is None:
        how = f"{abs(go.lead(go.replayed(size, result.moves), boards.KOMI)):g}"
    names = (one.name, other.name) if result.began == 0 else (other.name, one.name)
    told = f"{'B' if black > 0 else 'W'}+{how}"
    game = sgf.Record(size, boards.KOMI, tuple(result.moves), told, *names, opening)
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a") as file:
        file.write(sgf.written(game))


def told_of(held: Held, board: Board) -> list[str]:
    """What came of B games, the first half of which `one` began."""
    outcome, one = held.outcome, held.one.name
    lines = [f"{board.name}, {len(outcome)} games of {one} against {held.other.name}:"]
    for began, half in zip((f"{one} begins", f"{held.other.name} begins"), np.split(outcome, 2), strict=True):
        won, drawn, lost = ((half > 0).sum(), (half == 0).sum(), (half < 0).sum())
        lines.append(f"  {began}: {won} won, {drawn} drawn, {lost} lost")
    first, second = np.split((1 + outcome) / 2, 2)
    points = mean_interval((first + second) / 2)
    interval = "" if points.low is None else f", 95 % interval [{100 * points.low:.1f}, {100 * points.high:.1f}]"
    lines.append(f"  {100 * points.value:.1f} % of the points{interval} over {points.n} openings")
    if held.results and boards.is_go(board):
        endings = Counter(result.ending for result in held.results)
        lines.append(f"  ended by {', '.join(f'{ending} {count}' for ending, count in endings.most_common())}")
    asked = [result.agreed for result in held.results if result.agreed is not None]
    if asked:
        lines.append(f"  of {len(asked)} games that two passes ended, {held.other.name} counts {sum(asked)} as we do")
    return lines


def rated(sides: list[Side], matches: list[Held]) -> list[str]:
    """A line for each side, the best one first."""
    meetings = [
        Meeting(sides.index(x.one), sides.index(x.other), float((1 + x.outcome).sum() / 2), len(x.outcome))
        for x in matches
    ]
    found = ratings(len(sides), meetings)
    lines = [f"Elo above {sides[0].name}, with 95 % intervals:"]
    for i in np.argsort(-found.value):
        interval = f" [{found.low[i]:.0f}, {found.high[i]:.0f}]" if i else ""
        lines.append(f"  {sides[i].name}: {found.value[i]:.0f}{interval}")
    return lines


if __name__ == "__main__":
    command(main)
