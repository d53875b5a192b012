"""nanoGPT's CPU setting on the characters of tiny Shakespeare, beside the loss that it prints.

python scripts/reproduce.py nanogpt-char
"""

from research.recipes.lm import NANOGPT_CPU
from research.studies.study import Arm, Block, Preset, Published, Study

STUDY = Study(
    name="nanogpt-char",
    question="Does our language model reach nanoGPT's loss in nanoGPT's setting?",
    blocks=(Block("tiny Shakespeare", Preset(NANOGPT_CPU, {"steps": 250})),),
    arms=(Arm("Transformer"),),
    seeds=5,
    figure="best_noisy_validation_loss",
    beside=("validation_loss", "validation_bits_per_byte"),
    published=(
        Published(
            "tiny Shakespeare",
            "Transformer",
            1.88,
            None,
            "none",
            1,
            "nanoGPT's README, the best of its noisy validation losses",
            selected=True,
        ),
    ),
)
