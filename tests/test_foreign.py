"""Code that mixes types and ranks, called from tests that forbid it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest

from research.numerics.foreign import lenient, settle


def mixed_types(whole, *, parts):
    """int32 and a weak float."""
    return whole + parts.sum() / 2 + 0.5


def mixed_ranks(whole, *, parts):
    """i32[2] and i32[2,2]"""
    return whole + parts


@pytest.mark.parametrize(("mixed", "expected"), [(mixed_types, [2.5, 3.5]), (mixed_ranks, [[1, 2], [1, 2]])])
def test_lenient_code_runs_under_jaxs_rules_and_its_caller_under_his_own(mixed, expected):
    whole, parts = jnp.arange(2), jnp.ones((2, 2), jnp.int32)
    call = lenient(mixed)
    assert call(whole, parts=parts).tolist() == expected
    assert (call.__name__, call.__doc__) == (mixed.__name__, mixed.__doc__)
    with pytest.raises(ValueError, match="promotion"):
        mixed(whole, parts=parts)


class State(NamedTuple):
    count: jax.Array
    speed: jax.Array


def test_a_settled_state_does_not_compile_again():
    """A library begins with arrays, and leaves a Python number and a weak type."""
    begun = State(jnp.int32(0), jnp.float32(1))
    step = jax.jit(lambda state: state)
    step(begun)
    kinds = jax.eval_shape(lambda: begun)
    settled = settle(State(3, jnp.asarray(0.5)), kinds)
    assert step(settled) == (3, 0.5) and step._cache_size() == 1
    step(State(jnp.int32(3), jnp.asarray(0.5)))
    assert step._cache_size() == 2, "the weak type is what compiled again"
