"""Boards, search, AlphaZero and the players that it is measured by."""

import json
from dataclasses import replace
from functools import partial

import connect_four as solver
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kills import assert_ends_alike
from recipes import TINY, compiled, plan_of, tiny
from scipy import stats

from research.catalog import find
from research.engine.experiment import Tick
from research.engine.run import run
from research.games import alphazero, boards, connect_four, contest, solved
from research.games.memory import Memory, Moved, remember
from research.games.search import Noise, search, stirred
from research.numerics import replay

TIC_TAC_TOE = boards.make("tic_tac_toe")
HYPER = jax.tree.map(jnp.float32, alphazero.Hyper())


@pytest.mark.parametrize("name", ["tic_tac_toe", "connect_four", "othello", "hex", "go_5x5"])
def test_symmetries_of_a_board_are_those_of_its_rules(name):
    """A game and its mirror images stay so to the last move, in what is seen, what is legal and who wins."""
    board = boards.make(name)
    count = len(board.cells)
    random, play = np.random.default_rng(0), jax.jit(partial(boards.played, board))
    images = boards.starts(board, count)
    assert int(images.current_player[0]) == 0
    back = np.argsort(board.moves, 1)  # where each move of the first image is found in the others
    length = 0
    while not images.terminated.any():
        action = random.choice(np.flatnonzero(images.legal_action_mask[0]))
        images = play(images, back[:, action])
        length += 1
        seen = np.asarray(images.observation).reshape(count, -1, board.shape[2])
        for s in range(count):
            np.testing.assert_array_equal(seen[s], seen[0][board.cells[s]])
            np.testing.assert_array_equal(images.legal_action_mask[s], images.legal_action_mask[0][board.moves[s]])
    assert images.terminated.all() and length <= board.longest
    np.testing.assert_array_equal(images.rewards, np.tile(images.rewards[0], (count, 1)))


def test_a_board_that_is_not_there_is_refused_with_its_neighbour():
    with pytest.raises(ValueError, match="board='conect_four'.*did you mean 'connect_four'"):
        boards.make("conect_four")
    with pytest.raises(ValueError, match="board='go_25x25'"):
        boards.make("go_25x25")
    with pytest.raises(ValueError, match="longest=5 is Go's alone; board='tic_tac_toe' ends by its own rules"):
        boards.make("tic_tac_toe", longest=5)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"replay": 1000}, "replay=1000 must be a multiple of games=64 times moves=8; nearest: 1024"),
        ({"net": "residual", "widths": (8, 16)}, "widths=.8, 16. must be .* all the same"),
        ({"widths": (8, 0)}, "widths=.8, 0. must be at least 1"),
        ({"contests": 3}, "contests=3 must be even"),
        ({"board": "connect_four", "opponent": "perfect"}, "opponent='perfect' knows tic_tac_toe alone"),
    ],
)
def test_fields_that_do_not_fit_are_refused(change, told):
    with pytest.raises(ValueError, match=told):
        alphazero.make(replace(alphazero.Setup(), **change))


# Tic-tac-toe, solved


def position(text):
    """Cells as whoever is to move sees them: x his own, o another's."""
    return tuple(".xo".index(c) for c in text)


def test_the_solver_of_tic_tac_toe_knows_what_people_know():
    best = solved.best_moves()
    moves = lambda text: set(np.flatnonzero(best[int(np.dot(position(text), 3 ** np.arange(9)))]))
    assert solved.value(position(".........")) == 0 and moves(".........") == set(range(9))
    assert moves("o........") == {4}  # only the centre holds against a corner
    assert moves("xx.oo....") == {2} and moves("oo..x....") == {2}  # win, or block
    assert solved.value(position("o...x...o")) == 0 and moves("o...x...o") == {1, 3, 5, 7}  # sides, not corners


def test_two_perfect_players_draw_and_one_never_loses_to_chance():
    """By pgx's rules, where the table is by rules written apart."""
    known = contest.Solved(solved.best_moves(), np.zeros((0, 1), np.int32), np.zeros((0, 9), bool))
    expert = partial(contest.perfect, known)
    openings = boards.starts(TIC_TAC_TOE, 200)
    play = jax.jit(
        lambda other: contest.contest(TIC_TAC_TOE, expert, other, jax.random.key(0), openings), static_argnums=0
    )
    assert (play(expert) == 0).all()
    among = np.asarray(play(contest.by_chance))
    assert (among >= 0).all() and among[:200].mean() > 0.9 and among[200:].mean() > 0.7


