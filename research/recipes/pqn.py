"""PQN in any environment with discrete actions."""

from research.engine.plan import Budget
from research.recipes.rl import VALUE_WATCH, recipe
from research.rl import pqn

PQN = recipe(
    "pqn",
    pqn.make,
    pqn.Setup(),
    pqn.Hyper(),
    Budget(steps=503_808, chunk=6, record_every=6, evaluate_every=60),  # 246 ticks of 2,048 steps
    about="""PQN in any environment with discrete actions, with rejax's settings for CartPole and a learning rate that falls
    to 0. A preset of settings, not of a result.

    python scripts/train.py pqn --setup.environment Acrobot-v1 --seeds 5""",
    watch=VALUE_WATCH,
)
