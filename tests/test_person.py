"""A person at a board: names, pictures, and whole games typed into the script."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import plan_of, tiny
from shell import script

from research.engine.run import run
from research.games import boards, person
from research.games.search import Advice

pytestmark = pytest.mark.xdist_group("person")


def after(name: str, *moves: str):
    board = boards.make(name)
    position, play = board.start(), jax.jit(board.play)
    for move in moves:
        position = play(position, jnp.int32(person.named(board, play, position)[move]))
    return board, position


def test_a_position_is_drawn_with_the_first_player_as_x_whoever_is_to_move():
    assert person.shown(*after("tic_tac_toe", "A3", "B2")) == "   A B C\n 3 X . . 3\n 2 . O . 2\n 1 . . . 1\n   A B C"
    assert person.shown(*after("tic_tac_toe", "A3", "B2", "C1")).splitlines()[3] == " 1 . . X 1"
    told = person.shown(*after("connect_four", "4", "4", "1")).splitlines()
    assert told[-3:] == [". . . O . . .", "X . . X . . .", "1 2 3 4 5 6 7"] and len(told) == 7
    told = person.shown(*after("hex", "B9", "swap")).splitlines()  # mirrored in the long diagonal, and the other's
    assert told[2].split() == ["10", ".", ".", "O", *"." * 8, "10"]
    assert told[1].split() == ["11", *"." * 11, "11"] and sum(line.count("O") for line in told) == 1
    assert told[2].startswith(" 10 ") and told[11].startswith(" " * 11 + "1 ")
    told = person.shown(*after("othello")).splitlines()
    assert {told[4], told[5]} == {" 5 . . . O X . . . 5", " 4 . . . X O . . . 4"}
    told = person.shown(*after("go_3x3", "B3", "A3", "A2", "pass"))  # the stone in the corner is taken
    assert told == "   A B C\n 3 . X . 3\n 2 X . . 2\n 1 . . . 1\n   A B C"


def test_pieces_stand_and_move_where_the_first_player_sees_them():
    """Castling, en passant and promotion in chess; a drop in shogi for animals; the other player's moves are not turned."""
    told = person.shown(*after("chess", "E2E4", "E7E5", "G1F3", "B8C6", "F1C4", "G8F6", "E1G1")).splitlines()
    assert told[1] == " 8 r . b q k b . r 8" and told[4:6] == [" 5 . . . . p . . . 5", " 4 . . B . P . . . 4"]
    assert told[8] == " 1 R N B Q . R K . 1"
    told = person.shown(*after("chess", "E2E4", "A7A6", "E4E5", "D7D5", "E5D6")).splitlines()
    assert told[3] == " 6 p . . P . . . . 6" and told[4].count(".") == 8
    moves = "H2H4", "G7G5", "H4G5", "H7H6", "G5H6", "F8G7", "H6G7", "A7A6", "G7H8=N"
    assert person.shown(*after("chess", *moves)).splitlines()[1] == " 8 r n b q k . n N 8"
    told = person.shown(*after("animal_shogi", "B2B3", "C4B3", "A1B2", "C*A3"))
    assert told.splitlines()[1:5] == [" 4 g l . 4", " 3 c e . 3", " 2 . E . 2", " 1 . L G 1"]
    assert told.splitlines()[6:] == ["in hand: C -"]


@pytest.mark.slow
def test_shogi_is_drawn_with_what_is_in_hand():
    told = person.shown(*after("shogi", "C3C4", "G7G6", "B2H8=H", "G9H8", "B*E5"))  # the bishops are exchanged
    assert told.splitlines()[1:4] == [" 9 l n s g k g . n l 9", " 8 . r . . . . . s . 8", " 7 p p p p p p . p p 7"]
    assert told.splitlines()[5] == " 5 . . . . B . . . . 5" and told.splitlines()[11:] == ["in hand: - b"]


def test_whoever_joins_top_and_bottom_of_hex_is_x():
    moves = [f"{column}{row}" for row in range(1, 12) for column in "AK"][:-1]
    _, position = after("hex", *moves)
    assert bool(position.terminated) and list(position.rewards) == [1, -1]
    assert "X joins top and bottom" in person.SIDES["hex"]


@pytest.mark.parametrize("name", ["gardner_chess", "animal_shogi"])
def test_moves_of_pieces_have_names_of_their_own_all_through_a_game(name):
    board, random = boards.make(name), np.random.default_rng(0)
    position, play = board.start(), jax.jit(board.play)
    for _ in range(12):
        names = person.named(board, play, position)
        assert len(names) == int(position.legal_action_mask.sum()) and not any("#" in told for told in names)
        position = play(position, jnp.int32(random.choice(list(names.values()))))
        if bool(position.terminated):
            break


def lowest(key, position, searched):
    mask = np.asarray(position.legal_action_mask[0], float)
    value = 0.5 if searched else -0.25
    return Advice(np.array([int(mask.argmax())]), mask[None] / mask.sum(), np.array([value]))


def told_in(name: str, *lines: str, second: bool = False) -> tuple[float | None, str]:
    said: list[str] = []
    board = boards.make(name)
    outcome = person.session(board, lowest, iter([f"{line}\n" for line in lines]), said.append, second)
    return outcome, "\n".join(said)


def test_a_person_wins_loses_and_stops():
    outcome, said = told_in("tic_tac_toe", "a1", "b1", "c1")
    assert outcome == 1 and said.endswith("You have won.") and "answer: A3" in said
    outcome, said = told_in("tic_tac_toe", "a1", "a2", "b1", second=True)
    assert outcome == -1 and said.endswith("You have lost.") and "you have O" in said
    assert told_in("tic_tac_toe", "a1", "quit")[0] is None and told_in("tic_tac_toe", "a1")[0] is None


def test_opinions_are_told_where_they_are_asked_for_and_wrong_moves_are_not_made():
    outcome, said = told_in(
        "tic_tac_toe", "policy", "b2", "search", "z9", "", "moves", "help", "undo", "undo", "a1", "b1", "c1"
    )
    assert outcome == 1
    assert "value for you, from -1 to 1: -0.25; A3 11 %, B3 11 %" in said
    assert "+0.50; B3 14 %" in said
    assert "'z9' is no legal move here" in said
    assert "B3 C3 A2 C2 A1 B1 C1" in said
    assert said.count("undo: take") == 2
    empty = " 3 . . . 3\n 2 . . . 2\n 1 . . . 1"
    assert said.count(empty) == 3, "an empty board is shown at first and after either undo"


def test_the_script_plays_and_refuses(tmp_path, monkeypatch, capsys):
    import io
    import sys
    from types import SimpleNamespace

    folder = run(plan_of(tiny("alphazero-tic-tac-toe"), seeds=1), tmp_path)
    given = "policy\nsearch\n" + "\n".join(f"{c}{r}" for c in "abc" for r in "123")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given.encode())))
    code, said, wrong = script("play.py", folder, "--simulations", 2)
    assert code == 0, wrong
    assert "tic_tac_toe: you have X" in said and said.count("value for you") == 2
    assert any(said.rstrip().endswith(end) for end in ("You have won.", "A draw.", "You have lost."))
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"search\n")))
    code, said, wrong = script("play.py", folder, "--second", "--simulations", 0)
    assert code == 0 and "you have O" in said and "it does not search" in said and said.count("answer: ") == 1, wrong
    code, said, wrong = script("play.py", folder, "--episode", 1)
    assert code == 2 and "episode='1' is for episodes, and this run plays none" in wrong
