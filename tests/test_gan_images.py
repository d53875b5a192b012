"""GANs on images: convolutions that halve and double, what the judge finds, classes, stacks, and what a user draws."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from PIL import Image
from recipes import compiled, plan_of, tiny
from shell import script

from research.data import augment
from research.data.images import load_images
from research.engine.experiment import Tick
from research.engine.plan import Plan, Row
from research.gan import adversarial, images, sampling, stacks
from research.gan import judge as judging
from research.gan.objectives import OBJECTIVES, r1
from research.models.cnn import NETS
from research.models.gan import ConvDiscriminator, ConvGenerator, Scales, doubled, halved
from research.numerics.blocks import map_blocks
from research.recipes import judges
from research.recipes.gan import load_pictures
from research.recipes.judges import judge_for
from scripts import sample

SMALL = tiny("gan-mnist").setup


def started(setup: images.Setup):
    """-> experiment, compiled, state at first, hyper, data as JAX has them, the first tick"""
    experiment, data = images.make(setup), jax.tree.map(jnp.asarray, load_pictures(setup).data)
    hyper = jax.tree.map(jnp.float32, adversarial.Hyper())
    experiment = compiled(experiment)
    state = experiment.init(jax.random.key(0), hyper, data)
    return experiment, state, hyper, data, Tick(jnp.int32(0), jnp.int32(10), jax.random.key(1))


def product(kernel):
    """A convolution over windows of two by two, as `blockwise` makes it, with weights [2,2,C,O]"""
    return lambda x: lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def test_halving_is_a_convolution_of_stride_two():
    x, kernel = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 6, 8, 2), (4, 4, 2, 5)]))
    plain = lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    # Row 2 i + a, column 2 j + b of the kernel stand in window (i, j) at place (a, b) of the block.
    blocks = kernel.reshape(2, 2, 2, 2, 2, 5).transpose(0, 2, 1, 3, 4, 5).reshape(2, 2, 8, 5)
    np.testing.assert_allclose(halved(product(blocks), x), plain, rtol=1e-5, atol=1e-5)


def test_doubling_is_a_transposed_convolution_of_stride_two():
    x, kernel = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(3, 4, 5, 2), (4, 4, 2, 5)]))
    # Written out: pixel (h, w) adds kernel[k, l] to pixel (2 h + k - 1, 2 w + l - 1), what falls outside is lost.
    whole = np.zeros((3, 2 * 4 + 2, 2 * 5 + 2, 5))
    for h in range(4):
        for w in range(5):
            whole[:, 2 * h : 2 * h + 4, 2 * w : 2 * w + 4] += np.einsum("bc,klco->bklo", x[:, h, w], kernel)
    # An even row sees the row above by kernel row 3 and its own by row 1, an odd one its own by 2 and the next by 0.
    seen = np.array([[3, 1], [2, 0]])
    windows = np.stack(
        [np.stack([kernel[seen[a]][:, seen[b]] for b in (0, 1)], -2) for a in (0, 1)], -3
    )  # [2, 2, C, a, b, O]
    found = doubled(product(jnp.asarray(windows.reshape(2, 2, 2, 20))), x)
    np.testing.assert_allclose(found, whole[:, 1:-1, 1:-1], rtol=1e-5, atol=1e-5)


def test_a_generator_of_28_pixels_has_the_published_shapes():
    net = ConvGenerator((128, 64), (28, 28, 1))
    variables = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((2, 100)), jnp.zeros((2, 0)))
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    }
    # 100 numbers to 7 x 7 x 128, then 4 x 4 kernels (as 2 x 2 of four pixels each) to 14 x 14 x 64 and 28 x 28 x 1.
    norms = {f"BatchNorm_{i}/{name}": (width,) for i, width in enumerate((128, 64)) for name in ("scale", "bias")}
    kernels = {"Dense_0/kernel": (100, 6272), "Conv_0/kernel": (2, 2, 128, 256), "Conv_1/kernel": (2, 2, 64, 4)}
    assert shapes == norms | kernels | {"bias_1": (1,)}
    drawn = jax.eval_shape(lambda v: net.apply(v, jnp.zeros((2, 100)), jnp.zeros((2, 0)), train=False), variables)
    assert drawn.shape == (2, 28, 28, 1)


def test_a_class_moves_a_logit_by_its_vector_times_the_features():
    net = ConvDiscriminator((3,), deviation=1.0)
    x, told = jax.random.normal(jax.random.key(0), (2, 4, 4, 1)), jnp.eye(3)[jnp.array([0, 2])]
    params = net.init(jax.random.key(1), x, told)["params"]
    plain = {name: layer for name, layer in params.items() if name != "Dense_1"}
    (vectors,) = [layer["kernel"] for name, layer in params.items() if name not in plain]
    features = jax.nn.leaky_relu(halved(product(params["Conv_0"]["kernel"]), x), 0.2).reshape(2, -1)
    added = (features * vectors[jnp.array([0, 2])]).sum(1)
    logits = [net.apply({"params": p}, x, c) for p, c in ((params, told), (plain, jnp.zeros((2, 0))))]
    np.testing.assert_allclose(logits[0], logits[1] + added, rtol=1e-4, atol=1e-4)


def test_only_a_hidden_layer_joins_what_far_patches_show():
    """Without it a logit is a sum over patches: of two corners' changes, each counts whatever the other is."""
    blank = jnp.zeros((1, 16, 16, 1))
    one, other = blank.at[:, :2, :2].set(1.0), blank.at[:, -2:, -2:].set(-1.0)
    images, none = jnp.concatenate([blank, one, other, one + other]), jnp.zeros((4, 0))
    for hidden, joined in ((0, False), (6, True)):
        net = ConvDiscriminator((3, 4), hidden=hidden, deviation=1.0)
        nothing, first, second, both = net.apply(net.init(jax.random.key(0), images, none), images, none)
        assert abs(first - nothing) > 0.01 and abs(second - nothing) > 0.01
        assert (abs(both - first - second + nothing) > 0.01) == joined
    shapes = jax.eval_shape(
        ConvGenerator((4,), (8, 8, 1), hidden=6).init, jax.random.key(0), jnp.zeros((2, 3)), none[:2]
    )
    found = {name: layer["kernel"].shape for name, layer in shapes["params"].items() if name[:5] == "Dense"}
    assert found == {"Dense_0": (3, 6), "Dense_1": (6, 4 * 4 * 4)}


