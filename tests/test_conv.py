"""Convolution and pooling beside Flax's own, values and gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from research.models import conv
from research.models.conv import Conv, convolve

# channels in and out, kernel, pool, padding: a first layer, a later one, the classic 5x5, an even kernel, a pool of 3
CASES = [
    (1, 32, (3, 3), 2, "SAME"),
    (32, 16, (3, 3), 2, "SAME"),
    (3, 6, (5, 5), 1, "SAME"),
    (4, 8, (5, 5), 4, "VALID"),
    (2, 4, (4, 2), 3, "SAME"),
]


def beside(case, dtype=jnp.float32):
    """-> ours, Flax's, parameters, images f[6,12,12,C]"""
    channels, features, kernel, pool, padding = case
    ours = Conv(features, kernel, pool, padding, dtype=dtype, bias_init=nn.initializers.normal())
    flax = nn.Conv(features, kernel, padding=padding, dtype=dtype, bias_init=nn.initializers.normal())

    def reference(params, images):
        return nn.max_pool(flax.apply(params, images), (pool, pool), (pool, pool))

    images = jax.random.normal(jax.random.key(0), (6, 12, 12, channels))
    params = ours.init(jax.random.key(1), images)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, flax.init(jax.random.key(1), images))
    return ours.apply, reference, params, images


def gradients(apply):
    """Of a sum that weights every output differently."""

    def total(params, images):
        outputs = apply(params, images)
        return (outputs * jnp.cos(jnp.arange(outputs.size, dtype=jnp.float32)).reshape(outputs.shape)).sum()

    return jax.grad(total, (0, 1))


def assert_close(ours, theirs, tolerance=1e-5):
    """Largest difference, in units of the largest entry."""
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert x.shape == y.shape
        assert np.abs(x - y).max() <= tolerance * np.abs(y).max()


@pytest.mark.parametrize(("case", "block"), [*((case, conv.BLOCK) for case in CASES), (CASES[1], 1), (CASES[4], 1)])
def test_values_and_gradients_equal_flax(case, block, monkeypatch):
    monkeypatch.setattr(conv, "BLOCK", block)  # all images at once, and one at a time
    ours, flax, params, images = beside(case)
    assert_close(*[jax.jit(f)(params, images) for f in (ours, flax)])
    assert_close(*[jax.jit(gradients(f))(params, images) for f in (ours, flax)])


@pytest.mark.parametrize("case", CASES)
def test_native_lowering_equals_flax(case, monkeypatch):
    """What other platforms run, run here."""
    monkeypatch.setattr(conv.lax, "platform_dependent", lambda *args, cpu, default: default(*args))
    ours, flax, params, images = beside(case)
    assert_close(*[jax.jit(f)(params, images) for f in (ours, flax)])
    assert_close(*[jax.jit(gradients(f))(params, images) for f in (ours, flax)])


@pytest.mark.parametrize("axes", [(0, 0), (0, None), (None, 0)])
def test_rows_equal_flax(axes):
    ours, flax, params, images = beside(CASES[1])
    params, images = (
        jax.tree.map(lambda x: jnp.stack([x, 2 * x + 1]), tree) if axis == 0 else tree
        for tree, axis in zip((params, images), axes, strict=True)
    )
    assert_close(*[jax.jit(jax.vmap(f, axes))(params, images) for f in (ours, flax)])
    assert_close(*[jax.jit(jax.vmap(gradients(f), axes))(params, images) for f in (ours, flax)])


def test_trains_inside_scan():
    ours, flax, params, images = beside(CASES[0])

    def train(apply):
        def step(params, _):
            return jax.tree.map(lambda p, g: p - 1e-4 * g, params, gradients(apply)(params, images)[0]), None

        return jax.jit(lambda params: jax.lax.scan(step, params, None, length=5)[0])(params)

    assert_close(train(ours), train(flax))
    assert not np.allclose(train(ours)["params"]["kernel"], params["params"]["kernel"])