def test_a_contest_counts_for_us_as_either_player():
    """Whoever moves first and always takes the lowest free cell has 0, 2, 4 and 6, and so a diagonal."""
    lowest = lambda key, positions: positions.legal_action_mask.argmax(1)
    outcome = contest.contest(TIC_TAC_TOE, lowest, lowest, jax.random.key(0), boards.starts(TIC_TAC_TOE, 3))
    np.testing.assert_array_equal(outcome, [1, 1, 1, -1, -1, -1])


def test_a_contest_that_ends_after_an_even_number_of_moves_is_counted_for_the_same_side():
    """From 8 and 0 on, whoever moves second has 0, 2, 4 and 6 with the game's eighth move."""
    lowest = lambda key, positions: positions.legal_action_mask.argmax(1)
    openings = boards.reached(TIC_TAC_TOE, np.array([[8, 0]], np.int32))
    outcome = contest.contest(TIC_TAC_TOE, lowest, lowest, jax.random.key(0), openings)
    np.testing.assert_array_equal(outcome, [-1, 1])


@pytest.mark.parametrize("name", ["animal_shogi", "gardner_chess"])
def test_boards_without_symmetries_play_too(name):
    """Chess and shogi are as these, and take long to compile."""
    board = boards.make(name)
    position = jax.jit(board.play)(board.start(), board.start().legal_action_mask.argmax())
    assert board.cells.shape[0] == 1 and int(position.current_player) == 1
    assert jax.tree.map(jnp.shape, position) == jax.tree.map(jnp.shape, board.start())


def test_score_counts_what_was_lost_and_by_whom():
    outcome = np.array([[1.0, 0.0, -1.0, 1.0, -1.0, -1.0, 0.0, 0.0]])
    told = contest.score(contest.Outputs(outcome, np.ones((1, 2), bool), np.array([[True, False]])))
    expected = {"losses": 3, "wins_first": 0.5, "draws_first": 0.25, "wins_second": 0, "draws_second": 0.5}
    assert {k: v.item() for k, v in told.items()} == expected | {"policy_agrees": 1, "search_agrees": 0.5}


def test_choices_at_solved_positions_are_the_nets_own_and_the_searchs(monkeypatch):
    """A judge who likes low cells takes 2 where the other has 0 and 1, which alone holds; and 1 where 8 would win."""
    moves = np.array([[4, 0, 8, 1], [6, 0, 7, 4]], np.int32)
    best = np.arange(9) == np.array([[2], [8]])
    table = solved.best_moves()
    reached = boards.reached(TIC_TAC_TOE, moves)
    np.testing.assert_array_equal(table[np.asarray(contest.code(reached.observation))], best)
    known = contest.Solved(table, moves, best)
    assert contest.agreement(known, jnp.array([2, 7])).tolist() == [True, False]
    low = lambda state: lambda seen: (jnp.tile(-0.1 * jnp.arange(9.0), (len(seen), 1)), jnp.zeros(len(seen)))
    monkeypatch.setattr(contest, "contest", lambda *how: jnp.ones(4))  # takes long to compile
    judged = contest.Judged(TIC_TAC_TOE, low, "puct", 64, "random", 4)
    found = jax.jit(lambda data: judged(jax.random.key(0), None, None, data))(known)
    assert found.agreed.tolist() == [True, False] and found.found.tolist() == [True, True]
    nothing = judged(jax.random.key(0), None, None, known._replace(moves=moves[:0], best=best[:0]))
    assert len(nothing.agreed) == len(nothing.found) == 0 and nothing.outcome.tolist() == [1] * 4


def test_who_plays_no_board_game_is_no_player():
    with pytest.raises(ValueError, match="recipe 'classify' plays no board game; give the folder of a run that does"):
        contest.player_of(plan_of(tiny("classify"), seeds=1))


# Search


def ignorant(actions):
    return lambda observation: (jnp.zeros((len(observation), actions)), jnp.zeros(len(observation)))


