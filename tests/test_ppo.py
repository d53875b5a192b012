"""PPO: its pieces by hand-worked numbers, and its agreement with the policy gradient."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_values import KNOWN, environment

from research.engine.chunk import advance, begin, judge
from research.recipes.ppo import BREAKOUT, CARTPOLE, RECIPES
from research.rl import environments, objectives, ppo
from research.rl.actor_critic import Agent, make_actor, make_agent
from research.rl.rollout import Evaluation

KEY = jax.random.key(0)
TRACED = jax.tree.map(jnp.float32, ppo.Hyper())


def numbers(*values: float) -> jnp.ndarray:
    return jnp.array(values, jnp.float32)


# Pieces


def test_clipped_objective_by_hand():
    # clip 0.2. Ratio 2, advantage 1: min(2, 1.2) = 1.2. Ratio 2, advantage -1: min(-2, -1.2) = -2. Ratio 1/2, advantage 1:
    # min(0.5, 0.8) = 0.5. Ratio 1/2, advantage -1: min(-0.5, -0.8) = -0.8. Mean (1.2 - 2 + 0.5 - 0.8) / 4 = -0.275.
    log_ratio = jnp.log(numbers(2, 2, 0.5, 0.5))
    found = objectives.policy_objective(log_ratio, numbers(1, -1, 1, -1), jnp.float32(0.2))
    np.testing.assert_allclose(found, -0.275, rtol=1e-6)
    # Unclipped, and the last advantage -2: (2 - 2 + 0.5 - 1) / 4 = -0.125.
    found = objectives.policy_objective(log_ratio, numbers(1, -1, 1, -2), None)
    np.testing.assert_allclose(found, -0.125, rtol=1e-6)


def test_value_objective_by_hand():
    # Target 1. Value 3, before 0, bound 1/2: held at 1/2; squared errors 4 and 1/4, the larger is 4: half is 2.
    # Value 1, before 0: held at 1/2; errors 0 and 1/4: half is 1/8. Without a bound: 2 and 0.
    values, before, targets = numbers(3, 1), numbers(0, 0), numbers(1, 1)
    np.testing.assert_allclose(objectives.value_objective(values, before, targets, jnp.float32(0.5)), (2 + 0.125) / 2)
    np.testing.assert_allclose(objectives.value_objective(values, before, targets, None), 1.0)


def test_divergence_is_zero_for_equal_policies_and_positive_otherwise():
    assert float(objectives.divergence(numbers(0, 0))) == 0.0
    # e^1 - 1 - 1 and e^-1 - 1 + 1.
    np.testing.assert_allclose(objectives.divergence(numbers(1, -1)), (np.e - 2 + 1 / np.e) / 2, rtol=1e-5)


def test_standardised_advantages():
    # Mean 2, deviation 1.
    np.testing.assert_allclose(objectives.standardized(numbers(1, 3)), [-1, 1], rtol=1e-6)


def some_samples(agent: Agent, params, count: int = 32) -> ppo.Samples:
    keys = jax.random.split(KEY, 3)
    observation = jax.random.normal(keys[0], (count, 4))
    action = jax.random.randint(keys[1], (count,), 0, 2)
    log_probability = agent.distribution.log_probability(agent.parameters(params, observation), action)
    values = agent.values(params, observation)
    advantage = jax.random.normal(keys[2], (count,))
    return ppo.Samples((), jnp.zeros(count, bool), observation, action, log_probability, values, advantage)


@pytest.fixture(scope="module")
def cartpole():
    setup = ppo.Setup(widths=(16,), normalize_advantages=False, clip_values=False)
    environment = environments.make("CartPole-v1")
    agent = make_agent(environment, setup.widths, setup.activation)
    state = jax.jit(ppo.make(setup).init)(KEY, TRACED, ())
    return setup, environment, agent, state


def test_before_the_first_update_the_gradient_is_the_policy_gradient(cartpole):
    """Where the ratio is 1, the objective's gradient is that of mean(A log pi) (Schulman et al. 2017, eq. 2)."""
    setup, _, agent, state = cartpole
    samples = some_samples(agent, state.params)
    hyper = TRACED._replace(entropy_coefficient=jnp.float32(0), value_coefficient=jnp.float32(0), clip=jnp.float32(1e9))

    def policy_gradient(params):
        log_probability = agent.distribution.log_probability(
            agent.parameters(params, samples.observation), samples.action
        )
        return -(samples.advantage * log_probability).mean()

    ours = jax.grad(lambda params: ppo.objective(setup, agent, hyper, params, samples)[0])(state.params)
    expected = jax.grad(policy_gradient)(state.params)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), ours, expected)
    assert any(np.abs(x).max() > 1e-3 for x in jax.tree.leaves(ours))


