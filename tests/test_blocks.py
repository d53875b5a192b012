"""Batches of what is evaluated at once, and sums over parts: the same as without them, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.numerics.blocks import map_blocks, summed

RECORDS = {"x": jnp.arange(5.0), "y": jnp.arange(10.0).reshape(5, 2)}


@pytest.mark.parametrize("size", [1, 2, 3, 5, 9])
def test_blocks_give_what_the_whole_gives(size):
    seen = []

    def function(block):
        seen.append(block["x"].shape[0])
        return {"sum": block["x"] + block["y"].sum(1), "row": block["y"] * 2}

    found = map_blocks(function, RECORDS, size)
    # x + y0 + y1 = n + 2n + 2n + 1
    np.testing.assert_array_equal(found["sum"], [1, 6, 11, 16, 21])
    np.testing.assert_array_equal(found["row"], 2 * np.arange(10.0).reshape(5, 2))
    assert set(seen) == {min(size, 5)}, "no block is larger than there are records"


def test_records_may_be_one_array():
    pairs = jnp.arange(10.0).reshape(5, 2)
    assert map_blocks(lambda block: block.sum(1), pairs, 4).tolist() == [1, 5, 9, 13, 17]


@pytest.mark.parametrize(("parts", "total"), [(1, 0.0), (2, 2.0), (3, 6.0)])
def test_parts_are_summed(parts, total):
    """Parts n = 0, 1, ... of n and -n, each counted twice."""
    n = jnp.arange(float(parts))
    found = summed(lambda part: {"twice": 2 * part["n"], "less": -part["n"]}, {"n": n})
    assert (float(found["twice"]), float(found["less"])) == (total, -total / 2)


@pytest.mark.parametrize("parts", [1, 2])
def test_one_part_needs_no_loop(parts):
    text = str(jax.make_jaxpr(lambda parts: summed(jnp.sin, parts))(jnp.ones((parts, 2, 1))))
    assert ("scan[" in text) == (parts > 1)
