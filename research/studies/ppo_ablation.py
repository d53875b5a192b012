"""Which of PPO's details carry it? CartPole and Breakout-MinAtar, each detail switched off by itself.

python scripts/reproduce.py ppo-ablation
"""

from research.recipes.ppo import BREAKOUT, CARTPOLE
from research.studies.study import Arm, Block, Preset, Published, Study

STUDY = Study(
    name="ppo-ablation",
    question="Which of PPO's details carry it on CartPole-v1 and Breakout-MinAtar? Each is switched off by itself.",
    blocks=(
        Block(
            "CartPole-v1",
            Preset(CARTPOLE, {"steps": 50_000}),
            full_score=500.0,
        ),
        Block(
            "Breakout-MinAtar",
            Preset(BREAKOUT, {"steps": 163_840}),
            full_score=28.0,  # gymnax's published PPO
        ),
    ),
    arms=(
        Arm("all details"),
        Arm("time limit as an ending", {"bootstrap_truncation": False}),
        Arm("raw advantages", {"normalize_advantages": False}),
        Arm("no clipping", {"clip_ratio": False}),
        Arm("constant learning rate", {"anneal_learning_rate": False}),
        Arm("free values", {"clip_values": False}),
    ),
    seeds=10,
    figure="episode_return",
    published=(
        Published(
            "CartPole-v1",
            "all details",
            490.04,
            6.12,
            "std",
            3,
            "CleanRL docs, ppo.py, 500,000 steps",
            comparable=False,
            why="their return is a mean over training episodes, ours over evaluation episodes of the final policy",
        ),
        Published(
            "Breakout-MinAtar",
            "all details",
            28.0,
            None,
            "none",
            1,
            "gymnax README, PPO",
            comparable=False,
            why="theirs has 10 million steps, ours one million",
        ),
    ),
)
