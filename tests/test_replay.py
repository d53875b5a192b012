"""The replay's ring against a list of everything that happened, and its tree of priorities against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.numerics import replay

KEY = jax.random.key(0)
SLOTS, WRITTEN, ENVIRONMENTS = 8, 2, 3


def written(index: int) -> jnp.ndarray:
    """What tick `index` writes: each step's number, and the environment's behind the comma."""
    steps = index * WRITTEN + jnp.arange(WRITTEN, dtype=jnp.float32)
    return steps[:, None] + jnp.arange(ENVIRONMENTS)[None] / 10


def filled(ticks: int) -> jnp.ndarray:
    ring = replay.empty(written(0), SLOTS)
    for index in range(ticks):
        ring = jax.jit(replay.write)(ring, written(index), jnp.int32(index))
    return ring


@pytest.mark.parametrize("ticks", [1, 3, 4, 5, 9])
@pytest.mark.parametrize("n", [1, 2, 3])
def test_every_stretch_follows_on_in_time_and_each_is_as_likely(ticks, n):
    ring = filled(ticks)
    oldest, count = replay.complete(jnp.int32(ticks - 1), WRITTEN, SLOTS, n)
    steps = list(range(max(0, ticks * WRITTEN - SLOTS), ticks * WRITTEN - (n - 1)))  # whose n - 1 followers are there
    assert int(count) == len(steps)
    if not steps:
        return
    size = 6000
    places = replay.draw(KEY, oldest, count, SLOTS, ENVIRONMENTS, size)
    stretch = np.asarray(replay.stretch(ring, places, n))  # [n, M]
    np.testing.assert_allclose(stretch - stretch[0], np.broadcast_to(np.arange(n)[:, None], stretch.shape), atol=1e-5)
    expected = {round(step + environment / 10, 1) for step in steps for environment in range(ENVIRONMENTS)}
    found, counts = np.unique(stretch[0].round(1), return_counts=True)
    assert {round(float(x), 1) for x in found} == expected
    # Within five standard deviations of a binomial count.
    p = 1 / len(expected)
    assert np.abs(counts - size * p).max() <= 5 * np.sqrt(size * p * (1 - p)) + 1e-9


def test_a_tick_writes_its_own_slots_and_no_others():
    before, after = np.asarray(filled(4)), np.asarray(filled(5))
    assert (before[:WRITTEN] != after[:WRITTEN]).all()
    np.testing.assert_array_equal(before[WRITTEN:], after[WRITTEN:])


def test_under_vmap_a_write_is_still_one_block():
    """A scatter would rewrite the ring row by row; the compiled program holds a dynamic-update-slice and no scatter."""
    rings = jnp.zeros((4, SLOTS, ENVIRONMENTS))
    items = jnp.ones((4, WRITTEN, ENVIRONMENTS))
    write = jax.jit(jax.vmap(replay.write, in_axes=(0, 0, None)), donate_argnums=0)
    text = write.lower(rings, items, jnp.int32(3)).compile().as_text()
    assert " dynamic-update-slice(" in text and " scatter(" not in text


def test_priorities_add_up_whatever_is_set():
    tree, leaves = replay.no_priorities(13), np.zeros(16)
    assert tree.shape == (32,)
    random = np.random.default_rng(0)
    for _ in range(20):
        chosen = random.choice(13, 5, replace=False)
        leaves[chosen] = random.random(5)
        tree = jax.jit(replay.prioritize)(tree, jnp.array(chosen), jnp.array(leaves[chosen], jnp.float32))
        np.testing.assert_allclose(tree[16:], leaves, rtol=1e-6)
        sums = leaves
        while len(sums) > 1:
            sums = sums.reshape(-1, 2).sum(1)
            np.testing.assert_allclose(tree[len(sums) : 2 * len(sums)], sums, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("leaves", [1, 2, 3, 16, 17])
def test_a_leaf_is_drawn_in_proportion_to_its_priority(leaves):
    priorities = np.random.default_rng(leaves).random(leaves).astype(np.float32)
    priorities[leaves // 2] = 0.0 if leaves > 1 else 1.0
    tree = replay.prioritize(replay.no_priorities(leaves), jnp.arange(leaves), jnp.array(priorities))
    size = 4000
    drawn, chances = jax.jit(partial(replay.draw_by_priority, times=3, size=size))(KEY, tree)
    drawn = drawn.reshape(3, size)
    share = priorities / priorities.sum()
    np.testing.assert_allclose(chances, share[drawn], rtol=1e-4)
    for once in drawn:
        counts = np.bincount(once, minlength=leaves)
        # One draw from each part of the sum: a leaf's count misses its share by less than the two parts at its ends.
        assert np.abs(counts - size * share).max() <= 2
        assert (counts[priorities == 0] == 0).all()


def test_a_leaf_that_is_named_twice_gets_the_larger_priority():
    tree = replay.prioritize(replay.no_priorities(4), jnp.arange(4), jnp.array([9.0, 9.0, 9.0, 9.0]))
    tree = replay.prioritize(tree, jnp.array([1, 2, 1]), jnp.array([3.0, 5.0, 4.0]))
    assert tree.tolist() == [0, 27, 13, 14, 9, 4, 5, 9]


def test_importance_by_hand():
    # Chances 1/4 and 1/2, exponent 1/2: the rarer counts 1, the other sqrt(1/2).
    found = replay.importance(jnp.array([0.25, 0.5]), jnp.float32(0.5))
    np.testing.assert_allclose(found, [1.0, 0.5**0.5], rtol=1e-6)


def test_a_place_in_the_ring_does_not_overflow():
    """Tick 2^31 - 3 writes its slots though its first step has a number that 32 bits do not hold."""
    index = jnp.int32(2**31 - 3)
    ring = replay.write(jnp.zeros((SLOTS, ENVIRONMENTS)), jnp.ones((WRITTEN, ENVIRONMENTS)), index)
    first = (2**31 - 3) % (SLOTS // WRITTEN) * WRITTEN
    assert np.flatnonzero(np.asarray(ring)[:, 0]).tolist() == [first, first + 1]
    oldest, count = replay.complete(index, WRITTEN, SLOTS, 2)
    assert int(oldest) == (first + WRITTEN) % SLOTS and int(count) == SLOTS - 1
