"""Measures our speed beside what a user would pick instead: `python scripts/bench.py classify --cores 1 --write`.

Only ratios of alternating runs mean anything on a shared machine. So every contestant is a process of its own, started
once, pinned to the same cores, warmed up, and then all are asked in turn, round after round; a round gives one ratio.

A contestant is one file in `scripts/benches/`, registered in BENCHES below:
- It says what it needs in a script header (PEP 723). The harness makes `.bench/<environment>` from it, so that peers
  with clashing needs live apart. Without such a header it runs in the interpreter that runs this script.

      # /// script
      # dependencies = ["torch==2.13.0"]
      # ///

- It is started as `python FILE ARGUMENTS... --cores N` and ends with `serve(measure)` (benches/serve.py), where
  `measure() -> {"rate": float, "unit": str, ...}` runs one repetition, 2 to 10 seconds long. The first call is the
  warm-up and is thrown away, but for keys other than `rate`, which are kept as notes (versions, settings). `share`, where
  given, is the share of the machine's peak FLOP rate, round by round.
- Ratios are the first contestant's rate (ours) / each one's rate: by the clock, and by the processor time that each
  really got (`busy`), which on one core tells how much of a ratio is only other people's work on this machine.
"""

import fcntl
import json
import os
import platform
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from rich.table import Table

from research.command import command, terminal
from research.engine.fields import Count, Natural, check
from research.engine.record import processor

ROOT = Path(__file__).resolve().parent.parent
console = terminal()


class Contestant(NamedTuple):
    """One process of a bench.

    file         name in scripts/benches/
    arguments    command line of that file, before `--cores N`
    environment  variables set for the process, where they must stand before a library is imported
    cores        core counts at which it takes part
    venv         folder under .bench/ for its requirements; by default the part of `file` after the last underscore
    """

    file: str
    arguments: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    cores: tuple[int, ...] = (1, 2)
    venv: str = ""