def test_a_convolutional_discriminator_normalises_all_layers_but_the_first():
    net, x = ConvDiscriminator((3, 4, 5), batch_norm=True), jnp.zeros((2, 8, 8, 1))
    params = jax.eval_shape(net.init, jax.random.key(0), x, jnp.zeros((2, 0)))["params"]
    assert {name: layer["scale"].shape for name, layer in params.items() if name[:5] == "Batch"} == {
        "BatchNorm_0": (4,),
        "BatchNorm_1": (5,),
    }


def test_a_penalty_on_slopes_goes_through_our_convolutions():
    """R1's gradient, a derivative of a derivative, beside that of a plain convolution of stride two."""
    net, none = ConvDiscriminator((3,), deviation=0.5), jnp.zeros((4, 0))
    x = jax.random.normal(jax.random.key(0), (4, 6, 6, 2))
    params = net.init(jax.random.key(1), x, none)["params"]

    def plain(params, x):
        kernel = params["Conv_0"]["kernel"].reshape(2, 2, 2, 2, 2, 3).transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, 2, 3)
        y = lax.conv_general_dilated(x, kernel, (2, 2), [(1, 1)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        y = jax.nn.leaky_relu(y + params["Conv_0"]["bias"].reshape(1, 1, 1, 3), 0.2).reshape(4, -1)
        return (y @ params["Dense_0"]["kernel"])[:, 0] + params["Dense_0"]["bias"]

    found = jax.grad(lambda p: r1(lambda x: net.apply({"params": p}, x, none), x))(params)
    expected = jax.grad(lambda p: r1(lambda x: plain(p, x), x))(params)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert np.abs(found["Conv_0"]["kernel"]).max() > 0.01


def test_each_scale_reads_the_image_at_its_size():
    net = Scales(lambda: ConvDiscriminator((3,), deviation=1.0), 2)
    x, none = jax.random.normal(jax.random.key(0), (2, 4, 4, 1)), jnp.zeros((2, 0))
    params = net.init(jax.random.key(1), x, none)["params"]
    half = x.reshape(2, 2, 2, 2, 2, 1).mean((2, 4))
    each = [
        ConvDiscriminator((3,), deviation=1.0).apply({"params": params[f"ConvDiscriminator_{i}"]}, y, none)
        for i, y in enumerate((x, half))
    ]
    np.testing.assert_allclose(net.apply({"params": params}, x, none), jnp.stack(each, 1), rtol=1e-5)


def test_as_many_scales_as_can_be_halved_make_a_step():
    setup = replace(SMALL, scales=4)
    experiment, state, hyper, data, tick = started(setup)
    assert jax.eval_shape(experiment.step, state, hyper, data, tick)[1].keys() == {
        "generator_loss",
        "discriminator_loss",
    }


def test_blocks_leave_nothing_out_and_add_nothing():
    x = jnp.arange(7.0)[:, None] * jnp.ones((7, 2))
    for size in (1, 3, 7, 50):
        found = map_blocks(lambda x: {"double": 2 * x, "sum": x.sum(1)}, x, size)
        assert found["double"].tolist() == (2 * x).tolist() and found["sum"].tolist() == (2 * jnp.arange(7)).tolist()


def test_a_frechet_distance_by_hand():
    random = np.random.default_rng(0)
    x = random.normal(size=(500, 3)) @ random.normal(size=(3, 3))
    assert judging.frechet(x, x) == pytest.approx(0, abs=1e-8)
    assert judging.frechet(x, x + [1.0, 2.0, 2.0]) == pytest.approx(9)
    # Three times as wide: |2 mean|^2 + tr(A + 9 A - 2 * 3 A) = |2 mean|^2 + 4 tr(A)
    expected = 4 * (x.mean(0) ** 2).sum() + 4 * np.trace(np.cov(x, rowvar=False))
    assert judging.frechet(x, 3 * x) == pytest.approx(expected)
    # Covariances that do not commute: independent axes, turned by 45 degrees.
    a, turn = np.diag([1.0, 3.0]), np.array([[1.0, -1.0], [1.0, 1.0]]) / 2**0.5
    y = random.normal(size=(400, 2)) @ a
    covariances = [np.cov(z, rowvar=False) for z in (y, y @ turn)]
    roots = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).real).sum()
    mean = ((y.mean(0) - (y @ turn).mean(0)) ** 2).sum()
    assert judging.frechet(y, y @ turn) == pytest.approx(mean + 2 * np.trace(covariances[0]) - 2 * roots)


