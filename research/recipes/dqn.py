"""DQN in any environment with discrete actions."""

from research.engine.plan import Budget
from research.recipes.rl import VALUE_WATCH, recipe
from research.rl import dqn

DQN = recipe(
    "dqn",
    dqn.make,
    dqn.Setup(),
    dqn.Hyper(),
    Budget(steps=500_000, chunk=500, record_every=500, evaluate_every=10_000),
    about="""DQN in any environment with discrete actions, with CleanRL's sizes and exploration for classic control, double
    Q-learning and a learning rate that falls to 0. Dueling, n-step and prioritised replay are switches.

    Study classic-control, 500,000 steps, final evaluation: CartPole-v1 500 in all of 10 seeds, and of 20 others; from
    orthogonal weights 457, 95 % interval [385, 529], n = 10. Acrobot-v1 -86.7 [-92.0, -81.5] and MountainCar-v0 -198.7
    [-201.6, -195.8], n = 10. 24 s a seed on 2 cores of an AMD EPYC, while other work ran.

    python scripts/train.py dqn --setup.environment Acrobot-v1 --seeds 5""",
    watch=VALUE_WATCH,
)
