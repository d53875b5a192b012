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

    python scripts/train.py sac --seeds 5""",
    watch=(*VALUE_WATCH, "entropy", "temperature"),
)
