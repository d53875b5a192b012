"""What a discriminator and a generator descend, as functions of the discriminator's logits.

Logits r of real and f of generated samples, above 0 for what seems real. With D = sigmoid of a logit, log D = -softplus(-r)
and log(1 - D) = -softplus(f).

Dimensions: B samples (packs of them, where a discriminator reads several at once), `...` a sample.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

Name = Literal["non-saturating", "saturating", "least-squares", "hinge", "wasserstein"]


class Objective(NamedTuple):
    """discriminator (real f32[B], fake f32[B]) -> f32[];  generator fake f32[B] -> f32[]"""

    discriminator: Callable[[Array, Array], Array]
    generator: Callable[[Array], Array]


def logistic(real: Array, fake: Array) -> Array:
    """-E log D(x) - E log(1 - D(G(z))) (Goodfellow et al. 2014, eq. 1)"""
    return jax.nn.softplus(-real).mean() + jax.nn.softplus(fake).mean()


# non-saturating  the generator ascends log D(G(z)) (Goodfellow et al. 2014, section 3)
# saturating      the same game as min max is written: it descends log(1 - D(G(z))), flat where D is sure
# least-squares   Mao et al. 2017, eq. 2 with a = 0, b = c = 1
# hinge           Lim and Ye 2017; Miyato et al. 2018, eq. 16 and 17
# wasserstein     Arjovsky et al. 2017, eq. 2, which means something for a discriminator whose slope is held to about 1
OBJECTIVES: dict[str, Objective] = {
    "non-saturating": Objective(logistic, lambda fake: jax.nn.softplus(-fake).mean()),
    "saturating": Objective(logistic, lambda fake: -jax.nn.softplus(fake).mean()),
    "least-squares": Objective(
        lambda real, fake: 0.5 * ((real - 1.0) ** 2).mean() + 0.5 * (fake**2).mean(),
        lambda fake: 0.5 * ((fake - 1.0) ** 2).mean(),
    ),
    "hinge": Objective(
        lambda real, fake: jax.nn.relu(1.0 - real).mean() + jax.nn.relu(1.0 + fake).mean(), lambda fake: -fake.mean()
    ),
    "wasserstein": Objective(lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean()),
}


def slopes(logit: Callable[[Array], Array], samples: Array) -> Array:
    """The norm of each sample's gradient, squared: samples f32[B,...] -> f32[B]. No sample's logit may depend on another's."""
    gradient = jax.grad(lambda x: logit(x).sum())(samples)
    return (gradient**2).reshape(samples.shape[0], -1).sum(1)


def r1(logit: Callable[[Array], Array], real: Array) -> Array:
    """E |grad D(x)|^2 / 2 over real samples (Mescheder et al. 2018, eq. 9), f32[]"""
    return 0.5 * slopes(logit, real).mean()


def interpolated(logit: Callable[[Array], Array], real: Array, fake: Array, between: Array) -> Array:
    """E (|grad D(x)| - 1)^2 at `between` f32[B] of the way from a real sample to a generated one (Gulrajani et al. 2017,
    eq. 3), f32[]"""
    between = between.reshape(-1, *[1] * (real.ndim - 1))
    # The root has no slope at 0, where a discriminator that is flat has its gradient.
    norms = jnp.sqrt(slopes(logit, real + between * (fake - real)) + 1e-12)
    return ((norms - 1.0) ** 2).mean()
