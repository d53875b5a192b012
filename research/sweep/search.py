"""Search: Optuna proposes settings in batches of one lane, and those that lag are dropped between chunks.

A batch's settings and seeds are rows of one program. At each rung the settings that the pruner gives up leave, and the
others go on, packed into the narrowest lane of half, a quarter, ... of the width that holds them: a dropped setting costs
no further ticks. Only fields of Hyper are searched; a Setup field would compile a program for each value.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import optuna
from optuna.storages.journal import JournalFileBackend

from research.engine.files import write_json
from research.engine.lane import Lane
from research.engine.placement import Placement
from research.engine.plan import Budget, Plan, Recipe, Row
from research.sweep.grid import bounds, resolve, split

JOURNAL, RESULT = "journal.log", "search.json"
optuna.logging.set_verbosity(optuna.logging.WARNING)

SAMPLERS: dict[str, Callable[[int], optuna.samplers.BaseSampler]] = {
    "random": lambda seed: optuna.samplers.RandomSampler(seed),
    "tpe": lambda seed: optuna.samplers.TPESampler(seed=seed, constant_liar=True),
}
# Optuna's pruners see the mean over seeds at each rung.
PRUNERS: dict[str, Callable[[int], optuna.pruners.BasePruner]] = {
    "none": lambda first: optuna.pruners.NopPruner(),
    "median": lambda first: optuna.pruners.MedianPruner(n_startup_trials=4),
    "halving": lambda first: optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=2),
}


@dataclass(frozen=True)
class Search:
    """What is searched for, where, and for how long. Valid by construction.

    space   field of Hyper -> Optuna's distribution
    figure  an evaluation's figure, as recorded, larger is better; '-' in front where smaller is
    width   rows of a batch at most: settings times seeds
    rungs   how often settings are compared before the end
    """

    recipe: Recipe
    space: dict[str, Any]
    trials: int
    seeds: tuple[int, ...]
    budget: Budget
    figure: str
    sampler: str = "random"
    pruner: str = "median"
    width: int = 64
    rungs: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"search={self.trials} must be at least 1; usual: 50 to 200")
        if self.width < len(self.seeds):
            raise ValueError(f"lanes={self.width} holds not even one setting's {len(self.seeds)} seeds; use more lanes")
        if not self.space:
            raise ValueError("a search needs something to draw; name it with --draw FIELD=log:LOW:HIGH")
        for name in self.space:
            if not name.startswith("hyper."):
                raise ValueError(
                    f"{name} is a field of Setup, each value of which compiles; search fields of Hyper only"
                )
        _ = self.plan([self.recipe.hyper]).ticks, self.stops

    @property
    def stops(self) -> tuple[int, ...]:
        """The ticks at which settings are compared: multiples of a chunk, the last is the run's end."""
        chunks = self.plan([self.recipe.hyper]).ticks // self.budget.chunk
        if chunks < self.rungs:
            raise ValueError(f"rungs={self.rungs} is more than the {chunks} chunks of a run; use at most that many")
        return tuple(round(chunks * (i + 1) / self.rungs) * self.budget.chunk for i in range(self.rungs))

    @property
    def batch(self) -> int:
        """Settings in a batch."""
        return self.width // len(self.seeds)

    @property
    def name(self) -> str:
        plan = self.plan([self.recipe.hyper]).identity()
        rest = [{k: str(v) for k, v in self.space.items()}, self.figure, self.sampler, self.pruner]
        text = json.dumps(
            [plan, rest, self.trials, self.width, self.rungs, self.seed, list(self.seeds)], sort_keys=True
        )
        return f"{self.recipe.name}-search-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def plan(self, hypers: Sequence[Any], width: int | None = None) -> Plan:
        rows = tuple(Row(seed, hyper) for hyper in hypers for seed in self.seeds)
        return Plan(self.recipe, self.recipe.setup, rows, self.budget, width)

    def hyper(self, params: dict[str, float]) -> Any:
        return self.recipe.hyper._replace(**{name.split(".")[1]: value for name, value in params.items()})


def distribution(recipe: Recipe, text: str) -> tuple[str, Any]:
    """'learning_rate=log:1e-5:1e-2' -> ('hyper.learning_rate', Optuna's distribution)."""
    field, right = split(text, "--draw", "FIELD=log:LOW:HIGH or FIELD=uniform:LOW:HIGH")
    name, kind = resolve(recipe, field)
    law, low, high = bounds(text, right, kind)
    return name, optuna.distributions.FloatDistribution(low, high, log=law == "log")


class Outcome(NamedTuple):
    """A setting's way: its parameters, its mean figure at each rung that it reached, and whether it reached the end."""

    number: int
    params: dict[str, float]
    scores: tuple[float | None, ...]
    complete: bool


class Result(NamedTuple):
    """outcomes, best first; ticks that all rows of all lanes took, padding included; those of the search unpruned"""

    outcomes: list[Outcome]
    ticks: int
    ticks_unpruned: int


