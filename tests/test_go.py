"""The rules of Go on the host, beside pgx's, and the Go Text Protocol."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import plan_of, tiny
from rich.console import Console

from research.engine.run import run
from research.games import boards, go, sgf
from research.games.gtp import RESIGN, Engine
from research.learned import learned
from scripts import gtp as gtp_script

GTP = Path(__file__).parents[1] / "scripts" / "gtp.py"


def played(size, text):
    game = go.start(size)
    for name in text.split():
        game = go.after(game, go.point(name, size))
    return game


def test_rules_agree_with_pgx_in_random_games():
    """Legal moves, stones and the winner, in games that end by two passes; superko is what pgx tells only afterwards."""
    board = boards.make("go_5x5")
    play, random = jax.jit(board.play), np.random.default_rng(0)
    ended = 0
    for _ in range(12):
        position, game = board.start(), go.start(5)
        while not bool(position.terminated):
            mask = np.asarray(position.legal_action_mask)
            allowed = np.array([go.legal(game, move) for move in range(26)])
            assert not (allowed & ~mask).any()
            for repeated in np.flatnonzero(mask & ~allowed):
                after = play(position, jnp.int32(repeated))
                assert bool(after.terminated) and float(after.rewards[position.current_player]) == -1
            # A pass is rare at first and usual in the end.
            move = 25 if random.random() < len(game.seen) / 60 else random.choice(np.flatnonzero(allowed))
            position, game = play(position, jnp.int32(move)), go.after(game, int(move))
            own = np.asarray(position.observation[..., 0]).reshape(-1).astype(int)
            other = np.asarray(position.observation[..., 1]).reshape(-1).astype(int)
            np.testing.assert_array_equal(np.array(game.stones) * game.colour, own - other)
        if game.passes == 2:
            black, white = go.area(game)
            assert (black - white > 7.5) == (float(position.rewards[0]) == 1)
            ended += 1
    assert ended > 6


def test_a_stone_without_liberties_is_taken_and_suicide_refused():
    game = played(5, "A2 A1 B1")
    assert go.name(0, 5) == "A5" and game.stones[go.point("A1", 5)] == 0 and game.captured == (1, 0)
    with pytest.raises(ValueError, match="A1 has no liberty"):
        go.after(game, go.point("A1", 5))
    with pytest.raises(ValueError, match="B1 is taken"):
        go.after(game, go.point("B1", 5))
    for wrong in (-1, 26):
        with pytest.raises(ValueError, match=f"move={wrong} is no point of 5x5"):
            go.after(game, wrong)


def test_ko_cannot_be_retaken_at_once_and_can_after_a_move_elsewhere():
    game = played(5, "B3 C3 C4 D4 C2 D2 E5 E3 D3")  # Black takes C3
    assert game.captured == (1, 0)
    with pytest.raises(ValueError, match="C3 makes the board what it was before"):
        go.after(game, go.point("C3", 5))
    later = go.after(go.after(game, go.point("A5", 5)), go.point("A1", 5))
    assert go.after(later, go.point("C3", 5)).captured == (1, 1)


def test_area_counts_stones_and_what_one_colour_alone_surrounds():
    """A wall of Black in column B and one of White in column D of a board of five: column C is nobody's."""
    game = played(5, "B1 D1 B2 D2 B3 D3 B4 D4 B5 D5")
    assert go.area(game) == (10, 10)
    assert go.area(go.start(5)) == (0, 0) and go.area(played(5, "C3")) == (25, 0)


def test_names_of_points_leave_out_i_and_count_from_below():
    assert go.name(0, 9) == "A9" and go.name(8, 9) == "J9" and go.name(72, 9) == "A1" and go.name(81, 9) == "pass"
    assert all(go.point(go.name(move, 9), 9) == move for move in range(82))
    for wrong in ("I5", "A0", "A10", "K1", "", "5A", "A-1", "A²"):
        with pytest.raises(ValueError, match="is no point of 9x9"):
            go.point(wrong, 9)


# The protocol


def engine(size=5):
    """An engine that would play the points from the first on, the last one being a pass."""
    return Engine("tester", "1", size, 7.5, lambda colour, moves: range(size**2 + 1))


def talk(engine, *lines):
    return [engine.answer(line) for line in lines]