def test_classes_are_counted_by_hand():
    # Shares 3/4 and 1/4 of classes 0 and 3 where 1/4 each is expected: 3/4 log 3 + 1/4 log 1.
    found = judging.classes(np.array([0, 0, 0, 3]), np.full(4, 0.25))
    assert found == {
        "modes": 2,
        "collapsed": 0,
        "mode_kl": pytest.approx(0.75 * np.log(3)),
        "smallest_share": 0,
        "largest_share": 0.75,
    }
    assert judging.classes(np.zeros(3, int), np.full(4, 0.25))["collapsed"] == 1


def by_loops(fake, real, k):
    """Precision, recall, density and coverage as they are defined, pair by pair."""

    def far(x, y):
        return float(np.linalg.norm(x - y))

    def reach(points, i):
        return sorted(far(points[i], points[j]) for j in range(len(points)) if j != i)[k - 1]

    of_real, of_fake = ([reach(x, i) for i in range(len(x))] for x in (real, fake))
    inside = [[far(f, r) <= of_real[j] for j, r in enumerate(real)] for f in fake]
    covers = [[far(f, r) <= of_fake[i] for i, f in enumerate(fake)] for r in real]
    return {
        "precision": np.mean([any(row) for row in inside]),
        "recall": np.mean([any(row) for row in covers]),
        "density": np.sum(inside) / (k * len(fake)),
        "coverage": np.mean([any(row[j] for row in inside) for j in range(len(real))]),
    }


def test_neighbours_equal_their_definitions():
    random = np.random.default_rng(0)
    real, fake = random.normal(size=(30, 3)), random.normal(size=(30, 3)) + 1
    found = judging.neighbours(fake.astype(np.float32), real.astype(np.float32))
    expected = by_loops(fake, real, judging.NEIGHBOURS)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert 0 < found["precision"] < 1 and 0 < found["coverage"] < 1


