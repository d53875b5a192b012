"""Do the tests notice a mistake? Small mistakes drawn at random from the numerics, the engine and the statistics, each made
alone in a copy of the checkout, and the tests that could see it run there until one fails, the likeliest first.

    python tests/mutants.py --count 40 --seed 0    # writes docs/results/mutants/seed-0.json and the table beside it
    python tests/mutants.py --seed 0 --again       # what survived there once more, with the tests added since

A place is one node of a file's syntax tree and one way to change it; every place is as likely as any other, and nothing is
picked by hand. No places are docstrings, annotations and the words of errors. Notes on survivors are written into the JSON by
hand. It lies with the tests, since it measures them and nothing else; it is no test itself.

mutmut 3 forks processes that have imported everything, which JAX's threads do not survive, and mutates no module-level
values; cosmic-ray has one test command and time limit for all files. Neither draws a given number.
"""

import argparse
import ast
import contextlib
import json
import os
import platform
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import binomtest

from research.engine.manifest import processor, revision

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "results" / "mutants"

# The tests that look at a file, those most likely to fail first.
TESTS = {
    "numerics/attribution": "finetune",
    "numerics/averages": "averages gan",
    "numerics/blocks": "blocks gan_images",
    "numerics/calibration": "finetune",
    "numerics/decode": "decode lm",
    "numerics/foreign": "foreign environments",
    "numerics/minibatches": "minibatches ppo",
    "numerics/moments": "returns ppo",
    "numerics/objectives": "schedules finetune",
    "numerics/optimizers": "optimizers classify policy_gradient",
    "numerics/priorities": "replay q_methods",
    "numerics/replay": "replay q_methods",
    "numerics/returns": "returns policy_gradient",
    "numerics/schedules": "schedules lm",
    "numerics/shuffle": "shuffle ppo",
    "engine/best": "engine",
    "engine/checkpoint": "engine command_line",
    "engine/chunk": "engine contract",
    "engine/debug": "engine command_line",
    "engine/experiment": "engine contract",
    "engine/fields": "engine grid command_line",
    "engine/errors": "engine command_line",
    "engine/files": "engine command_line report",
    "engine/forms": "engine command_line report",
    "engine/keys": "engine contract",
    "engine/lane": "engine contract",
    "engine/manifest": "engine command_line",
    "engine/placement": "placement engine contract command_line processes",
    "engine/plan": "engine command_line",
    "engine/processes": "engine processes",
    "engine/progress": "engine command_line",
    "engine/record": "engine command_line",
    "engine/run": "engine command_line",
    "engine/saved": "play command_line",
    "engine/session": "engine command_line viewers",
    "engine/signals": "engine kill",
    "engine/source": "engine command_line",
    "report/stats": "stats report",
}
# Those that could still see it; what lives through the first ones is tried with these.
WIDER = {
    "numerics": "ppo q_methods lm translate classify games contract",
    "engine": "kill viewers play finetune report sweep processes contract",
    "report": "study",
}
# Of the contract suite three recipes; what resumes elsewhere runs all of them, and `kill` asks the same.
SELECT = "not test_contract or (([replay] or [stream] or [ppo-cartpole]) and not fresh_process)"

OPERATORS: dict[type, type] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Div, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.RShift: ast.LShift, ast.BitXor: ast.BitAnd,
    ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
