"""One process's work on a run: chunks, record, evaluations and checkpoints, until the end or a signal."""

import contextlib
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from PIL import Image

from research.engine import processes
from research.engine.best import Best, best_figure, no_best, saved_tree
from research.engine.checkpoint import Checkpoints
from research.engine.chunk import FINITE
from research.engine.errors import Diverged, Interrupted
from research.engine.experiment import Ratio
from research.engine.fields import described
from research.engine.files import EVALUATIONS, MANIFEST, METRICS, TIMINGS, write_json
from research.engine.lane import Lane
from research.engine.plan import Plan
from research.engine.progress import Progress
from research.engine.record import Record, metric_lines, number
from research.engine.signals import Stop


class Viewer(Protocol):
    """Mirrors the record elsewhere (TensorBoard, Weights & Biases); never read back."""

    def lines(self, name: str, lines: list[dict[str, Any]]) -> None: ...
    def pictures(self, tick: int, pictures: dict[str, np.ndarray]) -> None: ...
    def close(self) -> None: ...


class Session(NamedTuple):
    """One process's work on a run: from an open folder to the run's end or to a signal.

    record  None in a process that does not lead: it works, and writes nothing
    """

    plan: Plan
    lane: Lane
    folder: Path
    manifest: dict[str, Any]
    checkpoints: Checkpoints | None
    record: Record | None
    progress: Progress
    viewers: list[Viewer]

    def go(
        self,
        state: Any,
        best: Best | None,
        tick: int,
        stop: Stop,
        save_seconds: float,
        profile: bool,
        heed_divergence: bool,
    ) -> None:
        plan, lane, total = self.plan, self.lane, self.plan.ticks
        steps_per_tick = plan.steps_per_tick * len(plan.rows)
        self.progress.begin(tick * steps_per_tick)
        first, saved_at, feed = tick, time.perf_counter(), lane.feed(tick) if tick < total else None
        stop.working = True
        while tick < total:
            begun = time.perf_counter()
            traced = profile and self.record and tick == min(first + plan.budget.chunk, total - plan.budget.chunk)
            with jax.profiler.trace(str(self.folder / "profile")) if traced else contextlib.nullcontext():
                state, metrics = lane.advance(state, tick, feed)
                # The next feed is read while the devices work.
                feed = lane.feed(tick + plan.budget.chunk) if tick + plan.budget.chunk < total else None
                metrics = lane.placement.get_rows(metrics)
            tick += plan.budget.chunk
            self.note_metrics(metrics, tick, time.perf_counter() - begun)
            if heed_divergence:
                self.refuse_divergence(metrics, tick)
            if tick % plan.budget.evaluate_every == 0 or tick == total:
                best = self.evaluate(state, tick, best)
            self.progress.advance(tick * steps_per_tick)
            asked = max(processes.gathered(np.int32(stop.signal)).tolist())  # to stop, in any process
            if tick == total or asked or time.perf_counter() - saved_at >= save_seconds:
                self.save(state, tick, best)
                saved_at = time.perf_counter()
            if asked and tick < total:
                raise Interrupted(
                    f"stopped by {signal.Signals(asked).name} at tick {tick} of {total}, saved in {self.folder}; "
                    "the same command, without --fresh, goes on from there",
                    asked,
                )
        if lane.inputs.final is not None:
            self.score(state, total, final=True)
        if self.record:
            self.record.sync()
            write_json(self.folder / MANIFEST, self.manifest | {"complete": True})

    def save(self, state: Any, tick: int, best: Best | None) -> None:
        """Commits a checkpoint, after the lines that it relies on."""
        if self.record and self.checkpoints:
            self.record.sync()
            self.checkpoints.save(tick, saved_tree(self.plan, self.lane.placement.get_rows(state), best))

    def note_metrics(self, metrics: dict[str, Any], tick: int, seconds: float) -> None:
        """Records a chunk's windows [R,W]."""
        every, chunk = self.plan.budget.record_every, self.plan.budget.chunk
        ticks = np.arange(tick - chunk + every, tick + 1, every)
        rows = len(self.plan.rows)
        self.append(METRICS, metric_lines(metrics, ticks, rows))
        self.append(TIMINGS, [{"tick": tick, "seconds": round(seconds, 6)}])
        self.progress.note({name: pooled(metrics[name], rows) for name in self.plan.recipe.watch if name in metrics})

    def refuse_divergence(self, metrics: dict[str, Any], tick: int) -> None:
        """Raises Diverged where no row is finite any more."""
        rows, every, chunk = len(self.plan.rows), self.plan.budget.record_every, self.plan.budget.chunk
        if not metrics[FINITE][:, -1].any():
            window = int(np.argmin(metrics[FINITE][0]))  # the first that is not finite
            row = self.plan.rows[0]
            bad = [
                name for name, m in metrics.items() if not all(np.isfinite(x[0, window]) for x in jax.tree.leaves(m))
            ]
            raise Diverged(
                f"{', '.join(bad) or 'a metric'} not finite in {'any row' if rows > 1 else 'the run'} "
                f"by tick {tick - chunk + (window + 1) * every} "
                f"(row 0: seed {row.seed}, {described(row.hyper._asdict())}); "
                "find the operation with --debug, or lower the step size"
            )

    def evaluate(self, state: Any, tick: int, best: Best | None) -> Best | None:
        """Records an evaluation; keeps the rows of `state`, the very state evaluated, that are the best so far."""
        figures = self.score(state, tick, final=False)
        if self.plan.recipe.best is None:
            return None
        value = best_figure(self.plan.recipe.best, figures)
        value = np.where(np.isnan(value), -np.inf, value)
        # A row's first evaluation is its best whatever it says.
        better = (value > best.value) | (best.tick == 0) if best else np.full(len(value), True)
        if not better.any():
            return best
        now = jax.tree.map(lambda x: x[: len(value)], self.lane.placement.get_rows(state))
        best = best or no_best(now)
        chosen = jax.tree.map(
            lambda new, old: np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old), now, best.state
        )
        return Best(np.where(better, value, best.value), np.where(better, tick, best.tick), chosen)

    def score(self, state: Any, tick: int, final: bool) -> dict[str, np.ndarray]:
        """Evaluates every row and records its figures -> dict of f64[R] by recorded name, NaN where a row diverged."""
        rows, inputs = len(self.plan.rows), self.lane.inputs
        figures, outputs = self.lane.figures(state, tick, final)
        prefix = self.lane.prefix(final)
        mark = {"final": True} if final else {}
        self.append(
            EVALUATIONS,
            [
                {"tick": tick, "row": row} | mark | {name: number(x[row]) for name, x in figures.items()}
                for row in range(rows)
            ],
        )
        self.progress.note({name: float(x.mean()) for name, x in figures.items() if name in self.plan.recipe.watch})
        if self.record and self.plan.recipe.pictures:
            self.save_pictures(self.plan.recipe.pictures(outputs, inputs.final if final else inputs.data), prefix, tick)
        return figures

    def save_pictures(self, pictures: dict[str, np.ndarray], prefix: str, tick: int) -> None:
        (self.folder / "pictures").mkdir(exist_ok=True)
        for name, pixels in pictures.items():
            Image.fromarray(pixels).save(self.folder / "pictures" / f"{prefix}{name}-{tick:08}.png")
        for viewer in self.viewers:
            viewer.pictures(tick, {prefix + name: pixels for name, pixels in pictures.items()})

    def append(self, name: str, lines: list[dict[str, Any]]) -> None:
        if self.record:
            self.record.append(name, lines)
        for viewer in self.viewers:
            viewer.lines(name, lines)


def pooled(metric: Any, rows: int) -> float:
    """One number for the progress line: over all rows, in the newest window; a Ratio over the whole chunk."""
    if isinstance(metric, Ratio):
        count = metric.count[:rows].sum()
        return float(metric.total[:rows].sum() / count) if count else float("nan")
    return float(metric[:rows, -1].mean())
