"""The site builds without a warning and without a network; what its pages type, show and claim is checked here."""

import ast
import importlib
import importlib.util
import json
import math
import os
import re
import shutil
import socket
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pages
import pytest
import tyro
from pages import PAGES, ROOT, command_lines

from research import Budget, Plan, Row
from research.catalog import RECIPES, find
from research.engine.fields import check
from research.engine.run import run
from research.options import budget, options, seeds
from research.studies import STUDIES

reference, results = importlib.import_module("reference"), importlib.import_module("results")

sys.path.insert(0, str(ROOT / "scripts"))
from benches.results import show  # noqa: E402

del sys.path[0]  # what is named there must not hide other tests' modules

# They share one site, and one process's imports of what is parsed.
pytestmark = pytest.mark.xdist_group("docs")


class Page(HTMLParser):
    """Ids of a page, and what it links to or loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids |= {x for x in (found.get("id"), found.get("name")) if x}
        if tag == "a" and found.get("href"):
            self.links.append(found["href"] or "")
        if tag in ("script", "img", "source") and found.get("src"):
            self.loads.append(found["src"] or "")
        if tag == "link" and found.get("rel") not in ("canonical", "prev", "next", "alternate"):
            self.loads.append(found["href"] or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> dict[Path, Page]:
    """Every page of the site, built strictly where nothing can be fetched."""
    from mkdocs.commands import build
    from mkdocs.config import load_config

    def refused(*_: Any) -> None:
        raise OSError("the site is built without a network")

    home = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(socket.socket, "connect", refused)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(home))
        config.plugins.on_startup(command="build", dirty=False)
        try:
            build.build(config)
        finally:
            config.plugins.on_shutdown()
    return {path: Page(path.read_text()) for path in home.rglob("*.html")}


def test_every_link_and_picture_is_there(site):
    missing = []
    for path, page in site.items():
        for target in (*page.links, *page.loads):
            if re.match(r"https?:|mailto:|data:|javascript:", target):
                continue
            file, _, anchor = target.partition("#")
            there = path if not file else (path.parent / file.split("?")[0]).resolve()
            there = there / "index.html" if there.is_dir() else there
            known = there.exists() and (not anchor or there.suffix != ".html" or anchor in site[there].ids)
            missing += [] if known or path.name == "404.html" else [f"{path.name}: {target}"]
    assert missing == []


def test_a_page_loads_nothing_from_elsewhere(site):
    assert [(path.name, x) for path, page in site.items() for x in page.loads if re.match(r"(https?:)?//", x)] == []


def test_every_public_module_has_a_page_with_all_that_is_public_in_it(site):
    by_name = {path.name: page for path, page in site.items()}
    modules = reference.modules(ROOT)
    assert len(modules) > 100
    for module, file in modules.items():
        public = [
            node.name
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        ]
        assert {f"{module}.{name}" for name in public} <= by_name[f"{module}.html"].ids, module


def test_every_recipe_and_study_is_named_with_its_result_or_with_none():
    found = results.read(ROOT / "docs" / "results")
    studies, recipes = (part.splitlines() for part in results.overview(found).split("## Recipes"))
    for name in STUDIES:
        (line,) = [x for x in studies if x.startswith((f"| [{name}](", f"| {name} |"))]
        assert ("no result yet" in line) != (name in found.studies)
    for name in RECIPES:
        mine = [x for x in recipes if x.startswith(f"| [{name}](recipes.md")]
        kept = [one for one in found.summaries if one.found["recipe"] == name]
        assert len(mine) == max(len(kept), 1)
        assert kept or "no " in mine[0]


def test_every_file_of_the_results_is_shown_or_linked(site):
    home = ROOT / "docs" / "results"
    (built,) = {path.parent for path in site if path.name == "recipes.html"}
    named = {(path.parent / x).resolve() for path, page in site.items() for x in (*page.links, *page.loads)}
    for path in home.rglob("*"):
        if path.suffix in (".json", ".png", ".csv", ".tex", ".jsonl", ".sgf"):
            assert (built / path.relative_to(home)).resolve() in named, path


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("strange.json", "{}", "is no summary of a run: it has no"),
        ("broken.json", "{", "is no JSON"),
        ("lost.png", "", "no summary of that name lies beside it"),
        ("own/table.md", "| on | arm | x | n |\n| --- |\n", "no study has that name"),
        ("classic-control/table.md", "# Classic control\n\n\n", "is no study's table"),
        ("classic-control/notes.docx", "", "no kind of file that a result has"),
        ("empty/figure.png", "", "holds neither table.md nor a run's summary"),
    ],
)
def test_a_result_that_is_not_understood_stops_the_build(tmp_path, name, text, told):
    home = tmp_path / "results"
    shutil.copytree(ROOT / "docs" / "results", home)
    results.read(home)
    (home / name).parent.mkdir(exist_ok=True)
    (home / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(told)):
        results.read(home)


# Programs


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> dict[str, Path]:
    """{name on command lines: file} of the recipes that pages show whole, and the tutorial's study as `study.py`."""
    home, found = tmp_path_factory.mktemp("own"), {}
    for text in pages.programs().values():
        file = home / f"own_{len(found)}.py"
        file.write_text(text)
        name = "study" if "STUDY = Study(" in text else find(str(file)).name
        found[f"./{'my_idea' if name == 'linear' else name}.py"] = file
    return found