def test_one_epoch_of_one_minibatch_is_one_adam_step_on_the_objectives_gradient(cartpole):
    # Adam's first step is learning_rate * g / (|g| + eps): its sign is the gradient's, its size the learning rate.
    setup, _, agent, state = cartpole
    setup = replace(setup, epochs=1, minibatches=1)
    samples = some_samples(agent, state.params)
    hyper = TRACED._replace(max_gradient_norm=jnp.float32(1e9))
    gradient = jax.grad(lambda params: ppo.objective(setup, agent, hyper, params, samples)[0])(state.params)
    rate = jnp.float32(1e-3)
    after, _, _ = ppo.learning(setup, agent, hyper, rate, state.params, state.optimizer, samples, KEY)
    jax.tree.map(
        lambda new, old, g: np.testing.assert_allclose(new, old - 1e-3 * g / (jnp.abs(g) + 1e-5), atol=1e-6),
        after,
        state.params,
        gradient,
    )


def test_gradients_are_clipped_by_their_common_norm_not_entry_by_entry(cartpole):
    """After one step from zero, Adam's first moment is (1 - beta1) = 0.1 of the clipped gradient, its direction kept."""
    setup, _, agent, state = cartpole
    setup = replace(setup, epochs=1, minibatches=1)
    samples = some_samples(agent, state.params)
    moment = {}
    for norm in (1e9, 1e-3):
        hyper = TRACED._replace(max_gradient_norm=jnp.float32(norm))
        _, optimizer, _ = ppo.learning(setup, agent, hyper, jnp.float32(0), state.params, state.optimizer, samples, KEY)
        moment[norm] = np.asarray(optimizer.mu) / 0.1
    np.testing.assert_allclose(np.linalg.norm(moment[1e-3]), 1e-3, rtol=1e-4)
    whole = moment[1e9]
    np.testing.assert_allclose(moment[1e-3], whole * 1e-3 / np.linalg.norm(whole), atol=1e-8)


def test_the_learning_rate_falls_linearly_with_the_ticks():
    """One Adam step from zero moments has the size of the learning rate: whole, half and nothing; or always whole."""

    def moved(annealed: bool, index: int) -> float:
        setup = ppo.Setup(rollout_length=8, widths=(4,), epochs=1, minibatches=1, anneal_learning_rate=annealed)
        experiment = ppo.make(setup)
        state = jax.jit(experiment.init)(KEY, TRACED, ())
        after, _ = jax.jit(experiment.step)(state, TRACED, (), ppo.Tick(jnp.int32(index), jnp.int32(10), KEY))
        steps = jax.tree.map(lambda new, old: jnp.abs(new - old).max(), after.params, state.params)
        return float(max(jax.tree.leaves(steps)))

    rate = ppo.Hyper().learning_rate
    np.testing.assert_allclose([moved(True, index) for index in (0, 5, 10)], [rate, rate / 2, 0], rtol=0.02)
    np.testing.assert_allclose(moved(False, 5), rate, rtol=0.02)


def test_rollout_records_what_the_policy_saw_and_did(cartpole):
    setup, environment, agent, state = cartpole
    see = lambda observation: ppo.view(setup, environment, state.observation_moments, observation)
    actor = make_actor(agent, see, state.params, sampled=True)
    (_, episodes), (transitions, actions, parameters) = ppo.rollout(
        environment, actor, (), state.episodes, KEY, 40, jax.random.key(1)
    )
    assert actions.shape == (40, 4) and parameters.shape == (40, 2, 4)
    expected = jax.vmap(lambda x: agent.parameters(state.params, x))(transitions.observation)
    np.testing.assert_allclose(parameters, expected, atol=1e-5)
    going_on = ~transitions.ended[:-1]
    after, led_to = transitions.observation[1:], transitions.final_observation[:-1]
    np.testing.assert_array_equal(after[going_on], led_to[going_on])
    assert (after[~going_on] != led_to[~going_on]).any()
    assert set(np.unique(actions)) == {0, 1}
    np.testing.assert_array_equal(
        np.where(transitions.ended[-1, :, None], episodes.observation, transitions.final_observation[-1]),
        episodes.observation,
    )