COMPARISONS: dict[type, tuple[type, ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.In: (ast.NotIn,), ast.NotIn: (ast.In,), ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}  # fmt: skip
NAMES = {"min": "max", "minimum": "maximum", "argmin": "argmax", "any": "all"}
NAMES |= {other: name for name, other in NAMES.items()}
ALIKE = re.compile(r"(.*\.)?(min|max)(imum)?")  # functions whose arguments may change places
TYPES = {"Callable", "Mapping", "Sequence", "Literal", "dict", "tuple"}  # an alias of a type is an annotation


class Place(NamedTuple):
    """file, line, what is changed there, and the changes that can be made -> the whole file's text"""

    file: str
    line: int
    kind: str
    changes: list[Callable[[], str]]


def changes(node: ast.AST) -> Iterator[tuple[str, list[ast.AST]]]:
    """-> (kind, nodes any of which may stand in this one's place) for each way to change it."""

    def other(**fields: Any) -> ast.AST:
        return ast.copy_location(type(node)(**{**dict(ast.iter_fields(node)), **fields}), node)

    match node:
        case ast.BinOp(op=op) | ast.BoolOp(op=op) | ast.AugAssign(op=op) if type(op) in OPERATORS:
            yield "operator", [other(op=OPERATORS[type(op)]())]
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert(), operand=operand):
            yield "operator", [operand]
        case ast.Compare(ops=ops):
            for i, op in enumerate(ops):
                yield "comparison", [other(ops=[*ops[:i], new(), *ops[i + 1 :]]) for new in COMPARISONS[type(op)]]
        case ast.Constant(value=bool(value)):
            yield "constant", [other(value=not value)]
        case ast.Constant(value=int(value) | float(value)):
            less = value - 1 if isinstance(value, int) else value / 2
            yield "constant", [other(value=x) for x in (value + 1, less) if x != value]
        case ast.Name(id=name) if name in NAMES:
            yield "name", [other(id=NAMES[name])]
        case ast.Attribute(attr=name) if name in NAMES:
            yield "name", [other(attr=NAMES[name])]
        case ast.Slice():
            for end in ("lower", "upper", "step"):
                if getattr(node, end):
                    yield "slice", [other(**{end: None})]
        case ast.Return(value=ast.expr()):
            yield "return", [other(value=ast.Constant(None))]
        case ast.FunctionDef(decorator_list=decorators) | ast.ClassDef(decorator_list=decorators):
            for i in range(len(decorators)):
                yield "decorator", [other(decorator_list=decorators[:i] + decorators[i + 1 :])]
        case ast.Call(args=args, keywords=keywords):
            for i in range(len(args) - 1):  # two of one form: others are caught by any test that comes by
                if type(args[i]) is type(args[i + 1]) and not ALIKE.fullmatch(ast.unparse(node.func)):
                    yield "arguments", [other(args=[*args[:i], args[i + 1], args[i], *args[i + 2 :]])]
            for i, keyword in enumerate(keywords):
                if keyword.arg:
                    yield "keyword", [other(keywords=keywords[:i] + keywords[i + 1 :])]
        case ast.If() | ast.IfExp():
            yield "condition", [other(test=ast.Constant(value)) for value in (True, False)]
    if isinstance(node, (ast.Raise, ast.AugAssign, ast.Continue)) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield "statement", [ast.Pass()]
    if isinstance(node, ast.Assign):
        # Without it every name must still be there: others are caught by any test that comes by.
        read = {x.id for x in ast.walk(node.value) if isinstance(x, ast.Name)}
        if all(not isinstance(x, ast.Tuple) and (not isinstance(x, ast.Name) or x.id in read) for x in node.targets):
            yield "statement", [ast.Pass()]


def places(file: str) -> Iterator[Place]:
    """All places of a file, in its order."""
    tree = ast.parse((ROOT / file).read_text())

    def visit(node: ast.AST, words: bool) -> Iterator[Place]:
        for field, value in ast.iter_fields(node):
            if field in ("annotation", "returns") or (isinstance(node, ast.Subscript) and is_type(node)):
                continue
            for i, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST) or (words and isinstance(child, ast.JoinedStr)):
                    continue
                for kind, others in changes(child):
                    texts = [partial(changed, tree, node, field, i, other) for other in others]
                    yield Place(file, child.lineno, kind, texts)
                yield from visit(child, words or isinstance(child, ast.Raise))

    yield from visit(tree, False)