def test_the_programs_are_those_that_the_pages_speak_of(own):
    assert set(own) == {"./my_idea.py", "./lander.py", "./bars.py", "./residual.py", "./focal.py", "./study.py"}


@pytest.mark.parametrize("name", ["./bars.py", "./residual.py", "./focal.py"])
def test_a_program_of_the_pages_runs(own, name, tmp_path):
    # The linear regression and the lander are run by other tests, from tests/own.
    recipe = find(str(own[name]))
    plan = Plan(recipe, recipe.setup, (Row(0, recipe.hyper),), Budget(4, chunk=2, record_every=2, evaluate_every=4))
    folder = run(plan, tmp_path, device_count=1)
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2


def test_the_loss_of_the_pages_is_cross_entropy_where_it_does_not_focus(own):
    import jax.numpy as jnp

    spec = importlib.util.spec_from_file_location("own_focal", own["./focal.py"])
    focal = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(focal)
    # Of two classes with logits 0 and log 3 the second has 3/4: -log 3/4; focused by 1 a quarter of that.
    logits, labels = jnp.log(jnp.array([[1.0, 3.0]])), jnp.array([1])
    assert float(focal.focal(logits, labels, jnp.float32(0))) == pytest.approx(-math.log(0.75))
    assert float(focal.focal(logits, labels, jnp.float32(1))) == pytest.approx(-math.log(0.75) / 4)


def test_the_study_of_the_tutorial_is_one(own):
    study = study_of(own)
    ((block, arms, sweep),) = study.work()
    assert block == "Acrobot-v1" and arms == study.arms
    assert len(sweep.cells) == 2 and len(sweep.seeds) == 5 and sweep.cells[0].hyper != sweep.cells[1].hyper


def study_of(own: dict[str, Path]) -> Any:
    names: dict[str, Any] = {}
    exec(own["./study.py"].read_text(), names)
    return names["STUDY"]


@pytest.mark.parametrize("block", pages.python_blocks(), ids=lambda block: f"{block.page}: {block.text[:20]!r}")
def test_python_in_the_pages_compiles(block):
    compile(block.text, block.page, "exec")


def test_the_plain_loop_of_the_pages_runs(capsys):
    (loop,) = [block.text for block in pages.python_blocks() if block.text.startswith("import jax\n")]
    exec(loop, {})
    assert len(capsys.readouterr().out.split()) == 6


# Command lines


@cache
def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"scripts_{Path(name).stem}", ROOT / name)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # tyro looks its comments up by name
    spec.loader.exec_module(module)
    return module


def plan_of(name: str, arguments: list[str], own: dict[str, Path]) -> None:
    """What a script makes of its arguments before it runs anything. Raises what the script would."""
    module = script(name)
    stem = Path(name).stem
    if stem in ("train", "sweep"):
        if not arguments:
            return
        recipe = find(str(own.get(arguments[0], arguments[0])))
        if arguments[1:] == ["--help"]:
            return
        chosen = tyro.cli(
            options(recipe, module.OWN_OPTIONS), args=arguments[1:], config=(tyro.conf.FlagCreatePairsOff,)
        )
        rows = tuple(Row(seed, chosen.hyper) for seed in seeds(chosen))
        Plan(recipe, chosen.setup, rows, budget(recipe, chosen))
        if stem == "sweep":
            plan_of_sweep(recipe, chosen)
    elif stem == "prepare_data":
        chosen = tyro.cli(module.Options, args=arguments)
        module.known(*chosen.names)
    elif stem == "bench":
        chosen = tyro.cli(module.Arguments, args=arguments)
        assert chosen.bench in module.BENCHES
        assert [x for x in module.BENCHES[chosen.bench].values() if chosen.cores in x.cores], arguments
    else:
        chosen = tyro.cli(module.Arguments, args=arguments, config=(tyro.conf.FlagCreatePairsOff,))
        if stem == "reproduce":
            assert chosen.list or chosen.study in {*STUDIES, study_of(own).name}
        elif stem == "report":
            assert chosen.folders
        elif hasattr(chosen, "folder") and stem != "translate":
            check(chosen, module.Arguments(chosen.folder))


