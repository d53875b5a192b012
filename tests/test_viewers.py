"""What the viewers wrote, read back from their own files: all of the record, each line once, whatever was killed."""

import json
import struct
from collections import defaultdict

import numpy as np
import pytest
import run_folders
from PIL import Image
from recipes import plan_of, tiny

from research.engine.run import run
from research.report import viewers
from research.report.viewers import TensorBoard, WeightsAndBiases

SEEDS = [(7, {"learning_rate": 0.1}), (8, {"learning_rate": 0.1})]
NAMES = ("metrics", "evaluations", "timings")


def lines_of(ticks):
    """Two rows: a metric that is missing in odd rows, and what comes with it."""
    return [
        {"tick": tick, "row": row, "finite": True, "loss": 0.5 * tick + row, "return": None if row else 4.0}
        for tick in ticks
        for row in (0, 1)
    ]


def opened(viewer, folder, tick):
    return viewer(folder, json.loads((folder / "manifest.json").read_text()), tick)


def events(folder):
    """Reads event files (length, its checksum, message, its checksum) -> {(run, tag, step): [value or image]}."""
    from tensorboardX.proto.event_pb2 import Event

    found = defaultdict(list)
    for path in sorted((folder / "tensorboard").rglob("events.out.tfevents.*")):
        raw, at = path.read_bytes(), 0
        while at < len(raw):
            (length,) = struct.unpack_from("<Q", raw, at)
            event = Event.FromString(raw[at + 12 : at + 12 + length])
            at += 12 + length + 4
            for value in event.summary.value:
                content = value.image.encoded_image_string or value.simple_value
                found[path.parent.name, value.tag, event.step].append(content)
    return found


def histories(folder):
    """Reads offline W&B files (a header of 7 bytes, then LevelDB's log format) -> {run id: {(key, step): [value]}}."""
    from wandb.proto.wandb_internal_pb2 import Record

    found = defaultdict(lambda: defaultdict(list))
    for path in sorted((folder / "wandb").glob("offline-run-*/run-*.wandb")):
        raw, at, part = path.read_bytes(), 7, b""
        while at + 7 <= len(raw):
            left = 32768 - at % 32768
            if left < 7:
                at += left
                continue
            length, kind = struct.unpack_from("<HB", raw, at + 4)
            part += raw[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # a whole record, or the last part of one
                record, part = Record.FromString(part), b""
                items = {
                    "/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in record.history.item
                }
                for key, value in items.items():
                    found[path.stem.removeprefix("run-")][key, items["_step"]].append(value)
    return found


def recorded(folder):
    """{(row or None, tag, tick): value} of every number in the JSON lines."""
    return {
        (line.get("row"), f"{name}/{key}", line["tick"]): value
        for name in NAMES
        for line in map(json.loads, (folder / f"{name}.jsonl").read_text().splitlines())
        for key, value in line.items()
        if key not in ("tick", "row", "finite", "final") and value is not None
    }


def assert_mirrors(folder, runs):
    """TensorBoard's event files hold every number of the record, once; runs name the rows."""
    expected = {(runs.get(row, "tensorboard"), tag, tick): x for (row, tag, tick), x in recorded(folder).items()}
    found = {key: values for key, values in events(folder).items() if not key[1].startswith("pictures/")}
    assert {key: len(values) for key, values in found.items()} == dict.fromkeys(expected, 1)
    for key, x in expected.items():
        assert found[key] == [pytest.approx(x, rel=1e-6)], key


def test_tensorboard_holds_every_number_under_its_row(tmp_path):
    run_folders.write(tmp_path, SEEDS)
    board = opened(TensorBoard, tmp_path, 0)
    board.lines("metrics.jsonl", lines_of([1, 2]))
    board.lines("timings.jsonl", [{"tick": 2, "seconds": 0.25}])
    board.lines("evaluations.jsonl", [{"tick": 2, "row": 1, "final": True, "test_accuracy": 0.75}])
    board.close()
    found = events(tmp_path)
    assert found["seed-8", "metrics/loss", 2] == [2.0]
    assert found["seed-8", "evaluations/test_accuracy", 2] == [0.75]
    assert found["tensorboard", "timings/seconds", 2] == [0.25]
    assert found["seed-7", "metrics/return", 1] == [4.0] and ("seed-8", "metrics/return", 1) not in found
    assert not any("finite" in tag or "final" in tag for _, tag, _ in found)


def test_tensorboard_can_be_looked_at_while_the_run_goes_on(tmp_path, monkeypatch):
    at = lambda seconds: monkeypatch.setattr(viewers.time, "monotonic", lambda: 100.0 + seconds)
    run_folders.write(tmp_path, SEEDS)
    at(0)
    board = opened(TensorBoard, tmp_path, 0)
    for seconds, tick, shown in ((viewers.FLUSH_SECONDS / 2, 1, 0), (viewers.FLUSH_SECONDS, 2, 2)):
        at(seconds)
        board.lines("metrics.jsonl", lines_of([tick]))
        assert len([key for key in events(tmp_path) if key[:2] == ("seed-8", "metrics/loss")]) == shown
    board.lines("metrics.jsonl", lines_of([3]))
    assert ("seed-8", "metrics/loss", 3) not in events(tmp_path), "so soon after"
    board.close()


def test_tensorboard_shows_pictures(tmp_path):
    run_folders.write(tmp_path, SEEDS)
    board = opened(TensorBoard, tmp_path, 0)
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[1, 2] = (255, 128, 0)
    board.pictures(5, {"samples": pixels})
    board.close()
    (encoded,) = events(tmp_path)["tensorboard", "pictures/samples", 5]
    (tmp_path / "back.png").write_bytes(encoded)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "back.png")), pixels)