def test_episode_metrics_are_sums_over_episodes_that_ended():
    experiment = ppo.make(ppo.Setup(rollout_length=100, environments=8, minibatches=1, epochs=1, widths=(4,)))
    state = jax.jit(experiment.init)(KEY, TRACED, ())
    after, metrics = jax.jit(experiment.step)(state, TRACED, (), ppo.Tick(jnp.int32(0), jnp.int32(9), KEY))
    # CartPole earns 1 a step: all steps are in episodes that ended or in those under way.
    ended, under_way = metrics["episode_return"].total, after.episodes.total.sum()
    assert float(ended + under_way) == 800.0
    assert float(metrics["episode_return"].count) >= 8
    assert metrics["episode_return"].total == metrics["episode_length"].total


# Normalisation


def test_observations_are_seen_through_moments_of_earlier_ticks():
    setup = ppo.Setup(rollout_length=25, widths=(4,), normalize_observations=True)
    experiment = ppo.make(setup)
    state = jax.jit(experiment.init)(KEY, TRACED, ())
    after, _ = jax.jit(experiment.step)(state, TRACED, (), ppo.Tick(jnp.int32(0), jnp.int32(9), KEY))
    assert float(after.observation_moments.count) == 100.0
    environment = environments.make("CartPole-v1")
    seen = ppo.view(setup, environment, after.observation_moments, after.episodes.observation)
    scale = np.sqrt(np.asarray(after.observation_moments.squares) / 100)
    expected = (np.asarray(after.episodes.observation) - np.asarray(after.observation_moments.mean)) / scale
    np.testing.assert_allclose(seen, np.clip(expected, -10, 10), rtol=1e-4)

    # The first tick sees through moments of nothing, which change nothing: it is the tick without normalisation.
    plain = ppo.make(replace(setup, normalize_observations=False))
    unseen, _ = jax.jit(plain.step)(state, TRACED, (), ppo.Tick(jnp.int32(0), jnp.int32(9), KEY))
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-6), after.params, unseen.params)
    # And its moments are those of what it saw.
    agent = make_agent(environment, setup.widths, setup.activation)
    rollout_key, fresh_key, _ = jax.random.split(KEY, 3)
    actor = make_actor(agent, lambda observation: observation, state.params, sampled=True)
    _, (transitions, _, _) = ppo.rollout(environment, actor, (), state.episodes, rollout_key, 25, fresh_key)
    np.testing.assert_allclose(after.observation_moments.mean, transitions.observation.mean((0, 1)), rtol=1e-3)


def test_rewards_are_divided_by_the_deviation_of_returns_under_way():
    # One environment, discount 1/2, rewards 2 | 4 4, the first ending an episode: returns under way 2, 4, 4 + 2 = 6;
    # mean 4, variance (4 + 0 + 4) / 3.
    setup = ppo.Setup(normalize_rewards=True)
    hyper = TRACED._replace(discount=jnp.float32(0.5))
    nothing = jnp.zeros((3, 1))
    ended = jnp.array([[True], [False], [False]])
    transitions = environments.Transition(
        nothing, jnp.array([[2.0], [4.0], [4.0]]), ended, ~ended & ended, nothing, nothing, nothing
    )
    state = ppo.State({}, None, None, (), None, ppo.unseen(()), jnp.zeros(1))
    rewards, moments, under_way = ppo.scaled_rewards(setup, hyper, state, transitions)
    np.testing.assert_allclose(rewards[:, 0], np.array([2, 4, 4]) / np.sqrt(8 / 3), rtol=1e-5)
    np.testing.assert_allclose(moments.mean, 4.0)
    assert under_way.tolist() == [6.0]

    # The next tick goes on from 6: returns under way 2 + 3 = 5, 4 + 5/2 = 6.5, and after an ending 4, which ends too.
    state = state._replace(return_moments=moments, discounted=under_way)
    ended = jnp.array([[False], [True], [True]])
    transitions = transitions._replace(terminated=ended, truncated=ended & ~ended)
    _, moments, under_way = ppo.scaled_rewards(setup, hyper, state, transitions)
    np.testing.assert_allclose(moments.mean, (2 + 4 + 6 + 5 + 6.5 + 4) / 6, rtol=1e-6)
    assert under_way.tolist() == [0.0]