def changed(tree: ast.AST, parent: ast.AST, field: str, i: int, node: ast.AST) -> str:
    """The text of the tree with `node` in its parent's field, as the i-th entry where that has several."""
    whole = getattr(parent, field)
    setattr(parent, field, [*whole[:i], node, *whole[i + 1 :]] if isinstance(whole, list) else node)
    text = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
    setattr(parent, field, whole)
    return text


def is_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in TYPES


def plain(file: str) -> str:
    """A file's text as the texts of its mutants are written."""
    return ast.unparse(ast.parse((ROOT / file).read_text())) + "\n"


def draw(count: int, seed: int) -> list[tuple[dict[str, Any], str]]:
    """Places drawn without replacement, and a change for each -> what is told of it, the whole file's text."""
    moments, drawn = random.Random(seed), []
    every = [place for file in files() for place in places(file)]
    chosen = moments.sample(every, count)
    for place in chosen:
        text = moments.choice(place.changes)()
        if text == plain(place.file):  # equal arguments that changed places
            chosen.append(moments.choice(every))
            continue
        lines = zip(plain(place.file).splitlines(), text.splitlines(), strict=False)
        before, after = next((a.strip(), b.strip()) for a, b in lines if a != b)
        told = {"file": place.file, "line": place.line, "kind": place.kind, "before": before, "after": after}
        drawn.append((told, text))
    return drawn


def files() -> list[str]:
    found = [
        *ROOT.glob("research/numerics/*.py"),
        *ROOT.glob("research/engine/*.py"),
        ROOT / "research/report/stats.py",
    ]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "__init__.py")


def tests_of(file: str) -> list[str]:
    name = file.removeprefix("research/").removesuffix(".py")
    names = TESTS[name].split() + WIDER[name.split("/")[0]].split()
    return [f"tests/test_{name}.py" for name in dict.fromkeys(names)]


class Outcome(NamedTuple):
    """result: caught, survived or timed out; by: the test that failed; seconds"""

    result: str
    by: str
    seconds: float


def checkout(home: Path) -> None:
    """Copies the files of this checkout, as they are now; what mutants are made of passes the same way through `ast`."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0"):
        if (ROOT / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, home / name)
    for file in files():
        (home / file).write_text(plain(file))
    for words in (
        ["init"],
        ["add", "."],
        ["-c", "user.name=mutants", "-c", "user.email=mutants", "commit", "-m", "A copy"],
    ):
        subprocess.run(["git", *words], cwd=home, capture_output=True, check=True)  # a manifest tells of its revision


def try_test(home: Path, test: str, limit: float, cache: Path, fill: bool = False) -> Outcome:
    """Runs a file of tests in the copy `home` until one fails, in a process group of its own. Its compile cache begins as a
    copy of `cache`; with `fill` it is `cache`."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        own = cache if fill else shutil.copytree(cache, scratch / "xla")
        environment = os.environ | {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": folder}
        environment["JAX_COMPILATION_CACHE_DIR"] = str(own)
        command = [sys.executable, "-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", "-k", SELECT, test]
        begun = time.perf_counter()
        with (scratch / "said").open("w") as said:
            process = subprocess.Popen(
                command, cwd=home, env=environment, stdout=said, stderr=said, start_new_session=True
            )
            try:
                status = process.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)  # and what it may have started
                process.wait()
        seconds = round(time.perf_counter() - begun, 1)
        lines = (scratch / "said").read_text(errors="replace").splitlines()
    if status in (4, 5):  # pytest's own: wrong usage, no tests
        raise RuntimeError(f"pytest could not begin with {test}: {lines[-1:]}")
    by = next((line.split(" - ")[0].split(" ", 1)[1] for line in lines if line.startswith(("FAILED ", "ERROR "))), test)
    result = "survived" if status == 0 else "timed out" if status is None else "caught"
    return Outcome(result, "" if status == 0 else by, seconds)


