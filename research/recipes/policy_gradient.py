"""REINFORCE and A2C in any environment."""

from research.engine.plan import Budget
from research.recipes.rl import POLICY_WATCH, recipe
from research.rl import a2c, reinforce

REINFORCE = recipe(
    "reinforce",
    reinforce.make,
    reinforce.Setup(),
    reinforce.Hyper(),
    Budget(steps=500_000, chunk=10, evaluate_every=50),
    about="""REINFORCE in any environment, with a learned baseline or without.

    Study classic-control, 500,000 steps, final evaluation, 10 seeds: CartPole-v1 500 in 10 of 10; Acrobot-v1 -233, 95 %
    interval [-374, -92]; MountainCar-v0 never leaves -200. 1 to 2 s a seed on 2 cores of an AMD EPYC.

    python scripts/train.py reinforce --setup.environment CartPole-v1 --seeds 5""",
    watch=POLICY_WATCH,
)

A2C = recipe(
    "a2c",
    a2c.make,
    a2c.Setup(),
    a2c.Hyper(),
    Budget(steps=500_000, chunk=250, record_every=250, evaluate_every=1250),
    about="""A2C in any environment, with Stable-Baselines3's step size and rollout, and an entropy bonus.

    Study classic-control, 500,000 steps, final evaluation, 10 seeds: CartPole-v1 500 in 10 of 10; Acrobot-v1 -84.4, 95 %
    interval [-87.3, -81.4]; MountainCar-v0 never leaves -200. About 1 s a seed on 2 cores of an AMD EPYC.

    python scripts/train.py a2c --setup.environment CartPole-v1 --seeds 5""",
    watch=POLICY_WATCH,
)
