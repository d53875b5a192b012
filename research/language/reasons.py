"""Which tokens of a sentence moved what a run of `finetune` decides, by integrated gradients (Sundararajan et al. 2017).

Dimensions: T tokens of a sentence, K classes.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from research.language.finetune import Data, Net, Setup, logits
from research.numerics.attribution import integrated_gradients


class Reasons(NamedTuple):
    """Of a sentence's T tokens: probabilities f32[K] of the classes, the log odds of the likeliest one f32[], those of a
    sentence whose tokens' vectors are all 0 f32[], and how much each token has to do with the difference f32[T]"""

    probabilities: Array
    log_odds: Array
    baseline: Array
    moved: Array


def reasons(setup: Setup, data: Data, trained: Net, scale: Array, text: Array, nodes: int = 32) -> Reasons:
    """Which tokens of a sentence i32[T] moved its decision, by integrated gradients from vectors of 0 (positions stay).

    All vectors grow together from 0 to what they are, so each token's share is that of one number, its vector's factor.
    """

    def logits_at(strength: Array) -> Array:
        return logits(setup, data, trained, scale, text[None], strength=strength[None])[0]

    whole, nothing = jnp.ones(text.shape), jnp.zeros(text.shape)
    decided = logits_at(whole).argmax()

    def log_odds(strength: Array) -> Array:
        found = logits_at(strength)
        others = jnp.where(jnp.arange(found.shape[0]) == decided, -jnp.inf, found)
        return found[decided] - jax.nn.logsumexp(others)

    moved = integrated_gradients(log_odds, whole, nothing, nodes)
    return Reasons(jax.nn.softmax(logits_at(whole)), log_odds(whole), log_odds(nothing), moved)