def plan_of_sweep(recipe: Any, chosen: Any) -> None:
    from research.sweep import grid, lanes, search

    if chosen.search:
        assert search.distributions(recipe, chosen.draw)
        return
    factors = [
        *grid.grid(recipe, chosen.grid),
        *grid.listed(recipe, chosen.list),
        *grid.drawn(recipe, chosen.draw, chosen.draws, chosen.draw_seed),
        *grid.ablated(recipe, chosen.ablate),
    ]
    cells = tuple(grid.combine(recipe, factors))
    assert lanes.Sweep(recipe, cells, tuple(seeds(chosen)), budget(recipe, chosen), 64).lanes


STANDS_FOR = re.compile(r"\b(NAME|RECIPE|STUDY|RUN|N)\b")  # in prose, something that the reader puts in
ELSEWHERE = {"source", "cmp", "tensorboard"}


def checked(words: list[str], own: dict[str, Path]) -> None:
    """Raises, or exits, for a command line that could not run."""
    if words[0] == "make":
        assert re.search(rf"^{re.escape(words[1])}:", (ROOT / "Makefile").read_text(), re.MULTILINE), words
    elif words[:2] == ["pip", "install"]:
        extras = re.findall(r"\.\[(\w+)\]", " ".join(words))
        declared = (ROOT / "pyproject.toml").read_text()
        assert extras and all(re.search(rf"^{extra} = \[", declared, re.MULTILINE) for extra in extras), words
    elif "python" in words:
        name, *arguments = words[words.index("python") + 1 :]
        assert (ROOT / name).is_file(), words
        if name.startswith("scripts/") and "/benches/" not in name and not STANDS_FOR.search(" ".join(arguments)):
            plan_of(name, arguments, own)
    else:
        assert words[0] in ELSEWHERE, words


def pages_of_results() -> dict[str, str]:
    return results.pages(ROOT / "docs" / "results")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_command_lines_of_the_pages_are_understood(page, own):
    for words in command_lines(page):
        if page.name == "tutorial.md" and words[-2:] == ["--steps", "250"]:
            with pytest.raises(ValueError, match="nearest: 200 or 300"):  # as the page shows
                checked(words, own)
        else:
            checked(words, own)


@pytest.mark.parametrize("name", sorted(pages_of_results()))
def test_command_lines_of_the_results_are_understood(name, own):
    for words in command_lines(ROOT / "docs" / name, pages_of_results()[name]):
        checked(words, own)


def test_a_command_line_that_is_wrong_is_noticed(own):
    for line in (
        "train.py ppo-cartpole --seeds 0",
        "train.py ppo --setup.environment CartPole",
        "sweep.py ppo --grid clop=1",
    ):
        with pytest.raises(ValueError):
            checked(["python", *f"scripts/{line}".split()], own)
    with pytest.raises(SystemExit):
        checked(["python", "scripts/play.py", "runs/x", "--sedes", "3"], own)


# Numbers

NUMBER = re.compile(r"(?<![\w.,-])-?\d[\d,]*(?:\.\d+)?(?![\w-])")
APART = "Not in these tables"


def numbers_of(text: str) -> list[str]:
    return [found.rstrip(",") for found in NUMBER.findall(text)]


def claims(text: str) -> list[str]:
    """Numbers of prose that speak of a result: with decimals, in brackets, or before a % or an `s of training`."""
    kept = "\n\n".join(block for block in text.split("\n\n") if not block.startswith(APART))
    kept = re.sub(r"`[^`]*`", "", kept)
    found = set(re.findall(r"(?<![\w.,-])-?\d[\d,]*\.\d+", kept))
    for inside in re.findall(r"\[([^\]]*)\](?!\()", kept):
        found |= set(numbers_of(inside))
    found |= {x.rstrip(",") for x in re.findall(r"(?<![\w.,-])(\d[\d,.]*)\s+(?:%|modes|minutes)", kept)}
    return sorted(x.rstrip(".,") for x in found)


def values_of(paths: list[Path]) -> list[float]:
    """Every number that files hold; and for each n of a summary, up to which share n of n leaves room for (95 %)."""
    found = [float(x.replace(",", "")) for path in paths for x in numbers_of(path.read_text())]
    for path in paths:
        if path.suffix == ".json":
            found.append(1 - 0.05 ** (1 / json.loads(path.read_text())["n"]))
    return found


