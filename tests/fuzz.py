"""What test_fuzz.py needs: scripts run in this process up to where they would compile, a home with run folders that nothing
was trained for, and random command lines made from the options that the scripts themselves declare."""

import contextlib
import functools
import io
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import jax
import pytest
from hypothesis import strategies as st
from recipes import plan_of, tiny

from research.catalog import RECIPES, find
from research.data import fetch, image_files
from research.engine import debug, files, processes, run
from research.engine.best import saved_tree
from research.engine.checkpoint import Checkpoints
from research.engine.lane import Lane
from research.engine.manifest import machine
from research.engine.placement import Placement
from research.engine.plan import Recipe
from research.language import generation
from research.options import options
from research.studies import STUDIES

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))
SECONDS = 120  # for an example; nothing here takes a hundredth of it, on a machine that has nothing else to do


class Planned(BaseException):
    """A script has come to where it would compile, download or start a process."""


class Slow(BaseException):
    """An example took too long."""


class Said(NamedTuple):
    """How a script ended: its exit code, None where it was planned; what it printed; what it raised past its main."""

    code: int | None
    out: str
    err: str
    error: BaseException | None = None

    @property
    def message(self) -> str:
        """Standard error as one line, without the boxes."""
        return " ".join("".join(" " if x in "│╭╮╰╯─" else x for x in self.err).split())


