"""Board games: AlphaZero and Gumbel AlphaZero from nothing."""

from pathlib import Path
from typing import Any

import numpy as np

from research.engine import saved
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.games import alphazero, boards, combined, records, reinforced, sgf, supervised
from research.games.contest import Solved
from research.games.solved import best_moves


def load(setup: alphazero.Setup) -> Inputs:
    """What is known of the board for certain."""
    board = boards.make(setup.board)
    table = best_moves() if setup.board == "tic_tac_toe" else np.zeros((0, 9), bool)
    moves, best, note = np.zeros((0, 1), np.int32), np.zeros((0, board.actions), bool), ""
    if setup.board == "connect_four":
        with np.load(POSITIONS / "connect_four.npz") as file:
            moves, best = file["moves"].astype(np.int32), file["best"]
        share = 100 * chance(moves, best)
        note = f"{len(best)} solved positions of connect four; by chance a best move is found in {share:.0f} % of them"
    return Inputs(Solved(table, moves, best), note=note)


def chance(moves: np.ndarray, best: np.ndarray) -> float:
    """The share of positions of connect four, which moves i32[N,L] lead to, where a legal move by chance is among the best
    bool[N,A]."""
    height = np.stack([(moves == column).sum(1) for column in range(best.shape[1])], 1)
    return float((best.sum(1) / (height < 6).sum(1)).mean())


# Written, and solved exactly, by tests/connect_four.py.
POSITIONS = Path(__file__).with_name("positions")


def load_records(setup: supervised.Setup) -> Inputs:
    """Positions of recorded games; whole games are held out. Raises ValueError for a file of other games."""
    board = boards.make(setup.board)
    path = Path(setup.records) if setup.records else POSITIONS / "gnugo_9x9.sgf"
    try:
        if path.exists() and not path.is_file():
            raise ValueError("it is no file; give an SGF file of games")
        games = sgf.read(path.read_text(errors="replace"))
        other = next((game.size for game in games if game.size != board.shape[0]), None)
        if not boards.is_go(board) or other is not None:
            raise ValueError(
                f"it holds games of Go, {other or board.shape[0]} points a side, and board={setup.board!r}"
            )
        count, kept = len(games), records.distinct(board, games)
        if len(kept) < 10:
            raise ValueError(f"it holds {len(kept)} different games; give 10 or more, to have some to hold out")
        games = [games[number] for number in kept]
        found = records.positions(board, games, [number + 1 for number in kept])
    except OSError as error:
        raise ValueError(f"records={setup.records!r}: {error.strerror}; give an SGF file of games") from None
    except ValueError as error:
        raise ValueError(f"records={setup.records!r}: {error}") from None
    train, validation, test = records.split(found, setup.held_out)
    learned_from = records.places(found, train, setup.positions == "one")
    usual = np.bincount(found.move[learned_from]).argmax().astype(np.int32)
    held_out, tested = records.places(found, validation), records.places(found, test)
    again = [100 * records.repeated(board, found, x, records.places(found, train)) for x in (held_out, tested)]
    other_komi = sum(game.komi != boards.KOMI for game in games)
    note = (
        f"{len(games)} games, {len(found.move)} positions; learned from: {len(learned_from)}, of {len(train)} games; of the "
        f"positions held out {again[0]:.1f} and {again[1]:.1f} % stand, turned or not, in games learned from"
        + (f"; {count - len(games)} games without moves or like others left out" if count > len(games) else "")
        + (f"; {other_komi} games have another komi than {boards.KOMI}" if other_komi else "")
    )
    data = supervised.Data(found, learned_from, held_out, usual)
    return Inputs(data, final=data._replace(held_out=tested), note=note)


def load_pretrained(setup: reinforced.Setup) -> Inputs:
    """The net that a run of go-supervised has learned. Raises ValueError where it is another net than the setup's."""
    params, told = net_of(setup, "pretrained", "", (GO_SUPERVISED,))
    return Inputs(params, note=f"begins with {told}")


def load_nets(setup: combined.Setup) -> Inputs:
    """The nets of two runs. Raises ValueError where they are others than the setup's."""
    policy, one = net_of(setup, "policy", "policy_", (GO_SUPERVISED, GO_REINFORCED))
    value, other = net_of(setup, "value", "value_", (GO_VALUE,))
    return Inputs(combined.Nets(policy, value), note=f"policy: {one}; value: {other}")


