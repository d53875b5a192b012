"""Optimizers over all parameters as one vector f32[D] (a few large operations instead of a few for each leaf), and
passes over samples.

Dimensions: N samples, M samples of a minibatch, D parameters.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax

from research.numerics.shuffle import name_order, permute


def adam(epsilon: float = 1e-8) -> optax.GradientTransformation:
    """Adam's directions (Kingma and Ba 2015), without a learning rate."""
    return optax.scale_by_adam(eps=epsilon)


def descend(
    optimizer: optax.GradientTransformation,
    weights: Array,
    state: optax.OptState,
    gradient: Array,
    learning_rate: Array,
    max_norm: Array,
) -> tuple[Array, optax.OptState]:
    """One step against a gradient f32[D] whose norm is scaled down to `max_norm` -> weights f32[D], optimizer's state."""
    gradient, _ = optax.clip_by_global_norm(max_norm).update(gradient, optax.EmptyState())
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power
        direction, state = optimizer.update(gradient, state)
    return weights - jnp.asarray(learning_rate, jnp.float32) * direction, state


def passes(
    learn: Callable[[Any, Any], tuple[Any, Any]], carry: Any, samples: Any, key: Array, epochs: int, minibatches: int
) -> tuple[Any, Any]:
    """Scans `learn` over minibatches of samples [N,...], each pass in an order of its own -> carry, mean outputs."""
    count = jax.tree.leaves(samples)[0].shape[0]
    # Outside the scan, where XLA cannot fuse a permutation into each of the gathers that read it.
    orders = jax.vmap(partial(order, count=count))(jax.random.split(key, epochs))
    orders = orders.reshape(epochs, minibatches, -1)  # [epochs, N] -> [epochs, minibatches, M]

    def one(carry: Any, order: Array) -> Any:
        return lax.scan(learn, carry, jax.tree.map(lambda x: x[order], samples))

    carry, outputs = lax.scan(one, carry, orders)
    return carry, jax.tree.map(jnp.mean, outputs)


def order(key: Array, count: int) -> Array:
    """A random order of N = count samples, i32[N], without sorting as `jax.random.permutation` does."""
    return permute(name_order(key), jnp.arange(count, dtype=jnp.uint32), count)


def check_minibatches(told: str, samples: int, minibatches: int) -> None:
    """Raises ValueError where minibatches do not divide the samples, whose number is `told`."""
    if samples % minibatches:
        divisors = [n for n in range(1, samples + 1) if samples % n == 0]
        nearest = min(divisors, key=lambda n: abs(n - minibatches))
        raise ValueError(f"minibatches={minibatches} does not divide {told} = {samples}; nearest: {nearest}")
