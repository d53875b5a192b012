# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What a GAN misses, and who says so
#
# First points in a plane, where what is missing can be counted; then digits, which a classifier judges. The budgets are cut to
# seconds: look at what is measured, not at how good it is.

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

from IPython.display import Image, display

from research import Budget, Plan, Row
from research.engine.run import run
from research.recipes.gan import DCGAN_MNIST
from research.recipes.mixtures import GAN_RING
from research.report import summary

home = Path(tempfile.mkdtemp())

# %% [markdown]
# ## Modes
#
# Eight Gaussians on a ring. A mode counts when one sample lies within three deviations of its centre, and `high_quality` is
# the share of samples that lie so near to one. `packing` lets the discriminator read several samples at once: a generator that
# makes the same ones again and again is then easily told.

# %%
budget = Budget(steps=500, chunk=250, record_every=50, evaluate_every=500)
for packing in (1, 2):
    setup = replace(GAN_RING.setup, packing=packing)
    folder = run(Plan(GAN_RING, setup, (Row(0, GAN_RING.hyper), Row(1, GAN_RING.hyper)), budget), home)
    result = summary.summarize(folder)
    print(f"packing {packing}: modes {result['modes']:g} of 8, of high quality {result['high_quality']:.1%}, two seeds")
    display(Image(str(max((folder / "pictures").glob("samples-*.png")))))

# %% [markdown]
# ## Images
#
# A small DCGAN on scikit-learn's 8x8 digits, told the classes. The judge is a classifier that is shipped; its hash stands in the
# name of the Frechet distance on its features, for that of another judge says something else.

# %%
setup = replace(
    DCGAN_MNIST.setup,
    data="digits",
    generator=(32,),
    discriminator=(32,),
    conditional=True,
    discriminator_batch_norm=False,
    samples=500,
    near=300,
)
hyper = DCGAN_MNIST.hyper._replace(generator_learning_rate=1e-3, discriminator_learning_rate=1e-3)
budget = Budget(steps=100, chunk=50, record_every=50, evaluate_every=100)
folder = run(Plan(DCGAN_MNIST, setup, (Row(0, hyper),), budget), home)
result = summary.summarize(folder)
for name, value in result["rows"][0]["figures"].items():
    print(f"{name:18} {value:.3g}")

# %% [markdown]
# A column for each class, of the same latent numbers at every evaluation; then ways from one sample to another.

# %%
for name in ("samples", "between"):
    display(Image(str(max((folder / "pictures").glob(f"{name}-*.png"))), width=400))

# %% [markdown]
# From the command line: `python scripts/train.py dcgan-mnist --setup.conditional`, then
#
#     python scripts/sample.py runs/dcgan-mnist-... --count 64 --class 7 --out sevens.png
#     python scripts/sample.py runs/dcgan-mnist-... --training
