"""What test_fuzz.py does to run folders: real small runs, sweeps, searches and studies, finished or stopped in the middle, of
which copies are damaged at random; and what must be true of such a copy after a script has met it."""

import contextlib
import functools
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from fuzz import LINEAR, Said, script
from hypothesis import strategies as st
from own import linear

from research import catalog
from research.engine import files, run, saved
from research.engine.files import EVALUATIONS, MANIFEST, METRICS
from research.engine.lane import Lane
from research.engine.plan import Budget
from research.report import figures
from research.studies import STUDIES
from research.studies.study import Arm, Block, Preset, Study

LENGTH = ["--steps", "40", "--chunk", "10", "--record-every", "5", "--evaluate-every", "10"]
HOW = [*LENGTH, "--device-count", "1", "--save-seconds", "0"]
TWO = Preset(replace(linear.recipe, budget=Budget(40, 10, 5, 10)), {"steps": 20})
STUDY = Study(
    "small",
    "Which step?",
    (Block("a line", TWO),),
    (Arm("usual"), Arm("slow", {}, {"learning_rate": 0.01})),
    2,
    "error",
)
WRITTEN = ("summary.json", "curve.png", ".lock")  # what may be written anew at any time


class Killed(BaseException):
    """Ends a run as kill -9 would: between two chunks, without a word."""


class Case(NamedTuple):
    """A folder to be damaged, and the command that meets it then.

    begun   the folder, as it was left
    ends    the run folders in it as they are in the end, by their place; none for what only reads
    """

    name: str
    script: str
    words: list[str]
    begun: Path
    ends: dict[str, Path]


