"""PPO in any environment, CartPole as the demonstration, Breakout-MinAtar with PureJaxRL's settings."""

from research.engine.plan import Budget
from research.recipes.rl import POLICY_WATCH, recipe
from research.rl import ppo

PPO = recipe(
    "ppo",
    ppo.make,
    ppo.Setup(),
    ppo.Hyper(),
    Budget(steps=500_000, chunk=20),
    about="""PPO in any environment, with discrete or continuous actions. A preset of settings, not of a result.

    python scripts/train.py ppo --setup.environment Acrobot-v1 --seeds 5""",
    watch=POLICY_WATCH,
)

CARTPOLE = recipe(
    "ppo-cartpole",
    ppo.make,
    ppo.Setup(environment="CartPole-v1"),
    ppo.Hyper(),
    Budget(steps=500_000, chunk=20),
    about="""CartPole-v1 to its limit of 500 within 500,000 environment steps.

    Final evaluation (32 episodes a seed, most likely action): 500 in 16 of 16 seeds; over 48 other seeds, 128 episodes
    each, 500 in 48 of 48, and sampled as in training likewise. 35 s of training for the 16 on 2 cores of an AMD EPYC.

    python scripts/train.py ppo-cartpole --seeds 16""",
    watch=POLICY_WATCH,
)

BREAKOUT = recipe(
    "ppo-breakout",
    ppo.make,
    ppo.Setup(
        environment="Breakout-MinAtar",
        environments=64,
        rollout_length=128,
        minibatches=8,
        activation="relu",
    ),
    ppo.Hyper(learning_rate=5e-3),
    # 122 ticks of 8,192 steps are what fits into a million.
    Budget(steps=999_424, chunk=2, record_every=2, evaluate_every=20),
    about="""Breakout-MinAtar from a million environment steps, with PureJaxRL's settings.

    Final evaluation (32 episodes a seed, most likely action): mean return 31.7, 95 % interval [26.3, 37.0], from 14.5 to
    56.1 over 20 seeds: a million steps do not settle it. 19 s a seed on 2 cores of an AMD EPYC. gymnax's rules: no
    sticky actions, at most 1000 steps.

    python scripts/train.py ppo-breakout --seeds 5""",
    watch=POLICY_WATCH,
)

RECURRENT = recipe(
    "ppo-recurrent",
    ppo.make,
    ppo.Setup(environment="MemoryChain-bsuite", environments=16, rollout_length=128, memory=64, widths=(64,)),
    ppo.Hyper(learning_rate=1e-3),
    Budget(steps=499_712, chunk=4, record_every=4, evaluate_every=40),  # 244 ticks of 2,048 steps
    about="""PPO with a GRU below both networks, whose memory begins afresh with each episode.

    MemoryChain-bsuite, where the last action must name what only the first observation showed, final evaluation, 5 seeds: 1
    in 5 of 5; PPO without a memory (recipe ppo, 500,000 steps) 0.03, 95 % interval [-0.16, 0.21]. 12 s a seed on 2 cores of
    an AMD EPYC.

    python scripts/train.py ppo-recurrent --seeds 5""",
    watch=POLICY_WATCH,
)

RECIPES = (PPO, CARTPOLE, BREAKOUT, RECURRENT)
