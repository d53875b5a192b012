"""Networks' initialisation, and distributions by hand-worked numbers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.distributions import CATEGORICAL, DIAGONAL_GAUSSIAN
from research.models.heads import PolicyNetwork, QNetwork, ValueNetwork
from research.models.mlp import MLP

KEY = jax.random.key(0)


def kernels(params) -> list[np.ndarray]:
    return [np.asarray(x) for x in jax.tree.leaves(params) if x.ndim == 2]


def test_weights_are_orthogonal_with_the_customary_gains():
    params = PolicyNetwork((32, 32), 4, continuous=False).init(KEY, jnp.zeros((1, 32)))
    last, first, second = kernels(params)  # alphabetical: Head_0 before MLP_0
    np.testing.assert_allclose(first.T @ first, 2 * np.eye(32), atol=1e-5)
    np.testing.assert_allclose(second.T @ second, 2 * np.eye(32), atol=1e-5)
    np.testing.assert_allclose(last @ last.T, 1e-4 * np.eye(4), atol=1e-8)
    (head, *_) = kernels(ValueNetwork((32, 32)).init(KEY, jnp.zeros((1, 32))))
    np.testing.assert_allclose(head @ head.T, [[1.0]], atol=1e-5)
    assert all(np.all(x == 0) for x in jax.tree.leaves(params) if x.ndim == 1)


def test_uniform_weights_and_biases_fill_the_interval_of_their_layers_inputs():
    """One over the root of the inputs: 3 * 3 * 2 of the convolution, 2 * 2 * 16, then 256."""
    network = QNetwork((256,), 100, grid=(4, 4, 2), initial="uniform")
    params = network.init(KEY, jnp.zeros((1, 32)))["params"]
    for layer, inputs in (("Conv_0", 18), ("MLP_0", 64), ("Head_0", 256)):
        for x in jax.tree.leaves(params[layer]):
            assert np.abs(x).max() <= inputs**-0.5
            assert np.std(x) == pytest.approx((3 * inputs) ** -0.5, rel=0.3 if x.size < 100 else 0.1)


@pytest.mark.parametrize(("activation", "function"), [("tanh", np.tanh), ("relu", lambda x: np.maximum(x, 0))])
def test_value_network_is_its_formula(activation, function):
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    network = ValueNetwork((8,), activation)
    params = network.init(KEY, x)
    last, first = kernels(params)
    np.testing.assert_allclose(network.apply(params, x), (function(x @ first) @ last.T)[:, 0], atol=1e-5)


def test_a_trunk_without_layers_is_the_identity():
    x = jnp.ones((2, 3))
    assert MLP(()).apply(MLP(()).init(KEY, x), x).tolist() == x.tolist()


def test_policy_starts_close_to_uniform_and_networks_share_nothing():
    x = jax.random.normal(KEY, (6, 3))
    policy, value = PolicyNetwork((64, 64), 4, continuous=False), ValueNetwork((64, 64))
    logits = policy.apply(policy.init(KEY, x), x)
    assert logits.shape == (4, 6) and float(jnp.abs(logits).max()) < 0.1
    assert value.apply(value.init(KEY, x), x).shape == (6,)


def test_gaussian_policy_gives_deviations_that_do_not_see_the_observation():
    x = jax.random.normal(KEY, (6, 3))
    policy = PolicyNetwork((8,), 2, continuous=True)
    params = policy.init(KEY, x)
    params["params"]["log_deviation"] = jnp.array([0.5, -0.5])
    parameters = policy.apply(params, x)
    assert parameters.shape == (4, 6)
    np.testing.assert_array_equal(parameters[2:], np.tile([[0.5], [-0.5]], (1, 6)).astype(np.float32))


def test_categorical_by_hand():
    # Logits log 1, log 3: probabilities 1/4, 3/4. Entropy = 1/4 log 4 + 3/4 log 4/3.
    logits = jnp.log(jnp.array([[1.0], [3.0]]))
    np.testing.assert_allclose(CATEGORICAL.log_probability(logits, jnp.array([1])), [math.log(0.75)], rtol=1e-6)
    expected = 0.25 * math.log(4) + 0.75 * math.log(4 / 3)
    np.testing.assert_allclose(CATEGORICAL.entropy(logits), [expected], rtol=1e-6)
    assert CATEGORICAL.mode(logits).tolist() == [1]


def test_gaussian_by_hand():
    # Mean 1, deviation 2, at 3: one deviation off, density exp(-1/2) / (2 sqrt(2 pi)). Entropy log(2 sqrt(2 pi e)).
    parameters = jnp.array([[1.0], [math.log(2.0)]])
    found = DIAGONAL_GAUSSIAN.log_probability(parameters, jnp.array([[3.0]]))
    np.testing.assert_allclose(found, [-0.5 - math.log(2 * math.sqrt(2 * math.pi))], rtol=1e-6)
    expected = math.log(2 * math.sqrt(2 * math.pi * math.e))
    np.testing.assert_allclose(DIAGONAL_GAUSSIAN.entropy(parameters), [expected], rtol=1e-6)
    assert DIAGONAL_GAUSSIAN.mode(parameters).tolist() == [[1.0]]


def test_gaussian_components_multiply():
    # Two independent standard normals at their means: log density 2 * -1/2 log(2 pi).
    found = DIAGONAL_GAUSSIAN.log_probability(jnp.zeros((4, 1)), jnp.zeros((1, 2)))
    np.testing.assert_allclose(found, [-math.log(2 * math.pi)], rtol=1e-6)


def test_categorical_samples_have_their_probabilities():
    logits = jnp.log(jnp.array([0.1, 0.2, 0.7]))
    noise = CATEGORICAL.noise(KEY, (20_000,), 3)
    actions = CATEGORICAL.sample(jnp.broadcast_to(logits[:, None], noise.shape), noise)
    # The standard error is at most sqrt(1/4 / 20,000) = 0.0035; four of them.
    np.testing.assert_allclose(np.bincount(actions, minlength=3) / 20_000, [0.1, 0.2, 0.7], atol=0.014)


def test_gaussian_samples_have_their_moments():
    noise = DIAGONAL_GAUSSIAN.noise(KEY, (20_000,), 1)
    samples = DIAGONAL_GAUSSIAN.sample(jnp.broadcast_to(jnp.array([[3.0], [math.log(2.0)]]), (2, 20_000)), noise)
    # Standard errors 2 / sqrt(20,000) = 0.014 and 2 / sqrt(40,000) = 0.01; four of them.
    np.testing.assert_allclose(samples.mean(), 3.0, atol=0.057)
    np.testing.assert_allclose(samples.std(), 2.0, atol=0.04)
