"""Search: Optuna proposes settings in batches of one lane, and those that lag are dropped between chunks.

A batch's settings and seeds are rows of one program. At each rung the settings that fall behind leave, and the others go
on, packed into the narrowest lane of half, a quarter, ... of the width that holds them: a dropped setting costs no
further ticks. Only fields of Hyper are searched; a Setup field would compile a program for each value.

The journal has a line for each setting whose batch has ended. What is proposed next is a function of the journal and the
search's seed, so a batch that was cut off is proposed again, and a resumed search equals one never stopped.
"""

import functools
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
import optuna

from research.engine.best import best_figure
from research.engine.errors import Damaged
from research.engine.fields import bare
from research.engine.files import claim, each_line, write_json
from research.engine.lane import Lane
from research.engine.manifest import machine, revision
from research.engine.placement import Placement
from research.engine.plan import Budget, Plan, Recipe, Row
from research.report.run_folder import SEARCH, fits_outcome
from research.sweep.grid import check_seed, make_cell, ranges

JOURNAL = "journal.jsonl"
Sampler = Literal["random", "tpe"]
Pruner = Literal["none", "median", "halving"]
optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Search:
    """What is searched for, where, and for how long. Valid by construction.

    space   field of Hyper -> Optuna's distribution
    figure  an evaluation's figure, as recorded, larger is better; '-' in front where smaller is
    pruner  median: drops what lies below the median of all settings that reached the rung; halving: the worse half of
            the batch (Jamieson and Talwalkar 2016)
    width   rows of a batch at most: settings times seeds
    rungs   how often settings are compared, the end included
    """

    recipe: Recipe
    space: dict[str, Any]
    trials: int
    seeds: tuple[int, ...]
    budget: Budget
    figure: str
    sampler: Sampler = "random"
    pruner: Pruner = "median"
    width: int = 64
    rungs: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"search={self.trials} must be at least 1; usual: 50 to 200")
        check_seed(self.seed)
        if self.width < len(self.seeds):
            raise ValueError(f"lanes={self.width} holds not even one setting's {len(self.seeds)} seeds; use more lanes")
        if not self.space:
            raise ValueError("a search needs something to draw; name it with --draw FIELD=log:LOW:HIGH")
        for name, law in self.space.items():
            if not name.startswith("hyper."):
                raise ValueError(
                    f"{name} is a field of Setup, each value of which compiles; search fields of Hyper only"
                )
            for end in (law.low, law.high):
                self.plan([{name: end}])  # a range outside the field's own is refused here
        chunks = self.whole.ticks // self.budget.chunk
        if not 1 <= self.rungs <= chunks:
            raise ValueError(
                f"rungs={self.rungs} must be at least 1 and at most the {chunks} chunks of a run; usual: 4"
            )

    @functools.cached_property
    def whole(self) -> Plan:
        """A setting that is never dropped."""
        return self.plan([{}])

    @functools.cached_property
    def stops(self) -> tuple[int, ...]:
        """The ticks at which settings are compared: multiples of a chunk, the last is the run's end."""
        chunks = self.whole.ticks // self.budget.chunk
        return tuple(round(chunks * (i + 1) / self.rungs) * self.budget.chunk for i in range(self.rungs))

    @property
    def batch(self) -> int:
        """Settings in a batch."""
        return self.width // len(self.seeds)

    @property
    def sign(self) -> float:
        return -1.0 if self.figure.startswith("-") else 1.0

    @property
    def name(self) -> str:
        rest = [{k: str(v) for k, v in self.space.items()}, self.figure, self.sampler, self.pruner, self.trials]
        text = json.dumps([self.whole.identity(), rest, self.width, self.rungs, self.seed], sort_keys=True)
        return f"{self.recipe.name}-search-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def plan(self, settings: Sequence[dict[str, float]], width: int | None = None) -> Plan:
        hypers = [make_cell(self.recipe, params).hyper for params in settings]
        rows = tuple(Row(seed, hyper) for hyper in hypers for seed in self.seeds)
        return Plan(self.recipe, self.recipe.setup, rows, self.budget, width)


def distributions(recipe: Recipe, texts: Sequence[str]) -> dict[str, Any]:
    """'learning_rate=log:1e-5:1e-2' texts -> {'hyper.learning_rate': Optuna's distribution}."""
    return {
        name: optuna.distributions.FloatDistribution(law.low, law.high, log=law.log)
        for name, law in ranges(recipe, texts).items()
    }