def late_positions(count):
    """Of tic-tac-toe with at most four free cells."""
    random, moves = np.random.default_rng(0), []
    while len(moves) < 4 * count:
        length = random.integers(5, 9)
        moves.append(np.pad(random.permutation(9)[:length], (0, 8 - length), constant_values=-1))
    reached = boards.reached(TIC_TAC_TOE, np.array(moves, np.int32))
    live = np.flatnonzero(~np.asarray(reached.terminated))[:count]
    return jax.tree.map(lambda x: x[live], reached)


@pytest.mark.parametrize("rule", ["gumbel", "puct"])
def test_search_finds_the_best_moves_of_endgames_without_knowing_anything(rule):
    """Exhaustive minimax and a search with enough simulations choose alike."""
    late = late_positions(64)
    found = jax.jit(lambda key: search(TIC_TAC_TOE, ignorant(9), rule, 300, key, late))(jax.random.key(0))
    best = solved.best_moves()[np.asarray(contest.code(late.observation))]
    assert best[np.arange(64), np.asarray(found.action)].all()
    assert np.asarray(late.legal_action_mask)[np.arange(64), np.asarray(found.action)].all()


def test_search_finds_the_best_moves_of_endgames_of_connect_four():
    board = boards.make("connect_four")
    moves, best = solver.positions(seed=1, count=24, first=34, last=38)
    reached = boards.reached(board, moves)
    found = jax.jit(lambda key: search(board, ignorant(7), "gumbel", 400, key, reached))(jax.random.key(0))
    assert best[np.arange(24), np.asarray(found.action)].all()


def test_what_a_search_advises_is_better_than_the_prior():
    """With a judge that knows what positions are worth and whose prior is noise, the advised policy is worth more than the
    prior in every position that has a better and a worse move (Danihelka et al. 2022, section 3)."""
    late = late_positions(64)
    states = np.array([solved.value(cells(n)) if reachable(n) else 0 for n in range(3**9)], np.float32)
    noise = jax.random.normal(jax.random.key(1), (3**9, 9)) * 2

    def judge(observation):
        number = contest.code(observation)
        return noise[number], jnp.asarray(states)[number]

    found = jax.jit(lambda key: search(TIC_TAC_TOE, judge, "gumbel", 32, key, late, Noise(gumbel_scale=1.0)))(
        jax.random.key(0)
    )
    numbers, mask = np.asarray(contest.code(late.observation)), np.asarray(late.legal_action_mask)
    worth = np.array(
        [
            [-solved.value(solved.after(cells(n), a)) if mask[i, a] else 0.0 for a in range(9)]
            for i, n in enumerate(numbers)
        ]
    )
    prior = np.asarray(jax.nn.softmax(boards.masked(noise[numbers], late.legal_action_mask)))
    gain = (np.asarray(found.policy) * worth).sum(1) - (prior * worth).sum(1)
    differ = np.array([len(set(worth[i][mask[i]])) > 1 for i in range(64)])
    assert differ.sum() > 20 and (gain[differ] > 0).all() and np.abs(gain[~differ]).max() < 1e-5
    np.testing.assert_allclose(np.asarray(found.policy)[~mask], 0.0, atol=1e-6)


