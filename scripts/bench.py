"""Measures our speed beside what a user would pick instead: `python scripts/bench.py classify --cores 1`.

Without a name it lists the benches. `all` runs every one of them and writes docs/results/bench.md, `growth` those that
show how cost grows, and `table` makes tables and pictures anew from what is stored.

Only ratios of alternating runs mean anything on a shared machine. So every contestant is a process of its own, started
once, pinned to the same cores, warmed up, and then all are asked in turn, round after round; a round gives one ratio.
"""

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from benches.harness import compare, console
from benches.registry import BENCHES
from benches.results import Found, circumstances, show, store, summarize, summary, table
from rich.table import Table

from research.command import MACHINE, command, say

RESULTS = Path(__file__).resolve().parent.parent / "docs" / "results"
ROUNDS = 5  # at least, for figures that are published


@dataclass(frozen=True)
class Arguments:
    bench: Annotated[str, tyro.conf.Positional] = ""
    """A bench, or all, growth, or table; none lists them."""
    cores: int | None = None
    """How many cores every contestant may use; by default a bench runs at each count that it is meant for, as far as there
    are as many here."""
    first_core: int = 0
    """The first of these cores."""
    repetitions: int = ROUNDS
    """Measured rounds; the median is reported."""
    only: tuple[str, ...] = ()
    """Contestants to run, by name; all where empty. Such a run is not written."""
    out: Path | None = None
    """Folder to write into; `all`, `growth` and `table` take docs/results by default, a single bench writes nothing."""


def main(arguments: list[str]) -> int:
    chosen = tyro.cli(Arguments, args=arguments, description=__doc__)
    if not chosen.bench:
        console.print(listing())
        return 0
    several = chosen.bench in ("all", "growth")
    out = chosen.out or (RESULTS if several or chosen.bench == "table" else None)
    if chosen.bench == "table":
        if not any(out.glob("*.json")):
            raise ValueError(f"{str(out)!r} holds no results; give the folder that a bench was written to: --out")
        console.print(tell(out), markup=False, highlight=False, soft_wrap=True)
        return 0
    names = [name for name in BENCHES if several and name.startswith("growth" if chosen.bench == "growth" else "")]
    turns = turns_of(chosen, names or [chosen.bench])
    check(chosen, turns, out)
    failed = []
    for number, (name, cores) in enumerate(turns, 1):
        console.print(
            f"{number} of {len(turns)}: {name}, cores {list(cores)}: {BENCHES[name].compared}", highlight=False
        )
        try:
            measure(name, cores, chosen, out)
        except ChildProcessError as error:
            failed.append(f"{name}, cores {list(cores)}: {error}")
            console.print(failed[-1], style="red", highlight=False, soft_wrap=True)
        except KeyboardInterrupt:
            kept = f"; of what is measured, `bench.py table --out {out}` makes the tables" if out else ""
            say("stopped", f"stopped by Ctrl-C in {name}, which is not kept{kept}", "yellow")
            return 128 + signal.SIGINT
    if out:
        text = tell(out)
        console.print(text if several else f"written to {out}", markup=False, highlight=False, soft_wrap=True)
    if failed:
        say("failed", "\n".join([f"{len(failed)} of {len(turns)} benches failed:", *failed]), "red")
    return MACHINE if failed else 0


def listing() -> Table:
    listed = Table("bench", "cores", "what is compared")
    for name, bench in BENCHES.items():
        listed.add_row(name, ", ".join(map(str, bench.cores)), bench.compared)
    return listed


def turns_of(chosen: Arguments, names: list[str]) -> list[tuple[str, range]]:
    """What is to run, on which cores. Raises ValueError where that is nothing."""
    if names[0] not in BENCHES:
        raise ValueError(f"bench={names[0]!r} must be all, growth, table, or one of {', '.join(BENCHES)}")
    free = [core for core in sorted(os.sched_getaffinity(0)) if core >= chosen.first_core]
    counts = range(1, len(free) + 1) if chosen.cores is None else [chosen.cores]
    pinned = {count: range(chosen.first_core, chosen.first_core + count) for count in counts}
    fits = lambda cores: 0 < cores.stop - cores.start <= len(free) and {*cores} <= {*free}
    wrong = [f"cores={count}" for count, cores in pinned.items() if not fits(cores)]
    if wrong or not free:
        every = sorted(os.sched_getaffinity(0))
        raise ValueError(
            f"{' '.join([*wrong, f'first_core={chosen.first_core}'])} must stay among the free cores, {every}"
        )
    turns = [(name, pinned[count]) for name in names for count in counts if count in BENCHES[name].cores]
    if not turns:
        meant = ", ".join(str(count) for count in BENCHES[names[0]].cores)
        raise ValueError(f"{chosen.bench} is meant for cores={meant}, and is asked for {', '.join(map(str, counts))}")
    return turns


def check(chosen: Arguments, turns: list[tuple[str, range]], out: Path | None) -> None:
    """Raises ValueError for arguments that do not fit, before anything is started."""
    if chosen.repetitions < 1:
        raise ValueError(f"repetitions={chosen.repetitions} must be at least 1; usual: {ROUNDS}")
    if out and out.resolve() == RESULTS and chosen.repetitions < ROUNDS:
        raise ValueError(
            f"repetitions={chosen.repetitions} is too few for {RESULTS.name}, where figures have {ROUNDS} rounds or more; "
            "write them elsewhere: --out FOLDER"
        )
    known = dict.fromkeys(contestant for name, cores in turns for contestant in BENCHES[name].at(len(cores)))
    for name in chosen.only:
        if name not in known:
            raise ValueError(f"only={name!r} must be one of {', '.join(known)}")
    if chosen.only and (out or len({name for name, _ in turns}) > 1):
        raise ValueError(
            f"only={', '.join(chosen.only)} is for a look at one bench: what is written has all contestants"
        )


def measure(name: str, cores: range, chosen: Arguments, out: Path | None) -> None:
    """Runs a bench, prints what it found and writes it. Raises ChildProcessError where a contestant fails."""
    bench, entry = BENCHES[name], circumstances(cores)
    contestants = {key: each for key, each in bench.at(len(cores)).items() if not chosen.only or key in chosen.only}
    found = compare(contestants, cores, chosen.repetitions)
    if not bench.growth:
        summarize(found)
        console.print(compared(f"{name}, cores {list(cores)}, {chosen.repetitions} rounds", found))
    for key, result in found.items():
        if "shares" in result:
            console.print(f"{key}: {show(summary(result['shares']))} of the FLOP rate of a large matrix product here")
    if out:
        store(out / f"{name if bench.growth else f'bench-{name}'}.json", entry | {"contestants": found})


def compared(title: str, found: Found) -> Table:
    first, result = next(iter(found)), Table(title=title)
    result.add_column("contestant")
    for heading in ("median (min to max)", f"{first} / this", "by processor time"):
        result.add_column(heading, justify="right")
    for name, entry in found.items():
        rate = f"{show(entry['rate'], ',.0f')} {entry['unit']}"
        result.add_row(name, rate, show(entry["ratio"]), show(entry["ratio_by_processor"]))
    return result


def tell(out: Path) -> str:
    """Makes a folder's tables and pictures anew from what it holds -> the tables."""
    from benches import growth

    texts = {
        kind: make(out)
        for kind, make in {"bench": table, "growth": growth.report}.items()
        if any(out.glob(f"{kind}-*.json"))
    }
    for kind, text in texts.items():
        (out / f"{kind}.md").write_text(text)
    growth.pictures(out)
    return "\n".join(texts.values())


if __name__ == "__main__":
    command(main)