class Outcome(NamedTuple):
    """A setting's way: its parameters, its mean figure over seeds at each rung that it reached, whether it reached the
    end, and the ticks that its batch took, shared evenly over the batch"""

    params: dict[str, float]
    scores: tuple[float, ...]
    complete: bool
    ticks: float


class Result(NamedTuple):
    """outcomes, best first, those that were dropped last; ticks of all rows; ticks of the same search unpruned. Both
    count the rows that fill a lane up."""

    outcomes: list[Outcome]
    ticks: float
    ticks_unpruned: float


def run_search(search: Search, out: Path, say: Callable[[str], None], device_count: int | None = None) -> Result:
    """Runs a search to its end in its folder under `out`, or goes on after its last finished batch."""
    inputs = search.recipe.load(search.recipe.setup)
    first = lane_of(search, [{}], inputs, device_count)
    best_figure(search.figure, first.figures(first.start(), 0)[0])  # a misspelt name shows before the folder is made
    folder = out / search.name
    folder.mkdir(parents=True, exist_ok=True)
    held = claim(folder)
    try:
        journal = folder / JOURNAL
        outcomes = read(search, journal)
        while len(outcomes) < search.trials:
            settings = propose(search, outcomes)
            outcomes += run_batch(search, settings, outcomes, inputs, device_count)
            write(journal, outcomes[-len(settings) :], len(outcomes))
            complete = ranked(search, outcomes)
            told = f"best {search.figure.removeprefix('-')} {complete[0].scores[-1]:.5g}: {complete[0].params}"
            say(f"{len(outcomes)} of {search.trials} settings, {told if complete[0].complete else 'none to the end'}")
    finally:
        os.close(held)
    placements = [
        lane_of(search, [{}] * min(search.batch, search.trials - i), inputs, device_count).placement
        for i in range(0, search.trials, search.batch)
    ]
    unpruned = sum(placement.width for placement in placements) * search.whole.ticks
    result = Result(ranked(search, outcomes), sum(x.ticks for x in outcomes), float(unpruned))
    write_json(folder / SEARCH, content(search, result) | {"machine": machine(placements[0])} | revision())
    return result


def content(search: Search, result: Result) -> dict[str, Any]:
    """What the result file says of a search; JSON."""
    named = ("figure", "sampler", "pruner", "seeds", "stops", "trials", "width")
    return {name: getattr(search, name) for name in named} | {
        "recipe": search.recipe.name,
        "unit": search.recipe.unit,
        "budget": asdict(search.budget),
        "log": {name: law.log for name, law in search.space.items()},
        "ticks": result.ticks,
        "ticks_unpruned": result.ticks_unpruned,
        "outcomes": [outcome._asdict() for outcome in result.outcomes],
    }


def read(search: Search, journal: Path) -> list[Outcome]:
    """The settings of all batches that have ended: a batch is written whole, or it is cut off."""
    found: list[Outcome] = []
    lines = list(each_line(journal, figures=False))
    for number, (line, _) in enumerate(lines, 1):
        batch, count = line.get("batch"), min(search.batch, search.trials - len(found))
        fits = isinstance(batch, list) and all(fits_outcome(x, search.space, search.rungs) for x in batch)
        if not isinstance(batch, list) or not fits or len(batch) != count or line["tick"] != len(found) + count:
            raise Damaged(
                f"{journal} line {number} is not the batch that should stand there; restore the file, or remove that line and "
                "those behind it: they are run again"
            )
        found += [Outcome(x["params"], tuple(x["scores"]), x["complete"], x["ticks"]) for x in batch]
    if journal.exists():
        os.truncate(journal, lines[-1][1] if lines else 0)  # a last line that was cut off would spoil the next one
    return found


