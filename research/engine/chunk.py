"""A chunk: one row's ticks as a scan, its metrics folded over windows on the device.

These functions are written for one row; `placement.py` gives them rows and devices.
Dimensions: T ticks in a chunk, W windows in it (T / record_every).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from research.engine.experiment import Experiment, Ratio, Tick
from research.engine.files import COUNT, MARKS
from research.engine.keys import at_tick, stream

FINITE = "finite"


def begin(experiment: Experiment) -> Callable[..., Any]:
    """-> (seed u32[], hyper, data) -> state at tick 0. Raises ValueError for a state that cannot be saved."""

    def start(seed: Array, hyper: Any, data: Any) -> Any:
        state = jax.tree.map(jnp.asarray, experiment.init(stream(seed, "init"), hyper, data))
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
                raise ValueError(
                    f"state{jax.tree_util.keystr(path)} is a key, and a state holds none: "
                    "draw from `tick.key`, which is a function of seed and tick"
                )
        return state

    return start


def advance(experiment: Experiment, ticks: int, record_every: int) -> Callable[..., Any]:
    """-> (state, seed u32[], hyper, data, first i32[], total i32[], feed [T,...] or None) -> (state, metrics [W]).

    `first` is the index of the chunk's first tick. Metrics have a further entry `finite`, bool[W].
    """

    def chunk(state: Any, seed: Array, hyper: Any, data: Any, first: Array, total: Array, feed: Any) -> Any:
        step_stream = stream(seed, "step")

        def take(state: Any, moment: Any) -> Any:
            index, slice_ = moment
            tick = Tick(index, total, at_tick(step_stream, index), slice_)
            state, metrics = experiment.step(state, hyper, data, tick)
            metrics = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), metrics)
            check_metrics(metrics)
            return state, metrics

        def window(state: Any, moments: Any) -> Any:
            state, metrics = lax.scan(take, state, moments)
            return state, fold(metrics)

        moments = (first + jnp.arange(ticks, dtype=jnp.int32), feed)
        windows = jax.tree.map(lambda x: x.reshape(-1, record_every, *x.shape[1:]), moments)  # [W, record_every, ...]
        return lax.scan(window, state, windows)

    return chunk


def check_metrics(metrics: dict[str, Any]) -> None:
    """Raises ValueError for metrics that a record cannot hold, when a chunk is compiled."""
    for name, metric in metrics.items():
        if name in MARKS or name.endswith(COUNT):
            raise ValueError(
                f"metric {name!r} has a name that the record uses itself ({', '.join(MARKS)}, *{COUNT}); rename it"
            )
        shapes = {x.shape for x in jax.tree.leaves(metric)}
        if shapes != {()}:
            raise ValueError(f"metric {name!r} must be a scalar or a Ratio of two, not {shapes}; reduce it in `step`")


def fold(metrics: dict[str, Any]) -> dict[str, Any]:
    """Folds stacked metrics, dict of f32[T] or Ratio of f32[T], into one window: means, sums of Ratios, all finite."""

    def over(metric: Array | Ratio) -> Array | Ratio:
        return Ratio(metric.total.sum(), metric.count.sum()) if isinstance(metric, Ratio) else metric.mean()

    finite = jnp.array([jnp.isfinite(x).all() for x in jax.tree.leaves(metrics)]).all()
    return {name: over(metric) for name, metric in metrics.items()} | {FINITE: finite}


def alive(state: Any) -> Array:
    """bool[]: False where a state holds a NaN, and what it does is no result."""
    floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return ~jnp.array([jnp.isnan(x).any() for x in floats], bool).any()


def judge(experiment: Experiment) -> Callable[..., Any]:
    """-> (state, seed u32[], hyper, data, index i32[]) -> (alive bool[], outputs). Its keys are those of no tick.

    A state that holds a NaN is not alive: a dead network still has a largest logit and plays episodes to their end,
    and its figures would pass for a result.
    """

    def evaluate(state: Any, seed: Array, hyper: Any, data: Any, index: Array) -> Any:
        return alive(state), experiment.evaluate(at_tick(stream(seed, "evaluate"), index), state, hyper, data)

    return evaluate