def cells(number):
    return tuple(int(number) // 3**i % 3 for i in range(9))


def reachable(number):
    own, other = cells(number).count(1), cells(number).count(2)
    return own <= other <= own + 1


def test_noise_takes_its_share_among_legal_moves_alone():
    """A quarter of the prior, whatever the number of legal moves (Silver et al. 2018)."""
    mask = jnp.arange(40)[None] < jnp.array([3, 20])[:, None]
    logits = boards.masked(jnp.zeros((2, 40)), mask)
    noise = Noise(dirichlet_fraction=0.25, dirichlet_alpha=0.3)
    drawn = jax.vmap(lambda key: stirred(key, logits, mask, noise))(jax.random.split(jax.random.key(0), 4000))
    np.testing.assert_allclose(drawn.sum(-1), 1.0, rtol=1e-5)
    assert (np.asarray(drawn)[:, ~np.asarray(mask)] == 0).all()
    moved = np.abs(np.asarray(drawn) - np.asarray(jax.nn.softmax(logits))).sum(-1).mean(0) / 2
    # Of n legal moves, Dirichlet noise is so far from uniform on average: a Beta variable's mean distance from its mean.
    for distance, n in zip(moved, (3, 20), strict=True):
        one = stats.beta(0.3, 0.3 * (n - 1))
        expected = 0.25 * n * one.expect(lambda x, n=n: np.abs(x - 1 / n)) / 2
        assert distance == pytest.approx(expected, rel=0.05)
    np.testing.assert_array_equal(stirred(jax.random.key(0), logits, mask, Noise()), jax.nn.softmax(logits))


def test_without_knowledge_puct_looks_at_all_moves_alike():
    """With a uniform prior and no values AlphaZero's rule tries every move, as nothing speaks for any."""
    board = boards.make("go_5x5")
    found = jax.jit(lambda key: search(board, ignorant(26), "puct", 52, key, boards.starts(board, 2)))(
        jax.random.key(0)
    )
    visits = np.asarray(found.policy) * 52
    assert visits.min() >= 1 and visits.max() <= 4


@pytest.mark.parametrize("rule", ["gumbel", "puct"])
def test_the_value_of_a_search_is_that_of_what_it_advises(rule):
    """With a judge that knows what positions are worth, drawn ones where only one move holds are not taken for lost."""
    x, o, x2 = 0, 4, 1  # o must block at 2, and holds the draw then
    position = boards.reached(TIC_TAC_TOE, np.array([[x, o, x2]], np.int32))
    states = jnp.array([solved.value(cells(n)) if reachable(n) else 0 for n in range(3**9)], jnp.float32)
    judge = lambda observation: (jnp.zeros((len(observation), 9)), states[contest.code(observation)])
    found = jax.jit(lambda key: search(TIC_TAC_TOE, judge, rule, 64, key, position))(jax.random.key(0))
    assert int(found.action[0]) == 2 and abs(float(found.value[0])) < 0.2


def test_with_puct_the_first_moves_are_drawn_and_later_ones_are_the_most_visited():
    setup = replace(alphazero.Setup(), rule="puct", sampled_moves=2)
    policy = jnp.tile(jnp.array([0.2, 0.5, 0.3] + [0.0] * 6), (3000, 1))
    advice = alphazero.Advice(jnp.ones(3000, jnp.int32), policy, jnp.zeros(3000))
    early = alphazero.acted(setup, advice, jnp.ones(3000), jax.random.key(0))
    np.testing.assert_allclose(np.bincount(early, minlength=9) / 3000, policy[0], atol=0.03)
    assert (alphazero.acted(setup, advice, jnp.full(3000, 2.0), jax.random.key(0)) == 1).all()
    assert (alphazero.acted(replace(setup, rule="gumbel"), advice, jnp.zeros(3000), jax.random.key(0)) == 1).all()


# AlphaZero's memory


def moved(ended, outcome, players):
    """What `play` tells of moves [T,B], with observations that name them."""
    ended = np.array(ended, bool)
    observation = np.arange(ended.size, dtype=np.float32).reshape(*ended.shape, 1, 1, 1)
    sign = np.where(np.array(players) == 0, 1.0, -1.0).astype(np.float32)
    memory = Memory(
        observation, np.zeros((*ended.shape, 1), np.float32), ~np.zeros_like(ended), np.zeros_like(ended), sign
    )
    rest = np.zeros(ended.shape, np.float32)
    return jax.tree.map(jnp.asarray, Moved(memory, ended, np.array(outcome, np.float32), ended, rest, rest))


def test_memory_learns_how_each_game_ended_and_nothing_of_those_under_way():
    """Two games, three moves a tick, four ticks of memory. The first game is lost by player 1 in the second tick at its second
    move, and drawn after one more move; the second is won by player 1 with the third tick's first move."""
    like = jax.tree.map(lambda x: x[:1], moved([[0, 0]], [[0, 0]], [[0, 0]]).memory)
    memory = replay.empty(like, 12)
    go = jax.jit(remember)
    memory = go(memory, moved([[0, 0]] * 3, [[0, 0]] * 3, [[0, 0], [1, 1], [0, 0]]), jnp.int32(0))
    assert not np.asarray(memory.known)[:6].any()
    memory = go(
        memory, moved([[0, 0], [1, 0], [1, 0]], [[0, 0], [1, 0], [0, 0]], [[1, 1], [0, 0], [0, 1]]), jnp.int32(1)
    )
    known, outcome = (np.asarray(x).reshape(-1, 2)[:6] for x in (memory.known, memory.outcome))
    np.testing.assert_array_equal(known[:, 0], [True] * 6)
    np.testing.assert_array_equal(outcome[:, 0], [1, -1, 1, -1, 1, 0])
    assert not known[:, 1].any()
    memory = go(
        memory, moved([[0, 1], [0, 0], [0, 0]], [[0, -1], [0, 0], [0, 0]], [[1, 0], [0, 0], [1, 1]]), jnp.int32(2)
    )
    known, outcome = (np.asarray(x).reshape(-1, 2)[:9] for x in (memory.known, memory.outcome))
    np.testing.assert_array_equal(known[:, 0], [True] * 6 + [False] * 3)
    np.testing.assert_array_equal(outcome[:6, 0], [1, -1, 1, -1, 1, 0])
    np.testing.assert_array_equal(known[:, 1], [True] * 7 + [False] * 2)
    np.testing.assert_array_equal(outcome[:7, 1], [-1, 1, -1, 1, -1, 1, -1])


def test_positions_whose_game_goes_on_teach_nothing():
    net = alphazero.BoardNet("dense", (8,), 9)
    observation = jax.random.bernoulli(jax.random.key(0), 0.3, (6, 3, 3, 2))
    params = net.init(jax.random.key(1), observation)
    weights = jax.nn.softmax(jax.random.normal(jax.random.key(2), (6, 9)))
    known = jnp.array([True, False, True, True, False, False])
    own = jnp.ones(6, bool)
    batch = Memory(observation, weights, own, known, jnp.array([1.0, 9.0, -1.0, 0.0, 9.0, 9.0]))
    slope = jax.grad(partial(alphazero.objective, net, HYPER), has_aux=True)
    some, told = slope(params, batch)
    alone, _ = slope(params, jax.tree.map(lambda x: x[known], batch))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-7), some, alone)
    assert float(told["policy_loss"].count) == 3
    nothing, _ = slope(params, batch._replace(known=jnp.zeros(6, bool)))
    assert all((x == 0).all() for x in jax.tree.leaves(nothing))
    # Moves by chance teach no value, but what would have been played.
    drawn, told = slope(params, batch._replace(own=own.at[0].set(False)))
    assert float(told["policy_loss"].count) == 3 and float(told["value_loss"].count) == 2
    other, _ = slope(params, batch._replace(own=own.at[0].set(False), outcome=batch.outcome.at[0].set(-5.0)))
    jax.tree.map(np.testing.assert_array_equal, drawn, other)
    policy_alone, _ = jax.grad(
        partial(alphazero.objective, net, HYPER._replace(value_weight=jnp.float32(0.0))), has_aux=True
    )(params, batch)
    head = lambda tree: tree["params"]["Dense_1"]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), head(policy_alone), head(drawn))


