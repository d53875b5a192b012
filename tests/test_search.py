"""Search: settings proposed, dropped and found on a figure that is known in closed form."""

import os
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from test_sweep import OWN, call, report

from research import Budget, Experiment, Inputs, Recipe
from research.engine.errors import Damaged
from research.engine.fields import Positive
from research.engine.files import claim
from research.sweep import search as searching
from research.sweep.search import Search, confirmed, distributions, keeps, run_search


@dataclass(frozen=True)
class Setup:
    size: int = 1


class Hyper(NamedTuple):
    rate: Positive = 1.0
    noise: float = 0.0


def make(setup: Setup) -> Experiment:
    """The figure grows with the ticks to 1 - (log10 rate)^2, at best 1 for rate = 1; a rate above 50 diverges."""

    def step(state, hyper, data, tick):
        return jnp.where(hyper.rate > 50, jnp.nan, state + 1), {"x": state}

    def evaluate(key, state, hyper, data):
        return (1 - jnp.log10(hyper.rate) ** 2) * state / 16

    return Experiment(lambda key, hyper, data: jnp.float32(0), step, evaluate, lambda outputs: {"height": outputs})


RECIPE = Recipe("hill", make, Setup(), Hyper(), lambda setup: Inputs(()), Budget(16, 2, 2, 2), watch=("height",))


def search(trials: int = 32, pruner: str = "median", figure: str = "height", **how) -> Search:
    space = distributions(RECIPE, ["rate=log:1e-2:1e2"])
    return Search(RECIPE, space, trials, (0, 1), RECIPE.budget, figure, pruner=pruner, width=16, **how)


def quiet(text: str) -> None:
    pass


def test_a_journal_is_gone_on_with_as_far_as_it_is_whole(tmp_path):
    whole = run_search(search(), tmp_path, quiet, 1)
    journal = tmp_path / search().name / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:2]) + lines[2][:50])
    assert run_search(search(), tmp_path, quiet, 1) == whole
    assert journal.read_text() == "".join(lines), "what was cut off does not stand before the next line"
    for damaged in (lines[:1] + lines, lines[1:], [lines[1], lines[0], *lines[2:]]):
        journal.write_text("".join(damaged))
        with pytest.raises(Damaged, match="is not the batch that should stand there"):
            run_search(search(), tmp_path, quiet, 1)
        assert journal.read_text() == "".join(damaged)


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_pruned_search_finds_what_the_whole_one_finds_with_fewer_ticks(pruner, tmp_path):
    whole, pruned = (
        run_search(search(pruner="none"), tmp_path, quiet, 1),
        run_search(search(pruner=pruner), tmp_path, quiet, 1),
    )
    assert whole.ticks == whole.ticks_unpruned == 32 * 2 * 16
    assert pruned.ticks < 0.7 * whole.ticks
    assert whole.outcomes[0].params == pruned.outcomes[0].params
    best = whole.outcomes[0]
    assert best.scores[-1] == pytest.approx(1 - np.log10(best.params["hyper.rate"]) ** 2, abs=1e-5)
    assert len(whole.outcomes) == len(pruned.outcomes) == 32
    # The figure grows by a quarter at each of the four rungs.
    np.testing.assert_allclose(np.array(best.scores) / best.scores[-1], [0.25, 0.5, 0.75, 1.0], rtol=1e-5)
    assert {len(x.scores) for x in pruned.outcomes} > {4}, "some were dropped early"
    lost = [x for x in whole.outcomes if not x.complete]
    assert lost and all(x.params["hyper.rate"] > 50 for x in lost), "what diverges is dropped and nothing else"


def test_smaller_may_be_better(tmp_path):
    found = run_search(search(pruner="none", figure="-height"), tmp_path, quiet, 1)
    scores = [x.scores[-1] for x in found.outcomes if x.complete]
    assert scores == sorted(scores) and scores[0] < 0


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_search_that_was_cut_off_equals_one_that_was_not(sampler, tmp_path, monkeypatch):
    """Cut off while a batch runs, at every batch, the first included."""
    whole = run_search(search(sampler=sampler), tmp_path / "whole", quiet, 1)
    run_batch, cuts = searching.run_batch, set()

    def cut_once(search, settings, before, *rest):
        if len(before) not in cuts:
            cuts.add(len(before))
            raise KeyboardInterrupt
        return run_batch(search, settings, before, *rest)

    monkeypatch.setattr(searching, "run_batch", cut_once)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt):
            run_search(search(sampler=sampler), tmp_path / "cut", quiet, 1)
    resumed = run_search(search(sampler=sampler), tmp_path / "cut", quiet, 1)
    assert cuts == {0, 8, 16, 24} and resumed == whole
    settings = [tuple(x.params.values()) for x in whole.outcomes]
    assert len(set(settings)) == len(settings) == 32, "no setting is proposed twice"


