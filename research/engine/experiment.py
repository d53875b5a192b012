"""The protocol: a run is four pure functions, and what changes from tick to tick is one argument.

Dimensions: R rows (independent runs in one program).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
from jax import Array


class Tick(NamedTuple):
    """What changes from step to step and is not state.

    index i32[]  ticks taken so far; the same for every row, never batched, so `lax.cond` on it stays a branch
    total i32[]  ticks in the whole run; schedules and annealing read `index / total`
    key   key[]  this row's randomness for this tick; consumed by the step
    feed         this tick's slice of a streamed input, or None
    """

    index: Array  # type: ignore[assignment]  # the field's name, not tuple.index
    total: Array
    key: Array
    feed: Any = None


class Ratio(NamedTuple):
    """A metric that is a quotient of sums: windows, chunks and rows add totals and counts, never means.

    total f32[], count f32[]; a mean over nothing (count 0) is recorded as null.
    """

    total: Array
    count: Array  # type: ignore[assignment]  # the field's name, not tuple.count


class Experiment(NamedTuple):
    """One kind of run, as four pure functions.

    init      (key, hyper, data) -> state
    step      (state, hyper, data, tick) -> (state, metrics)   metrics: dict of f32[] or Ratio
    evaluate  (key, state, hyper, data) -> outputs             arrays of fixed shape, compiled
    score     (outputs with a leading R axis, NumPy) -> dict[str, f64[R]]   on the host

    Keys are functions of seed and tick, so each evaluation has another: what must compare draws from a key of its own.
    """

    init: Callable[..., Any]
    step: Callable[..., tuple[Any, dict[str, Array | Ratio]]]
    evaluate: Callable[..., Any]
    score: Callable[[Any], dict[str, np.ndarray]]


class Inputs(NamedTuple):
    """What a run reads. Loaded once on the host, placed once on the devices.

    data   pytree of NumPy arrays, the `data` argument of init, step and evaluate
    final  pytree like `data` whose held-out part is the test set, given to `evaluate` once after the last tick;
           None where there is nothing to hold out. With it, figures are named validation_* and test_*; without, bare.
    note   what a reader of the result must know of this input; stands in the manifest and under every table
    feed   (first_tick, count) -> pytree of NumPy arrays [count, ...], a function of the tick; or None
    files  texts by file name, laid into the run folder: what a reader of its states needs, such as a vocabulary
    """

    data: Any
    final: Any = None
    note: str = ""
    feed: Callable[[int, int], Any] | None = None
    files: Mapping[str, str] = MappingProxyType({})
