"""DQN and PQN: their targets by hand, when they learn and explore, and what they refuse."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_values import KNOWN, environment, trained

from research.engine.experiment import Tick
from research.engine.lane import Lane
from research.engine.placement import Placement, alone
from research.engine.plan import Budget, Plan, Row
from research.numerics import replay
from research.numerics.priorities import no_priorities, prioritize
from research.recipes.dqn import DQN
from research.rl import dqn, environments, experience, greedy, pqn
from research.rl.annealing import annealed
from research.rl.priorities import Priorities, newest

KEY = jax.random.key(0)
HALF = jnp.float32(0.5)
MATCHED = environment(KNOWN["matched"].task)


class LINEAR:
    """A network of two actions whose values are the weights times the single number seen."""

    @staticmethod
    def apply(weights, observation):
        """weights f32[2], observation f32[...,1] -> f32[2,...]"""
        return jnp.stack([weights[0] * observation[..., 0], weights[1] * observation[..., 0]])


PLAIN = MATCHED._replace(binary=False)  # whose observations a ring keeps as they are


def as_ring(experience: dqn.Experience) -> dqn.Experience:
    """[S,B,...] -> [S*B,...]"""
    return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), experience)


def first_slot(environments: int) -> jnp.ndarray:
    return jnp.arange(environments, dtype=jnp.int32)


@pytest.mark.parametrize(("double", "value"), [(False, 8.0), (True, 2.0)])
def test_targets_by_hand(double, value):
    # What follows is 1. The target network values the actions 2 and 8; the learned one prefers the first.
    weights, target = jnp.array([5.0, 3.0]), jnp.array([2.0, 8.0])
    column = lambda *xs: jnp.array(xs, jnp.float32)[None]
    ring = dqn.Experience(
        observation=jnp.zeros((1, 3, 1)),
        action=jnp.zeros((1, 3), jnp.int32),
        reward=column(1, 1, 1),
        terminated=column(0, 1, 0).astype(bool),
        ended=column(0, 1, 1).astype(bool),  # goes on, terminated, truncated
        final_observation=jnp.ones((1, 3, 1)),
    )
    setup, hyper = dqn.Setup(double=double, environments=3), dqn.Hyper(discount=HALF)
    samples = dqn.read(setup, PLAIN, LINEAR, hyper, target, as_ring(ring), first_slot(3))
    found = dqn.bootstrapped(setup, LINEAR, weights, samples)
    np.testing.assert_allclose(found, [1 + value / 2, 1.0, 1 + value / 2])


def test_a_longer_return_bootstraps_from_where_it_was_cut():
    # Two steps, discount 1/2: 1 + 2/2 and a quarter of the value 8 of what the second step led to, 1; where the
    # first step is truncated: 1 and half of the value 8 * 3 of what it led to.
    rows = lambda *xs: jnp.array(xs, jnp.float32)
    ring = dqn.Experience(
        observation=jnp.zeros((2, 2, 1)),
        action=jnp.zeros((2, 2), jnp.int32),
        reward=rows([1, 1], [2, 2]),
        terminated=jnp.zeros((2, 2), bool),
        ended=rows([0, 1], [0, 0]).astype(bool),
        final_observation=rows([3, 3], [1, 1])[..., None],
    )
    setup, hyper = dqn.Setup(double=False, n_steps=2, environments=2), dqn.Hyper(discount=HALF)
    samples = dqn.read(setup, PLAIN, LINEAR, hyper, jnp.array([2.0, 8.0]), as_ring(ring), first_slot(2))
    found = dqn.bootstrapped(setup, LINEAR, jnp.zeros(2), samples)
    np.testing.assert_allclose(found, [2 + 8 / 4, 1 + 24 / 2])


def test_the_loss_weighs_errors():
    # Values 1 and 2 (first and second action of what was seen, 1), targets 3 and 5: errors 2 and 3, half their squares
    # 2 and 4.5, weighed 1 and 1/2: mean (2 + 2.25) / 2.
    seen, action = jnp.ones((2, 1)), jnp.array([0, 1])
    targets, importance = jnp.array([3.0, 5.0]), jnp.array([1.0, 0.5])
    loss, (errors, values) = dqn.objective(LINEAR, jnp.array([1.0, 2.0]), seen, action, targets, importance)
    assert float(loss) == 2.125 and errors.tolist() == [2, 3] and values.tolist() == [1, 2]


def test_exploration_falls_linearly_and_then_stays():
    found = [float(annealed(jnp.float32(p), HALF, jnp.float32(1.0), jnp.float32(0.1))) for p in (0, 0.25, 0.5, 1)]
    np.testing.assert_allclose(found, [1.0, 0.55, 0.1, 0.1], rtol=1e-6)


def test_an_explorer_is_random_as_often_as_it_should_be():
    """Of the random actions half are the greedy one by chance."""
    actor = greedy.epsilon_greedy(MATCHED, lambda seen: jnp.stack([0 * seen[:, 0], 1 + 0 * seen[:, 0]]), HALF)
    drawn = actor.draw(KEY, (1, 20_000))
    episodes = environments.start(MATCHED, KEY, 20_000)
    _, action, _ = actor.act((), episodes, jax.tree.map(lambda x: x[0], drawn))
    assert abs(float(action.mean()) - 0.75) < 0.02


SMALL = dqn.Setup(
    environments=4,
    rollout_length=2,
    batch_size=32,
    capacity=800,
    learning_starts=200,
    target_every=10,
    widths=(),
    evaluation_episodes=16,
)


@pytest.mark.parametrize("method", [dqn, pqn])
def test_explores_and_learns_when_it_should(method):
    """Halfway through the first half of a run epsilon is halfway; 200 steps of 8 a tick come before DQN's first update."""
    setup = SMALL if method is dqn else pqn.Setup(environments=2, rollout_length=4, minibatches=1, widths=())
    _, metrics = jax.jit(lambda: trained(method.make(setup, MATCHED), method.Hyper(), 40, jnp.uint32(0)))()
    np.testing.assert_allclose(metrics["epsilon"][jnp.array([0, 10, 39])], [1.0, 0.525, 0.05], rtol=1e-3)
    if method is dqn:
        assert metrics["loss"].count.tolist() == [0.0] * 24 + [1.0] * 16


