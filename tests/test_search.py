"""Search: settings proposed, dropped and found on a figure that is known in closed form."""

import json
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optuna
import pytest
from test_sweep import OWN, call

from research import Budget, Experiment, Inputs, Recipe
from research.engine.fields import Positive
from research.sweep.search import Search, confirmed, distribution, go


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
    space = dict([distribution(RECIPE, "rate=log:1e-2:1e2")])
    return Search(RECIPE, space, trials, (0, 1), RECIPE.budget, figure, pruner=pruner, width=16, **how)


def quiet(text: str) -> None:
    pass


@pytest.mark.parametrize("pruner", ["median", "halving"])
def test_a_pruned_search_finds_what_the_whole_one_finds_with_fewer_ticks(pruner, tmp_path):
    whole, pruned = go(search(pruner="none"), tmp_path, quiet, 1), go(search(pruner=pruner), tmp_path, quiet, 1)
    assert whole.ticks == whole.ticks_unpruned == 32 * 2 * 16
    assert pruned.ticks < 0.7 * whole.ticks
    assert [x.params for x in whole.outcomes if x.complete][0] == pruned.outcomes[0].params
    best = whole.outcomes[0]
    assert best.scores[-1] == pytest.approx(1 - np.log10(best.params["hyper.rate"]) ** 2, abs=1e-5)
    assert len(whole.outcomes) == len(pruned.outcomes) == 32
    # The figure grows by a quarter at each of the four rungs.
    np.testing.assert_allclose(np.array(best.scores) / best.scores[-1], [0.25, 0.5, 0.75, 1.0], rtol=1e-5)
    assert {len(x.scores) for x in pruned.outcomes} > {4}, "some were dropped early"
    lost = [x for x in whole.outcomes if not x.complete]
    assert lost and all(x.params["hyper.rate"] > 50 for x in lost), "what diverges is dropped and nothing else"


def test_smaller_may_be_better(tmp_path):
    found = go(search(pruner="none", figure="-height"), tmp_path, quiet, 1)
    scores = [x.scores[-1] for x in found.outcomes if x.complete]
    assert scores == sorted(scores) and scores[0] < 0


def test_a_search_that_was_cut_off_runs_its_batch_again(tmp_path):
    class Cut(Exception):
        pass

    def cut(text: str) -> None:
        raise Cut

    with pytest.raises(Cut):
        go(search(), tmp_path, cut, 1)  # after the first batch of 8
    folder = tmp_path / search().name
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(folder / "journal.log")))
    study = optuna.load_study(study_name="search", storage=storage)
    begun = study.ask(search().space)  # and in the middle of the second
    found = go(search(), tmp_path, quiet, 1)
    assert len(found.outcomes) == 32
    assert begun.params in [x.params for x in found.outcomes], "what had begun was run"
    again = go(search(), tmp_path, quiet, 1)
    assert again.outcomes == found.outcomes and again.ticks == found.ticks
    assert len(json.loads((folder / "search.json").read_text())["outcomes"]) == 32


def test_the_winner_is_confirmed_on_seeds_that_did_not_choose_it(tmp_path):
    found = go(search(8), tmp_path, quiet, 1)
    assert "--first-seed 2 --seeds 10" in confirmed(search(8), found.outcomes[0])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: search(0), "search=0 must be at least 1"),
        (lambda: search(rungs=9), "rungs=9 is more than the 8 chunks of a run"),
        (lambda: Search(RECIPE, {}, 1, (0,), RECIPE.budget, "height"), "needs something to draw"),
        (lambda: Search(RECIPE, {"setup.size": None}, 1, (0,), RECIPE.budget, "height"), "is a field of Setup"),
        (
            lambda: Search(RECIPE, {"hyper.rate": None}, 1, (0, 1), RECIPE.budget, "height", width=1),
            "lanes=1 holds not",
        ),
    ],
)
def test_a_search_that_does_not_fit_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_unknown_figure_is_refused(tmp_path):
    with pytest.raises(ValueError, match="figure='hight' is in no evaluation; there are height"):
        go(search(figure="hight"), tmp_path, quiet, 1)


def test_a_search_from_the_command_line(tmp_path):
    words = ["--draw", "learning_rate=log:1e-4:1", "--search", 8, "--seeds", 2, "--lanes", 8, "--steps", 400]
    done = call("sweep.py", OWN, *words, "--figure=-error", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "8 settings x 2 seeds, 4 settings at a time" in said and "the ten best settings" in said
    assert "confirm it on others" in said and "of the same without pruning" in said
    done = call("sweep.py", OWN, *words, "--grid", "learning_rate=1", "--out", tmp_path)
    assert done.returncode == 2 and "leave out --grid" in " ".join(done.stderr.split())