def write(journal: Path, batch: list[Outcome], total: int) -> None:
    with journal.open("a") as file:
        file.write(json.dumps({"tick": total, "batch": [x._asdict() for x in batch]}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def propose(search: Search, outcomes: Sequence[Outcome]) -> list[dict[str, float]]:
    """The next batch's settings: a function of the search's seed and of what has ended."""
    seed = int(np.random.SeedSequence([search.seed, len(outcomes)]).generate_state(1)[0])
    samplers: dict[str, Callable[[], optuna.samplers.BaseSampler]] = {
        "random": lambda: optuna.samplers.RandomSampler(seed),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
    }
    study = optuna.create_study(direction="maximize", sampler=samplers[search.sampler]())
    states = optuna.trial.TrialState
    for outcome in outcomes:
        scores = [search.sign * score for score in outcome.scores]
        study.add_trial(
            optuna.trial.create_trial(
                state=states.COMPLETE if outcome.complete else states.PRUNED,
                params=outcome.params,
                distributions=search.space,
                value=scores[-1] if outcome.complete else None,
                intermediate_values=dict(zip(search.stops, scores, strict=False)),
            )
        )
    count = min(search.batch, search.trials - len(outcomes))
    return [dict(study.ask(search.space).params) for _ in range(count)]


def run_batch(
    search: Search, settings: list[dict[str, float]], before: Sequence[Outcome], inputs: Any, device_count: int | None
) -> list[Outcome]:
    """Runs settings side by side, rung by rung, and drops those that lag -> what became of each, in order."""
    seeds, tick, ticks = len(search.seeds), 0, 0
    scores: list[list[float]] = [[] for _ in settings]
    going = list(range(len(settings)))
    lane = lane_of(search, settings, inputs, device_count)
    state = lane.start()
    for rung, stop in enumerate(search.stops):
        while tick < stop:
            state, _ = lane.advance(state, tick, lane.feed(tick))
            tick += search.budget.chunk
            ticks += search.budget.chunk * lane.placement.width
        means = best_figure(search.figure, lane.figures(state, tick)[0]).reshape(-1, seeds).mean(1)  # [settings, seeds]
        earlier = [search.sign * x.scores[rung] for x in before if len(x.scores) > rung]
        kept = [i for i, keep in enumerate(keeps(search, means, earlier, stop == search.stops[-1])) if keep]
        for setting, score in zip(going, means, strict=True):
            if np.isfinite(score):  # of a setting that diverged, what it had before
                scores[setting].append(float(search.sign * score))
        if len(kept) < len(going) and kept and stop != search.stops[-1]:
            rows = [index * seeds + seed for index in kept for seed in range(seeds)]
            host = jax.tree.map(lambda x, rows=rows: x[rows], lane.placement.get_rows(state))
            lane = lane_of(search, [settings[going[index]] for index in kept], inputs, device_count)
            state = lane.placement.put_rows(lane.pad(host))
        going = [going[index] for index in kept]
        if not going:
            break
    share = ticks / len(settings)
    return [Outcome(params, tuple(scores[i]), i in going, share) for i, params in enumerate(settings)]


def keeps(search: Search, means: np.ndarray, earlier: Sequence[float], last: bool) -> np.ndarray:
    """Which settings of a batch go on past a rung, bool[settings]; means f64[settings], larger is better.

    earlier  means that settings of former batches had at this rung
    """
    finite = np.isfinite(means)
    if last or search.pruner == "none" or not finite.any():
        return finite
    if search.pruner == "median":
        return finite & (means >= np.median([*earlier, *means[finite]]))
    rank = np.argsort(np.argsort(-np.where(finite, means, -np.inf), kind="stable"), kind="stable")
    return finite & (rank < -(-len(means) // 2))


def lane_of(search: Search, settings: Sequence[dict[str, float]], inputs: Any, device_count: int | None) -> Lane:
    """The narrowest lane of width, width / 2, width / 4, ... that holds the settings: few programs serve all batches."""
    rows, width = len(settings) * len(search.seeds), min(search.batch, search.trials) * len(search.seeds)
    while width // 2 >= rows:
        width //= 2
    return Lane(search.plan(settings, width), inputs, Placement.choose(width, device_count))


def ranked(search: Search, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Best first; those that were dropped stand last, by how far and how well they went."""
    return sorted(
        outcomes, key=lambda x: (x.complete, len(x.scores), search.sign * (x.scores or (0.0,))[-1]), reverse=True
    )


def confirmed(search: Search, outcome: Outcome) -> str:
    """What to add to a command of train.py so that it runs a setting on seeds that did not choose it."""
    words = [f"--hyper.{bare(name).replace('_', '-')} {value!r}" for name, value in outcome.params.items()]
    return f"{' '.join(words)} --first-seed {max(search.seeds) + 1} --seeds 10"
