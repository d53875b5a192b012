"""What do augmentation, label smoothing and the cosine schedule each add to a small CNN on MNIST?

RESEARCH_DATA_DIR=... python scripts/reproduce.py mnist-cnn
"""

from dataclasses import replace

from research.recipes.classify import CLASSIFY
from research.studies.study import Arm, Block, Preset, Study

MNIST = replace(CLASSIFY, setup=replace(CLASSIFY.setup, data="mnist"))

STUDY = Study(
    name="mnist-cnn",
    question="What do augmentation, label smoothing and the cosine schedule each add to a small CNN on MNIST?",
    blocks=(Block("MNIST", Preset(MNIST, {"steps": 100, "evaluate_every": 50})),),
    arms=tuple(
        Arm(
            ", ".join(
                [
                    "shifts" if shift else "no shifts",
                    f"smoothing {smoothing:g}",
                    schedule,
                ]
            ),
            {"shift": shift, "schedule": schedule},
            {"label_smoothing": smoothing},
        )
        for shift in (0, 1)
        for smoothing in (0.0, 0.05)
        for schedule in ("constant", "cosine")
    ),
    seeds=10,
    figure="test_accuracy",
    width=8,
)
