"""Training objectives, one value per example.

Dimensions: B examples, N classes.
"""

import jax
import jax.numpy as jnp
from jax import Array


def cross_entropy(logits: Array, labels: Array, smoothing: Array | float = 0.0) -> Array:
    """Cross-entropy to the label, which keeps 1 - smoothing, the rest spread evenly over all classes, in nats.

    Szegedy et al. 2016, section 7. logits f[B,N], labels i32[B], smoothing f[] from 0 to 1 -> f[B]
    """
    log_probabilities = jax.nn.log_softmax(logits)
    target = jnp.take_along_axis(log_probabilities, labels[:, None], axis=1)[:, 0]  # [B]
    return -(1.0 - smoothing) * target - smoothing * log_probabilities.mean(axis=1)
