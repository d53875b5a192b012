"""Which devices work on what: the one file that names devices.

Rows over devices: `jax.pmap` of the vmapped row function; the devices never talk to each other.
One run's batch over devices, of one process or of several: `jax.jit` under a mesh; a family marks what is divisible
with `spread`.
"""

import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from threadpoolctl import threadpool_limits

from research.engine import processes

ROW, SHARED = 0, None  # how an argument of a row function is mapped, as in vmap's in_axes
BATCH = "batch"
DETERMINISTIC = "--xla_gpu_deterministic_ops=true"
LAPACK_OF_SEVERAL = re.compile(r'custom_call @lapack_\w+\(.*num_batch_dims = "[1-9]')


def accelerator_installed() -> bool:
    """True where a JAX plugin for GPU or TPU could be chosen; asks without starting JAX's backend."""
    if os.environ.get("JAX_PLATFORMS", ""):
        return os.environ["JAX_PLATFORMS"].split(",")[0] != "cpu"
    return any(importlib.util.find_spec(name) for name in ("jax_cuda12_plugin", "jax_cuda13_plugin", "libtpu"))


def configure(rows: int, *, light: bool, device_count: int | None = None, fast: bool = False) -> None:
    """Settings that JAX reads once, when its backend starts; for scripts, before any array is made.

    Where a module has started the backend while it was imported, the process starts itself again with the settings.

    rows          rows of the plan; on CPU each core becomes a device as far as there are rows for them
    light         ticks too small for threads inside one operation (measured in docs/design/traps.md)
    device_count  overrides the number of devices of this process
    fast          lifts determinism on GPU
    """
    if accelerator_installed():
        if not fast:
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {DETERMINISTIC}".strip()
    else:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        devices = min(rows, cores) if device_count is None else device_count
        if devices > 1 or light:
            os.environ.setdefault("NPROC", "1")  # one thread per device: XLA sizes its thread pool from this
            # LAPACK's: read when it is loaded, with its first call or, in what draws reports, already.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            threadpool_limits(int(os.environ["OPENBLAS_NUM_THREADS"]), user_api="blas")
        forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
        if not forced and not 1 <= devices <= cores:
            raise ValueError(
                f"device_count={devices} must be at least 1 and at most the {cores} cores here; try {cores}"
            )
        if not forced and jax.config.jax_num_cpu_devices != devices:  # type: ignore[attr-defined]
            try:
                jax.config.update("jax_num_cpu_devices", devices)
            except RuntimeError:
                if os.environ.get("JAX_NUM_CPU_DEVICES") == str(devices):
                    raise  # started anew already, and once more something starts the backend with other settings
                os.environ["JAX_NUM_CPU_DEVICES"] = str(devices)
                os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        jax.config.update("jax_compilation_cache_dir", os.path.join(home, "research", "xla"))
    # The default threshold of one second stores next to nothing of ours.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


