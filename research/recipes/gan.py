"""GANs on mixtures of Gaussians in the plane, where what is missing can be counted."""

import numpy as np

from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.gan import adversarial
from research.gan.mixture import MIXTURES, Mixture
from research.gan.pictures import scatter


def load(setup: adversarial.Setup) -> Inputs:
    """The mixture, of which fresh samples are drawn: nothing is held out."""
    mixture = MIXTURES[setup.data]
    note = f"{len(mixture.centres)} modes; {setup.samples} samples are judged, of high quality within 3 deviations of a mode"
    return Inputs(mixture, note=note)


def pictures(outputs: adversarial.Outputs, data: Mixture) -> dict[str, np.ndarray]:
    """Row 0's samples, where they are points in a plane -> u8[H,W,3]"""
    plane = data.centres.shape[1] == 2
    return {"samples": scatter(outputs.samples[0], data)} if plane else {}


def recipe(name: str, setup: adversarial.Setup, hyper: adversarial.Hyper, budget: Budget, about: str) -> Recipe:
    return Recipe(
        name=name,
        make=adversarial.make,
        setup=setup,
        hyper=hyper,
        load=load,
        budget=budget,
        watch=("modes", "high_quality", "reverse_kl", "discriminator_loss", "generator_loss"),
        pictures=pictures,
        about=about,
    )


GAN_RING = recipe(
    "gan-ring",
    adversarial.Setup(generator=(128, 128), discriminator=(64, 64), pieces=4, weights=0.0),
    adversarial.Hyper(generator_learning_rate=1e-3, discriminator_learning_rate=1e-3, beta1=0.5),
    Budget(steps=10_000, chunk=500, record_every=100, evaluate_every=2_500),
    about="""A GAN on eight Gaussians on a ring, of which it may lose some: `modes` counts those that are there, of 8. No
    result is claimed yet.

    python scripts/train.py gan-ring --seeds 5
    python scripts/train.py gan-ring --setup.packing 2 --seeds 5""",
)