def go(search: Search, out: Path, say: Callable[[str], None], device_count: int | None = None) -> Result:
    """Runs a search to its end in its folder under `out`, or goes on after its last finished batch.

    Optuna's journal is the record. A batch that was cut off is run again with the same settings.
    """
    folder = out / search.name
    folder.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.JournalStorage(JournalFileBackend(str(folder / JOURNAL)))
    done = len(optuna.study.get_all_study_names(storage)) and optuna.load_study(study_name="search", storage=storage)
    finished = [t for t in done.trials if t.state.is_finished()] if done else []
    study = optuna.create_study(
        study_name="search",
        storage=storage,
        direction="maximize",
        load_if_exists=True,
        # A resumed search draws anew from a seed that its progress decides.
        sampler=SAMPLERS[search.sampler](search.seed + len(finished)),
        pruner=PRUNERS[search.pruner](search.stops[0]),
    )
    cut_off = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.RUNNING]
    for trial in cut_off:
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
        study.enqueue_trial(trial.params)
    inputs = search.recipe.load(search.recipe.setup)
    while (left := search.trials - len(ended(study))) > 0:
        trials = [study.ask(search.space) for _ in range(min(search.batch, left))]
        ticks = run_batch(search, study, trials, inputs, device_count, say)
        study.set_user_attr("ticks", study.user_attrs.get("ticks", 0) + ticks)
        best = max(ended(study), key=lambda trial: trial.value if trial.value is not None else -np.inf)
        say(f"{len(ended(study))} of {search.trials} settings, best {shown(search, best.value)}: {best.params}")
    result = result_of(search, study)
    write_json(
        folder / RESULT,
        {
            "recipe": search.recipe.name,
            "figure": search.figure,
            "ticks": result.ticks,
            "ticks_unpruned": result.ticks_unpruned,
            "outcomes": [outcome._asdict() for outcome in result.outcomes],
        },
    )
    return result


def ended(study: optuna.Study) -> list[Any]:
    states = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.PRUNED)
    return study.get_trials(deepcopy=False, states=states)


def run_batch(
    search: Search,
    study: optuna.Study,
    trials: list[Any],
    inputs: Any,
    device_count: int | None,
    say: Callable[[str], None],
) -> int:
    """Runs settings side by side, rung by rung, and tells the study what became of them -> ticks of all rows."""
    seeds, tick, ticks = len(search.seeds), 0, 0
    going = list(trials)
    lane = lane_of(search, going, inputs, device_count)
    state = lane.start()
    for stop in search.stops:
        while tick < stop:
            state, _ = lane.advance(state, tick, lane.feed(tick))
            tick += search.budget.chunk
            ticks += search.budget.chunk * lane.placement.width
        scores = means(search, lane, state, tick)
        kept = []
        for index, (trial, score) in enumerate(zip(going, scores, strict=True)):
            if not np.isfinite(score):
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)  # a seed diverged
                continue
            trial.report(score, tick)
            if stop == search.stops[-1]:
                study.tell(trial, score)
            elif trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            else:
                kept.append(index)
        if stop == search.stops[-1] or not kept:
            return ticks
        if len(kept) < len(going):
            rows = [index * seeds + seed for index in kept for seed in range(seeds)]
            host = jax.tree.map(lambda x, rows=rows: x[rows], lane.placement.get_rows(state))
            going = [going[index] for index in kept]
            lane = lane_of(search, going, inputs, device_count)
            state = lane.placement.put_rows(lane.pad(host))
    return ticks


def lane_of(search: Search, trials: list[Any], inputs: Any, device_count: int | None) -> Lane:
    """The narrowest lane of width, width / 2, width / 4, ... that holds the settings: few programs serve all batches."""
    rows, width = len(trials) * len(search.seeds), search.batch * len(search.seeds)
    while width // 2 >= rows:
        width //= 2
    plan = search.plan([search.hyper(trial.params) for trial in trials], width)
    return Lane(plan, inputs, Placement.choose(width, device_count))


def means(search: Search, lane: Lane, state: Any, tick: int) -> np.ndarray:
    """Each setting's mean figure over seeds, larger is better; NaN where a seed has none."""
    figures = lane.figures(state, tick)[0]
    name = search.figure.removeprefix("-")
    if name not in figures:
        raise ValueError(f"figure={search.figure!r} is in no evaluation; there are {', '.join(figures)}")
    sign = -1.0 if search.figure.startswith("-") else 1.0
    return sign * figures[name].reshape(-1, len(search.seeds)).mean(1)  # [settings, seeds]


def shown(search: Search, value: float | None) -> str:
    if value is None:
        return "none yet"
    return f"{search.figure.removeprefix('-')} {-value if search.figure.startswith('-') else value:.5g}"


def result_of(search: Search, study: optuna.Study) -> Result:
    sign = -1.0 if search.figure.startswith("-") else 1.0
    found = []
    for trial in ended(study):
        scores = tuple(sign * trial.intermediate_values[tick] for tick in sorted(trial.intermediate_values))
        complete = trial.state == optuna.trial.TrialState.COMPLETE
        found.append(Outcome(trial.number, trial.params, scores, complete))
    worst = -np.inf
    found.sort(key=lambda x: (x.complete, sign * x.scores[-1] if x.scores and x.scores[-1] is not None else worst))
    whole = search.trials * len(search.seeds) * search.plan([search.recipe.hyper]).ticks
    return Result(found[::-1], study.user_attrs.get("ticks", 0), whole)


def confirmed(search: Search, outcome: Outcome) -> str:
    """The command that runs a setting by itself on seeds that did not choose it."""
    words = [f"--hyper.{name.split('.')[1].replace('_', '-')} {value:.6g}" for name, value in outcome.params.items()]
    fresh = max(search.seeds) + 1
    return f"python scripts/train.py {search.recipe.name} {' '.join(words)} --first-seed {fresh} --seeds 10"
