"""Policy gradient by self-play against a pool of earlier selves."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import compiled, plan_of, tiny

from research.engine.experiment import Tick
from research.engine.run import run
from research.games import boards, reinforced
from research.models.board import BoardNet
from research.recipes.alphago import load_pretrained

BOARD = boards.make("tic_tac_toe")
HYPER = jax.tree.map(jnp.float32, reinforced.Hyper())
SETUP = reinforced.Setup(board="tic_tac_toe", net="dense", widths=(64,), games=64, contests=200)


def lowest(observation):
    """A judge who is sure of the lowest free cell."""
    return -1e4 * jnp.tile(jnp.arange(9.0), (len(observation), 1)), jnp.zeros(len(observation))


def test_games_count_for_us_on_either_side_and_keep_our_moves_alone():
    """Whoever begins has 0, 2, 4 and 6 and wins; the other has 1, 3 and 5."""
    setup = replace(SETUP, games=6)
    moves, outcome = jax.jit(partial(reinforced.games, setup, BOARD, lowest, lowest))(jax.random.key(0))
    np.testing.assert_array_equal(outcome, [[1, 1, 1], [-1, -1, -1]])
    assert moves.action.shape == (10, 3)  # nine moves, and one more so that both halves have as many turns
    np.testing.assert_array_equal(moves.action[:7, 0], [0, 1, 2, 3, 4, 5, 6])
    # At even turns we are to move where we began, at odd ones where they did: the game's seventh move is ours there alone.
    np.testing.assert_array_equal(moves.live[:, 0], [True] * 7 + [False] * 3)
    assert moves.observation[1, 0].sum() == 1 and moves.observation[2, 0].sum() == 2


def test_an_advantage_leaves_out_its_own_game():
    outcome = jnp.array([[1.0, -1.0], [0.0, 1.0]])
    np.testing.assert_allclose(reinforced.advantages(outcome), [[1 - 0, -1 - 2 / 3], [0 - 1 / 3, 1 - 0]], atol=1e-6)


def test_the_gradient_is_that_of_the_sum_written_out():
    setup, net = replace(SETUP, games=4), BoardNet("dense", (8,), 9)
    params = net.init(jax.random.key(0), BOARD.start().observation[None])
    judge = partial(net.apply, params)
    moves, outcome = jax.jit(partial(reinforced.games, setup, BOARD, judge, judge))(jax.random.key(5))
    worth = np.asarray(reinforced.advantages(outcome))
    assert len({*np.asarray(outcome).reshape(-1).tolist()}) > 1

    def written_out(params):
        total, count = 0.0, 0
        for t in range(10):
            for game in range(2):
                if moves.live[t, game]:
                    logits, _ = net.apply(params, moves.observation[t, game][None])
                    allowed = jnp.where(moves.legal[t, game], logits[0], -jnp.inf)
                    total -= worth[t % 2, game] * jax.nn.log_softmax(allowed)[moves.action[t, game]]
                    count += 1
        return total / count

    expected = jax.grad(written_out)(params)
    found, _ = jax.grad(partial(reinforced.objective, net, HYPER), has_aux=True)(params, moves, jnp.asarray(worth))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6), found, expected)


def learned(setup, hyper, ticks, data=()):
    experiment = compiled(reinforced.make(setup))
    state = experiment.init(jax.random.key(0), hyper, data)
    states = [state]
    for index in range(ticks):
        tick = Tick(jnp.int32(index), jnp.int32(ticks), jax.random.fold_in(jax.random.key(1), index))
        state, _ = experiment.step(state, hyper, data, tick)
        states.append(state)
    return experiment, states


def test_so_often_a_net_joins_the_pool_in_place_of_the_oldest():
    setup = replace(SETUP, widths=(4,), games=4, pool=3, join_every=2)
    _, states = learned(setup, HYPER, 8)
    kernel = lambda tree: np.asarray(tree["params"]["Dense_0"]["kernel"])
    pools = [kernel(state.pool) for state in states]
    begin = kernel(states[0].params)
    assert all((place == begin).all() for place in pools[1])
    np.testing.assert_array_equal(pools[2], [begin, kernel(states[2].params), begin])
    np.testing.assert_array_equal(pools[5], [begin, kernel(states[2].params), kernel(states[4].params)])
    np.testing.assert_array_equal(
        pools[8], [kernel(states[6].params), kernel(states[8].params), kernel(states[4].params)]
    )


def test_self_play_learns_to_beat_chance():
    hyper = HYPER._replace(learning_rate=jnp.float32(1e-2))
    experiment, states = learned(replace(SETUP, games=256, contests=1000), hyper, 200)

    def won(state):
        outputs = experiment.evaluate(jax.random.key(2), state, hyper, ())
        return experiment.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))["wins_chance"]

    assert won(states[0]) < 0.5 < 0.68 < won(states[-1])


def test_a_run_begins_with_what_records_have_taught_and_is_judged_against_it(tmp_path):
    first = run(plan_of(tiny("go-supervised"), seeds=1), tmp_path)
    recipe = tiny("go-reinforced")
    setup = replace(recipe.setup, board="go_5x5", pretrained=str(first))
    inputs = load_pretrained(setup)
    assert "begins with seed 0 of go-supervised" in inputs.note
    experiment = compiled(reinforced.make(setup))
    hyper = jax.tree.map(jnp.float32, recipe.hyper)
    state = experiment.init(jax.random.key(0), hyper, inputs.data)
    jax.tree.map(np.testing.assert_array_equal, state.params, inputs.data)
    outputs = experiment.evaluate(jax.random.key(0), state, hyper, inputs.data)
    told = experiment.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))
    assert {"wins_pretrained", "draws_pretrained", "wins_chance"} == {*told}
    with pytest.raises(ValueError, match=r"widths=\(8,\), and the net of pretrained=.* has \(4,\); give the same"):
        load_pretrained(replace(setup, widths=(8,)))
    with pytest.raises(ValueError, match="no run folder|is not|does not"):
        load_pretrained(replace(setup, pretrained=str(tmp_path / "none")))


@pytest.mark.parametrize("name", ["games", "contests", "opening"])
def test_odd_numbers_of_games_are_refused(name):
    with pytest.raises(ValueError, match=f"{name}=3 must be even"):
        reinforced.make(replace(SETUP, **{name: 3}))