def test_a_turned_position_goes_with_its_turned_policy():
    """The advised move of each position, played there, gives the same game turned."""
    late = late_positions(32)
    action = late.legal_action_mask.argmax(1)
    seen, policy = boards.turned(TIC_TAC_TOE, jax.random.key(0), late.observation, jax.nn.one_hot(action, 9))
    boards_of = lambda x: np.asarray(x).reshape(32, 9, 2)
    before, after = boards_of(late.observation), boards_of(seen)
    chosen = np.asarray(policy).argmax(1)
    changed = 0
    for i in range(32):
        fits = [
            s
            for s in range(8)
            if (after[i] == before[i][TIC_TAC_TOE.cells[s]]).all() and TIC_TAC_TOE.moves[s][chosen[i]] == action[i]
        ]
        assert fits
        changed += 0 not in fits
    assert changed > 16


def confident(state, sign):
    """The state with a value head that takes whoever is to move for the winner (1) or the loser (-1)."""
    params = jax.tree.map(jnp.zeros_like, state.params)
    params["params"]["Dense_2"]["bias"] += 3.0 * sign
    return state._replace(params=params)


def tiny_experiment(**changes):
    setup = replace(alphazero.Setup(), **(TINY["alphazero-tic-tac-toe"] | changes))
    return compiled(alphazero.make(setup))


