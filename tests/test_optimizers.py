"""Steps against a gradient by hand."""

import jax
import jax.numpy as jnp
import optax
import pytest

from research.numerics.optimizers import adam, descend

HALF = jnp.float32(0.5)


@pytest.mark.parametrize(("optimizer", "epsilon"), [(adam(), 1e-8), (adam(1e-5), 1e-5)])
def test_adams_epsilon_is_that_of_the_paper_or_what_is_given(optimizer, epsilon):
    """Its first direction is g / (|g| + epsilon): of a gradient as small as epsilon a half."""
    gradient = jnp.full(1, epsilon)
    moved, state = descend(optimizer, jnp.zeros(1), optimizer.init(gradient), gradient, jnp.float32(1))
    assert moved.item() == pytest.approx(-0.5, rel=1e-5) and state.count == 1


@pytest.mark.parametrize(("most", "moved"), [(None, [-1.5, -2.0]), (10.0, [-1.5, -2.0]), (1.0, [-0.3, -0.4])])
def test_a_gradient_that_is_too_long_is_scaled_down(most, moved):
    """(3, 4) is 5 long. Half of it is gone against, or half of (0.6, 0.8)."""
    limit = None if most is None else jnp.float32(most)
    found, _ = descend(optax.identity(), jnp.zeros(2), optax.EmptyState(), jnp.array([3.0, 4.0]), HALF, limit)
    assert found.tolist() == pytest.approx(moved)


def test_only_kernels_decay():
    """No gradient, rate 1/2, decay 1/10: a kernel's weight 2 becomes 2 - 1/2 * 1/10 * 2 = 1.9, a bias stays."""
    params = {"kernel": jnp.full((1, 1), 2.0), "bias": jnp.full(1, 2.0)}
    none = jax.tree.map(jnp.zeros_like, params)
    moved, _ = descend(adam(), params, adam().init(params), none, HALF, weight_decay=jnp.float32(0.1))
    assert moved["kernel"].item() == pytest.approx(1.9) and moved["bias"].item() == 2
