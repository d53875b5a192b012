"""PPO in gymnax's environments: any of them, CartPole as the demonstration, Breakout-MinAtar with PureJaxRL's settings."""

from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.rl import ppo

WATCH = ("episode_return", "episode_length", "entropy")


def nothing(setup: ppo.Setup) -> Inputs:
    """An environment is part of the program; there is nothing to read."""
    return Inputs(data=())


def steps_per_tick(setup: ppo.Setup) -> int:
    """Environment steps that one tick counts for."""
    return setup.environments * setup.rollout_length


def recipe(name: str, setup: ppo.Setup, hyper: ppo.Hyper, budget: Budget, about: str) -> Recipe:
    return Recipe(
        name=name,
        make=ppo.make,
        setup=setup,
        hyper=hyper,
        load=nothing,
        budget=budget,
        steps_per_tick=steps_per_tick,
        unit="environment steps",
        watch=WATCH,
        light=True,
        about=about,
    )


PPO = recipe(
    "ppo",
    ppo.Setup(),
    ppo.Hyper(),
    Budget(steps=500_000),
    about="""PPO in any gymnax environment, with discrete or continuous actions.

    python scripts/train.py ppo --setup.environment Acrobot-v1 --seeds 5""",
)

CARTPOLE = recipe(
    "ppo-cartpole",
    ppo.Setup(environment="CartPole-v1"),
    ppo.Hyper(),
    Budget(steps=500_000),
    about="""CartPole-v1 solved by every seed within 500,000 environment steps.

    python scripts/train.py ppo-cartpole --seeds 16""",
)

BREAKOUT = recipe(
    "ppo-breakout",
    ppo.Setup(
        environment="Breakout-MinAtar",
        environments=64,
        rollout_length=128,
        minibatches=8,
        activation="relu",
    ),
    ppo.Hyper(learning_rate=5e-3),
    # 122 ticks of 8,192 steps are what fits into a million.
    Budget(steps=999_424, chunk=2, record_every=2, evaluate_every=20),
    about="""Breakout-MinAtar from a million environment steps, with PureJaxRL's settings.

    python scripts/train.py ppo-breakout --seeds 5""",
)

RECIPES = (PPO, CARTPOLE, BREAKOUT)
