"""Small experiments that stand for families to come. The contract suite runs them as it runs every recipe.

replay    a buffer in state and an update every k-th tick (Q-learning)
turns     two parameter sets and two optimizers that update in turn (GAN)
decode    evaluation decodes sequences on the device and is scored on the host (translation)
stream    the input comes through tick.feed (a corpus larger than memory)
cohort    a row is a whole population, with an axis of its own inside the row (federated learning)
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array, lax

from research import Budget, Experiment, Inputs, Ratio, Recipe, Tick
from research.engine.fields import Count, Positive
from research.engine.placement import spread

BUDGET = Budget(steps=20, chunk=10, record_every=5, evaluate_every=10)


@dataclass(frozen=True)
class Setup:
    size: Count = 8


class Hyper(NamedTuple):
    learning_rate: Positive = 0.05


def sgd(params: Any, gradient: Any, learning_rate: Array) -> Any:
    return jax.tree.map(lambda p, g: p - learning_rate * g, params, gradient)


class Replay(NamedTuple):
    """value f32[], buffer f32[N]"""

    value: Array
    buffer: Array


def replay(setup: Setup) -> Experiment:
    """Keeps the last N noisy readings and moves towards their mean on every fifth tick."""

    def init(key: Array, hyper: Hyper, data: Any) -> Replay:
        return Replay(jax.random.normal(key), jnp.zeros(setup.size))

    def step(state: Replay, hyper: Hyper, data: Array, tick: Tick) -> Any:
        reading = data.mean() + jax.random.normal(tick.key)
        buffer = state.buffer.at[tick.index % setup.size].set(reading)
        updates = tick.index % 5 == 4
        counted = updates.astype(jnp.float32)
        value = lax.cond(updates, lambda v: v + hyper.learning_rate * (buffer.mean() - v), lambda v: v, state.value)
        error = jnp.square(value - data.mean())
        return Replay(value, buffer), {"error": Ratio(error * counted, counted)}

    def evaluate(key: Array, state: Replay, hyper: Hyper, data: Any) -> Array:
        return state.value + 0.0 * jax.random.normal(key)

    return Experiment(init, step, evaluate, lambda outputs: {"value": outputs})


class Turns(NamedTuple):
    """Two players' parameters f32[N] and their optimizers' states."""

    left: Array
    right: Array
    left_optimizer: Any
    right_optimizer: Any


def turns(setup: Setup) -> Experiment:
    """left minimises, right maximises left . right - |right|^2 / 2 + |left|^2 / 2: each with Adam, one after the other."""
    adam = optax.scale_by_adam()

    def update(gradient: Array, optimizer: Any) -> tuple[Array, Any]:
        with jax.numpy_dtype_promotion("standard"):  # optax mixes Python floats and i32 counts
            return adam.update(gradient, optimizer)

    def game(left: Array, right: Array) -> Array:
        return left @ right - right @ right / 2 + left @ left / 2

    def init(key: Array, hyper: Hyper, data: Any) -> Turns:
        left_key, right_key = jax.random.split(key)
        left, right = jax.random.normal(left_key, (setup.size,)), jax.random.normal(right_key, (setup.size,))
        return Turns(left, right, adam.init(left), adam.init(right))

    def step(state: Turns, hyper: Hyper, data: Any, tick: Tick) -> Any:
        value, gradient = jax.value_and_grad(game, 1)(state.left, state.right)
        ascent, right_optimizer = update(gradient, state.right_optimizer)
        right = state.right + hyper.learning_rate * ascent
        gradient = jax.grad(game, 0)(state.left, right)
        descent, left_optimizer = update(gradient, state.left_optimizer)
        left = state.left - hyper.learning_rate * descent
        return Turns(left, right, left_optimizer, right_optimizer), {"value": value}

    def evaluate(key: Array, state: Turns, hyper: Hyper, data: Any) -> Array:
        return jnp.abs(state.left).max()

    return Experiment(init, step, evaluate, lambda outputs: {"distance": outputs})


class Decoder(NamedTuple):
    """logits f32[V,V]: next symbol given this one"""

    logits: Array


def decode(setup: Setup) -> Experiment:
    """Learns that symbol i is followed by i + 1; the evaluation decodes greedily, the score counts on the host."""

    def init(key: Array, hyper: Hyper, data: Any) -> Decoder:
        return Decoder(0.1 * jax.random.normal(key, (setup.size, setup.size)))

    def step(state: Decoder, hyper: Hyper, data: Any, tick: Tick) -> Any:
        def loss(logits: Array) -> Array:
            return optax.softmax_cross_entropy_with_integer_labels(
                logits, (jnp.arange(setup.size) + 1) % setup.size
            ).mean()

        value, gradient = jax.value_and_grad(loss)(state.logits)
        return Decoder(state.logits - 100 * hyper.learning_rate * gradient), {"loss": value}

    def evaluate(key: Array, state: Decoder, hyper: Hyper, data: Any) -> Array:
        def following(symbol: Array, _: None) -> tuple[Array, Array]:
            symbol = state.logits[symbol].argmax().astype(jnp.int32)
            return symbol, symbol

        first = jnp.arange(setup.size, dtype=jnp.int32)
        return jax.vmap(lambda s: lax.scan(following, s, None, length=4)[1])(first)  # [V, 4]

    def score(outputs: np.ndarray) -> dict[str, np.ndarray]:
        truth = (np.arange(outputs.shape[1])[:, None] + np.arange(1, 5)) % outputs.shape[1]
        return {"exact": (outputs == truth).all(2).mean(1)}

    return Experiment(init, step, evaluate, score)


class Mean(NamedTuple):
    """mean f32[D]"""

    mean: Array


def stream(setup: Setup) -> Experiment:
    """Follows the mean of what is streamed in; a single run spreads the streamed batch over devices."""

    def init(key: Array, hyper: Hyper, data: Any) -> Mean:
        return Mean(jax.random.normal(key, (3,)))

    def step(state: Mean, hyper: Hyper, data: Any, tick: Tick) -> Any:
        batch = spread(tick.feed)
        value, gradient = jax.value_and_grad(lambda m: jnp.square(batch - m[None]).mean())(state.mean)
        return Mean(sgd(state.mean, gradient, hyper.learning_rate)), {"loss": value}

    def evaluate(key: Array, state: Mean, hyper: Hyper, data: Any) -> Array:
        return state.mean

    return Experiment(init, step, evaluate, lambda outputs: {"mean": outputs.mean(1)})


def streamed(first: int, count: int) -> np.ndarray:
    """A function of the tick alone: batches f32[count, 8, 3]."""
    return np.stack([np.random.default_rng(tick).normal(2, 1, (8, 3)) for tick in range(first, first + count)]).astype(
        np.float32
    )


class Population(NamedTuple):
    """server f32[D], clients f32[C,D]"""

    server: Array
    clients: Array


def cohort(setup: Setup) -> Experiment:
    """One round a tick: every client of the row steps towards its own data, the server takes their mean."""

    def init(key: Array, hyper: Hyper, data: Any) -> Population:
        server = jax.random.normal(key, (3,))
        return Population(server, jnp.tile(server, (setup.size, 1)))

    def step(state: Population, hyper: Hyper, data: Any, tick: Tick) -> Any:
        keys = jax.random.split(tick.key, setup.size)

        def client(key: Array, centre: Array) -> tuple[Array, Array]:
            target = centre + 0.1 * jax.random.normal(key, centre.shape)
            value, gradient = jax.value_and_grad(lambda p: jnp.square(p - target).sum())(state.server)
            return sgd(state.server, gradient, hyper.learning_rate), value

        clients, losses = jax.vmap(client)(keys, data)
        return Population(clients.mean(0), clients), {"loss": losses.mean()}

    def evaluate(key: Array, state: Population, hyper: Hyper, data: Any) -> Array:
        return jnp.square(state.server - data.mean(0)).sum()

    return Experiment(init, step, evaluate, lambda outputs: {"error": outputs})


def nothing(setup: Setup) -> Inputs:
    return Inputs(np.ones(4, np.float32), final=np.full(4, 2, np.float32))


def centres(setup: Setup) -> Inputs:
    return Inputs(np.random.default_rng(0).normal(size=(setup.size, 3)).astype(np.float32))


def a_stream(setup: Setup) -> Inputs:
    return Inputs(None, feed=streamed)


PROBES = {
    name: Recipe(f"probe-{name}", make, Setup(), Hyper(), load, BUDGET, best=best)
    for name, make, load, best in [
        ("replay", replay, nothing, "validation_value"),
        ("turns", turns, nothing, "-validation_distance"),
        ("decode", decode, nothing, "validation_exact"),
        ("stream", stream, a_stream, None),
        ("cohort", cohort, centres, "-error"),
    ]
}
