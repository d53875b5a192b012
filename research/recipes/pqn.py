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
    to 0.

    CartPole-v1 with these very settings, final evaluation, seeds 0 to 19: 500 in 20 of 20, so that at most 14 % of seeds
    may do otherwise (95 %). Study classic-control, 499,712 steps, 10 seeds: CartPole-v1 475, 95 % interval [421, 528], nine
    of them 484 or more and one 262; Acrobot-v1 -85.3 [-88.1, -82.5]; MountainCar-v0 -182 [-205, -158]. 2 s a seed on 2
    cores of an AMD EPYC.

    python scripts/train.py pqn --setup.environment Acrobot-v1 --seeds 5""",
    watch=VALUE_WATCH,
)