def test_a_two_sample_test_tells_what_differs_and_seldom_what_does_not():
    random = np.random.default_rng(0)
    equal = [judging.neighbours(*random.normal(size=(2, 40, 2)), seed=i) for i in range(60)]
    assert np.mean([x["told_apart"] for x in equal]) == pytest.approx(0.5, abs=0.03)
    # Of 60 tests 3 are expected below 0.05, and 9 or more once in 500 times.
    assert sum(x["told_apart_p"] < 0.05 for x in equal) < 9
    far = judging.neighbours(random.normal(size=(40, 2)), random.normal(size=(40, 2)) + 5)
    assert far["told_apart"] == 1 and far["told_apart_p"] == 0.001


def test_copies_and_what_is_memorised_are_found():
    random = np.random.default_rng(0)
    real = random.normal(size=(200, 4))
    once, twice = random.normal(size=(200, 4)), np.repeat(random.normal(size=(100, 4)), 2, 0)
    assert judging.neighbours(once, real)["copies"] < 0.05 and judging.neighbours(twice, real)["copies"] == 1
    # Held-out images of class 0 are 1 to 100 away, of class 3 ten times as far: the limits are 1.99 and 19.9.
    far, of = np.concatenate([np.arange(1.0, 101.0), 10 * np.arange(1.0, 101.0)]), np.repeat([0, 3], 100)
    samples, classes = np.array([1.9, 2.1, 19.0, 21.0, 0.0]), np.array([0, 0, 3, 3, 5])
    assert judging.memorised(samples, far, classes, of) == 2 / 5


def test_the_nearest_image_is_found_in_whatever_batches():
    random = np.random.default_rng(0)
    x, y = (random.integers(0, 256, (n, 3, 2, 1)).astype(np.uint8) for n in (5, 23))
    flat = [z.reshape(len(z), -1) / 255 for z in (x, y)]
    expected = np.linalg.norm(flat[0][:, None] - flat[1][None], axis=2).min(1)
    for batch in (4, 23, 100):
        np.testing.assert_allclose(judging.nearest(x, y, batch), expected, rtol=1e-5)
    assert judging.nearest(y[3:4], y, 7) == pytest.approx(0, abs=1e-3)


def test_a_judge_reads_the_features_that_its_classes_are_of():
    setup = replace(SMALL, conditional=False)
    judge, split = judge_for(setup), load_images("digits", 0.0).test
    net = NETS["lenet"](classes=10)
    features, predicted = judging.read(net, judge, split.images, batch=100)
    last = judge.params["params"]["Dense_2"]
    assert (
        features.shape == (360, 84) and ((features @ last["kernel"] + last["bias"][None]).argmax(1) == predicted).all()
    )
    assert (predicted == split.labels).mean() > 0.98, "what judges digits knows digits"


def test_a_judge_is_named_by_its_weights():
    judge = judge_for(SMALL)
    other = jax.tree.map(np.copy, judge.params)
    other["params"]["Dense_2"]["bias"][3] += 1e-3
    assert judging.judge_of(judge.params, judge.mean, judge.std).hash == judge.hash
    assert judging.judge_of(other, judge.mean, judge.std).hash != judge.hash
    assert judging.judge_of(judge.params, judge.mean + 1, judge.std).hash != judge.hash


def test_stacks_lie_upon_each_other_and_come_apart_again():
    pixels = np.arange(2 * 3 * 4 * 5 * 1).reshape(2, 3, 4, 5, 1)
    whole = stacks.laid(jnp.asarray(pixels))
    assert whole.shape == (2, 4, 5, 3) and (whole[1, ..., 2] == pixels[1, 2, ..., 0]).all()
    assert (stacks.apart(whole, 3) == pixels.reshape(6, 4, 5, 1)).all()
    assert stacks.combined(jnp.array([[1, 2, 3], [0, 0, 9]]), 10).tolist() == [123, 9]
    expected = np.asarray(stacks.shares(jnp.array([0, 0, 0, 1]), 10, 2))
    # 3/4 are 0 and 1/4 are 1: of pairs 9/16, 3/16, 3/16 and 1/16.
    assert expected[[0, 1, 10, 11]].tolist() == [9 / 16, 3 / 16, 3 / 16, 1 / 16] and expected.sum() == 1