@contextlib.contextmanager
def one_process() -> Iterator[None]:
    """A user's file is read once, so that all its runs share their programs; nothing is rastered that nobody looks at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(catalog, "from_file", functools.cache(catalog.from_file))
        patch.setattr(run, "revision", dict)
        patch.setattr(figures, "save", lambda figure, path: path.write_bytes(b""))
        patch.setattr("research.report.curves.draw", lambda folder: None)
        patch.setattr("research.report.paper.drawing", lambda figure: "")
        patch.setitem(STUDIES, "small", "damage:STUDY")
        yield


def killed_at(tick: int, count: int) -> Callable[..., Any]:
    """Lane.advance, that ends the process at the `count`-th time that a lane comes to a tick."""
    advance, seen = Lane.advance, []

    def advance_or_die(lane: Lane, state: Any, at: int, feed: Any = None) -> Any:
        seen.append(at)
        if seen.count(tick) == count and at == tick:
            raise Killed
        return advance(lane, state, at, feed)

    return advance_or_die


def cases(home: Path) -> list[Case]:
    """Runs all of it once."""
    file = home / "mine.py"
    file.write_text(f"{LINEAR}recipe = dataclasses.replace(recipe, best='-error')\n")
    sweep = ["--grid", "learning_rate=0.1,0.2", "--lanes", "1"]
    search = ["--draw", "learning_rate=log:1e-2:1", "--search", "4", "--lanes", "2", "--rungs", "2", "--figure=-error"]
    commands = {
        "train": ("train.py", [str(file), *HOW, "--seeds", "2"], 1),
        "sweep": ("sweep.py", [str(file), *sweep, *HOW], 2),
        "search": ("sweep.py", [str(file), *search, *LENGTH, "--device-count", "1"], 2),
        "study": ("reproduce.py", ["small", "--quick", "--device-count", "1"], 1),
    }
    found = []
    for name, (called, words, count) in commands.items():
        whole, begun = home / f"{name}-whole", home / f"{name}-begun"
        done = script(called, [*words, "--out", str(whole)])
        assert done.code == 0, (done.message, done.error)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Lane, "advance", killed_at(10 if name == "study" else 30, count))
            stopped = script(called, [*words, "--out", str(begun)])
        assert isinstance(stopped.error, Killed), stopped
        ends = {str(path.parent.relative_to(whole)): path.parent for path in whole.rglob(MANIFEST)}
        found += [Case(f"{name}, begun", called, [*words, "--out", "OUT"], begun, ends)]
        found += [Case(f"{name}, complete", called, [*words, "--out", "OUT"], whole, ends)]
        if name != "study":
            (folder,) = whole.iterdir()
            found.append(Case(f"report of a {name}", "report.py", [f"OUT/{folder.name}", "--out", "REPORT"], whole, {}))
    found.append(Case("report of a run begun", "report.py", ["OUT", "--out", "REPORT"], home / "train-begun", {}))
    return found


def reading_cases(runs: Iterable[tuple[str, Path]]) -> list[Case]:
    """Scripts that use what a run has learned, each with the folder of one; they are met up to where they would compile."""
    return [Case(name, name, ["OUT"], folder, {}) for name, folder in runs]


# Damages -----------------------------------------------------------------------------------------------------------------
JSON: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    1.5,
    1e400,
    10**400,
    "",
    "x",
    "é\ud800",
    [],
    {},
    [[]],
    [None],
    {"a": 1},
    ["x"],
)
TEXTS = (
    b"",
    b"null",
    b"[]",
    b"{}",
    b"3",
    b'"x"',
    b"[1, 2]",
    b'{"a": {}}',
    b"NaN",
    b"{\n",
    b"[" * 100_000,
    b"\xff\xfe",
    b"\0" * 64,
)
WHOLE = ("delete", "folder", "text", "truncate", "zeros", "flip", "bytes", "link")
LINES = ("double", "swap", "drop", "line", "cut line", "field of a line")


class Damage(NamedTuple):
    """What happens to one file or folder, chosen by number among those there are."""

    which: int
    kind: str
    at: int
    value: Any

    def __repr__(self) -> str:
        return f"Damage({self.which}, {self.kind!r}, {self.at}, {str(self.value)[:40]!r})"


numbers = st.integers(0, 2**20)
values = st.sampled_from(JSON)
damages = (
    st.builds(Damage, numbers, st.sampled_from(WHOLE), numbers, st.sampled_from(TEXTS))
    | st.builds(Damage, numbers, st.sampled_from(LINES), numbers, values)
    | st.builds(Damage, numbers, st.just("field"), numbers, values)
)


def damage(folder: Path, done: Damage) -> str:
    """Does it -> what was done, '' where there is nothing to do it to."""
    files = sorted(path for path in folder.rglob("*") if path.name != ".lock" and path.exists())
    if done.kind in LINES:
        files = [path for path in files if path.suffix == ".jsonl" and path.is_file() and path.stat().st_size]
    elif done.kind == "field":
        files = [path for path in files if path.suffix == ".json" and path.is_file()]
    elif done.at % 3:  # a checkpoint has more files than all else
        files = [path for path in files if "checkpoints" not in path.parts]
    if not files:
        return ""
    path = files[done.which % len(files)]
    told = f"{done.kind} {done.at} of {path.relative_to(folder)}: {str(done.value)[:30]!r}"
    if path.is_dir():
        shutil.rmtree(path)
        if done.kind == "folder":
            path.mkdir()
        elif done.kind != "delete":
            path.write_bytes(done.value)
        return told
    text = path.read_bytes()
    place = done.at % max(len(text), 1)
    path.unlink()
    match done.kind:
        case "delete":
            pass
        case "folder":
            path.mkdir()
        case "link":
            path.symlink_to("nowhere")
        case "text":
            path.write_bytes(done.value)
        case "truncate":
            path.write_bytes(text[:place])
        case "zeros":
            path.write_bytes(text[:place] + b"\0" * (len(text) - place))
        case "flip":
            path.write_bytes(
                text[:place] + bytes([text[place] ^ 1 << done.which % 8]) + text[place + 1 :] if text else b"\1"
            )
        case "bytes":
            path.write_bytes(text[:place] + b"\xff" + text[place:])
        case "field":
            path.write_text(changed(text.decode(errors="replace"), done))
        case _:
            path.write_bytes(b"".join(changed_lines(text.splitlines(keepends=True), done)))
    return told


def changed_lines(lines: list[bytes], done: Damage) -> list[bytes]:
    i = done.at % len(lines)
    line, before, after = lines[i], lines[:i], lines[i + 1 :]
    match done.kind:
        case "double":
            return [*before, line, line, *after]
        case "swap":
            return [line, *before, *after]
        case "drop":
            return [*before, *after]
        case "line":
            return [*before, json.dumps(done.value).encode() + b"\n", *after]
        case "cut line":
            return [*before, line[: done.which % len(line)], *after]
    return [*before, changed(line.decode(errors="replace"), done).encode() + b"\n", *after]


def changed(text: str, done: Damage) -> str:
    """JSON with one of its values, at any depth, replaced, or taken away."""
    try:
        content = json.loads(text)
    except ValueError:
        return text  # damaged already
    places = list(below(content))
    if not places:
        return json.dumps(done.value)
    holder, key = places[done.at % len(places)]
    if done.which % 4:
        holder[key] = done.value
    else:
        del holder[key]
    return json.dumps(content)


def below(content: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every value inside."""
    keys = list(content) if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ()
    for key in keys:
        yield content, key
        yield from below(content[key])


