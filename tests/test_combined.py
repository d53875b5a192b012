"""Tree search with a policy net and a value net that were learned apart."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import plan_of, tiny

from research.engine.run import run
from research.games import boards, combined
from research.models.board import BoardNet
from research.recipes.alphago import load_nets


def test_the_prior_is_one_net_s_and_the_value_the_other_s():
    setup = combined.Setup("tic_tac_toe", policy_net="dense", policy_widths=(8,), value_net="dense", value_widths=())
    experiment = combined.make(setup)
    state = experiment.init(jax.random.key(0), combined.Hyper(), combined.Nets({}, {}))
    nets = [BoardNet("dense", (8,), 9), BoardNet("dense", (), 9)]
    seen = jax.random.bernoulli(jax.random.key(1), 0.3, (5, 3, 3, 2))
    logits, value = combined.judge_of(nets, state._replace(temperature=2.0))(seen)
    np.testing.assert_array_equal(logits, nets[0].apply(state.nets.policy, seen)[0] / 2)
    np.testing.assert_array_equal(value, nets[1].apply(state.nets.value, seen)[1])
    assert np.abs(np.asarray(value) - np.asarray(nets[0].apply(state.nets.policy, seen)[1])).max() > 0


def test_a_search_beats_the_policy_that_it_begins_with():
    """With new nets: looking ahead is worth something by itself."""
    setup = combined.Setup("tic_tac_toe", policy_net="dense", policy_widths=(8,), value_net="dense", value_widths=(8,))
    setup = replace(setup, contests=200, simulations=32)
    experiment = combined.make(setup)
    state = experiment.init(jax.random.key(0), combined.Hyper(), combined.Nets({}, {}))
    outputs = jax.jit(experiment.evaluate)(jax.random.key(1), state, None, ())
    told = experiment.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))
    assert told["wins_policy"] > 0.7


def test_stages_follow_each_other(tmp_path):
    """Records, self-play from there, a value, and a search with both; a net that does not fit is refused."""
    supervised = tiny("go-supervised")
    first = run(plan_of(supervised, seeds=1), tmp_path)
    second_recipe = tiny("go-reinforced")
    second_recipe = replace(second_recipe, setup=replace(second_recipe.setup, board="go_5x5", pretrained=str(first)))
    second = run(plan_of(second_recipe, seeds=1), tmp_path)
    third = run(plan_of(tiny("go-value"), seeds=1), tmp_path)
    recipe = tiny("go-search")
    setup = replace(recipe.setup, board="go_5x5", policy=str(second), value=str(third), value_widths=())
    inputs = load_nets(setup)
    assert "policy: seed 0 of go-reinforced" in inputs.note and "value: seed 0 of go-value" in inputs.note
    search = replace(recipe, setup=setup)
    run(plan_of(search, seeds=1), tmp_path)
    with pytest.raises(ValueError, match=r"policy_widths=\(8,\), and the net of policy=.* has \(4,\)"):
        load_nets(replace(setup, policy_widths=(8,)))
    with pytest.raises(ValueError, match="is a run of 'go-supervised', not of go-value"):
        load_nets(replace(setup, value=str(first)))


def test_beginnings_are_of_so_many_moves_and_none_is_a_pass():
    board = boards.make("go_3x3")
    positions, moves = boards.opened(board, jax.random.key(0), 50, 4)
    assert moves.shape == (4, 50) and int(moves.max()) < 9 and (positions.current_player == 0).all()
    assert len({tuple(x) for x in np.asarray(moves).T}) > 30
    again = boards.reached(board, np.asarray(moves).T.astype(np.int32))
    np.testing.assert_array_equal(again.observation, positions.observation)
    assert not positions.terminated.any()


def test_a_move_by_chance_passes_where_nothing_else_is_legal():
    mask = jnp.zeros((300, 10), bool).at[:, 9].set(True).at[100:, 2].set(True).at[200:, 5].set(True)
    drawn = boards.opening_moves(boards.make("go_3x3"), jax.random.key(0), SimpleNamespace(legal_action_mask=mask))
    assert [{*np.asarray(part).tolist()} for part in jnp.split(drawn, 3)] == [{9}, {2}, {2, 5}]
