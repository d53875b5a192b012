"""What was measured, on disk: docs/results/bench-NAME.json and growth-NAME.json, and the tables made from these alone.

A file holds an entry for each number of cores: the machine, versions, date and source revision, what else the machine did
when it began (`load`, the mean number of running processes in the minute before), and the contestants with every round.
"""

import datetime
import json
import os
import platform
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any

from research.engine.manifest import processor, revision

Found = dict[str, dict[str, Any]]
UNKNOWN = "not recorded"
ALL_CORES = "ours, one run on all cores"  # the fair one beside one run of theirs
HEAD = ("bench", "cores", "ours", "its rate", "beside", "ours / beside: median (min to max)")
HEAD += ("by processor time", "rounds", "date", "versions", "revision", "machine")


def circumstances(cores: range) -> dict[str, Any]:
    """All but the contestants of an entry; asked for before anything is measured or written."""
    return {
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            "system": platform.system(),
            "python": platform.python_version(),
            "jax": version("jax"),
        },
        "date": datetime.date.today().isoformat(),
        "revision": code(),
        "pinned_to": list(cores),
        "load": round(os.getloadavg()[0], 1),
    }


def code() -> str:
    """The git revision of this checkout, and whether the package or the scripts differ from it."""
    found = revision(":/research", ":/scripts")
    return found["revision"][:10] + (" with changes" if found["dirty"] else "") if found else UNKNOWN


def store(path: Path, entry: dict[str, Any]) -> None:
    """Puts an entry into a file, beside those at other core counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = json.loads(path.read_text()) if path.exists() else {}
    cores = len(entry["pinned_to"])
    content[f"{cores} core" if cores == 1 else f"{cores} cores"] = entry
    path.write_text(json.dumps(content, indent=2) + "\n")


def stored(folder: Path, kind: str) -> list[tuple[str, int, dict[str, Any]]]:
    """(name, cores, entry) of every file of a kind, by name and core count."""
    files = sorted(folder.glob(f"{kind}-*.json"), key=lambda path: path.stem)
    found = [(path.stem.removeprefix(f"{kind}-"), json.loads(path.read_text())) for path in files]
    return [(name, int(key.split()[0]), content[key]) for name, content in found for key in sorted(content)]


def summary(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratios(ours: list[float], theirs: list[float]) -> dict[str, float]:
    """Of a round each: only what was measured in turn is compared."""
    return summary([mine / other for mine, other in zip(ours, theirs, strict=True)])


def by_processor(result: dict[str, Any]) -> list[float]:
    """Rates per second of processor time instead of per second."""
    return [rate / busy for rate, busy in zip(result["rates"], result["busy"], strict=True)]


def summarize(found: Found) -> None:
    """Adds to each contestant the summary of its rates, and of ours / this round by round: by the clock, and by the
    processor time that each really got, which on one core tells how much of a ratio is other people's work."""
    ours = next(iter(found.values()))
    for result in found.values():
        result["rate"] = summary(result["rates"])
        result["ratio"] = ratios(ours["rates"], result["rates"])
        result["ratio_by_processor"] = ratios(by_processor(ours), by_processor(result))


def show(spread: dict[str, float], digits: str = ".2f") -> str:
    return f"{spread['median']:{digits}} ({spread['min']:{digits}} to {spread['max']:{digits}})"


def described(machine: dict[str, Any]) -> str:
    memory = f"{machine['memory_gib']} GiB of memory" if "memory_gib" in machine else f"memory {UNKNOWN}"
    python, jax = (f"{name} {machine.get(name.lower(), UNKNOWN)}" for name in ("Python", "JAX"))
    return f"{machine['processor']}, {machine['cores']} cores, {memory}, {machine['system']}, {python}, {jax}"


def table(folder: Path) -> str:
    """bench.md: ours beside every other contestant of the folder's benches."""
    entries = stored(folder, "bench")
    machines = list(dict.fromkeys(described(entry["machine"]) for _, _, entry in entries))
    rows = [row for name, cores, entry in entries for row in table_rows(name, cores, entry, machines)]
    lines = [
        "# Speed beside what a user would pick instead",
        "",
        "Made by `scripts/bench.py table` from the bench-*.json of this folder; `scripts/bench.py` lists what is compared.",
        "A ratio is that of two rates measured in turn in one round, and above 1 where ours is faster; by processor time it",
        "is that of the rates per second that the processes really got, whatever else the machine did.",
        "",
        *[f"- Machine {number}: {text}" for number, text in enumerate(machines, 1)],
        "",
        *markdown(HEAD, rows),
    ]
    return "\n".join(lines) + "\n"


def table_rows(name: str, cores: int, entry: dict[str, Any], machines: list[str]) -> list[tuple[str, ...]]:
    date, made_by = entry.get("date", UNKNOWN), entry.get("revision", UNKNOWN)
    machine, rows = str(machines.index(described(entry["machine"])) + 1), []
    for one, other in pairs(list(entry["contestants"])):
        ours, theirs = entry["contestants"][one], entry["contestants"][other]
        rate = f"{statistics.median(ours['rates']):,.0f} {ours['unit']}"
        by_clock, by_work = ratios(ours["rates"], theirs["rates"]), ratios(by_processor(ours), by_processor(theirs))
        told = (name, str(cores), one, rate, other, show(by_clock), show(by_work), str(len(theirs["rates"])))
        rows.append((*told, date, versions(ours, theirs), made_by, machine))
    return rows


def pairs(names: list[str]) -> list[tuple[str, str]]:
    """Who stands beside whom: the first beside all others, and one run of ours on all cores beside one run of theirs."""
    others = [(ALL_CORES, name) for name in names if ALL_CORES in names and not name.startswith("ours")]
    return [(names[0], name) for name in names[1:]] + others


def versions(*results: dict[str, Any]) -> str:
    """Of each side, and once where they are the same."""
    every = [", ".join(map(" ".join, result.get("versions", {}).items())) or UNKNOWN for result in results]
    return " / ".join(dict.fromkeys(every))


def markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows)]
