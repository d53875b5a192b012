"""Variational autoencoders: digits by default, MNIST with a preset of its own."""

import numpy as np

from research.data.images import load_with_validation
from research.data.pictures import tiled
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.vision import vae
from research.vision.vae import SHOWN, Data, Outputs

ROWS = 8  # of a grid of pictures


def load(setup: vae.Setup) -> Inputs:
    """Training and validation images; the test images only for the end."""
    images = load_with_validation(setup.data, setup.validation)
    data = Data(images.train.images, images.validation.images)
    return Inputs(data, final=data._replace(held_out=images.test.images), note=images.note)


def pictures(outputs: Outputs, data: Data) -> dict[str, np.ndarray]:
    """Of row 0: the first held-out images, each beside its binarisation and then its reconstruction; and the pixels'
    probabilities where the latent is drawn from the prior -> u8[H,W,3]"""
    binarized, reconstructed = outputs.binarized[0], outputs.reconstructed[0]
    triples = np.stack([data.held_out[: len(binarized)], binarized, reconstructed], axis=1)  # [S, 3, H, W, C]
    flat = triples.reshape(-1, *binarized.shape[1:])
    samples = outputs.samples[0]
    return {
        "reconstructions": tiled(flat, ROWS, 3 * SHOWN // ROWS),
        "samples": tiled(samples, ROWS, len(samples) // ROWS),
    }


def recipe(name: str, setup: vae.Setup, budget: Budget, about: str) -> Recipe:
    return Recipe(
        name=name,
        make=vae.make,
        setup=setup,
        hyper=vae.Hyper(),
        load=load,
        budget=budget,
        watch=("validation_elbo", "test_elbo", "validation_iwae_bound", "validation_active_units", "elbo"),
        pictures=pictures,
        about=about,
    )


VAE = recipe(
    "vae",
    vae.Setup(widths=(200,), latent=10),
    # 155 epochs of the digits' 1,293 training images.
    Budget(steps=2000, chunk=100, record_every=100, evaluate_every=500),
    about="""A variational autoencoder of scikit-learn's 8x8 digits, binarised anew at each update.

    Five seeds: ELBO of the test images -24.14 nats (95 %: -24.21 to -24.06), importance-weighted bound of 50 samples -23.95
    (-24.02 to -23.88), all ten units active. 4 s of training for all five on 2 cores of an AMD EPYC.

    python scripts/train.py vae
    python scripts/train.py vae --hyper.beta 4 --seeds 5""",
)

VAE_MNIST = recipe(
    "vae-mnist",
    vae.Setup(data="mnist"),
    # 50 epochs of MNIST's 54,000 training images.
    Budget(steps=27_000, chunk=100, record_every=100, evaluate_every=5_400),
    about="""A variational autoencoder of MNIST, binarised anew at each update, with the network of Burda et al. 2016: two
    hidden layers of 200 tanh units on either side of a latent of 50 dimensions.

    Five seeds after 50 epochs: ELBO of the test images -98.38 nats (95 %: -98.54 to -98.23), importance-weighted bound of 50
    samples -95.15 (-95.36 to -94.94), 16 to 18 units active. That is a short budget, by a schedule of its own; the paper's
    figures are of thousands of epochs and 5,000 samples. 266 s of training for all five on 2 cores of an AMD EPYC, which
    others used too. See docs/results/vae.

    python scripts/train.py vae-mnist""",
)
