"""Averages of parameters by their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.numerics.averages import tail_average


def averaged(values, share):
    average = {"w": jnp.full((2,), 7.0), "b": jnp.zeros(())}  # what it was before the first tick counts for nothing
    fold = jax.jit(tail_average)
    for index, value in enumerate(values):
        params = {"w": jnp.full((2,), value), "b": jnp.float32(-value)}
        average = fold(average, params, jnp.int32(index), jnp.float32(share))
    assert float(average["b"]) == pytest.approx(-float(average["w"][0]), rel=1e-5)
    return float(average["w"][1])


def test_all_of_the_run_is_the_plain_mean_and_nothing_of_it_the_last():
    values = [3.0, 1.0, 4.0, 1.0, 5.0]
    assert averaged(values, 1.0) == pytest.approx(14 / 5, rel=1e-6)
    assert averaged(values, 0.0) == 5.0


def test_half_a_share_counts_ticks_by_their_number():
    # Weights 2 / t at tick t: the second starts afresh, then 2/3 and 1/2. So 1/2 of the fourth, 1/2 * 2/3 of the third and
    # 1/2 * 1/3 of the second: as 3 : 2 : 1.
    assert averaged([100.0, 6.0, 12.0, 18.0], 0.5) == pytest.approx((6 + 2 * 12 + 3 * 18) / 6, rel=1e-6)


@pytest.mark.parametrize("share", [0.04, 0.2])
def test_ticks_are_as_old_as_the_share_says(share):
    """Of parameters that are the tick's number, the average is the ticks' mean number."""
    age = 1 - averaged(np.arange(1.0, 2001.0), share) / 2000
    assert age == pytest.approx(share / (1 + share), abs=0.002)
