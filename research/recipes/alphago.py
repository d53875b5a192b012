"""AlphaGo's four stages, which follow each other by their run folders (Silver et al. 2016)."""

from pathlib import Path
from typing import Any

import numpy as np

from research.engine import saved
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.games import boards, combined, records, reinforced, sgf, supervised

# Games of GNU Go with itself, by scripts/record_games.py.
GAMES = Path(__file__).with_name("positions") / "gnugo_9x9.sgf"


def load_records(setup: supervised.Setup) -> Inputs:
    """Positions of recorded games; whole games are held out. Raises ValueError for a file of other games."""
    board = boards.make(setup.board)
    path = Path(setup.records) if setup.records else GAMES
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


GO_SUPERVISED = Recipe(
    name="go-supervised",
    make=supervised.make,
    setup=supervised.Setup(),
    hyper=supervised.Hyper(value_weight=0.0),
    load=load_records,
    budget=Budget(steps=6_000, chunk=50, record_every=50, evaluate_every=1000),
    watch=(
        "validation_accuracy",
        "test_accuracy",
        "test_accuracy_error",
        "validation_most_frequent",
        "train_accuracy",
        "policy_loss",
    ),
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
