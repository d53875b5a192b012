"""Returns and advantages by hand-worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.numerics.moments import deviation, seen, standardize, unseen
from research.numerics.returns import (
    backward_sums,
    discounted_returns,
    forward_sums,
    generalized_advantages,
    n_step_returns,
    q_lambda_targets,
    temporal_differences,
)

HALF = jnp.float32(0.5)
ONE = jnp.float32(1.0)


def flags(*values: int) -> jnp.ndarray:
    return jnp.array(values, bool)


def numbers(*values: float) -> jnp.ndarray:
    return jnp.array(values, jnp.float32)


def test_a_late_reward_is_passed_back_discounted():
    # Reward 0 then 1, all values 0, discount 1/2, lambda 1, ended: the last advantage is 1, the first 0 + 1/2 * 1 = 1/2.
    errors = temporal_differences(numbers(0, 1), numbers(0, 0), numbers(0, 0), flags(0, 1), HALF)
    assert generalized_advantages(errors, flags(0, 1), HALF, ONE).tolist() == [0.5, 1.0]


def test_lambda_zero_looks_one_step_ahead():
    # delta_0 = 1 + 1/2 * 4 - 2 = 1, delta_1 = 3 + 1/2 * 6 - 4 = 2; lambda 0 keeps just these.
    errors = temporal_differences(numbers(1, 3), numbers(2, 4), numbers(4, 6), flags(0, 0), HALF)
    assert errors.tolist() == [1.0, 2.0]
    assert generalized_advantages(errors, flags(0, 0), HALF, jnp.float32(0.0)).tolist() == [1.0, 2.0]
    # lambda 1/2: A_1 = 2, A_0 = 1 + 1/2 * 1/2 * 2 = 3/2.
    assert generalized_advantages(errors, flags(0, 0), HALF, HALF).tolist() == [1.5, 2.0]


def test_termination_bootstraps_nothing_and_truncation_bootstraps_the_final_observation():
    # Reward 1, value 0, final observation worth 8: terminated gives 1, truncated 1 + 1/2 * 8 = 5.
    assert temporal_differences(numbers(1), numbers(0), numbers(8), flags(1), HALF).tolist() == [1.0]
    assert temporal_differences(numbers(1), numbers(0), numbers(8), flags(0), HALF).tolist() == [5.0]


@pytest.mark.parametrize("terminated", [True, False])
def test_no_advantage_crosses_the_end_of_an_episode(terminated):
    # A truncated step's advantage is its own error: the next step's 100 belongs to another episode.
    errors = temporal_differences(numbers(1, 100), numbers(0, 0), numbers(8, 0), flags(terminated, 1), HALF)
    advantages = generalized_advantages(errors, flags(1, 1), HALF, ONE)
    assert advantages.tolist() == [1.0 if terminated else 5.0, 100.0]


def test_values_that_are_right_leave_no_advantage():
    # Reward 1 for ever, discount 1/2: every state is worth 2.
    values = jnp.full(5, 2.0)
    errors = temporal_differences(jnp.ones(5), values, values, jnp.zeros(5, bool), HALF)
    assert generalized_advantages(errors, jnp.zeros(5, bool), HALF, jnp.float32(0.95)).tolist() == [0.0] * 5


def test_lambda_one_is_the_discounted_return_less_the_value():
    key_free = np.random.default_rng(0)
    rewards, values, next_values = (jnp.asarray(key_free.normal(size=(7, 3)), jnp.float32) for _ in range(3))
    terminated = jnp.asarray(key_free.random((7, 3)) < 0.3)
    truncated = jnp.asarray(key_free.random((7, 3)) < 0.3) & ~terminated
    ended = terminated | truncated
    # Along one trajectory V(s') of a step is V(s) of the next.
    inside = jnp.concatenate([ended[:-1], jnp.ones((1, 3), bool)])
    next_values = jnp.where(inside, next_values, jnp.roll(values, -1, axis=0))
    discount = jnp.float32(0.9)
    errors = temporal_differences(rewards, values, next_values, terminated, discount)
    advantages = generalized_advantages(errors, ended, discount, ONE)
    returns = discounted_returns(rewards, next_values, terminated, ended, discount)
    np.testing.assert_allclose(advantages, returns - values, atol=1e-5)


def test_discounted_returns_by_hand():
    # Discount 1/2. Step 3 stops the data at value 4: 1 + 1/2 * 4 = 3. Step 2 is truncated at value 2: 1 + 1 = 2.
    # Step 1 passes into it: 0 + 1/2 * 2 = 1. Step 0 is terminated: 5, its next value unread.
    found = discounted_returns(numbers(5, 0, 1, 1), numbers(9, 9, 2, 4), flags(1, 0, 0, 0), flags(1, 0, 1, 0), HALF)
    assert found.tolist() == [5.0, 1.0, 2.0, 3.0]


def test_sums_run_both_ways_and_keep_environments_apart():
    terms, decays = jnp.array([[1.0, 10.0], [2.0, 20.0]]), jnp.array([[0.5, 0.0], [0.5, 0.5]])
    # Backward: x1 = (2, 20); x0 = (1 + 1/2 * 2, 10 + 0 * 20). Forward from (4, 4): x0 = (1 + 2, 10), x1 = (2 + 3/2, 20 + 5).
    assert backward_sums(terms, decays).tolist() == [[2.0, 10.0], [2.0, 20.0]]
    last, every = forward_sums(jnp.array([4.0, 4.0]), terms, decays)
    assert every.tolist() == [[3.0, 10.0], [3.5, 25.0]] and last.tolist() == [3.5, 25.0]


def test_moments_in_batches_are_moments_of_all():
    items = np.random.default_rng(1).normal(3.0, 2.0, (6, 5, 4)).astype(np.float32)
    moments = unseen((4,))
    assert standardize(moments, jnp.array([0.5, -0.5, 2.0, 100.0])).tolist() == [0.5, -0.5, 2.0, 10.0]
    for batch in items:
        moments = seen(moments, jnp.asarray(batch))
    np.testing.assert_allclose(moments.mean, items.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(deviation(moments), items.std((0, 1)), rtol=1e-5)


def test_an_entry_that_never_varies_is_not_blown_up():
    moments = seen(unseen(()), jnp.full(8, 7.0))
    assert float(deviation(moments)) == 1.0
    assert float(standardize(moments, jnp.float32(7.0))) == 0.0


def test_returns_of_n_steps_by_hand():
    # Columns: nothing ends; terminated at the second step; truncated at the second step. Rewards 1, 2, 4, discount 1/2.
    rewards = jnp.array([[1.0, 1, 1], [2, 2, 2], [4, 4, 4]])
    terminated = flags(*[0] * 9).reshape(3, 3).at[1, 1].set(True)
    ended = terminated.at[1, 2].set(True)
    sums, weight, last = n_step_returns(rewards, terminated, ended, HALF)
    # 1 + 2/2 + 4/4 = 3, and 1/8 of what follows; 1 + 2/2 = 2, and nothing; 2, and 1/4 of what the second step led to.
    assert sums.tolist() == [3.0, 2.0, 2.0]
    assert weight.tolist() == [0.125, 0.0, 0.25]
    assert last.tolist() == [2, 1, 1]
    # A second episode's end does not count, and one step is r and one discount.
    assert n_step_returns(numbers(1, 2), flags(0, 1), flags(1, 1), HALF)[0] == 1.0
    assert [float(x) for x in n_step_returns(numbers(3), flags(0), flags(0), HALF)] == [3.0, 0.5, 0.0]


def test_q_lambda_by_hand():
    # Rewards 1, 2, 3, greedy values 10, 20, 30 of what they led to, discount and lambda 1/2. From the back:
    # 3 + 30/2 = 18;  2 + (20/2 + 18/2)/2 = 11.5;  1 + (10/2 + 11.5/2)/2 = 6.375.
    rewards, values = numbers(1, 2, 3), numbers(10, 20, 30)
    none, second = flags(0, 0, 0), flags(0, 1, 0)
    assert q_lambda_targets(rewards, values, none, none, HALF, HALF).tolist() == [6.375, 11.5, 18.0]
    # Terminated at the second step: 2;  1 + (5 + 1)/2 = 4. Truncated there: 2 + 20/2 = 12;  1 + (5 + 6)/2 = 6.5.
    assert q_lambda_targets(rewards, values, second, second, HALF, HALF).tolist() == [4.0, 2.0, 18.0]
    assert q_lambda_targets(rewards, values, none, second, HALF, HALF).tolist() == [6.5, 12.0, 18.0]


def test_q_lambda_is_the_mixture_of_n_step_returns():
    """Against the forward view, written as a sum, in float64: lambda^(n-1) (1 - lambda) of each n-step return that is cut
    by neither an episode's end nor the data's, and all that remains of the last."""
    random = np.random.default_rng(0)
    for discount, trace in ((0.99, 0.9), (0.9, 0.0), (0.95, 1.0)):
        rewards, values = random.normal(size=(2, 20, 3))
        terminated, truncated = random.random((2, 20, 3)) < 0.15
        ended = terminated | truncated
        expected = np.zeros((20, 3))
        for t, b in np.ndindex(20, 3):
            stop = next((s for s in range(t, 20) if ended[s, b]), 19)
            for n in range(1, stop - t + 2):
                reached = t + n - 1
                whole = sum(discount**i * rewards[t + i, b] for i in range(n))
                whole += discount**n * values[reached, b] * (not terminated[reached, b])
                weight = trace ** (n - 1) * (1.0 if reached == stop else 1.0 - trace)
                expected[t, b] += weight * whole
        with jax.enable_x64(True):
            found = q_lambda_targets(*map(jnp.asarray, (rewards, values, terminated, ended, discount, trace)))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
