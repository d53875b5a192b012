"""The engine piece by piece: budgets, keys, folding, lanes, the record, best states, divergence, debugging."""

import contextlib
import importlib.util
import io
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import FrozenInstanceError, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from own import linear
from rich.console import Console

from research.engine import chunk, manifest, placement, processes, progress, record, session, source
from research.engine.best import no_best
from research.engine.checkpoint import Checkpoints, first_line
from research.engine.debug import debug
from research.engine.errors import Damaged, Diverged, Interrupted
from research.engine.experiment import Experiment, Inputs, Ratio, Tick
from research.engine.fields import (
    AtMostHalf,
    BelowOne,
    Count,
    Fraction,
    Interval,
    Natural,
    NonNegative,
    Positive,
    check,
)
from research.engine.files import claim, read_json, read_lines, read_manifest, replacing, write_json
from research.engine.forms import is_figure, is_positive, whole_numbers
from research.engine.keys import SEEDS, at_tick, stream
from research.engine.lane import Lane
from research.engine.manifest import abandoned, differences, machine
from research.engine.placement import DETERMINISTIC, Placement, accelerator_installed, configure, spread
from research.engine.plan import Budget, Plan, Row, pack
from research.engine.record import Record, due, metric_lines, number
from research.engine.run import COMPLETE, run

RECIPE = replace(linear.recipe, budget=Budget(40, chunk=10, record_every=5, evaluate_every=20))


def plan(seeds: int = 2, recipe=RECIPE, **hyper: float) -> Plan:
    return Plan(
        recipe, recipe.setup, tuple(Row(seed, recipe.hyper._replace(**hyper)) for seed in range(seeds)), recipe.budget
    )


@pytest.mark.parametrize(
    ("budget", "steps_per_tick", "message"),
    [
        (Budget(1000, 64, 64, 64), 1, "steps=1000 is not a multiple of chunk=64; nearest: 960 or 1024"),
        (Budget(30, 64, 64, 64), 1, "steps=30 is not a multiple of chunk=64; nearest: 64"),
        (Budget(100, chunk=10, record_every=3), 1, "chunk=10 is not a multiple of record_every=3; nearest: 9 or 12"),
        (Budget(100, chunk=10, evaluate_every=25), 1, "evaluate_every=25 is not a multiple of chunk=10; nearest: 20 or 30"),
        (Budget(500, 2, 1, 2), 512, "steps=500 is not a multiple of chunk=2 ticks of 512 steps=1024; nearest: 1024"),
        (Budget(0), 1, "steps=0 must be at least 1"),
        (Budget(2**31, 1, 1, 1), 1, "steps=2147483648 makes more than 2147483647 ticks, which are counted in 32 bits"),
    ],
)  # fmt: skip
def test_a_budget_that_does_not_divide_is_refused(budget, steps_per_tick, message):
    with pytest.raises(ValueError) as error:
        budget.ticks(steps_per_tick)
    assert message in str(error.value)


def test_a_budget_counts_ticks():
    ticks = Budget(5120, chunk=5, record_every=5, evaluate_every=10).ticks(512)
    assert ticks == 10 and isinstance(ticks, int)
    assert Budget(2**31 - 1, 1, 1, 1).ticks(1) == 2**31 - 1


class Ranges(NamedTuple):
    rate: Positive = 0.1
    share: Fraction = 0.5
    law: Literal["even", "normal"] = "normal"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (Ranges(rate=0.0), "rate=0.0 must be above 0; usual: 0.1"),
        (Ranges(rate=-1.0), "rate=-1.0 must be above 0"),
        (Ranges(rate=float("nan")), "rate=nan must be above 0"),
        (Ranges(rate=float("inf")), "rate=inf must be above 0"),
        (Ranges(share=1.5), "share=1.5 must be at least 0 and at most 1; usual: 0.5"),
        (Ranges(share="x"), "share='x' must be of type float"),
        (Ranges(rate=True), "rate=True must be of type float"),
        (Ranges(law="odd"), "law='odd' must be one of 'even', 'normal'; usual: 'normal'"),
    ],
)
def test_values_outside_their_interval_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        check(values, Ranges())


def test_an_interval_holds_its_ends_where_it_says_so():
    assert Interval(0, 1).holds(0) and Interval(0, 1).holds(1)
    assert not Interval(0, 1, above=True).holds(0) and not Interval(0, 1, below=True).holds(1)


@pytest.mark.parametrize(
    ("kind", "rule", "held", "refused"),
    [
        (Positive, "above 0", (1e-9, 3), (0.0, -1e-9)),
        (NonNegative, "at least 0", (0.0, 3), (-1e-9, math.inf)),
        (Fraction, "at least 0 and at most 1", (0.0, 1.0), (-1e-9, 1.01)),
        (BelowOne, "at least 0 and below 1", (0.0, 0.99), (-1e-9, 1.0)),
        (AtMostHalf, "above 0 and at most 0.5", (1e-9, 0.5), (0.0, 0.51)),
        (Count, "at least 1", (1, 10**300), (0, 10**400)),
        (Natural, "at least 0", (0, 10**300), (-1,)),
    ],
)
def test_what_the_kinds_of_numbers_hold(kind, rule, held, refused):
    class Options(NamedTuple):
        x: kind = 1

    for value in held:
        check(Options(value), Options())
    for value in refused:
        with pytest.raises(ValueError) as error:
            check(Options(value), Options())
        assert str(error.value) == f"x={value!r} must be {rule}; usual: 1"


def test_training_and_evaluation_share_no_key():
    """split(k, 128)[:2] == split(k, 2): keys cut from one key collide, so purposes have streams of their own."""
    data = [jax.random.key_data(at_tick(stream(jnp.uint32(seed), purpose), jnp.int32(tick))).tolist()
            for seed in range(3) for purpose in ("init", "step", "evaluate") for tick in range(20)]  # fmt: skip
    assert len({tuple(key) for key in data}) == len(data)


def test_metrics_fold_to_means_and_sums_of_ratios():
    # means 2 and (1 + 4) / (1 + 3); one tick that is not finite marks its window
    folded = chunk.fold(
        {"loss": jnp.array([1.0, 3.0]), "returned": Ratio(jnp.array([1.0, 4.0]), jnp.array([1.0, 3.0]))}
    )
    assert folded["loss"] == 2 and folded["finite"]
    assert folded["returned"].total / folded["returned"].count == 1.25
    assert not chunk.fold({"loss": jnp.array([1.0, jnp.nan])})["finite"]


def test_metrics_are_f32_and_ticks_i32_whatever_a_step_gives_and_jax_is_set_to():
    ticks = []

    def step(state, hyper, data, tick):
        ticks.append(tick.index.dtype)
        return state, {"half": jnp.bfloat16(1), "double": np.float64(1), "right": True, "won": Ratio(1, np.int64(2))}

    row = chunk.advance(linear.make(RECIPE.setup)._replace(step=step), ticks=4, record_every=2)
    with jax.enable_x64(True):
        _, metrics = jax.eval_shape(row, (), np.uint32(0), (), (), np.int32(0), np.int32(4), None)
    assert {(x.shape, x.dtype.name) for x in jax.tree.leaves(metrics | {"finite": ()})} == {((2,), "float32")}
    assert {dtype.name for dtype in ticks} == {"int32"}


@pytest.mark.parametrize(
    ("state", "living"),
    [
        ({"weights": np.float32([[1, 2], [3, 4]]), "bias": np.float32(0), "count": np.int32(1)}, True),
        ({"weights": np.float32([[1, 2], [3, np.nan]]), "bias": np.float32(0), "count": np.int32(1)}, False),
        ({"weights": np.float32([[1, 2], [3, np.inf]]), "bias": np.float32(0)}, True),
        ({"count": np.int32(1)}, True),
    ],
)
def test_one_nan_ends_a_state(state, living):
    assert chunk.alive(state) == living


def test_ratios_are_recorded_with_their_counts_and_nothing_ended_is_null():
    ratio = Ratio(np.array([[6.0, 0.0]], np.float32), np.array([[4.0, 0.0]], np.float32))
    lines = metric_lines({"returned": ratio}, np.array([5, 10]), rows=1)
    assert lines == [
        {"tick": 5, "row": 0, "returned": 1.5, "returned.count": 4.0},
        {"tick": 10, "row": 0, "returned": None, "returned.count": 0.0},
    ]
    # Over rows: 6 from 4 episodes and 2 from 1 make 8 / 5, not the mean of 1.5 and 2; the third row fills the lane.
    three = Ratio(np.array([[6.0], [2.0], [9.0]]), np.array([[4.0], [1.0], [1.0]]))
    assert session.pooled(three, rows=2) == 1.6
    with np.errstate(all="raise"):
        assert np.isnan(session.pooled(Ratio(np.zeros((1, 2)), np.zeros((1, 2))), rows=1))
    # Of three windows the newest, 3 and 7, without the row that fills the lane.
    assert session.pooled(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 7.0], [0.0, 0.0, 0.0]]), rows=2) == 5


def test_numbers_are_written_short_and_exactly():
    assert number(np.float32(0.1)) == 0.1 and number(np.float32(np.nan)) is None and number(np.bool_(True)) is True
    assert np.float32(number(np.float32(1 / 3))) == np.float32(1 / 3)


@pytest.mark.parametrize("checked", [plan(1), RECIPE, RECIPE.budget], ids=["plan", "recipe", "budget"])
def test_a_plan_stays_as_it_was_checked(checked):
    with pytest.raises(FrozenInstanceError):
        setattr(checked, fields(checked)[0].name, None)


def test_a_plan_has_a_row():
    with pytest.raises(ValueError, match="seeds=0 must be at least 1; try seeds=1"):
        plan(0)


def test_a_seed_has_32_bits():
    assert Plan(RECIPE, RECIPE.setup, (Row(2**32 - 1, RECIPE.hyper),), RECIPE.budget).stacked(1)[0].tolist() == [
        2**32 - 1
    ]
    with pytest.raises(ValueError, match="seed=4294967296 must be at least 0 and below 4294967296"):
        Plan(RECIPE, RECIPE.setup, (Row(2**32, RECIPE.hyper),), RECIPE.budget)


