"""Averages of parameters over a run."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def tail_average(average: Any, params: Any, index: Array, share: Array) -> Any:
    """The mean of the parameters after each tick so far, where later ticks count more (Shamir and Zhang 2013, section 4).

    average, params  pytrees of f[...]; params after tick `index` i32[]
    share            f32[] from 0 to 1; 1 counts all ticks alike, 0 none but the last
    With s = `share` and ticks t = 1, 2, ..., the newest one's weight is 1 / (s t), at most 1, so that tick t counts about
    like t**(1 / s - 1), and ticks are s / (1 + s) of the run so far old on average: like a plain mean over the last share
    2 s / (1 + s) of it. It needs one copy of the parameters, and is of use at any time of the run.
    """
    weight = 1.0 / jnp.maximum(share * (index.astype(jnp.float32) + 1.0), 1.0)
    return jax.tree.map(lambda old, new: old + weight.astype(old.dtype) * (new - old), average, params)
