"""The engine: gives an experiment time (chunks of ticks), breadth (rows on devices) and disk (record, resume)."""

import contextlib
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from research.engine import processes
from research.engine.best import Best, best_figure, saved_tree
from research.engine.checkpoint import Checkpoints, digest
from research.engine.errors import Damaged
from research.engine.files import MANIFEST, TIMINGS, claim, each_line, read_manifest, write_json, write_text
from research.engine.lane import Lane
from research.engine.manifest import abandoned, data_hash, machine, match_manifest, revision
from research.engine.placement import Placement
from research.engine.plan import Plan
from research.engine.progress import Progress
from research.engine.record import Record
from research.engine.session import Session, Viewer
from research.engine.signals import signals

SAVE_SECONDS = 30.0
COMPLETE = -1  # said by process 0 instead of a tick


def run(
    plan: Plan,
    out: Path,
    *,
    fresh: bool = False,
    other_machine: bool = False,
    device_count: int | None = None,
    save_seconds: float = SAVE_SECONDS,
    profile: bool = False,
    heed_divergence: bool = True,
    console: Console | None = None,
    viewers: Sequence[Callable[[Path, dict[str, Any], int], Viewer]] = (),
) -> Path:
    """Runs a plan to its end in its run folder under `out`, or goes on where it stopped -> the folder.

    Of several processes (`processes.join`) all call this alike; process 0 alone reads and writes the folder.

    fresh         sets an older folder of the same run aside and starts over
    other_machine goes on although devices or versions differ from the manifest's (equal bits are no longer promised)
    save_seconds  a checkpoint at most this often (s); 0 saves after every chunk
    profile       writes a jax.profiler trace of the second chunk into the folder
    heed_divergence  stops where no row is finite any more; in a sweep that is a result like any other
    viewers       each called with (folder, manifest, tick) once the run is open

    Raises ValueError for input that does not fit, Damaged or OSError for what the machine did, Diverged when no
    row is finite, Interrupted after a signal.
    """
    if not save_seconds >= 0:
        raise ValueError(f"save_seconds={save_seconds} must be at least 0; usual: {SAVE_SECONDS:g}")
    folder = out / plan.name
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise ValueError(
            f"out={str(out)!r} is not UTF-8, and no checkpoint can be written there; give another --out"
        ) from None
    placement = Placement.choose(plan.lane_width, device_count)
    inputs = plan.recipe.load(plan.setup)
    manifest = plan.manifest() | {"data": data_hash(inputs), "machine": machine(placement)} | revision()
    manifest |= {"note": inputs.note, "final": inputs.final is not None}
    each_its_own = "processor", "threads", "lapack_threads"
    alike = {name: x for name, x in manifest["machine"].items() if name not in each_its_own}
    told = json.dumps([plan.identity(), manifest["data"], alike])
    processes.agree(digest([np.frombuffer(told.encode(), np.uint8)]))
    leads = processes.leads()
    resuming = leads and (folder / MANIFEST).exists() and not fresh
    changed = leads  # whether the folder holds another manifest, or none
    if resuming:
        found = read_manifest(folder)
        match_manifest(folder, found, manifest, other_machine)
        if found.get("complete"):
            processes.from_leader(np.int32(COMPLETE))
            if console:
                console.print(f"{plan.name} is complete already; --fresh repeats it", highlight=False)
            for view in viewers:
                view(folder, found, plan.ticks).close()
            return folder
        changed = found["machine"] != manifest["machine"]
        manifest["earlier_machines"] = found.get("earlier_machines", []) + changed * [found["machine"]]
    elif leads and console and not fresh:
        for older in abandoned(folder, manifest):
            console.print(f"{older} is unfinished, but other code began it: it is not resumed", style="yellow")

    progress = Progress(console if leads else None, plan.name, plan.budget.steps * len(plan.rows), plan.recipe.unit)
    with contextlib.ExitStack() as stack:
        stack.enter_context(progress)
        stop = stack.enter_context(signals())
        lane = Lane(plan, inputs, placement)
        checkpoints = open_folder(folder, stack) if resuming else None
        tick = (checkpoints.latest() or 0) if checkpoints else 0
        if checkpoints and not tick and recorded_seconds(folder) > 2 * SAVE_SECONDS:
            raise Damaged(
                f"run folder {folder} holds a record, but no checkpoint to go on from: they were removed; "
                "restore them, or start over with --fresh, which sets that record aside"
            )
        tick = int(processes.from_leader(np.int32(tick)))
        if tick == COMPLETE:
            return folder
        progress.stage(f"compiling, to go on from tick {tick}" if tick else "compiling")
        state, best = restore(checkpoints, tick, lane) if tick else (lane.start(), None)
        lane.compile(state)
        if plan.recipe.best and not tick:
            best_figure(plan.recipe.best, lane.figures(state, 0)[0])  # a misspelt name shows now, not in an hour
        if leads and checkpoints is None:
            if folder.exists():
                set_aside(folder)
            checkpoints = open_folder(folder, stack)
        if changed:
            for name, text in inputs.files.items():
                write_text(folder / name, text)
            write_json(folder / MANIFEST, manifest)
        record = Record(folder, tick, plan) if leads else None
        opened = [stack.enter_context(contextlib.closing(view(folder, manifest, tick))) for view in viewers if leads]
        session = Session(plan, lane, folder, manifest, checkpoints, record, progress, opened)
        session.go(state, best, tick, stop, save_seconds, profile, heed_divergence)
    return folder


def open_folder(folder: Path, stack: contextlib.ExitStack) -> Checkpoints:
    """Makes and claims the run folder for as long as `stack` lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    stack.callback(os.close, claim(folder))
    checkpoints = Checkpoints(folder / "checkpoints")
    stack.callback(checkpoints.close)
    return checkpoints


def set_aside(folder: Path) -> None:
    """Renames an older folder, or whatever has its name: starting over loses nothing."""
    if folder.is_dir():
        os.close(claim(folder))
    number_ = 1
    while (older := folder.with_name(f"{folder.name}.old-{number_}")).exists():
        number_ += 1
    folder.rename(older)


def restore(checkpoints: Checkpoints | None, tick: int, lane: Lane) -> tuple[Any, Best | None]:
    """The placed state and, in the process that has the checkpoints, the best states that were saved under `tick`."""
    tree = saved_tree(lane.plan, lane.template(), None)
    if checkpoints:
        tree = checkpoints.restore(tick, tree)
    best = Best(**tree["best"]) if "best" in tree else None
    return lane.placement.put_rows(lane.pad(processes.from_leader(tree["state"]))), best


def recorded_seconds(folder: Path) -> float:
    return sum(line.get("seconds") or 0.0 for line, _ in each_line(folder / TIMINGS))
