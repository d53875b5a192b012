"""Studies: verdicts by their rules, and a small study from its runs to its page."""

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import run_folders
from own import linear
from PIL import Image
from rich.console import Console

from research.engine.files import read_manifest
from research.engine.plan import Budget
from research.report import collect
from research.report.collect import Entry, Group
from research.report.stats import prediction_interval
from research.studies import STUDIES, find, page
from research.studies.study import BEFORE, Arm, Before, Block, Preset, Published, Study, verdict, welch
from research.sweep import lanes
from scripts import reproduce

ROOT = Path(__file__).resolve().parent.parent
SCORES = [1.0, 2.0, 3.0, 4.0, 5.0]


def published(value: float, **how) -> Published:
    return Published("", "", value, **({"spread": None, "kind": "none", "n": 1, "source": ""} | how))


def test_a_single_run_is_inside_where_it_could_be_ours():
    # Mean 3, s = sqrt(2.5), t = 2.776445 with 4 degrees of freedom: 3 +- 2.776445 * 1.581139 * sqrt(1.2) = 3 +- 4.80894.
    low, high = prediction_interval(SCORES)[1:3]
    assert (low, high) == pytest.approx((3 - 4.80894, 3 + 4.80894), abs=1e-4)
    assert verdict(SCORES, published(7.8)).startswith("inside (95 % prediction interval of one run, n = 5)")
    assert verdict(SCORES, published(7.82)).startswith("below")
    assert verdict(SCORES, published(-1.9)).startswith("above")


def test_a_published_mean_is_inside_where_the_means_may_be_equal():
    # Equal spreads and sizes: standard error sqrt(0.5 + 0.5) = 1 with 8 degrees of freedom, t = 2.306004.
    theirs = published(5.0, spread=float(np.std(SCORES, ddof=1)), kind="std", n=5)
    assert welch(SCORES, theirs) == pytest.approx((2 - 2.306004, 2 + 2.306004), abs=1e-5)
    assert verdict(SCORES, theirs).startswith("inside (95 % interval of the difference of means, n = 5 and 5)")
    assert verdict(SCORES, theirs._replace(value=5.4)).startswith("below")
    assert verdict(SCORES, theirs._replace(value=0.6)).startswith("above")
    # A standard error and a 95 % half-width say the same in other words.
    error = theirs.spread / 5**0.5
    assert welch(SCORES, theirs._replace(spread=error, kind="SE")) == pytest.approx(welch(SCORES, theirs))
    # Of a mean of five without its spread: 3 +- 2.776445 * 1.581139 * sqrt(1/5 + 1/5) = 3 +- 2.77645.
    assert verdict(SCORES, published(5.77, n=5)).startswith("inside (95 % prediction interval of a mean of 5 runs")
    assert verdict(SCORES, published(5.78, n=5)).startswith("below")
    half = theirs._replace(spread=error * 2.776445, kind="95 %")
    assert welch(SCORES, half) == pytest.approx(welch(SCORES, theirs), rel=1e-5)


def test_what_does_not_compare_gets_no_verdict():
    other = published(3.0, comparable=False, why="other data")
    assert verdict(SCORES, other) == "not comparable: other data"
    assert verdict([500.0] * 5, published(490.0)).startswith("not comparable: our seeds show no spread")


SHORT = replace(linear.recipe, budget=Budget(40, chunk=10, record_every=10, evaluate_every=10))
STUDY = Study(
    name="small",
    question="Does the batch matter?",
    blocks=(Block("a line", Preset(SHORT, {"steps": 20})),),
    arms=(Arm("32 points"), Arm("8 points", {"batch_size": 8}), Arm("slow", {}, {"learning_rate": 0.001})),
    seeds=4,
    figure="error",
    published=(Published("a line", "32 points", 0.01, 0.001, "std", 5, "nobody 2026", selected=True),),
)