ONE_THREAD = {"NPROC": "1"}
SMALL = "--blocks", "2", "--features", "32", "--games", "64", "--moves", "8"
BREAKOUT = "--environment", "Breakout-MinAtar"
BENCHES: dict[str, dict[str, Contestant]] = {
    "classify": {
        "ours": Contestant("classify_ours.py", environment={"NPROC": "1"}),
        "ours, one run on all cores": Contestant("classify_ours.py", ("--rows", "1"), cores=(2,)),
        "torch eager": Contestant("classify_torch.py", ("--mode", "eager")),
        "torch eager, channels last": Contestant("classify_torch.py", ("--layout", "channels_last")),
        "torch.compile": Contestant("classify_torch.py", ("--mode", "compile")),
    },
    "lm": {
        "ours": Contestant("lm_ours.py", environment={"NPROC": "1"}),
        "ours, one run on all cores": Contestant("lm_ours.py", ("--rows", "1"), cores=(2,)),
        "torch eager": Contestant("lm_torch.py", ("--mode", "eager")),
        "torch eager, fused AdamW": Contestant("lm_torch.py", ("--mode", "eager", "--fused")),
        "torch.compile": Contestant("lm_torch.py", ("--mode", "compile")),
    },
    "lm-stream": {
        "streamed": Contestant("lm_stream.py", ("--by", "streamed"), cores=(1,)),
        "resident": Contestant("lm_stream.py", ("--by", "resident"), cores=(1,)),
    },
    "lm-generate": {
        "with a cache": Contestant("lm_generate.py", ("--by", "cache"), cores=(1,)),
        "reading the prefix again": Contestant("lm_generate.py", ("--by", "prefix"), cores=(1,)),
    },
    "gan": {
        "ours": Contestant("gan_ours.py", environment={"NPROC": "1"}),
        "ours, four seeds": Contestant("gan_ours.py", ("--rows", "4"), environment={"NPROC": "1"}),
        "torch eager": Contestant("gan_torch.py", ("--mode", "eager")),
        "torch eager, fused Adam": Contestant("gan_torch.py", ("--mode", "eager", "--fused")),
        "torch.compile": Contestant("gan_torch.py", ("--mode", "compile")),
    },
    "engine": {
        "ours": Contestant("engine_overhead.py", ("--by", "engine"), cores=(1,)),
        "by hand": Contestant("engine_overhead.py", ("--by", "hand"), cores=(1,)),
    },
    "ppo": {
        "ours": Contestant("ppo_ours.py", ("--seeds", "1"), cores=(1,)),
        "rejax": Contestant("ppo_rejax.py", ("--seeds", "1"), cores=(1,)),
    },
    "ppo-breakout": {
        "ours": Contestant("ppo_ours.py", (*BREAKOUT, "--steps", "131072"), cores=(1,)),
        "rejax": Contestant("ppo_rejax.py", (*BREAKOUT, "--steps", "131072"), cores=(1,)),
    },
    "ppo-16": {
        "ours": Contestant("ppo_ours.py", ("--seeds", "16", "--steps", "51200")),
        "rejax": Contestant("ppo_rejax.py", ("--seeds", "16", "--steps", "51200")),
        "rejax, one thread": Contestant(
            "ppo_rejax.py", ("--seeds", "16", "--steps", "51200"), environment={"NPROC": "1"}, cores=(2,)
        ),
    },
    "dqn": {
        "ours": Contestant("q_ours.py", ("--method", "dqn"), cores=(1,)),
        "ours, 5,000 slots": Contestant("q_ours.py", ("--method", "dqn", "--capacity", "5000"), cores=(1,)),
        "ours, 200,000 slots": Contestant("q_ours.py", ("--method", "dqn", "--capacity", "200000"), cores=(1,)),
        "rejax": Contestant("q_rejax.py", ("--method", "dqn"), cores=(1,)),
    },
    "dqn-breakout": {
        "ours": Contestant("q_ours.py", ("--method", "dqn", *BREAKOUT, "--steps", "10000"), cores=(1,)),
        "rejax": Contestant("q_rejax.py", ("--method", "dqn", *BREAKOUT, "--steps", "10000"), cores=(1,)),
    },
    "pqn": {
        "ours": Contestant("q_ours.py", ("--method", "pqn"), cores=(1,)),
        "rejax": Contestant("q_rejax.py", ("--method", "pqn"), cores=(1,)),
    },
    "selfplay": {
        "ours": Contestant("selfplay_ours.py", environment=ONE_THREAD, cores=(1,)),
        "pgx's example": Contestant("selfplay_pgx.py", environment=ONE_THREAD, cores=(1,)),
    },
    "selfplay-small": {
        "ours": Contestant("selfplay_ours.py", SMALL, ONE_THREAD, cores=(1,)),
        "pgx's example": Contestant("selfplay_pgx.py", SMALL, ONE_THREAD, cores=(1,)),
    },
    "selfplay-games": {
        f"{games} games": Contestant(
            "selfplay_ours.py",
            (*SMALL[:4], "--games", str(games), "--moves", str(max(2, 256 // games))),
            ONE_THREAD,
            (1,),
        )
        for games in (256, 1, 4, 16, 64)
    },
    "sweep": {
        "one sweep": Contestant("sweep.py", ("--by", "sweep"), cores=(2,)),
        "calls in one process": Contestant("sweep.py", ("--by", "calls"), cores=(2,)),
        "a process each, two at a time": Contestant("sweep.py", ("--by", "processes"), cores=(2,)),
    },
    "start": {
        "filled cache": Contestant("start.py", ("--cache", "filled")),
        "empty cache": Contestant("start.py", ("--cache", "empty")),
    },
}


@dataclass(frozen=True)
class Arguments:
    bench: Annotated[str, tyro.conf.Positional]
    """Which comparison to run: a name in BENCHES."""
    cores: Count = 1
    """How many cores every contestant may use."""
    first_core: Natural = 0
    """The first of these cores."""
    repetitions: Count = 5
    """Measured rounds; the median is reported."""
    only: tuple[str, ...] = field(default=())
    """Contestants to run, by name; all where empty."""
    write: bool = False
    """Write docs/results/bench-BENCH.json."""


def requirements(file: Path) -> list[str]:
    """Dependencies in a file's script header (PEP 723), or an empty list."""
    _, _, rest = file.read_text().partition("# /// script\n")
    header, _, _ = rest.partition("# ///\n")
    return tomllib.loads(header.replace("# ", "")).get("dependencies", [])


def interpreter(contestant: Contestant) -> str:
    """The Python that runs a contestant; makes its environment on first use and when its needs change."""
    file = ROOT / "scripts" / "benches" / contestant.file
    needs = requirements(file)
    if not needs:
        return sys.executable
    folder = ROOT / ".bench" / (contestant.venv or file.stem.rsplit("_", 1)[-1])
    python, stamp = folder / "bin" / "python", folder / "requirements.json"
    if not stamp.exists() or json.loads(stamp.read_text()) != needs:
        console.print(f"making .bench/{folder.name}: {', '.join(needs)}")
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *needs], check=True)
        stamp.write_text(json.dumps(needs))
    return str(python)


def start(contestant: Contestant, cores: range) -> subprocess.Popen[str]:
    """Starts a contestant pinned to `cores`."""
    file = ROOT / "scripts" / "benches" / contestant.file
    process = subprocess.Popen(
        [interpreter(contestant), str(file), *contestant.arguments, "--cores", str(len(cores))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **contestant.environment},
    )
    os.sched_setaffinity(process.pid, cores)  # before it has loaded anything that counts cores or starts threads
    return process


def ask(name: str, process: subprocess.Popen[str]) -> dict[str, Any]:
    """One repetition of a contestant. Raises ChildProcessError where it died."""
    assert process.stdin and process.stdout
    process.stdin.write("go\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise ChildProcessError(f"contestant {name!r} ended with status {process.wait()}; its own message stands above")
    return json.loads(line)


@contextmanager
def alone() -> Iterator[None]:
    """Two benches of one checkout take turns: threads that wait for each other collapse on a core that others use."""
    path = ROOT / ".bench" / "lock"
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def compare(contestants: dict[str, Contestant], cores: range, repetitions: int) -> dict[str, dict[str, Any]]:
    """Asks all contestants in turn, `repetitions` times -> name -> notes and rates, one per round."""
    processes = {name: start(contestant, cores) for name, contestant in contestants.items()}
    try:
        found = {}
        for name, process in processes.items():
            notes = ask(name, process)
            every = {"rates": [], "busy": []} | ({"shares": []} if "share" in notes else {})
            found[name] = {k: v for k, v in notes.items() if k not in ("rate", "busy", "share")} | every
        for repetition in range(repetitions):
            for name, process in processes.items():
                answer = ask(name, process)
                rate, busy, unit = answer["rate"], answer["busy"], found[name]["unit"]
                found[name]["rates"].append(rate)
                found[name]["busy"].append(busy)
                if "share" in answer:
                    found[name]["shares"].append(answer["share"])
                console.print(
                    f"  {repetition + 1}/{repetitions}  {name:<28} {rate:12,.0f} {unit}, {busy:.2f} cores busy"
                )
        return found
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarize(found: dict[str, dict[str, Any]]) -> None:
    """Adds to each contestant the summary of its rates, and of ours / this round by round."""
    ours = next(iter(found.values()))
    ours_by_processor = by_processor(ours)
    for result in found.values():
        result["rate"] = summary(result["rates"])
        result["ratio"] = ratios(ours["rates"], result["rates"])
        result["ratio_by_processor"] = ratios(ours_by_processor, by_processor(result))


def by_processor(result: dict[str, Any]) -> list[float]:
    """Rates per second of processor time instead of per second."""
    return [rate / busy for rate, busy in zip(result["rates"], result["busy"], strict=True)]


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    return summary([mine / other for mine, other in zip(ours, theirs, strict=True)])


def table(title: str, found: dict[str, dict[str, Any]]) -> Table:
    result = Table(title=title)
    first = next(iter(found))
    result.add_column("contestant")
    for heading in ("median (min to max)", f"{first} / this", "by processor time"):
        result.add_column(heading, justify="right")
    for name, entry in found.items():
        spreads = entry["rate"], entry["ratio"], entry["ratio_by_processor"]
        digits = ",.0f", ".2f", ".2f"
        result.add_row(name, *[show(spread, digit) for spread, digit in zip(spreads, digits, strict=True)])
    return result


def show(spread: dict[str, float], digits: str) -> str:
    return f"{spread['median']:{digits}} ({spread['min']:{digits}} to {spread['max']:{digits}})"


def write(bench: str, cores: int, found: dict[str, dict[str, Any]]) -> Path:
    """Puts this result into docs/results/bench-<bench>.json, beside those at other core counts."""
    path = ROOT / "docs" / "results" / f"bench-{bench}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text()) if path.exists() else {}
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()}
    content[f"{cores} core" if cores == 1 else f"{cores} cores"] = {"machine": machine, "contestants": found}
    path.write_text(json.dumps(content, indent=2) + "\n")
    return path.relative_to(ROOT)


def main(words: list[str]) -> int:
    arguments = tyro.cli(Arguments, args=words, prog="bench.py", description=__doc__)
    check(arguments, Arguments(arguments.bench))
    if arguments.bench not in BENCHES:
        raise ValueError(f"bench={arguments.bench!r} must be one of {', '.join(BENCHES)}")
    cores = range(arguments.first_core, arguments.first_core + arguments.cores)
    free = sorted(os.sched_getaffinity(0))
    if any(core not in free for core in (cores[0], cores[-1])) or not {*cores} <= {*free}:
        raise ValueError(
            f"first_core={cores[0]} and cores={arguments.cores} name cores {cores[0]} to {cores[-1]}; there are {free}"
        )
    every = BENCHES[arguments.bench]
    contestants = {name: each for name, each in every.items() if arguments.cores in each.cores}
    if not contestants:
        known = sorted({count for each in every.values() for count in each.cores})
        raise ValueError(f"cores={arguments.cores} is none that {arguments.bench} compares at; use one of {known}")
    unknown = [name for name in arguments.only if name not in contestants]
    if unknown:
        raise ValueError(f"only={unknown[0]!r} must be one of {', '.join(contestants)}")
    if arguments.only:
        contestants = {name: contestants[name] for name in arguments.only}
    with alone():
        found = compare(contestants, cores, arguments.repetitions)
    summarize(found)
    unit = next(iter(found.values()))["unit"]
    title = f"{arguments.bench}, cores {', '.join(map(str, cores))}, {arguments.repetitions} alternating rounds, {unit}"
    console.print(table(title, found))
    for name, entry in found.items():
        if "shares" in entry:
            told = show(summary(entry["shares"]), ".2f")
            console.print(f"{name}: {told} of the FLOP rate of a large matrix product on the same machine")
    if arguments.write:
        console.print(f"written to {write(arguments.bench, arguments.cores, found)}")
    return 0


if __name__ == "__main__":
    command(main)