def test_real_stacks_are_the_training_images_that_they_name():
    setup = tiny("stacked-mnist").setup
    data = jax.tree.map(jnp.asarray, load_pictures(setup).data)
    batch = images.real(setup, jax.random.key(0), data, 6)
    chosen = data.stacks[jax.random.randint(jax.random.key(0), (6,), 0, 50)]
    assert batch.samples.shape == (6, 8, 8, 2) and batch.classes.shape == (6, 0)
    expected = data.train.images[chosen[4, 1], ..., 0].astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(batch.samples[4, ..., 1], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["gan-mnist", "dcgan-mnist"])
def test_a_class_that_is_asked_for_reaches_both_nets(name):
    setup = tiny(name).setup
    _, state, _, data, _ = started(setup)
    game = images.game_of(setup)
    real = images.real(setup, jax.random.key(0), data, 5)
    latent = jnp.ones((2, setup.latent))

    @jax.jit
    def drawn(params):
        variables = sampling.filled(game, params, jax.random.key(2), data)
        return sampling.sample(game, variables, latent, jnp.eye(10)[:2])

    same, other = drawn(state.generator.params)
    assert (same != other).any()
    judged = jax.jit(partial(adversarial.logits, game))
    logits = [
        judged(state.discriminator, batch, jax.random.key(1))
        for batch in (real, real._replace(classes=jnp.roll(real.classes, 1, 1)))
    ]
    assert (logits[0] != logits[1]).all()
    labels = data.train.labels[jax.random.randint(jax.random.key(0), (5,), 0, data.stacks.shape[0])]
    assert real.classes.argmax(1).tolist() == labels.tolist()


@pytest.mark.parametrize("name", ["gan-mnist", "stacked-mnist", "dcgan-mnist", "dcgan-cifar10"])
def test_a_run_of_images_is_judged(name):
    setup = tiny(name).setup
    experiment, state, hyper, data, tick = started(setup)
    after, metrics = experiment.step(state, hyper, data, tick)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert all(np.isfinite(x) for x in jax.tree.leaves(metrics))
    outputs = jax.tree.map(lambda x: np.asarray(x)[None], experiment.evaluate(tick.key, after, hyper, data))
    found = experiment.score(outputs)
    classes = 10**setup.stack
    assert outputs.expected.shape == (1, classes) and outputs.expected.sum() == pytest.approx(1, abs=1e-5)
    assert found[f"FD-{int(data.judge.hash):08x}"] > 0 and 1 <= found["modes"] <= 20
    assert ("memorised" in found) == (setup.stack == 1) and ("as_asked" in found) == setup.conditional
    assert found["judge_accuracy"] > (0.98 if setup.stack == 1 else 0.9)
    pictures = tiny(name).pictures(outputs, data)
    assert {x.shape for x in pictures.values()} == {(8 * 9, 10 * 9, 3)}


def test_real_images_are_found_good():
    """What the judge says of test images in place of samples: nothing is missing, and no test tells them apart."""
    setup = replace(SMALL, conditional=False)
    data, net = load_pictures(setup).data, NETS["lenet"](classes=10)
    features, predicted = (np.asarray(x) for x in judging.read(net, data.judge, data.held_out.images))
    labels = np.bincount(data.train.labels) / len(data.train.labels)
    found = judging.classes(predicted, labels) | judging.neighbours(features[::2], features[1::2])
    assert found["modes"] == 10 and found["mode_kl"] < 0.05 and found["collapsed"] == 0
    assert found["precision"] > 0.7 and found["coverage"] > 0.7 and found["told_apart_p"] > 0.01
    far = judging.frechet(features[::2], features[::2][:, ::-1])
    assert judging.frechet(features[::2], features[1::2]) < 0.2 * far


class Bank:
    """A generator that has an image for each class, times a parameter, and a third of a grey level too much."""

    def __init__(self, images):
        self.images = jnp.asarray(images, jnp.float32) / 127.5 - 1.0

    def apply(self, variables, latent, classes, train=True, mutable=None):
        return variables["params"] * self.images[classes.argmax(1)] + 0.3 / 127.5


