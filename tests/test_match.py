"""Matches against players outside a program, and the script that holds them."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from recipes import plan_of, tiny

from research.engine.plan import Plan, Row
from research.engine.run import run
from research.games import boards, go, gtp, match, program, records, sgf
from research.games.contest import by_chance
from research.games.program import NoAnswer
from scripts import match as script
from scripts import record_games as recorder

PROGRAM = f"{sys.executable} {Path(__file__).parent / 'own' / 'gtp_player.py'}"
lowest = lambda key, positions: positions.legal_action_mask.argmax(1)


def held_in(name, ours, rival, begun, key=0):
    """The games of a match, first those in which we begin."""
    results = match.play(name, ours, rival, begun, jax.random.key(key))
    return sorted(results, key=lambda x: (x.began, x.opening))


class Lowest:
    """Takes the lowest cell of tic-tac-toe that is free."""

    name = "lowest"

    def reply(self, game, moves):
        return next(cell for cell in range(9) if cell not in moves)

    def winner(self, moves):
        return None

    def close(self):
        pass


@pytest.fixture
def at_most(monkeypatch):
    """Makes games of Go end after so many moves."""

    def limit(moves):
        monkeypatch.setattr(boards, "LONGEST", moves)
        match.compiled.cache_clear()

    yield limit
    match.compiled.cache_clear()


def test_a_match_counts_for_us_whoever_begins():
    """Whoever moves first has 0, 2, 4 and 6, and so a diagonal; with 8 and 0 gone he has 1, 3, 5, 7, which is none."""
    results = held_in("tic_tac_toe", lowest, Lowest(), np.zeros((2, 0), np.int32))
    assert [(x.began, x.outcome, x.moves) for x in results] == [(0, 1, [*range(7)])] * 2 + [(1, -1, [*range(7)])] * 2
    assert [(x.opening, x.ending) for x in results] == [(0, "rules"), (1, "rules")] * 2
    results = held_in("tic_tac_toe", lowest, Lowest(), np.array([[8, 0]], np.int32))
    assert [x.moves for x in results] == [[8, 0, 1, 2, 3, 4, 5, 6]] * 2
    assert [x.outcome for x in results] == [-1, 1]  # the second player has 0, 2, 4 and 6 now


def test_openings_are_legal_differ_and_are_even():
    board, key = boards.make("connect_four"), jax.random.key(0)
    begun = match.openings(board, key, 40, 4)
    assert begun.shape == (40, 4) and len({tuple(x) for x in begun}) > 30
    with pytest.raises(ValueError, match="opening=3 must be even"):
        match.openings(board, key, 4, 3)
    with pytest.raises(ValueError, match="opening=8 moves by chance can end a game of tic_tac_toe"):
        match.openings(boards.make("tic_tac_toe"), key, 40, 8)
    assert (match.openings(boards.make("go_3x3"), key, 40, 2) < 9).all()


def test_whoever_looks_ahead_beats_chance_at_connect_four():
    board, key = boards.make("connect_four"), jax.random.key(0)
    rival = match.LooksAhead(3, 0)
    results = held_in("connect_four", by_chance, rival, match.openings(board, key, 10, 2))
    assert sum(x.outcome for x in results) <= -18


def test_a_program_plays_and_its_games_are_go():
    """Both sides' moves are legal by the rules on the host, and winner and ending are theirs."""
    board, key = boards.make("go_3x3"), jax.random.key(0)
    rival = match.Speaks(f"{PROGRAM} 3", 3, 7.5)
    results = held_in("go_3x3", by_chance, rival, match.openings(board, key, 8, 2))
    rival.close()
    assert rival.name == "first 1" and {x.ending for x in results} == {"two passes", "forbidden move"}
    for result in results:
        game = go.start(3)
        for number, move in enumerate(result.moves):
            ours = number % 2 == result.began
            if number >= 2 and not ours and game.passes < 2:
                assert move == next(x for x in range(10) if go.legal(game, x))
            if not go.legal(game, move):  # superko, which ends pgx's game, lost by whoever did it
                assert number == len(result.moves) - 1 and result.outcome == (-1 if ours else 1)
                assert result.agreed is None and result.ending == "forbidden move"
                break
            game = go.after(game, move)
        else:
            assert game.passes == 2 and result.agreed and result.ending == "two passes"
            assert result.outcome == (1 if (go.lead(game, 7.5) > 0) == (result.began == 0) else -1)


