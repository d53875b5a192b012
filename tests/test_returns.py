"""Returns and advantages by hand-worked numbers, and against their definitions wherever an episode may end."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from research.numerics.moments import Moments, deviation, seen, standardize, unseen
from research.numerics.returns import (
    backward_sums,
    discounted_returns,
    forward_sums,
    generalized_advantages,
    n_step_returns,
    q_lambda_targets,
    temporal_differences,
)
from research.rl.environments import Transition
from research.rl.reinforce import whole_episodes

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
    standard = (items - items.mean((0, 1))) / items.std((0, 1))
    np.testing.assert_allclose(standardize(moments, jnp.asarray(items)), standard, atol=1e-5)


def test_an_entry_that_never_varies_is_not_blown_up():
    moments = seen(unseen(()), jnp.full(8, 7.0))
    assert float(deviation(moments)) == 1.0
    assert float(standardize(moments, jnp.float32(7.0))) == 0.0


def test_to_vary_is_to_deviate_by_more_than_a_hundred_thousandth_of_the_mean():
    mean, share = numbers(-100, -100, 0.01, 0.01), numbers(0.9e-5, 1.1e-5, 0.9e-5, 1.1e-5)
    found = deviation(Moments(numbers(2)[0], mean, 2 * (share * mean) ** 2))
    np.testing.assert_allclose(found, [1, 1.1e-3, 1, 1.1e-7], rtol=1e-5)


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


# Against definitions, written out in NumPy and float64. Shapes are few, so that little is compiled; 19 steps are more than
# a scan unrolls.
SHAPES = [(1, 1), (4, 3), (19, 2)]
FRACTION = st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0, allow_subnormal=False)


class Stretch(NamedTuple):
    """T steps of B environments: rewards, values of what was seen, next_values of what it led to, terminated, truncated,
    each [T,B]; discount and trace (lambda) from 0 to 1"""

    rewards: np.ndarray
    values: np.ndarray
    next_values: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    discount: float
    trace: float

    @property
    def ended(self) -> np.ndarray:
        return self.terminated | self.truncated

    def stop(self, t: int, b: int) -> int:
        """The last step that counts for step t: its episode's end, or the data's."""
        return next((s for s in range(t, len(self.rewards)) if self.ended[s, b]), len(self.rewards) - 1)

    def return_to(self, t: int, last: int, b: int) -> float:
        """Discounted rewards of steps t to last, and the value of what the last led to unless nothing can follow."""
        rewards = sum(self.discount ** (s - t) * self.rewards[s, b] for s in range(t, last + 1))
        return rewards + (
            0.0 if self.terminated[last, b] else self.discount ** (last + 1 - t) * self.next_values[last, b]
        )

    def mixture(self, t: int, b: int) -> float:
        """The mean of the n-step returns, weighed (1 - lambda) lambda^(n-1), all that remains on the longest."""
        stop, found = self.stop(t, b), 0.0
        for last in range(t, stop + 1):
            weight = self.trace ** (last - t) * (1.0 if last == stop else 1.0 - self.trace)
            found += weight * self.return_to(t, last, b)
        return found

    def unread(self, where: np.ndarray) -> "Stretch":
        """With next values that are no numbers where nobody may read them."""
        return self._replace(next_values=np.where(where, np.nan, self.next_values))


@st.composite
def stretches(draw):
    """Every step goes on, is terminated, truncated, or both."""
    shape = draw(st.sampled_from(SHAPES))
    kind = st.sampled_from([0] * 7 + [1, 2, 3])
    ends = draw(st.lists(kind, min_size=math.prod(shape), max_size=math.prod(shape)))
    ends = np.array(ends).reshape(shape)
    numbers = np.random.default_rng(draw(st.integers(0, 99))).normal(size=(3, *shape))
    return Stretch(*numbers, ends % 2 == 1, ends >= 2, draw(FRACTION), draw(FRACTION))


def check(function, by_definition, shape, *arguments):
    """Compares a function, compiled and in float64, with by_definition(t, b)."""
    with jax.enable_x64(True):
        found = jax.jit(function)(*map(jnp.asarray, arguments))
    expected = np.array([[by_definition(t, b) for b in range(shape[1])] for t in range(shape[0])])
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def advantages(rewards, values, next_values, terminated, ended, discount, trace):
    errors = temporal_differences(rewards, values, next_values, terminated, discount)
    return generalized_advantages(errors, ended, discount, trace)


@given(stretches())
def test_advantages_are_decaying_sums_of_errors_to_the_episodes_end(stretch):
    """Schulman et al. 2016, eq. 16, for any values of what a step led to."""

    def by_definition(t, b):
        errors = [stretch.return_to(s, s, b) - stretch.values[s, b] for s in range(t, stretch.stop(t, b) + 1)]
        return sum((stretch.discount * stretch.trace) ** i * error for i, error in enumerate(errors))

    rewards, values, next_values, terminated, *_ = stretch.unread(stretch.terminated)
    check(
        advantages,
        by_definition,
        rewards.shape,
        *(rewards, values, next_values, terminated, stretch.ended, stretch.discount, stretch.trace),
    )


@given(stretches())
def test_advantages_are_mixtures_of_n_step_returns_less_the_value(stretch):
    """Schulman et al. 2016, eq. 14 to 16: within an episode what a step led to is what the next one saw."""
    inside = np.concatenate([~stretch.ended[:-1], np.zeros_like(stretch.ended[:1])])
    stretch = stretch._replace(next_values=np.where(inside, np.roll(stretch.values, -1, 0), stretch.next_values))
    rewards, values, next_values, terminated, *_ = stretch
    check(
        advantages,
        lambda t, b: stretch.mixture(t, b) - values[t, b],
        rewards.shape,
        *(rewards, values, next_values, terminated, stretch.ended, stretch.discount, stretch.trace),
    )


@given(stretches())
def test_q_lambda_is_the_mixture_of_n_step_returns(stretch):
    """Peng and Williams 1996: the greedy value of what the last counted step led to, whatever was done next."""
    rewards, _, next_values, terminated, *_ = stretch.unread(stretch.terminated)
    arguments = rewards, next_values, terminated, stretch.ended, stretch.discount, stretch.trace
    check(q_lambda_targets, stretch.mixture, rewards.shape, *arguments)


@given(stretches())
def test_discounted_returns_are_sums_to_the_episodes_end(stretch):
    last = np.arange(len(stretch.rewards))[:, None] == len(stretch.rewards) - 1
    rewards, _, next_values, terminated, *_ = stretch.unread(stretch.terminated | ~(stretch.ended | last))
    arguments = rewards, next_values, terminated, stretch.ended, stretch.discount
    check(discounted_returns, lambda t, b: stretch.return_to(t, stretch.stop(t, b), b), rewards.shape, *arguments)


def n_step_targets(rewards, next_values, terminated, ended, discount):
    sums, weight, last = n_step_returns(rewards, terminated, ended, discount)
    return (sums + weight * jnp.take_along_axis(next_values, last[None], 0)[0])[None]


@given(stretches())
def test_n_step_returns_stop_at_the_first_end(stretch):
    """Here n is the stretch's length. Rewards past the end are no numbers, and are not read."""
    rewards = stretch.rewards.copy()
    for b in range(rewards.shape[1]):
        rewards[stretch.stop(0, b) + 1 :, b] = np.nan
    arguments = rewards, stretch.next_values, stretch.terminated, stretch.ended, stretch.discount
    shape = (1, rewards.shape[1])
    check(n_step_targets, lambda t, b: stretch.return_to(0, stretch.stop(0, b), b), shape, *arguments)