def test_what_is_judged_is_made_by_the_average_and_rounded():
    setup = replace(SMALL, batch_norm=False, samples=100, near=100)
    _, state, hyper, data, tick = started(setup)
    firsts = [int(np.flatnonzero(np.asarray(data.train.labels) == label)[0]) for label in range(10)]
    bank = np.asarray(data.train.images)[firsts]
    game = images.game_of(setup)._replace(generator=Bank(bank))
    player = state.generator._replace(params=jnp.float32(0.0))
    state = state._replace(generator=player, average=jnp.float32(1.0))
    outputs = jax.jit(partial(images.evaluate, setup, game))(tick.key, state, hyper, data)
    net = NETS["lenet"](classes=10)
    features, predicted = judging.read(net, data.judge, jnp.asarray(bank))
    np.testing.assert_allclose(outputs.features, features[outputs.asked], rtol=1e-4, atol=1e-4)
    assert len(set(outputs.asked.tolist())) > 5 and (outputs.predicted == predicted[outputs.asked]).all()
    np.testing.assert_allclose(outputs.to_train, 0, atol=5e-3)
    assert (outputs.real_to_train > 0.1).all(), "what was held out is no training image"
    held_out, _ = judging.read(net, data.judge, data.held_out.images)
    np.testing.assert_allclose(outputs.real_features, held_out, rtol=1e-4, atol=1e-4)
    assert (outputs.samples[:10] == bank).all() and (outputs.between[:10] == bank[:1]).all()
    row = images.Outputs(*map(np.asarray, outputs))
    assert images.score_row(row)["memorised"] == 1 and images.score_row(row)["as_asked"] > 0.9


def test_on_the_way_between_two_samples_no_number_shrinks():
    for law, middle in (("normal", 0.5**0.5), ("uniform", 0.5)):
        setup = replace(SMALL, latent=5, latent_law=law)
        latent, labels = sampling.between(setup, jax.random.key(0), 3, 5)
        way = latent.reshape(3, 5, 5)
        np.testing.assert_allclose(way[:, 2], middle * (way[:, 0] + way[:, 4]), rtol=1e-4, atol=1e-5)
        assert labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 and (way[:, 0] != way[:, 4]).all()


def test_both_nets_descend_what_is_changed_by_chance():
    setup = replace(SMALL, shift=2, cutout=3, dropout=0.0, weights=0.0)
    game, (_, state, hyper, data, _) = images.game_of(setup), started(setup)
    level, objective = jnp.float32(0.0), OBJECTIVES["non-saturating"]
    params, rival = state.generator.params, state.discriminator
    key = jax.random.key(5)
    latent_key, read_key, dropout_key, real_key = jax.random.split(key, 4)
    real = adversarial.real(game, real_key, data)
    fake = adversarial.generate(game, params, latent_key, real.classes)

    def logits(packs):
        return adversarial.logits(game, rival, packs, dropout_key)

    changed, plain = (objective.generator(logits(x)) for x in (adversarial.shown(game, level, read_key, fake), fake))
    found = adversarial.generator_objective(game, hyper, level, rival, data, key, params)
    assert found == pytest.approx(float(changed), rel=1e-5) and abs(found - plain) > 1e-7
    first, second, *_ = jax.random.split(key, 5)
    pair = [logits(adversarial.shown(game, level, k, x)) for k, x in ((first, real), (second, fake))]
    _, loss = adversarial.discriminate(game, hyper, level, rival, real, fake, key)
    assert loss == pytest.approx(float(objective.discriminator(*pair)), rel=1e-6)
    for some in ((logits(real), pair[1]), (pair[0], logits(fake))):
        assert abs(loss - objective.discriminator(*some)) > 1e-7


def test_what_is_changed_by_chance_is_real_and_generated_alike_and_has_a_slope():
    setup = replace(SMALL, shift=2, cutout=3, conditional=False)
    game = images.game_of(setup)
    batch = adversarial.Batch(jnp.ones((6, 8, 8, 1)), jnp.zeros((6, 0)))
    read = adversarial.shown(game, jnp.float32(0.0), jax.random.key(0), batch).samples
    assert ((read == 0) | (read == 1)).all() and (read == 0).any((1, 2, 3)).all()

    def total(samples):
        return adversarial.shown(
            game, jnp.float32(0.0), jax.random.key(0), batch._replace(samples=samples)
        ).samples.sum()

    slope = jax.grad(total)(batch.samples)
    assert ((slope == 0) | (slope == 1)).all() and slope.sum() == read.sum()


