"""Optimizers over all parameters as one vector f32[D]: a few large operations instead of a few for each leaf."""

import jax
import jax.numpy as jnp
import optax
from jax import Array


def adam(epsilon: float = 1e-8) -> optax.GradientTransformation:
    """Adam's directions (Kingma and Ba 2015), without a learning rate."""
    return optax.scale_by_adam(eps=epsilon)


def descend(
    optimizer: optax.GradientTransformation,
    weights: Array,
    state: optax.OptState,
    gradient: Array,
    learning_rate: Array,
    max_norm: Array | None = None,
) -> tuple[Array, optax.OptState]:
    """One step against a gradient f32[D], whose norm is scaled down to `max_norm` -> weights f32[D], optimizer's state."""
    if max_norm is not None:
        gradient, _ = optax.clip_by_global_norm(max_norm).update(gradient, optax.EmptyState())
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power
        direction, state = optimizer.update(gradient, state)
    return weights - jnp.asarray(learning_rate, jnp.float32) * direction, state