def test_rows_are_packed_into_lanes_of_one_width():
    rows = [Row(seed, linear.Hyper()) for seed in range(5)]
    assert [len(lane) for lane in pack(rows, 2)] == [2, 2, 1]
    assert [len(lane) for lane in pack(rows, 1)] == [1] * 5
    lane = Plan(RECIPE, RECIPE.setup, tuple(rows[2:]), RECIPE.budget)
    seeds, hyper = lane.stacked(5)
    assert seeds.tolist() == [2, 3, 4, 4, 4] and hyper.learning_rate.shape == (5,)
    assert Placement.choose(5, 2).width == 6 and len(Placement.choose(3, None).devices) == 3
    with pytest.raises(ValueError, match="width=0 must be at least 1"):
        pack(rows, 0)


def test_padding_never_reaches_the_record(tmp_path):
    folder = run(plan(3), tmp_path, device_count=2)
    assert {line["row"] for line in read_lines(folder / "metrics.jsonl")} == {0, 1, 2}


def test_the_last_row_fills_a_lane():
    lane = Lane(plan(3), linear.load(RECIPE.setup), Placement.choose(3, 2))
    padded = lane.pad({"x": np.arange(6).reshape(3, 2)})
    assert padded["x"].tolist() == [[0, 1], [2, 3], [4, 5], [4, 5]]


def test_more_devices_than_there_are_is_refused():
    with pytest.raises(ValueError, match="device_count=9 must be at least 1 and at most the 8 devices here"):
        Placement.choose(9, 9)


def test_a_batch_that_does_not_divide_over_the_devices_is_refused():
    with jax.set_mesh(Placement.choose(1, 4).mesh):
        assert jax.eval_shape(spread, jnp.zeros((8, 2))).shape == (8, 2)
        for size, told in ((6, "4 or 8"), (3, "4")):
            with pytest.raises(ValueError) as error:
                jax.eval_shape(spread, jnp.zeros((size, 2)))
            assert str(error.value) == f"a batch of {size} does not divide over 4 devices; nearest: {told}"


def test_a_field_that_may_be_none_is_checked_where_it_is_not():
    class Options(NamedTuple):
        count: Count = 1
        more: Natural | None = None
        whatever: int | str | None = None

    check(Options(), Options())
    check(Options(more=0, whatever="x"), Options())
    with pytest.raises(ValueError, match="more=-1 must be at least 0"):
        check(Options(more=-1), Options())
    with pytest.raises(ValueError, match="more=1.5 must be of type int"):
        check(Options(more=1.5), Options())
    with pytest.raises(ValueError, match="count=None must be of type int"):
        check(Options(count=None), Options())


@dataclass
class Loose:
    """A dataclass that is not frozen."""

    size: int = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "../up"}, "name='../up' names a folder"),
        ({"name": 3}, "name=3 names a folder"),
        ({"setup": Loose()}, "must be an object of a frozen dataclass"),
        ({"setup": linear.Setup}, "must be an object of a frozen dataclass"),
        ({"hyper": (0.1,)}, "must be an object of a NamedTuple"),
        ({"setup": None}, "setup=None of recipe 'linear' must be an object of a frozen dataclass"),
        ({"setup": []}, "must be an object of a frozen dataclass"),
        ({"hyper": {"learning_rate": 0.1}}, "must be an object of a NamedTuple"),
        ({"load": "digits"}, "load='digits' of recipe 'linear' must be a function of a setup"),
        ({"budget": 2000}, "budget=2000 of recipe 'linear' must be a Budget"),
    ],
)
def test_what_is_no_recipe_is_refused_where_it_is_written(change, message):
    with pytest.raises(ValueError, match=message):
        replace(RECIPE, **change)


def test_a_field_of_several_numbers_takes_no_other_kind():
    class Options(NamedTuple):
        widths: tuple[int, ...] = (64, 64)
        rates: tuple[float, ...] = (0.5,)

    check(Options((), (1, 0.5)), Options())
    for value in ("x", 64, None, (None,), (64, "x"), (64, 1.5), (True,), [64]):
        with pytest.raises(ValueError, match=r"widths=.* must be a tuple of int; usual: \(64, 64\)"):
            check(Options(value), Options())


def test_differences_name_the_field():
    assert list(differences({"a": {"b": 1}, "c": 2}, {"a": {"b": 3}, "c": 2})) == ["a.b: 1 -> 3"]
    assert list(differences({"a": {"b": 1}}, {"c": None, "d": "x"})) == ['a: {"b": 1} -> null', 'd: null -> "x"']


def test_a_record_opens_at_a_tick_and_drops_what_is_past_it(tmp_path):
    path = tmp_path / "metrics.jsonl"
    five = '{"tick": 5, "row": 0}\n'
    path.write_text(five + '{"tick": 10, "row": 0}\n{"tick": 15, "row"')
    chunks = '{"tick": 5, "seconds": 1.0}\n{"tick": 10, "seconds": 1.0}\n'
    (tmp_path / "timings.jsonl").write_text(chunks)
    every_five = replace(plan(1), budget=Budget(40, chunk=5, record_every=5, evaluate_every=20))
    Record(tmp_path, 5, every_five)
    assert path.read_text() == five and (tmp_path / "timings.jsonl").read_text() == chunks[:28]
    path.write_text('{"tick": 5, "r\n{"tick": 10, "row": 0}\n')
    with pytest.raises(Damaged, match="metrics.jsonl line 1 is not a record"):
        Record(tmp_path, 5, every_five)


@pytest.mark.parametrize("kept", [(0, 1, 3), (0, 1, 1, 2, 3), (1, 0, 2, 3), (0, 1, 2)])
def test_a_record_that_has_lost_doubled_or_moved_a_line_is_not_gone_on_with(kept, tmp_path):
    lines = [f'{{"tick": {tick}, "row": {row}}}\n' for tick in (5, 10) for row in (0, 1)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines[i] for i in kept))
    (tmp_path / "timings.jsonl").write_text('{"tick": 10, "seconds": 1.0}\n')
    (tmp_path / "evaluations.jsonl").write_text("past the checkpoint: it would be cut")
    budget = Budget(40, chunk=10, record_every=5, evaluate_every=20)
    with pytest.raises(Damaged, match=r"metrics.jsonl has no line of tick \d+ and row \d where it should stand"):
        Record(tmp_path, 10, replace(plan(2), budget=budget))
    assert (tmp_path / "evaluations.jsonl").read_text() == "past the checkpoint: it would be cut"


def test_the_lines_that_are_due_by_a_tick():
    """One evaluation stands at the end, whether or not its turn has come."""

    def found(ticks: int, tick: int) -> dict[str, list]:
        budget = Budget(ticks, chunk=1, record_every=1, evaluate_every=2)
        return {name: list(lines) for name, lines in due(replace(plan(1), budget=budget), tick).items()}

    two = {"metrics.jsonl": [(1, 0), (2, 0)], "evaluations.jsonl": [(2, 0)], "timings.jsonl": [(1, None), (2, None)]}
    assert found(5, 2) == found(2, 2) == two
    assert found(5, 3)["evaluations.jsonl"] == [(2, 0)]
    assert found(5, 5)["evaluations.jsonl"] == [(2, 0), (4, 0), (5, 0)]


def test_a_lost_line_of_all_rows_is_named_by_its_tick(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"tick": 5, "row": 0}\n{"tick": 10, "row": 0}\n')
    with pytest.raises(Damaged, match="timings.jsonl has no line of tick 10 where it should stand"):
        Record(tmp_path, 10, plan(1))