def test_colours_change_by_hand():
    x = jax.random.uniform(jax.random.key(0), (4, 3, 3, 3), minval=-1.0)
    found = augment.recolour(jax.random.key(1), x)
    u, v, w = jax.random.uniform(jax.random.key(1), (3, 4, 1, 1, 1))
    for i in range(4):
        brighter = np.asarray(x[i] + (u[i] - 0.5))
        grey = brighter.mean(2, keepdims=True)
        saturated = grey + 2 * float(v[i, 0, 0, 0]) * (brighter - grey)
        expected = saturated.mean() + (float(w[i, 0, 0, 0]) + 0.5) * (saturated - saturated.mean())
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)


def test_colours_change_before_places_and_each_by_a_key_of_its_own():
    setup = replace(SMALL, data="cifar10", recolour=True, shift=1, cutout=2)
    x = jax.random.uniform(jax.random.key(0), (4, 6, 6, 3), minval=-1.0)
    colour_key, shift_key, cutout_key = jax.random.split(jax.random.key(1), 3)
    coloured = augment.recolour(colour_key, x)
    alone = images.changed(replace(setup, shift=0, cutout=0), jax.random.key(1), x)
    np.testing.assert_array_equal(alone, coloured)
    expected = augment.cutout(cutout_key, augment.shift(shift_key, coloured, 1), 2)
    np.testing.assert_array_equal(images.changed(setup, jax.random.key(1), x), expected)
    np.testing.assert_array_equal(images.changed(replace(SMALL, shift=0, cutout=0), jax.random.key(1), x), x)


def test_few_training_images_are_of_every_class():
    data = load_pictures(replace(SMALL, images=20)).data
    assert np.bincount(data.train.labels).tolist() == [2] * 10
    for wrong in (9, 2000):
        with pytest.raises(
            ValueError, match=f"images={wrong} must be at least 10, one of each class, and at most the 1437"
        ):
            load_pictures(replace(SMALL, images=wrong))


CONVOLUTION = {"net": "convolution", "generator": (4,), "discriminator": (4,), "dropout": 0.0, "conditional": False}
WRONG = {
    "layers": (
        CONVOLUTION | {"generator": (4, 4, 4, 4)},
        "halves 8x8 pixels 4 times, which does not come out even; use 3",
    ),
    "scales": (
        CONVOLUTION | {"discriminator": (4, 4, 4), "scales": 2},
        "halves 8x8 pixels 4 times after scales.* use 2 layers",
    ),
    "scales of dense nets": ({"scales": 5}, "scales=5 halves 8 pixels too often; use 4 at most"),
    "hidden": ({"hidden": 3}, "net='dense' does not go with hidden=3"),
    "norm": ({"discriminator_batch_norm": True}, "net='dense' does not go with discriminator_batch_norm"),
    "penalty": (
        CONVOLUTION | {"penalty": "r1", "discriminator_batch_norm": True},
        "penalty='r1' does not go with discriminator_batch_norm",
    ),
    "penalty at scales": ({"penalty": "r1", "scales": 2}, "penalty='r1' does not go with scales=2"),
    "neighbours": ({"near": 5}, "near=5 and samples=20 must both be above 5"),
    "stack": ({"stack": 2}, "stack=2 does not go with conditional"),
    "colours": ({"recolour": True}, "data='digits' does not go with recolour"),
}


@pytest.mark.parametrize("name", WRONG)
def test_fields_that_do_not_fit_are_refused(name):
    change, told = WRONG[name]
    recipe = tiny("gan-mnist")
    with pytest.raises(ValueError, match=told):
        Plan(recipe, replace(recipe.setup, **change), (Row(0, recipe.hyper),), recipe.budget)


# The tests of these runs go to one worker.
@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    """A classifier's run, and one of a GAN that it judges."""
    home = tmp_path_factory.mktemp("gan")
    short = ["--steps", 4, "--chunk", 2, "--record-every", 1, "--evaluate-every", 2, "--device-count", 1]
    net = ["--setup.net", "conv32", "--setup.batch-size", 8]
    code, _, said = script("train.py", "classify", *net, *short, "--out", home / "judge")
    assert code == 0, said
    (judge,) = (home / "judge").iterdir()
    fields = "--setup.data digits --setup.generator 8 --setup.discriminator 8 --setup.batch-size 4 --setup.samples 20"
    gan = [*fields.split(), "--setup.near", 10, "--setup.conditional", "--setup.judge", judge]
    code, said, wrong = script("train.py", "gan-mnist", *gan, *short, "--out", home / "gan")
    assert code == 2 and "--setup.judge-net conv32, or another run" in wrong
    code, said, wrong = script(
        "train.py", "gan-mnist", *gan, "--setup.judge-net", "conv32", *short, "--out", home / "gan"
    )
    assert code == 0, wrong
    (folder,) = (home / "gan").iterdir()
    return {"judge": judge, "gan": folder}


