"""Images laid upon each other as the channels of one sample (stacked MNIST), and their classes.

Dimensions: M samples, k images in one, N labels, H rows, W columns, C channels of an image, K classes of an image.
"""

import functools

import jax.numpy as jnp
from jax import Array


def laid(images: Array) -> Array:
    """Images upon each other: [M,k,H,W,C] -> [M,H,W,k*C]"""
    beside = jnp.moveaxis(images, 1, 3)  # [M, H, W, k, C]
    return beside.reshape(*beside.shape[:3], -1)


def apart(samples: Array, count: int) -> Array:
    """The images of each sample: [M,H,W,k*C] -> [M*k,H,W,C]"""
    split = samples.reshape(*samples.shape[:3], count, -1)  # [M, H, W, k, C]
    return jnp.moveaxis(split, 3, 1).reshape(-1, *split.shape[1:3], split.shape[4])


def combined(labels: Array, classes: int) -> Array:
    """Classes i32[M,k] as one number whose digits they are, to the base K = `classes` -> i32[M]"""
    places = classes ** jnp.arange(labels.shape[1])[::-1]
    return (labels @ places).astype(jnp.int32)


def shares(labels: Array, classes: int, count: int) -> Array:
    """How often each class is among samples of k = count images, drawn independently from those of labels i32[N],
    f32[K**k]"""
    one = jnp.bincount(labels, length=classes) / labels.shape[0]
    return functools.reduce(lambda whole, x: jnp.outer(whole, x).reshape(-1), [one] * count)