# Refusals


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"minibatches": 3}, r"minibatches=3 does not divide environments \* rollout_length = 500; nearest: [24]"),
        ({"minibatches": 500}, "minibatches=500 leaves one sample each"),
        ({"widths": (64, 0)}, r"widths=\(64, 0\) must all be at least 1"),
        ({"environment": "CartPol"}, "environment='CartPol' .*CartPole-v1"),
    ],
)
def test_fields_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        ppo.make(replace(ppo.Setup(), **changes))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_recipes_divide(recipe):
    assert recipe.budget.ticks(recipe.steps_per_tick(recipe.setup)) > 0


def test_cartpole_is_exactly_half_a_million_steps_and_breakout_the_ticks_in_a_million():
    assert CARTPOLE.budget.steps == 500_000
    assert BREAKOUT.budget.steps // BREAKOUT.steps_per_tick(BREAKOUT.setup) == 1_000_000 // 8_192


# Evaluation


SMALL = ppo.Setup(rollout_length=8, minibatches=1, widths=(), evaluation_episodes=3)


def test_evaluation_counts_the_first_episode_only():
    """A reward of 1 at each step, three of them, and then another episode would begin."""
    endless = environment(KNOWN["constant, truncated"].task)._replace(time_limit=5)
    experiment = ppo.make(SMALL, endless)
    state = jax.jit(experiment.init)(KEY, TRACED, ())
    outputs = experiment.evaluate(KEY, state, TRACED, ())
    assert outputs.returns.tolist() == [3, 3, 3] and outputs.lengths.tolist() == [3, 3, 3]


def test_score_is_a_mean_for_each_row():
    figures = ppo.score(Evaluation(np.array([[1.0, 3.0], [5.0, 5.0]]), np.array([[1, 4], [5, 5]])))
    assert figures["episode_return"].tolist() == [2.0, 5.0] and figures["episode_length"].tolist() == [2.5, 5.0]
    assert figures["episode_return"].dtype == np.float64


def test_mode_and_sample_evaluate_differently():
    """A policy that prefers the right action with 3 : 1 always takes it as its mode and in three of four samples."""
    chosen = environment(KNOWN["chosen"].task)
    found = {}
    for actions in ("mode", "sample"):
        experiment = ppo.make(replace(SMALL, evaluation_episodes=2_000, evaluation_actions=actions), chosen)
        state = jax.jit(experiment.init)(KEY, TRACED, ())
        params = jax.tree.map(jnp.zeros_like, state.params)
        params["policy"]["params"]["Head_0"]["bias"] = jnp.log(numbers(1, 3))
        found[actions] = float(experiment.evaluate(KEY, state._replace(params=params), TRACED, ()).returns.mean())
    assert found["mode"] == 1.0
    np.testing.assert_allclose(found["sample"], 0.75, atol=0.04)  # four standard errors


def test_evaluations_at_two_ticks_draw_anew():
    experiment = ppo.make(ppo.Setup(widths=(4,), evaluation_episodes=4))
    state = jax.jit(begin(experiment))(jnp.uint32(0), TRACED, ())
    run = jax.jit(judge(experiment))
    outcomes = [np.asarray(run(state, jnp.uint32(0), TRACED, (), jnp.int32(index))[1].returns) for index in (0, 1)]
    assert not np.array_equal(*outcomes)


@pytest.mark.slow
def test_cartpole_is_learned_by_every_seed_within_a_hundred_thousand_steps():
    experiment = ppo.make(replace(CARTPOLE.setup, evaluation_episodes=16))
    hyper = jax.tree.map(lambda x: jnp.full(4, x, jnp.float32), CARTPOLE.hyper._replace(learning_rate=1e-3))
    seeds, ticks = jnp.arange(4, dtype=jnp.uint32), 200
    state = jax.vmap(begin(experiment), in_axes=(0, 0, None))(seeds, hyper, ())
    chunk = jax.jit(jax.vmap(advance(experiment, ticks, ticks), in_axes=(0, 0, 0, None, None, None, None)))
    state, _ = chunk(state, seeds, hyper, (), jnp.int32(0), jnp.int32(ticks), None)
    _, outputs = jax.vmap(judge(experiment), in_axes=(0, 0, 0, None, None))(state, seeds, hyper, (), jnp.int32(ticks))
    assert ppo.score(outputs)["episode_return"].min() >= 400
