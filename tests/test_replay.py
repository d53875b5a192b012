"""The replay's ring against a list of everything that happened, and its tree of priorities against NumPy."""

from functools import partial

import jax
import jax.numpy as jnp
import known_values
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from research.numerics import replay
from research.numerics.priorities import draw_by_priority, importance, no_priorities, prioritize
from research.rl import experience

KEY = jax.random.key(0)
SHAPES = [(8, 2, 3), (6, 6, 1), (12, 3, 2)]  # slots, written by a tick, environments


def written(index: jnp.ndarray, length: int, environments: int) -> jnp.ndarray:
    """What tick `index` writes, i32[T,B]: a thousand times each step's number, and the environment's."""
    steps = index * length + jnp.arange(length, dtype=jnp.int32)
    return 1000 * steps[:, None] + jnp.arange(environments, dtype=jnp.int32)[None]


@partial(jax.jit, static_argnums=1)
def filled(ticks: jnp.ndarray, shape: tuple[int, int, int]) -> jnp.ndarray:
    slots, *tick = shape
    ring = replay.empty(jax.ShapeDtypeStruct(tick, jnp.int32), slots) - 1
    return jax.lax.fori_loop(0, ticks, lambda index, ring: replay.write(ring, written(index, *tick), index), ring)


def held(ticks: int, shape: tuple[int, int, int]) -> list[int]:
    """By a list of all that happened: the steps that a ring still holds."""
    slots, length, _ = shape
    return list(range(ticks * length))[-slots:]


@given(st.sampled_from(SHAPES), st.integers(1, 12))
def test_a_ring_holds_the_newest_steps_each_in_one_place(shape, ticks):
    expected = {1000 * step + b for step in held(ticks, shape) for b in range(shape[2])}
    ring = np.asarray(filled(jnp.int32(ticks), shape))
    assert set(ring.flatten()) - {-1} == expected and (ring >= 0).sum() == len(expected)


stretch = jax.jit(replay.stretch, static_argnums=(2, 3))


@given(st.sampled_from(SHAPES), st.integers(1, 12), st.integers(1, 8))
def test_all_stretches_that_are_whole_and_no_others_follow_on_in_time(shape, ticks, n):
    slots, length, environments = shape
    steps = [step for step in held(ticks, shape) if step + n <= ticks * length]  # whose n - 1 followers are there
    oldest, count = replay.complete(jnp.int32(ticks - 1), length, slots, n)
    assert int(count) == len(steps)
    i = np.arange(slots * environments, dtype=np.int32)  # always as many places, of which the first are asked about
    places = (int(oldest) * environments + i) % (slots * environments)
    found = np.asarray(stretch(filled(jnp.int32(ticks), shape), places, n, environments))[
        :, : len(steps) * environments
    ]
    expected = [[1000 * (step + later) + b for step in steps for b in range(environments)] for later in range(n)]
    assert found.tolist() == expected


draw = jax.jit(replay.draw, static_argnums=(3, 4, 5))


@given(st.integers(0, 7), st.integers(1, 8), st.integers(0, 2**31 - 1))
def test_every_place_among_those_named_is_as_likely(oldest, count, seed):
    size = 4000
    places = draw(jax.random.key(seed), jnp.int32(oldest), jnp.int32(count), 8, 3, size)
    counts = np.bincount((places - 3 * oldest) % 24, minlength=24)
    assert counts[count * 3 :].sum() == 0
    # A hundred examples: one in ten thousand such sets would fail.
    assert chisquare(counts[: count * 3]).pvalue > 1e-6


def test_under_vmap_a_write_is_still_one_block():
    """A scatter would rewrite the ring row by row; the compiled program holds a dynamic-update-slice and no scatter."""
    rings = jnp.zeros((4, 24))
    items = jnp.ones((4, 2, 3))
    write = jax.jit(jax.vmap(replay.write, in_axes=(0, 0, None)), donate_argnums=0)
    text = write.lower(rings, items, jnp.int32(3)).compile().as_text()
    assert " dynamic-update-slice(" in text and " scatter(" not in text


def test_a_place_in_the_ring_does_not_overflow():
    """Tick 2^31 - 3 writes its slots though its first step has a number that 32 bits do not hold."""
    index = jnp.int32(2**31 - 3)
    ring = replay.write(jnp.zeros(24), jnp.ones((2, 3)), index)
    first = (2**31 - 3) % 4 * 2
    assert np.flatnonzero(np.asarray(ring)).tolist() == list(range(3 * first, 3 * first + 6))
    oldest, count = replay.complete(index, 2, 8, 2)
    assert int(oldest) == (first + 2) % 8 and int(count) == 7


# Priorities

LEAVES, SIZE = 13, 64
PRIORITY = st.just(0.0) | st.floats(2.0**-20, 2.0**20, width=32)
prioritized = jax.jit(prioritize)


