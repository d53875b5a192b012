"""Lanes as jobs: processes on this machine, or an array under Slurm. Each job runs the sweep's own command for one lane.

A job is nothing but a command, so whatever resumes a sweep resumes a job: a requeued one goes on from its checkpoint.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

POLL_SECONDS, GRACE_SECONDS = 1.0, 120.0
LAUNCHER = "RESEARCH_LAUNCHER"  # names the launcher's process to its lanes


def command(script: Path, arguments: Sequence[str], lane: int) -> list[str]:
    """The command of one lane: the sweep's own, told which lane to run."""
    return [sys.executable, str(script.resolve()), *arguments, "--launch", "here", "--lane", str(lane)]


def local(commands: Sequence[list[str]], jobs: int, logs: Path, say: Callable[[str], None]) -> list[int]:
    """Runs commands as `jobs` processes at a time, each on cores of its own -> their exit codes.

    Output goes to logs/lane-<number>.txt. Raises ValueError for more jobs than cores.
    """
    cores = sorted(os.sched_getaffinity(0))
    if not 1 <= jobs <= len(cores):
        raise ValueError(
            f"jobs={jobs} must be at least 1 and at most the {len(cores)} cores here; try jobs={len(cores)}"
        )
    logs.mkdir(parents=True, exist_ok=True)
    free: SimpleQueue[set[int]] = SimpleQueue()
    for job in range(jobs):
        free.put(set(cores[job * len(cores) // jobs : (job + 1) * len(cores) // jobs]))

    def go(number: int) -> int:
        mine = free.get()
        try:
            with (logs / f"lane-{number}.txt").open("w") as log:
                process = subprocess.Popen(
                    commands[number],
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=os.environ | {LAUNCHER: str(os.getpid())},
                )
                with contextlib.suppress(ProcessLookupError):  # it has ended already
                    os.sched_setaffinity(process.pid, mine)  # before it has counted its cores
                code = process.wait()
        finally:
            free.put(mine)
        say(f"lane {number + 1} of {len(commands)} ended with exit code {code}")
        return code

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(go, range(len(commands))))


def stop_with_launcher() -> None:
    """In a lane that `local` started: asks Linux for SIGTERM when the launcher's thread ends, however that ends, so that
    the lane saves and stops. Elsewhere it goes on."""
    launcher = os.environ.get(LAUNCHER)
    if launcher and sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)
        if os.getppid() != int(launcher):
            sys.exit(128 + signal.SIGTERM)  # it ended before this


class LaneJob:
    """What submitit runs: a command, told by SIGTERM to save before Slurm takes the machine.

    It polls, and never waits: `checkpoint` runs in a signal handler on top of `__call__`, and Popen's wait holds a lock.
    """

    def __init__(self, words: list[str]) -> None:
        self.words = words
        self.process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        # Slurm's warning goes to every process of the job, and would kill one that does not know it.
        ignore = lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        self.process = subprocess.Popen(self.words, preexec_fn=ignore)
        code = self.polled()
        if code == 128 + signal.SIGTERM:
            time.sleep(GRACE_SECONDS)  # it was told to stop, and so is this process: to be queued again, not to end
        return code

    def polled(self) -> int:
        assert self.process is not None
        while (code := self.process.poll()) is None:
            time.sleep(POLL_SECONDS / 10)
        return code

    def checkpoint(self) -> Any:
        """Called by submitit on preemption and at the time limit -> the job to be queued again."""
        import submitit

        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.polled()
        return submitit.helpers.DelayedSubmission(LaneJob(self.words))


def slurm(
    commands: Sequence[list[str]], settings: Sequence[str], jobs: int | None, logs: Path, say: Callable[[str], None]
) -> list[int]:
    """Submits commands as one job array and waits for it -> exit codes; 1 for a job that Slurm lost.

    settings  'KEY=VALUE' as submitit's SlurmExecutor names them: partition=gpu, time=60 (minutes), gres=gpu:1, mem=16GB
    jobs      how many of the array run at a time at most
    """
    try:
        import submitit
    except ImportError:
        raise ValueError(
            "submitit is not installed, and --launch slurm needs it; pip install 'research[cluster]'"
        ) from None
    wrong = [text for text in settings if not all(text.partition("="))]
    if wrong:
        raise ValueError(f"--slurm {wrong[0]!r} must be KEY=VALUE; for example partition=gpu or time=60")
    chosen = {key: int(value) if value.isdecimal() else value for key, _, value in (x.partition("=") for x in settings)}
    if "array_parallelism" in chosen:
        raise ValueError("--slurm array_parallelism must be left out; --jobs says how many lanes run at a time")
    if jobs is not None and jobs < 1:
        raise ValueError(f"jobs={jobs} must be at least 1; leave --jobs out for all at a time")
    logs.mkdir(parents=True, exist_ok=True)
    try:
        executor = submitit.SlurmExecutor(folder=logs)
    except RuntimeError as error:
        raise ValueError(f"--launch slurm: {error}; run where sbatch is on the path, or use --launch local") from error
    limit = {"array_parallelism": jobs} if jobs else {}
    try:
        executor.update_parameters(**(limit | chosen))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise ValueError(f"--slurm {', '.join(settings)}: {error}") from error
    with executor.batch():
        submitted = [executor.submit(LaneJob(words)) for words in commands]
    say(f"submitted {', '.join(job.job_id for job in submitted)}; this process may be stopped, the jobs go on")
    codes: dict[int, int] = {}
    while len(codes) < len(submitted):
        for number, job in enumerate(submitted):
            if number not in codes and job.done():
                codes[number] = code_of(job)
                say(f"lane {number + 1} of {len(submitted)} (job {job.job_id}) ended with exit code {codes[number]}")
        time.sleep(POLL_SECONDS)
    return [codes[number] for number in range(len(submitted))]


def code_of(job: Any) -> int:
    """A finished job's exit code; 1 where it has none."""
    error = job.exception()
    return 1 if error is not None else int(job.result())
