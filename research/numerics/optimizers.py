"""Steps against a gradient: over all parameters as one vector f32[D], a few large operations instead of a few for each
leaf, or over a tree of them whose matrices decay."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array


def adam(epsilon: float = 1e-8) -> optax.GradientTransformation:
    """Adam's directions (Kingma and Ba 2015), without a learning rate."""
    return optax.scale_by_adam(eps=epsilon)


def descend(
    optimizer: optax.GradientTransformation,
    weights: Any,
    state: optax.OptState,
    gradient: Any,
    learning_rate: Array,
    max_norm: Array | None = None,
) -> tuple[Any, optax.OptState]:
    """One step against a gradient, f32[D] or a tree, whose norm is scaled down to `max_norm` -> weights like it, optimizer's
    state."""
    if max_norm is not None:
        gradient, _ = optax.clip_by_global_norm(max_norm).update(gradient, optax.EmptyState())
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power
        direction, state = optimizer.update(gradient, state)
    rate = jnp.asarray(learning_rate, jnp.float32)
    return jax.tree.map(lambda weight, direction: weight - rate * direction, weights, direction), state


def descend_decaying(
    optimizer: optax.GradientTransformation,
    params: Any,
    state: optax.OptState,
    gradient: Any,
    learning_rate: Array,
    weight_decay: Array,
) -> tuple[Any, optax.OptState]:
    """One step with decoupled decay of what is no vector: kernels and embeddings, not biases and scales of a
    normalisation -> params, optimizer's state."""
    with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and i32 counts
        direction, state = optimizer.update(gradient, state, params)

    def move(weight: Array, direction: Array) -> Array:
        decay = weight_decay * weight if weight.ndim > 1 else 0.0
        return weight - learning_rate * (direction + decay)

    return jax.tree.map(move, params, direction), state