def test_a_game_of_go_ends_after_as_many_moves_as_it_may_have(at_most):
    """The one who is ahead has won it: White, by komi."""
    at_most(6)
    rival = match.Speaks(f"{PROGRAM} 5", 5, 7.5)
    results = held_in(
        "go_5x5",
        lambda key, positions: 24 - positions.legal_action_mask[:, 24::-1].argmax(1),
        rival,
        np.zeros((1, 0), int),
    )
    rival.close()
    assert [(x.ending, x.outcome, x.agreed, len(x.moves)) for x in results] == [
        ("length", -1, None, 6),
        ("length", 1, None, 6),
    ]


@pytest.mark.parametrize(("counted", "agreed"), [(1, True), (-1, False), (None, None)])
def test_it_is_told_how_often_the_rival_counts_as_we_do(counted, agreed):
    """Black holds the centre and everything, and both have passed; a game that ended otherwise is not asked about."""
    rival = Lowest()
    rival.winner = lambda moves: counted
    rival.reply = lambda game, moves: 9
    passes = lambda key, positions: np.full(1, 9)
    results = held_in("go_3x3", passes, rival, np.array([[4, 9]]))
    assert [(x.moves, x.outcome, x.agreed) for x in results] == [([4, 9, 9], 1, agreed), ([4, 9, 9], -1, agreed)]
    rival.reply = lambda game, moves: gtp.RESIGN
    assert [x.agreed for x in held_in("go_3x3", lowest, rival, np.array([[4, 0]]))] == [None, None]
    lines = script.told_of(
        script.Held(script.Side("we"), script.Side("they"), 0, np.array([1, -1]), results), boards.make("go_3x3")
    )
    assert lines[1:3] == ["  we begins: 1 won, 0 drawn, 0 lost", "  they begins: 0 won, 0 drawn, 1 lost"]
    assert lines[4] == "  ended by two passes 2"
    told = [line for line in lines if "count" in line]
    assert told == (
        [] if agreed is None else [f"  of 2 games that two passes ended, they counts {2 * agreed} as we do"]
    )


def test_a_rival_who_resigns_has_lost():
    board, key = boards.make("go_3x3"), jax.random.key(0)
    rival = match.Speaks(f"{PROGRAM} 3 resign", 3, 7.5)
    results = held_in("go_3x3", by_chance, rival, match.openings(board, key, 2, 2))
    rival.close()
    assert [(x.outcome, x.ending) for x in results] == [(1, "resignation")] * 4
    assert [len(x.moves) for x in results] == [3, 3, 2, 2]


def test_a_rival_who_would_lose_by_passing_is_asked_to_take_dead_stones_off():
    """White wins an empty board by komi, and may pass; Black would lose by that."""
    rival = match.Speaks(f"{PROGRAM} 3 pass", 3, 7.5)
    assert rival.cleans and rival.reply(0, []) == 0 and rival.reply(1, [9]) == 9
    assert rival.reply(0, [0, 8]) == 1 and rival.reply(2, [0, 9]) == 9  # nine points for Black are more than komi
    rival.reply(0, [0, 8])  # and it still knows the game
    assert rival.program.ask("move_history") == "black B3 white C1 black A3"
    rival.close()
    assert not match.Speaks(f"{PROGRAM} 3", 3, 7.5).cleans


def test_a_rival_counts_as_he_says_and_says_nothing_of_what_is_no_game():
    rival = match.Speaks(f"{PROGRAM} 3", 3, 7.5)
    assert rival.winner([4, 9, 9]) == 1 and rival.winner([9, 9]) == -1 and rival.winner([4, 4]) is None
    rival.close()


def test_a_program_that_is_none_or_speaks_otherwise_is_refused(monkeypatch):
    with pytest.raises(ValueError, match="'no-such-program' cannot be run"):
        match.Speaks("no-such-program", 3, 7.5)
    with pytest.raises(ValueError, match="answered 'name' with .*does it speak GTP 2"):
        match.Speaks("cat", 3, 7.5)
    with pytest.raises(ValueError, match="command line of the program is empty"):
        match.Speaks(" ", 3, 7.5)
    with pytest.raises(ValueError, match="no command line .No closing quotation"):
        match.Speaks("'a", 3, 7.5)
    monkeypatch.setattr(program, "PATIENCE", 0.2)
    with pytest.raises(ValueError, match="answered 'name' with 'nothing'"):
        match.Speaks("sleep 1000", 3, 7.5)
    with pytest.raises(ValueError, match="unacceptable size"):
        match.Speaks(f"{PROGRAM} 3", 5, 7.5)