@given(st.lists(st.lists(st.tuples(st.integers(0, LEAVES - 1), PRIORITY), min_size=4, max_size=4), max_size=6))
def test_sums_of_priorities_are_right_to_the_bit_whatever_is_set(writes):
    """Each write names four leaves, some of them twice: the largest counts. No error builds up: every sum is that of the
    two below it."""
    tree, leaves = no_priorities(LEAVES), np.zeros(16, np.float32)
    assert tree.shape == (32,)
    for write in writes:
        chosen, given = (np.array(x) for x in zip(*write, strict=True))
        for leaf in chosen:
            leaves[leaf] = given[chosen == leaf].max()
        tree = prioritized(tree, chosen.astype(np.int32), given.astype(np.float32))
    sums = leaves
    while len(sums):
        np.testing.assert_array_equal(tree[len(sums) : 2 * len(sums)], sums)
        sums = sums[::2] + sums[1::2] if len(sums) > 1 else sums[:0]


TIMES = 2


@partial(jax.jit, static_argnums=(2, 3))
def drawn(seed: jnp.ndarray, priorities: jnp.ndarray, times: int, size: int) -> tuple[jnp.ndarray, jnp.ndarray]:
    tree = no_priorities(priorities.shape[0])
    tree = prioritize(tree, jnp.arange(priorities.shape[0], dtype=jnp.int32), priorities)
    return draw_by_priority(jax.random.key(seed), tree, times, size)


@given(
    st.sampled_from([1, 2, 3, LEAVES, 16]).flatmap(
        lambda leaves: st.lists(PRIORITY, min_size=leaves, max_size=leaves).filter(any)
    ),
    st.integers(0, 2**31 - 1),
)
def test_every_part_of_the_sum_gives_one_leaf_and_none_without_priority_is_drawn(priorities, seed):
    leaves, chances = map(np.asarray, drawn(np.uint32(seed), np.array(priorities, np.float32), TIMES, SIZE))
    leaves = leaves.reshape(TIMES, SIZE)
    share = np.array(priorities) / sum(priorities)
    assert (share[leaves] > 0).all()
    np.testing.assert_allclose(chances, share[leaves], rtol=1e-5)
    # Draw i falls into the i-th of equal parts, up to single precision: its leaf reaches into that part.
    ends, part = share.cumsum(), np.arange(SIZE)
    assert (ends[leaves] >= part[None] / SIZE - 1e-6).all()
    assert (ends[leaves] - share[leaves] <= (part[None] + 1) / SIZE + 1e-6).all()


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-24])
@pytest.mark.parametrize("priorities", [(0, 1, 0, 0, 2, 0, 0, 0), (2**24, 1.5, 0, 0)], ids=str)
def test_no_leaf_without_priority_is_drawn_where_a_part_begins_or_ends(uniform, priorities, monkeypatch):
    """The place of the first draw is 0 then, and that of the last is rounded to the whole sum, or beyond what is there."""
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape: jnp.full(shape, uniform, jnp.float32))
    tree = prioritize(no_priorities(len(priorities)), jnp.arange(len(priorities)), jnp.array(priorities, float))
    leaves, chances = draw_by_priority(KEY, tree, 1, SIZE)
    assert (np.array(priorities)[leaves] > 0).all() and (chances > 0).all()


def test_a_leaf_is_drawn_in_proportion_to_its_priority():
    """By chi-square over draws that are independent, each of one leaf; the parts of one draw are not."""
    priorities = np.array([1, 0, 2, 5, 0.5, 0, 0.25, 8, 1, 1, 3, 0, 4], np.float32)
    leaves = jax.vmap(lambda seed: drawn(seed, priorities, 1, 1)[0][0])(jnp.arange(20_000, dtype=jnp.uint32))
    counts = np.bincount(leaves, minlength=LEAVES)
    present = priorities > 0
    assert counts[~present].sum() == 0
    expected = 20_000 * priorities / priorities.sum()
    assert chisquare(counts[present], expected[present]).pvalue > 1e-3


@given(
    st.lists(st.floats(2.0**-20, 1.0, width=32), min_size=4, max_size=4),
    st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0),
    st.integers(4, 10**6),
)
def test_importance_weights_are_those_of_the_paper(chances, exponent, count):
    """(N P(i))^-beta over the largest of the batch (Schaul et al. 2016, section 3.4), whatever N is."""
    weights = (count * np.array(chances)) ** -exponent
    found = importance(jnp.array(chances, jnp.float32), jnp.float32(exponent))
    np.testing.assert_allclose(found, weights / weights.max(), rtol=1e-5)


# What is kept of observations


@pytest.mark.parametrize("shape", [(3,), (8,), (2, 5), (10, 10, 4)])
@pytest.mark.parametrize("binary", [True, False])
def test_what_is_stored_is_restored(shape, binary):
    environment = known_values.environment(known_values.KNOWN["seen"].task)
    environment = environment._replace(observation_shape=shape, binary=binary)
    seen = jax.random.normal(KEY, (7, 2, *shape))
    seen = (seen > 0).astype(jnp.float32) if binary else seen
    kept = experience.stored(environment, seen)
    assert kept.nbytes == (14 * -(-int(np.prod(shape)) // 8) if binary else seen.nbytes)
    np.testing.assert_array_equal(experience.restored(environment, kept), seen.reshape(7, 2, -1))
