"""GANs on mixtures of Gaussians in the plane, where what is missing can be counted."""

from dataclasses import replace

import numpy as np

from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.gan import adversarial, points
from research.gan.mixture import MIXTURES, Mixture
from research.gan.pictures import scatter

SHOWN = 5  # rows of a lane, side by side


def load(setup: points.Setup) -> Inputs:
    """The mixture, of which fresh samples are drawn: nothing is held out."""
    mixture = MIXTURES[setup.data]
    note = f"{len(mixture.centres)} modes; {setup.samples} samples are judged, of high quality within 3 deviations of a mode"
    return Inputs(mixture, note=note)


def scatters(outputs: points.Outputs, data: Mixture) -> dict[str, np.ndarray]:
    """The samples of the first rows, side by side, where they are points in a plane -> u8[H,W,3]"""
    if data.centres.shape[1] != 2:
        return {}
    return {"samples": np.concatenate([scatter(samples, data) for samples in outputs.samples[:SHOWN]], 1)}


def recipe(name: str, setup: points.Setup, about: str) -> Recipe:
    return Recipe(
        name=name,
        make=points.make,
        setup=setup,
        hyper=adversarial.Hyper(generator_learning_rate=1e-3, discriminator_learning_rate=1e-3, beta1=0.5),
        load=load,
        budget=Budget(steps=12_000, chunk=500, record_every=100, evaluate_every=3_000),
        watch=("modes", "high_quality", "reverse_kl", "discriminator_loss", "generator_loss"),
        pictures=scatters,
        about=about,
    )


NARROW = points.Setup(generator=(128, 128, 128), discriminator=(128, 128, 128), pieces=1, weights=0.0)

GAN_RING = recipe(
    "gan-ring",
    NARROW,
    about="""A GAN on eight Gaussians on a ring, of which it may lose some: `modes` counts those that are there, of 8.

    6 seeds: 7.00 modes [6.34, 7.66], 78 % of the samples of high quality [66, 90]; with packing 2 7.83 modes [7.41, 8.26] and
    65 % [55, 75]. 12 and 16 s a seed on 2 cores of an AMD EPYC. See the study mode-collapse-2d-cpu.

    python scripts/train.py gan-ring --seeds 6
    python scripts/train.py gan-ring --setup.packing 2 --seeds 5""",
)

GAN_GRID = recipe(
    "gan-grid",
    replace(NARROW, data="grid"),
    about="""A GAN on 25 Gaussians on a grid, of which it may lose some: `modes` counts those that are there, of 25.

    6 seeds: 20.5 modes [19.4, 21.6], 53 % of the samples of high quality [46, 61]; with packing 2 22.7 modes [20.3, 25.0] and
    32 % [6, 58]. 20 and 15 s a seed on 2 cores of an AMD EPYC. See the study mode-collapse-2d-cpu.

    python scripts/train.py gan-grid --seeds 6
    python scripts/train.py gan-grid --setup.packing 2 --seeds 6""",
)