def test_tensorboard_after_a_kill_holds_each_step_once(tmp_path):
    run_folders.write(tmp_path, SEEDS, metrics=lines_of([1, 2, 3]), complete=False)
    board = opened(TensorBoard, tmp_path, 0)
    board.lines("metrics.jsonl", lines_of([4]))
    board.close()
    # Killed at tick 4, restored at tick 2: the record is cut there, and ticks 3 and 4 are written again.
    run_folders.write(tmp_path, SEEDS, metrics=lines_of([1, 2]), complete=False)
    board = opened(TensorBoard, tmp_path, 2)
    board.lines("metrics.jsonl", lines_of([3, 4]))
    board.close()
    run_folders.write(tmp_path, SEEDS, metrics=lines_of([1, 2, 3, 4]), complete=False)
    assert_mirrors(tmp_path, {0: "seed-7", 1: "seed-8"})


def test_pictures_of_a_resumed_run_stand_there_once(tmp_path):
    run_folders.write(tmp_path, SEEDS, metrics=lines_of([10]), complete=False)
    (tmp_path / "pictures").mkdir()
    for name in ("samples-00000010", "samples-00000020", "test_samples-00000010"):
        Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "pictures" / f"{name}.png")
    # At tick 10: that of tick 20 will come again, and so will the test set's.
    board = opened(TensorBoard, tmp_path, 10)
    board.close()
    assert [key[1:] for key in events(tmp_path) if key[1].startswith("pictures")] == [("pictures/samples", 10)]


class Crash:
    """Dies when it sees tick 20's metrics: recorded, but not yet in a checkpoint."""

    def __init__(self, folder, manifest, tick):
        pass

    def lines(self, name, lines):
        if lines[0]["tick"] > 10:
            raise RuntimeError("crash")

    def pictures(self, tick, pictures):
        pass

    def close(self):
        pass


def test_viewers_of_a_resumed_run_mirror_its_record(tmp_path):
    plan = plan_of(tiny("replay"), seeds=2)
    both = [TensorBoard, WeightsAndBiases]
    with pytest.raises(RuntimeError, match="crash"):
        run(plan, tmp_path, device_count=1, save_seconds=0, viewers=[*both, Crash])
    identity = (tmp_path / plan.name / "wandb" / "id").read_text().strip()
    folder = run(plan, tmp_path, device_count=1, save_seconds=0, viewers=both)
    assert_mirrors(folder, {0: "seed-0", 1: "seed-1"})
    found = histories(folder)
    assert sorted(found) == [f"{identity}-0", f"{identity}-1"], "a resumed run keeps its ids"
    for (row, tag, tick), x in recorded(folder).items():
        assert found[f"{identity}-{row or 0}"][tag, tick] == [pytest.approx(x)], (row, tag, tick)
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 2, "one folder to upload for each row"


def test_wandb_names_group_config_and_steps(tmp_path, monkeypatch):
    import wandb

    run_folders.write(tmp_path, SEEDS, steps_per_tick=16, complete=False)
    given, true_init = [], wandb.init
    monkeypatch.setattr(wandb, "init", lambda **options: given.append(options) or true_init(**options))
    mirror = opened(WeightsAndBiases, tmp_path, 0)
    mirror.lines("metrics.jsonl", lines_of([1]))
    mirror.pictures(1, {"samples": np.zeros((2, 2, 3), np.uint8)})
    mirror.close()
    assert [options["name"] for options in given] == [f"{tmp_path.name}-seed-7", f"{tmp_path.name}-seed-8"]
    assert {options["group"] for options in given} == {tmp_path.name}
    assert {options["mode"] for options in given} == {"offline"}
    assert given[1]["config"]["seed"] == 8 and given[1]["config"]["hyper"] == {"learning_rate": 0.1}
    identity = (tmp_path / "wandb" / "id").read_text().strip()
    first = histories(tmp_path)[f"{identity}-0"]
    assert first["steps", 1] == [16] and first["metrics/loss", 1] == [0.5]
    assert len(list((tmp_path / "wandb").rglob("samples*.png"))) == 1


def test_a_sweep_s_rows_are_named_by_what_varies():
    rows = [{"seed": 0, "hyper": {"learning_rate": rate, "decay": 1.0}} for rate in (0.1, 0.2)]
    assert viewers.row_names(rows) == ["000-seed-0-learning_rate=0.1", "001-seed-0-learning_rate=0.2"]


@pytest.mark.parametrize(("viewer", "package"), [(TensorBoard, "tensorboardX"), (WeightsAndBiases, "wandb")])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, viewer, package):
    run_folders.write(tmp_path, SEEDS)
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(ValueError, match=rf"{package} is not installed.*pip install 'research\[viewers\]'"):
        opened(viewer, tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


@pytest.mark.parametrize(("viewer", "most"), [(TensorBoard, 256), (WeightsAndBiases, 64)])
def test_too_many_rows_are_refused(tmp_path, viewer, most):
    run_folders.write(tmp_path, [(seed, {}) for seed in range(most + 1)])
    with pytest.raises(ValueError, match=f"rows={most + 1} is more than the {most}"):
        opened(viewer, tmp_path, 0)