def test_every_command_of_a_regression_session():
    """What a tool such as GoGui's asks for, in one game."""
    e = engine()
    assert talk(e, "protocol_version", "name", "version") == ["= 2\n\n", "= tester\n\n", "= 1\n\n"]
    assert talk(e, "boardsize 5", "clear_board", "komi 0.5", "get_komi") == ["=\n\n"] * 3 + ["= 0.5\n\n"]
    assert talk(e, "query_boardsize") == ["= 5\n\n"]
    assert talk(e, "play b C3", "genmove w", "genmove b") == ["=\n\n", "= A5\n\n", "= B5\n\n"]
    assert talk(e, "move_history") == ["= black B5\nwhite A5\nblack C3\n\n"]
    assert talk(e, "undo", "genmove b") == ["=\n\n", "= B5\n\n"]
    assert talk(e, "play w A4", "play b B4", "play white A3", "play black a2") == ["=\n\n"] * 4
    assert talk(e, "play w pass", "play b B3") == ["=\n\n"] * 2  # and A5, A4 and A3 are taken
    assert talk(e, "final_score") == ["= B+24.5\n\n"]
    assert "5 . X . . . 5" in e.answer("showboard") and "3 . X X . . 3" in e.answer("showboard")
    assert talk(e, "time_settings 300 30 5", "time_left b 10 0") == ["=\n\n"] * 2
    alive = e.answer("final_status_list alive").removeprefix("= ").split()
    assert e.answer("final_status_list dead") == "=\n\n" and {*alive} == {"C3", "B5", "B4", "B3", "A2"}
    assert talk(e, "known_command undo", "known_command sing") == ["= true\n\n", "= false\n\n"]
    listed = e.answer("list_commands").removeprefix("= ").split()
    required = "protocol_version name version known_command list_commands quit boardsize clear_board komi play genmove"
    assert {*required.split(), "undo", "final_score", "time_settings", "time_left", "reg_genmove", "showboard"} <= {
        *listed
    }
    assert e.open and e.answer("quit") == "=\n\n" and not e.open


def test_what_cannot_be_done_is_answered_as_the_protocol_says():
    e = engine()
    refused = {
        "sing": "? unknown command",
        "boardsize 19": "? unacceptable size",
        "boardsize": "? syntax error",
        "boardsize five": "? syntax error",
        "komi much": "? syntax error",
        "komi nan": "? syntax error",
        "play b resign": "? illegal move",
        "play b": "? syntax error",
        "play green C3": "? syntax error",
        "play b Z9": "? illegal move",
        "undo": "? cannot undo",
        "genmove": "? syntax error",
        "final_status_list ill": "? syntax error",
    }
    assert {line: e.answer(line).removesuffix("\n\n") for line in refused} == refused
    talk(e, "play b C3")
    assert talk(e, "play w C3") == ["? illegal move\n\n"]
    assert [x.move for x in e.moves] == [go.point("C3", 5)]


def test_numbers_comments_and_empty_lines():
    e = engine()
    assert talk(e, "12 name", "7 undo", "", "   ", "# nothing", "3 play b\tC3 # a move") == [
        "=12 tester\n\n",
        "?7 cannot undo\n\n",
        "",
        "",
        "",
        "=3\n\n",
    ]


def test_a_move_that_superko_forbids_is_passed_over():
    """The engine would take A5 first and everything else later; retaking the ko is not among what it does."""
    e = Engine("tester", "1", 5, 7.5, lambda colour, moves: [go.point("C3", 5), go.point("A1", 5)])
    for number, name in enumerate(["B3", "C3", "C4", "D4", "C2", "D2", "E5", "E3", "D3"]):
        e.answer(f"play {'bw'[number % 2]} {name}")
    assert e.answer("genmove w") == "= A1\n\n"


