"""The contract that every recipe and every probe keeps: what the engine promises holds for all of them. Of recipes that share
a program one stands for the others in `make test`; `make test-slow` runs the others."""

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import METHODS, NAMES, PROGRAMS, plan_of, tiny

from research.engine.chunk import advance, begin
from research.engine.errors import Interrupted
from research.engine.experiment import Inputs
from research.engine.lane import Lane
from research.engine.placement import Placement
from research.engine.plan import Plan, Recipe, Row
from research.engine.run import run
from research.engine.saved import last_tree


def every(quick: list[str]) -> pytest.MarkDecorator:
    """Over all recipes, slowly where not among `quick`. One worker takes all tests of one, which share its programs."""
    marks = lambda name: [pytest.mark.xdist_group(name), *([] if name in quick else [pytest.mark.slow])]
    return pytest.mark.parametrize("name", [pytest.param(name, marks=marks(name)) for name in NAMES])


every_recipe, every_method, every_program = every(NAMES), every(METHODS), every(PROGRAMS)


@functools.lru_cache(2)
def loaded(load: Callable[[Any], Inputs], setup: Any) -> Inputs:
    return load(setup)


def lane_of(plan: Plan, placement: Placement | None = None) -> Lane:
    return Lane(plan, loaded(plan.recipe.load, plan.setup), placement or Placement.choose(len(plan.rows), 1))


def different(recipe: Recipe, count: int) -> tuple[Row, ...]:
    """Each row with another seed and value of its first hyper-parameter, so that a misplaced row shows."""
    first = next(iter(recipe.hyper._asdict()))
    value = getattr(recipe.hyper, first)
    return tuple(Row(seed, recipe.hyper._replace(**{first: value * (1 - seed / 10)})) for seed in range(count))


def go(lane: Lane):
    """-> (state as NumPy [width,...], metrics as NumPy [width, windows]) at the end."""
    state, chunks = lane.start(), []
    for tick in range(0, lane.plan.ticks, lane.plan.budget.chunk):
        state, metrics = lane.advance(state, tick, lane.feed(tick))
        chunks.append(lane.placement.get_rows(metrics))
    return lane.placement.get_rows(state), jax.tree.map(lambda *x: np.concatenate(x, 1), *chunks)


def assert_same_bits(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), strict=True):
        assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"), jax.tree_util.keystr(path)


def assert_close(left, right, tolerance: float = 1e-4):
    """Equal up to rounding that a few dozen updates may grow: `tolerance` of the leaf's largest value."""
    for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(left), jax.tree.leaves(right), strict=True):
        scale = max(1.0, float(np.abs(np.asarray(a, np.float64)).max(initial=0)))
        error = float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max(initial=0))
        assert error <= tolerance * scale, f"{jax.tree_util.keystr(path)}: {error:g} of {scale:g}"


@every_recipe
def test_step_keeps_structure_shapes_and_dtypes(name):
    plan = plan_of(tiny(name), seeds=1)
    lane = lane_of(plan)
    seed, hyper = jax.tree.map(lambda x: x[0], plan.stacked(1))
    state = jax.eval_shape(begin(lane.experiment), seed, hyper, lane.data)
    row = advance(lane.experiment, 1, 1)
    feed = None if lane.inputs.feed is None else lane.inputs.feed(0, 1)
    after, metrics = jax.eval_shape(row, state, seed, hyper, lane.data, np.int32(0), np.int32(20), feed)
    assert jax.tree.structure(state) == jax.tree.structure(after)
    for (path, old), new in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(after), strict=True):
        where = jax.tree_util.keystr(path)
        assert (old.shape, old.dtype) == (new.shape, new.dtype), where
        assert not jnp.issubdtype(old.dtype, jax.dtypes.prng_key), f"{where}: a key in the state"
        assert not old.weak_type and not new.weak_type, f"{where}: a weak type"
    assert all(x.shape == (1,) for x in jax.tree.leaves(metrics)), "metrics are scalars"