@dataclass(frozen=True)
class Placement:
    """`width` rows on `devices`; a single row on several devices spreads its batch instead."""

    devices: tuple[jax.Device, ...]
    width: int

    @classmethod
    def choose(cls, rows: int, device_count: int | None = None) -> "Placement":
        """Fits `rows` rows onto the local devices, padded so that every device has equally many; a single row of several
        processes onto `device_count` (default: all) of each."""
        local = jax.local_devices()
        if device_count is not None and not 1 <= device_count <= len(local):
            raise ValueError(
                f"device_count={device_count} must be at least 1 and at most the {len(local)} devices here; "
                f"try device_count={len(local)}"
            )
        if processes.several():
            if rows > 1:
                raise ValueError(
                    f"{rows} rows in {jax.process_count()} processes: these share one run's batch, and rows need nothing "
                    "of each other; use one seed here, and sweep.py --launch for a process per lane"
                )
            every = [[d for d in jax.devices() if d.process_index == p] for p in range(jax.process_count())]
            return cls(tuple(d for mine in every for d in mine[:device_count]), 1)
        count = device_count or min(rows, len(local))
        if rows > 1:
            count = min(count, rows)
        return cls(tuple(local[:count]), -(-rows // count) * count if rows > 1 else 1)

    @property
    def spreads_batch(self) -> bool:
        return self.width == 1 and len(self.devices) > 1

    @property
    def maps_rows(self) -> bool:
        return self.width > 1 and len(self.devices) > 1

    @property
    def mesh(self) -> Mesh:
        return Mesh(np.array(self.devices), (BATCH,) if self.spreads_batch else ("rows",))

    def put_rows(self, tree: Any) -> Any:
        """Places NumPy arrays [width, ...] one block of rows per device."""
        if not self.maps_rows:
            return self.put_shared(tree)
        shape = (len(self.devices), self.width // len(self.devices))
        split = jax.tree.map(lambda x: np.asarray(x).reshape(*shape, *np.shape(x)[1:]), tree)
        return jax.device_put(split, NamedSharding(self.mesh, PartitionSpec("rows")))

    def put_shared(self, tree: Any) -> Any:
        """Places arrays whole on every device, once: passing them from one device costs a copy a call."""
        if len(self.devices) == 1:
            return jax.device_put(tree, self.devices[0])
        whole = NamedSharding(self.mesh, PartitionSpec())
        if processes.several():  # device_put would compare the processes' copies at every call
            place = lambda x: jax.make_array_from_process_local_data(whole, np.asarray(x), np.shape(x))
            return jax.tree.map(place, tree)
        return jax.device_put(tree, whole)

    def get_rows(self, tree: Any) -> Any:
        """The inverse of `put_rows`: NumPy arrays [width, ...] on the host."""
        host = jax.device_get(tree)
        return jax.tree.map(lambda x: x.reshape(self.width, *x.shape[2:]), host) if self.maps_rows else host

    def compile(
        self,
        row: Callable[..., Any],
        axes: tuple[int | None, ...],
        args: tuple[Any, ...],
        donate: bool,
    ) -> Any:
        """Compiles `row`, written for one row, for all rows; the first argument may be donated.

        Ahead of time: the result refuses other shapes or types instead of compiling again. A device takes its rows one
        after another where LAPACK is called in them: several matrices at once wait on the thread pool that they run in,
        for ever where it is small (jaxlib 0.10.2). Raises ValueError where a row itself hands it several on one of
        several devices.
        """
        several_each = self.width > len(self.devices)
        # One row pays nothing: no batch dimension anywhere in its program.
        lowered = self.lower(jax.vmap(row, axes) if several_each else alone(row, axes), axes, args, donate)
        if several_each and LAPACK_OF_SEVERAL.search(lowered.as_text()):
            lowered = self.lower(one_by_one(row, axes), axes, args, donate)
        if len(self.devices) > 1 and LAPACK_OF_SEVERAL.search(lowered.as_text()):
            raise ValueError(
                f"a function of jnp.linalg gets several matrices at once on each of {len(self.devices)} CPU devices, where "
                "it can wait for ever; give it one at a time, by jax.lax.map, or use --device-count 1"
            )
        program = lowered.compile()
        return Mapped(program) if self.maps_rows else program

    def lower(self, lane: Callable[..., Any], axes: tuple[int | None, ...], args: tuple[Any, ...], donate: bool) -> Any:
        """`lane` as it will be compiled for these arguments."""
        donated = (0,) if donate else ()
        if self.maps_rows:
            return lower_mapped(lane, axes, args, donated, self.devices)
        if self.spreads_batch:
            whole = NamedSharding(self.mesh, PartitionSpec())
            with jax.set_mesh(self.mesh):
                return jax.jit(lane, donate_argnums=donated, out_shardings=whole).lower(*args)
        return jax.jit(lane, donate_argnums=donated).lower(*args)


def lower_mapped(
    lane: Callable[..., Any],
    axes: tuple[int | None, ...],
    args: tuple[Any, ...],
    donated: tuple[int, ...],
    devices: tuple[jax.Device, ...],
) -> Any:
    """`jax.pmap` of `lane` over single leaves, to be compiled.

    Leaves, because pmap (jax 0.10.2) reads `in_axes` as one entry per leaf wherever an argument list happens to have
    as many leaves as arguments, and so takes a (two leaves, ..., no leaf) list amiss without an error.
    """
    leaves, treedef = jax.tree.flatten(args)
    owners = [i for i, arg in enumerate(args) for _ in jax.tree.leaves(arg)]
    mapped = jax.pmap(
        lambda *flat: lane(*jax.tree.unflatten(treedef, flat)),
        in_axes=tuple(axes[i] for i in owners),
        devices=devices,
        donate_argnums=tuple(n for n, i in enumerate(owners) if i in donated),
    )
    return mapped.lower(*leaves)


class Mapped(NamedTuple):
    """A compiled program over leaves, called with trees."""

    program: Any

    def __call__(self, *args: Any) -> Any:
        return self.program(*jax.tree.leaves(args))

    def as_text(self) -> str:
        return self.program.as_text()

    def memory_analysis(self) -> Any:
        return self.program.memory_analysis()


def alone(row: Callable[..., Any], axes: tuple[int | None, ...]) -> Callable[..., Any]:
    """`jax.vmap(row, in_axes=axes)` for exactly one row, without a batch dimension inside."""

    def lane(*args: Any) -> Any:
        single = [
            jax.tree.map(lambda x: x.squeeze(0), arg) if axis == ROW else arg
            for arg, axis in zip(args, axes, strict=True)
        ]
        return jax.tree.map(lambda x: x[None], row(*single))

    return lane


def one_by_one(row: Callable[..., Any], in_axes: tuple[int | None, ...]) -> Callable[..., Any]:
    """`jax.vmap(row, in_axes)` as a loop: no operation sees a batch of rows."""

    def lane(*args: Any) -> Any:
        rows = {i: arg for i, (arg, axis) in enumerate(zip(args, in_axes, strict=True)) if axis == ROW}
        return jax.lax.map(lambda own: row(*[own.get(i, arg) for i, arg in enumerate(args)]), rows)

    return lane


def spread(batch: Any) -> Any:
    """Marks the leading axis of every array as divisible over the devices of a single run; elsewhere the identity.

    batch: pytree of arrays [B, ...] -> the same. Raises ValueError where B does not divide.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if BATCH not in mesh.axis_names:
        return batch
    count = mesh.shape[BATCH]

    def constrain(x: jax.Array) -> jax.Array:
        if x.shape[0] % count:
            below = x.shape[0] // count * count
            raise ValueError(
                f"a batch of {x.shape[0]} does not divide over {count} devices; "
                f"nearest: {f'{below} or ' if below else ''}{below + count}"
            )
        return jax.lax.with_sharding_constraint(x, PartitionSpec(BATCH))

    return jax.tree.map(constrain, batch)
