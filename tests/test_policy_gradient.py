"""REINFORCE and A2C: their objectives by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_values import KNOWN, environment

from research.rl import a2c, reinforce
from research.rl.actor_critic import make_agent

KEY = jax.random.key(0)


def pieces():
    agent = make_agent(environment(KNOWN["matched"].task), (), "tanh")
    seen = jnp.eye(2)
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


def test_reinforce_refuses_to_cut_returns():
    with pytest.raises(ValueError, match="rollout_length=100 is less than the 500 steps .* at least 500, better 1000"):
        reinforce.make(reinforce.Setup(rollout_length=100))
