"""Does a classifier of few MNIST images gain from a GAN of the same few?

python scripts/reproduce.py synthetic-data
"""

from research.recipes.gan import SYNTHETIC_DATA
from research.studies.study import Arm, Block, Preset, Study

QUICK = {"steps": 200, "evaluate_every": 200}
STUDY = Study(
    name="synthetic-data",
    question="Of 50, 200 and 1000 real MNIST images, does a classifier learn more with a GAN's samples beside them? The GAN "
    "has seen the same images and no others; the images differ from seed to seed.",
    blocks=tuple(Block(f"{few} images", Preset(SYNTHETIC_DATA, QUICK), {"few": few}) for few in (50, 200, 1000)),
    arms=(Arm("real alone", {"generated": 0.0}), Arm("real and generated")),
    seeds=10,
    figure="accuracy",
)