@every_program
def test_second_chunk_new_hyper_and_new_length_do_not_compile(name, tmp_path):
    recipe = tiny(name)
    run(plan_of(recipe), tmp_path, device_count=1)
    first, value = next(iter(recipe.hyper._asdict().items()))
    longer = replace(recipe, budget=replace(recipe.budget, steps=2 * recipe.budget.steps))
    with compilations() as happened:
        run(plan_of(longer, **{first: value * 0.5}), tmp_path, device_count=1)
        assert not happened
        jax.jit(lambda x: x + 17)(1.0)
        assert happened, "compilations are heard"


@contextmanager
def compilations():
    """A list to which every compilation inside adds its event."""
    happened = []

    def listen(event: str, seconds: float, **_) -> None:
        if event.endswith("backend_compile_duration"):
            happened.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield happened
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


# XLA takes a scan of one tick apart, and a bias may be rounded another way: of these GANs unoptimised, as `make test`
# compiles, and of go-value optimised.
SHORTEST = dict.fromkeys(("gan-mnist", "gan-grid", "dcgan-mnist", "stacked-mnist", "dcgan-cifar10", "go-value"), 2)


@every_method
def test_chunk_length_does_not_change_bits(name):
    """The state's bits; a metric is folded after its tick, where one window's program may round another way.

    With XLA's present emitters, as users have them: the older ones, which make the tests' programs, do not keep this.
    """
    plan = plan_of(tiny(name))
    lane = lane_of(plan)

    def in_chunks_of(ticks: int):
        row = jax.vmap(advance(lane.experiment, ticks, 1), in_axes=(0, 0, 0, None, None, None, None))
        chunk = jax.jit(row, compiler_options={"xla_cpu_use_fusion_emitters": True})
        state, found = lane.start(), []
        for first in range(0, plan.ticks, ticks):
            feed = lane.inputs.feed and lane.inputs.feed(first, ticks)
            state, metrics = chunk(state, lane.seeds, lane.hyper, lane.data, np.int32(first), lane.total, feed)
            found.append(metrics)
        return jax.device_get((state, jax.tree.map(lambda *x: np.concatenate(x, 1), *found)))

    (state, metrics), *others = [in_chunks_of(ticks) for ticks in (SHORTEST.get(name, 1), 10)]
    for other_state, other_metrics in others:
        assert_same_bits(state, other_state)
        assert_close(metrics, other_metrics, 1e-6)


@every_program
def test_a_row_equals_its_solo_run(name):
    recipe = tiny(name)
    rows = different(recipe, 3)
    together, _ = go(lane_of(Plan(recipe, recipe.setup, rows, recipe.budget)))
    alone, _ = go(lane_of(Plan(recipe, recipe.setup, rows[-1:], recipe.budget)))
    assert_close(jax.tree.map(lambda x: x[-1:], together), alone)


@every_program
def test_nan_stays_in_its_row(name):
    recipe = tiny(name)
    lane = lane_of(plan_of(recipe, seeds=3))
    clean, _ = go(lane)
    first = next(iter(lane.hyper._asdict()))
    poisoned = lane.hyper._asdict() | {first: lane.hyper._asdict()[first].at[1].set(jnp.nan)}
    lane.hyper = type(recipe.hyper)(**poisoned)
    dirty, metrics = go(lane)
    assert any(np.isnan(x[1]).any() for x in jax.tree.leaves(dirty) if x.dtype.kind == "f"), "the poison works"
    keep = np.array([0, 2])
    assert_same_bits(jax.tree.map(lambda x: x[keep], clean), jax.tree.map(lambda x: x[keep], dirty))
    assert metrics["finite"][keep].all()


def conds(jaxpr) -> int:
    """Branches in a program, at any depth, but for those between platforms, which are taken while compiling."""
    inner = [x for e in jaxpr.eqns for x in jax.tree.leaves(list(e.params.values()), is_leaf=is_jaxpr) if is_jaxpr(x)]
    here = sum(e.primitive.name == "cond" and e.params.get("branches_platforms") is None for e in jaxpr.eqns)
    return here + sum(conds(getattr(x, "jaxpr", x)) for x in inner)


