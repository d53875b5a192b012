"""Several processes for one run, by `jax.distributed`: how they join, agree and part. One process needs none of this.

Process 0 leads: it alone reads and writes the run folder. All of them run the same programs in the same order, each on
its own devices; where one is gone the others cannot go on, and say so.
"""

import collections
import ctypes
import os
import re
import signal
import sys
import time
from typing import Any

import jax
import numpy as np

# How long a process waits for the others to join (s), and one that has ended for the others to end: the leader may have
# much to save, and every error ends a process at once.
JOIN_SECONDS, PART_SECONDS = 120, 3600
GONE = (
    "another process of this run is gone, and none goes on alone; what was saved is whole: "
    "start all of them again, with the same commands, to go on from there"
)
# What the messages of lost connections have in common, in Gloo, NCCL and JAX's own service.
_CODES = re.compile("(UNKNOWN|UNAVAILABLE|INTERNAL|DEADLINE_EXCEEDED|ABORTED|CANCELLED|FAILED_PRECONDITION):")
_SIGNS = ("gloo", "nccl", "connection closed", "connection reset", "socket closed", "coordination service")


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Makes this process one of several; before JAX's backend starts. An empty coordinator means one process.

    coordinator  HOST:PORT where process 0 can be reached; 'auto' under Slurm, Open MPI and on TPU pods

    Raises ValueError for what does not fit, OSError where the processes do not find each other.
    """
    if not coordinator:
        if processes is not None or process is not None:
            raise ValueError("--processes and --process need --coordinator HOST:PORT, where process 0 can be reached")
        return
    if coordinator == "auto":
        if processes is not None or process is not None:
            raise ValueError(
                "--coordinator auto finds out how many processes there are; leave out --processes, --process"
            )
        address = None
    else:
        address = coordinator
        port = re.fullmatch(r"\S+:(\d{1,5})", coordinator)
        if not port or not 0 < int(port[1]) < 65536:
            raise ValueError(f"coordinator={coordinator!r} must be HOST:PORT or auto; for example localhost:4321")
        if processes is None or process is None:
            raise ValueError("--coordinator HOST:PORT needs --processes N and --process 0 .. N-1")
        if not 0 <= process < processes:
            raise ValueError(f"process={process} must be at least 0 and below processes={processes}")
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, which the engine heeds
    missed = f"the processes of this run did not find each other at {coordinator} within {JOIN_SECONDS} s"
    _explain_abort(missed)
    try:
        jax.distributed.initialize(
            address,
            processes,
            process,
            initialization_timeout=JOIN_SECONDS,
            shutdown_timeout_seconds=PART_SECONDS,
        )
    except RuntimeError as error:
        raise OSError(f"{missed}: {error}") from error
    except ValueError as error:
        raise ValueError(
            f"coordinator={coordinator!r} finds no cluster that JAX knows ({error}); give HOST:PORT, --processes and --process"
        ) from error
    _explain_abort(GONE)
    devices = collections.Counter(device.process_index for device in jax.devices())
    if len(set(devices.values())) > 1:
        told = ", ".join(f"{count} in process {number}" for number, count in sorted(devices.items()))
        raise ValueError(
            f"the processes of a run need equally many devices, found {told}; give each the same --device-count"
        )
    gathered(np.int32(0))  # connects them now, while all are at the same point: Gloo waits 30 s, data may take longer


_on_abort: Any = None  # kept here, because the C library calls it


def _explain_abort(message: str) -> None:
    """JAX's client aborts the process where its service or another process is lost, past any `except`: says why."""
    global _on_abort
    text = f"\n{message} (JAX's lines above say what it saw)\n".encode()
    _on_abort = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: (os.write(2, text), os._exit(1)))
    ctypes.CDLL(None).signal(int(signal.SIGABRT), _on_abort)


def several() -> bool:
    """Starts no backend where nobody has joined."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


def leads() -> bool:
    return not several() or jax.process_index() == 0


def from_leader(tree: Any) -> Any:
    """Process 0's NumPy arrays, on every process; all call it, with arrays of the same shapes and dtypes."""
    if not several():
        return tree
    from jax.experimental import multihost_utils

    def received(x: Any) -> np.ndarray:
        """Sent as bytes: JAX would round what has 64 bits."""
        sent = np.frombuffer(x.tobytes(), np.uint8)
        got = np.asarray(multihost_utils.broadcast_one_to_all(sent)).astype(np.uint8) if x.size else sent
        return np.frombuffer(got.tobytes(), x.dtype).reshape(x.shape)

    return jax.tree.map(received, tree)


def gathered(numbers: Any) -> np.ndarray:
    """Every process's numbers, [processes, ...]."""
    from jax.experimental import multihost_utils

    return np.asarray(multihost_utils.process_allgather(np.asarray(numbers)))


def agree(digest: np.ndarray) -> None:
    """Raises ValueError, in every process, where u8[32] differs between them."""
    digests = gathered(digest)
    differ = [str(process) for process, x in enumerate(digests) if not np.array_equal(x, digests[0])]
    if differ:
        raise ValueError(
            f"process {', '.join(differ)} was started with other options, code or data than process 0; "
            "start all of them with the same command, apart from --process"
        )


def lost(error: BaseException) -> str:
    """What to tell where an error means that another process is gone; '' for any other error."""
    text = str(error)
    if not several() or not _CODES.match(text) or not any(sign in text.lower() for sign in _SIGNS):
        return ""
    return f"{GONE} ({text.splitlines()[0]})"


def part(code: int) -> None:
    """Ends this process at once where others wait for it: they notice, and an orderly exit would wait for them."""
    if several():
        sys.stdout.flush()
        sys.stderr.flush()
        if leads():
            time.sleep(1)  # its end is the service's end, and would cut off what the others have to say
        os._exit(code)
