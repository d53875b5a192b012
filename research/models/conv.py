"""Convolution with max-pooling behind it, as fast inside `lax.scan` on a CPU as the machine's matrix product.

XLA's own convolution on a CPU is an order of magnitude slower inside a scan than outside where it has gradients, and its
patches, bias and pooling pass through memory many times. Here a few images at a time go through everything while they are in
cache: patches, one matrix product, pooling; the gradient likewise. Other platforms keep their native convolution. So does what
is neither differentiated nor pooled (`looked_ahead`), but for kernels of one cell, which are matrices.

Dimensions: B images, H rows, W columns, C channels in, O channels out, K = kernel rows * columns * C,
h and w pooled rows and columns. `f` is any float dtype.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import Array, lax

Padding = Literal["SAME", "VALID"]

# Numbers in the patches of one block: 1 MiB of float32. On one core 2**16 is 7 % faster; with two threads,
# which need something to share, 2**19, and 2**16 is no faster than one thread.
BLOCK = 2**18


class Conv(nn.Module):
    """A convolution of stride 1, then bias, then max-pooling over `pool` by `pool` windows (1: none).

    Parameters are those of `flax.linen.Conv`: kernel f[rows,columns,C,O], bias f[O]. Pooling stands before the
    activation, which changes nothing for a monotone one and leaves it a quarter of the work.
    Reverse-mode derivatives only. Compute in `dtype` (the input's where None); parameters are float32.
    """

    features: int
    kernel_size: tuple[int, int] = (3, 3)
    pool: int = 1
    padding: Padding = "SAME"
    use_bias: bool = True
    dtype: Any = None
    kernel_init: Callable[..., Array] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Array] = nn.initializers.zeros_init()
    forward_only: bool = False
    """Nothing will be differentiated, and there is no pooling: then `looked_ahead` is the faster one on a CPU
    (scripts/bench.py selfplay-small)."""

    @nn.compact
    def __call__(self, images: Array) -> Array:
        """images f[B,H,W,C] -> f[B,h,w,O]"""
        shape = (*self.kernel_size, images.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32) if self.use_bias else None
        images, kernel, bias = nn.dtypes.promote_dtype(images, kernel, bias, dtype=self.dtype)
        if self.forward_only and self.pool == 1:
            features = looked_ahead(images, kernel, self.padding)
        else:
            features = convolve(images, kernel, self.pool, self.padding)
        # The maximum of what a constant was added to is the maximum plus the constant.
        return features if bias is None else features + bias.reshape(1, 1, 1, -1)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def convolve(images: Array, kernel: Array, pool: int = 1, padding: Padding = "SAME") -> Array:
    """Convolution (in truth cross-correlation) of stride 1, then max-pooling over exact windows.

    images f[B,H,W,C], kernel f[rows,columns,C,O] of the same dtype -> f[B,h,w,O]
    Where a window's maximum stands more than once, its gradient goes to the first, as in PyTorch.
    Raises ValueError where `pool` does not divide the convolution's output.
    """
    return _forward(images, kernel, pool, padding)[0]


def looked_ahead(images: Array, kernel: Array, padding: Padding = "SAME") -> Array:
    """`convolve` without pooling and without derivatives, by XLA. Rows with kernels of their own take turns on a CPU: all at
    once they would be one grouped convolution, which is slower there. A kernel of one cell is a matrix, and its product with
    every cell as a product of matrices takes a CPU half the time."""
    if kernel.shape[:2] == (1, 1):
        return _product(images, kernel[0, 0])

    @jax.custom_batching.custom_vmap
    def one(images: Array, kernel: Array) -> Array:
        return _native(images, kernel, padding)

    @one.def_vmap
    def rows(count: int, mapped: list[bool], images: Array, kernel: Array) -> tuple[Array, bool]:
        if not mapped[1]:
            found = one(images.reshape(-1, *images.shape[2:]), kernel)
            return found.reshape(count, -1, *found.shape[1:]), True
        if not mapped[0]:
            images = jnp.broadcast_to(images, (count, *images.shape))
        in_turn = lambda images, kernel: lax.map(lambda pair: one(*pair), (images, kernel))
        at_once = jax.vmap(partial(_native, padding=padding))
        return lax.platform_dependent(images, kernel, cpu=in_turn, default=at_once), True

    return one(images, kernel)


def _forward(images: Array, kernel: Array, pool: int, padding: Padding) -> tuple[Array, Any]:
    rows, columns = _borders(kernel, padding)
    _check(
        (images.shape[1] + sum(rows) - kernel.shape[0] + 1, images.shape[2] + sum(columns) - kernel.shape[1] + 1), pool
    )

    def native(images: Array, kernel: Array) -> tuple[Array, Array | None]:
        return _pool(_native(images, kernel, padding), pool)

    def blocked(images: Array, kernel: Array) -> tuple[Array, Array | None]:
        weights = kernel.reshape(-1, kernel.shape[-1])  # [K, O]
        blocks = partial(_blocks, count=_block_count(images, kernel))

        def block(images: Array) -> tuple[Array, Array | None]:
            return _pool(_product(_patches(images, kernel, padding), weights), pool)

        return jax.tree.map(_unblock, lax.map(block, blocks(images)))

    pooled, where = lax.platform_dependent(images, kernel, cpu=blocked, default=native)
    return pooled, (images, kernel, where)


def _backward(pool: int, padding: Padding, saved: Any, gradient: Array) -> tuple[Array, Array]:
    def native(images: Array, kernel: Array, where: Array | None, gradient: Array) -> tuple[Array, Array]:
        _, transpose = jax.vjp(partial(_native, padding=padding), images, kernel)
        return transpose(_unpool(gradient, where, pool))

    def blocked(images: Array, kernel: Array, where: Array | None, gradient: Array) -> tuple[Array, Array]:
        weights = kernel.reshape(-1, kernel.shape[-1])  # [K, O]
        blocks = partial(_blocks, count=_block_count(images, kernel))

        def block(total: Array, parts: tuple[Array, Array | None, Array]) -> tuple[Array, Array]:
            images, where, gradient = parts
            gradient = _unpool(gradient, where, pool)
            patches, gather = jax.vjp(partial(_patches, kernel=kernel, padding=padding), images)
            total = total + _gram(patches, gradient)
            return total, gather(_product(gradient, weights.T))[0]

        start = jnp.zeros(weights.shape, _sum_type(kernel))
        total, images_gradient = lax.scan(block, start, jax.tree.map(blocks, (images, where, gradient)))
        return _unblock(images_gradient), total.reshape(kernel.shape).astype(kernel.dtype)

    return lax.platform_dependent(*saved, gradient, cpu=blocked, default=native)


convolve.defvjp(_forward, _backward)


def _native(images: Array, kernel: Array, padding: Padding) -> Array:
    return lax.conv_general_dilated(images, kernel, (1, 1), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _borders(kernel: Array, padding: Padding) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros before and behind the rows, and the columns."""
    if padding == "VALID":
        return (0, 0), (0, 0)
    rows, columns = ((size - 1) // 2 for size in kernel.shape[:2])
    return (rows, kernel.shape[0] - 1 - rows), (columns, kernel.shape[1] - 1 - columns)


def _patches(images: Array, kernel: Array, padding: Padding) -> Array:
    """What each output sees, beside each other: f[B,H,W,C] -> f[B,H,W,K]"""
    padded = jnp.pad(images, ((0, 0), *_borders(kernel, padding), (0, 0)))
    height, width = padded.shape[1] - kernel.shape[0] + 1, padded.shape[2] - kernel.shape[1] + 1
    return jnp.concatenate(
        [padded[:, i : i + height, j : j + width] for i in range(kernel.shape[0]) for j in range(kernel.shape[1])], -1
    )


def _product(x: Array, weights: Array) -> Array:
    """f[B,H,W,K] times f[K,O] -> f[B,H,W,O]"""
    return lax.dot_general(x, weights, (((3,), (0,)), ((), ())))


def _gram(patches: Array, gradient: Array) -> Array:
    """The kernel's gradient, patches f[B,H,W,K], gradient f[B,H,W,O] -> f32[K,O], f64 for f64"""
    x, y = patches.reshape(-1, patches.shape[-1]), gradient.reshape(-1, gradient.shape[-1])  # [B*H*W, K], [B*H*W, O]
    over_pixels = (((0,), (0,)), ((), ()))
    # A product that runs over rows transposes its first operand: let that be the narrow one.
    if x.shape[1] <= y.shape[1]:
        return lax.dot_general(x, y, over_pixels, preferred_element_type=_sum_type(x))
    return lax.dot_general(y, x, over_pixels, preferred_element_type=_sum_type(x)).T


def _sum_type(x: Array) -> Any:
    """In what a sum over a batch of `x` is kept: float32 at least."""
    return jnp.float32 if x.dtype.itemsize < 4 else x.dtype


def _block_count(images: Array, kernel: Array) -> int:
    """The fewest blocks of equal size that fit BLOCK; a block holds at least one image."""
    batch, height, width, _ = images.shape
    per_image = height * width * max(kernel[..., 0].size, kernel.shape[-1])
    return next(n for n in range(1, batch + 1) if batch % n == 0 and (batch // n * per_image <= BLOCK or n == batch))


def _blocks(x: Array, count: int) -> Array:
    return x.reshape(count, -1, *x.shape[1:])  # [count, B/count, ...]


def _unblock(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])  # [B, ...]


def _check(shape: tuple[int, ...], size: int) -> None:
    if size < 1 or shape[0] % size or shape[1] % size:
        fits = [n for n in range(1, min(shape) + 1) if shape[0] % n == 0 and shape[1] % n == 0]
        raise ValueError(f"pool={size} does not divide {shape[0]}x{shape[1]} pixels; one that does: {fits}")


def _windows(images: Array, size: int) -> list[Array]:
    """The pixels of each window, by their place in it, row by row: size * size arrays f[B,h,w,C]"""
    batch, height, width, channels = images.shape
    split = images.reshape(batch, height // size, size, width // size, size, channels)  # [B, h, size, w, size, C]
    return [split[:, :, i, :, j] for i in range(size) for j in range(size)]


def _pool(images: Array, size: int) -> tuple[Array, Array | None]:
    """images f[B,H,W,C] -> maximum f[B,h,w,C], and the place in its window where it first stands, u8[B,h,w,C]"""
    if size == 1:
        return images, None
    pixels = _windows(images, size)
    highest = pixels[0]
    for pixel in pixels[1:]:
        highest = jnp.maximum(highest, pixel)
    where = jnp.full(highest.shape, len(pixels) - 1, jnp.uint8)
    for place in reversed(range(len(pixels) - 1)):
        where = jnp.where(pixels[place] == highest, jnp.uint8(place), where)
    return highest, where


def _unpool(gradient: Array, where: Array | None, size: int) -> Array:
    """Sends gradient f[B,h,w,C] back to where the maximum stood -> f[B,H,W,C]"""
    if where is None:
        return gradient
    batch, height, width, channels = gradient.shape
    places = jnp.arange(size * size, dtype=jnp.uint8).reshape(1, 1, size, 1, size, 1)
    spread = (batch, height, size, width, size, channels)
    chosen = jnp.broadcast_to(where[:, :, None, :, None], spread) == jnp.broadcast_to(places, spread)
    gradient = jnp.broadcast_to(gradient[:, :, None, :, None], spread)
    return jnp.where(chosen, gradient, jnp.zeros_like(gradient)).reshape(batch, height * size, width * size, channels)
