"""Cells of a sweep: what the command line's words become, and every way in which they are refused."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from research.engine.fields import Natural, Positive, nearest, written
from research.recipes.ppo import CARTPOLE
from research.sweep import grid
from research.sweep.grid import ablated, combine, describe, drawn, listed


def changes(recipe, *factors) -> list[dict]:
    return [cell.changes for cell in combine(recipe, factors)]


def test_grids_combine_and_values_have_their_fields_types():
    cells = combine(CARTPOLE, grid.grid(CARTPOLE, ["clip=0.1,0.2", "widths=64x64,128", "activation=tanh,relu"]))
    assert len(cells) == 8
    assert cells[0].changes == {"hyper.clip": 0.1, "setup.widths": (64, 64), "setup.activation": "tanh"}
    assert cells[-1].hyper.clip == 0.2 and cells[-1].setup.widths == (128,) and cells[-1].setup.activation == "relu"
    assert cells[0].hyper.discount == CARTPOLE.hyper.discount, "what is not varied stays"
    assert describe(cells[0].changes) == "clip=0.1, widths=64x64, activation=tanh"


def test_lists_are_paired_by_position():
    factors = listed(CARTPOLE, ["clip=0.1,0.2", "environments=4,8"])
    assert changes(CARTPOLE, *factors) == [
        {"hyper.clip": 0.1, "setup.environments": 4},
        {"hyper.clip": 0.2, "setup.environments": 8},
    ]


def test_draws_follow_their_law_and_their_seed():
    text = "learning_rate=log:1e-5:1e-1"
    (factor,) = drawn(CARTPOLE, [text], 2_000, seed=0)
    rates = np.log10([x["hyper.learning_rate"] for x in factor])
    # Uniform in the exponent from -5 to -1: mean -3, standard error 4 / sqrt(12 * 2000) = 0.026.
    assert rates.min() >= -5 and rates.max() <= -1 and abs(rates.mean() + 3) < 5 * 0.026
    both = drawn(CARTPOLE, ["clip=uniform:0.1:0.3", text], 2_000, seed=0)[0]
    assert [x["hyper.learning_rate"] for x in both] == [x["hyper.learning_rate"] for x in factor]
    assert drawn(CARTPOLE, [text], 3, seed=1) != drawn(CARTPOLE, [text], 3, seed=0)
    integers = drawn(CARTPOLE, ["environments=uniform:2:9"], 50, seed=0)[0]
    assert all(isinstance(x["setup.environments"], int) for x in integers)


def test_an_ablation_is_the_full_thing_and_each_switch_by_itself():
    assert changes(CARTPOLE, *ablated(CARTPOLE, ["clip_values", "entropy_coefficient=0"])) == [
        {},
        {"setup.clip_values": False},
        {"hyper.entropy_coefficient": 0.0},
    ]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: grid.grid(CARTPOLE, ["lerning_rate=1"]),
            "field='lerning_rate' is in neither .* did you mean 'learning_rate'",
        ),
        (lambda: grid.grid(CARTPOLE, ["clip"]), "--grid 'clip' must be FIELD=VALUE"),
        (lambda: grid.grid(CARTPOLE, ["clip="]), "--grid 'clip=' must be FIELD=VALUE"),
        (lambda: grid.grid(CARTPOLE, ["clip=0.1,"]), "--grid 'clip=0.1,': '' must be float"),
        (lambda: grid.grid(CARTPOLE, ["clip=a"]), "'a' must be float"),
        (lambda: grid.grid(CARTPOLE, ["activation=sin"]), "'sin' must be 'tanh' or 'relu'"),
        (lambda: grid.grid(CARTPOLE, ["clip_values=maybe"]), "'maybe' must be bool"),
        (lambda: grid.grid(CARTPOLE, ["clip=0.1", "clip=0.2"]), "names clip a second time"),
        (
            lambda: listed(CARTPOLE, ["clip=0.1,0.2", "discount=0.9"]),
            "all need equally many: hyper.clip has 2, hyper.dis",
        ),
        (lambda: drawn(CARTPOLE, ["clip=log:0:1"], 3, 0), "FIELD=log:LOW:HIGH .* 0 < LOW"),
        (lambda: drawn(CARTPOLE, ["clip=normal:0:1"], 3, 0), "must be FIELD=log"),
        (lambda: drawn(CARTPOLE, ["clip=uniform:1"], 3, 0), "must be FIELD=log"),
        (lambda: drawn(CARTPOLE, ["clip=uniform:0:1"], 0, 0), "draws=0 must be at least 1"),
        (lambda: drawn(CARTPOLE, ["clip=uniform:0:1"], 10_001, 0), "draws=10001 must be at least 1 and at most 10000"),
        (lambda: drawn(CARTPOLE, ["clip=uniform:0:1"], 2, -1), "draw_seed=-1 must be at least 0"),
        (lambda: drawn(CARTPOLE, ["clip=uniform:-1e308:1e308"], 2, 0), "with LOW < HIGH"),
        (lambda: combine(CARTPOLE, [({},) * 200] * 2), "40000 cells are more than the 10000 of a sweep"),
        (lambda: drawn(CARTPOLE, ["activation=uniform:0:1"], 3, 0), "needs a field of numbers"),
        (lambda: ablated(CARTPOLE, ["clip"]), "--ablate 'clip' is no switch; say what it becomes"),
        (
            lambda: combine(CARTPOLE, grid.grid(CARTPOLE, ["clip=0.1"]) + ablated(CARTPOLE, ["clip=1"])),
            "hyper.clip is varied twice",
        ),
        (lambda: combine(CARTPOLE, grid.grid(CARTPOLE, ["clip=0.1,1e-1"])), "two cells are the same setting: clip=0.1"),
    ],
)
def test_words_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@dataclass(frozen=True)
class Setup:
    rate: float = 1.0


class Hyper(NamedTuple):
    rate: float = 1.0


def test_a_name_in_setup_and_hyper_needs_its_part():
    recipe = replace(CARTPOLE, setup=Setup(), hyper=Hyper())
    with pytest.raises(ValueError, match="field='rate' is in both Setup and Hyper .*write setup.rate or hyper.rate"):
        grid.grid(recipe, ["rate=2"])
    assert grid.grid(recipe, ["hyper.rate=2"]) == [({"hyper.rate": 2.0},)]


@dataclass(frozen=True)
class Open:
    limit: Natural | None = None
    rate: Positive | None = 0.5
    text: Path = Path("a.txt")
    whatever: Any = None


def test_fields_that_may_be_none_and_paths_have_their_types_too():
    recipe = replace(CARTPOLE, setup=Open())
    texts = ["limit=none,3", "rate=None,0.25", "text=b.txt"]
    values = [
        [value for alternative in factor for value in alternative.values()] for factor in grid.grid(recipe, texts)
    ]
    assert values == [[None, 3], [None, 0.25], [Path("b.txt")]]
    for text, kind in (("limit=2.5", "int or none"), ("rate=a", "float or none"), ("whatever=1", "Any")):
        with pytest.raises(ValueError, match=f"'{text.split('=')[1]}' must be {kind}"):
            grid.grid(recipe, [text])


def test_settings_are_told_as_the_command_line_takes_them():
    said = [written(x) for x in (True, False, (64, 64), 1e-3, 3, "relu", None)]
    assert said == ["true", "false", "64x64", "0.001", "3", "relu", "None"]
    assert describe({"setup.clip_values": False}) == "clip_values=false"


def test_of_several_like_names_the_nearest_is_offered_and_of_none_all():
    assert nearest("rate", iter(["date", "rates", "gate"])) == "did you mean 'rates'?"
    assert nearest("rate", iter(["clip", "width"])) == "known: clip, width"
