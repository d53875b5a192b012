"""Classification: what an update changes, what an evaluation counts, what is kept apart."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from research.data.image_files import Split
from research.data.pictures import tiled
from research.engine.chunk import advance, begin
from research.engine.experiment import Tick
from research.models.cnn import NETS
from research.recipes.classify import CLASSIFY, load, pictures
from research.vision.classify import Data, Hyper, Outputs, Setup, augment, make, score

TINY = Setup(net="lenet", batch_size=8)
HYPER = jax.tree.map(jnp.float32, Hyper())


def data(train=64, held_out=23):
    random = np.random.default_rng(0)

    def split(n):
        return Split(random.integers(0, 256, (n, 8, 8, 1), np.uint8), random.integers(0, 10, n, np.int32))

    return Data(split(train), split(held_out), np.full(1, 0.5, np.float32), np.full(1, 0.25, np.float32))


def state(setup=TINY):
    return jax.jit(make(setup).init)(jax.random.key(0), HYPER, data())


def tick(index=0, total=100):
    return Tick(jnp.int32(index), jnp.int32(total), jax.random.key(index))


@pytest.mark.parametrize("rate", [1e-3, 0.1])
def test_adam_moves_by_the_learning_rate_at_first(rate):
    """Adam's first step is the gradient's sign; at tick 49 of 100 with half of them warm-up the schedule is 1."""
    setup = replace(TINY, schedule="constant", shift=0)
    hyper = HYPER._replace(learning_rate=jnp.float32(rate), weight_decay=jnp.float32(0), warmup=jnp.float32(0.5))
    before = state(setup)
    after, _ = jax.jit(make(setup).step)(before, hyper, data(), tick(49))
    moves = jax.tree.map(lambda x, y: jnp.abs(x - y).max(), before.params, after.params)
    assert jax.tree.leaves(moves) == pytest.approx([rate] * 10, rel=1e-2)


@pytest.mark.parametrize(("optimizer", "schedule", "rate"), [("adam", "cosine", 3e-3), ("momentum", "constant", 0.02)])
def test_a_few_images_are_learned_by_heart(optimizer, schedule, rate):
    few = data(train=8)
    hyper = HYPER._replace(learning_rate=jnp.float32(rate))
    experiment = make(replace(TINY, shift=0, optimizer=optimizer, schedule=schedule))
    seed, total = jnp.uint32(0), jnp.int32(100)
    start = jax.jit(begin(experiment))(seed, hyper, few)
    end, metrics = jax.jit(advance(experiment, 100, 10))(start, seed, hyper, few, jnp.int32(0), total, None)
    assert metrics["accuracy"][0] < 0.7 and metrics["accuracy"][-1] == 1
    assert metrics["loss"][-1] < metrics["loss"][0] / 2
    trained = jax.jit(experiment.evaluate)(jax.random.key(0), end, hyper, few._replace(held_out=few.train))
    assert trained.correct.all()


def test_bfloat16_computes_like_float32_and_keeps_float32_parameters():
    ends = []
    for dtype in ("float32", "bfloat16"):
        setup = replace(TINY, compute_dtype=dtype)
        after, metrics = jax.jit(make(setup).step)(state(setup), HYPER, data(), tick())
        assert {x.dtype for x in jax.tree.leaves(after.params)} == {jnp.dtype("float32")}
        ends.append(float(metrics["loss"]))
    assert ends[0] != ends[1] and ends[0] == pytest.approx(ends[1], rel=0.02)


@pytest.mark.parametrize("batch", [7, 23, 500])
def test_evaluation_counts_every_held_out_image_once(batch):
    now, input_ = state(), data()
    outputs = jax.jit(make(replace(TINY, evaluation_batch=batch)).evaluate)(jax.random.key(0), now, HYPER, input_)
    whole = (input_.held_out.images.astype(np.float32) / 255 - 0.5) / 0.25
    logits = jax.jit(NETS["lenet"]().apply)(now.params, whole)
    assert outputs.prediction.tolist() == logits.argmax(1).tolist()
    assert outputs.correct.tolist() == (outputs.prediction == input_.held_out.labels).tolist()
    wanted = optax.softmax_cross_entropy_with_integer_labels(logits, input_.held_out.labels)
    np.testing.assert_allclose(outputs.loss, wanted, rtol=1e-4, atol=1e-5)


def test_score_by_hand():
    correct = np.array([[True, False, True, True], [False, False, False, False]])
    figures = score(Outputs(np.zeros((2, 4), np.int32), correct, np.array([[1.0, 2, 3, 4], [0, 0, 0, 2]], np.float32)))
    assert figures["accuracy"].tolist() == [0.75, 0] and figures["loss"].tolist() == [2.5, 0.5]
    assert figures["accuracy"].dtype == figures["loss"].dtype == np.float64


def test_augmentation_is_what_setup_asks_for():
    """Pixels of 255 with mean 1/2 and deviation 1/4 become 2: what moves in is black and becomes -2, a hole is 0."""
    images = np.full((16, 8, 8, 1), 255, np.uint8)
    images[:, :, :4] = 204  # 0.8 becomes 1.2: mirroring shows
    data = Data(None, None, np.array([0.5], np.float32), np.array([0.25], np.float32))
    plain = replace(TINY, shift=0)
    before = np.asarray(augment(plain, jax.random.key(1), images, data))
    np.testing.assert_allclose(np.unique(before), [1.2, 2.0], rtol=1e-5)
    for change, new in (({"shift": 2}, [-2.0]), ({"flip": True}, []), ({"cutout": 4}, [0.0])):
        changed = np.asarray(augment(replace(plain, **change), jax.random.key(1), images, data))
        assert changed.shape == images.shape and (changed != before).any()
        np.testing.assert_allclose(np.unique(changed), sorted([*new, 1.2, 2.0]), rtol=1e-5)


def test_the_three_parts_share_no_image():
    inputs = load(Setup())
    parts = inputs.data.train, inputs.data.held_out, inputs.final.held_out
    train, validation, test = ({image.tobytes() for image in part.images} for part in parts)
    assert not train & validation and not train & test and not validation & test
    assert sum(len(part.labels) for part in parts) == 1797
    assert inputs.final.train is inputs.data.train


def test_pictures_show_what_is_wrong():
    input_ = data()
    correct = np.ones((2, 23), bool)
    correct[0, 5] = False
    shown = pictures(Outputs(np.zeros((2, 23), np.int32), correct, np.zeros((2, 23))), input_)
    assert {name: (x.shape, x.dtype) for name, x in shown.items()} == dict.fromkeys(
        ("samples", "misclassified"), ((72, 72, 3), np.uint8)
    )
    assert (shown["misclassified"][:8, :8] == input_.held_out.images[5]).all()  # one grey for red, green and blue
    assert (shown["misclassified"][8:] == 255).all() and (shown["misclassified"][:, 8:] == 255).all()


def test_tiles_stand_in_rows_with_a_line_between_them():
    images = np.arange(5 * 4 * 3 * 3, dtype=np.uint8).reshape(5, 4, 3, 3)
    whole = tiled(images, 2, 3)
    assert whole.shape == (2 * 5, 3 * 4, 3)
    assert (whole[5:9, 4:7] == images[4]).all(), "the fifth stands in the second row, the second column"
    assert (whole[4] == 255).all() and (whole[:, 3] == 255).all() and (whole[5:, 8:] == 255).all()
    grey, two = tiled(images[..., :1], 1, 1), tiled(images[..., :2], 1, 1)
    assert (grey[:4, :3] == images[0, ..., :1]).all()
    assert (two[:4, :3, :2] == images[0, ..., :2]).all() and (two[:4, :3, 2] == 0).all()


def test_the_default_budget_is_at_most_ten_epochs_of_mnist():
    trained = round(60_000 * (1 - CLASSIFY.setup.validation))
    assert CLASSIFY.budget.ticks(1) * CLASSIFY.setup.batch_size <= 10 * trained