def test_what_lags_is_dropped():
    means = np.array([3.0, 1.0, np.nan, 2.0, 4.0])
    assert keeps(search(pruner="none"), means, [], False).tolist() == [True, True, False, True, True]
    # The median of 1, 2, 3, 4 is 2.5; with two earlier ones of 9 it is 3.5.
    assert keeps(search(), means, [], False).tolist() == [True, False, False, False, True]
    assert keeps(search(), means, [9.0, 9.0], False).tolist() == [False, False, False, False, True]
    # The better half of five are three.
    assert keeps(search(pruner="halving"), means, [], False).tolist() == [True, False, False, True, True]
    assert keeps(search(pruner="halving"), means, [], True).tolist() == [True, True, False, True, True]


def test_one_process_searches_a_folder_at_a_time(tmp_path):
    folder = tmp_path / search().name
    folder.mkdir()
    held = claim(folder)
    with pytest.raises(ValueError, match="is in use: one process at a time"):
        run_search(search(), tmp_path, quiet, 1)
    os.close(held)


def test_the_winner_is_confirmed_on_seeds_that_did_not_choose_it(tmp_path):
    found = run_search(search(8), tmp_path, quiet, 1)
    assert "--first-seed 2 --seeds 10" in confirmed(search(8), found.outcomes[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search(0), "search=0 must be at least 1"),
        (lambda: search(rungs=9), "rungs=9 must be at least 1 and at most the 8 chunks of a run"),
        (lambda: search(rungs=0), "rungs=0 must be at least 1"),
        (lambda: distributions(RECIPE, ["rate=log:1:2", "rate=log:2:3"]), "names rate a second time"),
        (lambda: distributions(RECIPE, ["rate=uniform:0:inf"]), "must be FIELD=log:LOW:HIGH"),
        (
            lambda: Search(RECIPE, distributions(RECIPE, ["rate=uniform:-1:1"]), 1, (0,), RECIPE.budget, "height"),
            "rate=-1.0 must be above 0",
        ),
        (lambda: Search(RECIPE, {}, 1, (0,), RECIPE.budget, "height"), "needs something to draw"),
        (lambda: Search(RECIPE, {"setup.size": 1}, 1, (0,), RECIPE.budget, "height"), "is a field of Setup"),
        (
            lambda: Search(RECIPE, {"hyper.rate": 1}, 1, (0, 1), RECIPE.budget, "height", width=1),
            "lanes=1 holds not",
        ),
    ],
)
def test_a_search_that_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_finished_search_is_reported_with_every_setting(tmp_path):
    two = distributions(RECIPE, ["rate=log:1e-2:1e2", "noise=uniform:0:1"])
    asked = Search(RECIPE, two, 16, (0, 1), RECIPE.budget, "height", width=16)
    found = run_search(asked, tmp_path, quiet, 1)
    out = tmp_path / "report"
    done = report(tmp_path / asked.name, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "16 settings x 2 seeds" in " ".join(done.stdout.split())
    lines = (out / "table.csv").read_text().splitlines()
    assert lines[0] == "rank,rate,noise,height,ticks,complete" and len(lines) == 17
    best, last = lines[1].split(","), lines[-1].split(",")
    assert float(best[1]) == found.outcomes[0].params["hyper.rate"]
    assert float(best[3]) == found.outcomes[0].scores[-1] and best[4:] == ["16", "True"]
    assert last[5] == "False" and "(dropped)" in (out / "report.html").read_text()
    assert {path.name for path in out.glob("*.png")} == {"parallel.png", "over-rate.png", "over-noise.png"}
    page = (out / "report.html").read_text()
    assert "src=" not in page and "confirm them on" in page and page.count("<tr>") == 17
    done = report(tmp_path / asked.name, "--by", "rate", "--out", out)
    assert done.returncode == 2 and "a search is reported by itself" in " ".join(done.stderr.split())
    (tmp_path / asked.name / "search.json").write_text("{}")
    done = report(tmp_path / asked.name, "--out", out)
    assert done.returncode == 1 and "run the search again" in " ".join(done.stderr.split())


def test_an_unknown_figure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="'hight' names no figure of an evaluation; there are height"):
        run_search(search(figure="hight"), tmp_path / "out", quiet, 1)
    assert not (tmp_path / "out").exists()


def test_a_search_from_the_command_line(tmp_path):
    words = ["--draw", "learning_rate=log:1e-4:1", "--search", 8, "--seeds", 2, "--lanes", 8, "--steps", 400]
    done = call("sweep.py", OWN, *words, "--figure=-error", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "8 settings x 2 seeds, 4 settings at a time" in said and "the ten best settings" in said
    assert "confirm it on others" in said and "of the same without pruning" in said
    done = call("sweep.py", OWN, *words, "--grid", "learning_rate=1", "--out", tmp_path)
    assert done.returncode == 2 and "leave out --grid" in " ".join(done.stderr.split())
