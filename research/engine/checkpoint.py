"""Checkpoints: the one file that names orbax. Saved whole or not at all, and proved whole when read."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np

from research.engine.errors import Damaged


class Checkpoints:
    """The last two states of a run, each under its tick. Trees hold NumPy arrays.

    read_only  changes nothing in the folder, which must be there: another process may be writing to it
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        import orbax.checkpoint as orbax  # takes half a second to import

        self.folder = folder.resolve()
        self._orbax = orbax
        alone = jax.process_index()  # of several processes one saves, and waits for no other
        options = orbax.CheckpointManagerOptions(
            max_to_keep=2,
            cleanup_tmp_directories=not read_only,
            enable_async_checkpointing=False,
            create=False,
            multiprocessing_options=orbax.options.MultiprocessingOptions(alone, {alone}, "alone"),
        )
        if not read_only:
            self.folder.mkdir(exist_ok=True)
        self._orbax_manager = orbax.CheckpointManager(self.folder, options=options)

    def latest(self) -> int | None:
        """The newest committed tick, or None."""
        return self._orbax_manager.latest_step()

    def save(self, tick: int, tree: Any) -> None:
        """Commits `tree` under `tick`; a crash before the end leaves the older checkpoints as they were."""
        sealed = {"tree": without_empty(tree), "digest": digest(tree)}
        try:
            self._orbax_manager.save(tick, args=self._orbax.args.StandardSave(sealed))
        except Exception as error:
            shutil.rmtree(self.folder / str(tick), ignore_errors=True)
            raise OSError(f"no checkpoint could be written to {self.folder}: {first_line(error)}") from error

    def restore(self, tick: int, template: Any) -> Any:
        """The tree saved under `tick`, with the structure, shapes and dtypes of `template`. Raises Damaged."""
        sealed = {"tree": without_empty(template), "digest": np.zeros(32, np.uint8)}
        path = self.folder / str(tick)
        older = [step for step in self._orbax_manager.all_steps() if step < tick]
        repair = (
            f"remove that folder and the run goes on from tick {max(older)}" if older else "start over with --fresh"
        )
        try:
            restored = self._orbax_manager.restore(tick, args=self._orbax.args.StandardRestore(sealed))
        except Exception as error:
            raise Damaged(f"checkpoint {path} cannot be read ({first_line(error)}); {repair}") from error
        tree = jax.tree.map(lambda x, y: y if np.size(x) else np.zeros(x.shape, x.dtype), template, restored["tree"])
        # Orbax casts silently and a file may be cut inside an array: the digest covers dtypes, shapes and bytes.
        if not np.array_equal(restored["digest"], digest(tree)):
            raise Damaged(f"checkpoint {path} does not hold the bytes that were saved; {repair}")
        return tree

    def close(self) -> None:
        self._orbax_manager.close()


def without_empty(tree: Any) -> Any:
    """The tree with one byte in the place of each array without elements, which orbax refuses."""
    return jax.tree.map(lambda x: x if np.size(x) else np.zeros(1, np.uint8), tree)


def digest(tree: Any) -> np.ndarray:
    """-> u8[32], SHA-256 over every leaf's path, dtype, shape and bytes."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}".encode())
        total.update(array.ravel().view(np.uint8).data)  # no second copy of a large replay
    return np.frombuffer(total.digest(), np.uint8)


def first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
