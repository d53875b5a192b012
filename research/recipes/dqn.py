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
    Q-learning and a learning rate that falls to 0. A preset of settings, not of a result. Dueling, n-step and
    prioritised replay are switches.

    python scripts/train.py dqn --setup.environment Acrobot-v1 --seeds 5""",
    watch=VALUE_WATCH,
)