def test_lines_are_on_disk_before_the_checkpoint_that_relies_on_them(tmp_path, monkeypatch):
    whole, synced, saved = Checkpoints.save, [], []
    names = {"metrics.jsonl", "evaluations.jsonl", "timings.jsonl"}
    folder = tmp_path / plan(1).name

    def lines_synced() -> set[str]:
        return {name for name in names if (folder / name).stat().st_ino in synced}

    def save(self, tick, tree):
        saved.append(lines_synced())
        synced.clear()
        whole(self, tick, tree)

    monkeypatch.setattr(record.os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    monkeypatch.setattr(Checkpoints, "save", save)
    run(plan(1), tmp_path, save_seconds=0)
    assert saved == [names] * 4 and lines_synced() == names, "and before the run is called complete"


def test_a_record_takes_no_number_that_json_has_no_word_for(tmp_path):
    opened = Record(tmp_path, 0, plan(1))
    with pytest.raises(ValueError, match="JSON"):
        opened.append("metrics.jsonl", [{"tick": 5, "row": 0, "loss": float("nan")}])
    assert read_lines(tmp_path / "metrics.jsonl") == []


def test_what_counts_as_a_number_in_a_file():
    largest = sys.float_info.max
    assert all(map(is_figure, (None, True, 0, -1.5, largest, -largest)))
    assert not any(map(is_figure, (10**400, math.inf, math.nan, "1", [1])))
    assert [is_positive(x) for x in (1e-9, 2, 0, -1, None, math.inf, "1")] == [True, True, *[False] * 5]
    assert whole_numbers({"steps": 1, "chunk": 2}) and not whole_numbers([1])
    assert not any(whole_numbers({"steps": 1, "chunk": x}) for x in (0, -1, 1.5, True, None))


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": 1})
    assert path.read_text() == '{\n  "a": 1\n}\n'
    with pytest.raises(KeyError), replacing(path) as part:
        part.write_text("half of it")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"] and read_json(path) == {"a": 1}


def test_files_are_utf_8_whatever_the_locale(tmp_path):
    """And what is no text at all, as in a path, stands there as Python writes it."""
    words = "from pathlib import Path; from research.engine.files import read_json, write_text; path = Path('a.json'); "
    words += r"write_text(path, '\"\xe9 \udcff\"'); print(ascii(read_json(path)))"
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    said = subprocess.run([sys.executable, "-c", words], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert said.stdout == "'\\xe9 \\udcff'\n", said.stderr
    assert (tmp_path / "a.json").read_bytes() == b'"\xc3\xa9 \\udcff"'


PACKAGE = {
    **dict.fromkeys(("engine/keys.py", "rl/ppo.py", "recipes/deep/ppo.py"), True),
    **dict.fromkeys(("report/stats.py", "studies/page.py", "sweep/grid.py", "catalog.py", "engine/saved.py"), False),
    **dict.fromkeys(("rl/pictures.py", "rl/my_pictures.py", "engine/notes.md", "../tests/test_ppo.py"), False),
}


def test_a_run_is_named_by_the_code_that_decides_it(tmp_path):
    package = tmp_path / "research"
    for name in PACKAGE:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("one = 1\n")
    copied = shutil.copy(source.__file__, package / "engine")

    def found() -> str:
        spec = importlib.util.spec_from_file_location("copied_source", copied)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        assert module.package_source() is module.package_source(), "read once"
        return module.package_source().hexdigest()

    for name, decides in PACKAGE.items():
        before = found()
        (package / name).write_text("one = 2\n")
        assert (found() != before) is decides, name
    (package / "rl" / "ppo.py").rename(package / "rl" / "ppo2.py")
    assert found() != before


def test_a_recipe_of_ones_own_is_named_by_its_file_or_in_a_notebook_by_its_function(tmp_path):
    ours = source.source_hash(run, None)
    assert re.fullmatch("[0-9a-f]{16}", ours) and source.source_hash(pack, None) == ours
    assert len({ours, *(source.source_hash(make, None) for make in (nan_above, counting))}) == 3
    assert source.source_hash(len, None) == ours, "what has no text"
    file, other = tmp_path / "own.py", tmp_path / "other.py"
    found = {ours}
    for path, text in ((file, "a = 1"), (file, "a = 2"), (other, "a = 2")):
        path.write_text(text)
        found |= {source.source_hash(run, path)}
    assert len(found) == 4


def test_what_bits_depend_on_is_recorded(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", f"--xla_b=2 {DETERMINISTIC} --xla_a=1")
    monkeypatch.setenv("NPROC", "3")
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    found = machine(Placement.choose(5, 2))
    told = {
        "device_count": 2,
        "lane_width": 6,
        "threads": "3",
        "lapack_threads": "2",
        "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "deterministic": True,
        "xla_flags": ["--xla_a=1", "--xla_b=2"],
    }
    assert {name: found[name] for name in told} == told
    monkeypatch.delenv("NPROC")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    monkeypatch.setenv("XLA_FLAGS", "")
    found = machine(Placement.choose(1))
    told = {
        "device_count": 1,
        "lane_width": 1,
        "threads": f"all {os.cpu_count()}",
        "lapack_threads": f"all {os.cpu_count()}",
        "deterministic": False,
        "xla_flags": [],
    }
    assert {name: found[name] for name in told} == told


def test_a_processor_without_a_file_of_its_own_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(manifest.platform, "processor", lambda: "arm")
    assert manifest.processor() == "arm"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "cpuinfo").write_text("processor : 0\nmodel name : Ours 3000\nmodel name : Ours 3000\n")
    assert manifest.processor() == "Ours 3000"


@pytest.mark.skipif(not shutil.which("git"), reason="needs git")
def test_the_revision_is_the_checkouts_and_says_whether_it_was_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "PACKAGE", tmp_path)
    assert manifest.revision() == {}

    def git(*words: str) -> str:
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    git("init")
    git("commit", "--allow-empty", "-m", "Nothing yet")
    assert manifest.revision() == {"revision": git("rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "file").touch()
    assert manifest.revision()["dirty"] is True


def test_every_window_is_recorded_once_for_each_row(tmp_path):
    folder = run(plan(2), tmp_path)
    lines = read_lines(folder / "metrics.jsonl")
    assert [(line["tick"], line["row"]) for line in lines] == [(t, r) for t in range(5, 41, 5) for r in range(2)]
    assert [line["tick"] for line in read_lines(folder / "evaluations.jsonl")] == [20, 20, 40, 40]


def nan_above(limit: float):
    """The linear experiment, whose loss is NaN from tick 12 on where the learning rate is above `limit`."""

    def make(setup):
        whole = linear.make(setup)

        def step(state, hyper, data, tick):
            state, metrics = whole.step(state, hyper, data, tick)
            bad = (hyper.learning_rate > limit) & (tick.index >= 12)
            return state, {"loss": metrics["loss"] + jnp.log(jnp.where(bad, -1.0, 1.0))}

        return whole._replace(step=step)

    return replace(RECIPE, make=make)


def test_a_run_that_diverges_in_the_last_window_of_a_chunk_stops_after_it_unless_that_is_a_result(tmp_path):
    """Ticks 18 and 19 are the fifth window of two, the last before tick 20."""

    def step(state, hyper, data, tick):
        one = jnp.float32(1)
        return state, {"fine": one, "loss": Ratio(jnp.log(jnp.where(tick.index >= 18, -one, one)), one)}

    one = plan(1, replace(with_step(step), budget=replace(RECIPE.budget, record_every=2)))
    with pytest.raises(Diverged, match="^loss not finite in the run by tick 20 "):
        run(one, tmp_path)
    folder = run(one, tmp_path, heed_divergence=False)
    assert read_manifest(folder)["complete"]
    assert [line["finite"] for line in read_lines(folder / "metrics.jsonl")] == [True] * 9 + [False] * 11


def test_a_single_run_that_diverges_stops_and_says_where(tmp_path):
    with pytest.raises(Diverged, match=r"loss not finite in the run by tick 15 \(row 0: seed 0, learning_rate=0.1\)"):
        run(plan(1, nan_above(0.05)), tmp_path)


def test_where_every_row_diverges_the_first_one_is_told(tmp_path):
    def step(state, hyper, data, tick):
        first = hyper.learning_rate > 0.05
        late = lambda row, start: jnp.log(jnp.where(row & (tick.index >= start), -1.0, 1.0))
        return state, {"loss": late(first, 12), "error": late(~first, 17)}

    rows = (Row(3, linear.Hyper(0.1)), Row(4, linear.Hyper(0.01)))
    recipe = with_step(step)
    with pytest.raises(Diverged, match=r"^loss not finite in any row by tick 15 \(row 0: seed 3, learning_rate=0.1\)"):
        run(Plan(recipe, recipe.setup, rows, recipe.budget), tmp_path)


def test_a_row_that_diverges_is_a_result(tmp_path):
    recipe = nan_above(0.05)
    rows = (Row(0, linear.Hyper(0.1)), Row(1, linear.Hyper(0.01)))
    folder = run(Plan(recipe, recipe.setup, rows, recipe.budget), tmp_path)
    last = read_lines(folder / "metrics.jsonl")[-2:]
    assert [(line["finite"], line["loss"] is None) for line in last] == [(False, True), (True, False)]


def test_a_row_whose_state_is_nan_has_no_figures(tmp_path):
    """A figure of a dead row may well be a number: an untrained net still has a largest logit."""
    whole = linear.make(RECIPE.setup)

    def step(state, hyper, data, tick):
        state, metrics = whole.step(state, hyper, data, tick)
        dead = hyper.learning_rate > 0.05
        return state._replace(slope=jnp.where(dead, jnp.nan, state.slope)), metrics

    experiment = whole._replace(step=step, evaluate=lambda key, state, hyper, data: jnp.float32(1))
    recipe = replace(RECIPE, make=lambda setup: experiment, best="error")
    rows = (Row(0, linear.Hyper(0.1)), Row(1, linear.Hyper(0.01)))
    folder = run(Plan(recipe, recipe.setup, rows, recipe.budget), tmp_path)
    assert [line["error"] for line in read_lines(folder / "evaluations.jsonl")] == [None, 1.0] * 2


def with_step(step) -> Any:
    """The linear recipe with another step."""
    return replace(RECIPE, make=lambda setup: linear.make(setup)._replace(step=step))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ({"tick": 0.0}, "metric 'tick' has a name that the record uses itself"),
        ({"loss.count": 0.0}, "metric 'loss.count' has a name"),
        ({"loss": jnp.zeros(3)}, r"metric 'loss' must be a scalar .* not {\(3,\)}"),
    ],
)
def test_metrics_that_a_record_cannot_hold_are_refused_before_anything_is_written(metrics, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        run(plan(2, with_step(lambda state, hyper, data, tick: (state, metrics))), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_key_in_the_state_is_refused_before_anything_is_written(tmp_path):
    keyed = replace(RECIPE, make=lambda setup: linear.make(setup)._replace(init=lambda key, hyper, data: {"k": key}))
    with pytest.raises(ValueError, match=r"state\['k'\] is a key, and a state holds none"):
        run(plan(2, keyed), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_misspelt_best_figure_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(ValueError, match="'eror' names no figure of an evaluation; there are error"):
        run(plan(2, replace(RECIPE, best="eror")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_evaluation_that_fails_does_so_before_anything_is_written(tmp_path):
    failing = linear.make(RECIPE.setup)._replace(evaluate=lambda key, state, hyper, data: data["z"])
    with pytest.raises(KeyError, match="z"):
        run(plan(1, replace(RECIPE, make=lambda setup: failing)), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_batch_that_nobody_divides_is_refused_on_several_devices():
    divided = with_step(lambda state, hyper, data, tick: (state, {"loss": spread(data["x"]).mean()}))
    for recipe, refused in ((RECIPE, pytest.raises(ValueError, match="linear marks no batch that several devices")),
                            (divided, contextlib.nullcontext())):  # fmt: skip
        lane = Lane(plan(1, recipe), linear.load(RECIPE.setup), Placement.choose(1, 2))
        with refused:
            lane.compile(lane.start())


def test_a_feed_is_asked_for_the_chunks_of_the_run_and_each_tick_gets_its_part(tmp_path):
    asked = set()

    def feed(first: int, ticks: int) -> np.ndarray:
        asked.add((first, ticks))
        return np.repeat(np.arange(first, first + ticks, dtype=np.float32), 3).reshape(ticks, 3)

    recipe = with_step(lambda state, hyper, data, tick: (state, {"loss": tick.feed[2]}))
    streaming = plan(1, replace(recipe, load=lambda setup: linear.load(setup)._replace(feed=feed)))
    folder = run(streaming, tmp_path)
    assert [line["loss"] for line in read_lines(folder / "metrics.jsonl")] == [2 + 5 * i for i in range(8)]
    lane = Lane(streaming, streaming.recipe.load(RECIPE.setup), Placement.choose(1, 1))
    assert lane.memory(lane.start()) > 0
    assert asked == {(first, 10) for first in range(0, 40, 10)}


def test_texts_of_the_input_lie_in_the_run_folder(tmp_path):
    recipe = replace(RECIPE, load=lambda setup: RECIPE.load(setup)._replace(files={"words.json": '["a"]\n'}))
    assert (run(plan(1, recipe), tmp_path) / "words.json").read_text() == '["a"]\n'


def test_numbers_that_a_program_cannot_hold_are_refused():
    for rate, held in ((1e-50, "0"), (1e39, "inf")):
        told = rf"learning_rate={re.escape(str(rate))} becomes {held} as a float32"
        with np.errstate(over="raise"), pytest.raises(ValueError, match=told):
            plan(1, learning_rate=rate)
    with pytest.raises(ValueError, match="steps=3000000000 makes more than 2147483647 ticks"):
        Budget(3_000_000_000).ticks(1)
    with pytest.raises(ValueError, match=f"seed={SEEDS} must be at least 0 and below {SEEDS}; usual: 0"):
        Plan(RECIPE, RECIPE.setup, (Row(SEEDS, RECIPE.hyper),), RECIPE.budget)


def test_numbers_at_the_ends_of_what_a_program_holds_are_taken():
    class Decays(NamedTuple):
        decay: NonNegative = 0.5

    recipe = replace(RECIPE, hyper=Decays())
    rows = tuple(Row(SEEDS - 1, Decays(decay)) for decay in (0.0, 1.0, 1e-38, 3e38))
    seeds, hyper = Plan(recipe, recipe.setup, rows, recipe.budget).stacked(4)
    assert seeds.tolist() == [SEEDS - 1] * 4 and hyper.decay.tolist() == [np.float32(row.hyper.decay) for row in rows]


@dataclass(frozen=True)
class WithFunction:
    act: Any = len


def test_a_setup_that_has_no_lasting_name_is_refused():
    recipe = replace(RECIPE, setup=WithFunction(), make=lambda setup: linear.make(RECIPE.setup))
    with pytest.raises(ValueError, match="<built-in function len> in a Setup cannot be part of a run's name"):
        _ = plan(1, recipe).name
    at_a_path = replace(plan(1, recipe), setup=WithFunction(Path("a", "b.txt")))
    assert at_a_path.identity()["setup"] == {"act": "a/b.txt"}


def counter(key, hyper, data):
    return {"count": jnp.zeros((), jnp.int32)}


def counting(best: str):
    """State counts ticks; the figure falls after tick 20, so that the best state is the one of tick 20."""

    def step(state, hyper, data, tick: Tick):
        return {"count": state["count"] + 1}, {"index": tick.index.astype(jnp.float32)}

    def evaluate(key, state, hyper, data):
        return -jnp.abs(state["count"] - 20).astype(jnp.float32)

    experiment = Experiment(counter, step, evaluate, lambda outputs: {"figure": outputs})
    return replace(
        RECIPE, make=lambda setup: experiment, load=lambda setup: Inputs(()), best=best,
        budget=Budget(40, chunk=10, record_every=10, evaluate_every=10),
    )  # fmt: skip


@pytest.mark.parametrize(("best", "tick"), [("figure", 20), ("-figure", 40)])
def test_the_best_state_is_the_one_that_was_evaluated(best, tick, tmp_path):
    """Not the one from before the chunk."""
    folder = run(plan(2, counting(best)), tmp_path)
    checkpoints = Checkpoints(folder / "checkpoints")
    state = {"count": np.zeros(2, np.int32)}
    saved = checkpoints.restore(40, {"state": state, "best": no_best(state)._asdict()})
    checkpoints.close()
    assert saved["best"]["tick"].tolist() == [tick, tick]
    assert saved["best"]["state"]["count"].tolist() == [tick, tick]
    assert saved["state"]["count"].tolist() == [40, 40]


def test_each_row_keeps_its_own_best_state_however_often_the_run_is_stopped(tmp_path, monkeypatch):
    """A row's first evaluation is its best whatever it says, a number is better than none, the first of equals stays."""
    figures = jnp.array([[jnp.nan] * 3, [jnp.nan, 1, 0], [3, 1, 3]])  # of three rows, at ticks 20, 40 and 60

    def step(state, hyper, data, tick):
        return jax.tree.map(lambda x: x + 1, state), {"index": tick.index}

    def evaluate(key, state, hyper, data):
        return figures[hyper.learning_rate.astype(jnp.int32) - 1, state["count"] // 20 - 1]

    init = lambda key, hyper, data: {"count": jnp.zeros((), jnp.int32), "trail": jnp.zeros(2)}
    experiment = Experiment(init, step, evaluate, lambda outputs: {"figure": outputs})
    recipe = replace(
        RECIPE, make=lambda setup: experiment, best="figure", budget=Budget(60, chunk=10, evaluate_every=20)
    )
    rows = tuple(Row(0, linear.Hyper(rate)) for rate in (1.0, 2.0, 3.0))
    three = Plan(recipe, recipe.setup, rows, recipe.budget)
    with monkeypatch.context() as patch:
        stop_after_one_chunk(patch)
        for _ in range(5):
            with pytest.raises(Interrupted):
                run(three, tmp_path / "stopped", device_count=2)
    state = {"count": np.zeros(3, np.int32), "trail": np.zeros((3, 2), np.float32)}
    for out in ("stopped", "whole"):
        folder = run(three, tmp_path / out, device_count=2)  # of four rows, the last one of which fills the lane
        checkpoints = Checkpoints(folder / "checkpoints", read_only=True)
        best = checkpoints.restore(60, {"state": state, "best": no_best(state)._asdict()})["best"]
        checkpoints.close()
        assert best["tick"].tolist() == best["state"]["count"].tolist() == [20, 40, 20]
        assert best["value"].tolist() == [-np.inf, 1, 3]
        assert best["state"]["trail"].tolist() == [[20, 20], [40, 40], [20, 20]]


def test_every_function_is_given_hyper_and_data(tmp_path):
    """From 1/2 + x, x = -1, forty steps of 1/2 lead to 19.5; the evaluation adds 1/2 * x."""

    def init(key, hyper, data):
        return {"sum": hyper.learning_rate + data["x"][0]}

    def step(state, hyper, data, tick):
        return {"sum": state["sum"] + hyper.learning_rate}, {"loss": data["x"][0]}

    def evaluate(key, state, hyper, data):
        return state["sum"] + hyper.learning_rate * data["x"][0]

    experiment = Experiment(init, step, evaluate, lambda outputs: {"error": outputs})
    whole = plan(2, replace(RECIPE, make=lambda setup: experiment), learning_rate=0.5)
    folder = run(whole, tmp_path)
    assert [line["error"] for line in read_lines(folder / "evaluations.jsonl")] == [9.0, 9.0, 19.0, 19.0]
    debug(whole)


def test_the_test_set_is_scored_once_at_the_end(tmp_path):
    seen = []

    def make(setup):
        evaluate = lambda key, state, hyper, data: jnp.float32(len(data["x"]))
        return linear.make(setup)._replace(evaluate=evaluate, score=lambda x: seen.append(x[0]) or {"error": x})

    def load(setup):
        data = linear.load(setup).data
        return Inputs(data, final={"x": data["x"][:7], "y": data["y"][:7]})

    folder = run(plan(2, replace(RECIPE, make=make, load=load)), tmp_path)
    lines = read_lines(folder / "evaluations.jsonl")
    assert [sorted(set(line) - {"tick", "row"}) for line in lines[::2]] == [
        ["validation_error"], ["validation_error"], ["final", "test_error"]
    ]  # fmt: skip
    assert seen == [256, 256, 7]
    assert [line.get("final") for line in lines] == [None] * 4 + [True] * 2
    assert read_manifest(folder)["final"] is True and read_manifest(run(plan(2), tmp_path))["final"] is False


def chunks_take(seconds: float, monkeypatch) -> None:
    """Sets a clock that stands still but for the chunks (s)."""
    now, whole = [100.0], Lane.advance

    def advance(self, state, tick, feed):
        now[0] += seconds
        return whole(self, state, tick, feed)

    monkeypatch.setattr(session.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(Lane, "advance", advance)


def test_a_run_that_goes_on_shows_its_rate_and_newest_figures(tmp_path, monkeypatch):
    """Ten steps of each of two rows in 5.1 s are 4 in a second; 40 more take 10 s. It goes on from 20 of 80."""
    half_done(tmp_path, monkeypatch, 2)
    chunks_take(5.1234567, monkeypatch)
    said, noted, whole = io.StringIO(), [], session.Session.note_metrics
    note = lambda self, metrics, *when: noted.extend(jax.tree.leaves(metrics)) or whole(self, metrics, *when)
    monkeypatch.setattr(session.Session, "note_metrics", note)
    folder = run(plan(2), tmp_path, device_count=1, console=Console(file=said, width=200))
    lines = [line.removeprefix(folder.name).strip() for line in said.getvalue().splitlines()]
    assert lines[0] == "compiling, to go on from tick 10"
    shown = [f"{share}%  4 updates/s  0:{left} left" for share, left in ((50, 10), ("75", "05"), (100, "00"))]
    assert [line.split("  loss")[0] for line in lines[1:]] == shown
    newest = {name: float(x) for name, x in re.findall(r"(loss|error) (\S+)", lines[-1])}
    expected = {
        name: pytest.approx(np.mean([line[name] for line in read_lines(folder / file)[-2:]]), rel=1e-3)
        for name, file in (("loss", "metrics.jsonl"), ("error", "evaluations.jsonl"))
    }
    assert newest == expected
    assert [line["seconds"] for line in read_lines(folder / "timings.jsonl")[1:]] == [5.123457] * 3
    assert {type(x) for x in noted} == {np.ndarray}, "waited for, so that its seconds are the chunk's"


def test_a_terminal_has_its_cursor_back_after_a_run(tmp_path):
    said = io.StringIO()
    run(plan(1), tmp_path, console=Console(file=said, force_terminal=True, width=100))
    assert [said.getvalue().count(f"\x1b[?25{shown}") for shown in "lh"] == [1, 1]
    assert "compiling" in said.getvalue() and "100%" in said.getvalue()


def test_the_second_chunk_of_a_run_is_traced_or_the_only_one_that_is_left(tmp_path, monkeypatch):
    done, whole = [], Lane.advance
    advance = lambda self, state, tick, feed: done.append(tick) or whole(self, state, tick, feed)
    trace = lambda path: contextlib.nullcontext(done.append(path))
    monkeypatch.setattr(Lane, "advance", advance)
    monkeypatch.setattr(session.jax.profiler, "trace", trace)
    folder = run(plan(1), tmp_path / "whole", profile=True)
    assert done == [0, str(folder / "profile"), 10, 20, 30]
    with monkeypatch.context() as patch:
        stop_after_one_chunk(patch)
        for _ in range(3):
            with pytest.raises(Interrupted):
                run(plan(1), tmp_path / "rest", profile=True)
    assert done[5:] == [0, 10, 20], "none of these came to a second chunk"
    folder = run(plan(1), tmp_path / "rest", profile=True)
    assert done[8:] == [str(folder / "profile"), 30]


def test_a_feed_is_asked_for_every_chunk_and_for_nothing_past_the_end(tmp_path):
    asked = []

    def feed(first, count):
        asked.append((first, count))
        return np.arange(first, first + count, dtype=np.float32)

    load = lambda setup: RECIPE.load(setup)._replace(feed=feed)
    recipe = replace(with_step(lambda state, hyper, data, tick: (state, {"fed": tick.feed})), load=load)
    folder = run(plan(1, recipe), tmp_path)
    assert set(asked) == {(0, 10), (10, 10), (20, 10), (30, 10)}
    assert [line["fed"] for line in read_lines(folder / "metrics.jsonl")] == [5 * window + 2 for window in range(8)]
    (folder / "manifest.json").write_text(json.dumps(read_manifest(folder) | {"complete": False}))
    run(plan(1, recipe), tmp_path)  # as where it was killed after its last checkpoint
    assert set(asked) == {(0, 10), (10, 10), (20, 10), (30, 10)} and read_manifest(folder)["complete"]


def test_what_relies_on_the_record_is_written_after_it(tmp_path, monkeypatch):
    done: list[str] = []

    def note(owner, name):
        whole = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *what: done.append(name) or whole(*what))

    for owner, name in ((Record, "sync"), (Checkpoints, "save"), (Checkpoints, "close"), (session, "write_json")):
        note(owner, name)
    run(plan(1), tmp_path)
    assert done == ["sync", "save", "sync", "write_json", "close"]


def test_what_test_and_validation_share_lies_on_a_device_once():
    data = linear.load(RECIPE.setup).data
    lane = Lane(plan(1), Inputs(data, final=data | {"y": data["y"][:7]}), Placement.choose(1, 1))
    final = lane._placed_final()
    assert final["x"] is lane.data["x"] and final["y"].shape == (7,)


def test_a_checkpoint_is_saved_as_often_as_asked_for_and_at_the_end(tmp_path, monkeypatch):
    whole, saved = session.Session.save, []
    monkeypatch.setattr(
        session.Session, "save", lambda self, state, tick, best: saved.append(tick) or whole(self, state, tick, best)
    )
    folder = run(plan(1), tmp_path / "often", save_seconds=0)
    assert saved == [10, 20, 30, 40]
    run(plan(1), tmp_path / "seldom", save_seconds=3600)
    assert saved[4:] == [40]
    assert not (folder / "profile").exists()
    chunks_take(5, monkeypatch)
    run(plan(1), tmp_path / "half as often", save_seconds=10)
    assert saved[5:] == [20, 40]


def test_fresh_sets_the_older_folder_aside(tmp_path):
    folder = run(plan(1), tmp_path)
    before = (folder / "metrics.jsonl").read_bytes()
    assert run(plan(1), tmp_path, fresh=True) == folder
    older = tmp_path / f"{folder.name}.old-1"
    assert (older / "metrics.jsonl").read_bytes() == before
    (older / "kept").touch()
    run(plan(1), tmp_path, fresh=True)
    assert {path.name for path in tmp_path.iterdir()} == {folder.name, older.name, f"{folder.name}.old-2"}
    assert (older / "kept").exists()


def test_a_file_in_the_folders_place_is_set_aside(tmp_path):
    folder = tmp_path / plan(1).name
    folder.write_text("notes")
    assert run(plan(1), tmp_path) == folder and read_manifest(folder)["complete"]
    assert folder.with_name(f"{folder.name}.old-1").read_text() == "notes"


def test_a_folder_in_use_is_neither_gone_on_with_nor_set_aside(tmp_path, monkeypatch):
    folder = half_done(tmp_path, monkeypatch)
    handle = claim(folder)
    for fresh in (False, True):
        with pytest.raises(ValueError, match="is in use: one process at a time may write there"):
            run(plan(1), tmp_path, fresh=fresh)
    os.close(handle)
    assert list(tmp_path.iterdir()) == [folder]
    assert read_manifest(run(plan(1), tmp_path))["complete"]


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda outputs: {"error": outputs[:1]}, r"score gives 'error' of shape \(1,\); .* each of 2 rows"),
        (lambda outputs: {"row": outputs}, "score gives 'row' of shape .* other than tick, row, final, finite"),
    ],
)
def test_figures_that_a_record_cannot_hold_are_refused(score, message, tmp_path):
    recipe = replace(RECIPE, make=lambda setup: linear.make(setup)._replace(score=score))
    with pytest.raises(ValueError, match=message):
        run(plan(2, recipe), tmp_path)


class Watching:
    """A viewer that writes down in `seen` what it is shown."""

    def __init__(self, seen):
        self.seen = seen

    def __call__(self, folder, manifest, tick):
        self.seen.append(("opened", folder.name, tick))
        return self

    def lines(self, name, lines):
        pass

    def pictures(self, tick, pictures):
        self.seen.append((tick, {name: pixels.tolist() for name, pixels in pictures.items()}))

    def close(self):
        self.seen.append(("closed",))


def test_pictures_of_each_evaluation_lie_in_the_folder_and_reach_the_viewers(tmp_path):
    def load(setup):
        return Inputs(linear.load(setup).data, final={"x": np.ones(3, np.float32), "y": np.ones(3, np.float32)})

    def pictures(outputs, data):
        return {"size": np.full((1, 1, 3), len(data["x"]) % 256, np.uint8)}

    viewed, recipe = [], replace(RECIPE, load=load, pictures=pictures)
    folder = run(plan(1, recipe), tmp_path, viewers=[Watching(viewed)])
    whole, few = [[[0, 0, 0]]], [[[3, 3, 3]]]  # 256 points, and the 3 of the test set
    shown = [(20, {"validation_size": whole}), (40, {"validation_size": whole}), (40, {"test_size": few})]
    assert viewed == [("opened", folder.name, 0), *shown, ("closed",)]
    names = ["test_size-00000040.png", "validation_size-00000020.png", "validation_size-00000040.png"]
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == names


def test_a_run_that_is_complete_says_so(tmp_path, monkeypatch):
    """On a terminal, too, without a number in colours; and to its other processes."""
    said, viewed, told = io.StringIO(), [], []
    folder = run(plan(1), tmp_path)
    before = (folder / "metrics.jsonl").read_bytes()
    terminal = Console(file=said, width=200, force_terminal=True, color_system="standard")
    monkeypatch.setattr(processes, "from_leader", lambda tick: told.append(int(tick)))
    assert run(plan(1), tmp_path, console=terminal, viewers=[Watching(viewed)]) == run(plan(1), tmp_path) == folder
    assert said.getvalue() == f"{folder.name} is complete already; --fresh repeats it\n" and told == [COMPLETE] * 2
    assert viewed == [("opened", folder.name, 40), ("closed",)] and (folder / "metrics.jsonl").read_bytes() == before


def test_a_run_that_other_code_began_is_told_of_and_left_alone(tmp_path, monkeypatch):
    older = half_done(tmp_path, monkeypatch).rename(tmp_path / "linear-0ther")
    manifest = json.loads((older / "manifest.json").read_text())
    (older / "manifest.json").write_text(json.dumps(manifest | {"source": "of last week"}))
    before, said = (older / "metrics.jsonl").read_bytes(), io.StringIO()
    yellow = Console(file=said, width=400, force_terminal=True, color_system="standard", highlight=False)
    folder = run(plan(1), tmp_path, console=yellow)
    assert f"\x1b[33m{older} is unfinished, but other code began it: it is not resumed" in said.getvalue()
    assert (older / "metrics.jsonl").read_bytes() == before
    said.truncate(0)
    run(plan(1), tmp_path, console=yellow, fresh=True)
    assert "other code" not in said.getvalue(), "who starts over expects nothing to be gone on with"
    shutil.rmtree(folder)
    assert read_manifest(run(plan(1), tmp_path))["complete"], "nobody to tell"


def test_only_the_same_run_of_other_code_is_told_of_where_it_is_unfinished(tmp_path):
    own = {"recipe": "toy", "setup": {"a": 1}, "rows": [{"seed": 0, "hyper": {}}], "budget": {"steps": 1}}
    own |= {"machine": {}, "source": "now"}
    older = own | {"source": "of last week"}
    changed = {"setup": {"a": 2}, "rows": [{"seed": 1, "hyper": {}}], "budget": {"steps": 2}, "complete": True}
    found = {"toy-older": older, "toy-own": own, "other-older": older, "toy-damaged": 3}
    found |= {f"toy-{name}": older | {name: value} for name, value in changed.items()}
    for name, content in found.items():
        (tmp_path / name).mkdir()
        write_json(tmp_path / name / "manifest.json", content)
    assert list(abandoned(tmp_path / "toy-new", own)) == [tmp_path / "toy-older"]


def test_a_run_is_named_by_what_decides_it(tmp_path):
    names = {
        plan(1).name, plan(2).name, plan(1, learning_rate=0.2).name,
        plan(1, replace(RECIPE, budget=replace(RECIPE.budget, steps=80))).name,
        replace(plan(1), setup=linear.Setup(batch_size=16)).name,
        plan(1, replace(RECIPE, file=Path(linear.__file__))).name,
    }  # fmt: skip
    assert len(names) == 6 and all(re.fullmatch("linear-[0-9a-f]{8}", name) for name in names)
    assert plan(1).name == plan(1).name


def test_a_runs_name_does_not_depend_on_the_order_of_what_decides_it(monkeypatch):
    whole, before = Plan.identity, plan(1).name
    monkeypatch.setattr(Plan, "identity", lambda self: dict(reversed(whole(self).items())))
    assert plan(1).name == before


def test_a_manifest_says_how_to_read_a_runs_figures(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    Path("own.py").write_text("")
    recipe = replace(RECIPE, steps_per_tick=lambda setup: 2, unit="pairs", best="-error", file=Path("own.py"))
    told = {"unit": "pairs", "watch": ["error", "loss"], "best": "-error", "steps_per_tick": 2}
    told |= {"file": str(tmp_path.resolve() / "own.py")}
    assert {name: plan(1, recipe).manifest()[name] for name in told} == told


def stop_after_one_chunk(patch) -> None:
    whole = session.Session.note_metrics

    def note_and_stop(self, metrics, tick, seconds):
        whole(self, metrics, tick, seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(session.Session, "note_metrics", note_and_stop)


def half_done(tmp_path, monkeypatch, seeds: int = 1) -> Path:
    """A run folder whose run was stopped after its first chunk."""
    with monkeypatch.context() as patch:
        stop_after_one_chunk(patch)
        told = "^stopped by SIGTERM at tick 10 of 40, saved in .*; the same command, .* from there$"
        with pytest.raises(Interrupted, match=told) as stopped:
            run(plan(seeds), tmp_path, device_count=1)
        assert stopped.value.together
    return tmp_path / plan(seeds).name


def test_a_folder_of_another_run_is_refused_with_the_fields_named(tmp_path, monkeypatch):
    folder = half_done(tmp_path, monkeypatch)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["budget"]["steps"] = 80
    (folder / "manifest.json").write_text(json.dumps(manifest))
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"holds another run \(budget.steps: 80 -> 40\).*--fresh"):
        run(plan(1), tmp_path)
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_machine_is_refused_unless_asked_for(tmp_path, monkeypatch):
    folder = half_done(tmp_path, monkeypatch, 2)
    with pytest.raises(ValueError, match=r"another machine \(device_count: 1 -> 2\).*--other-machine"):
        run(plan(2), tmp_path, device_count=2)
    run(plan(2), tmp_path, device_count=2, other_machine=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["machine"]["device_count"] == 2 and manifest["earlier_machines"][0]["device_count"] == 1


def test_padded_rows_move_to_another_number_of_devices_and_back(tmp_path, monkeypatch):
    """Three rows are three on one device, and four, of which one repeats, on two."""
    half_done(tmp_path, monkeypatch, 3)
    with monkeypatch.context() as patch:
        stop_after_one_chunk(patch)
        with pytest.raises(Interrupted):
            run(plan(3), tmp_path, device_count=2, other_machine=True)
    folder = run(plan(3), tmp_path, device_count=1, other_machine=True)
    moved = json.loads((folder / "manifest.json").read_text())["earlier_machines"]
    assert [machine["lane_width"] for machine in moved] == [3, 4]
    stayed = run(plan(3), tmp_path / "stayed", device_count=1)
    for a, b in zip(*(read_lines(x / "metrics.jsonl") for x in (folder, stayed)), strict=True):
        assert a == pytest.approx(b, rel=1e-4)


def test_other_data_is_another_run(tmp_path):
    folder = run(plan(1), tmp_path)
    data = linear.load(RECIPE.setup).data
    other = replace(RECIPE, load=lambda setup: Inputs(data | {"y": data["y"] + 1}))
    with pytest.raises(ValueError, match=r"holds another run \(data: .*--fresh"):
        run(plan(1, other), tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["complete"] and re.fullmatch("[0-9a-f]{16}", manifest["data"])


@pytest.mark.parametrize("seconds", [(3600.0,), (30.0, 30.5)])
def test_a_record_whose_checkpoints_are_gone_is_not_erased(seconds, tmp_path, monkeypatch):
    folder = without_checkpoints(tmp_path, monkeypatch, seconds)
    before = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(Damaged, match="holds a record, but no checkpoint to go on from"):
        run(plan(1), tmp_path)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_record_of_a_minute_without_a_checkpoint_is_begun_again(tmp_path, monkeypatch):
    """As where a run was killed before its first one, which comes after half a minute and the chunk that it is at."""
    folder = without_checkpoints(tmp_path, monkeypatch, (60.0, None))
    assert run(plan(1), tmp_path) == folder and read_manifest(folder)["complete"]
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def without_checkpoints(tmp_path, monkeypatch, seconds) -> Path:
    """A run folder without its checkpoints, whose chunks took so long."""
    folder = half_done(tmp_path, monkeypatch)
    shutil.rmtree(folder / "checkpoints")
    lines = [json.dumps({"tick": 10 * (i + 1), "seconds": x}) + "\n" for i, x in enumerate(seconds)]
    (folder / "timings.jsonl").write_text("".join(lines))
    return folder


NO_MANIFEST = dict.fromkeys(("[]", "null", "{}", '{"rows": []}'), "is not a run's manifest")
NO_MANIFEST |= {"{": "is not JSON", "NaN": "is not JSON .NaN is no number", "1e999": "is not JSON .1e999 is no number"}


@pytest.mark.parametrize("text", NO_MANIFEST)
def test_a_damaged_manifest_is_named(text, tmp_path, monkeypatch):
    folder = half_done(tmp_path, monkeypatch)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(Damaged, match=f"manifest.json {NO_MANIFEST[text]}"):
        run(plan(1), tmp_path, other_machine=True)


def test_a_signal_before_the_first_chunk_stops_at_once(tmp_path):
    def make(setup):
        whole = linear.make(setup)
        return whole._replace(init=lambda *arguments: os.kill(os.getpid(), signal.SIGTERM) or whole.init(*arguments))

    with pytest.raises(Interrupted, match="stopped by SIGTERM before the first chunk") as stopped:
        run(plan(1, replace(RECIPE, make=make)), tmp_path)
    assert not stopped.value.together, "another process may be in its chunk"


def test_a_signal_in_the_last_chunk_changes_nothing(tmp_path, monkeypatch):
    stop_after_one_chunk(monkeypatch)
    folder = run(plan(1, replace(RECIPE, budget=Budget(10, evaluate_every=10))), tmp_path)
    assert read_manifest(folder)["complete"]


def test_a_signal_to_any_process_of_a_run_stops_it(tmp_path, monkeypatch):
    """Here after its first tick, the smallest from which it can go on."""
    few = plan(1, replace(RECIPE, budget=Budget(3, 1, 1, 1)))
    gather = lambda x: np.stack([x, x]) if np.ndim(x) else np.array([x, signal.SIGTERM])  # digests agree
    with monkeypatch.context() as patch, pytest.raises(Interrupted, match="stopped by SIGTERM at tick 1 of 3"):
        patch.setattr(processes, "gathered", gather)
        run(few, tmp_path)
    assert [line["tick"] for line in read_lines(run(few, tmp_path) / "metrics.jsonl")] == [1, 2, 3]


def test_a_second_ctrl_c_stops_within_the_chunk(tmp_path, monkeypatch):
    whole = session.Session.note_metrics
    seen: list[int] = []

    def interrupted(self, metrics, tick, seconds):
        whole(self, metrics, tick, seconds)
        seen.append(tick)
        os.kill(os.getpid(), signal.SIGINT)
        seen.append(-tick)
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(session.Session, "note_metrics", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(plan(1), tmp_path)
    assert seen == [10, -10], "the first asks to stop after the chunk, the second waits for nothing"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_run_in_a_thread_leaves_the_signals_alone(tmp_path):
    before, found = signal.getsignal(signal.SIGTERM), []
    thread = threading.Thread(target=lambda: found.append(run(plan(1), tmp_path)))
    thread.start()
    thread.join()
    assert read_manifest(found[0])["complete"] and signal.getsignal(signal.SIGTERM) is before


def test_a_truncated_checkpoint_is_named_and_nothing_else_is_touched(tmp_path, monkeypatch):
    folder = half_done(tmp_path, monkeypatch)
    parts = [path for path in (folder / "checkpoints" / "10").rglob("*") if path.is_file() and path.parent.name == "d"]
    for part in parts:
        part.write_bytes(part.read_bytes()[: part.stat().st_size // 2])
    with pytest.raises(Damaged, match="checkpoint .*10 .*start over with --fresh"):
        run(plan(1), tmp_path)


def test_a_process_that_hears_of_a_complete_run_does_nothing(tmp_path, monkeypatch):
    """Process 0 has read so in the manifest, and the others never look into the folder."""
    monkeypatch.setattr(processes, "leads", lambda: False)
    monkeypatch.setattr(processes, "from_leader", lambda tick: np.int32(COMPLETE))
    recipe = with_step(lambda state, hyper, data, tick: pytest.fail("it works"))
    assert run(plan(1, recipe), tmp_path) == tmp_path / plan(1, recipe).name
    assert not list(tmp_path.iterdir())


def test_a_process_that_does_not_lead_works_alike_and_writes_nothing(tmp_path, monkeypatch):
    states: dict[int, Any] = {}
    whole = session.Session.save

    def save(self, state, tick, best):
        states[tick] = jax.device_get(state)
        whole(self, state, tick, best)

    monkeypatch.setattr(session.Session, "save", save)
    run(plan(2), tmp_path / "leader", device_count=1, save_seconds=0)
    leads, states, said, viewed = states, {}, io.StringIO(), []
    from_leader = iter([np.int32(10), leads[10]])
    monkeypatch.setattr(processes, "leads", lambda: False)
    monkeypatch.setattr(processes, "from_leader", lambda mine: next(from_leader))
    how = {"device_count": 1, "save_seconds": 0, "viewers": [Watching(viewed)], "console": Console(file=said)}
    run(plan(2), tmp_path / "other", **how)
    assert not (tmp_path / "other").exists() and not viewed and not said.getvalue()
    assert list(states) == [20, 30, 40]
    for tick in states:
        jax.tree.map(np.testing.assert_array_equal, states[tick], leads[tick])


def test_processes_of_a_run_have_one_plan_and_machine_but_threads_of_their_own(tmp_path, monkeypatch):
    def told(one: Plan, device_count: int = 1, threads: str = "1") -> bytes:
        digests: list[bytes] = []
        for name in ("NPROC", "OPENBLAS_NUM_THREADS"):
            monkeypatch.setenv(name, threads)
        monkeypatch.setattr(processes, "agree", lambda digest: digests.append(digest.tobytes()) or [].pop())
        with pytest.raises(IndexError):
            run(one, tmp_path, device_count=device_count)
        return digests[0]

    other = replace(RECIPE, load=lambda setup: Inputs({"x": np.zeros(3, np.float32)}))
    same = told(plan(2))
    assert told(plan(2), threads="3") == same
    assert len({same, told(plan(2, learning_rate=0.2)), told(plan(2), 2), told(plan(2, other))}) == 4
    assert not list(tmp_path.iterdir())


def test_the_last_two_checkpoints_are_kept_and_a_damaged_one_tells_of_the_other(tmp_path):
    checkpoints, tree = Checkpoints(tmp_path), {"x": np.arange(4, dtype=np.float32)}
    for tick in (10, 20, 30):
        checkpoints.save(tick, tree)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["20", "30"]
    with pytest.raises(Damaged, match=r"30 .*; remove that folder and the run goes on from tick 20$"):
        checkpoints.restore(30, {"x": np.zeros(4, np.float64)})
    with pytest.raises(Damaged, match=r"20 .*; start over with --fresh$"):
        checkpoints.restore(20, {"x": np.zeros(4, np.float64)})
    checkpoints.close()


def test_a_reader_of_checkpoints_changes_nothing(tmp_path):
    """Three, the last but one of which a crash kept from being removed, and one that is being written."""
    checkpoints, tree = Checkpoints(tmp_path / "own"), {"x": np.arange(4, dtype=np.float32)}
    for tick in (20, 30):
        checkpoints.save(tick, tree)
    checkpoints.close()
    shutil.copytree(tmp_path / "own" / "20", tmp_path / "own" / "10")
    half = tmp_path / "own" / "40.orbax-checkpoint-tmp"
    half.mkdir()
    before = sorted(tmp_path.rglob("*"))
    reader = Checkpoints(tmp_path / "own", read_only=True)
    assert reader.latest() == 30 and reader.restore(30, tree)["x"].tolist() == [0, 1, 2, 3]
    with pytest.raises(Damaged, match=r"30 .* goes on from tick 20$"):
        reader.restore(30, {"x": np.zeros(4, np.float64)})
    reader.close()
    assert Checkpoints(tmp_path / "nowhere", read_only=True).latest() is None
    assert sorted(tmp_path.rglob("*")) == before
    goes_on = Checkpoints(tmp_path / "own")
    goes_on.save(50, tree)  # waits for the rest to be removed
    goes_on.close()
    assert not half.exists(), "who goes on with the run removes what a crash left"


def test_an_error_is_told_in_one_line():
    assert first_line(ValueError("\nNo space left\non any device\n")) == "No space left"
    assert first_line(ValueError("x" * 300)) == "x" * 200 and first_line(KeyError()) == "KeyError"


@pytest.mark.parametrize("begun", [True, False])
def test_a_checkpoint_that_cannot_be_written_leaves_nothing_and_the_older_one(begun, tmp_path, monkeypatch):
    """In place of a full disk, whose own test runs in a process of its own."""
    checkpoints, tree = Checkpoints(tmp_path), {"x": np.arange(4, dtype=np.float32)}
    checkpoints.save(10, tree)

    def full(tick, args):
        if begun:
            (tmp_path / str(tick) / "state").mkdir(parents=True)
        raise RuntimeError("No space left on device\nand forty lines more")

    monkeypatch.setattr(checkpoints._orbax_manager, "save", full)
    with pytest.raises(OSError, match=f"no checkpoint could be written to {tmp_path}: No space left on device$"):
        checkpoints.save(20, tree)
    assert [path.name for path in tmp_path.iterdir() if path.name.isdigit()] == ["10"]
    assert checkpoints.restore(10, tree)["x"].tolist() == [0, 1, 2, 3]
    checkpoints.close()


def test_changed_bytes_in_a_checkpoint_are_noticed(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": np.arange(4, dtype=np.float32)})
    with pytest.raises(Damaged, match="does not hold the bytes that were saved"):
        checkpoints.restore(1, {"x": np.zeros(4, np.float64)})
    assert checkpoints.restore(1, {"x": np.zeros(4, np.float32)})["x"].tolist() == [0, 1, 2, 3]
    checkpoints.close()


def test_an_array_without_elements_is_kept(tmp_path):
    """As the state of pgx's minatar-asterix has one."""
    checkpoints = Checkpoints(tmp_path)
    tree = {"x": np.arange(3, dtype=np.int32), "none": np.zeros((2, 0), np.float32)}
    checkpoints.save(1, tree)
    found = checkpoints.restore(1, jax.tree.map(np.zeros_like, tree))
    assert found["x"].tolist() == [0, 1, 2] and found["none"].shape == (2, 0) and found["none"].dtype == np.float32
    with pytest.raises(Damaged, match="does not hold the bytes that were saved"):
        checkpoints.restore(1, tree | {"none": np.zeros((3, 0), np.float32)})
    checkpoints.close()


def test_two_processes_never_write_one_folder(tmp_path):
    handle = claim(tmp_path)
    held = len(os.listdir("/dev/fd"))
    with pytest.raises(ValueError, match="is in use"):
        claim(tmp_path)
    assert len(os.listdir("/dev/fd")) == held, "a refused claim keeps no file open"
    os.close(handle)
    os.close(claim(tmp_path))


def test_debug_names_row_seed_hyper_parameters_and_tick():
    recipe = nan_above(0.05)
    rows = (Row(7, linear.Hyper(0.01)), Row(8, linear.Hyper(0.1)))
    with pytest.raises(FloatingPointError, match="in log") as error:  # the operation, not what became of it
        debug(Plan(recipe, recipe.setup, rows, replace(recipe.budget, steps=20)))
    assert "in row 1 (seed 8, learning_rate=0.1) at tick 12" in "".join(error.value.__notes__)


def test_debug_names_a_metric_that_is_infinite_without_a_nan():
    """One over 1, then one over 0."""

    def step(state, hyper, data, tick):
        falls = 1 / (1 - tick.index.astype(jnp.float32))
        return state, {"fine": jnp.float32(1), "loss": falls, "mean": Ratio(falls, jnp.float32(1))}

    with pytest.raises(FloatingPointError, match=r"^loss, mean not finite\nin row 0 .* at tick 1$"):
        debug(plan(1, with_step(step)))


def test_debug_gives_every_function_what_a_run_gives_it():
    seen: list[tuple] = []

    def init(key, hyper, data):
        seen.append(("init", float(hyper.learning_rate), len(data["x"])))
        return {"count": jnp.int32(0)}

    def step(state, hyper, data, tick):
        told = float(hyper.learning_rate), len(data["x"]), int(tick.index), int(tick.total), int(tick.feed)
        seen.append((int(state["count"]), *told))
        return {"count": state["count"] + 1}, {"loss": jnp.float32(0)}

    def evaluate(key, state, hyper, data):
        seen.append((int(state["count"]), float(hyper.learning_rate), len(data["x"])))

    recipe = replace(
        RECIPE,
        make=lambda setup: Experiment(init, step, evaluate, dict),
        load=lambda setup: linear.load(setup)._replace(feed=lambda first, count: 7 + np.arange(first, first + count)),
    )
    rows = tuple(Row(0, linear.Hyper(rate)) for rate in (0.5, 0.25))
    debug(Plan(recipe, recipe.setup, rows, Budget(2, 1, 1, 1)))
    assert seen == [
        x
        for rate in (0.5, 0.25)
        for x in (("init", rate, 256), (0, rate, 256, 0, 2, 7), (1, rate, 256, 1, 2, 8), (2, rate, 256))
    ]


def test_debug_places_a_failure_of_the_first_state_at_tick_0():
    recipe = replace(RECIPE, make=lambda setup: linear.make(setup)._replace(init=lambda *_: [].pop()))
    with pytest.raises(IndexError) as error:
        debug(plan(1, recipe))
    assert error.value.__notes__ == ["in row 0 (seed 0, learning_rate=0.1) at tick 0"]


def test_schedules_read_the_length_of_the_run_from_the_tick(tmp_path):
    """A run twice as long reuses the program and still ends its schedule at its own end."""

    def make(setup):
        def step(state, hyper, data, tick):
            return state, {"progress": tick.index.astype(jnp.float32) / tick.total.astype(jnp.float32)}

        return linear.make(setup)._replace(step=step)

    for steps in (40, 80):
        recipe = replace(RECIPE, make=make, budget=replace(RECIPE.budget, steps=steps, record_every=1))
        folder = run(plan(1, recipe), tmp_path)
        assert read_lines(folder / "metrics.jsonl")[-1]["progress"] == pytest.approx(1 - 1 / steps)


def test_a_program_counts_the_state_that_it_writes_in_place_once():
    """Of a state of 4 MB there is one, taken and given in the same place, and one to work on."""
    size = 4_000_000
    large = linear.make(RECIPE.setup)._replace(
        init=lambda key, hyper, data: jnp.zeros(size // 4), step=lambda state, *_: (state + 1, {"loss": state[0]})
    )
    for rows, devices in ((1, 1), (1, 2), (2, 2)):
        whole = plan(rows, replace(RECIPE, make=lambda setup: large))
        lane = Lane(whole, linear.load(RECIPE.setup), Placement.choose(rows, devices))
        assert 2 * size <= lane.memory(lane.start()) < 2.1 * size


def test_rows_go_to_lapack_one_after_another():
    """Several matrices at once would wait for threads that wait for them (docs/design/traps.md)."""
    random = np.random.default_rng(0)
    matrices, right = (
        np.float32(x) for x in (random.normal(size=(6, 40, 40)) + 9 * np.eye(40), random.normal(size=40))
    )
    for where in (Placement.choose(6, 1), Placement.choose(6, 2)):
        args = where.put_rows(matrices), where.put_shared(right)
        solve = where.compile(jnp.linalg.solve, (0, None), args, donate=False)
        calls = [line for line in solve.as_text().splitlines() if "lapack_sgetrf" in line]
        assert calls and all('num_batch_dims="0"' in line for line in calls)
        np.testing.assert_allclose(where.get_rows(solve(*args)), np.linalg.solve(matrices, right), rtol=1e-4, atol=1e-5)


def test_a_row_that_hands_lapack_several_matrices_is_refused_on_several_devices():
    matrices = np.stack([np.eye(3, dtype=np.float32)] * 8).reshape(2, 4, 3, 3)
    one, two = Placement.choose(2, 1), Placement.choose(2, 2)
    alone = one.compile(jnp.linalg.inv, (0,), (one.put_rows(matrices),), donate=False)
    np.testing.assert_array_equal(alone(one.put_rows(matrices)), matrices)
    with pytest.raises(ValueError, match="several matrices at once on each of 2 CPU devices.*--device-count 1"):
        two.compile(jnp.linalg.inv, (0,), (two.put_rows(matrices),), donate=False)
    in_turn = two.compile(lambda x: jax.lax.map(jnp.linalg.inv, x), (0,), (two.put_rows(matrices),), donate=False)
    np.testing.assert_array_equal(two.get_rows(in_turn(two.put_rows(matrices))), matrices)


@pytest.fixture
def at(monkeypatch):
    """Sets the clock of a progress line (s)."""
    return lambda seconds: monkeypatch.setattr(progress.time, "perf_counter", lambda: seconds)


def test_a_progress_line_by_hand(at):
    """Resumed at 10 of 40: ten more in five seconds are 2/s, and 20 more take 10 s. A terminal shows it at once."""
    screen, threads = io.StringIO(), threading.active_count()
    at(90.0)
    with progress.Progress(Console(file=screen, force_terminal=True, width=100), "linear", 40, "updates") as line:
        line.stage("loading")
        line.stage("compiling")
        assert all(f"\x1b[2mlinear  {stage}" in screen.getvalue() for stage in ("loading", "compiling"))
        at(100.0)
        line.begin(10)
        line.note({"loss": 0.25})
        at(105.0)
        line.advance(20)
        assert "linear   50%  2 updates/s  0:10 left  loss 0.25" in screen.getvalue()
        for seconds, done in ((105.07, 24), (105.125, 28)):
            at(seconds)
            line.advance(done)
        assert "70%" in screen.getvalue() and "60%" not in screen.getvalue(), "ten times a second"
        assert threading.active_count() == threads and "\x1b[?25l" in screen.getvalue(), "the cursor is hidden"
    assert screen.getvalue().endswith("\x1b[?25h"), "and comes back"
    assert [progress.clock(seconds) for seconds in (7, 59.6, 754, 3723)] == ["0:07", "1:00", "12:34", "1:02:03"]


def test_where_nobody_watches_progress_is_a_line_every_five_seconds_and_the_last(at):
    said = io.StringIO()
    at(0.5)
    with progress.Progress(Console(file=said, width=20), "linear", 40, "updates") as line:
        for seconds, done in ((1, 10), (5.9, 20), (6, 30), (7, 40)):
            at(seconds)
            line.advance(done)
    assert said.getvalue().splitlines() == [
        "linear   25%  20 updates/s  0:02 left  ",
        "linear   75%  5 updates/s  0:02 left  ",
        "linear  100%  6 updates/s  0:00 left  ",
    ]


def test_progress_in_debug_mode_counts_the_ticks_of_all_rows(at):
    said = io.StringIO()
    at(100.0)
    debug(plan(2, replace(RECIPE, budget=Budget(2, 1, 1, 1))), Console(file=said))
    assert [line.split()[2] for line in said.getvalue().splitlines()] == ["25%", "100%"]


CONFIGURED = """
import os, sys, jax
from research.engine.placement import configure
from threadpoolctl import threadpool_info
if "reports" in sys.argv:
    import scipy.linalg
if "started" in sys.argv:
    jax.devices()
rows, count = int(sys.argv[1]), int(sys.argv[2])
configure(rows, light="light" in sys.argv, device_count=count or None)
cache, least = jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs
jax.jit(jax.numpy.linalg.inv).lower(jax.numpy.eye(2))  # loads LAPACK
lapack = max(library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas")
print(len(jax.devices()), os.environ.get("NPROC"), lapack, cache, least)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system that counts a process's cores")
def test_a_process_takes_its_devices_threads_and_cache_from_the_plan(tmp_path):
    """A device for each core as far as there are rows for them, with a thread each; one large net has all threads."""
    cores = len(os.sched_getaffinity(0))
    cached = {"JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"}
    settings = {"XLA_FLAGS", "NPROC", "OPENBLAS_NUM_THREADS"} | cached
    environment = {name: x for name, x in os.environ.items() if name not in settings}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    file = tmp_path / "configured.py"
    file.write_text(CONFIGURED)

    def configured(*words: object) -> str:
        command = [sys.executable, str(file), *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        return (done.stdout or done.stderr).strip().splitlines()[-1]

    cache = f"{tmp_path / 'research' / 'xla'} 0.0"
    assert configured(1, 0) == f"1 None {cores} {cache}"
    assert configured(1, 0, "light") == f"1 1 1 {cache}"
    assert configured(1, 0, "light", "reports") == f"1 1 1 {cache}", "what draws reports has loaded LAPACK already"
    assert configured(cores + 1, 0) == f"{cores} {1 if cores > 1 else None} 1 {cache}"
    told = f"device_count={cores + 1} must be at least 1 and at most the {cores} cores here; try {cores}"
    assert configured(1, cores + 1) == f"ValueError: {told}"
    if cores > 1:  # JAX has started with one device: the process starts itself anew
        assert configured(2, 2, "started") == f"2 1 1 {cache}"


def test_where_a_system_counts_no_cores_there_is_one(monkeypatch):
    for name, value in (("JAX_PLATFORMS", "cpu"), ("XLA_FLAGS", ""), ("NPROC", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    with pytest.raises(ValueError, match="device_count=2 must be at least 1 and at most the 1 cores here; try 1"):
        configure(1, light=True, device_count=2)


@pytest.mark.parametrize("count", [-1, 0, 4])
def test_a_process_has_the_cores_that_it_may_run_on(count, monkeypatch):
    for name, value in (("JAX_PLATFORMS", "cpu"), ("XLA_FLAGS", ""), ("NPROC", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0: {4, 5, 6}}[process], raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    with pytest.raises(
        ValueError, match=f"device_count={count} must be at least 1 and at most the 3 cores here; try 3"
    ):
        configure(1, light=True, device_count=count)


def test_devices_and_cache_of_the_users_choice_are_left_alone(monkeypatch):
    simulated = "--xla_force_host_platform_device_count=99"
    for name, value in (("JAX_PLATFORMS", "cpu"), ("XLA_FLAGS", simulated), ("NPROC", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "execv", lambda *words: pytest.fail("started anew"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "chosen")
    now = lambda: (jax.config.jax_num_cpu_devices, jax.config.jax_compilation_cache_dir)
    before = now()
    configure(1, light=True, device_count=99)
    assert now() == before, "JAX reads them itself"


def test_a_process_that_was_started_anew_in_vain_says_why(monkeypatch):
    """JAX has started with other devices again: starting anew would never end."""
    jax.devices()
    for name, value in (("JAX_PLATFORMS", "cpu"), ("XLA_FLAGS", ""), ("NPROC", "1"), ("JAX_NUM_CPU_DEVICES", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "execv", lambda *words: pytest.fail("started anew once more"))
    with pytest.raises(RuntimeError, match="jax_num_cpu_devices"):
        configure(1, light=True, device_count=1)


def test_an_accelerator_is_one_that_jax_is_told_of_or_would_find(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "")
    for there in ((), ("libtpu",), ("jax_cuda12_plugin",), ("jax_cuda13_plugin",)):
        monkeypatch.setattr(
            placement.importlib.util, "find_spec", lambda name, there=there: name if name in there else None
        )
        assert accelerator_installed() is bool(there)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu,cuda")
    assert not accelerator_installed()


def test_an_accelerator_is_deterministic_unless_asked_to_be_fast(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cuda,cpu")
    monkeypatch.setenv("XLA_FLAGS", "--xla_a=1")
    configure(1, light=True, fast=True)
    assert os.environ["XLA_FLAGS"] == "--xla_a=1"
    configure(1, light=True)
    assert os.environ["XLA_FLAGS"] == f"--xla_a=1 {DETERMINISTIC}"


def test_memory_of_metrics_does_not_grow_with_the_run():
    """What a chunk hands to the host has one entry a window, however many ticks a window folds."""
    experiment = linear.make(linear.Setup())
    data = linear.load(linear.Setup()).data
    args = (jnp.uint32(0), linear.Hyper(jnp.float32(0.1)), data)
    state = chunk.begin(experiment)(*args)
    _, metrics = jax.eval_shape(chunk.advance(experiment, 1000, 500), state, *args, jnp.int32(0), jnp.int32(1000), None)
    assert metrics["loss"].shape == (2,)