def says(count: int | str, answer: str, then: str = "exit") -> str:
    """The command line of a program that gives so many answers, all alike, and then does something else."""
    return f"""sh -c "trap '' TERM; for i in $(seq {count}); do read told; echo '= {answer}'; echo; done; {then}\""""


def test_a_program_that_ends_or_answers_nonsense_is_named(monkeypatch):
    closed, close = [], program.Program.close
    monkeypatch.setattr(program.Program, "close", lambda self: closed.append(self) or close(self))
    with pytest.raises(NoAnswer, match="answered 'known_command kgs-genmove_cleanup' with 'nothing'"):
        match.Speaks(says(5, "x"), 3, 7.5)
    assert len(closed) == 1 and closed[0].process.returncode is not None, "none is left behind"
    rival = match.Speaks(says(99, "D9"), 3, 7.5)
    assert not rival.counts and rival.winner([4, 9, 9]) is None, "who cannot count is not asked to"
    with pytest.raises(NoAnswer, match="moves to 'D9' is no point of 3x3"):
        rival.chosen([])
    rival.program.process.kill()
    rival.program.process.wait()
    with pytest.raises(NoAnswer, match="answered 'name' with 'nothing'"):
        rival.program.ask("name")
    rival.close()


def test_a_program_that_does_not_end_when_told_to_is_ended(monkeypatch):
    monkeypatch.setattr(program, "PARTING", 0.2)
    rival = program.Program(says(5, "x", "exec sleep 60"), 3, 7.5)
    rival.close()
    assert rival.process.returncode == -signal.SIGKILL


def played_out(game: sgf.Record) -> str:
    """The result of a record by the rules on the host."""
    position = go.replayed(game.size, game.moves[:-1])
    if not go.legal(position, game.moves[-1]):
        return f"{'WB'[len(game.moves) % 2 == 0]}+F"
    return gtp.score_text(go.lead(go.after(position, game.moves[-1]), game.komi))


def test_a_rival_who_has_ended_is_started_again(tmp_path, capsys, at_most):
    """Once: whoever ends again over the same move has not answered."""
    at_most(30)
    folder = run(plan_of(tiny("go-supervised"), seeds=1), tmp_path)
    against = "--games", "4", "--simulations", "0", "--against"
    script.main([str(folder), *against, f"{PROGRAM} 5 mortal {tmp_path / 'once'}"])
    assert "4 games of" in capsys.readouterr().out and (tmp_path / "once").exists()
    with pytest.raises(NoAnswer, match=r"with 'nothing'.*\(0 of 4 games were over\)"):
        script.main([str(folder), *against, f"{PROGRAM} 5 mortal"])


def test_what_was_over_is_recorded_where_a_rival_does_not_answer(tmp_path):
    """He resigns the two games that he began, and then says nothing."""
    rival = Lowest()
    replies = iter([gtp.RESIGN] * 2)

    def reply(game, moves):
        for move in replies:
            return move
        raise NoAnswer("he is gone")

    rival.reply = reply
    board, out, heard = boards.full_length("go_3x3"), tmp_path / "some" / "games.sgf", []
    sides = script.Side("we", lowest), script.Side("he", rival=rival)
    with pytest.raises(NoAnswer, match=r"he is gone \(2 of 4 games were over, and are in .*games.sgf\)"):
        script.hold(board, *sides, np.array([[4, 0], [4, 8]]), jax.random.key(0), out, lambda *x: heard.append(x))
    games = sgf.read(out.read_text())
    assert [(x.moves, x.result, x.black, x.white) for x in games] == [(x, "W+R", "he", "we") for x in ((4, 0), (4, 8))]
    assert heard == [(1, 4), (2, 4)]


