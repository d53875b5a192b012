"""A lane: the rows of a plan on their devices.

State and outputs go in and out as the placement holds them; ticks go in as plain ints.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from research.engine.chunk import advance, begin, judge
from research.engine.experiment import Experiment, Inputs
from research.engine.files import MARKS
from research.engine.placement import ROW, SHARED, Placement
from research.engine.plan import Plan

# How devices talk to each other in a compiled program.
COLLECTIVE = re.compile("all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute")

# Programs compiled in this process. Lanes that differ in seeds, hyper-parameters or length share theirs.
_programs: dict[Any, Any] = {}


class Request(NamedTuple):
    """A call of a program: of what `builder(experiment, *numbers)` gives, whose arguments are rows' or shared by `axes`."""

    builder: Callable[..., Any]
    numbers: tuple[int, ...]
    axes: tuple[int | None, ...]
    arguments: tuple[Any, ...]
    donate: bool = False


class Lane:
    """Places what does not change (data, seeds, hyper) once; holds no state."""

    def __init__(self, plan: Plan, inputs: Inputs, placement: Placement) -> None:
        self.plan, self.inputs, self.placement = plan, inputs, placement
        self.experiment: Experiment = plan.experiment
        self.seeds, self.hyper = map(placement.put_rows, plan.stacked(placement.width))
        self.data = placement.put_shared(inputs.data)
        self.total = placement.put_shared(np.int32(plan.ticks))

    def template(self) -> Any:
        """NumPy zeros [width, ...] in the state's structure, shapes and dtypes; nothing is compiled."""
        rows = jax.vmap(begin(self.experiment), (ROW, ROW, SHARED))
        shapes = jax.eval_shape(rows, *self.plan.stacked(self.placement.width), self.data)
        return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), shapes)

    def start(self) -> Any:
        """State at tick 0."""
        return self._run(Request(begin, (), (ROW, ROW, SHARED), (self.seeds, self.hyper, self.data)))

    def compile(self, state: Any) -> None:
        """Compiles the chunk and the evaluation, so that what is wrong shows before anything is written.

        Raises ValueError where several devices would all do the same, because the recipe marks no batch with `spread`.
        """
        chunk = self._program(self._chunk(state, self.total, self.feed(0)))
        if self.placement.spreads_batch and not COLLECTIVE.search(chunk.as_text()):
            raise ValueError(
                f"{self.plan.recipe.name} marks no batch that several devices could share (see placement.spread), and each "
                "would do the whole work; use one device and process, or more seeds"
            )
        self._program(self._judge(state, self.data, self.total))

    def pad(self, rows: Any) -> Any:
        """Rows [R, ...] of NumPy arrays -> [width, ...]; the last one is repeated."""
        missing = self.placement.width - len(self.plan.rows)
        return jax.tree.map(lambda x: np.concatenate([x, np.repeat(x[-1:], missing, 0)]), rows)

    def memory(self, state: Any) -> int:
        """Bytes that the chunk's program needs on a device, by the compiler's account: arguments, results, temporaries."""
        found = self._program(self._chunk(state, self.total, self.feed(0))).memory_analysis()
        return (
            found.argument_size_in_bytes
            + found.output_size_in_bytes
            + found.temp_size_in_bytes
            - found.alias_size_in_bytes
        )

    def feed(self, tick: int) -> Any:
        """What the chunk that begins at `tick` streams in, placed; or None."""
        feed = self.inputs.feed
        return None if feed is None else self.placement.put_shared(feed(tick, self.plan.budget.chunk))

    def advance(self, state: Any, tick: int, feed: Any = None) -> tuple[Any, Any]:
        """One chunk from `tick`. Consumes the state -> (state, metrics [width, W])."""
        return self._run(self._chunk(state, self.placement.put_shared(np.int32(tick)), feed))

    def evaluate(self, state: Any, tick: int, final: bool) -> Any:
        """Which rows are alive, bool[width], and outputs of `evaluate` as NumPy [width, ...]; on `inputs.data` or
        on `inputs.final`."""
        data = self._placed_final() if final else self.data
        at = self.placement.put_shared(np.int32(tick))
        return self.placement.get_rows(self._run(self._judge(state, data, at)))

    def prefix(self, final: bool) -> str:
        """What stands before a figure's name in the record."""
        return "" if self.inputs.final is None else "test_" if final else "validation_"

    def figures(self, state: Any, tick: int, final: bool = False) -> tuple[dict[str, np.ndarray], Any]:
        """The scored evaluation of every row -> dict of f64[R] by recorded name, NaN where a row has diverged, and the
        outputs that were scored, [R, ...]."""
        rows = len(self.plan.rows)
        alive, outputs = jax.tree.map(lambda x: x[:rows], self.evaluate(state, tick, final))
        scored = {self.prefix(final) + name: np.asarray(x) for name, x in self.experiment.score(outputs).items()}
        for name, x in scored.items():
            if x.shape != (rows,) or name in MARKS:
                raise ValueError(
                    f"score gives {name!r} of shape {x.shape}; it must be one number for each of {rows} rows, under a "
                    f"name other than {', '.join(MARKS)}"
                )
        return {name: np.where(alive, x.astype(np.float64), np.nan) for name, x in scored.items()}, outputs

    def _chunk(self, state: Any, at: Any, feed: Any) -> Request:
        numbers = self.plan.budget.chunk, self.plan.budget.record_every
        arguments = state, self.seeds, self.hyper, self.data, at, self.total, feed
        return Request(advance, numbers, (ROW,) * 3 + (SHARED,) * 4, arguments, donate=True)

    def _judge(self, state: Any, data: Any, at: Any) -> Request:
        return Request(judge, (), (ROW,) * 3 + (SHARED,) * 2, (state, self.seeds, self.hyper, data, at))

    def _program(self, request: Request) -> Any:
        """The program for arguments of these shapes, compiled at most once."""
        builder, numbers, axes, arguments, donate = request
        leaves, treedef = jax.tree.flatten(arguments)
        shapes = tuple((x.shape, x.dtype) for x in leaves)
        key = (builder, self.plan.recipe.make, self.plan.setup, *numbers, self.placement, treedef, shapes)
        if key not in _programs:
            function = builder(self.experiment, *numbers)
            _programs[key] = self.placement.compile(function, axes, arguments, donate=donate)
        return _programs[key]

    def _run(self, request: Request) -> Any:
        return self._program(request)(*request.arguments)

    def _placed_final(self) -> Any:
        """`inputs.final` on the devices; arrays that it shares with `inputs.data` are not placed again."""
        placed = {id(x): y for x, y in zip(jax.tree.leaves(self.inputs.data), jax.tree.leaves(self.data), strict=True)}
        return jax.tree.map(
            lambda x: placed[id(x)] if id(x) in placed else self.placement.put_shared(x), self.inputs.final
        )
