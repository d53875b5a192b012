"""Recorded games as positions, and what is learned from them."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import GAMES, compiled, tiny

from research.catalog import find
from research.engine.experiment import Tick
from research.games import boards, records, sgf, supervised
from research.games.sgf import Record
from research.recipes.alphago import load_records

BOARD = boards.make("go_3x3")
# Black takes the centre; White passes, and Black too. Then a game of which nobody knows who won.
SOME = [Record(3, 7.5, (4, 9, 9), "B+1.5"), Record(3, 7.5, (0, 4, 8, 2), "W+R"), Record(3, 7.5, (4,), "")]


def test_positions_are_what_the_mover_saw_before_each_move():
    found = records.positions(BOARD, SOME)
    assert list(found.move) == [4, 9, 9, 0, 4, 8, 2, 4]
    assert list(found.outcome) == [1, -1, 1, -1, 1, -1, 1, 0]  # 1 for Black's moves and -1 for White's, where Black won
    assert list(found.first) == [0, 3, 7] and list(found.length) == [3, 4, 1]
    seen = np.asarray(records.unpacked(found.planes, BOARD.shape))
    legal = np.asarray(records.unpacked(found.legal, (BOARD.actions,)))
    position, play = BOARD.start(), jax.jit(BOARD.play)
    for number, move in enumerate(SOME[1].moves):
        np.testing.assert_array_equal(seen[3 + number], position.observation)
        np.testing.assert_array_equal(legal[3 + number], position.legal_action_mask)
        position = play(position, jnp.int32(move))


def test_moves_by_chance_are_nobody_s():
    """What stands before them, and they, are not learned from; the others are those of the whole game."""
    whole = records.positions(BOARD, SOME)
    game = sgf.read(sgf.written(SOME[1]._replace(by_chance=3)))[0]
    assert game.by_chance == 3 and "moves by chance" not in sgf.written(SOME[1])
    found = records.positions(BOARD, [SOME[0], game, SOME[2]])
    kept = [0, 1, 2, 6, 7]
    for name in ("planes", "legal", "move", "outcome", "number"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name)[kept])
    assert (
        list(found.first) == [0, 3, 4] and list(found.length) == [3, 1, 1] and list(whole.number[3:]) == [0, 1, 2, 3, 0]
    )
    assert records.distinct(BOARD, [SOME[0], SOME[1]._replace(by_chance=4)]) == [0]


def test_many_games_are_read_in_parts(monkeypatch):
    whole = records.positions(BOARD, SOME * 3)
    monkeypatch.setattr(records, "AT_A_TIME", 4)
    for one, other in zip(whole, records.positions(BOARD, SOME * 3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_move_that_is_not_legal_is_refused_with_its_game():
    with pytest.raises(ValueError, match="game 2: move 3 is not legal by the rules of go_3x3"):
        records.positions(BOARD, [SOME[0], Record(3, 7.5, (4, 0, 4))])
    with pytest.raises(ValueError, match="game 7: move 3 is not legal"):
        records.positions(BOARD, [SOME[0], Record(3, 7.5, (4, 0, 4))], [5, 7])
    with pytest.raises(ValueError, match="game 1: move 3 is not legal"):
        records.positions(BOARD, [Record(3, 7.5, (9, 9, 4))])  # the game is over by then


def test_whole_games_are_held_out_and_one_position_of_each_is_drawn():
    found = records.positions(BOARD, SOME * 20)
    parts = records.split(found, 0.2)
    assert [len(x) for x in parts] == [36, 12, 12] and sorted(np.concatenate(parts)) == list(range(60))
    every = [set(records.places(found, games)) for games in parts]
    assert sum(map(len, every)) == len(found.move) and not (every[0] & every[1] or every[0] & every[2])
    one = records.places(found, parts[0], one=True)
    games = np.searchsorted(found.first, one, side="right") - 1
    assert list(games) == list(parts[0]) and set(one) < every[0]
    assert len({*(one - found.first[games])}) > 1  # not always the first


def test_games_that_are_images_of_each_other_are_one():
    """The second is the first turned by a quarter, the third another one, and the last has no moves."""
    board = boards.make("go_3x3")
    turned = tuple(int(np.argsort(board.moves[1])[move]) for move in (0, 4, 5, 9))
    games = [Record(3, 7.5, (0, 4, 5, 9)), Record(3, 7.5, turned), Record(3, 7.5, (0, 4, 5, 8)), Record(3, 7.5, ())]
    assert turned != (0, 4, 5, 9) and records.distinct(board, games) == [0, 2]
    found = records.positions(board, [games[0], games[1], games[2]])
    first, second, third = (records.places(found, np.array([n])) for n in range(3))
    assert records.repeated(board, found, second, first) == 1.0
    assert records.repeated(board, found, third, first) == 1.0  # they differ in the last move, which leads nowhere here
    longer = records.positions(board, [Record(3, 7.5, (0, 4, 5, 8, 2)), games[0]])
    assert records.repeated(board, longer, np.arange(5), np.arange(5, 9)) == pytest.approx(4 / 5)
    assert (
        records.repeated(board, longer, np.array([1]), np.array([0])) == 0.0
    )  # the same stones, but for who is to move


def test_nothing_that_is_held_out_is_a_game_that_was_learned_from():
    """Of the games that are shipped."""
    recipe = find("go-supervised")
    inputs = load_records(recipe.setup)
    found, board = inputs.data.positions, boards.make("go_9x9")
    games = lambda places: {*(np.searchsorted(found.first, places, side="right") - 1).tolist()}
    parts = [games(x) for x in (inputs.data.train, inputs.data.held_out, inputs.final.held_out)]
    back = np.argsort(board.moves, 1)

    def canonical(game):
        begin = found.first[game]
        return min(map(tuple, back[:, found.move[begin : begin + found.length[game]]].tolist()))

    named = [{canonical(game) for game in part} for part in parts]
    assert sum(map(len, named)) == len(found.length) == len(named[0] | named[1] | named[2])
    assert "stand, turned or not, in games learned from" in inputs.note


def experiment_of(name, **changes):
    recipe = tiny(name)
    setup = replace(recipe.setup, **changes)
    data = recipe.load(setup).data
    experiment = compiled(recipe.make(setup))
    return experiment, data, jax.tree.map(jnp.float32, recipe.hyper)


def learned(experiment, data, hyper, ticks):
    state = experiment.init(jax.random.key(0), hyper, data)
    for index in range(ticks):
        tick = Tick(jnp.int32(index), jnp.int32(ticks), jax.random.fold_in(jax.random.key(1), index))
        state, told = experiment.step(state, hyper, data, tick)
    return state, told


def test_a_net_learns_the_moves_of_a_few_games_by_heart():
    experiment, data, hyper = experiment_of("go-supervised", widths=(16,), batch_size=64, symmetries=False)
    hyper = hyper._replace(weight_decay=jnp.float32(0.0), learning_rate=jnp.float32(5e-3))
    state, _ = learned(experiment, data, hyper, 150)
    seen = experiment.evaluate(jax.random.key(0), state, hyper, data._replace(held_out=data.train))
    told = experiment.score(jax.tree.map(lambda x: np.asarray(x)[None], seen))
    assert told["accuracy"] > 0.8 > 0.3 > told["most_frequent"]
    held_out = experiment.evaluate(jax.random.key(0), state, hyper, data)
    assert np.asarray(held_out.hit).mean() < 0.6


def test_a_net_learns_who_won_by_heart():
    experiment, data, hyper = experiment_of("go-value", positions="all", widths=(64,), batch_size=64, symmetries=False)
    hyper = hyper._replace(weight_decay=jnp.float32(0.0), learning_rate=jnp.float32(5e-3))
    state, _ = learned(experiment, data, hyper, 200)
    seen = experiment.evaluate(jax.random.key(0), state, hyper, data._replace(held_out=data.train))
    score = experiment.score(jax.tree.map(lambda x: np.asarray(x)[None], seen))
    assert score["outcomes_right"] > 0.9 and score["value_error"] < 0.3


def test_a_move_that_is_not_legal_is_never_foreseen():
    """A net that wants a cell which is taken is judged by its best legal move."""
    found = records.positions(BOARD, SOME)
    setup = supervised.Setup(board="go_3x3", net="dense", widths=())
    experiment = supervised.make(setup)
    data = supervised.Data(
        found, np.arange(8), np.array([4], np.int32), np.int32(4)
    )  # there 0 is taken, and 4 was played
    state = experiment.init(jax.random.key(0), None, data)
    params = jax.tree.map(jnp.zeros_like, state.params)
    wanted = jnp.zeros(10).at[jnp.array([0, 4])].set(jnp.array([9.0, 8.0]))
    params["params"]["Dense_0"]["bias"] = wanted
    outputs = experiment.evaluate(jax.random.key(0), state._replace(params=params), None, data)
    assert outputs.hit.all() and outputs.usual.all() and float(outputs.surprise[0]) == pytest.approx(1.31, abs=0.01)


def test_positions_of_games_without_a_result_say_nothing_of_the_value():
    hit = np.array([[True, False]])
    numbers = np.array([[0.25, np.nan]]), np.array([[1.0, np.nan]]), np.array([[3, 7]])
    outputs = supervised.Outputs(hit, ~hit, np.ones((1, 2)), *numbers)
    assert {k: v.item() for k, v in supervised.score(outputs).items()} == {
        "accuracy": 0.5,
        "accuracy_error": pytest.approx(np.sqrt(0.5) / 2),
        "most_frequent": 0.5,
        "loss": 1.0,
        "value_error": 0.25,
        "outcomes_right": 1.0,
    }


def test_the_error_of_an_accuracy_is_that_over_games():
    """Games of 30 positions that are all foreseen or all not: as if there were only so many games; where positions have nothing
    to do with their games, as if there were only positions."""
    random = np.random.default_rng(0)
    game = np.repeat(np.arange(50), 30)
    alike = supervised.error_over(random.random(50)[game] < 0.5, game)
    assert alike == pytest.approx(0.5 / np.sqrt(50), rel=0.05)
    apart = supervised.error_over(random.random(1500) < 0.5, game)
    assert apart == pytest.approx(0.5 / np.sqrt(1500), rel=0.3)


def test_records_that_do_not_fit_are_refused(tmp_path):
    setup = replace(tiny("go-supervised").setup)
    text = "".join(map(sgf.written, SOME))
    (tmp_path / "three.sgf").write_text(text)
    (tmp_path / "letter.sgf").write_text("(Dear reader)")
    load = lambda **changes: load_records(replace(setup, **changes))
    for changes, told in (
        ({"records": str(tmp_path / "none.sgf")}, "none.sgf'.*: No such file or directory"),
        ({"records": str(tmp_path)}, "it is no file; give an SGF file of games"),
        ({"records": str(tmp_path / "three.sgf")}, "games of Go, 3 points a side, and board='go_5x5'"),
        ({"records": str(tmp_path / "three.sgf"), "board": "go_3x3"}, "holds 3 different games; give 10 or more"),
        ({"records": str(tmp_path / "letter.sgf")}, "letter.sgf'.*is not SGF"),
        ({"records": GAMES, "board": "othello"}, "games of Go, 5 points a side, and board='othello'"),
    ):
        with pytest.raises(ValueError, match=told):
            load(**changes)
    with pytest.raises(ValueError, match="widths=.* must be at least 1"):
        supervised.make(supervised.Setup(widths=()))


def test_a_supervised_net_plays():
    """Its evaluation is a player, as AlphaZero's is."""
    recipe = tiny("go-supervised")
    experiment = recipe.make(recipe.setup)
    state = experiment.init(jax.random.key(0), None, None)
    positions = boards.starts(experiment.evaluate.board, 3)
    advise = jax.jit(partial(experiment.evaluate.advise, experiment.evaluate.board), static_argnums=1)
    assert advise(state, 0, jax.random.key(0), positions).action.shape == (3,)
    assert advise(state, 2, jax.random.key(0), positions).policy.shape == (3, 26)