@pytest.mark.parametrize("quick", [False, True])
def test_a_study_ends_in_a_page_with_its_arms_differences_and_published_figures(quick, tmp_path):
    (block,) = STUDY.blocks
    ((_, arms, sweep),) = STUDY.work(quick)
    assert arms == STUDY.arms
    assert sweep.programs == 2 and sum(len(plan.rows) for plan in sweep.lanes) == 3 * (2 if quick else 4)
    assert lanes.run_lanes(sweep, tmp_path / block.name, Console(quiet=True), device_count=1) == []
    tables = page.write(STUDY, tmp_path, quick)
    assert len(tables) == (4 if quick else 5), "a look has no verdict"
    text = (tmp_path / "table.md").read_text()
    assert text.count("| a line | 32 points |") == (2 if quick else 3) and "| a line | slow |" in text
    assert ("nobody 2026" in text) != quick and ("verdict" in text) != quick
    html = (tmp_path / "report.html").read_text()
    assert "Each arm against the first" in html and ("no result" in html) == quick
    assert (tmp_path / "a line-curve-error.png").exists()


def test_an_arm_costs_its_share_of_its_lanes(tmp_path):
    lines = [{"tick": 50, "seconds": 3.0}, {"tick": 100, "seconds": 5.0}]
    metrics = [{"tick": 100, "row": row, "finite": True, "loss": 1.0} for row in range(4)]
    rows = [(seed, {"rate": rate}) for rate in (0.1, 0.2) for seed in (0, 1)]
    run_folders.write(tmp_path, rows, metrics, timings=lines)
    entries = tuple(entry for entry in collect.entries([tmp_path]) if entry.settings["hyper.rate"] == 0.1)
    # Two of four rows of a lane of 8 s; each has 100 ticks of 10 steps.
    assert page.cost(Group({"study.on": "a", "study.arm": "b"}, entries)) == ["a", "b", "2", "500", "2"]


def test_differences_are_paired_by_seed_and_missing_seeds_are_named():
    def group(name: str, scores: list[float | None]) -> Group:
        entries = (Entry(None, i, {}, i, x is not None, {"error": x}) for i, x in enumerate(scores))
        return Group({"study.on": "a line", "study.arm": name}, tuple(entries))

    # Differences 1, 1, 2: mean 4/3, p = 0.0572 (tests/test_stats.py); the other arm's 0 p is 1; two p values: doubled.
    first = group("full", [100.0, 50.0, 0.0])
    # The third has no value and no p, and still counts as a comparison: 0.0572 is trebled.
    others = [group("b", [101.0, 51.0, 2.0]), group("c", [100.0, 50.0, 0.0]), group("d", [1.0, None, 1.0])]
    rows = page.differences([[first, *others]], "error")
    assert rows[0][1:] == ["b", "1.33", "[-0.10, 2.77]", "0.17", "3"]
    assert rows[1][1:3] == ["c", "0"] and rows[1][4] == "1"
    assert rows[2][-1] == "a seed has no value"
    # The same two arms in two blocks are a family of two.
    assert page.differences([[first, others[0]]] * 2, "error")[0][4] == "0.11"


def test_arms_are_put_together_over_blocks_that_name_their_full_score():
    def group(scores: list[float | None]) -> Group:
        entries = (Entry(None, i, {}, i, x is not None, {"error": x}) for i, x in enumerate(scores))
        return Group({}, tuple(entries))

    (block,) = STUDY.blocks
    easy, hard = block._replace(name="easy", full_score=10.0), block._replace(name="hard", full_score=2.0)
    study = replace(STUDY, blocks=(easy, hard), published=())
    members = {
        "easy": [group([10.0] * 5), group([5.0, 0.0, 5.0, 5.0, 5.0]), group([None] * 5)],
        "hard": [group([1.0] * 5), group([3.0, 1.0, 1.0, 1.0, 1.0]), group([1.0] * 5)],
    }
    first, second, third = page.aggregates(page.scaled(study, members))
    # Ten scores, 1 five times and 0.5 five times; the middle six have the mean 0.75. Short of 1 by 0 and by 0.5.
    assert (first[0], first[1], first[3], first[-1]) == ("32 points", "0.75", "0.25", "5")
    # 0, 0.5 eight times, 1.5: the middle six are all 0.5. Short by 0.6 and by 0.4, where 1.5 counts as 1.
    assert float(second[1]) == 0.5 and float(second[3]) == 0.5
    # Easy: never better. Hard: 1 of 5 is better, the others tie: 0.2 + 0.8 / 2 = 0.6. The mean of 0 and 0.6:
    assert float(second[5]) == pytest.approx(0.3)
    assert third == ["slow", *["–"] * 6, "a seed has no value"], "an arm with a seed without a value is in no aggregate"
    # Where that is the first arm, none is compared with it.
    members["easy"][0] = group([None] * 5)
    first, second, _ = page.aggregates(page.scaled(study, members))
    assert first[1] == "–" and float(second[1]) == 0.5 and second[5] == "–"
    assert page.scaled(replace(study, blocks=(easy,)), {"easy": members["easy"]}) == {}
    unscaled = replace(study, blocks=(easy, hard._replace(full_score=None)))
    assert page.scaled(unscaled, members) == {}


