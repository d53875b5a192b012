"""Linear regression y = 3 x + 1 by gradient descent: the README's experiment of one's own."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from research import Budget, Experiment, Inputs, Recipe
from research.engine.fields import Count, Positive


@dataclass(frozen=True)
class Setup:
    batch_size: Count = 32
    """Points in an update."""


class Hyper(NamedTuple):
    """Traced: a change never compiles."""

    learning_rate: Positive = 0.1
    """Step size of gradient descent."""


class State(NamedTuple):
    slope: Array
    intercept: Array


def make(setup: Setup) -> Experiment:
    def init(key, hyper, data):
        return State(jax.random.normal(key), jnp.zeros(()))

    def loss(state, x, y):
        return jnp.mean((state.slope * x + state.intercept - y) ** 2)

    def step(state, hyper, data, tick):
        chosen = jax.random.randint(tick.key, (setup.batch_size,), 0, len(data["x"]))
        value, gradient = jax.value_and_grad(loss)(state, data["x"][chosen], data["y"][chosen])
        return jax.tree.map(lambda p, g: p - hyper.learning_rate * g, state, gradient), {"loss": value}

    def evaluate(key, state, hyper, data):
        return loss(state, data["x"], data["y"])

    return Experiment(init, step, evaluate, score=lambda outputs: {"error": outputs})


def load(setup: Setup) -> Inputs:
    x = np.linspace(-1, 1, 256, dtype=np.float32)
    noise = np.random.default_rng(0).normal(0, 0.1, 256).astype(np.float32)
    return Inputs({"x": x, "y": 3 * x + 1 + noise})


recipe = Recipe(
    "linear", make, Setup(), Hyper(), load, Budget(2000, chunk=100, evaluate_every=500), watch=("error", "loss")
)