def test_bfloat16_adds_up_blocks_in_float32(monkeypatch):
    """Forty blocks of one image: partial sums kept in bfloat16 would each lose a part in 512."""
    monkeypatch.setattr(conv, "BLOCK", 1)
    images = jax.random.uniform(jax.random.key(0), (40, 8, 8, 1)).astype(jnp.bfloat16)
    kernel = jnp.ones((3, 3, 1, 4), jnp.bfloat16)
    transposed = jax.jit(jax.grad(lambda k, x: conv.convolve(x, k).astype(jnp.float32).sum()))
    found = transposed(kernel, images).astype(jnp.float32)
    # The gradient of a sum of outputs is a sum of pixels, of which bfloat16 keeps 8 bits at the end.
    padded = np.pad(np.asarray(images, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    exact = [[padded[:, r : r + 8, c : c + 8].sum() for c in range(3)] for r in range(3)]
    np.testing.assert_allclose(found[..., 0, 0], exact, rtol=2**-8)


def test_bfloat16_accumulates_the_kernels_gradient_in_float32():
    ours, _, params, images = beside(CASES[2], jnp.bfloat16)
    exact, _, _, _ = beside(CASES[2])
    assert ours(params, images).dtype == jnp.bfloat16
    found, wanted = (
        jax.jit(gradients(lambda p, x, f=f: f(p, x).astype(jnp.float32)))(params, images) for f in (ours, exact)
    )
    assert jax.tree.map(lambda x: x.dtype, found) == jax.tree.map(lambda x: x.dtype, wanted)
    kernel, wanted = found[0]["params"]["kernel"], wanted[0]["params"]["kernel"]
    # bfloat16 has 8 bits: each of the 864 products is wrong by a part in 256 at most, their sum by less.
    assert np.linalg.norm(kernel - wanted) <= 0.01 * np.linalg.norm(wanted)


def max_pool(images):
    """By a kernel that is the identity."""
    return convolve(images, jnp.eye(images.shape[-1])[None, None], 2)


def test_pool_sends_a_ties_gradient_to_the_first():
    """Windows [[1, 3], [3, 2]] and [[0, 0], [0, 0]]: the 3 on the right above is first; of four zeros the first."""
    images = jnp.array([[1.0, 3, 0, 0], [3, 2, 0, 0]]).reshape(1, 2, 4, 1)
    pooled, transpose = jax.vjp(max_pool, images)
    assert pooled.ravel().tolist() == [3, 0]
    assert transpose(jnp.array([5.0, 7.0]).reshape(1, 1, 2, 1))[0].ravel().tolist() == [0, 5, 7, 0, 0, 0, 0, 0]


def test_pool_keeps_nan():
    images = jnp.array([[1.0, jnp.nan], [0, 2]]).reshape(1, 2, 2, 1)
    assert jnp.isnan(max_pool(images)).all()


@pytest.mark.parametrize("call", [max_pool, lambda x: convolve(x, jnp.ones((3, 3, 1, 1)), 2)])
def test_pool_that_does_not_divide_is_refused(call):
    with pytest.raises(ValueError, match=r"pool=2 does not divide 7x6 pixels; one that does: \[1\]"):
        call(jnp.zeros((1, 7, 6, 1)))


def test_images_without_a_gradient_get_none_computed():
    """The first layer's input gradient is a third of its cost: no product may be left of it in the compiled program."""
    kernel = jnp.ones((3, 3, 3, 8))
    images = jnp.ones((4, 8, 8, 3))

    def products(argument):
        program = jax.jit(jax.grad(lambda k, x: convolve(x, k, 2).sum(), argument)).lower(kernel, images).compile()
        return program.as_text().count("dot_general")

    assert products(0) < products((0, 1))


@pytest.mark.parametrize("mapped", [(None, None), (0, None), (None, 0), (0, 0)])
@pytest.mark.parametrize(("padding", "cells"), [("SAME", 3), ("VALID", 3), ("SAME", 1)])
def test_looking_ahead_is_the_same_convolution_for_rows_too(mapped, padding, cells):
    """Rows of images, of kernels, of both, or none."""
    rows = lambda axis, *shape: shape if axis is None else (3, *shape)
    images = jax.random.normal(jax.random.key(0), rows(mapped[0], 4, 6, 5, 2))
    kernel = jax.random.normal(jax.random.key(1), rows(mapped[1], cells, cells, 2, 7))
    over = lambda f: f if mapped == (None, None) else jax.vmap(f, mapped)
    ahead, known = (over(partial(f, padding=padding))(images, kernel) for f in (conv.looked_ahead, convolve))
    np.testing.assert_allclose(ahead, known, rtol=1e-5, atol=1e-5)


def test_rows_with_kernels_of_their_own_are_no_grouped_convolution_on_a_cpu():
    """And rows that share theirs are one convolution of all their images."""
    images, kernels = jnp.ones((3, 4, 6, 5, 2)), jnp.ones((3, 3, 3, 2, 7))
    text = lambda *axes: (
        jax.jit(jax.vmap(conv.looked_ahead, axes)).lower(images, kernels if axes[1] == 0 else kernels[0]).as_text()
    )
    own, shared = text(0, 0), text(0, None)
    assert "stablehlo.while" in own and "feature_group_count = 3" not in own and "batch_group_count = 3" not in own
    assert "stablehlo.while" not in shared and "tensor<12x6x5x2xf32>" in shared


def test_a_module_that_only_looks_has_the_same_parameters_and_outputs():
    learns, looks = (Conv(5, dtype=jnp.float32, forward_only=only) for only in (False, True))
    images = jax.random.normal(jax.random.key(0), (2, 6, 6, 3))
    params = learns.init(jax.random.key(1), images)
    jax.tree.map(np.testing.assert_array_equal, params, looks.init(jax.random.key(1), images))
    np.testing.assert_allclose(looks.apply(params, images), learns.apply(params, images), rtol=1e-5, atol=1e-5)