def test_a_study_shows_its_newest_pictures_and_a_profile_over_its_blocks(tmp_path, monkeypatch):
    shown: dict[str, dict] = {}
    strips = page.figures.strips
    monkeypatch.setattr(
        page.figures, "strips", lambda title, found: shown.update({title: found}) or strips(title, found)
    )
    (block,) = STUDY.blocks
    blocks = tuple(block._replace(name=name, full_score=-1.0) for name in ("easy", "hard"))
    study = replace(STUDY, blocks=blocks, arms=(Arm("32 points"), Arm("8 points", {"batch_size": 8})), picture="line")
    for name, _, sweep in study.work(True):
        assert lanes.run_lanes(sweep, tmp_path / name, Console(quiet=True), device_count=1) == []
    first, _ = (path.parent for path in sorted(tmp_path.glob("easy/*/*/manifest.json")))
    (first / "pictures").mkdir()
    for name in ("line-00000009", "line-99999999", "line-100000000", "test_line-200000000"):
        Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(first / "pictures" / f"{name}.png")
    page.write(study, tmp_path, quick=True)
    assert {path.name for path in tmp_path.glob("*.png")} >= {"easy-line.png", "hard-line.png", "profile.png"}
    newest = first / "pictures" / "line-100000000.png"
    assert set(shown["easy: line"].values()) == {newest, None} and set(shown["hard: line"].values()) == {None}
    assert list(shown["easy: line"]) == ["32 points", "8 points"]


def test_a_published_figure_is_compared_with_all_seeds_of_whole_runs_alone():
    def told(scores: list[float | None], complete: bool = True) -> list[str]:
        run = SimpleNamespace(complete=complete)
        entries = (Entry(run, i, {}, i, x is not None, {"error": x}) for i, x in enumerate(scores))
        group = Group({"study.on": "a line", "study.arm": "32 points"}, tuple(entries))
        (line,) = page.published(STUDY, {"a line": [group]})
        return [line[2], line[-1]]

    assert told([0.01, 0.02, None, 0.03]) == ["–", "not comparable: 3 of our 4 seeds have a final value"]
    assert told([0.01, 0.02, 0.03, 0.04], complete=False)[1].startswith("not comparable: 4 of our 4")
    assert told([0.01, 0.02, 0.03, 0.04])[0] == "0.025" and "not comparable" not in told([0.01, 0.02, 0.03, 0.04])[1]


@pytest.mark.parametrize("how", [{"spread": None, "kind": "std", "n": 5}, {"spread": 0.1, "kind": "SE", "n": 1}])
def test_a_published_spread_is_there_and_of_several_runs(how):
    with pytest.raises(ValueError, match="nobody: kind='.*' needs a spread above 0 and n of 2 or more"):
        replace(STUDY, published=(published(1.0, source="nobody", **how),))