def net_of(setup: Any, field: str, prefix: str, recipes: tuple[Recipe, ...]) -> tuple[Any, str]:
    """The params that the run in a setup's `field` has learned, and which those are; {} where it names none. Raises ValueError
    for a run of another recipe, and for a net that is not the setup's, whose fields have a prefix."""
    if not getattr(setup, field):
        return {}, "a new net"
    folder = Path(getattr(setup, field)).expanduser()
    plan = saved.plan_in(folder, recipes, field)
    for ours, theirs in (("board", "board"), (f"{prefix}net", "net"), (f"{prefix}widths", "widths")):
        if getattr(setup, ours) != getattr(plan.setup, theirs):
            raise ValueError(
                f"{ours}={getattr(setup, ours)!r}, and the net of {field}={str(folder)!r} has "
                f"{getattr(plan.setup, theirs)!r}; give the same"
            )
    found = saved.living_state(plan, folder, field)
    return found.state.params, f"seed {plan.rows[0].seed} of {folder.name}, tick {found.tick}"


def moves_per_tick(setup: alphazero.Setup) -> int:
    return setup.games * setup.moves


WATCH = ("losses", "wins_first", "wins_second", "policy_loss", "value_loss", "game_length")

ALPHAZERO_TIC_TAC_TOE = Recipe(
    name="alphazero-tic-tac-toe",
    make=alphazero.make,
    setup=alphazero.Setup(opponent="perfect", contests=2000),
    hyper=alphazero.Hyper(opening=5.0),
    load=load,
    budget=Budget(steps=512 * 400, chunk=20, record_every=20, evaluate_every=200),
    steps_per_tick=moves_per_tick,
    unit="moves",
    watch=WATCH,
    light=True,
    about="""Gumbel AlphaZero on tic-tac-toe, whose games begin with up to 5 moves by chance: else players agree upon one line,
    and the others stay unknown.

    20 seeds: no game of 2,000 lost, half of them as either player, to one who makes any of the best moves; 62 s of training
    for all twenty on 2 cores of an AMD EPYC. See docs/results/alphazero-tic-tac-toe.json.

    python scripts/train.py alphazero-tic-tac-toe --seeds 5""",
)

