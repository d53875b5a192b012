"""REINFORCE and A2C: returns and gradients by hand, and what they learn in a corridor."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corridors import LIMIT, PLACES, corridor, trained

from research.rl import a2c, reinforce
from research.rl.actor_critic import make_agent
from research.rl.environments import Transition

KEY = jax.random.key(0)
HALF = jnp.float32(0.5)


def test_whole_episodes_are_those_that_began_early_enough():
    # Two environments, four steps, rewards 1, 2, 4, 8, at most two steps an episode. In the first, episodes of steps 0-1
    # and 2-3; in the second of 0, of 1-2, and one that begins with the last step, whose end is not seen.
    reward = jnp.array([[1.0, 1], [2, 2], [4, 4], [8, 8]])
    terminated = jnp.array([[0, 1], [1, 0], [0, 0], [0, 0]], bool)
    truncated = jnp.array([[0, 0], [0, 0], [0, 1], [1, 0]], bool)
    length = jnp.array([[1, 1], [2, 1], [1, 2], [2, 1]])
    nothing = jnp.zeros((4, 2))
    transitions = Transition(nothing, reward, terminated, truncated, nothing, nothing, length)
    counted, returns = reinforce.whole_episodes(transitions, 2, HALF)
    assert counted.T.tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert (returns * counted).T.tolist() == [[2, 2, 8, 8], [1, 4, 4, 0]]


def pieces():
    environment = corridor()
    agent = make_agent(environment, (), "tanh")
    seen = jnp.eye(PLACES)[:2]
    policy_key, value_key = jax.random.split(KEY)
    params = agent.init(policy_key, value_key, seen)
    params = jax.tree.map(lambda x: x + 0.3 * jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape), params)
    return agent, params, seen[:, None], jnp.array([[1], [0]])  # [T=2, B=1]


def by_hand(agent, params, seen, actions):
    """Log probabilities of the actions, entropies and values, by the softmax written out."""
    logits = np.asarray(agent.parameters(params, seen[:, 0]), np.float64)  # [A, T]
    p = np.exp(logits) / np.exp(logits).sum(0)
    chosen = np.log(p[np.asarray(actions)[:, 0], np.arange(2)])
    return chosen, -(p * np.log(p)).sum(0), np.asarray(agent.values(params, seen[:, 0]), np.float64)


def test_a2c_objective_by_hand():
    agent, params, seen, actions = pieces()
    chosen, entropy, values = by_hand(agent, params, seen, actions)
    advantages, targets = np.array([2.0, -1.0]), np.array([0.5, 1.5])
    hyper = a2c.Hyper(entropy_coefficient=0.1, value_coefficient=0.25)
    column = lambda x: jnp.array(x, jnp.float32)[:, None]
    loss, parts = a2c.objective(agent, hyper, params, seen, actions, column(advantages), column(targets))
    expected = -(chosen * advantages).mean() + 0.25 * 0.5 * ((values - targets) ** 2).mean() - 0.1 * entropy.mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(parts["entropy"], entropy.mean(), rtol=1e-5)


@pytest.mark.parametrize("baseline", [False, True])
def test_reinforce_objective_by_hand(baseline):
    agent, params, seen, actions = pieces()
    chosen, entropy, values = by_hand(agent, params, seen, actions)
    returns, counted = np.array([2.0, 7.0]), np.array([1.0, 0.0])  # the second step is past the episode's end
    hyper = reinforce.Hyper(entropy_coefficient=0.1, value_coefficient=0.25)
    column = lambda x: jnp.array(x, jnp.float32)[:, None]
    words = reinforce.Setup(baseline=baseline), agent, hyper
    data = seen, actions, column(returns), column(counted)
    loss, _ = reinforce.objective(*words, params, *data)
    known = values[0] if baseline else 0.0
    expected = -(2.0 - known) * chosen[0] + 0.25 * 0.5 * (known - 2.0) ** 2 - 0.1 * entropy[0]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    # The baseline is no way to raise the policy's objective: the value network sees its own loss alone.
    gradient = jax.grad(lambda p: reinforce.objective(*words, p, *data)[0])(params)
    head = gradient["value"]["params"]["Head_0"]["bias"]
    np.testing.assert_allclose(head, [0.25 * (values[0] - 2.0) if baseline else 0.0], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("method", "setup", "ticks", "hyper"),
    [
        (a2c, a2c.Setup(widths=(16,)), 600, {"learning_rate": 5e-3}),
        (
            reinforce,
            reinforce.Setup(widths=(16,), environments=8, rollout_length=2 * LIMIT),
            150,
            {"learning_rate": 2e-2},
        ),
        (
            reinforce,
            reinforce.Setup(widths=(16,), environments=8, rollout_length=2 * LIMIT, baseline=False),
            150,
            {"learning_rate": 2e-2},
        ),
    ],
    ids=["a2c", "reinforce", "reinforce without baseline"],
)
def test_it_learns_to_go_right(method, setup, ticks, hyper):
    setup = replace(setup, evaluation_episodes=32, evaluation_actions="sample")
    experiment = method.make(setup, corridor())
    state, _, traced = trained(experiment, method.Hyper(discount=0.8, **hyper), ticks, KEY)
    before = experiment.evaluate(KEY, jax.jit(experiment.init)(KEY, traced, ()), traced, ())
    after = experiment.evaluate(KEY, state, traced, ())
    # From a place drawn evenly 2.5 steps to the right are enough on average; at random it takes many more.
    assert float(after.lengths.mean()) < 3.5 < float(before.lengths.mean())
    assert (after.returns == 1.0).all()


def test_reinforce_refuses_to_cut_returns():
    with pytest.raises(ValueError, match="rollout_length=100 is less than the 500 steps .* at least 500, better 1000"):
        reinforce.make(reinforce.Setup(rollout_length=100))


def test_a2c_values_what_lies_behind_a_time_limit():
    """Three steps do not reach the end from the first place; its value is that of the four that would."""
    environment = corridor(time_limit=3)
    experiment = a2c.make(a2c.Setup(widths=(16,)), environment)
    state, _, _ = trained(experiment, a2c.Hyper(discount=0.8, learning_rate=5e-3), 1500, KEY)
    agent = make_agent(environment, (16,), "tanh")
    values = agent.values(state.params, jnp.eye(PLACES))
    np.testing.assert_allclose(values, [0.8**3, 0.8**2, 0.8, 1.0], atol=0.05)