def test_arms_may_be_different_recipes(tmp_path):
    """Each recipe's arms are a sweep of their own, and the page has all of them in the study's order."""
    other = replace(SHORT, name="linear-again")
    own = Preset(other, {})
    block = Block("a line", Preset(SHORT, {}), {"batch_size": 16})
    arms = (Arm("first"), Arm("other", preset=own), Arm("slow", {"batch_size": 8}, {"learning_rate": 0.001}))
    study = replace(STUDY, blocks=(block,), arms=arms, published=())
    (_, ours, first), (_, theirs, second) = study.work()
    assert [arm.name for arm in ours] == ["first", "slow"] and [arm.name for arm in theirs] == ["other"]
    assert [cell.setup.batch_size for cell in (*first.cells, *second.cells)] == [16, 8, 16]
    for sweep in (first, second):
        lanes.run_lanes(sweep, tmp_path / block.name, Console(quiet=True), device_count=1)
    page.write(study, tmp_path)
    lines = (tmp_path / "table.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == ["first", "other", "slow"]
    # The same runs under two names: the same figures.
    assert lines[0].split(",")[2:7] == lines[1].split(",")[2:7] != lines[2].split(",")[2:7]


@dataclass(frozen=True)
class Following(linear.Setup):
    begins: str = ""
    """The folder of a run to begin from."""


def test_arms_begin_from_a_run_that_is_made_before_them(tmp_path):
    seen = []

    def load(setup: Following):
        seen.append(setup.begins and read_manifest(Path(setup.begins))["recipe"])
        return linear.load(setup)

    following = replace(SHORT, name="following", setup=Following(), load=load)
    first = Preset(replace(SHORT, name="leading"), {"steps": 20})
    block = Block("a line", Preset(following, {}))
    arms = (Arm("on"), Arm("new", {"begins": ""}))
    study = replace(STUDY, blocks=(block,), arms=arms, published=(), before=Before(first, "begins"))
    (_, _, made), (_, _, sweep) = study.work(True, tmp_path)
    assert made is not None and made.budget.steps == 20 and made.seeds == (0,)
    for folder, one in ((BEFORE, made), (block.name, sweep)):
        assert lanes.run_lanes(one, tmp_path / folder, Console(quiet=True), device_count=1) == []
    assert sorted(seen) == ["", "leading"]
    page.write(study, tmp_path, quick=True)
    assert [line.split(",")[1] for line in (tmp_path / "table.csv").read_text().splitlines()[1:]] == ["on", "new"]
    assert "| before | leading |" in (tmp_path / "table.md").read_text(), "what it cost is told"


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_valid_in_both_sizes(name):
    study = find(name)
    for quick in (False, True):
        work = study.work(quick)
        for block in study.blocks:
            sweeps = [(arms, sweep) for on, arms, sweep in work if on == block.name]
            assert sum(len(sweep.cells) for _, sweep in sweeps) == len(study.arms)
            assert all(len(arms) == len(sweep.cells) and sweep.lanes for arms, sweep in sweeps)
    arms = {(block.name, arm.name) for block in study.blocks for arm in study.arms}
    assert all((x.block, x.arm) in arms and x.source for x in study.published)
    assert all(x.why for x in study.published if not x.comparable)


def test_reproduce_goes_on_and_starts_over_when_asked(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(reproduce, "find", lambda name: STUDY)
    command = [STUDY.name, "--quick", "--device-count", "1", "--out", str(tmp_path)]
    names = lambda: sorted(path.name for path in tmp_path.glob("*/*/*/*") if path.is_dir())
    assert reproduce.main(command) == 0
    runs = names()
    assert reproduce.main(command) == 0 and names() == runs
    assert capsys.readouterr().out.count("is complete already; --fresh repeats it") == len(runs)
    assert reproduce.main([*command, "--fresh"]) == 0
    assert names() == sorted(runs + [f"{name}.old-1" for name in runs])


def test_reproduce_lists_studies_and_refuses_unknown_ones():
    script = str(ROOT / "scripts" / "reproduce.py")
    done = subprocess.run([sys.executable, script, "--list"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0 and all(name in done.stdout for name in STUDIES)
    done = subprocess.run([sys.executable, script, "ppo-ablaton"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2 and "did you mean 'ppo-ablation'?" in done.stderr
