"""Tree search with a policy net and a value net that were learned apart (Silver et al. 2016, stage four). Nothing is learned
here: a tick passes, and the evaluation plays the search against the policy alone.

Dimensions: B games.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research.engine.experiment import Experiment, Tick
from research.engine.fields import Count, Natural, Positive
from research.games import boards
from research.games.boards import Board
from research.games.contest import Plays, check_even, contest
from research.games.search import Judge, Rule, sampled
from research.models.board import BoardNet, Kind
from research.models.board import check as check_net


@dataclass(frozen=True)
class Setup:
    """Static: a change compiles again."""

    board: str = "go_9x9"
    """Name of a board."""
    policy: str = ""
    """Folder of a run of go-supervised or go-reinforced, whose net gives the prior; without, a new net."""
    value: str = ""
    """Folder of a run of go-value, whose net values positions; without, a new net."""
    policy_net: Kind = "residual"
    """That run's net."""
    policy_widths: tuple[int, ...] = (32, 32, 32)
    """That run's widths."""
    value_net: Kind = "residual"
    """That run's net."""
    value_widths: tuple[int, ...] = (32, 32, 32)
    """That run's widths."""
    rule: Rule = "puct"
    """How a search chooses."""
    simulations: Count = 32
    """Of a search."""
    opening: Natural = 2
    """Moves by chance that a game of the evaluation begins with, an even number."""
    contests: Count = 100
    """Games of the evaluation, half of them as either side."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    temperature: Positive = 1.0
    """What the policy's logits are divided by where they are a search's prior: above 1 the search looks at more moves."""


class Nets(NamedTuple):
    """params of the policy net and of the value net"""

    policy: Any
    value: Any


class State(NamedTuple):
    """Both nets, and temperature f32[]"""

    nets: Nets
    temperature: Array


class Outputs(NamedTuple):
    """outcome f32[B]: 1, 0 or -1 for the search"""

    outcome: Array


def make(setup: Setup) -> Experiment:
    """A search with two nets as an experiment."""
    board = boards.make(setup.board)
    check(setup)
    nets = [
        BoardNet(kind, widths, board.actions)
        for kind, widths in ((setup.policy_net, setup.policy_widths), (setup.value_net, setup.value_widths))
    ]
    return Experiment(
        init=partial(init, board, nets),
        step=step,
        evaluate=Evaluation(board, partial(judge_of, nets), setup.rule, setup.simulations, setup),
        score=score,
    )


def check(setup: Setup) -> None:
    """Raises ValueError for fields that do not fit each other."""
    check_net(setup.policy_net, setup.policy_widths, "policy_widths")
    check_net(setup.value_net, setup.value_widths, "value_widths")
    check_even("half as either side", contests=setup.contests)
    check_even("so that whoever began is to move", opening=setup.opening)


def init(board: Board, nets: list[BoardNet], key: Array, hyper: Hyper, data: Nets) -> State:
    """data: what was learned, {} where that is a new net's."""
    keys = jax.random.split(key)
    params = [
        jax.tree.map(jnp.array, given) if given else net.init(key, jnp.zeros((1, *board.shape)))
        for net, given, key in zip(nets, data, keys, strict=True)
    ]
    return State(Nets(*params), jnp.float32(hyper.temperature))


def step(state: State, hyper: Hyper, data: Nets, tick: Tick) -> tuple[State, dict[str, Array]]:
    return state, {"ticks": jnp.float32(1.0)}


def judge_of(nets: list[BoardNet], state: State) -> Judge:
    """The one net's policy, at a temperature, and the other's value."""
    policy, value = (net.looking().apply for net in nets)
    return lambda x: (policy(state.nets.policy, x)[0] / state.temperature, value(state.nets.value, x)[1])


@dataclass(frozen=True, eq=False)
class Evaluation(Plays):
    """Games of the search against the policy alone, whose moves are drawn."""

    setup: Setup

    def __call__(self, key: Array, state: State, hyper: Hyper, data: Any) -> Outputs:
        opening_key, key = jax.random.split(key)
        openings, _ = boards.opened(self.board, opening_key, self.setup.contests // 2, self.setup.opening)
        ours = lambda key, positions: self.advise(self.board, state, self.simulations, key, positions).action
        theirs = partial(sampled, self.judge(state._replace(temperature=jnp.float32(1.0))))
        return Outputs(contest(self.board, ours, theirs, key, openings))


def score(outputs: Outputs) -> dict[str, np.ndarray]:
    """Outputs with a leading R axis -> figures f64[R]: shares of games won and drawn"""
    outcome = np.asarray(outputs.outcome)
    return {"wins_policy": (outcome > 0).mean(1), "draws_policy": (outcome == 0).mean(1)}
