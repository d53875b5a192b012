"""Random changes to a batch of images, as pure functions for use inside a jitted, vmapped or scanned step.

Dimensions: B images in a batch, H rows, W columns, C channels. Images are of any dtype; the result has the argument's
shape and dtype. Each image draws for itself. What moves in or is cut out becomes 0: black before images are
normalised, the mean after.
"""

import jax
import jax.numpy as jnp
from jax import Array


def shift(key: Array, images: Array, pixels: int) -> Array:
    """Moves each image by up to `pixels` rows and columns, uniformly, over a border of zeros.

    The random crop of padded images of He et al. 2016 (section 4.2: pixels=4 on CIFAR-10).
    key key[], images [B,H,W,C], pixels static -> [B,H,W,C]
    """
    corners = jax.random.randint(key, (images.shape[0], 2), 0, 2 * pixels + 1)
    border = ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0))
    return jax.vmap(_window, (0, 0, None))(jnp.pad(images, border), corners, images.shape[1:])


def _window(padded: Array, corner: Array, shape: tuple[int, ...]) -> Array:
    """padded [H+2P,W+2P,C], corner i32[2] row and column of the window's first pixel -> [H,W,C]"""
    return jax.lax.dynamic_slice(padded, (corner[0], corner[1], jnp.zeros_like(corner[0])), shape)


def flip(key: Array, images: Array) -> Array:
    """Mirrors each image left to right with probability 1/2.

    key key[], images [B,H,W,C] -> [B,H,W,C]
    """
    mirrored = jax.random.bernoulli(key, 0.5, (images.shape[0], 1, 1, 1))
    return jnp.where(mirrored, images[:, :, ::-1], images)


def cutout(key: Array, images: Array, size: int) -> Array:
    """Sets a square of `size` by `size` pixels to 0 in each image (DeVries & Taylor 2017, section 3.2).

    The square's centre is uniform over the image's pixels, so part of the square may lie outside. Of an even `size`
    the centre is the first pixel past the middle.
    key key[], images [B,H,W,C], size static -> [B,H,W,C]
    """
    row_key, column_key = jax.random.split(key)
    rows = _hole(row_key, images.shape[0], images.shape[1], size)
    columns = _hole(column_key, images.shape[0], images.shape[2], size)
    hole = rows[:, :, None, None] & columns[:, None, :, None]  # [B, H, W, 1]
    return jnp.where(hole, jnp.zeros_like(images), images)


def recolour(key: Array, images: Array) -> Array:
    """Changes brightness, saturation and contrast of images from -1 to 1 (Zhao et al. 2020, their code's `color`).

    With u, v, w uniform from 0 to 1: u - 1/2 is added to an image, then each pixel's distance from the mean of its channels is
    multiplied by 2 v, then its distance from the mean of the image by w + 1/2.
    key key[], images f32[B,H,W,C] -> f32[B,H,W,C]
    """
    added, saturation, contrast = jax.random.uniform(key, (3, images.shape[0], 1, 1, 1))
    images = images + (added - 0.5)
    grey = images.mean(3, keepdims=True)
    images = grey + 2.0 * saturation * (images - grey)
    mean = images.mean((1, 2, 3), keepdims=True)
    return mean + (contrast + 0.5) * (images - mean)


def _hole(key: Array, count: int, length: int, size: int) -> Array:
    """Where `count` spans of `size` pixels around uniform centres lie on an axis -> bool[count,length]"""
    first = jax.random.randint(key, (count, 1), 0, length) - size // 2
    pixel = jnp.arange(length)[None]
    return (pixel >= first) & (pixel < first + size)
