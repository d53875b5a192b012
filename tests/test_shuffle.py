"""Orders that are never stored: bijections, different ones, uniform ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chisquare

from research.numerics.shuffle import epoch_indices, mix, name_order, permute


def whole(order, n):
    return np.asarray(permute(jnp.uint32(order), jnp.arange(n, dtype=jnp.uint32), n))


def test_orders_stay_what_they_are():
    """A published run can be repeated while they do. These are figure 1's, worked out in Python's integers: the last two
    places of an epoch of 12 and the first eight of the next."""
    assert epoch_indices(jnp.uint32(7), jnp.int32(1), 10, 12).tolist() == [10, 6, 6, 4, 2, 8, 10, 1, 3, 7]


@pytest.mark.parametrize("n", [*range(1, 20), 100, 128, 1293, 4095, 4096, 4097, 54_000, 2**17 + 1])
@pytest.mark.parametrize("order", [0, 1, 2**32 - 1])
def test_bijection(n, order):
    assert np.array_equal(np.sort(whole(order, n)), np.arange(n))


def test_mixing_is_murmurhashs_finalizer():
    """MurmurHash3 (x86, 32 bits) of no bytes is the finalizer of its seed: 0x514E28B7 of 1, 0x81F16F39 of 2^32 - 1."""
    seeds = jnp.array([1, 2**32 - 1], jnp.uint32) - jnp.uint32(0x9E3779B9)  # mix adds this
    assert mix(seeds).tolist() == [0x514E28B7, 0x81F16F39]


def test_large_sizes_do_not_wrap_around():
    places = jnp.arange(2**31 - 1000, 2**31, dtype=jnp.uint32)
    found = np.asarray(permute(jnp.uint32(3), places, 2**31))
    assert found.min() >= 0 and len(np.unique(found)) == 1000


@pytest.mark.parametrize("n", [0, 2**31 + 1])
def test_sizes_that_fit_no_index_are_refused(n):
    with pytest.raises(ValueError, match=f"n={n} must be at least 1"):
        permute(jnp.uint32(0), jnp.zeros(1, jnp.uint32), n)


def test_a_place_is_evaluated_alone():
    assert whole(5, 1000)[[3, 999]].tolist() == permute(jnp.uint32(5), jnp.array([3, 999], jnp.uint32), 1000).tolist()


def test_every_permutation_of_four_is_equally_likely():
    """24 permutations, 24,000 orders: 1,000 of each expected. Also tests pairs and triples of places together."""
    orders = jnp.arange(24_000, dtype=jnp.uint32)
    found = jax.vmap(lambda order: permute(order, jnp.arange(4, dtype=jnp.uint32), 4))(orders)
    _, counts = np.unique(np.asarray(found) @ np.array([64, 16, 4, 1]), return_counts=True)
    assert len(counts) == 24
    assert 1e-4 < chisquare(counts).pvalue < 1 - 1e-4


@pytest.mark.parametrize("n", [10, 100])
def test_pairs_of_places_are_uniform(n):
    """Where two neighbours go: n * (n - 1) pairs, 40 of each expected."""
    pairs = n * (n - 1)
    orders = jax.random.bits(jax.random.key(0), (40 * pairs,), jnp.uint32)
    found = np.asarray(jax.vmap(lambda order: permute(order, jnp.array([n // 2, n // 2 + 1], jnp.uint32), n))(orders))
    counts = np.bincount(found @ np.array([n, 1]), minlength=n * n).reshape(n, n)
    assert not counts.diagonal().any()
    assert 1e-4 < chisquare(counts[~np.eye(n, dtype=bool)]).pvalue < 1 - 1e-4


def test_an_epoch_takes_every_record_once_and_the_next_in_another_order():
    n, batch = 1000, 128  # the 8th batch begins the second epoch
    order = name_order(jax.random.key(0))
    ticks = jnp.arange(24, dtype=jnp.int32)
    taken = np.asarray(jax.vmap(lambda index: epoch_indices(order, index, batch, n))(ticks)).ravel()
    epochs = taken[: 3 * n].reshape(3, n)
    assert (np.sort(epochs, axis=1) == np.arange(n)).all()
    for first, second in [(0, 1), (1, 2), (0, 2)]:
        # Two random orders agree in one place on average, and in more than 8 with a chance of one in a million.
        assert (epochs[first] == epochs[second]).sum() <= 8
        assert abs(np.corrcoef(epochs[first], epochs[second])[0, 1]) < 0.15


def test_rows_have_orders_of_their_own():
    names = [int(name_order(jax.random.key(seed))) for seed in range(100)]
    assert len(set(names)) == 100
    assert (whole(names[0], 1000) == whole(names[1], 1000)).sum() <= 8
