"""What recipes that act in environments share."""

from collections.abc import Callable
from typing import Any

from research.engine.experiment import Experiment, Inputs
from research.engine.plan import Budget, Recipe

WATCH = ("episode_return", "episode_length")
POLICY_WATCH = (*WATCH, "entropy")
VALUE_WATCH = (*WATCH, "value", "loss")


def nothing(setup: Any) -> Inputs:
    """An environment is part of the program; there is nothing to read."""
    return Inputs(data=())


def steps_per_tick(setup: Any) -> int:
    """Environment steps that one tick counts for."""
    return setup.environments * setup.rollout_length


def recipe(
    name: str,
    make: Callable[[Any], Experiment],
    setup: Any,
    hyper: Any,
    budget: Budget,
    about: str,
    watch: tuple[str, ...],
) -> Recipe:
    """A recipe whose Setup names environments and a rollout_length, and whose steps are environment steps."""
    return Recipe(
        name=name,
        make=make,
        setup=setup,
        hyper=hyper,
        load=nothing,
        budget=budget,
        steps_per_tick=steps_per_tick,
        unit="environment steps",
        watch=watch,
        light=True,
        about=about,
    )
