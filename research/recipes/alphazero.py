"""Board games from nothing: AlphaZero and Gumbel AlphaZero."""

from functools import partial
from pathlib import Path

import numpy as np

from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.games import alphazero, boards
from research.games.contest import Solved
from research.games.solved import best_moves

# Written, and solved exactly, by tests/connect_four.py.
SOLVED = Path(__file__).with_name("positions") / "connect_four.npz"


def load(setup: alphazero.Setup) -> Inputs:
    """What is known of the board for certain."""
    board = boards.make(setup.board)
    table = best_moves() if setup.board == "tic_tac_toe" else np.zeros((0, 9), bool)
    moves, best, note = np.zeros((0, 1), np.int32), np.zeros((0, board.actions), bool), ""
    if setup.board == "connect_four":
        with np.load(SOLVED) as file:
            moves, best = file["moves"].astype(np.int32), file["best"]
        share = 100 * chance(moves, best)
        note = f"{len(best)} solved positions of connect four; by chance a best move is found in {share:.0f} % of them"
    return Inputs(Solved(table, moves, best), note=note)


def chance(moves: np.ndarray, best: np.ndarray) -> float:
    """The share of positions of connect four, which moves i32[N,L] lead to, where a legal move by chance is among the best
    bool[N,A]."""
    height = np.stack([(moves == column).sum(1) for column in range(best.shape[1])], 1)
    return float((best.sum(1) / (height < 6).sum(1)).mean())


def moves_per_tick(setup: alphazero.Setup) -> int:
    return setup.games * setup.moves


recipe = partial(Recipe, make=alphazero.make, load=load, steps_per_tick=moves_per_tick, unit="moves")
WATCH = ("losses", "wins_first", "wins_second", "policy_loss", "value_loss", "game_length")

ALPHAZERO_TIC_TAC_TOE = recipe(
    name="alphazero-tic-tac-toe",
    setup=alphazero.Setup(opponent="perfect", contests=2000),
    hyper=alphazero.Hyper(opening=5.0),
    budget=Budget(steps=512 * 400, chunk=20, record_every=20, evaluate_every=200),
    watch=WATCH,
    light=True,
    about="""Gumbel AlphaZero on tic-tac-toe, whose games begin with up to 5 moves by chance: else players agree upon one line,
    and the others stay unknown.

    20 seeds: no game of 2,000 lost, half of them as either player, to one who makes any of the best moves; 62 s of training
    for all twenty on 2 cores of an AMD EPYC. See docs/results/alphazero-tic-tac-toe.json.

    python scripts/train.py alphazero-tic-tac-toe --seeds 5""",
)

ALPHAZERO_CONNECT_FOUR = recipe(
    name="alphazero-connect-four",
    setup=alphazero.Setup(
        board="connect_four",
        net="residual",
        widths=(32, 32, 32),
        simulations=32,
        games=128,
        moves=16,
        replay=128 * 16 * 50,
        updates=16,
        batch_size=512,
        contests=200,
        judged_simulations=32,
    ),
    hyper=alphazero.Hyper(opening=16.0),
    budget=Budget(steps=128 * 16 * 700, chunk=2, record_every=2, evaluate_every=50),
    watch=("policy_agrees", "search_agrees", *WATCH),
    about="""Gumbel AlphaZero on connect four, whose games begin with up to 16 moves by chance: without them, by the search's
    own noise alone, they are too much alike.

    One seed, 1.4 million moves: of 1,000 solved positions, where chance would agree in 39 %, the policy alone finds a best
    move in 66 % after 102,000 moves, 78 % after 512,000 and 84.7 % in the end, a search of 32 simulations in 77, 87 and
    90.8 %. It wins 176 of 200 games that it begins against an alpha-beta of depth 6 (88.0 %, 95 %: 82.7 to 92.2), and 172
    of 200 that the other begins, after two moves by chance each. 3,184 s of training on one core of an AMD EPYC. See
    docs/results/alphazero-connect-four.

    python scripts/train.py alphazero-connect-four
    python scripts/match.py runs/alphazero-connect-four-0a1b2c3d --against alpha-beta-6 --games 400""",
)

ALPHAZERO_GO_9X9 = recipe(
    name="alphazero-go-9x9",
    setup=alphazero.Setup(
        board="go_9x9",
        net="residual",
        widths=(128,) * 6,
        simulations=32,
        games=1024,
        moves=32,
        replay=1024 * 32 * 8,
        updates=8,
        batch_size=4096,
        contests=256,
        judged_simulations=32,
    ),
    hyper=alphazero.Hyper(learning_rate=1e-3),
    budget=Budget(steps=1024 * 32 * 1500, chunk=1, record_every=1, evaluate_every=50),
    watch=WATCH,
    about="""Gumbel AlphaZero on 9x9 Go with the sizes of pgx's example (6 blocks of 128 features, 32 simulations, 1024 games,
    batches of 4096), for an accelerator. No result is claimed yet.

    python scripts/train.py alphazero-go-9x9""",
)
