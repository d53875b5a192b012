"""What is known against mode collapse, on mixtures of Gaussians where what is missing can be counted.

python scripts/reproduce.py mode-collapse-2d        PacGAN's nets and 400,000 updates, 10 seeds: for an accelerator
python scripts/reproduce.py mode-collapse-2d-cpu    narrower nets and fewer updates, named as such
"""

from dataclasses import replace
from typing import Any

from research.engine.plan import Budget, Recipe
from research.gan import adversarial, points
from research.recipes.mixtures import GAN_GRID, GAN_RING
from research.studies.study import Arm, Block, Preset, Published, Study

PACGAN = "Lin et al. 2018, Table 1"
VEEGAN = "Srivastava et al. 2017, Table 1"
MODES = {
    ("ring", "GAN"): (6.3, 0.5),
    ("ring", "PacGAN2"): (7.9, 0.1),
    ("grid", "GAN"): (17.3, 0.8),
    ("grid", "PacGAN2"): (23.8, 0.7),
    ("grid", "PacGAN4"): (24.8, 0.2),
}


def arms(hyper: adversarial.Hyper, wasserstein_penalty: float) -> tuple[Arm, ...]:
    """Each remedy alone, in a preset with these rates. WGAN-GP's five steps and its Adam are those of
    Gulrajani et al.'s code for such mixtures (2017)."""
    fast = 4 * hyper.discriminator_learning_rate
    slope: dict[str, Any] = {"objective": "wasserstein", "penalty": "interpolated", "discriminator_steps": 5}
    return (
        Arm("GAN"),
        *(Arm(f"PacGAN{m}", {"packing": m}) for m in (2, 3, 4)),
        Arm("unrolled 5", {"unrolled": 5}),
        Arm("minibatch deviation", {"deviation_read": True}),
        Arm("two time-scale", hyper={"discriminator_learning_rate": fast}),
        Arm("WGAN-GP", slope, {"beta1": 0.5, "beta2": 0.9, "penalty_weight": wasserstein_penalty}),
    )


def published(cut: str) -> tuple[Published, ...]:
    """What others print, beside runs that differ as `cut` says, or '' where they do not."""
    unknown = cut or "of how many runs it is the mean is not known to us"
    return (
        *(
            Published(block, arm, value, se, "SE", 10, PACGAN, comparable=not cut, why=cut)
            for (block, arm), (value, se) in MODES.items()
        ),
        Published("ring", "GAN", 1.0, None, "none", 1, VEEGAN, comparable=False, why=unknown),
        Published("grid", "GAN", 3.3, None, "none", 1, VEEGAN, comparable=False, why=unknown),
    )


def study(name: str, recipes: tuple[Recipe, Recipe], budget: Budget, seeds: int, told: str, cut: str) -> Study:
    quick = {"steps": 4 * budget.chunk, "evaluate_every": 4 * budget.chunk}
    return Study(
        name=name,
        question=f"What helps against mode collapse, on 8 Gaussians on a ring and 25 on a grid? {told}",
        blocks=tuple(Block(recipe.setup.data, Preset(replace(recipe, budget=budget), quick)) for recipe in recipes),
        arms=arms(recipes[0].hyper, 0.1),
        seeds=seeds,
        figure="modes",
        beside=("high_quality", "reverse_kl"),
        picture="samples",
        published=published(cut),
    )


def as_published(recipe: Recipe) -> Recipe:
    """With the nets and rates of PacGAN's experiments."""
    return replace(recipe, setup=points.Setup(data=recipe.setup.data), hyper=adversarial.Hyper())


STUDY = study(
    "mode-collapse-2d",
    (as_published(GAN_RING), as_published(GAN_GRID)),
    Budget(steps=400_000, chunk=1_000, record_every=1_000, evaluate_every=40_000),
    10,
    "PacGAN's nets, 400,000 updates.",
    "",
)
CPU = study(
    "mode-collapse-2d-cpu",
    (GAN_RING, GAN_GRID),
    Budget(steps=12_000, chunk=500, record_every=500, evaluate_every=3_000),
    6,
    "Cut for CPUs: nets of 3 x 128 units, the discriminator's without maxout, in place of 4 x 400 and 3 x 200, and 12,000 "
    "updates at ten times the rate in place of 400,000.",
    "ours has narrower nets and a thirtieth of the updates, at ten times the rate",
)