@pytest.mark.xdist_group("gan")
def test_a_classifier_that_is_kept_judges_as_the_run_does(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(judges, "WEIGHTS", tmp_path / "weights")
    assert judges.keep(runs["judge"]) == tmp_path / "weights" / "digits-judge.npz"
    kept, whole = judge_for(SMALL), judges.of_run(runs["judge"], replace(SMALL, judge_net="conv32"))
    assert jax.tree.structure(kept.params) == jax.tree.structure(whole.params)
    for ours, theirs in zip(jax.tree.leaves(kept.params), jax.tree.leaves(whole.params), strict=True):
        np.testing.assert_array_equal(ours, np.float16(theirs).astype(np.float32))
    assert (kept.mean.tolist(), kept.std.tolist()) == (whole.mean.tolist(), whole.std.tolist())


@pytest.mark.xdist_group("gan")
def test_a_users_own_classifier_judges(runs):
    judge = judges.of_run(runs["judge"], replace(SMALL, judge_net="conv32"))
    assert f"FD-{int(judge.hash):08x}" in (runs["gan"] / "summary.json").read_text()
    with pytest.raises(ValueError, match="is a run of 'gan-mnist', not of classify"):
        judges.of_run(runs["gan"], SMALL)
    with pytest.raises(ValueError, match="judge_net='conv32' is the net of no judge that is shipped"):
        judge_for(replace(SMALL, judge_net="conv32"))


@pytest.mark.xdist_group("gan")
def test_samples_are_drawn_as_asked(runs, tmp_path):
    grid = tmp_path / "new" / "grid.png"
    code, said, wrong = script("sample.py", runs["gan"], "--count", 5, "--class", 7, "--out", grid)
    assert code == 0, wrong
    assert "5 samples of seed 0, tick 4" in said
    pixels = np.asarray(Image.open(grid))
    assert pixels.shape == (2 * 9, 3 * 9, 3) and (pixels[9:, 18:] == 255).all(), "five of six places"
    for arguments in (["--between"], ["--draw", 1]):
        again = tmp_path / "again.png"
        assert script("sample.py", runs["gan"], "--count", 5, "--class", 7, *arguments, "--out", again)[0] == 0
        assert (np.asarray(Image.open(again)) != pixels).any()
    animation = tmp_path / "training.gif"
    assert script("sample.py", runs["gan"], "--training", "--out", animation)[0] == 0
    assert Image.open(animation).n_frames == 2


def test_samples_are_asked_of_a_setup_however_it_is_made():
    """As a user's file may, with a function of its own; a Setup that adds to a GAN's is of something else."""
    chosen, recipe = sample.Arguments(Path("runs/mine")), tiny("gan-mnist")
    sample.fits(chosen, plan_of(replace(recipe, make=lambda setup: images.make(setup))))
    with pytest.raises(ValueError, match="is a run of 'synthetic-data', which makes no samples"):
        sample.fits(chosen, plan_of(tiny("synthetic-data")))


REFUSED = {
    "animation of another seed": (["--training", "--seed", 0], "leave all options but --out out"),
    "class": (["--class", "x"], "class='x' is not one of 0, 1, 2"),
    "ending": (["--out", "x.jpg"], "must end in .png; try 'x.png'"),
    "animation": (["--training", "--out", "x.png"], "must end in .gif"),
}


@pytest.mark.xdist_group("gan")
@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_is_refused(runs, name):
    arguments, told = REFUSED[name]
    code, _, wrong = script("sample.py", runs["gan"], *arguments)
    assert code == 2 and told in wrong
    code, _, wrong = script("sample.py", runs["judge"])
    assert code == 2 and "makes no samples; give that of a GAN" in wrong