def test_matches_of_runs(tmp_path, capsys, at_most):
    """Against a program, itself, and one who looks ahead; the records are games; what does not fit is refused."""
    at_most(30)
    go_run = run(plan_of(tiny("go-supervised"), seeds=1), tmp_path)
    recipe = tiny("go-reinforced")
    four = run(plan_of(replace(recipe, setup=replace(recipe.setup, board="connect_four")), seeds=1), tmp_path)
    recipe = tiny("go-value")
    rows = Row(0, recipe.hyper), Row(0, recipe.hyper._replace(policy_weight=1.0))
    value = run(Plan(recipe, recipe.setup, rows, recipe.budget), tmp_path, device_count=1)
    held = lambda *arguments: (script.main([str(x) for x in arguments]), capsys.readouterr().out)[1]
    small = ("--games", 4, "--simulations", 2)
    told = held(go_run, "--against", f"{PROGRAM} 5", *small)
    assert f"go_5x5, 4 games of {go_run.name} against first 1 ({PROGRAM} 5)" in told and "over 2 openings" in told
    assert "  ended by " in told
    games = sgf.read((go_run / "match.sgf").read_text())
    assert {x.by_chance for x in games} == {2}
    assert len(games) == 4 and {x.black for x in games} == {go_run.name, f"first 1 ({PROGRAM} 5)"}
    assert all(x.result == played_out(x) for x in games)
    others = "random", "alpha-beta-4", four
    told = held(four, "--their-simulations", 0, "--against", *others, *small)
    assert told.count("4 games of") == 6 and "4 games of moves by chance against alpha-beta of depth 4" in told
    assert f"4 games of {four.name} against {four.name} #2:" in told and told.count("of the points") == 6
    assert f"Elo above {four.name}" in told
    names = "moves by chance", "alpha-beta of depth 4"
    rating = {name: float(told.split(f"  {name}: ")[-1].split()[0]) for name in names}
    assert rating["alpha-beta of depth 4"] > rating["moves by chance"] + 100
    for arguments, wrong in (
        ((four, "--against", go_run), "plays go_5x5"),
        ((go_run, "--against", "alpha-beta-2"), "know connect_four"),
        ((four, "--against", "gnugo"), "play Go alone"),
        ((value, "--row", 0, "--against", "random"), "policy_weight=0: this run of 'go-value' has learned who wins"),
        ((four, "--games", 3), "games=3 must be even"),
        ((four, "--opening", 3), "opening=3 must be even"),
        ((four, "--simulations", -1), "simulations=-1 must be at least 0"),
    ):
        with pytest.raises(ValueError, match=wrong):
            held(*arguments)


def test_games_are_recorded_and_recording_goes_on_after_a_stop(tmp_path, capsys):
    """What is recorded does not depend on where it was stopped; a game that was cut off is played again."""
    record = lambda out, games, *more: recorder.main(
        [*map(str, ("--out", out, "--games", games, "--size", 3, "--opening", 2, "--program", f"{PROGRAM} 3")), *more]
    )
    record(tmp_path / "whole.sgf", 4)
    record(tmp_path / "parts.sgf", 2)
    with (tmp_path / "parts.sgf").open("a") as file:
        file.write("(;GM[1]SZ[3]\n;B[aa];W")
    record(tmp_path / "parts.sgf", 4)
    assert (tmp_path / "whole.sgf").read_text() == (tmp_path / "parts.sgf").read_text()
    games = sgf.read((tmp_path / "whole.sgf").read_text())
    assert len(games) == 4 and len({x.moves[:2] for x in games}) > 1
    assert {x.by_chance for x in games} <= {1, 2}
    for game in games:
        position = go.replayed(3, game.moves)
        assert position.passes == 2 or len(game.moves) == 18  # as many as pgx allows
        assert game.result == gtp.score_text(go.lead(position, 7.5))
    assert len(records.positions(boards.make("go_3x3"), games).move) == sum(len(x.moves) - x.by_chance for x in games)
    whole = (tmp_path / "whole.sgf").read_text()
    (tmp_path / "whole.sgf").write_text(whole.rstrip("\n"))  # whole though its last line does not end
    record(tmp_path / "whole.sgf", 4)
    assert sgf.read((tmp_path / "whole.sgf").read_text()) == games
    text = tmp_path / "letter.sgf"
    text.write_text("Dear reader,\n")
    with pytest.raises(ValueError, match="letter.sgf holds other things than games of 3x3"):
        record(text, 1)
    assert text.read_text() == "Dear reader,\n"
    with pytest.raises(ValueError, match="'no-such-program' cannot be run"):
        record(tmp_path / "none.sgf", 1, "--program", "no-such-program")
    assert not (tmp_path / "none.sgf").exists()