def test_games_begin_with_moves_by_chance_and_these_are_marked():
    """From none to three of them, and then nothing is by chance any more."""
    experiment = tiny_experiment(games=64, moves=5, replay=64 * 5)
    tick = Tick(jnp.int32(0), jnp.int32(9), jax.random.key(1))

    def played(opening):
        hyper = HYPER._replace(opening=jnp.float32(opening), gumbel_scale=jnp.float32(0.0))
        memory = experiment.step(experiment.init(jax.random.key(0), hyper, ()), hyper, (), tick)[0].memory
        return np.asarray(memory.own).reshape(5, 64), np.asarray(memory.observation).reshape(5, 64, 9, 2)

    own, seen = played(3)
    assert {*(~own).sum(0)} == {0, 1, 2, 3}
    assert (np.diff(own.astype(int), axis=0) >= 0).all()  # they come first
    first = seen[1, :, :, 1].argmax(1)  # where the first stone is
    assert len({*first[own[0]]}) == 1 < 7 < len({*first[~own[0]]})
    assert played(0)[0].all()


def test_whoever_resigns_has_lost():
    """Where whatever can be reached is good for the other one, and nobody bears that, each game is lost with its first move."""
    experiment = tiny_experiment(games=64, moves=1, replay=64)
    hyper = HYPER._replace(resign=jnp.float32(0.0))
    state = confident(experiment.init(jax.random.key(0), hyper, ()), 1)
    state = state._replace(games=state.games._replace(resolute=jnp.zeros(64, bool)))
    after, told = experiment.step(state, hyper, (), Tick(jnp.int32(0), jnp.int32(9), jax.random.key(1)))
    assert float(told["resigned"].total) == 64 and float(told["first_player_wins"].total) == 0
    assert float(told["false_positives"].count) == 0
    assert 0 < np.asarray(after.games.resolute).sum() < 20  # of those that follow, about one in ten


def test_where_nobody_may_resign_it_is_counted_who_would_have_lost_by_it():
    """The first games are played to their end, where their first players would have resigned at once: what these did not lose
    are false positives."""
    experiment = tiny_experiment(games=32, moves=12, replay=32 * 12)
    hyper = HYPER._replace(resign=jnp.float32(0.0))
    state = confident(experiment.init(jax.random.key(0), hyper, ()), 1)
    state = state._replace(games=state.games._replace(resolute=jnp.ones(32, bool)))
    after, told = experiment.step(state, hyper, (), Tick(jnp.int32(0), jnp.int32(9), jax.random.key(1)))
    # The memory's first nine moves hold each game's first positions and how it ended for player 0, who saw them.
    outcome = np.asarray(after.memory.outcome).reshape(12, 32)[0]
    assert np.asarray(after.memory.known).reshape(12, 32)[0].all() and len({*outcome}) > 1
    wrong, count = float(told["false_positives"].total), float(told["false_positives"].count)
    assert wrong >= (outcome >= 0).sum() and count - wrong >= (outcome < 0).sum()
    assert 32 <= count < 60 and float(told["resigned"].total) > 32  # later games, but for one in ten, end at once


def test_alphazero_learns_tic_tac_toe():
    """In a tenth of the recipe's moves the net learns enough to play by its first choice against chance."""
    recipe = find("alphazero-tic-tac-toe")
    setup = replace(recipe.setup, opponent="random", contests=400, judged_simulations=0)
    experiment = compiled(alphazero.make(setup))
    hyper = jax.tree.map(jnp.float32, recipe.hyper)
    known = recipe.load(setup).data
    state = experiment.init(jax.random.key(0), hyper, known)

    def judged(state):
        outputs = experiment.evaluate(jax.random.key(2), state, hyper, known)
        return experiment.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))

    before = judged(state)
    for index in range(40):
        tick = Tick(jnp.int32(index), jnp.int32(40), jax.random.fold_in(jax.random.key(1), index))
        state, _ = experiment.step(state, hyper, known, tick)
    after = judged(state)
    assert before["losses"] > 80 > 20 > after["losses"], (before, after)
    assert after["wins_first"] > 0.9 > 0.8 > before["wins_first"], (before, after)


