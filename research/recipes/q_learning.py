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
    about="""Tabular Q-learning in FrozenLake, FourRooms, CartPole or MountainCar cut into cells.

    Final evaluation, 5 seeds: FourRooms-misc 1 in 5 of 5, in 27.4 steps, 95 % interval [26.2, 28.7]; FrozenLake-misc 0.75
    [0.63, 0.87]; CartPole-v1 143 [106, 180]. Half a second a seed on 2 cores of an AMD EPYC.

    python scripts/train.py q-learning --setup.environment FourRooms-misc --seeds 5""",
    watch=(*WATCH, "error"),
)