def held(number: str, values: list[float]) -> bool:
    """Whether a value, a hundred times it or a sixtieth of it, rounds to the number."""
    number = number.replace(",", "")
    half = 0.5 * 10.0 ** -len(number.partition(".")[2]) * (1 + 1e-6)
    return any(abs(value * scale - float(number)) <= half for value in values for scale in (1, 100, 1 / 60))


def spoken_of(about: Path) -> list[Path]:
    """What a text beside a result speaks of."""
    if about.name == "about.md":
        return [x for x in about.parent.iterdir() if x.suffix in (".json", ".txt") or x.name == "table.md"]
    return list(about.parent.glob(f"{about.stem}*.json"))


ABOUTS = [x for x in sorted((ROOT / "docs" / "results").rglob("*.md")) if x.name not in ("table.md", *results.SPEED)]


@pytest.mark.parametrize("about", ABOUTS, ids=lambda path: str(path.relative_to(ROOT / "docs" / "results")))
def test_numbers_beside_a_result_are_those_of_its_files(about):
    files = spoken_of(about)
    assert files
    values = values_of(files)
    assert [x for x in claims(about.read_text()) if not held(x, values)] == []


def test_a_number_that_no_file_holds_is_noticed():
    values = values_of(spoken_of(ROOT / "docs" / "results" / "synthetic-data" / "about.md"))
    assert held("76.6", values) and not held("76.7", values)
    assert claims("of 614 modes [417, 810], `1.5`, in 2024\n\nNot in these tables: 3.3") == ["417", "614", "810"]


HEADLINES = {
    "`ppo-cartpole`": "ppo-cartpole.json",
    "`ppo-breakout`": "ppo-breakout.json",
    "`classify`, digits": "classify-digits.json",
    "`classify --setup.data mnist`": "classify-mnist.json",
    "`translate`": "translate/summary.json",
    "`finetune --setup.mode all`": "finetune/table.md",
    "`nanogpt-char-cpu`": "nanogpt-char/table.md",
}


@pytest.mark.parametrize("row", HEADLINES)
def test_the_headline_table_is_of_the_files(row):
    table = (ROOT / "README.md").read_text().partition("| recipe |")[2].partition("\n\n")[0]
    (line,) = [x for x in table.splitlines() if x.startswith(f"| {row}")]
    _, figure, interval, n, _ = [x.strip() for x in line.strip("|").split("|")]
    path = ROOT / "docs" / "results" / HEADLINES[row]
    values = values_of([path])
    told = [x for x in numbers_of(figure) if "." in x or len(x) > 2]
    told += [] if "over sentences" in interval else numbers_of(interval)  # those intervals are printed, and not kept
    assert told and [x for x in told if not held(x, values)] == []
    assert float(n) in values


def test_ratios_in_the_readme_are_those_of_the_files():
    readme = (ROOT / "README.md").read_text()
    rows = re.findall(
        r"^\| `([\w-]+)`[^|]*\| (\d) \| ([^|]+) \| ([\d.]+ \([\d.]+ to [\d.]+\)) \|$", readme, re.MULTILINE
    )
    assert len(rows) == 7
    for bench, cores, beside, told in rows:
        whole = json.loads((ROOT / "docs" / "results" / f"bench-{bench}.json").read_text())
        found = whole["1 core" if cores == "1" else f"{cores} cores"]["contestants"]
        spreads = {name: show(x["ratio"]) for name, x in found.items()}
        assert told in spreads.values(), (bench, spreads)
        (mine,) = [name for name, x in spreads.items() if x == told]
        assert set(mine.split(", ")[0].split()) <= set(beside.replace(",", "").split()), (mine, beside)
        theirs = [x["ratio"]["median"] for name, x in found.items() if not name.startswith("ours")]
        assert found[mine]["ratio"]["median"] == min(theirs), "the other's fastest way is named"


def test_the_speed_page_shows_the_tables_that_the_bench_made():
    page = results.speed(results.read(ROOT / "docs" / "results"))
    for name in ("bench.md", "growth.md"):  # which tests/test_bench.py holds to what was stored
        rows = [line for line in (ROOT / "docs" / "results" / name).read_text().splitlines() if line.startswith("|")]
        assert rows and all(row in page for row in rows)


def test_make_docs_heeds_warnings():
    (command,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "mkdocs build" in line]
    assert "--strict" in command and "quiet" not in command and " -q" not in command


def test_the_site_is_ignored_by_git():
    assert "build/" in (ROOT / ".gitignore").read_text().splitlines()
    assert os.fspath(Path("build/site")) in (ROOT / "mkdocs.yml").read_text()