def counted_returns(rewards, terminated, truncated, length, limit, discount):
    nothing = jnp.zeros_like(rewards)
    transitions = Transition(nothing, rewards, terminated, truncated, nothing, nothing, length)
    counted, returns = whole_episodes(transitions, limit, discount)
    return jnp.where(counted > 0, returns, jnp.inf)


@given(stretches(), st.sampled_from([1, 3]))
def test_reinforce_learns_from_episodes_that_surely_end(stretch, limit):
    """All and only the steps of episodes that began `limit` steps or more before the data's end, each with its return."""
    steps = len(stretch.rewards)
    limit = min(limit, steps)
    length, truncated = np.zeros(stretch.rewards.shape, np.int32), stretch.truncated.copy()
    for t, b in np.ndindex(length.shape):
        going_on = t > 0 and not (stretch.terminated | truncated)[t - 1, b]
        length[t, b] = 1 + (length[t - 1, b] if going_on else 0)
        truncated[t, b] |= length[t, b] == limit
    stretch = stretch._replace(truncated=truncated, next_values=np.zeros_like(stretch.rewards))
    began = np.arange(steps)[:, None] + 1 - length
    whole = began + limit <= steps
    assert all(stretch.ended[stretch.stop(t, b), b] for t, b in np.argwhere(whole)), "the model: whole episodes end"
    check(
        counted_returns,
        lambda t, b: stretch.return_to(t, stretch.stop(t, b), b) if whole[t, b] else np.inf,
        length.shape,
        *(stretch.rewards, stretch.terminated, stretch.truncated, length, np.int32(limit), stretch.discount),
    )


def watched(first, terms, decays):
    return forward_sums(first, terms, decays)[1]


@given(stretches())
def test_a_sum_that_grows_weighs_each_term_by_the_decays_behind_it(stretch):
    first, terms, decays = stretch.values[0], stretch.rewards, stretch.next_values

    def by_definition(t, b):
        product = lambda s: np.prod(decays[s : t + 1, b])
        return first[b] * product(0) + sum(terms[s, b] * product(s + 1) for s in range(t + 1))

    check(watched, by_definition, terms.shape, first, terms, decays)
