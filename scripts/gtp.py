"""Plays Go by what a run has learned: `python scripts/gtp.py runs/NAME` speaks the Go Text Protocol on its standard streams.

Any program that speaks it can be the other side: GoGui, Sabaki, GNU Go, or scripts/match.py.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from research.command import command, terminal
from research.engine.fields import Fraction, Natural, check
from research.engine.plan import Plan
from research.games import boards, go
from research.games.contest import Plays, player_of
from research.games.gtp import RESIGN, Choose, Engine
from research.learned import Learned, OfRun, learned


@dataclass(frozen=True)
class Arguments(OfRun):
    simulations: Natural | None = None
    """Of a search before each move; 0: the net's own choice; by default as in the run's evaluation."""
    resign: Fraction = 1.0
    """Resign where the value, from -1 to 1, is below minus this; 1: never."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, prog="gtp.py", description=__doc__)
    check(chosen, Arguments(chosen.folder))
    run = learned(chosen, terminal(stderr=True, highlight=False), plays_go)
    size = plays_go(run.plan).board.shape[0]
    choose = chooser(run, chosen.simulations, chosen.resign)
    engine = Engine(run.plan.recipe.name, version("research"), size, boards.KOMI, choose)
    sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    while engine.open and (line := sys.stdin.readline()):
        sys.stdout.write(engine.answer(line))
        sys.stdout.flush()
    return 0


def plays_go(plan: Plan) -> Plays:
    """The evaluation of a plan's experiment. Raises ValueError where it plays no Go."""
    judged = player_of(plan)
    if not boards.is_go(judged.board):
        raise ValueError(
            f"recipe {plan.recipe.name!r} plays no Go; give the folder of a run that does, such as alphazero-go-9x9's"
        )
    return judged


def chooser(run: Learned, simulations: int | None, resign: float) -> Choose:
    """What the run's net, and a search with it, would do."""
    board, advise = player_of(run.plan).advisor(run.state, simulations)
    play = jax.jit(board.play)

    def choose(colour: int, moves: Sequence[tuple[int, int]]) -> Sequence[int]:
        position = board.start()
        for move in in_turn(colour, moves, board.actions - 1):
            position = play(position, jnp.int32(move))
        advice = advise(jax.random.key(len(moves)), boards.alone(position))
        wanted = [int(advice.action[0]), *np.argsort(-np.asarray(advice.policy[0]))]
        return [RESIGN] if float(advice.value[0]) < -resign else [int(x) for x in wanted]

    return choose


def in_turn(colour: int, moves: Sequence[tuple[int, int]], skip: int) -> list[int]:
    """The moves as of a game in which Black begins, both move in turn, `colour` is next, and no two passes end it."""
    told: list[int] = []
    for who, move in [*moves, (colour, skip)]:
        expected = go.BLACK if len(told) % 2 == 0 else go.WHITE
        told += [move] if who == expected else [skip, move]
    told.pop()
    while ends := [i for i in range(1, len(told)) if told[i] == told[i - 1] == skip]:
        del told[ends[0] - 1 : ends[0] + 1]
    return told


if __name__ == "__main__":
    command(main)
