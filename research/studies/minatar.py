"""PPO, DQN and PQN on four MinAtar games, in gymnax's rules and in the exact ones.

python scripts/reproduce.py minatar        10 million steps a run, 5 million for DQN: for an accelerator
python scripts/reproduce.py minatar-cpu    a cut budget, named as such
"""

from dataclasses import replace

from research.engine.plan import Budget, Recipe
from research.recipes.dqn import DQN
from research.recipes.ppo import PPO
from research.recipes.pqn import PQN
from research.rl import dqn, ppo, pqn
from research.studies.study import Arm, Block, Preset, Published, Study

# gymnax's published settings for MinAtar, without the warm-up over the first twentieth of the run.
GYMNAX_PPO = replace(
    PPO,
    setup=ppo.Setup(
        environments=64,
        rollout_length=128,
        minibatches=8,
        widths=(256, 256),
        activation="relu",
        anneal_learning_rate=False,
    ),
    hyper=ppo.Hyper(learning_rate=5e-4, discount=0.999),
)
# After Young and Tian 2019: their network, replay, batch, target network and exploration, an update for each step, no
# double Q-learning; with Adam, squared errors and gradients scaled down to a norm of 10 in place of RMSprop and Huber's
# loss, and eight environments in place of one.
YOUNG_DQN = replace(
    DQN,
    setup=dqn.Setup(
        environments=8,
        rollout_length=1,
        updates=8,
        batch_size=32,
        capacity=100_000,
        learning_starts=5000,
        target_every=125,
        features="convolution",
        widths=(128,),
        double=False,
        anneal_learning_rate=False,
    ),
    hyper=dqn.Hyper(epsilon_end=0.1, exploration_fraction=0.02),
)
# PureJaxQL's settings for MinAtar (Gallici et al. 2025).
PURE_PQN = replace(
    PQN,
    setup=pqn.Setup(
        environments=128,
        rollout_length=32,
        epochs=2,
        minibatches=32,
        features="convolution",
        widths=(128,),
    ),
    hyper=pqn.Hyper(learning_rate=5e-4, q_lambda=0.65, exploration_fraction=0.1),
)

GYMNAX_RULES = {
    "Asterix-MinAtar": 15.0,
    "Breakout-MinAtar": 28.0,
    "Freeway-MinAtar": 58.0,
    "SpaceInvaders-MinAtar": 131.0,
}
PGX_PPO = {"minatar-asterix": 22.0, "minatar-breakout": 50.0, "minatar-freeway": 63.5, "minatar-space_invaders": 145.0}
YOUNG = {"minatar-asterix": 17.0, "minatar-breakout": 10.0, "minatar-freeway": 50.0, "minatar-space_invaders": 44.0}


def arm(name: str, recipe: Recipe, ticks: int, quick: int, chunk: int) -> Arm:
    """A method for so many ticks, or `quick` ones; ten evaluations."""
    tick = recipe.steps_per_tick(recipe.setup)
    budget = Budget(ticks * tick, chunk=chunk, record_every=chunk, evaluate_every=ticks // 10)
    return Arm(name, preset=Preset(replace(recipe, budget=budget), {"steps": quick * tick, "evaluate_every": quick}))


def published(cut: str) -> tuple[Published, ...]:
    """What others print, beside runs that are shorter than theirs as `cut` says, or '' where they are as long."""
    found = []
    for name, value in GYMNAX_RULES.items():
        why = cut or "how many seeds theirs has is not printed, and it warms its learning rate up"
        found.append(("PPO", name, value, "gymnax README, PPO, 10 million steps", why))
    for name, value in PGX_PPO.items():
        why = "theirs has 20 million steps and only the actions that do something"
        found.append(("PPO", name, value, "pgx, PPO, 20 million steps, read off a plot", why))
    for name, value in YOUNG.items():
        why = cut or "read off a plot of training returns; theirs has RMSprop and one environment"
        found.append(("DQN", name, value, "Young and Tian 2019, 5 million frames, read off a plot", why))
    return tuple(
        Published(block, arm, value, None, "none", 1, source, comparable=False, why=why)
        for arm, block, value, source, why in found
    )


def study(name: str, ppo_ticks: int, dqn_ticks: int, pqn_ticks: int, told: str, cut: str) -> Study:
    return Study(
        name=name,
        question=f"How do PPO, DQN and PQN do on MinAtar, in gymnax's rules (*-MinAtar: no sticky actions, few actions, at "
        f"most 1000 steps, Freeway 2500) and in the exact ones (minatar-*)? {told}",
        blocks=tuple(Block(name, setup={"environment": name}) for name in (*GYMNAX_RULES, *PGX_PPO)),
        arms=(
            arm("PPO", GYMNAX_PPO, ppo_ticks, 4, chunk=2),
            arm("DQN", YOUNG_DQN, dqn_ticks, 1000, chunk=500),
            arm("PQN", PURE_PQN, pqn_ticks, 4, chunk=2),
        ),
        seeds=5,
        figure="episode_return",
        published=published(cut),
    )


# 8,192, 8 and 4,096 steps a tick.
MINATAR = study("minatar", 1220, 625_000, 2440, "10 million steps, DQN 5 million.", "")
CPU = study(
    "minatar-cpu",
    40,
    5000,
    80,
    "A budget cut for CPUs: 330 thousand steps in place of 10 million, DQN 40 thousand in place of 5 million.",
    "ours is cut to a thirtieth of the steps and less",
)