def is_jaxpr(x) -> bool:
    return hasattr(x, "eqns") or hasattr(x, "jaxpr")


@every_program
def test_branches_survive_the_rows(name):
    plan = plan_of(tiny(name), seeds=3)
    lane = lane_of(plan)
    row = advance(lane.experiment, 10, 5)
    args = (lane.seeds, lane.hyper, lane.data, np.int32(0), np.int32(20), lane.feed(0))
    state = lane.start()
    rows = jax.make_jaxpr(jax.vmap(row, in_axes=(0, 0, 0, None, None, None, None)))(state, *args)
    single = jax.make_jaxpr(row)(*jax.tree.map(lambda x: x[0], (state, *args[:2])), *args[2:])
    assert conds(rows.jaxpr) == conds(single.jaxpr)
    if name == "replay":
        assert conds(single.jaxpr) == 1


@every_program
def test_a_chunk_moves_nothing_between_host_and_device(name):
    lane = lane_of(plan_of(tiny(name)))
    state, feed = lane.start(), lane.feed(0)
    lane.compile(state)
    with jax.transfer_guard("disallow"):
        state, metrics = lane.advance(state, 0, feed)
        jax.block_until_ready(metrics)


@every_method
def test_rows_over_eight_devices_equal_solo_runs_and_never_talk(name):
    recipe = tiny(name)
    rows = different(recipe, 8)
    plan = Plan(recipe, recipe.setup, rows, recipe.budget)
    spread_out = lane_of(plan, Placement.choose(8, 8))
    assert spread_out.placement.maps_rows
    solo = [go(lane_of(Plan(recipe, recipe.setup, (row,), recipe.budget)))[0] for row in rows]
    eight, _ = go(spread_out)
    assert_close(jax.tree.map(lambda *x: np.concatenate(x), *solo), eight)
    program = spread_out._program(spread_out._chunk(spread_out.start(), spread_out.total, spread_out.feed(0)))
    for word in ("all-reduce", "all-gather", "all-to-all", "collective-permute", "reduce-scatter"):
        assert word not in program.as_text()


@every_program
def test_one_runs_batch_over_devices_equals_one_device(name):
    plan = plan_of(tiny(name), seeds=1)
    placement = Placement.choose(1, 2)
    assert placement.spreads_batch
    assert_close(go(lane_of(plan))[0], go(lane_of(plan, placement))[0])


def record_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("metrics.jsonl", "evaluations.jsonl")}


@pytest.fixture(scope="session")
def elsewhere():
    """(name, out) -> that recipe's run under `out`, which was stopped, at its end, by a process that has never begun a run."""
    command = [sys.executable, str(Path(__file__).with_name("resume_elsewhere.py"))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)

    def resume(name: str, out: Path) -> None:
        process.stdin.write(f"{name}\t{out}\n")
        process.stdin.flush()
        assert process.stdout.readline().strip() == name

    yield resume
    process.communicate()


@every_program
def test_saved_and_resumed_in_a_fresh_process_gives_the_same_bits(name, elsewhere, tmp_path, monkeypatch):
    plan, advance = plan_of(tiny(name)), Lane.advance

    def advance_and_be_stopped(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return advance(*args)

    with monkeypatch.context() as patch:
        patch.setattr(Lane, "advance", advance_and_be_stopped)
        with pytest.raises(Interrupted, match="stopped by SIGTERM at tick 10 of 20"):
            run(plan, tmp_path / "resumed", device_count=1)
    elsewhere(name, tmp_path / "resumed")
    resumed, whole = tmp_path / "resumed" / plan.name, run(plan, tmp_path / "whole", device_count=1)
    assert record_of(whole) == record_of(resumed)
    assert_same_bits(last_tree(plan, whole)[1], last_tree(plan, resumed)[1])
