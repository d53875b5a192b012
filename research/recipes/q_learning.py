"""Tabular Q-learning in environments of few states, or cut into few."""

from research.engine.plan import Budget
from research.recipes.rl import WATCH, recipe
from research.rl import q_learning

Q_LEARNING = recipe(
    "q-learning",
    q_learning.make,
    q_learning.Setup(),
    q_learning.Hyper(),
    Budget(steps=200_000, chunk=100, record_every=100, evaluate_every=500),
    about="""Tabular Q-learning in FrozenLake, FourRooms, CartPole or MountainCar cut into cells. A preset of settings, not of
    a result.

    python scripts/train.py q-learning --setup.environment FourRooms-misc --seeds 5""",
    watch=(*WATCH, "error"),
)