@pytest.mark.parametrize("n_steps", [1, 2, 5, 11])
def test_only_transitions_whose_return_is_whole_have_a_priority(n_steps):
    setup = dqn.Setup(environments=2, rollout_length=2, capacity=24, n_steps=n_steps, learning_starts=12)
    slots = 12
    priorities = Priorities(no_priorities(24), jnp.float32(3.0))
    for index in range(20):
        priorities = newest(setup, priorities, jnp.int32(index))
        leaves = np.asarray(priorities.tree)[priorities.tree.shape[0] // 2 :][:24].reshape(slots, 2)
        oldest, count = replay.complete(jnp.int32(index), 2, slots, n_steps)
        whole = [(int(oldest) + i) % slots for i in range(int(count))]
        assert (leaves[whole] == 3.0).all() and leaves.sum() == 3.0 * 2 * len(whole), index


def test_an_update_by_priority_weighs_errors_and_sets_the_new_priorities():
    """Two transitions, (s, a, r, end) = (1, 0, 3) and (1, 1, 10), of values 1 and 2: errors 2 and 8."""
    setup = dqn.Setup(capacity=2, rollout_length=1, batch_size=4, prioritized=True, learning_starts=1)
    column = lambda *xs: jnp.array(xs, jnp.float32)[:, None]
    over = jnp.ones((2, 1), bool)
    ring = dqn.Experience(
        column(1, 1)[..., None], jnp.array([[0], [1]]), column(3, 10), over, over, column(0, 0)[..., None]
    )
    tree = prioritize(no_priorities(2), jnp.arange(2), jnp.array([1.0, 3.0]))
    hyper = jax.tree.map(jnp.float32, dqn.Hyper(priority_exponent=0.5, importance_exponent=0.5))
    weights = jnp.array([1.0, 2.0])
    carry = weights, dqn.adam().init(weights), Priorities(tree, jnp.float32(1.5))
    # A third of the way the exponent is 1/2 + 1/2 / 3 = 2/3. The chances are 1/4 and 3/4, and of four draws, one from each
    # quarter, one is the first: weights 1 and (1/3)^(2/3), loss (2^2 + 3 (1/3)^(2/3) 8^2) / 2 / 4.
    tick = Tick(jnp.int32(1), jnp.int32(3), KEY)
    learn = partial(dqn.learning, setup, PLAIN, LINEAR, hyper, as_ring(ring), tick, weights)
    (_, _, after), metrics = experience.learn_from(setup, tick, learn, carry, KEY)
    expected = (4 + 3 * (1 / 3) ** (2 / 3) * 64) / 8
    np.testing.assert_allclose(metrics["loss"].total, expected, rtol=1e-5)
    np.testing.assert_allclose(metrics["value"].total, (1 + 3 * 2) / 4, rtol=1e-6)
    np.testing.assert_allclose(after.tree[-2:], [2**0.5, 8**0.5], rtol=1e-5)
    np.testing.assert_allclose(after.largest, 8**0.5, rtol=1e-5)


def test_the_target_network_moves_when_it_should():
    setup = replace(SMALL, learning_starts=4, target_every=3)
    experiment = dqn.make(setup, MATCHED)
    for mixing in (1.0, 0.25):
        hyper = jax.tree.map(jnp.float32, dqn.Hyper(target_mixing=mixing))
        state = jax.jit(experiment.init)(KEY, hyper, ())
        for index in range(6):
            before = state
            state, _ = jax.jit(experiment.step)(state, hyper, (), Tick(jnp.int32(index), jnp.int32(9), KEY))
            moves = index in (2, 5)
            expected = before.target + mixing * (state.weights - before.target) if moves else before.target
            np.testing.assert_allclose(state.target, expected, rtol=1e-6)
            assert (state.weights != before.weights).any()


@pytest.mark.parametrize(
    ("rows", "environments"),
    [
        (1, 2),
        (3, 1),
        (1, 1),
    ],
)
def test_a_chunk_copies_no_ring_and_branches_on_the_tick(rows, environments):
    """A chunk as the engine makes it: copying the ring would cost more than a tick, and without the branch all would learn."""
    setup = replace(DQN.setup, environment="Breakout-MinAtar", environments=environments, capacity=400_000, n_steps=2)
    setup = replace(setup, batch_size=8, learning_starts=20, widths=())
    budget = Budget(1000, chunk=10, record_every=10, evaluate_every=1000)
    lane = Lane(Plan(DQN, setup, (Row(0, DQN.hyper),) * rows, budget), DQN.load(setup), Placement.choose(rows, 1))
    shapes = lane.template()
    builder, numbers, axes, args, *_ = lane._chunk(shapes, lane.total, None)
    chunk = (alone if rows == 1 else jax.vmap)(builder(lane.experiment, *numbers), axes)
    # With XLA's present emitters, as users have them: the older ones, which make the tests' programs, copy less.
    options = {"xla_cpu_use_fusion_emitters": True}
    program = jax.jit(chunk, donate_argnums=0).lower(*args).compile(options)
    ring = sum(x.nbytes for x in jax.tree.leaves(shapes.ring))
    memory = program.memory_analysis()
    assert memory.alias_size_in_bytes > ring, "the ring is donated, and written in place"
    assert memory.temp_size_in_bytes < ring / 50
    assert program.as_text().count(" conditional(") == 1


@pytest.mark.parametrize("dueling", [False, True])
def test_a_picture_is_convolved(dueling):
    environment = environments.make("Breakout-MinAtar")
    network = greedy.q_network(environment, "convolution", (32,), "relu", dueling=dueling)
    weights = network.init(KEY)
    grid = environment.observation_shape
    # 3 x 3 x channels x 16 + 16, 8 x 8 x 16 x 32 + 32, and the heads.
    convolution = 9 * grid[2] * 16 + 16
    heads = 33 * (environment.actions.count + dueling)
    assert weights.shape == (convolution + 8 * 8 * 16 * 32 + 32 + heads,)
    seen = jax.random.uniform(KEY, (2, 5, int(np.prod(grid))))
    values = network.apply(weights, seen)
    assert values.shape == (environment.actions.count, 2, 5)
    np.testing.assert_allclose(values[:, 1, 3], network.apply(weights, seen[1, 3][None])[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("method", "setup", "message"),
    [
        (
            dqn,
            {"capacity": 15},
            "capacity=15 is not a multiple of environments \\* rollout_length = 10; nearest: 10 or 20",
        ),
        (dqn, {"capacity": 5}, "nearest: 10"),
        (dqn, {"n_steps": 21, "capacity": 20}, "n_steps=21 is more than 20, the most that capacity=20 allows"),
        (dqn, {"n_steps": 12, "capacity": 20, "prioritized": True}, "n_steps=12 is more than 11, the most that"),
        (dqn, {"n_steps": 3, "learning_starts": 2}, "learning_starts=2 leaves no whole return"),
        (dqn, {"environment": "Pendulum-v1"}, "has continuous actions"),
        (dqn, {"features": "convolution"}, "features='convolution' needs observations of rows, columns and channels"),
        (dqn, {"widths": (0,)}, "widths=\\(0,\\) must all be at least 1"),
        (pqn, {"minibatches": 7}, "minibatches=7 does not divide environments \\* rollout_length = 2048; nearest: 8"),
        (pqn, {"environment": "Pendulum-v1"}, "has continuous actions"),
    ],
)
def test_a_setup_that_does_not_fit_is_refused(method, setup, message):
    with pytest.raises(ValueError, match=message):
        method.make(replace(method.Setup(), **setup))


def test_equal_draws_whatever_the_capacity():
    """Until the ring is full, its size plays no part."""
    outcomes = []
    for capacity in (400, 4000):
        experiment = dqn.make(replace(SMALL, capacity=capacity, learning_starts=20), MATCHED)
        hyper = jax.tree.map(jnp.float32, dqn.Hyper())
        state = jax.jit(experiment.init)(KEY, hyper, ())
        for index in range(20):
            state, _ = jax.jit(experiment.step)(state, hyper, (), Tick(jnp.int32(index), jnp.int32(50), KEY))
        outcomes.append(state.weights)
    np.testing.assert_array_equal(*outcomes)
