"""SAC in any environment with continuous actions."""

from research.engine.plan import Budget
from research.recipes.rl import VALUE_WATCH, recipe
from research.rl import sac

SAC = recipe(
    "sac",
    sac.make,
    sac.Setup(),
    sac.Hyper(),
    Budget(steps=40_000, chunk=100, record_every=100, evaluate_every=500),
    about="""SAC in any environment with continuous actions.

    Pendulum-v1, 40,000 steps, final evaluation (32 episodes, most likely action), 5 seeds: -140.0, 95 % interval [-147.1,
    -132.8]. 12 s a seed on 2 cores of an AMD EPYC.

    python scripts/train.py sac --seeds 5""",
    watch=(*VALUE_WATCH, "entropy", "temperature"),
)