ALPHAZERO_CONNECT_FOUR = Recipe(
    name="alphazero-connect-four",
    make=alphazero.make,
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
    load=load,
    budget=Budget(steps=128 * 16 * 700, chunk=2, record_every=2, evaluate_every=50),
    steps_per_tick=moves_per_tick,
    unit="moves",
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

ALPHAZERO_GO_9X9 = Recipe(
    name="alphazero-go-9x9",
    make=alphazero.make,
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
    load=load,
    budget=Budget(steps=1024 * 32 * 1500, chunk=1, record_every=1, evaluate_every=50),
    steps_per_tick=moves_per_tick,
    unit="moves",
    watch=WATCH,
    about="""Gumbel AlphaZero on 9x9 Go with the sizes of pgx's example (6 blocks of 128 features, 32 simulations, 1024 games,
    batches of 4096), for an accelerator. No result is claimed yet.

    python scripts/train.py alphazero-go-9x9""",
)

RECORD_WATCH = (
    "validation_accuracy",
    "test_accuracy",
    "test_accuracy_error",
    "validation_most_frequent",
    "train_accuracy",
    "policy_loss",
)

GO_SUPERVISED = Recipe(
    name="go-supervised",
    make=supervised.make,
    setup=supervised.Setup(),
    hyper=supervised.Hyper(value_weight=0.0),
    load=load_records,
    budget=Budget(steps=6_000, chunk=50, record_every=50, evaluate_every=1000),
    watch=RECORD_WATCH,
    about="""The first stage: what an expert would play, learned from recorded games of 9x9 Go.

    Of 3,000 games of GNU Go's level 1 with itself, 300 each held out for validation and test, the net foresees 47.1 % of
    the test's moves, a linear model 16.3 %, and whoever names the most frequent move 5.4 %. Five seeds each, 95 % over
    seeds 46.9 to 47.3 and 16.0 to 16.5; over games one net's standard error is 0.6 and 0.4 %. 1,468 s of training for all
    five on one core of an AMD EPYC, 29 s for the linear ones. See docs/results/go-9x9.

    python scripts/record_games.py --games 3000 --out games.sgf
    python scripts/train.py go-supervised --setup.records games.sgf
    python scripts/train.py go-supervised --setup.records games.sgf --setup.net dense --setup.widths    # a linear model""",
)

GO_VALUE = Recipe(
    name="go-value",
    make=supervised.make,
    setup=supervised.Setup(positions="one"),
    hyper=supervised.Hyper(policy_weight=0.0),
    load=load_records,
    budget=Budget(steps=2_000, chunk=50, record_every=50, evaluate_every=250),
    watch=("validation_value_error", "test_value_error", "validation_outcomes_right", "value_loss"),
    about="""The third stage: who wins, learned from one position of each recorded game of 9x9 Go, or from all of them
    (--setup.positions all).

    Of the first stage's games, 2,400 positions, one of each, are learned by heart: squared error 0.17 in training, 0.71
    (95 % over five seeds: 0.67 to 0.75) in validation after 2,000 updates, where 0.63 after 750 was best. All 92,442
    positions of these games leave 0.41 and 0.50 (0.49 to 0.50) after 4,000: with so few games the variety of all positions
    is worth more than their independence, other than with AlphaGo's millions. The test's outcomes are told right in 77.0
    and 81.6 %. 495 and 1,076 s for five seeds on one core of an AMD EPYC. See docs/results/go-9x9.

    python scripts/train.py go-value --setup.records games.sgf
    python scripts/train.py go-value --setup.records games.sgf --setup.positions all --steps 4000""",
)

GO_REINFORCED = Recipe(
    name="go-reinforced",
    make=reinforced.make,
    setup=reinforced.Setup(longest=120),
    hyper=reinforced.Hyper(),
    load=load_pretrained,
    budget=Budget(steps=64 * 300, chunk=5, record_every=5, evaluate_every=50),
    steps_per_tick=lambda setup: setup.games,
    unit="games",
    watch=("wins_pretrained", "wins_chance", "wins", "policy_loss", "entropy"),
    about="""The second stage: policy gradient by self-play against a pool of earlier selves, from the first stage's net.

    From one of the first stage's nets, and without a search on either side, one seed wins 89.2 % of 400 games against it
    (binomial 95 %: 85.8 to 92.1), after half of the updates 95.8 %. 755 s of training on one core of an AMD EPYC. It has
    learned to beat its own kind: as a search's prior against GNU Go it is worse than the first stage's (see go-search). See
    docs/results/go-9x9.

    python scripts/train.py go-reinforced --setup.pretrained runs/go-supervised-0a1b2c3d""",
)

GO_SEARCH = Recipe(
    name="go-search",
    make=combined.make,
    setup=combined.Setup(),
    hyper=combined.Hyper(),
    load=load_nets,
    budget=Budget(steps=1, chunk=1, record_every=1, evaluate_every=1),
    unit="ticks",
    watch=("wins_policy", "draws_policy"),
    about="""The fourth stage: tree search with the first or second stage's policy and the third's value; nothing is learned.

    With the first stage's policy, the value of all positions and 128 simulations: 90 of 200 games won against GNU Go
    3.8's level 1 (45.0 %, 95 % over openings: 38.3 to 51.7), 85 against level 10 (42.5 %: 36.1 to 48.9), area scoring,
    two moves by chance first, each opening played by both colours. Two passes ended all games but one, which GNU Go
    resigned; of these it counts 197 of 199 and 197 of 200 as we do. One seed of each net, trained for 9 minutes on one
    core of an AMD EPYC. With the second stage's policy and 64 simulations, 0 of 40 against level 1, where the first
    stage's won 17, by which it was chosen, both with nets of an earlier run. The records are in docs/results/go-9x9.

    python scripts/train.py go-search --setup.policy runs/go-supervised-0a1b2c3d --setup.value runs/go-value-4e5f6a7b
    python scripts/match.py runs/go-search-0a1b2c3d --simulations 128 \\
        --against 'gnugo --mode gtp --level 1 --chinese-rules --positional-superko'""",
)
