"""What a run folder's manifest says beside the plan: what the run reads and what it runs on, and whether two of them are of one
run."""

import contextlib
import json
import os
import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from research.engine.checkpoint import digest
from research.engine.errors import Damaged
from research.engine.experiment import Inputs
from research.engine.files import MANIFEST, read_manifest
from research.engine.placement import DETERMINISTIC, Placement
from research.engine.source import PACKAGE

# What of jax.config decides a result.
SETTINGS = ("jax_default_matmul_precision", "jax_default_prng_impl", "jax_enable_x64", "jax_threefry_partitionable")
# Packages whose code runs inside programs, or makes what they read.
DECISIVE = ("jax", "jaxlib", "flax", "optax", "gymnax", "pgx", "numpy", "scikit-learn")


def data_hash(inputs: Inputs) -> str:
    """A hash of the arrays that a run reads; a feed is a function and is not covered."""
    return digest((inputs.data, inputs.final)).tobytes().hex()[:16]


def machine(placement: Placement) -> dict[str, Any]:
    """What a run's bits depend on besides its plan."""
    flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if flag != DETERMINISTIC]
    return {
        "backend": placement.devices[0].platform,
        "device_kind": placement.devices[0].device_kind,
        "device_count": len(placement.devices),
        "processes": jax.process_count(),
        "lane_width": placement.width,
        "processor": processor(),
        "threads": os.environ.get("NPROC") or f"all {os.cpu_count()}",
        "lapack_threads": os.environ.get("OPENBLAS_NUM_THREADS") or f"all {os.cpu_count()}",
        "deterministic": DETERMINISTIC in os.environ.get("XLA_FLAGS", ""),
        "xla_flags": sorted(flags),
        "jax_settings": {name: str(getattr(jax.config, name)) for name in SETTINGS},
        "versions": {name: version(name) for name in DECISIVE},
        "python": ".".join(platform.python_version_tuple()[:2]),
    }


def processor() -> str:
    """The processor's name, where the system tells it: vector widths decide how sums are rounded."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def revision(*paths: str) -> dict[str, Any]:
    """The package's git revision and whether its tree is dirty, or of that these paths alone (git's pathspecs); empty outside a
    checkout. For the reader only."""
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain", "--", *paths])
        )
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {"revision": commit, "dirty": bool(status)}


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """The fields in which two JSON values differ, as 'budget.steps: 1000 -> 2000'."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from differences(old.get(key), new.get(key), f"{path}.{key}" if path else key)
    elif old != new:
        yield f"{path}: {json.dumps(old)} -> {json.dumps(new)}"


def match_manifest(folder: Path, found: dict[str, Any], manifest: dict[str, Any], other_machine: bool) -> None:
    """Raises ValueError where a folder's manifest says that it holds another run, or one from another machine."""
    decisive = [key for key in manifest if key not in ("machine", "earlier_machines", "revision", "dirty", "file")]
    changed = list(differences({key: found.get(key) for key in decisive}, {key: manifest[key] for key in decisive}))
    if changed:
        raise ValueError(
            f"run folder {folder} holds another run ({'; '.join(changed)}); "
            "a folder is resumed only by the run that made it: start over with --fresh, or give another --out"
        )
    moved = list(differences(found.get("machine"), manifest["machine"]))
    if moved and not other_machine and not found.get("complete"):
        raise ValueError(
            f"run folder {folder} was begun on another machine ({'; '.join(moved)}); equal bits are promised for equal "
            "machines only: go on without that promise with --other-machine, or start over with --fresh"
        )


def abandoned(folder: Path, manifest: dict[str, Any]) -> Iterator[Path]:
    """Unfinished folders of the same run that were begun by other source code."""
    for path in sorted(folder.parent.glob(f"{manifest['recipe']}-*/{MANIFEST}")):
        with contextlib.suppress(Damaged, ValueError):
            found = read_manifest(path.parent)
            same = all(found.get(key) == manifest[key] for key in ("setup", "rows", "budget"))
            if same and found.get("source") != manifest["source"] and not found.get("complete"):
                yield path.parent
