"""Which inputs moved a decision.

Dimensions: I inputs, K nodes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax


def integrated_gradients(f: Callable[[Array], Array], x: Array, baseline: Array, nodes: int) -> Array:
    """How much each input has to do with f(x) - f(baseline), of which all of them are the sum (Sundararajan et al. 2017,
    eq. 1): the gradients on the straight line between the two, integrated by K Gauss-Legendre nodes.

    f  f32[I] -> f32[]
    x f32[I], baseline f32[I], nodes at least 1 -> f32[I]
    Exact where f is a polynomial of a degree of at most 2 K on that line; else the sum tells how good K nodes are.
    """
    places, weights = np.polynomial.legendre.leggauss(nodes)  # on -1 to 1
    places, weights = ((places + 1) / 2).astype(np.float32), (weights / 2).astype(np.float32)

    def weighted(total: Array, node: tuple[Array, Array]) -> tuple[Array, None]:
        place, weight = node
        return total + weight * jax.grad(f)(baseline + place * (x - baseline)), None

    mean, _ = lax.scan(weighted, jnp.zeros_like(x), (jnp.asarray(places), jnp.asarray(weights)))
    return mean * (x - baseline)