class Trial:
    """A copy of the checkout in which one mutant after another is tried."""

    def __init__(self, home: Path) -> None:
        checkout(home)
        self.home, self.cache = home, home / ".xla"
        self.cache.mkdir()
        self.seconds: dict[str, float] = {}  # of each file of tests without a mutant; its first use fills the cache

    def limit(self, test: str) -> float:
        """How long a file of tests may take (s). Raises RuntimeError where it fails without a mutant."""
        if test not in self.seconds:
            outcome = try_test(self.home, test, 3600, self.cache, fill=True)
            if outcome.result != "survived":
                raise RuntimeError(f"{outcome.by} fails without any mutant; make it pass first")
            self.seconds[test] = outcome.seconds
        return 60 + 3 * self.seconds[test]

    def outcome(self, mutated: str, text: str) -> Outcome:
        file, seconds = self.home / mutated, 0.0
        for test in tests_of(mutated):
            limit = self.limit(test)
            file.write_text(text)
            found = try_test(self.home, test, limit, self.cache)
            file.write_text(plain(mutated))
            seconds += found.seconds
            if found.result != "survived":
                break
        return found._replace(seconds=round(seconds, 1))


def summary(mutants: list[dict[str, Any]]) -> dict[str, Any]:
    results = Counter(mutant["result"] for mutant in mutants)
    caught, n = results["caught"] + results["timed out"], len(mutants)
    interval = binomtest(caught, n).proportion_ci(0.95, "wilson")
    return {**results, "n": n, "share caught": caught / n, "interval": [round(float(x), 4) for x in interval]}


def table() -> str:
    """All draws that were written, and what survived them, as Markdown."""
    draws = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("seed-*.json"))]
    lines = ["| draw | revision | mutants | caught | timed out | survived | share caught, 95 % |", "|" + "---|" * 7]
    for content in draws:
        low, high = content["interval"]
        numbers = [content["n"], *(content.get(name, 0) for name in ("caught", "timed out", "survived"))]
        share = f"{content['share caught']:.1%} [{low:.1%}, {high:.1%}]"
        lines.append("| " + " | ".join(map(str, [content["seed"], content["revision"][:8], *numbers, share])) + " |")
    lines += ["", "| draw | survivor | before | after | tried again | note |", "|" + "---|" * 6]
    for content in draws:
        for mutant in content["mutants"]:
            if mutant["result"] == "survived":
                again = mutant.get("again", {"result": "", "by": ""})
                cells = [content["seed"], f"{mutant['file'].removeprefix('research/')}:{mutant['line']}"]
                cells += [f"`{mutant[name]}`".replace("|", "\\|") for name in ("before", "after")]
                cells += [f"{again['result']} {again['by'].rpartition('::')[2]}".strip(), mutant.get("note", "")]
                lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=0, help="which draw; one that was stopped goes on")
    parser.add_argument("--again", action="store_true", help="try what survived that draw once more")
    options = parser.parse_args()
    path = RESULTS / f"seed-{options.seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = {"processor": processor(), "cores": os.cpu_count(), "system": platform.system()}
    content = {"seed": options.seed, "machine": machine} | revision() | {"mutants": []}
    if path.exists():
        content = json.loads(path.read_text())
    found = content["mutants"]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # by way of `finally`
    with tempfile.TemporaryDirectory() as home:
        trial = Trial(Path(home))
        for i, (told, text) in enumerate(draw(options.count, options.seed)):
            if i < len(found) and {name: found[i][name] for name in told} != told:
                sys.exit(f"{path} is of other code: mutant {i} is now {told}; remove it")
            if i < len(found) and not (options.again and found[i]["result"] == "survived"):
                continue
            outcome = trial.outcome(told["file"], text)
            if options.again:
                found[i]["again"] = outcome._asdict()
            else:
                found.append(told | outcome._asdict())
            print(f"{i:3} {outcome.result:9} {outcome.seconds:4.0f} s", *told.values(), sep="  ", flush=True)
            content = {**content, **summary(found), "mutants": found}
            path.write_text(json.dumps(content, indent=2) + "\n")
    (RESULTS / "table.md").write_text(table())
    print(summary(found))


if __name__ == "__main__":
    main()
