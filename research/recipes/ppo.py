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
    Budget(steps=500_000, chunk=20),
    about="""PPO in any gymnax environment, with discrete or continuous actions. A preset of settings, not of a result.

    python scripts/train.py ppo --setup.environment Acrobot-v1 --seeds 5""",
)

CARTPOLE = recipe(
    "ppo-cartpole",
    ppo.Setup(environment="CartPole-v1"),
    ppo.Hyper(),
    Budget(steps=500_000, chunk=20),
    about="""CartPole-v1 to its limit of 500 within 500,000 environment steps.

    Final evaluation (32 episodes a seed, most likely action): 500 in 16 of 16 seeds; over 48 other seeds, 128 episodes
    each, 500 in 48 of 48, and sampled as in training likewise. 35 s of training for the 16 on 2 cores of an AMD EPYC.

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

    Final evaluation (32 episodes a seed, most likely action): mean return 31.7, 95 % interval [26.3, 37.0], from 14.5 to
    56.1 over 20 seeds: a million steps do not settle it. 19 s a seed on 2 cores of an AMD EPYC. gymnax's rules: no
    sticky actions, at most 1000 steps.

    python scripts/train.py ppo-breakout --seeds 5""",
)

RECIPES = (PPO, CARTPOLE, BREAKOUT)
