"""A lane: the rows of a plan on their devices, compiled once.

State and outputs go in and out as the placement holds them; ticks go in as plain ints.
"""

from typing import Any

import jax
import numpy as np

from research.engine.chunk import advance, begin, judge
from research.engine.experiment import Experiment, Inputs
from research.engine.placement import ROW, SHARED, Placement
from research.engine.plan import Plan


class Lane:
    """Places what does not change (data, seeds, hyper) once; holds no state."""

    def __init__(self, plan: Plan, experiment: Experiment, inputs: Inputs, placement: Placement) -> None:
        self.plan, self.experiment, self.inputs, self.placement = plan, experiment, inputs, placement
        self.seeds, self.hyper = map(placement.put_rows, plan.stacked(placement.width))
        self.data = placement.put_shared(inputs.data)
        self.total = placement.put_shared(np.int32(plan.ticks))
        self._advance: Any = None
        self._judges: dict[Any, Any] = {}

    def template(self) -> Any:
        """NumPy zeros [width, ...] in the state's structure, shapes and dtypes; nothing is compiled."""
        seed, hyper = jax.tree.map(lambda x: x[0], self.plan.stacked(1))
        shapes = jax.eval_shape(begin(self.experiment), seed, hyper, self.data)
        return jax.tree.map(lambda x: np.zeros((self.placement.width, *x.shape), x.dtype), shapes)

    def start(self) -> Any:
        """State at tick 0."""
        args = (self.seeds, self.hyper, self.data)
        return self.placement.compile(begin(self.experiment), (ROW, ROW, SHARED), args)(*args)

    def compile(self, state: Any) -> None:
        """Compiles the chunk and the evaluation, so that what is wrong shows before anything is written."""
        budget = self.plan.budget
        args = (state, self.seeds, self.hyper, self.data, self.total, self.total, self.feed(0))
        row = advance(self.experiment, budget.chunk, budget.record_every)
        self._advance = self.placement.compile(row, (ROW,) * 3 + (SHARED,) * 4, args, donate=True)
        self._judge(state, self.data)

    def feed(self, tick: int) -> Any:
        """What the chunk that begins at `tick` streams in, placed; or None."""
        feed = self.inputs.feed
        return None if feed is None else self.placement.put_shared(feed(tick, self.plan.budget.chunk))

    def advance(self, state: Any, tick: int, feed: Any) -> tuple[Any, Any]:
        """One chunk from `tick`. Consumes the state -> (state, metrics [width, W])."""
        at = self.placement.put_shared(np.int32(tick))
        return self._advance(state, self.seeds, self.hyper, self.data, at, self.total, feed)

    def evaluate(self, state: Any, tick: int, final: bool = False) -> dict[str, np.ndarray] | Any:
        """Outputs of `evaluate` as NumPy [width, ...], on `inputs.data` or on `inputs.final`."""
        data = self._placed_final() if final else self.data
        at = self.placement.put_shared(np.int32(tick))
        return self.placement.get_rows(self._judge(state, data)(state, self.seeds, self.hyper, data, at))

    def _judge(self, state: Any, data: Any) -> Any:
        shapes = tuple((x.shape, x.dtype) for x in jax.tree.leaves(data))
        if shapes not in self._judges:
            args = (state, self.seeds, self.hyper, data, self.total)
            self._judges[shapes] = self.placement.compile(judge(self.experiment), (ROW,) * 3 + (SHARED,) * 2, args)
        return self._judges[shapes]

    def _placed_final(self) -> Any:
        """`inputs.final` on the devices; arrays that it shares with `inputs.data` are not placed again."""
        placed = {id(x): y for x, y in zip(jax.tree.leaves(self.inputs.data), jax.tree.leaves(self.data), strict=True)}
        return jax.tree.map(
            lambda x: placed[id(x)] if id(x) in placed else self.placement.put_shared(x), self.inputs.final
        )
