"""Schedules and objectives by hand-worked numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.numerics.objectives import cross_entropy
from research.numerics.schedules import cosine, inverse_square_root, warmup


def over(schedule, total, share):
    ticks = jnp.arange(total, dtype=jnp.int32)
    return np.asarray(jax.vmap(schedule, (0, None, None))(ticks, jnp.int32(total), jnp.float32(share)))


def test_warmup_rises_in_equal_steps_and_stays():
    # 0.4 of 10 ticks are 4: a quarter, a half, three quarters, one.
    assert over(warmup, 10, 0.4) == pytest.approx([0.25, 0.5, 0.75] + 7 * [1.0])


def test_no_warmup_begins_at_one():
    assert over(warmup, 3, 0.0).tolist() == [1, 1, 1]


def test_cosine_without_warmup():
    # (1 + cos(pi t / 4)) / 2 at t = 0, 1, 2, 3
    root = np.sqrt(0.5)
    assert over(cosine, 4, 0.0) == pytest.approx([1, (1 + root) / 2, 0.5, (1 - root) / 2])


def test_cosine_follows_the_warmup():
    # Four ticks up, then four of half a cosine: at tick 4 it is 1 still, at tick 6 a half.
    assert over(cosine, 8, 0.5)[[0, 3, 4, 6]] == pytest.approx([0.25, 1, 1, 0.5])
    # 8.5 ticks up leave 1.5: the last tick stands 0.5 behind the top, a third of the way, and cos(pi / 3) is a half.
    assert over(cosine, 10, 0.85)[[8, 9]] == pytest.approx([1, 0.75])


@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("schedule", [warmup, cosine, inverse_square_root])
def test_never_nothing_never_above_one(schedule, share):
    values = over(schedule, 50, share)
    assert (values > 0).all() and (values <= 1).all()


def test_cross_entropy_by_hand():
    """Logits 0 and log 3: probabilities 1/4 and 3/4; 0 and log 4: 1/5 and 4/5. With smoothing 1/2 the label keeps 3/4."""
    logits, labels = jnp.log(jnp.array([[1.0, 3.0], [1.0, 4.0]])), jnp.array([0, 1])
    assert cross_entropy(logits, labels) == pytest.approx(np.log([4, 5 / 4]), rel=1e-6)
    smoothed = 0.75 * np.log([4, 5 / 4]) + 0.25 * np.log([4 / 3, 5])
    assert cross_entropy(logits, labels, jnp.float32(0.5)) == pytest.approx(smoothed, rel=1e-6)


def test_cross_entropy_of_huge_logits_is_finite():
    value, slope = jax.value_and_grad(lambda x: cross_entropy(x, jnp.array([0])).sum())(jnp.array([[-1e4, 1e4]]))
    assert value == pytest.approx(2e4) and slope.ravel().tolist() == [-1, 1]


def test_a_floor_is_where_the_cosine_ends_and_the_warmup_begins_below_it():
    # Half way down half is left of the 0.9 that lie above the floor: 0.1 + 0.45.
    floored = over(lambda *x: cosine(*x, 0.1), 8, 0.5)
    assert floored[[0, 3, 4, 6]] == pytest.approx([0.25, 1, 1, 0.55])
    after = cosine(jnp.int32(12), jnp.int32(8), jnp.float32(0.5), 0.1)
    assert after == pytest.approx(0.1), "one period, which does not begin again"


def test_inverse_square_root_by_hand():
    # Two ticks up, then sqrt(2 / t) at t = 3, 4, 8: the ticks taken with this one.
    found = over(inverse_square_root, 8, 0.25)[[0, 1, 2, 3, 7]]
    assert found == pytest.approx([0.5, 1, np.sqrt(2 / 3), np.sqrt(1 / 2), 0.5])
    # Without a warm-up the first tick is the top.
    assert over(inverse_square_root, 4, 0.0) == pytest.approx([1, np.sqrt(1 / 2), np.sqrt(1 / 3), 0.5])
