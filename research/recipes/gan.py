"""GANs on images, judged by a classifier."""

import numpy as np

from research.data.images import cut, load_images
from research.data.pictures import tiled
from research.engine.experiment import Inputs
from research.engine.plan import Budget, Recipe
from research.gan import adversarial, images, synthetic
from research.recipes.judges import judge_for


def load_pictures(setup: images.Setup) -> Inputs:
    """Training images, and the test set's, which samples are compared with: nothing is chosen by them."""
    found = load_images(setup.data, 0.0)
    train = found.train
    if setup.images:
        least = len(found.classes)
        if not least <= setup.images <= len(train.labels):
            raise ValueError(
                f"images={setup.images} must be at least {least}, one of each class, and at most the {len(train.labels)} "
                "training images there are; 0 takes all"
            )
        train = cut(train, setup.images)[1]
    if setup.stack > 1:
        random = np.random.default_rng(0)
        stacks = random.integers(len(train.labels), size=(setup.stacks, setup.stack))
        # No image twice in its place as long as there are others: samples that share one are nearer than chance.
        rounds = -(-setup.samples // len(found.test.labels))
        every = [
            np.concatenate([random.permutation(len(found.test.labels)) for _ in range(rounds)])
            for _ in range(setup.stack)
        ]
        held_out = np.stack(every, 1)[: setup.samples]
    else:
        stacks, held_out = (np.arange(len(part.labels))[:, None] for part in (train, found.test))
    judge = judge_for(setup)
    if isinstance(setup, synthetic.Setup):
        note = f"{len(train.labels)} training images, of which a row draws {setup.few}; {len(found.test.labels)} test images"
    else:
        note = (
            f"{len(train.labels)} training images; {setup.samples} samples are judged by a {setup.judge_net} of hash "
            f"{int(judge.hash):08x}, beside the {len(held_out)} {'stacks of ' if setup.stack > 1 else ''}test images"
        )
    data = images.Data(train, stacks.astype(np.int32), found.test, held_out.astype(np.int32), judge)
    return Inputs(data, note=" · ".join(filter(None, (note, found.note))))


def tiles(outputs: images.Outputs, data: images.Data) -> dict[str, np.ndarray]:
    """Row 0's samples, a column for each class where there are classes, and ways from one sample to another -> u8[H,W,3]"""
    named = {"samples": outputs.samples, "between": outputs.between}
    return {name: tiled(pixels[0], images.ROWS, images.COLUMNS) for name, pixels in named.items()}


def taught(outputs: synthetic.Outputs, data: images.Data) -> dict[str, np.ndarray]:
    """What row 0's classifier learns from beside real images, a column for each class -> u8[H,W,3]"""
    return {"samples": tiled(outputs.samples[0], images.ROWS, images.COLUMNS)}


def recipe(name: str, setup: images.Setup, hyper: adversarial.Hyper, budget: Budget, about: str) -> Recipe:
    return Recipe(
        name=name,
        make=images.make,
        setup=setup,
        hyper=hyper,
        load=load_pictures,
        budget=budget,
        watch=("modes", "smallest_share", "largest_share", "coverage", "discriminator_loss", "generator_loss"),
        pictures=tiles,
        about=about,
    )


GAN_MNIST = recipe(
    "gan-mnist",
    images.Setup(
        latent=100,
        generator=(256, 512),
        batch_norm=False,
        discriminator=(512, 256),
        dropout=0.3,
        weights=0.02,
        batch_size=128,
        samples=10_000,
    ),
    adversarial.Hyper(generator_learning_rate=1e-3, discriminator_learning_rate=1e-3, beta1=0.5, average=0.1),
    Budget(steps=10_000, chunk=100, record_every=100, evaluate_every=2_500),
    about="""A pair of dense nets on MNIST, 100-256-512-784 and 784-512-256-1.

    5 seeds: all 10 digits, each 7.6 to 13.7 % of 10,000 samples (8.0 to 12.8 % on average, where the training set has 9.0 to
    11.2 %); Frechet distance 5.12 [4.76, 5.47] by the judge 387cfd4d, recall 0.91, coverage 0.78. A two-sample test tells
    samples from images. 340 s of training for all five on 2 cores of an AMD EPYC. See docs/results/gan-mnist.json.

    python scripts/train.py gan-mnist --seeds 5""",
)

DCGAN_MNIST = recipe(
    "dcgan-mnist",
    images.Setup(
        net="convolution",
        latent=100,
        generator=(64, 32),
        discriminator=(32, 64),
        hidden=512,
        discriminator_batch_norm=True,
        batch_size=64,
        samples=10_000,
    ),
    adversarial.Hyper(generator_learning_rate=1e-3, discriminator_learning_rate=5e-4, beta1=0.5, average=0.1),
    Budget(steps=4_000, chunk=50, record_every=50, evaluate_every=1_000),
    about="""DCGAN on MNIST, with a dense layer of 512 at the small end of both nets: without it no unit of the discriminator
    sees more of a digit than 10 pixels across, and FD stood at 14 after as many updates (one seed).

    4 seeds: Frechet distance 0.885 [0.702, 1.068] by the judge 387cfd4d, precision 0.91, recall 0.93, coverage 0.92; each digit
    8.4 to 11.9 % of 10,000 samples. A two-sample test tells samples from images, less well than gan-mnist's. 470 s of training
    for all four on 2 cores of an AMD EPYC. See docs/results/dcgan-mnist.json.

    python scripts/train.py dcgan-mnist --seeds 2
    python scripts/train.py dcgan-mnist --setup.conditional --seeds 2""",
)

DCGAN_CIFAR10 = recipe(
    "dcgan-cifar10",
    images.Setup(
        data="cifar10",
        net="convolution",
        latent=100,
        generator=(256, 128, 64),
        discriminator=(64, 128, 256),
        hidden=512,
        discriminator_batch_norm=True,
        batch_size=64,
        samples=10_000,
    ),
    adversarial.Hyper(generator_learning_rate=2e-4, discriminator_learning_rate=2e-4, beta1=0.5),
    Budget(steps=39_000, chunk=50, record_every=50, evaluate_every=7_800),
    about="""DCGAN on CIFAR-10, about 50 epochs. No result is claimed yet.

    python scripts/train.py dcgan-cifar10""",
)

STACKED_MNIST = recipe(
    "stacked-mnist",
    images.Setup(
        stack=3,
        net="convolution",
        latent=100,
        latent_law="uniform",
        generator=(128, 64),
        discriminator=(64, 128),
        hidden=512,
        discriminator_batch_norm=True,
        batch_size=64,
        samples=26_000,
    ),
    adversarial.Hyper(generator_learning_rate=2e-4, discriminator_learning_rate=2e-4, beta1=0.5),
    Budget(steps=100_000, chunk=100, record_every=100, evaluate_every=10_000),
    about="""DCGAN on three MNIST digits laid upon each other as red, green and blue: `modes` of 1000. 128,000 stacks, 50
    epochs, 26,000 samples, as published (Lin et al. 2018); for an accelerator. No result of so many is claimed yet; the study
    stacked-mnist-cpu has one of fewer.

    python scripts/train.py stacked-mnist
    python scripts/train.py stacked-mnist --setup.packing 2""",
)

SYNTHETIC_DATA = Recipe(
    name="synthetic-data",
    make=synthetic.make,
    setup=synthetic.Setup(
        net="convolution",
        latent=64,
        generator=(64, 32),
        discriminator=(32, 64),
        hidden=256,
        discriminator_batch_norm=True,
        conditional=True,
        shift=2,
        cutout=7,
        batch_size=64,
    ),
    hyper=DCGAN_MNIST.hyper,
    load=load_pictures,
    budget=Budget(steps=3_000, chunk=100, record_every=100, evaluate_every=3_000),
    watch=("accuracy", "loss", "discriminator_loss", "generator_loss"),
    pictures=taught,
    about="""A GAN, told the classes, of a few MNIST images, then a classifier of the same few and of what the GAN makes of
    them.

    10 seeds of the study synthetic-data: with 200 images an accuracy of 91.6 % [91.1, 92.1] in place of 90.8 % [90.3, 91.3],
    seed by seed 0.8 points [0.2, 1.4]; with 50 and with 1000 images no difference that stands. 95 s a run on 2 cores of an AMD
    EPYC.

    python scripts/train.py synthetic-data --seeds 5
    python scripts/train.py synthetic-data --setup.generated 0 --seeds 5      # the same classifier, of real images alone""",
)