@pytest.mark.slow
def test_alphazero_never_loses_at_tic_tac_toe(tmp_path):
    """The measure: five seeds, a thousand games as either player against one who makes no mistake."""
    folder = run(plan_of(find("alphazero-tic-tac-toe"), seeds=5), tmp_path)
    rows = [json.loads(line) for line in (folder / "evaluations.jsonl").read_text().splitlines()]
    assert [row["losses"] for row in rows[-5:]] == [0.0] * 5


@pytest.mark.slow
def test_self_play_that_is_killed_ends_with_the_bits_of_one_that_was_not(tmp_path):
    """Games under way, half-known outcomes and the memory all go on."""
    small = [
        "--setup.board",
        "connect_four",
        "--setup.opponent",
        "random",
        "--setup.contests",
        "20",
        "--setup.games",
        "16",
    ]
    small += ["--setup.replay", "1024", "--setup.widths", "32"]
    budget = ["--steps", str(16 * 8 * 300), "--chunk", "5", "--record-every", "5", "--evaluate-every", "50"]
    recipe = find("alphazero-tic-tac-toe")
    assert_ends_alike(recipe, [recipe.name, *small, *budget], tmp_path, (3, 17, 40), 60)


# Connect four, solved


def test_the_solver_of_connect_four_agrees_with_looking_at_everything():
    """And the player who looks ahead to the end does, too."""

    def everything(own, mask):
        if connect_four.won(own ^ mask):
            return -1
        if mask == connect_four.BOARD:
            return 0
        return max(-everything(*connect_four.after(own, mask, c)) for c in connect_four.free(mask))

    random, done = np.random.default_rng(0), 0
    while done < 40:
        own = mask = 0
        for _ in range(random.integers(32, 42)):
            own, mask = connect_four.after(own, mask, int(random.choice(connect_four.free(mask))))
            if connect_four.won(own ^ mask) or mask == connect_four.BOARD:
                break
        else:
            looked = {c: -everything(*connect_four.after(own, mask, c)) for c in connect_four.free(mask)}
            assert solver.worth(own, mask) == looked
            assert solver.value(own, mask) == max(looked.values())
            ahead = connect_four.look_ahead(own, mask, 12)
            assert (ahead > 900) - (ahead < -900) == max(looked.values())
            assert {looked[c] for c in connect_four.best_columns(own, mask, 12)} == {max(looked.values())}
            done += 1


def test_connect_four_on_the_host_is_pgx_s_game():
    """In random games the same cells are taken, the same columns free, and the same side wins."""
    board, random = boards.make("connect_four"), np.random.default_rng(0)
    play = jax.jit(board.play)
    for _ in range(10):
        position, own, mask = board.start(), 0, 0
        while not bool(position.terminated):
            assert connect_four.read(np.asarray(position.observation)) == (own, mask)
            assert connect_four.free(mask) == list(np.flatnonzero(position.legal_action_mask))
            column = int(random.choice(connect_four.free(mask)))
            position = play(position, jnp.int32(column))
            own, mask = connect_four.after(own, mask, column)
            assert connect_four.won(own ^ mask) == bool((position.rewards != 0).any())


def test_whoever_looks_ahead_wins_at_once_and_blocks():
    """Three of a column: one's own are completed, the other's stopped, and the first of these comes first."""
    own, mask = 0, 0
    for column in (0, 1, 0, 1, 0):
        own, mask = connect_four.after(own, mask, column)
    assert connect_four.best_columns(own, mask, 2) == [0]
    own, mask = connect_four.after(own, mask, 1)
    assert connect_four.best_columns(own, mask, 2) == [0]
    own, mask = connect_four.after(own, mask, 6)
    assert connect_four.best_columns(own, mask, 6) == [1]


def test_solved_positions_that_are_shipped_are_solved_right():
    """The latest of them, solved again; and in each some moves keep what others give away."""
    known = find("alphazero-connect-four").load(find("alphazero-connect-four").setup).data
    assert len(known.moves) == len(known.best) == 1000
    late = np.flatnonzero(known.moves[:, 27] >= 0)
    assert len(late) > 100
    for i in late[:60]:
        own = mask = 0
        for column in known.moves[i][known.moves[i] >= 0]:
            own, mask = connect_four.after(own, mask, int(column))
        told = solver.worth(own, mask)
        assert len(set(told.values())) > 1
        assert [c in told and told[c] == max(told.values()) for c in range(7)] == list(known.best[i])
