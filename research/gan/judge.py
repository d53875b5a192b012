"""Judges images by a frozen classifier: which classes are there, and how near generated features lie to real ones.

A judge is named by a hash of its weights, and so is the Frechet distance on its features: `FD-<hash>` of one judge says
nothing beside that of another, and none of them is the FID, whose features are Inception's.

Dimensions: M generated samples, N reference samples, as many of either are compared by neighbours (n), F features, K classes.
"""

import hashlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from research.models.cnn import ConvNet, normalized
from research.numerics.blocks import map_blocks

NEIGHBOURS = 5  # the neighbour whose distance is a sample's reach (Naeem et al. 2020, section 4)
USUAL = 0.01  # share of real samples that are as near to another as what counts as a copy
SHUFFLES = 999  # of labels, in the two-sample test


class Judge(NamedTuple):
    """A classifier's params f32, mean and std f32[C] of the pixels from 0 to 1 that it was trained on, and the first 32
    bits of a hash of these, u32[]"""

    params: Any
    mean: np.ndarray
    std: np.ndarray
    hash: np.ndarray


def judge_of(params: Any, mean: np.ndarray, std: np.ndarray) -> Judge:
    """A judge of arrays on the host."""
    content = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path((params, mean, std)):
        array = np.asarray(leaf)
        content.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}\n".encode() + array.tobytes())
    return Judge(params, mean, std, np.frombuffer(content.digest()[:4], ">u4")[0].astype(np.uint32))


def read(net: ConvNet, judge: Judge, images: Array, batch: int = 500) -> tuple[Array, Array]:
    """images u8[M,H,W,C] -> features f32[M,F], which the last layer makes logits of, and the likeliest class i32[M]"""

    def look(images: Array) -> tuple[Array, Array]:
        pixels = normalized(images, judge.mean, judge.std)
        features = net.clone(classes=0).apply(judge.params, pixels)
        return features.astype(jnp.float32), net.apply(judge.params, pixels).argmax(1).astype(jnp.int32)

    return map_blocks(look, images, batch)


def nearest(images: Array, others: Array, batch: int = 1000) -> Array:
    """Distance of each image u8[n,...] to the nearest of the others u8[N,...], over pixels from 0 to 1, f32[n]"""
    x, others = (y.reshape(y.shape[0], -1) for y in (images, others))
    x = x.astype(jnp.float32) / 255.0
    batch = min(batch, others.shape[0])
    # Whole batches, the last of which begins again from the end: what is seen twice is as near as once.
    starts = jnp.minimum(jnp.arange(0, others.shape[0], batch), others.shape[0] - batch)

    def look(least: Array, start: Array) -> tuple[Array, None]:
        y = lax.dynamic_slice_in_dim(others, start, batch).astype(jnp.float32) / 255.0
        squares = (x**2).sum(1)[:, None] - 2.0 * x @ y.T + (y**2).sum(1)[None]
        return jnp.minimum(least, squares.min(1)), None

    least, _ = lax.scan(look, jnp.full(x.shape[0], jnp.inf), starts)
    return jnp.sqrt(jnp.maximum(least, 0.0))


def classes(predicted: np.ndarray, expected: np.ndarray) -> dict[str, float]:
    """Classes i32[M] of samples, and the share f64[K] that each class should have -> modes, collapsed, mode_kl,
    smallest_share, largest_share.

    modes           classes that a sample is taken for (Srivastava et al. 2017, section 4.2)
    collapsed       1 where these are fewer than half of the classes, else 0
    mode_kl         sum over classes of q log(q / p), with q the samples' shares and p the expected ones, in nats
    """
    counts = np.bincount(predicted, minlength=len(expected))
    shares, there = counts / counts.sum(), counts > 0
    return {
        "modes": float(there.sum()),
        "collapsed": float(there.mean() < 0.5),
        "mode_kl": float((shares[there] * np.log(shares[there] / expected[there])).sum()),
        "smallest_share": float(shares.min()),
        "largest_share": float(shares.max()),
    }


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    """Squared Frechet distance of the Gaussians that have the features' means and covariances (Heusel et al. 2017, eq. 6):
    f[M,F], f[N,F] -> |mean difference|^2 + tr(A + B - 2 (A B)^1/2)"""
    x, y = x.astype(np.float64), y.astype(np.float64)
    a, b = np.atleast_2d(np.cov(x, rowvar=False)), np.atleast_2d(np.cov(y, rowvar=False))
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
    # A B has the eigenvalues of the symmetric A^1/2 B A^1/2.
    crossed = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a) + np.trace(b) - 2 * crossed)


def neighbours(fake: np.ndarray, real: np.ndarray, seed: int = 0) -> dict[str, float]:
    """Generated and real features f[n,F], equally many -> precision, recall, density, coverage, copies, told_apart,
    told_apart_p.

    A sample's ball reaches to its NEIGHBOURS-th neighbour of its own kind.
    precision   share of generated samples in a real one's ball; recall  the reverse (Kynkaanniemi et al. 2019, eq. 1)
    density     real balls that a generated sample lies in, on average / NEIGHBOURS; coverage  share of real balls that have
                a generated sample (Naeem et al. 2020, eq. 3 and 4)
    copies      share of generated samples nearer to another than all but USUAL of the real ones are to each other
    told_apart  share of all samples whose nearest neighbour is of their own kind: 1/2 where the two are one distribution
                (Lopez-Paz and Oquab 2017, section 3); told_apart_p  by SHUFFLES permutations, how often as high by chance
    """
    n = len(fake)
    apart, *among = distances(fake, real), distances(fake, fake), distances(real, real)
    for x in among:
        np.fill_diagonal(x, np.inf)
    reach_fake, reach_real = (np.partition(x, NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1] for x in among)
    within = apart <= reach_real[None]
    nearest_fake, nearest_real = (x.min(1) for x in among)
    whole = np.block([[among[0], apart], [apart.T, among[1]]])
    kind, friend = np.repeat([0, 1], n), whole.argmin(1)

    def own(kind: np.ndarray) -> float:
        return float((kind == kind[friend]).mean())

    random = np.random.default_rng(seed)
    by_chance = sum(own(random.permutation(kind)) >= own(kind) for _ in range(SHUFFLES))
    return {
        "precision": float(within.any(1).mean()),
        "recall": float((apart <= reach_fake[:, None]).any(0).mean()),
        "density": float(within.sum(1).mean() / NEIGHBOURS),
        "coverage": float(within.any(0).mean()),
        "copies": float((nearest_fake < np.quantile(nearest_real, USUAL)).mean()),
        "told_apart": own(kind),
        "told_apart_p": (1 + by_chance) / (1 + SHUFFLES),
    }


def distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Of each of f[M,F] to each of f[N,F], f64[M,N]"""
    x, y = x.astype(np.float64), y.astype(np.float64)
    squares = (x**2).sum(1)[:, None] - 2 * x @ y.T + (y**2).sum(1)[None]
    return np.sqrt(np.maximum(squares, 0))


def memorised(to_train: np.ndarray, real_to_train: np.ndarray, of: np.ndarray, real_of: np.ndarray) -> float:
    """Share of generated samples nearer to a training image than all but USUAL of the held-out images of their class: ones
    are alike, and would seem learned by heart beside eights. Classes i32[n] of either; without a held-out image, none is."""
    near = np.zeros(len(to_train), bool)
    for label in np.unique(real_of):
        members = of == label
        near[members] = to_train[members] < np.quantile(real_to_train[real_of == label], USUAL)
    return float(near.mean())
