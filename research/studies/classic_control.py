"""DQN, PQN, PPO, A2C and REINFORCE on gymnax's classic control, beside CleanRL's published means.

python scripts/reproduce.py classic-control
"""

from dataclasses import replace

from research.engine.plan import Recipe
from research.recipes.dqn import DQN
from research.recipes.policy_gradient import A2C, REINFORCE
from research.recipes.ppo import PPO
from research.recipes.pqn import PQN
from research.studies.study import Arm, Block, Preset, Published, Study


def arm(name: str, recipe: Recipe, steps: int, quick: int, **budget: int) -> Arm:
    """A method with its recipe's own settings, for so many environment steps, or `quick` ones."""
    whole = replace(recipe, budget=replace(recipe.budget, steps=steps, **budget))
    return Arm(name, preset=Preset(whole, {"steps": quick}))


PROTOCOL = "theirs is the mean return of training episodes, exploration included; ours of episodes of the final policy"


def cleanrl(block: str, arm: str, file: str, mean: float, spread: float) -> Published:
    source = f"CleanRL docs, {file}, 500,000 steps"
    return Published(block, arm, mean, spread, "std", 3, source, comparable=False, why=PROTOCOL)


STUDY = Study(
    name="classic-control",
    question="How do value-based and policy-gradient methods compare on classic control within 500,000 steps?",
    blocks=tuple(Block(name, setup={"environment": name}) for name in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0")),
    arms=(
        arm("DQN", DQN, 500_000, 30_000),
        # 244 ticks of 2,048 steps are what fits.
        arm("PQN", PQN, 499_712, 32_768, chunk=4, record_every=4),
        arm("PPO", PPO, 500_000, 30_000),
        arm("A2C", A2C, 500_000, 40_000),
        arm("REINFORCE", REINFORCE, 500_000, 40_000),
    ),
    seeds=10,
    figure="episode_return",
    published=(
        cleanrl("CartPole-v1", "DQN", "dqn.py", 488.69, 16.11),
        cleanrl("CartPole-v1", "DQN", "dqn_jax.py", 498.38, 2.29),
        cleanrl("CartPole-v1", "PQN", "pqn.py", 495.13, 6.89),
        cleanrl("CartPole-v1", "PPO", "ppo.py", 490.04, 6.12),
        cleanrl("Acrobot-v1", "DQN", "dqn.py", -91.54, 7.20),
        cleanrl("Acrobot-v1", "DQN", "dqn_jax.py", -88.89, 1.56),
        cleanrl("Acrobot-v1", "PQN", "pqn.py", -95.63, 5.73),
        cleanrl("Acrobot-v1", "PPO", "ppo.py", -86.36, 1.32),
        cleanrl("MountainCar-v0", "DQN", "dqn.py", -194.95, 8.48),
        cleanrl("MountainCar-v0", "DQN", "dqn_jax.py", -188.90, 11.78),
    ),
)
