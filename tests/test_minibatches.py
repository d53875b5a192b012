"""Passes over samples in minibatches."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax

from research.numerics.minibatches import check_minibatches, order, passes

KEY = jax.random.key(0)


def test_every_sample_is_used_once_in_an_epoch():
    for count in (1, 2, 125, 500):
        assert sorted(order(KEY, count).tolist()) == list(range(count))
    assert order(KEY, 500).tolist() != order(jax.random.key(1), 500).tolist()


@pytest.mark.parametrize("shape", [(6,), (6, 2)])
def test_passes_go_over_all_samples_each_time_in_another_order(shape):
    """Two passes over 0 .. 5 by twos: what was seen is kept in turn, and the outputs' mean is that of all samples."""

    def learn(carry, samples):
        n, seen = carry
        return (n + 2, lax.dynamic_update_slice(seen, samples, (n, 0)[: len(shape)])), samples.mean()

    samples = jnp.broadcast_to(jnp.arange(6.0).reshape(6, *[1] * (len(shape) - 1)), shape)
    begin = (jnp.int32(0), jnp.zeros((12, *shape[1:])))
    (n, seen), mean = passes(learn, begin, samples, KEY, epochs=2, minibatches=3)
    first, second = (half.reshape(6, -1)[:, -1].tolist() for half in (seen[:6], seen[6:]))
    assert n == 12 and mean == 2.5 and first != second
    assert sorted(first) == sorted(second) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("minibatches", "nearest"), [(2, 1), (5, 7), (9, 7)])
def test_minibatches_divide_the_samples(minibatches, nearest):
    """Seven samples in one minibatch or in seven."""
    for right in (1, 7):
        check_minibatches("days", 7, right)
    with pytest.raises(ValueError, match=f"minibatches={minibatches} does not divide days = 7; nearest: {nearest}$"):
        check_minibatches("days", 7, minibatches)
