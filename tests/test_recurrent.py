"""Memory: a GRU that starts afresh with each episode, and PPO that learns what only a memory can."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_values import learned

from research.models.rnn import GRU
from research.rl import ppo
from research.rl.environments import Discrete, Environment, Outcome

KEY = jax.random.key(0)


def gru(units: int, inputs: int):
    module = GRU(units)
    x = jax.random.normal(jax.random.key(1), (5, 3, inputs))
    params = module.init(KEY, jnp.zeros((3, units)), x, jnp.zeros((5, 3), bool))
    # Biases that are not zero, so that a forgotten one shows.
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(2), p.shape), params)
    return module, params, x


def test_a_step_is_the_published_equations():
    module, params, x = gru(4, 3)
    before = np.asarray(jax.random.normal(jax.random.key(3), (3, 4)), np.float64)
    found = module.apply(params, jnp.asarray(before, jnp.float32), x[:1], jnp.zeros((1, 3), bool))[0]
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params["params"])
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    w = np.asarray(x[0], np.float64) @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
    u = before @ p["recurrent"]
    reset, keep = sigmoid(w[:, :4] + u[:, :4]), sigmoid(w[:, 4:8] + u[:, 4:8])
    new = np.tanh(w[:, 8:] + reset * (u[:, 8:] + p["recurrent_bias"]))
    np.testing.assert_allclose(found, (1 - keep) * new + keep * before, atol=1e-5)


def test_nothing_before_the_beginning_of_an_episode_is_remembered():
    module, params, x = gru(4, 3)
    begins = jnp.zeros((5, 3), bool).at[2, 1].set(True)
    whole = module.apply(params, jnp.ones((3, 4)), x, begins)
    other = module.apply(params, -jnp.ones((3, 4)), x.at[:2].add(1.0), begins)
    np.testing.assert_array_equal(whole[2:, 1], other[2:, 1])
    assert (whole[2:, 0] != other[2:, 0]).all()
    alone = module.apply(params, jnp.zeros((3, 4)), x[2:], jnp.zeros((3, 3), bool))
    np.testing.assert_allclose(whole[2:, 1], alone[:, 1], atol=1e-6)


def recall(length: int = 4) -> Environment:
    """The first observation shows 1 or -1 and the others 0; the last action earns 1 where it names the sign. Episodes have
    two steps to `length`, so that they begin and end apart."""

    def reset(key):
        sign_key, length_key = jax.random.split(key)
        sign = jax.random.rademacher(sign_key, (), jnp.float32)
        left = jax.random.randint(length_key, (), 2, length + 1)
        return (sign, left), sign[None]

    def step(key, state, action):
        sign, left = state
        over = left <= 1
        right = (2 * action - 1).astype(jnp.float32) == sign
        reward = jnp.where(over & right, 1.0, 0.0)
        return Outcome((sign, left - 1), jnp.zeros(1), reward, over, jnp.zeros((), bool))

    return Environment("recall", (1,), Discrete(2), length, reset, step)


SETUP = ppo.Setup(environments=16, rollout_length=10, minibatches=2, widths=(16,), memory=16)


def test_what_was_learned_from_is_what_was_played():
    """The divergence before the first update is 0 only where the memories of the update are those of the play, though
    episodes begin and end anywhere in a rollout of 10 and go on in the next."""
    setup = replace(SETUP, epochs=1, minibatches=1)
    _, metrics, _ = learned(ppo.make(setup, recall()), ppo.Hyper(learning_rate=0.1), 3)
    np.testing.assert_allclose(metrics["divergence"], 0.0, atol=1e-7)
    assert (metrics["entropy"][1:] != metrics["entropy"][:-1]).all()


def test_values_behind_a_step_know_what_led_there():
    """Where an episode goes on, the value of what a step led to is the value that the next step starts from."""
    experiment = ppo.make(SETUP, recall())
    state = jax.jit(experiment.init)(KEY, jax.tree.map(jnp.float32, ppo.Hyper()), ())
    agent = ppo.make_agent(recall(), SETUP.widths, SETUP.activation, memory=SETUP.memory)
    observation = jax.random.normal(KEY, (6, 16, 1))
    begins = jnp.zeros((6, 16), bool).at[3].set(True)
    following = jnp.concatenate([observation[1:], observation[:1]])
    values, next_values = ppo.judged(agent, state, observation, following, begins)
    on = np.array([0, 1, 3, 4])
    np.testing.assert_allclose(next_values[on], values[on + 1], atol=1e-5)
    assert np.abs(next_values[2] - values[3]).min() > 0


def test_only_a_memory_recalls():
    """With a memory nearly every episode earns 1, without it half of them."""
    hyper = ppo.Hyper(learning_rate=5e-3, entropy_coefficient=0.0)
    earned = {}
    for memory in (16, 0):
        setup = replace(SETUP, memory=memory, evaluation_episodes=256)
        experiment = ppo.make(setup, recall())
        state, _, traced = learned(experiment, hyper, 80)
        earned[memory] = float(jax.jit(experiment.evaluate)(KEY, state, traced, ()).returns.mean())
    assert earned[16] > 0.98 and 0.4 < earned[0] < 0.6, earned


def test_updates_stop_where_the_policy_has_moved_too_far():
    """One minibatch, ten passes, a step that moves the policy by more than the limit: what follows changes nothing."""
    setup = replace(SETUP, memory=0, epochs=10, minibatches=1, stop_updates=True)
    hyper = ppo.Hyper(learning_rate=0.01, largest_divergence=1e-3)
    stopped, metrics, _ = learned(ppo.make(setup, recall()), hyper, 1)
    share = float(metrics["stopped"][0])
    assert 0.1 <= share <= 0.9
    # As many passes as were taken, without the stop, give the same parameters.
    taken = replace(setup, epochs=round(10 * (1 - share)), stop_updates=False)
    alone, _, _ = learned(ppo.make(taken, recall()), hyper, 1)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), stopped.params, alone.params)
    going_on, metrics, _ = learned(ppo.make(setup, recall()), hyper._replace(largest_divergence=1e9), 1)
    assert float(metrics["stopped"][0]) == 0.0


def test_minibatches_with_a_memory_are_of_whole_environments():
    with pytest.raises(ValueError, match=r"minibatches=3 does not divide environments = 16; nearest: [24]"):
        ppo.make(replace(SETUP, minibatches=3), recall())


def test_a_convolution_needs_pictures():
    with pytest.raises(ValueError, match=r"features='convolution' needs observations of rows, columns and channels"):
        ppo.make(replace(SETUP, features="convolution"), recall())
