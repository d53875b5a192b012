"""Mirrors of a run's record in TensorBoard and Weights & Biases. The JSON lines stay the truth.

A viewer follows `engine.session.Viewer`: it is called with (folder, manifest, tick) once a run is open, gets every line
that is appended and every picture, and is closed. When it opens, it writes anew what the record already holds, from
the JSON lines. So after a kill nothing is missing there that was recorded, nothing stands there twice, and a viewer
may join a run that began without it.
"""

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from research.engine.files import EVALUATIONS, METRICS, TIMINGS, write_text
from research.report import run_folder

# Each row holds a file (TensorBoard) or a run with its own threads (Weights & Biases) open.
MOST_FILES, MOST_RUNS = 256, 64
FLUSH_SECONDS = 5.0
PROJECT = "research"
PICTURE = re.compile(r"(?P<name>.+)-(?P<tick>\d+)\.png")


class TensorBoard:
    """Event files under folder/tensorboard: one TensorBoard run for each row, and one for what rows share.

    Scalars are named metrics/<name>, evaluations/<name> and timings/seconds, pictures pictures/<name>; their step is
    the tick. One run for each row lets TensorBoard draw the seeds of a figure into one chart.
    """

    @staticmethod
    def check(rows: int) -> None:
        """Raises ValueError where tensorboardX is missing, or the rows are too many for a file each."""
        need("tensorboardX")
        at_most(MOST_FILES, rows, "TensorBoard", "--tensorboard")

    def __init__(self, folder: Path, manifest: dict[str, Any], tick: int) -> None:
        self.check(len(manifest["rows"]))
        home = folder / "tensorboard"
        for older in home.rglob("events.out.tfevents.*"):
            older.unlink()
        self._shared = EventFile(home)
        self._rows = [EventFile(home / name) for name in row_names(manifest["rows"])]
        self._flushed = time.monotonic()
        replay(self, folder, manifest, tick)

    def lines(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            file = self._rows[line["row"]] if "row" in line else self._shared
            file.scalars(line["tick"], scalars_of(name, line))
        if time.monotonic() - self._flushed >= FLUSH_SECONDS:
            for file in (self._shared, *self._rows):
                file.flush()
            self._flushed = time.monotonic()

    def pictures(self, tick: int, pictures: dict[str, np.ndarray]) -> None:
        """pictures u8[H,W,3]; rows share them."""
        for name, pixels in pictures.items():
            self._shared.picture(tick, f"pictures/{name}", pixels)

    def close(self) -> None:
        for file in (self._shared, *self._rows):
            file.close()


class EventFile:
    """One TensorBoard run: an event file in a folder of its own.

    It is written by tensorboardX's synchronous writer. SummaryWriter puts a queue, a pipe and two threads between,
    for each row, and loses what waits there when the process is killed.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto import event_pb2, summary_pb2
        from tensorboardX.summary import image

        self._event, self._summary, self._image = event_pb2.Event, summary_pb2.Summary, image
        folder.mkdir(parents=True, exist_ok=True)
        self._writer = EventsWriter(str(folder / "events"))
        self.flush, self.close = self._writer.flush, self._writer.close
        # A TensorBoard that is looking on drops what it had read of this run from step 0 on: it is written anew.
        self._write(0, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))

    def scalars(self, step: int, named: dict[str, float]) -> None:
        values = [self._summary.Value(tag=tag, simple_value=float(x)) for tag, x in named.items()]
        self._write(step, summary=self._summary(value=values))

    def picture(self, step: int, tag: str, pixels: np.ndarray) -> None:
        """pixels u8[H,W,3]"""
        self._write(step, summary=self._image(tag, pixels, dataformats="HWC"))

    def _write(self, step: int, **content: Any) -> None:
        self._writer.write_event(self._event(step=step, wall_time=time.time(), **content))


class WeightsAndBiases:
    """One W&B run for each row, all in a group named after the run folder; files under folder/wandb.

    The group is what W&B draws as a mean with a band over seeds, and each run's config holds its own
    hyper-parameters. Names are those of `TensorBoard`, the step is the tick. Runs are offline, without account or
    network, unless the environment says WANDB_MODE=online; `wandb sync FOLDER/wandb/offline-run-*` uploads them later.
    Ids stand in folder/wandb/id, so that a resumed run goes on under its own.
    """

    @staticmethod
    def check(rows: int) -> None:
        """Raises ValueError where wandb is missing, or the rows are too many for a run each."""
        need("wandb")
        at_most(MOST_RUNS, rows, "Weights & Biases", "--wandb")

    def __init__(self, folder: Path, manifest: dict[str, Any], tick: int) -> None:
        self.check(len(manifest["rows"]))
        wandb = need("wandb")
        home = folder / "wandb"
        home.mkdir(exist_ok=True)
        identity = home / "id"
        if not identity.exists():
            write_text(identity, secrets.token_hex(4) + "\n")
        base = identity.read_text().strip()
        # Unsent files of this very run, which the record replaces whole.
        for older in home.glob(f"offline-run-*-{base}-*"):
            shutil.rmtree(older)
        shared = {name: x for name, x in manifest.items() if name not in ("rows", "complete")}
        names = row_names(manifest["rows"])
        self._wandb, self._steps_per_tick = wandb, manifest.get("steps_per_tick")
        self._runs = [
            wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                mode=os.environ.get("WANDB_MODE", "offline"),
                id=f"{base}-{index}",
                name=f"{folder.name}-{name}",
                group=folder.name,
                config=shared | row,
                resume="allow",
                reinit="create_new",
                dir=str(folder),
                # One row reports on the machine for all; nothing may write into the live progress line.
                settings=wandb.Settings(
                    console="off", silent=True, disable_git=True, disable_code=True, x_disable_stats=index > 0
                ),
            )
            for index, (name, row) in enumerate(zip(names, manifest["rows"], strict=True))
        ]
        # A run that is resumed online already holds what came before this tick, bit for bit the same.
        self._first = max(run.step for run in self._runs)
        replay(self, folder, manifest, tick)

    def lines(self, name: str, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            if line["tick"] >= self._first:
                steps = {"steps": line["tick"] * self._steps_per_tick} if self._steps_per_tick else {}
                self._runs[line.get("row", 0)].log(scalars_of(name, line) | steps, step=line["tick"])

    def pictures(self, tick: int, pictures: dict[str, np.ndarray]) -> None:
        """pictures u8[H,W,3]; rows share them, so the first row's run shows them."""
        if pictures and tick >= self._first:
            images = {f"pictures/{name}": self._wandb.Image(pixels) for name, pixels in pictures.items()}
            self._runs[0].log(images, step=tick)

    def close(self) -> None:
        for run in self._runs:
            run.finish()


def need(package: str) -> Any:
    """Imports a viewer's package. Raises ValueError that says how to install it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ValueError(
            f"{package} is not installed, and a viewer needs it; install it with pip install 'research[viewers]'"
        ) from error


def at_most(most: int, rows: int, viewer: str, option: str) -> None:
    if rows > most:
        raise ValueError(
            f"rows={rows} is more than the {most} that {viewer} can show; leave out {option}: "
            "summary.json and curve.png hold all rows"
        )


def row_names(rows: list[dict[str, Any]]) -> list[str]:
    """'seed-3', in a sweep '012-seed-3-learning_rate=0.001': one name for each row."""
    labels = run_folder.labels(rows)
    if not any(labels) and len({row["seed"] for row in rows}) == len(rows):
        return [f"seed-{row['seed']}" for row in rows]
    return [
        f"{index:03}-seed-{row['seed']}-{label.replace(', ', '-')}".rstrip("-")
        for index, (row, label) in enumerate(zip(rows, labels, strict=True))
    ]


def scalars_of(name: str, line: dict[str, Any]) -> dict[str, float]:
    """{'metrics/loss': 0.1, ...}: all numbers of a line but its marks; what is null is left out."""
    section = name.removesuffix(".jsonl")
    return {f"{section}/{key}": x for key, x in line.items() if key not in run_folder.MARKS and x is not None}


def replay(viewer: TensorBoard | WeightsAndBiases, folder: Path, manifest: dict[str, Any], tick: int) -> None:
    """Shows a viewer what the run folder holds up to `tick`, in the order of ticks."""
    shown: list[tuple[int, str, Any]] = list(older_pictures(folder, manifest, tick))
    for name in (METRICS, TIMINGS, EVALUATIONS):
        shown += [(line["tick"], name, line) for line in run_folder.read_lines(folder / name)]
    shown.sort(key=lambda item: item[0])
    for (at, name), group in groupby(shown, key=lambda item: item[:2]):
        if name == "pictures":
            for _, _, (picture, path) in group:
                viewer.pictures(at, {picture: np.asarray(Image.open(path).convert("RGB"))})
        else:
            viewer.lines(name, [line for _, _, line in group])


def older_pictures(folder: Path, manifest: dict[str, Any], tick: int) -> Iterator[tuple[int, str, tuple[str, Path]]]:
    """(tick, "pictures", (name, path)) of the pictures up to `tick` that the run will not write again."""
    for path in sorted((folder / "pictures").glob("*.png")):
        match = PICTURE.fullmatch(path.name)
        # The test set is scored again when a run is resumed after its last tick.
        if match and int(match["tick"]) <= tick and (manifest.get("complete") or not match["name"].startswith("test_")):
            yield int(match["tick"]), "pictures", (match["name"], path)
