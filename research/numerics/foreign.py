"""Calling libraries that mix types and ranks, from a house that does not."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def lenient(function: Callable) -> Callable:
    """Libraries mix types and ranks; code that calls them runs under JAX's own rules, whatever the caller has set."""

    @functools.wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return function(*arguments, **named)

    return call


def settle(state: Any, kinds: Any) -> Any:
    """A state with the array types of `kinds`: Python numbers and weak types, which libraries leave in their states, would
    change from step to step and recompile."""
    return jax.tree.map(lambda x, kind: jnp.asarray(x, kind.dtype), state, kinds)
