"""Recurrent layers by their published equations, in NumPy's float64; what all of them have in common."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.rnn import GRU, LSTM, Elman, MinGRU, MinLSTM, nothing, outputs

KEY = jax.random.key(0)
LAYERS = [Elman(4), LSTM(4), GRU(4), MinGRU(4), MinLSTM(4)]
EACH = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)
X = jax.random.normal(jax.random.key(1), (7, 3, 2))
BEGINS = jnp.zeros((7, 3), bool).at[3, 1].set(True)


def initialized(layer):
    params = jax.jit(layer.init)(KEY, nothing(layer, (3,)), X, BEGINS)
    return jax.tree.map(lambda p: p + 0.5 * jax.random.normal(jax.random.key(2), p.shape), params)


def memory(layer):
    return jax.tree.map(lambda x: x + 0.7, nothing(layer, (3,)))


@EACH
def test_what_was_before_a_beginning_is_forgotten(layer):
    params, apply = initialized(layer), jax.jit(layer.apply)
    whole = outputs(apply(params, memory(layer), X, BEGINS))
    other = outputs(apply(params, nothing(layer, (3,)), X.at[:3].add(1.0), BEGINS))
    np.testing.assert_array_equal(whole[3:, 1], other[3:, 1])
    assert (whole[3:, 0] != other[3:, 0]).any(-1).all()
    fresh = outputs(apply(params, nothing(layer, (3,)), X[3:], BEGINS[:4] & False))
    np.testing.assert_allclose(whole[3:, 1], fresh[:, 1], atol=1e-6)


@EACH
def test_one_step_at_a_time_is_the_whole_sequence(layer):
    params, apply = initialized(layer), jax.jit(layer.apply)
    whole, state, steps = apply(params, memory(layer), X, BEGINS), memory(layer), []
    for i in range(7):
        found = apply(params, state, X[i : i + 1], BEGINS[i : i + 1])
        state = jax.tree.map(lambda x: x[-1], found)
        steps.append(found)
    joined = jax.tree.map(lambda *x: jnp.concatenate(x), *steps)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-5), joined, whole)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def positive(x):
    return np.where(x >= 0, x + 0.5, sigmoid(x))


def min_gru(h, z, new):
    return (1 - sigmoid(z)) * h + sigmoid(z) * positive(new)


def min_lstm(h, f, i, new):
    f, i = sigmoid(f), sigmoid(i)
    return f / (f + i) * h + i / (f + i) * positive(new)


@pytest.mark.parametrize(("layer", "step"), [(MinGRU(4), min_gru), (MinLSTM(4), min_lstm)], ids=["MinGRU", "MinLSTM"])
def test_a_parallel_scan_is_the_published_recursion(layer, step):
    x = 3.0 * jax.random.normal(KEY, (17, 3, 2))
    begins = jnp.zeros((17, 3), bool).at[10, 2].set(True)
    params = initialized(layer)
    found = jax.jit(layer.apply)(params, memory(layer), x, begins)
    dense = jax.tree.map(lambda p: np.asarray(p, np.float64), params["params"]["Dense_0"])
    inputs = np.asarray(x, np.float64) @ dense["kernel"] + dense["bias"]
    h = np.full((3, 4), 0.7)
    for t in range(17):
        h = step(np.where(begins[t][:, None], 0.0, h), *np.split(inputs[t], inputs.shape[-1] // 4, -1))
        np.testing.assert_allclose(found[t], h, atol=1e-5, rtol=1e-5)


@EACH
def test_gates_shut_or_open_beyond_reason_leave_gradients_finite(layer):
    params = jax.tree.map(lambda p: jnp.sign(p) * 200.0, initialized(layer))
    objective = lambda params, x: (outputs(layer.apply(params, memory(layer), x, BEGINS)) ** 2).sum()
    value, gradients = jax.jit(jax.value_and_grad(objective, (0, 1)))(params, X)
    assert np.isfinite(value) and all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


def test_an_lstm_remembers_at_first():
    params = LSTM(4).init(KEY, nothing(LSTM(4), (3,)), X, BEGINS)["params"]
    assert params["Dense_0"]["bias"].tolist() == [0] * 4 + [1] * 4 + [0] * 8
