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
    params: Any,
    state: optax.OptState,
    gradient: Any,
    learning_rate: Array,
    max_gradient_norm: Array | None = None,
    weight_decay: Array | None = None,
) -> tuple[Any, optax.OptState]:
    """One step against a gradient, f32[D] or a tree, whose norm is scaled down to `max_gradient_norm` -> params like it,
    optimizer's state.

    weight_decay  decoupled, of what is no vector: kernels and embeddings, not biases and scales of a normalisation
    """
    if max_gradient_norm is not None:
        gradient, _ = optax.clip_by_global_norm(max_gradient_norm).update(gradient, optax.EmptyState())
    with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and i32 counts
        direction, state = optimizer.update(gradient, state, params)
    rate = jnp.asarray(learning_rate, jnp.float32)

    def move(weight: Array, direction: Array) -> Array:
        if weight_decay is not None and weight.ndim > 1:
            direction = direction + weight_decay * weight
        return weight - rate * direction

    return jax.tree.map(move, params, direction), state