def script(name: str, words: list[str], given: bytes = b"") -> Said:
    """Runs a script in this process as a shell would, with `given` on its standard input."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", how) for how in ("strict", "backslashreplace"))
    before, code, error = dict(os.environ), None, None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [name, *words])
        patch.syspath_prepend(str(ROOT / "scripts"))  # as of a script that Python is started with
        patch.setenv("COLUMNS", "1000")  # a box's lines are not broken
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given), "utf-8"))
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        try:
            with limited():
                runpy.run_path(str(ROOT / "scripts" / name), run_name="__main__")
        except SystemExit as stop:
            code = stop.code or 0
        except Planned:
            pass
        except BaseException as raised:
            error = raised
        finally:
            os.environ.clear()
            os.environ.update(before)
    for stream in (out, err):
        stream.flush()
    return Said(code, *(stream.buffer.getvalue().decode() for stream in (out, err)), error)  # type: ignore[attr-defined]


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """Raises Slow inside after SECONDS."""

    def late(*_: object) -> None:
        raise Slow(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def stop_here(*_: object, **__: object) -> None:
    raise Planned


class Process(subprocess.Popen):
    """None is started; one that is not there is refused as ever."""

    def __init__(self, words: Any, *_: object, **__: object) -> None:
        if not isinstance(words, str) and words[0] != "gnugo" and shutil.which(words[0]) is None:
            raise FileNotFoundError(2, "No such file or directory", words[0])
        raise Planned

    def __del__(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def nothing_runs() -> Iterator[None]:
    """No program is compiled, nothing downloaded, no process started: there a script ends by Planned."""
    with pytest.MonkeyPatch.context() as patch:
        for place, name in (
            (Placement, "compile"),
            (generation, "continuation"),
            (debug, "debug"),
            (fetch, "download"),
            (image_files, "prepare"),
            (jax.distributed, "initialize"),
        ):
            patch.setattr(place, name, stop_here)
        patch.setattr(jax, "jit", lambda *_, **__: stop_here)
        patch.setattr(subprocess, "Popen", Process)
        patch.setattr(processes, "_explain_abort", lambda message: None)
        patch.setattr(run, "revision", dict)
        patch.setattr(Lane, "template", remembered(Lane.template))
        yield


TEMPLATES: dict[Any, Any] = {}


def remembered(template: Callable[[Lane], Any]) -> Callable[[Lane], Any]:
    """Tracing takes longer than all else, and is the same for all runs of a setting."""

    def once(lane: Lane) -> Any:
        key = lane.plan.recipe.make, lane.plan.setup, lane.placement
        if key not in TEMPLATES:
            TEMPLATES[key] = template(lane)
        return TEMPLATES[key]

    return once


# A home ----------------------------------------------------------------------------------------------------------------
# Recipe files: what the user's own code raises is the user's to see, with its traceback.
OWN_BUGS = {
    "own_syntax.py": "def make(:\n",
    "own_raises.py": "raise RuntimeError('mine')\n",
    "own_name.py": "recipe = nothing_of_that_name\n",
    "own_import.py": "import nothing_of_that_name\n",
}
OWN_BAD = {
    "bytes.py": "recipe = '\0'\n",
    "empty.py": "",
    "none.py": "recipe = None\n",
    "text.py": "recipe = 'ppo'\n",
    "class.py": "from research import Recipe as recipe\n",
    "refuses.py": "raise ValueError('learning_rate=7 must be below 1; usual: 0.1')\n",
}
LINEAR = "import dataclasses\nfrom own.linear import *\nfrom own.linear import recipe\n"
OWN_BAD |= {
    f"{name}.py": f"{LINEAR}recipe = dataclasses.replace(recipe, {change})\n"
    for name, change in {
        "up": "name='../up'",
        "unnamed": "name=''",
        "list": "setup=[]",
        "no-setup": "setup=None",
        "dict": "hyper={'learning_rate': 0.1}",
        "no-make": "make=None",
        "no-load": "load='digits'",
        "budget": "budget=2000",
        "steps": "budget=Budget(2001, chunk=100, evaluate_every=500)",
    }.items()
}
OWN_GOOD = {"mine.py": f"{LINEAR}recipe = dataclasses.replace(recipe, best='-error')\n"}
RUNS = ("ppo-cartpole", "alphazero-tic-tac-toe", "alphazero-go-9x9", "gan-ring", "dcgan-mnist")
RUNS += ("lm", "translate-tiny", "finetune", "go-supervised")


def untrained(recipe: Recipe, folder: Path) -> Path:
    """A complete run folder of two seeds, as the engine leaves it, with zeros for what was learned; nothing is compiled."""
    plan = plan_of(recipe, seeds=2)
    inputs = recipe.load(plan.setup)
    lane = Lane(plan, inputs, Placement.choose(2, 1))
    folder.mkdir(parents=True)
    told = {"data": run.data_hash(inputs), "machine": machine(lane.placement), "note": inputs.note, "complete": True}
    files.write_json(folder / files.MANIFEST, plan.manifest() | told)
    for name, text in inputs.files.items():
        files.write_text(folder / name, text)
    rows = [f'{{"tick": {plan.ticks}, "row": {row}, "finite": true, "loss": 0.5}}\n' for row in (0, 1)]
    (folder / files.METRICS).write_text("".join(rows))
    (folder / files.EVALUATIONS).write_text("".join(rows))
    (folder / files.TIMINGS).write_text(f'{{"tick": {plan.ticks}, "seconds": 1.5}}\n')
    checkpoints = Checkpoints(folder / "checkpoints")
    checkpoints.save(plan.ticks, saved_tree(plan, lane.template(), None))
    checkpoints.close()
    return folder


class Home:
    """A folder to work in, with recipe files, run folders, and files and folders that are neither."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in (OWN_BUGS | OWN_BAD | OWN_GOOD).items():
            (folder / name).write_text(text)
        (folder / "folder.py").mkdir()
        (folder / "empty").mkdir()
        (folder / "notes.txt").write_text("a file of the user's\n" * 50)
        (folder / "notes[bold].txt").write_text("another\n")
        (folder / "broken").mkdir()
        (folder / "broken" / "manifest.json").write_text("{")
        (folder / "bytes.bin").write_bytes(bytes(range(256)))
        for name in ("opinions.tsv", "games.sgf", "phrases.en", "phrases.de"):
            shutil.copy(ROOT / "tests" / "own" / name, folder / name)
        made = {name: untrained(tiny(name), folder / "runs" / name) for name in RUNS}
        self.runs = {name: str(path.relative_to(folder)) for name, path in made.items()}
        linear = find(str(folder / "mine.py"))
        self.runs["linear"] = str(untrained(linear, folder / "runs" / "linear").relative_to(folder))
        self.content = {path: path.read_bytes() for path in self.paths() if path.is_file()}
        self.stamps = self.seen()

    def paths(self) -> list[Path]:
        return sorted(self.folder.rglob("*"))

    def seen(self) -> dict[Path, tuple[int, int, int]]:
        found = {}
        for path in self.paths():
            about = path.lstat()
            found[path] = (about.st_ino, about.st_size, about.st_mtime_ns) if path.is_file() else (about.st_ino, 0, 0)
        return found

    def lost(self) -> list[str]:
        """What stood here and is nowhere any more, under no name; and all is as it was again."""
        now = self.seen()
        if now == self.stamps:
            return []
        there = {path.read_bytes() for path in now if path.is_file() and not path.is_symlink()}
        lost = [str(path.relative_to(self.folder)) for path, text in self.content.items() if text not in there]
        for path in sorted(now.keys() - self.stamps.keys(), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        for path in self.stamps:
            if path not in self.content:
                path.mkdir(exist_ok=True)
            elif now.get(path) != self.stamps[path]:
                path.write_bytes(self.content[path])
        self.stamps = self.seen()
        return lost


# Command lines ----------------------------------------------------------------------------------------------------------
class Line(NamedTuple):
    """A command line, and what stands on its standard input."""

    script: str
    words: list[str]
    given: bytes = b""

    def __repr__(self) -> str:
        return f"{self.script} {self.words!r}" + (f" < {self.given!r}" if self.given else "")


NUMBERS = ("0", "-1", "1", "2", "7", "-0.0", "0.5", "1e-400", "1e400", "nan", "inf", "-inf", "1_000", "0x10", "٣")
NUMBERS += ("4294967295", "4294967296", "9223372036854775808", "1" + "0" * 30, "-" + "9" * 5000, "1000000")
TEXTS = ("", " ", "-", "--", "=", "None", "true", "[]", "{}", "é", "狐🦊", "\udcff", "\x1b[31m", "[bold]", "[/]", "%s")
TEXTS += ("a" * 300, "a,b", "1,2", "x" * 5000, "*", "$HOME", "\n", "..\t", "--help", "-h", "random", "auto")
PLACES = (
    ".",
    "..",
    "/",
    "~",
    "nowhere",
    "no/where",
    "empty",
    "notes.txt",
    "notes[bold].txt",
    "notes.txt/x",
    "broken",
    "runs",
)
PLACES += (
    "bytes.bin",
    "opinions.tsv",
    "games.sgf",
    "phrases.en",
    "phrases.de",
    "new.gif",
    "new.png",
    "new.sgf",
    "folder.py",
)
PLACES += (
    "new[/]",
    "\udcff.gif",
    "runs/\udcff",
    "狐/🦊",
    "n" * 300,
    "/dev/null",
    "/proc/self/mem",
    *OWN_GOOD,
    *OWN_BAD,
    *OWN_BUGS,
)
GIVEN = (
    b"",
    b"\n",
    b"a good film .\n",
    b"a\nb\nc",
    b"\xff\xfe\n",
    b"\xef\xbb\xbfx\n",
    b"genmove b\nquit\n",
    b"play b a1\n\x00",
)
GIVEN += (b"x" * 5000 + b"\n", "狐\n".encode(), b"1\n2\n3\nresign\n", b"boardsize 3\nclear_board\nundo\nnonsense\n")


class Option(NamedTuple):
    """An option as a script declares it: its name on the command line, its type, its default, whether it has no name."""

    name: str
    hint: Any
    default: Any
    positional: bool = False


def declared(kind: Any, default: Any, prefix: str = "") -> list[Option]:
    """The options that tyro makes of a dataclass or NamedTuple: new fields are found by themselves."""
    found = []
    names = [field.name for field in fields(kind)] if is_dataclass(kind) else list(kind._fields)
    hints = get_type_hints(kind, include_extras=True)
    for name in names:
        value = getattr(default, name, None)
        if is_dataclass(value) or hasattr(value, "_fields"):
            found += declared(type(value), value, f"{prefix}{name}.")
            continue
        marks = getattr(hints[name], "__metadata__", ())
        called = next((mark.name for mark in marks if getattr(mark, "name", None)), name)
        told = f"--{prefix}{called}".replace("_", "-")
        found.append(Option(told, bare(hints[name]), value, any("Positional" in str(mark) for mark in marks)))
    return found


def bare(hint: Any) -> Any:
    return bare(get_args(hint)[0]) if get_origin(hint) is Annotated else hint


def good(hint: Any, default: Any) -> st.SearchStrategy[list[str]]:
    """Words for a value of that type."""
    hint = bare(hint)
    if get_origin(hint) is Literal:
        return st.sampled_from([[str(x)] for x in get_args(hint)])
    if get_origin(hint) is tuple:
        inner = bare(get_args(hint)[0])
        some = default[0] if default else None
        return st.lists(good(inner, some), min_size=0, max_size=3).map(
            lambda found: [x for words in found for x in words]
        )
    kinds = [bare(kind) for kind in get_args(hint) if kind is not type(None)]
    if kinds:
        return st.one_of(*[good(kind, default) for kind in kinds])
    usual = [] if default is None or isinstance(default, bool) else [str(default)]
    if hint is int:
        return st.sampled_from([*usual, "1", "2", "3", "8", "64"]).map(lambda x: [x])
    if hint is float:
        return st.sampled_from([*usual, "0.5", "1e-3", "1", "0"]).map(lambda x: [x])
    return st.sampled_from([*usual, *PLACES]).map(lambda x: [x])


ANY = st.one_of(
    st.sampled_from(NUMBERS), st.sampled_from(TEXTS), st.sampled_from(PLACES), st.text("ab1.-=:/", max_size=5)
)


@st.composite
def assignment(draw: Any, recipe: Recipe, option: str, careful: bool) -> str:
    """What --grid, --list, --draw and --ablate are given: FIELD=VALUES."""
    known = declared(type(recipe.setup), recipe.setup) + declared(type(recipe.hyper), recipe.hyper)
    if careful and option == "--draw":
        known = [field for field in known if bare(field.hint) in (int, float)]
    field = draw(st.sampled_from(known))
    if careful:
        values = ["log:1e-4:1e-2", "uniform:0.1:0.5", "uniform:2:8"]
        if option != "--draw":
            values = draw(st.lists(good(field.hint, field.default).map("x".join), min_size=1, max_size=3, unique=True))
            values = [",".join(values)]
        return f"{field.name.removeprefix('--')}={draw(st.sampled_from(values))}"
    name = draw(st.sampled_from([field.name.removeprefix("--"), field.name.removeprefix("--"), "hyper.x", "", "é"]))
    law = st.sampled_from(
        ["log:1e-4:1e-2", "uniform:0.1:0.5", "log:0:1", "uniform:1:0", "log:nan:1", "uniform:-1e400:1", "log:1"]
    )
    law |= st.sampled_from(["uniform:1e308:1.5e308", "uniform:-1e308:1e308", "log:1:1e30", "uniform:1:3"])
    values = st.lists(good(field.hint, field.default).map("x".join) | ANY, min_size=0, max_size=3).map(",".join)
    return draw(
        st.sampled_from(["=", "=", "=", "==", ""]).flatmap(lambda sign: (values | law).map(lambda x: name + sign + x))
    )


@st.composite
def given_option(draw: Any, option: Option, recipe: Recipe | None, careful: bool) -> list[str]:
    """Words that give an option a value: one of its type, any other, or none."""
    how = "good" if careful else draw(st.sampled_from(["good"] * 5 + ["any"] * 4 + ["missing"]))
    if bare(option.hint) is bool:
        words = [option.name] if not option.default else [option.name.replace("--", "--no-", 1)]
        return words + (draw(ANY.map(lambda x: [x])) if how == "missing" else [])
    if recipe and option.name in ("--grid", "--list", "--draw", "--ablate") and how != "missing":
        return [option.name, draw(assignment(recipe, option.name, careful))]
    value = {"good": good(option.hint, option.default), "any": ANY.map(lambda x: [x]), "missing": st.just([])}[how]
    words = draw(value)
    if option.positional:
        return words
    joined = len(words) == 1 and draw(st.booleans())
    return [f"{option.name}={words[0]}"] if joined else [option.name, *words]


@functools.cache
def own_options(name: str, recipe: str | None = None) -> tuple[tuple[Option, ...], Recipe | None]:
    """What a script declares, for a recipe where it takes one."""
    module = runpy.run_path(str(ROOT / "scripts" / name), run_name="declared")
    if recipe is not None:
        known = find(recipe)
        chosen = options(known, module["OWN_OPTIONS"])
        return tuple(declared(chosen, chosen())), known
    kind = module.get("Arguments") or module["Options"]
    needed = [field.name for field in fields(kind) if field.default is field.default_factory]  # both are MISSING
    return tuple(declared(kind, kind(**dict.fromkeys(needed)))), None


@st.composite
def lines(draw: Any, home: Home) -> Line:
    """A command line of any script: some valid, most wrong in a place or two."""
    name = draw(st.sampled_from([*SCRIPTS, *["train.py", "sweep.py"] * 4]))
    if draw(st.integers(0, 40)) == 0:
        return Line(name, draw(st.lists(ANY, max_size=4)))
    careful = draw(st.booleans())
    first: list[str] = []
    if name in ("train.py", "sweep.py"):
        called = draw(st.sampled_from(["known"] * 6 + ([] if careful else ["own", "own", "any"])))
        if called == "any":
            first = [draw(ANY | st.sampled_from(["ppo-cartpol", "./nowhere.py", "PPO", "nowhere.py/"]))]
            found, recipe = own_options(name, "ppo")
        else:
            recipe_name = draw(st.sampled_from([*RECIPES] if called == "known" else ["mine.py"]))
            first = [
                recipe_name
                if called == "known"
                else draw(st.sampled_from(["mine.py", *OWN_BAD, *OWN_BUGS, "folder.py"]))
            ]
            found, recipe = own_options(name, recipe_name if called == "known" else str(home.folder / "mine.py"))
        if name == "sweep.py" and draw(st.integers(0, 3)):
            first += ["--grid", draw(assignment(recipe, "--grid", careful))]
        if called == "known" and draw(st.booleans()):
            first += tiny_words(recipe_name)
    else:
        found, recipe = own_options(name)
        if name in ("bench.py", "reproduce.py", "prepare_data.py"):
            known = {
                "reproduce.py": [*STUDIES],
                "bench.py": ["ppo", "start", "sweep"],
                "prepare_data.py": [*fetch.REGISTRY],
            }
            first = [draw(st.sampled_from(known[name]) if careful else ANY)]
        elif name != "record_games.py":
            right = home.runs[READERS.get(name, "linear")]
            first = [right if careful else draw(st.sampled_from([right, *home.runs.values()]) | ANY)]
        found = tuple(option for option in found if not option.positional)
    chosen = draw(st.lists(st.sampled_from(found), max_size=4))
    words = [word for option in chosen for word in draw(given_option(option, recipe, careful))]
    words += [] if careful else draw(st.sampled_from([[]] * 12 + [["--help"], ["--nonsense", "1"], ["more"]]))
    return Line(name, first + words, draw(st.sampled_from(GIVEN)))


# A run that a script is for.
READERS = {
    "play.py": "ppo-cartpole",
    "match.py": "alphazero-tic-tac-toe",
    "gtp.py": "alphazero-go-9x9",
    "sample.py": "dcgan-mnist",
    "generate.py": "lm",
    "translate.py": "translate-tiny",
    "explain.py": "finetune",
}


@functools.cache
def tiny_words(name: str) -> list[str]:
    """The options that make a recipe of the catalog tiny."""
    usual, small = find(name).setup, tiny(name).setup
    words = []
    for field in fields(usual):
        value, option = getattr(small, field.name), f"--setup.{field.name.replace('_', '-')}"
        if value != getattr(usual, field.name):
            if isinstance(value, bool):
                words.append(option if value else option.replace(".", ".no-", 1))
            else:
                words += [option, *map(str, value if isinstance(value, tuple) else [value])]
    return words
