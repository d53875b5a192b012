"""Placements: which devices hold which rows, and what is compiled for them."""

import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine import processes
from research.engine.placement import ROW, SHARED, Placement, alone, one_by_one, spread


@pytest.mark.parametrize(
    ("rows", "count", "devices", "width", "divided"),
    [
        (1, None, 1, 1, None),
        (1, 1, 1, 1, None),
        (1, 2, 2, 1, "batch"),
        (1, 8, 8, 1, "batch"),
        (2, None, 2, 2, "rows"),
        (2, 1, 1, 2, None),
        (2, 4, 2, 2, "rows"),  # two devices would have nothing to do
        (5, 2, 2, 6, "rows"),
        (20, None, 8, 24, "rows"),
    ],
)
def test_every_device_has_equally_many_rows_or_a_part_of_one_rows_batch(rows, count, devices, width, divided):
    where = Placement.choose(rows, count)
    assert where.devices == tuple(jax.devices()[:devices]) and where.width == width
    assert (where.spreads_batch, where.maps_rows) == (divided == "batch", divided == "rows")


@pytest.mark.parametrize("count", [-1, 0, 9])
def test_devices_that_there_are_not_are_refused(count):
    with pytest.raises(ValueError, match=f"device_count={count} must be at least 1 and at most the 8 devices here"):
        Placement.choose(9, count)


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (1, 2), (6, 1), (6, 2), (6, 3)])
def test_rows_lie_in_blocks_on_their_devices_and_come_back_as_they_were(rows, count):
    where = Placement.choose(rows, count)
    tree = {"seed": np.arange(rows), "x": np.arange(rows * 6).reshape(rows, 2, 3)}
    placed = where.put_rows(tree)
    each = rows // count
    for i, shard in enumerate(placed["x"].addressable_shards):
        assert shard.device == where.devices[i]
        mine = tree["x"][i * each : (i + 1) * each] if where.maps_rows else tree["x"]
        assert np.array_equal(np.ravel(shard.data), mine.ravel())
    back = where.get_rows(placed)
    assert all(np.array_equal(back[name], tree[name]) for name in tree)
    shared = where.put_shared(tree["x"])
    assert shared.is_fully_replicated and shared.devices() == set(where.devices)
    assert np.array_equal(shared, tree["x"])


@pytest.mark.parametrize("where", [slice(3, 4), slice(2, 4)])
def test_a_program_runs_on_the_placements_own_devices(where):
    where = Placement(tuple(jax.devices()[where]), 4)
    args = where.put_rows(np.arange(4.0, dtype=np.float32)), where.put_shared(np.float32(2))
    result = where.compile(jnp.multiply, (ROW, SHARED), args, donate=False)(*args)
    assert result.devices() == set(where.devices)
    assert where.get_rows(result).tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize(
    ("rows", "count", "product"), [(1, 1, "4,4"), (1, 2, "4,4"), (2, 2, "4,4"), (6, 1, "6,4,4"), (6, 2, "3,4,4")]
)
def test_a_devices_rows_are_one_operation_and_a_single_row_has_no_batch_dimension(rows, count, product):
    where = Placement.choose(rows, count)
    args = (where.put_rows(np.ones((rows, 4, 4), np.float32)),)
    program = where.compile(lambda x: x @ x, (ROW,), args, donate=False)
    assert re.findall(r" = f32\[([\d,]+)\]\S* dot\(", program.as_text()) == [product]


@pytest.mark.parametrize(("loop", "rows"), [(alone, 1), (one_by_one, 3)])
def test_rows_without_a_batch_dimension_are_what_vmap_makes_of_them(loop, rows):
    random = np.random.default_rng(0)
    tree = {"a": random.normal(size=(rows, 4, 2)), "b": (random.normal(size=rows),)}
    args = jax.tree.map(jnp.float32, (tree, random.normal(size=(2, 3)), random.normal(size=rows)))
    axes = (ROW, SHARED, ROW)

    def row(tree, whole, scale):
        return {"product": tree["a"] @ whole * scale, "sum": tree["b"][0] + scale}

    found, expected = loop(row, axes)(*args), jax.vmap(row, axes)(*args)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, strict=True)
    for mapped in (loop, jax.vmap):
        with pytest.raises(ValueError):
            mapped(row, axes[:2])(*args)


def test_a_batch_is_divided_where_one_row_has_several_devices_and_its_result_is_whole_on_each():
    batch = np.arange(16.0, dtype=np.float32).reshape(1, 8, 2)
    where = Placement.choose(1, 4)
    args = (where.put_rows(batch),)
    program = where.compile(lambda x: spread(x) + 1, (ROW,), args, donate=False)
    assert "all-gather" in program.as_text(), "each device adds to a quarter"
    result = program(*args)
    assert result.is_fully_replicated and np.array_equal(where.get_rows(result), batch + 1)
    assert spread(batch) is batch, "elsewhere it is as it was"


def test_of_several_processes_each_gives_equally_many_devices_in_the_processes_order(monkeypatch):
    devices = [SimpleNamespace(process_index=p, id=i) for i, p in enumerate((1, 0, 0, 1))]
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(jax, "devices", lambda: devices)
    monkeypatch.setattr(jax, "local_devices", lambda: devices[1:3])
    chosen = Placement.choose(1)
    assert [device.id for device in chosen.devices] == [1, 2, 0, 3] and chosen.spreads_batch
    assert [device.id for device in Placement.choose(1, 1).devices] == [1, 0]
    with pytest.raises(ValueError, match="2 rows in 2 processes"):
        Placement.choose(2)


def test_of_several_processes_each_places_what_is_shared_without_asking_the_others(monkeypatch):
    """`jax.device_put` would compare their copies at every call."""
    where, x = Placement.choose(1, 2), np.arange(3)
    monkeypatch.setattr(processes, "several", lambda: True)
    monkeypatch.setattr(jax, "device_put", lambda *_: pytest.fail("compared"))
    shared = where.put_shared({"x": x})["x"]
    assert shared.is_fully_replicated and shared.devices() == set(where.devices) and np.array_equal(shared, x)