# What must hold ----------------------------------------------------------------------------------------------------------
def content(folder: Path) -> dict[str, bytes | None]:
    """Every file's bytes by its place; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
        if path.name not in WRITTEN
    }


def identity(line: bytes) -> tuple[Any, ...]:
    found = json.loads(line)
    return found["tick"], found.get("row"), found.get("final")


def why_other(folder: Path, whole: Path, damaged: dict[str, bytes | None]) -> str:
    """In what a run folder differs from the one that was never damaged; '' where it ends alike. A number that was changed into
    another in a line that stays a line is nothing that anyone could see."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not manifest.get("complete"):
            return "not complete"
        for name in (METRICS, EVALUATIONS):
            lines, right = ((x / name).read_bytes().splitlines() for x in (folder, whole))
            if [identity(line) for line in lines] != [identity(line) for line in right]:
                return f"other lines in {name}"
            known = {*right, *(damaged.get(name) or b"").splitlines()}
            if not {*lines} <= known:
                return f"new lines in {name}: {({*lines} - known).pop()!r}"
        states = [state_in(x, whole) for x in (folder, whole)]
        if not all(np.array_equal(x, y) for x, y in zip(*states, strict=True)):
            return "another state"
    except Exception as error:
        return repr(error)
    return ""


@functools.cache
def plan_in(whole: Path) -> Any:
    manifest = files.read_manifest(whole)
    recipe = catalog.find(manifest["file"]) if manifest["file"] else linear.recipe
    return saved.plan_of(recipe, manifest)


def state_in(folder: Path, whole: Path) -> list[np.ndarray]:
    plan = plan_in(whole)
    tick, tree, _ = saved.last_tree(plan, folder)
    return [np.asarray(tick), *jax.tree.leaves(tree)]


def is_complete(found: dict[str, bytes | None]) -> bool:
    try:
        return json.loads(found.get(MANIFEST) or b"{}").get("complete", False)
    except (ValueError, AttributeError, RecursionError):
        return False


def lost_of_search(before: dict[str, bytes | None], after: dict[str, bytes | None]) -> str:
    """A search that has gone on keeps its journal, but for a line that was cut off, and ends in a result."""
    for path, text in before.items():
        whole = b"".join(line for line in (text or b"").splitlines(keepends=True) if line.endswith(b"\n"))
        if path.endswith("journal.jsonl") and not (after.get(path) or b"").startswith(whole):
            return f"lines of {path} are lost"
    results = [json.loads(text or b"null") for path, text in after.items() if path.endswith("search.json")]
    return "" if len(results) == 1 and len(results[0]["outcomes"]) == results[0]["trials"] else "no result"


def parts(found: dict[str, bytes | None], place: str) -> dict[str, bytes | None]:
    """What lies in a folder."""
    return {path.removeprefix(f"{place}/"): text for path, text in found.items() if path.startswith(f"{place}/")}


def meet(case: Case, out: Path, *more: str) -> Said:
    """Runs the case's command on what lies in `out`."""
    places = {"OUT": str(out), "REPORT": str(out.parent / "report")}
    words = [functools.reduce(lambda word, name: word.replace(name, places[name]), places, word) for word in case.words]
    return script(case.script, [*words, *more])


def wrong(case: Case, out: Path, before: dict[str, bytes | None], said: Said) -> str:
    """What a script has done that it must not do, to what lay in `out`; '' where all is well."""
    if said.error is not None:
        return f"raised {said.error!r}"
    planned = not case.ends and case.script not in ("report.py", "sweep.py")
    if said.code not in ((None, 0, 1, 2) if planned else (0, 1, 2)) or "Traceback" in said.err:
        return f"ended with {said.code}: {said.err}"
    if said.code and (len(said.message.split()) < 4 or "╭" not in said.err):
        return f"says {said.message!r}"
    after = content(out)
    if not case.ends:
        if after == before:
            return ""
        gone_on = case.script == "sweep.py" and not said.code
        return lost_of_search(before, after) if gone_on else "what lay there is changed"
    for place, whole in case.ends.items():
        old, new = parts(before, place), parts(after, place)
        if old == new and (said.code or is_complete(old)):
            continue
        if reason := why_other(out / place, whole, old):
            return f"{place} ends otherwise, code {said.code}: {reason}; {said.message}"
        kept = any(old == parts(after, f"{place}.old-{number}") for number in (1, 2))
        if MANIFEST not in old and old and not kept:
            return f"{place} was started over, and what lay there is gone"
    return ""


CHECKPOINT = re.compile(r"checkpoint (\S+) .* remove that folder and the run goes on")


def repaired(case: Case, out: Path, said: Said) -> Said:
    """Does what a message says, as long as it says something: at the latest a run that is started over ends."""
    while said.code and (found := CHECKPOINT.search(said.message)):
        shutil.rmtree(found[1])
        said = meet(case, out)
    return meet(case, out, "--fresh") if said.code else said
