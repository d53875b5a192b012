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
    -132.8]. 12 s a seed on 2 cores of an AMD EPYC. MountainCarContinuous-v0, whose goal white noise never finds, 60,000 steps
    with the options below, 5 seeds: 95 in three of them, 36 and -65 in the others; mean 51 [-36, 138].

    python scripts/train.py sac --setup.environment MountainCarContinuous-v0 --steps 60000 --seeds 5
        --hyper.noise-memory 0.95 --hyper.discount 0.999 --setup.learning-starts 4000
    python scripts/train.py sac --seeds 5""",
    watch=(*VALUE_WATCH, "entropy", "temperature"),
)