def test_resigning_is_no_move():
    e = Engine("tester", "1", 5, 7.5, lambda colour, moves: [RESIGN])
    assert talk(e, "genmove b", "reg_genmove w") == ["= resign\n\n"] * 2 and not e.moves


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run of a few moves."""
    return run(plan_of(tiny("alphazero-go-9x9"), seeds=1), tmp_path_factory.mktemp("runs"))


@pytest.mark.xdist_group("speaks")
def test_a_run_speaks_the_protocol(folder, tmp_path):
    """Through the script: it plays for both colours, twice in a row too, and on after two passes."""
    lines = [
        "boardsize 3",
        "clear_board",
        "play b B2",
        "play b A1",
        "genmove w",
        "genmove w",
        "play b pass",
        "play w pass",
    ]
    lines += ["genmove b", "genmove w", "final_score", "boardsize 9", "quit", "name"]
    done = subprocess.run(
        [sys.executable, GTP, folder, "--simulations", "2"],
        input="\n".join(lines) + "\n",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answers = done.stdout.removesuffix("\n\n").split("\n\n")
    assert len(answers) == 13 and [x[0] for x in answers] == ["="] * 11 + ["?", "="]
    for genmove in (answers[4], answers[5], answers[8], answers[9]):
        assert go.point(genmove.removeprefix("= "), 3) <= 9
    wrong = subprocess.run([sys.executable, GTP, tmp_path / "none"], capture_output=True, text=True)
    assert wrong.returncode == 2 and "none" in "".join(wrong.stderr.replace("│", "").split())


# Records


def test_a_record_is_read_as_it_was_written():
    game = sgf.Record(9, 7.5, (40, 0, 80, 81, 81), "B+2.5", r"a ]\ b", "GNU Go")
    text = sgf.written(game)
    assert ";B[ee];W[aa];B[ii];W[];B[]" in text and "RE[B+2.5]" in text
    assert sgf.read(text) == [game] and sgf.read(text + "\n" + text) == [game, game]


def test_of_variations_the_first_is_read_and_passes_are_understood():
    text = "(;GM[1]SZ[5]C[a ) ; ( comment \\] here](;B[aa](;W[bb];B[tt])(;W[cc]))(;B[ee]))(;SZ[5];B[];W[ab])"
    assert [x.moves for x in sgf.read(text)] == [(0, 6, 25), (25, 5)]
    assert sgf.read("") == [] == sgf.read("no games")


def test_letters_that_older_formats_add_for_people_say_nothing():
    (game,) = sgf.read("(;GaMe[1]SiZe[5];Black[aa];White[bb])")
    assert game.size == 5 and game.moves == (0, 6)
    with pytest.raises(ValueError, match="AB sets stones"):
        sgf.read("(;SiZe[5]AddBlack[aa];White[bb])")


@pytest.mark.parametrize(
    "text, told",
    [
        ("(;SZ[9];B[ee];W[zz])", r"game 1: \[zz\] is no point of 9x9"),
        ("(;SZ[9])(;SZ[9];W[ee])", "game 2: move 1 is W's"),
        ("(;SZ[9]AB[ee];W[aa])", "game 1: AB sets stones"),
        ("(;GM[2])", r"game 1: GM\[2\] is not Go"),
        ("(;SZ[40])", r"game 1: SZ\[40\] must be 2 to 19"),
        ("(;KM[much])", r"game 1: KM\[much\] is no number"),
        ("(;KM[nan])", r"game 1: KM\[nan\] is no number"),
        ("(;SZ[9];B[ee]", "ends within a game"),
        ("(;SZ[9]))", "closes nothing"),
        ("(;SZ[9] 12)", "'12..' is not SGF at character 8|'12.' is not SGF"),
        ("(SZ[9])", "stands in no node"),
    ],
)
def test_what_is_no_record_is_refused(text, told):
    with pytest.raises(ValueError, match=told):
        sgf.read(text)


# What a net is asked

B, W, PASS = go.BLACK, go.WHITE, 25


@pytest.mark.parametrize(
    "colour, moves, told",
    [
        (B, [], []),
        (W, [(B, 3)], [3]),
        (B, [(B, 3)], [3, PASS]),
        (W, [], [PASS]),
        (W, [(B, PASS), (W, PASS), (B, 1)], [1]),
        (B, [(W, PASS), (W, 2)], [PASS, 2]),
    ],
)
def test_any_order_of_moves_becomes_a_game_in_which_players_take_turns(colour, moves, told):
    assert gtp_script.in_turn(colour, moves, PASS) == told


@pytest.mark.xdist_group("speaks")
def test_a_game_may_be_longer_than_those_of_training(folder):
    """On 3x3 pgx ends a game after 18 moves; here the search still sees what comes after twenty."""
    chosen = gtp_script.Arguments(folder)
    choose = gtp_script.chooser(learned(chosen, Console()), 8, 1.0)
    game, moves, random = go.start(3), [], np.random.default_rng(0)
    while len(moves) < 20:
        allowed = [x for x in range(9) if go.legal(game, x)] or [9]
        moves.append((game.colour, int(random.choice(allowed))))
        game = go.after(game, moves[-1][1])
    assert len(gtp_script.in_turn(game.colour, moves, 9)) > 18
    wanted = choose(game.colour, moves)
    assert sorted({*wanted}) == [*range(10)] and go.legal(game, wanted[0])
