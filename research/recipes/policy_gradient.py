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
    about="""REINFORCE in any environment, with a learned baseline or without. A preset of settings, not of a result.

    python scripts/train.py reinforce --setup.environment CartPole-v1 --seeds 5""",
    watch=POLICY_WATCH,
)

A2C = recipe(
    "a2c",
    a2c.make,
    a2c.Setup(),
    a2c.Hyper(),
    Budget(steps=500_000, chunk=250, record_every=250, evaluate_every=1250),
    about="""A2C in any environment, with Stable-Baselines3's step size and rollout, and an entropy bonus. A preset of settings,
    not of a result.

    python scripts/train.py a2c --setup.environment CartPole-v1 --seeds 5""",
    watch=POLICY_WATCH,
)
