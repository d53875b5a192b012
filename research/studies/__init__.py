"""Studies by name. An explicit dictionary, so that grep finds everything; modules are imported when asked for."""

import importlib

from research.engine.fields import nearest
from research.studies.study import Study

STUDIES = {
    "classic-control": "research.studies.classic_control:STUDY",
    "finetune": "research.studies.finetune:STUDY",
    "minatar": "research.studies.minatar:MINATAR",
    "minatar-cpu": "research.studies.minatar:CPU",
    "mode-collapse-2d": "research.studies.mode_collapse_2d:STUDY",
    "mode-collapse-2d-cpu": "research.studies.mode_collapse_2d:CPU",
    "nanogpt-char": "research.studies.nanogpt_char:STUDY",
    "mnist-cnn": "research.studies.mnist_cnn:STUDY",
    "stacked-mnist": "research.studies.stacked_mnist:STUDY",
    "stacked-mnist-cpu": "research.studies.stacked_mnist:CPU",
    "synthetic-data": "research.studies.synthetic_data:STUDY",
    "ppo-ablation": "research.studies.ppo_ablation:STUDY",
    "recurrent-rivals": "research.studies.recurrent_rivals:STUDY",
}


def find(name: str) -> Study:
    """The study of that name. Raises ValueError with the nearest name."""
    if name not in STUDIES:
        raise ValueError(f"study={name!r} is not one of ours; {nearest(name, STUDIES)}")
    module, attribute = STUDIES[name].split(":")
    return getattr(importlib.import_module(module), attribute)
