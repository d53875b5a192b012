"""SAC: the squashed Gaussian, noise that remembers, targets and gradients by hand, and what it learns."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from known_values import learned

from research.models.distributions import squashed_sample
from research.rl import environments, sac, squashed
from research.rl.environments import Box, Environment, Outcome

KEY = jax.random.key(0)
SETUP = sac.Setup(
    environments=8, updates=8, batch_size=64, capacity=4096, learning_starts=256, widths=(32,), evaluation_episodes=64
)


def aim(steps: int = 1, truncates: bool = False) -> Environment:
    """An observation in [-1, 1]; an action earns 1 - (action - observation / 2)^2, for so many steps."""

    def reset(key):
        seen = jax.random.uniform(key, (), jnp.float32, -1.0, 1.0)
        return (seen, jnp.int32(0)), seen[None]

    def step(key, state, action):
        seen, time = state
        over = time + 1 >= steps
        earned = 1.0 - (action[0] - seen / 2) ** 2
        return Outcome((seen, time + 1), seen[None], earned, over & jnp.bool(not truncates), over & jnp.bool(truncates))

    bounds = np.ones(1, np.float32)
    return Environment("aim", (1,), Box(-bounds, bounds), steps, reset, step)


def networks():
    found = squashed.make_networks(SETUP, aim())
    return found, found.init(KEY, jnp.zeros((2, 1)), jnp.float32(0.5))


# The squashed Gaussian


@pytest.mark.parametrize(("mean", "log_deviation"), [(0.0, 0.0), (0.7, -1.0), (-2.0, 0.5)])
def test_the_density_of_actions_is_that_of_tanh_of_a_gaussian(mean, log_deviation):
    """Probabilities of intervals of actions, from the Gaussian's, over the intervals' lengths."""
    noise = np.linspace(-2.5, 2.5, 2001, dtype=np.float64)
    parameters = jnp.broadcast_to(jnp.array([mean, log_deviation], jnp.float32)[:, None], (2, noise.size))
    action, log_probability = squashed_sample(parameters, jnp.asarray(noise, jnp.float32)[None])
    action = np.tanh(mean + np.exp(log_deviation) * noise)
    middle = 0.5 * (noise[1:] + noise[:-1])
    density = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi) * np.diff(noise) / np.diff(action)
    found = np.exp(np.asarray(log_probability, np.float64))
    np.testing.assert_allclose(0.5 * (found[1:] + found[:-1]), density, rtol=2e-3)


def test_components_are_independent():
    """Three components: the log-probability is the sum of those that each has alone."""
    mean, log_deviation, noise = jax.random.normal(KEY, (3, 3, 7))
    action, log_probability = squashed_sample(jnp.concatenate([mean, log_deviation]), noise)
    alone = [squashed_sample(jnp.stack([mean[i], log_deviation[i]]), noise[i][None]) for i in range(3)]
    np.testing.assert_array_equal(action, jnp.concatenate([a for a, _ in alone], -1))
    np.testing.assert_allclose(log_probability, sum(p for _, p in alone), rtol=1e-5)


def test_an_action_at_the_bound_has_a_finite_probability():
    # tanh(20) is 1 in f32: log(1 - a^2) would be -inf, and -2 (u - log 2) is right to the last digit.
    action, log_probability = squashed_sample(jnp.array([[20.0], [0.0]]), jnp.zeros((1, 1)))
    assert float(action[0, 0]) == 1.0
    np.testing.assert_allclose(log_probability, -0.5 * np.log(2 * np.pi) + 2 * (20.0 - np.log(2.0)), rtol=1e-6)


# Noise


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_noise_remembers_and_stays_standard_normal(memory):
    found, params = networks()
    actor = squashed.exploring(aim(), found, params["policy"], jnp.float32(memory), jnp.bool(False))
    episodes = environments.start(aim(), KEY, 512)
    episodes = episodes._replace(length=episodes.length + 1)  # under way
    fresh = actor.draw(KEY, (60, 512))
    noise, path = jax.random.normal(jax.random.key(1), (512, 1)), []
    for now in fresh:
        noise, _, _ = actor.act(noise, episodes, now)
        path.append(noise[:, 0])
    path = np.stack(path)  # [60, 512]
    assert abs(path.std() - 1.0) < 0.03
    assert abs((path[1:] * path[:-1]).mean() - memory) < 0.03
    assert abs((path[5:] * path[:-5]).mean() - memory**5) < 0.04


def test_before_learning_actions_are_uniform_and_afterwards_the_policys():
    found, params = networks()
    episodes = environments.start(aim(), KEY, 4000)
    noise = jax.random.normal(KEY, (4000, 1))
    acting = lambda random: squashed.exploring(aim(), found, params["policy"], jnp.float32(0.0), jnp.bool(random)).act(
        noise, episodes, noise
    )[1]
    shares = np.histogram(acting(True), np.linspace(-1, 1, 11))[0] / 4000
    assert np.abs(shares - 0.1).max() < 0.02  # four standard errors
    expected, _ = found.act(params["policy"], episodes.observation, noise.T)
    np.testing.assert_array_equal(acting(False), expected)


def test_an_evaluation_takes_the_most_likely_action():
    found, params = networks()
    actor = squashed.most_likely(aim(), found, params["policy"])
    episodes = environments.start(aim(), KEY, 5)
    _, action, _ = actor.act(actor.memory(5), episodes, actor.draw(KEY, (1, 5))[0])
    mean = found.policy.apply(params["policy"], episodes.observation)[0]
    np.testing.assert_allclose(action[:, 0], np.tanh(mean), rtol=1e-6)


# One update


def some_samples(terminated=(False, True)) -> sac.Samples:
    column = lambda *xs: jnp.array(xs, jnp.float32)[:, None]
    return sac.Samples(
        observation=column(0.1, -0.4),
        action=column(0.3, -0.2),
        reward=jnp.array([1.0, 2.0]),
        terminated=jnp.array(terminated),
        following=column(0.5, 0.6),
        noise=column(0.2, -1.0),
        following_noise=column(1.0, -0.5),
    )


def test_targets_by_hand():
    """Terminated: the reward. Otherwise half (the discount) of the smaller value less the temperature 1/2 times the
    log-probability of the action that the policy takes there."""
    found, params = networks()
    target = jax.tree.map(lambda x: x + 0.1, params["critics"])
    samples = some_samples()
    hyper = sac.Hyper(discount=jnp.float32(0.5))
    parameters = found.policy.apply(params["policy"], samples.following)
    action, log_probability = squashed_sample(parameters, samples.following_noise.T)
    values = [
        found.critic.apply(jax.tree.map(lambda x, i=i: x[i], target), jnp.concatenate([samples.following, action], 1))
        for i in range(2)
    ]
    assert (values[0] != values[1]).all()
    expected = 1.0 + 0.5 * (jnp.minimum(*values)[0] - 0.5 * log_probability[0])
    targets = sac.soft_targets(found, hyper, params, target, samples)
    np.testing.assert_allclose(targets, [expected, 2.0], rtol=1e-6)


def test_each_part_of_the_objective_moves_its_own_parameters():
    found, params = networks()
    hyper, samples = sac.Hyper(target_entropy=-1.0), some_samples()
    gradient = jax.grad(lambda p: sac.objective(found, hyper, p, samples, jnp.array([1.0, 2.0]))[0])(params)

    def critics(critics):
        errors = found.values(critics, samples.observation, samples.action) - jnp.array([[1.0, 2.0]])
        return 0.5 * (errors**2).mean(1).sum()

    def policy(policy):
        action, log_probability = found.act(policy, samples.observation, samples.noise.T)
        return (0.5 * log_probability - found.values(params["critics"], samples.observation, action).min(0)).mean()

    close = lambda x, y: jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), x, y)
    close(gradient["critics"], jax.grad(critics)(params["critics"]))
    close(gradient["policy"], jax.grad(policy)(params["policy"]))
    _, log_probability = found.act(params["policy"], samples.observation, samples.noise.T)
    # Too much entropy makes the gradient positive and lowers the temperature.
    np.testing.assert_allclose(gradient["log_temperature"], -log_probability.mean() + 1.0, rtol=1e-5)


def test_slow_copies_move_at_every_update():
    """Three updates on the same samples, each followed by a quarter of the way."""
    found, params = networks()
    hyper = jax.tree.map(jnp.float32, sac.Hyper(target_mixing=0.25))
    weights, unravel = ravel_pytree(params)
    start = target = jax.tree.map(lambda x: x + 1.0, params["critics"])
    carry = weights, start, sac.adam().init(weights)
    for _ in range(3):
        carry, _ = sac.update(found, hyper, unravel, carry, some_samples())
        learned_critics = unravel(carry[0])["critics"]
        target = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, target, learned_critics)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), carry[1], target)
    assert (carry[0] != weights).any()


@pytest.mark.parametrize(("length", "starts", "random_ticks"), [(1, 24, 3), (4, 32, 1), (4, 33, 2)])
def test_as_many_random_actions_as_asked_for_come_before_learning(length, starts, random_ticks):
    """A policy that is sure of 1 shows where its own actions begin: in the tick after the last random one."""
    setup = replace(SETUP, rollout_length=length, learning_starts=starts, updates=1, batch_size=8)
    experiment = sac.make(setup, aim())
    hyper = jax.tree.map(jnp.float32, sac.Hyper(learning_rate=1e-9))
    state = jax.jit(experiment.init)(KEY, hyper, ())
    sure = jax.tree.map(lambda x: x, state.params["policy"])
    sure["params"]["Head_0"]["bias"] = jnp.array([20.0, -20.0])
    state = state._replace(params=state.params | {"policy": sure})
    for index in range(random_ticks + 1):
        tick = sac.Tick(jnp.int32(index), jnp.int32(9), jax.random.key(index))
        before, (state, metrics) = state, jax.jit(experiment.step)(state, hyper, (), tick)
        learns = index >= random_ticks - 1
        assert bool(metrics["loss"].count) == learns, index
        written = np.asarray(state.ring.action)[8 * length * index : 8 * length * (index + 1), 0]
        assert (written > 0.999).all() == (index >= random_ticks), index
        assert (before.optimizer.count != state.optimizer.count) == learns


def test_noise_that_ended_an_episode_does_not_begin_the_next():
    found, params = networks()
    actor = squashed.exploring(aim(), found, params["policy"], jnp.float32(0.9), jnp.bool(False))
    episodes = environments.start(aim(), KEY, 4)
    fresh = actor.draw(KEY, (1, 4))[0]
    noise, _, _ = actor.act(jnp.full((4, 1), 5.0), episodes, fresh)
    np.testing.assert_array_equal(noise, fresh)
    noise, _, _ = actor.act(jnp.full((4, 1), 5.0), episodes._replace(length=episodes.length + 1), fresh)
    np.testing.assert_allclose(noise, 4.5 + np.sqrt(0.19) * fresh, rtol=1e-5)


# What it learns


@pytest.mark.parametrize(("steps", "truncates"), [(1, False), (3, True)])
def test_aims_and_values_what_it_earns(steps, truncates):
    """The best action earns 1 a step. With half the discount a step is worth 1 where it is the last that counts, and
    1 + 1/2 + 1/4 + ... = 2 where only a time limit ends the episode; the temperature has fallen, so that entropy adds
    little to that."""
    experiment = sac.make(SETUP, aim(steps, truncates))
    hyper = sac.Hyper(learning_rate=3e-3, discount=0.5, target_mixing=0.05, target_entropy=-3.0)
    state, metrics, traced = learned(experiment, hyper, 500)
    returns = jax.jit(experiment.evaluate)(KEY, state, traced, ()).returns
    assert float(returns.mean()) > 0.97 * steps
    assert float(metrics["temperature"].total[-1] / metrics["temperature"].count[-1]) < 0.05
    value = float(metrics["value"].total[-1] / metrics["value"].count[-1])
    assert abs(value - (2.0 if truncates else 1.0)) < 0.15


def test_discrete_actions_are_refused():
    with pytest.raises(ValueError, match=r"environment='CartPole-v1' has discrete actions; sac needs continuous ones"):
        sac.make(sac.Setup(environment="CartPole-v1"))
