"""Rotation prediction: the turns, the read-out, the update, and a run on the digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data.image_files import Split
from research.engine.chunk import advance, begin
from research.engine.experiment import Tick
from research.models.cnn import NETS
from research.recipes.classify import load
from research.recipes.rotation import pictures
from research.vision.classify import Data
from research.vision.rotation import (
    Hyper,
    Outputs,
    Setup,
    evaluate,
    init,
    make,
    objective,
    read_out,
    score,
    step,
    turned,
)

SETUP = Setup(batch_size=8, evaluation_batch=7)  # 7 divides neither 12 nor 5
HYPER = jax.tree.map(jnp.float32, Hyper())
NET = NETS["conv32-conv64-dense128"](classes=4)
RANDOM = np.random.default_rng(0)


def split(count: int) -> Split:
    return Split(
        jnp.asarray(RANDOM.integers(0, 256, (count, 8, 8, 1), np.uint8)),
        jnp.asarray(RANDOM.integers(0, 10, count, np.int32)),
    )


DATA = Data(split(12), split(5), jnp.full(1, 0.5), jnp.full(1, 0.25))


def test_turns_are_counterclockwise_and_image_by_image():
    images = jnp.array([[[1, 2], [3, 4]], [[5, 5], [6, 6]]], jnp.uint8)[..., None]
    turns, labels = turned(images)
    # The right column 2 4 becomes the top row, then the bottom row read backwards, then the left column upwards.
    expected = [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    expected += [[[5, 5], [6, 6]], [[5, 6], [5, 6]], [[6, 6], [5, 5]], [[6, 5], [6, 5]]]
    np.testing.assert_array_equal(turns[..., 0], expected)
    assert turns.dtype == jnp.uint8
    np.testing.assert_array_equal(labels, [0, 1, 2, 3, 0, 1, 2, 3])


@pytest.mark.parametrize(("ridge", "weight"), [(1e-6, 0.5), (1.0, 0.25), (3.0, 0.125)])
def test_read_out_by_hand(ridge, weight):
    # Features 0 0 2 2 have mean 1 and variance 1; with the target of class 1, 0 0 1 1, their covariance is 1/2. So the
    # weight is 1/2 / (1 + ridge), and at the feature's mean the answer is the target's mean, 1/2.
    weights, bias = read_out(jnp.float32([[0], [0], [2], [2]]), jnp.int32([0, 0, 1, 1]), 2, jnp.float32(ridge))
    np.testing.assert_allclose(weights, [[-weight, weight]], rtol=1e-5)
    np.testing.assert_allclose(bias, [0.5 + weight, 0.5 - weight], rtol=1e-5, atol=2e-6)


def test_read_out_does_not_depend_on_the_features_scale():
    features, labels = jnp.float32(RANDOM.normal(size=(20, 3))), jnp.int32(RANDOM.integers(0, 4, 20))
    weights, bias = read_out(features, labels, 4, jnp.float32(0.1))
    scaled, same = read_out(8 * features, labels, 4, jnp.float32(0.1))
    np.testing.assert_allclose(8 * scaled, weights, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(same, bias, rtol=1e-4, atol=1e-6)


def test_dead_features_leave_the_commonest_class():
    weights, bias = read_out(jnp.zeros((4, 3)), jnp.int32([2, 1, 2, 2]), 3, jnp.float32(1e-3))
    np.testing.assert_array_equal(weights, np.zeros((3, 3)))
    np.testing.assert_allclose(bias, [0, 0.25, 0.75])


def test_gradient_of_the_last_bias_is_probability_less_target():
    params = init(NET, jax.random.key(0), HYPER, DATA).params
    images = jnp.float32(RANDOM.normal(size=(3, 8, 8, 1)))
    gradient, metrics = jax.grad(objective, has_aux=True)(params, NET, images)
    turns = np.stack([np.rot90(image, turn) for image in np.asarray(images) for turn in range(4)])
    logits = np.float64(NET.apply(params, jnp.asarray(turns)))
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    targets = np.tile(np.eye(4), (3, 1))
    np.testing.assert_allclose(
        gradient["params"]["Dense_1"]["bias"], (probabilities - targets).mean(0), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(metrics["turn_loss"], -np.log((probabilities * targets).sum(1)).mean(), rtol=1e-5)
    assert metrics["turn_accuracy"] == (logits.argmax(1) == targets.argmax(1)).mean()


def test_training_sees_no_label():
    state = init(NET, jax.random.key(0), HYPER, DATA)
    unlabelled = DATA._replace(train=DATA.train._replace(labels=jnp.zeros_like(DATA.train.labels)))
    tick = Tick(jnp.int32(3), jnp.int32(10), jax.random.key(1))
    after, metrics = step(SETUP, NET, state, HYPER, DATA, tick)
    jax.tree.map(np.testing.assert_array_equal, (after, metrics), step(SETUP, NET, state, HYPER, unlabelled, tick))
    assert not np.array_equal(after.params["params"]["Conv_0"]["kernel"], state.params["params"]["Conv_0"]["kernel"])


def test_evaluation_reads_the_last_hidden_layer_and_judges_every_turn():
    state = init(NET, jax.random.key(0), HYPER, DATA)
    outputs = evaluate(SETUP, NET, jax.random.key(2), state, HYPER, DATA)

    def layers(images):  # normalised by hand, and the last hidden layer taken from what flax records of each module
        pixels = (np.float32(images) / 255 - 0.5) / 0.25
        logits, recorded = NET.apply(state.params, jnp.asarray(pixels), capture_intermediates=True)
        return logits, np.maximum(recorded["intermediates"]["Dense_0"]["__call__"][0], 0)

    weights, bias = read_out(jnp.asarray(layers(DATA.train.images)[1]), DATA.train.labels, 10, HYPER.ridge)
    prediction = (layers(DATA.held_out.images)[1] @ np.asarray(weights) + np.asarray(bias)).argmax(1)
    np.testing.assert_array_equal(outputs.readout_correct, prediction == DATA.held_out.labels)
    for turn in range(4):
        logits, _ = layers(np.rot90(DATA.held_out.images, turn, axes=(1, 2)))
        np.testing.assert_array_equal(outputs.turn_correct[:, turn], logits.argmax(1) == turn)
        expected = -jax.nn.log_softmax(logits)[:, turn]
        np.testing.assert_allclose(outputs.turn_loss[:, turn], expected, rtol=1e-4, atol=1e-5)


def test_score_and_pictures_by_hand():
    told = np.ones((2, 5, 4), bool)
    told[0, 1, 2] = told[0, 4] = False  # 5 of row 0's 20 turns
    outputs = Outputs(told, np.full((2, 5, 4), 0.5, np.float32), np.arange(10).reshape(2, 5) < 7)
    scores = score(outputs)
    np.testing.assert_array_equal(scores["turn_accuracy"], [0.75, 1.0])
    np.testing.assert_array_equal(scores["turn_loss"], [0.5, 0.5])
    np.testing.assert_array_equal(scores["readout_accuracy"], [1.0, 0.4])
    assert all(values.dtype == np.float64 for values in scores.values())
    mistaken = pictures(outputs, DATA)["mistaken"]
    second = np.rot90(np.asarray(DATA.held_out.images[1]), 2)[..., 0]  # the first mistake: image 1 upside down
    assert any(
        np.array_equal(mistaken[row : row + 8, column : column + 8, 0], second)
        for row in range(3)
        for column in range(3)
    )


def test_learns_the_turns_and_keeps_the_digits_readable():
    experiment, data = make(Setup()), load(Setup()).data
    state = jax.jit(begin(experiment))(jnp.uint32(0), HYPER, data)
    program = jax.jit(advance(experiment, 300, 300))
    state, _ = program(state, jnp.uint32(0), HYPER, data, jnp.int32(0), jnp.int32(300), None)
    outputs = jax.jit(experiment.evaluate)(jax.random.key(0), state, HYPER, data)
    figures = experiment.score(jax.tree.map(lambda leaf: np.asarray(leaf)[None], outputs))
    assert figures["turn_accuracy"][0] > 0.8  # by chance 0.25
    assert figures["readout_accuracy"][0] > 0.88  # which an untrained net has too: training does not spoil it
