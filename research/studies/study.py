"""A study: arms side by side over seeds, and what others published of them, with a verdict by a stated rule."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from research.engine.plan import Budget, Recipe
from research.report.stats import mean_interval, prediction_interval
from research.sweep.grid import make_cell
from research.sweep.lanes import Sweep

BEFORE = "before"  # folder, in a study's, of what is run first
QUICK_SEEDS = 2  # the fewest that have an interval; one row on each of two cores is what compiles fastest


class Preset(NamedTuple):
    """What is run: a recipe with its own budget, of which `--quick` changes the fields `quick`."""

    recipe: Recipe
    quick: dict[str, int]

    def budget(self, quick: bool) -> Budget:
        return replace(self.recipe.budget, **self.quick) if quick else self.recipe.budget


class Arm(NamedTuple):
    """One setting of a study: what it changes in its preset, by field name. The preset is its block's, or its own where
    arms are different methods."""

    name: str
    setup: dict[str, Any] = {}
    hyper: dict[str, float] = {}
    preset: Preset | None = None


class Block(NamedTuple):
    """What all arms are tried on: an environment, a data set.

    preset      of the arms that have none of their own
    setup       what every arm's preset is given here, by field name
    full_score  what counts as 1 where scores of several blocks are put together, 0 being 0; None where they are not
    """

    name: str
    preset: Preset | None = None
    setup: dict[str, Any] = {}
    full_score: float | None = None


class Before(NamedTuple):
    """A run of one seed that is made before all others; `field` of the arms' setups names its folder, unless an arm says
    otherwise."""

    preset: Preset
    field: str


class Published(NamedTuple):
    """A figure that somebody printed.

    spread, kind  as printed: 'std', 'SE', '95 %', 'min-max', or 'none' where one value stands alone
    selected      True where it was chosen on the evaluation data (a best checkpoint, a best setting)
    comparable    False where data or protocol differ, with `why`
    """

    block: str
    arm: str
    value: float
    spread: float | None
    kind: Literal["std", "SE", "95 %", "min-max", "none"]
    n: int
    source: str
    selected: bool = False
    comparable: bool = True
    why: str = ""


class Work(NamedTuple):
    """Arms on a block, or what is run BEFORE all of them, as one sweep whose cells are those arms."""

    block: str
    arms: tuple[Arm, ...]
    sweep: Sweep


@dataclass(frozen=True)
class Study:
    """A question, the runs that answer it, the figure that it turns on, and figures that stand `beside` it.

    picture  one of the recipe's pictures, of which each arm's last is shown; no two arms share a lane then, nor a picture
    """

    name: str
    question: str
    blocks: tuple[Block, ...]
    arms: tuple[Arm, ...]
    seeds: int
    figure: str
    beside: tuple[str, ...] = ()
    published: tuple[Published, ...] = ()
    width: int = 64
    before: Before | None = None
    picture: str = ""

    def __post_init__(self) -> None:
        for theirs in self.published:
            if theirs.kind in ("std", "SE", "95 %") and not (theirs.spread and theirs.n > 1):
                raise ValueError(f"{theirs.source}: kind={theirs.kind!r} needs a spread above 0 and n of 2 or more")

    def seeds_of(self, quick: bool) -> int:
        return QUICK_SEEDS if quick else self.seeds

    def work(self, quick: bool = False, folder: Path = Path()) -> list[Work]:
        """All sweeps of the study, in the order in which they are run; `folder` is the study's."""
        found: list[Work] = []
        given: dict[str, Any] = {}
        if self.before is not None:
            preset = self.before.preset
            first = Sweep(preset.recipe, (make_cell(preset.recipe, {}),), (0,), preset.budget(quick), 1)
            found.append(Work(BEFORE, (Arm(preset.recipe.name),), first))
            given[self.before.field] = str(folder / BEFORE / first.name / first.lanes[0].name)
        for block in self.blocks:
            found += self.on(block._replace(setup=given | block.setup), quick)
        return found

    def on(self, block: Block, quick: bool) -> Iterator[Work]:
        """A block's arms, those of one recipe as one sweep."""
        seeds = tuple(range(self.seeds_of(quick)))
        presets: dict[str, tuple[Preset, list[Arm]]] = {}
        for arm in self.arms:
            preset = arm.preset or block.preset
            assert preset is not None, f"{self.name}: arm {arm.name!r} has no preset on {block.name!r}"
            known, arms = presets.setdefault(preset.recipe.name, (preset, []))
            assert known == preset, f"{self.name}: {preset.recipe.name} stands in two presets; give one another name"
            arms.append(arm)
        for preset, arms in presets.values():
            cells = tuple(make_cell(preset.recipe, changes(block, arm)) for arm in arms)
            width = len(seeds) if self.picture else self.width
            yield Work(block.name, tuple(arms), Sweep(preset.recipe, cells, seeds, preset.budget(quick), width))


def changes(block: Block, arm: Arm) -> dict[str, Any]:
    """What an arm changes in its preset on a block, by full name."""
    setup = block.setup | arm.setup
    return {f"setup.{k}": v for k, v in setup.items()} | {f"hyper.{k}": v for k, v in arm.hyper.items()}


def verdict(scores: Sequence[float], published: Published) -> str:
    """Ours beside a published figure: 'inside', 'above', 'below' or 'not comparable', and by which rule.

    A single published run is inside where it could be one of ours: in the 95 % prediction interval; a mean of n runs
    printed without its spread likewise, with their spread taken to be ours. A published mean with its spread is inside
    where the difference of the two means has 0 in its 95 % interval (Welch 1947).
    """
    if not published.comparable:
        return f"not comparable: {published.why}"
    ours = mean_interval(scores)
    if ours.n < 2 or np.ptp(scores) == 0:
        return "not comparable: our seeds show no spread to compare with"
    if published.n == 1 or published.kind in ("none", "min-max"):
        expected = prediction_interval(scores, further=published.n)
        many = "one run" if published.n == 1 else f"a mean of {published.n} runs"
        rule = f"95 % prediction interval of {many}, n = {ours.n}"
        assert expected.low is not None and expected.high is not None
        low, high = published.value - expected.high, published.value - expected.low
    else:
        rule = f"95 % interval of the difference of means, n = {ours.n} and {published.n}"
        low, high = welch(scores, published)
    # Both are intervals of theirs - ours: where all of it is above 0, ours is below.
    return f"inside ({rule})" if low <= 0 <= high else f"{'below' if low > 0 else 'above'} ({rule})"


def welch(scores: Sequence[float], published: Published) -> tuple[float, float]:
    """95 % interval of theirs - ours, for means of independent runs with unequal spreads (Welch 1947)."""
    x = np.asarray(scores, np.float64)
    spread = published.spread or 0.0
    standard = {"std": spread / published.n**0.5, "SE": spread, "95 %": spread / stdtrit(published.n - 1, 0.975)}
    theirs, ours = standard[published.kind] ** 2, x.var(ddof=1) / len(x)
    freedom = (theirs + ours) ** 2 / (theirs**2 / (published.n - 1) + ours**2 / (len(x) - 1))
    gap, half = published.value - x.mean(), float(stdtrit(freedom, 0.975) * np.sqrt(theirs + ours))
    return gap - half, gap + half
