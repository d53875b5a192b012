"""The variational autoencoder: what its bounds are, what an update descends, what an evaluation counts."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.engine.chunk import advance, begin
from research.engine.experiment import Tick
from research.models.vae import Decoder, Encoder, Nets
from research.recipes.vae import VAE, load, pictures
from research.vision import vae
from research.vision.vae import Data, Hyper, Outputs, Setup

NETS = Nets(Encoder((3,), 2), Decoder((3,), 4))
TINY = Setup(widths=(8,), latent=3, batch_size=8, importance_samples=4)
HYPER = jax.tree.map(jnp.float32, Hyper())
BATCH = np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 1]], np.float32)


def params(nets=NETS, scale=0.5):
    """Of the tiny nets, with biases that are not 0."""
    leaves, structure = jax.tree.flatten(nets.init(jax.random.key(0)))
    random = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [jnp.float32(random.normal(0, scale, x.shape)) for x in leaves])


def data(train=64, held_out=23):
    random = np.random.default_rng(0)
    return Data(*(random.integers(0, 256, (n, 8, 8, 1), np.uint8) for n in (train, held_out)))


def state(setup=TINY):
    return jax.jit(vae.make(setup).init)(jax.random.key(0), HYPER, data())


def outputs_of(setup=TINY, key=0, input_=None):
    evaluate = jax.jit(vae.make(setup).evaluate)
    return evaluate(jax.random.key(key), state(setup), HYPER, data() if input_ is None else input_)


def weights_of(samples, key, posterior=None):
    """Of the images BATCH: log-likelihoods f32[K,B], log-weights f32[K,B], and the analytic KL f32[B], with the tiny nets'
    posterior or another mean and log-variance, both f32[B,2]."""
    setup, keys = replace(TINY, latent=2, importance_samples=samples), jax.random.split(key, len(BATCH))
    mean, log_variance = posterior or NETS.encode(params(), BATCH)
    likelihoods, weights = vae.draws(setup, NETS, keys, params(), BATCH, mean, log_variance)
    return jax.tree.map(np.asarray, (likelihoods, weights, vae.gaussian_kl(mean, log_variance)))


@pytest.mark.parametrize(
    ("mean", "variance", "kl"),
    [([0, 0], [1, 1], 0), ([3, -1], [1, 1], 5), ([0], [4], (4 - 1 - np.log(4)) / 2), ([1], [np.e], np.e / 2 - 0.5)],
)
def test_kl_at_known_values(mean, variance, kl):
    assert vae.gaussian_kl(jnp.float32(mean), jnp.log(jnp.float32(variance))).item() == pytest.approx(kl, abs=1e-6)


def test_kl_is_the_mean_of_the_densities_log_ratio():
    mean, log_variance = np.array([0.5, -1.0, 2.0]), np.array([-1.0, 0.5, 1.0])
    noise = np.random.default_rng(0).normal(size=(100_000, 3))
    draws = mean + np.exp(log_variance / 2) * noise
    ratio = (-((draws - mean) ** 2) / np.exp(log_variance) - log_variance + draws**2).sum(1) / 2
    error = ratio.std() / np.sqrt(len(ratio))
    assert vae.gaussian_kl(jnp.float32(mean), jnp.float32(log_variance)).item() == pytest.approx(
        ratio.mean(), abs=4 * error
    )


@pytest.mark.parametrize("beta", [0.0, 1.0, 4.0])
def test_the_objective_by_hand(beta):
    """Encoder, draw, decoder, Bernoulli and gaussian in NumPy; beta weighs the KL in the loss, not in the ELBO."""
    noise = np.random.default_rng(1).normal(size=(3, 2)).astype(np.float32)
    loss, metrics = vae.objective(params(), NETS, BATCH, noise, jnp.float32(beta))
    encoder, decoder = (jax.tree.map(np.float64, params()[name]["params"]) for name in ("encoder", "decoder"))

    def dense(x, layer):
        return x @ layer["kernel"] + layer["bias"]

    hidden = np.tanh(dense(BATCH, encoder["MLP_0"]["Dense_0"]))
    mean, log_variance = dense(hidden, encoder["mean"]), dense(hidden, encoder["log_variance"])
    latent = mean + np.sqrt(np.exp(log_variance)) * noise
    ones = 1 / (1 + np.exp(-dense(np.tanh(dense(latent, decoder["MLP_0"]["Dense_0"])), decoder["logits"])))
    reconstruction = np.log(np.where(BATCH == 1, ones, 1 - ones)).sum(1).mean()
    kl = (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(1).mean() / 2
    wanted = {"loss": beta * kl - reconstruction, "elbo": reconstruction - kl}
    wanted |= {"reconstruction": reconstruction, "kl": kl}
    assert {name: float(x) for name, x in metrics.items()} == pytest.approx(wanted, rel=1e-5)
    assert float(loss) == float(metrics["loss"])


def test_the_gradient_is_that_of_the_drawn_objective():
    """With the noise held fixed, central differences along each leaf's own direction, the encoder's too."""
    noise, weights = jax.random.normal(jax.random.key(3), (3, 2)), params()

    @jax.jit
    def value(weights):
        return vae.objective(weights, NETS, BATCH, noise, jnp.float32(0.7))[0]

    leaves, structure = jax.tree.flatten(weights)
    gradient = jax.tree.leaves(jax.jit(jax.grad(value))(weights))
    random, step = np.random.default_rng(2), 1e-2
    for place, (leaf, slope) in enumerate(zip(leaves, gradient, strict=True)):
        direction = jnp.float32(random.choice([-1, 1], leaf.shape))
        ends = [leaves[:place] + [leaf + sign * step * direction] + leaves[place + 1 :] for sign in (-1.0, 1.0)]
        low, high = (float(value(jax.tree.unflatten(structure, end))) for end in ends)
        assert (high - low) / (2 * step) == pytest.approx(float((slope * direction).sum()), rel=1e-2, abs=1e-3)


def test_a_log_weight_is_the_joint_over_the_posterior():
    """Both gaussians in full, the noise found back from the key."""
    keys = jax.random.split(jax.random.key(5), 3)
    likelihoods, weights, _ = weights_of(2, jax.random.key(5))
    mean, log_variance = (np.float64(x) for x in NETS.encode(params(), BATCH))
    for sample in range(2):
        noise = np.array([jax.random.normal(jax.random.fold_in(key, sample), (2,)) for key in keys], np.float64)
        latent = mean + np.exp(log_variance / 2) * noise
        prior = (-(latent**2) / 2 - np.log(2 * np.pi) / 2).sum(1)
        posterior = (-(noise**2) / 2 - np.log(2 * np.pi) / 2 - log_variance / 2).sum(1)
        np.testing.assert_allclose(weights[sample], likelihoods[sample] + prior - posterior, rtol=1e-5)


def test_the_iwae_bound_of_one_sample_is_the_elbo():
    """The same number as its one log-weight, and over many keys the same mean as the ELBO with the analytic KL."""
    likelihoods, weights, kl = weights_of(4000, jax.random.key(0))
    np.testing.assert_allclose(vae.iwae_bound(weights[:1]), weights[0], rtol=1e-6)
    gap = np.asarray(weights - (likelihoods - kl), np.float64)
    assert (np.abs(gap.mean(0)) < 4 * gap.std(0) / np.sqrt(len(gap))).all()
    assert (gap.std(0) > 0.1).all(), "single draws of the KL do differ from it"


def test_the_iwae_bound_lies_above_the_elbo_and_below_the_likelihood():
    """Means over 4000 samples in groups of 1, 2 and 8; the likelihood is the integral over a grid of the two latents. The
    posterior is wider than the prior, so that the weights are bounded and one bound of all samples comes close."""
    posterior = jnp.full((3, 2), 0.5), jnp.full((3, 2), 0.7)
    _, weights, _ = weights_of(4000, jax.random.key(1), posterior)
    bounds = [np.asarray(vae.iwae_bound(weights.reshape(k, -1, 3))).mean(0) for k in (1, 2, 8)]
    axis = np.linspace(-7, 7, 141, dtype=np.float32)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 1, 2)
    logits = NETS.decode(params(), grid)
    joint = np.asarray(vae.log_likelihood(logits, BATCH[None]), np.float64)
    joint += (-(np.float64(grid) ** 2) / 2 - np.log(2 * np.pi) / 2).sum(-1)
    likelihood = np.log(np.exp(joint).sum(0) * (axis[1] - axis[0]) ** 2)
    assert (bounds[0] < bounds[1]).all() and (bounds[1] < bounds[2]).all() and (bounds[2] < likelihood).all()
    np.testing.assert_allclose(vae.iwae_bound(weights), likelihood, atol=0.02)


def test_a_pixel_is_one_with_its_brightness_as_probability():
    images = np.array([0, 51, 255], np.uint8).reshape(1, 1, 3, 1)
    drawn = vae.binarize(jax.random.key(0), np.repeat(images, 4000, axis=0))
    assert drawn.shape == (4000, 3) and set(np.unique(drawn)) == {0, 1}
    np.testing.assert_allclose(drawn.mean(0), [0, 0.2, 1], atol=0.03)


def test_each_update_binarises_and_draws_anew():
    """The same state and the same images, of which there are as many as in a batch, under two keys."""
    few, start, step = data(train=8), state(), jax.jit(vae.make(TINY).step)
    losses = [
        float(step(start, HYPER, few, Tick(jnp.int32(0), jnp.int32(9), jax.random.key(k)))[1]["loss"]) for k in (0, 1)
    ]
    assert losses[0] != losses[1]


@pytest.mark.parametrize("batch", [7, 23, 500])
def test_the_evaluations_batch_changes_no_figure(batch):
    whole, other = outputs_of(), outputs_of(replace(TINY, evaluation_batch=batch))
    assert whole.kl.shape == whole.reconstruction.shape == whole.iwae_bound.shape == (23,)
    for left, right in zip(whole[:4], other[:4], strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-4, atol=1e-5)
    assert (whole.binarized == other.binarized).all()


def test_held_out_images_are_binarised_once_for_all():
    """Under two keys the pixels and so the KL are the same; the draws of the latent are not."""
    one, other = outputs_of(key=1), outputs_of(key=2)
    assert (one.binarized == other.binarized).all() and (one.kl == other.kl).all()
    assert (one.reconstruction != other.reconstruction).any() and (one.samples != other.samples).any()
    assert (one.binarized[0] != one.binarized[1]).any() and set(np.unique(one.binarized)) == {0, 255}
    fewer = outputs_of(input_=Data(data().train, data().held_out[:10]))
    assert (fewer.binarized == one.binarized[:10]).all()


def test_score_by_hand():
    figures = np.array([[-3.0, -5], [0, -2]], np.float32), np.array([[1.0, 2], [0, 1]], np.float32)
    bounds, variance = np.array([[-4.0, -6], [0, -2]], np.float32), np.array([[0, 0.009, 0.011], [1, 2, 3]], np.float32)
    found = vae.score(Outputs(*figures, bounds, variance, None, None, None))
    assert {name: x.tolist() for name, x in found.items()} == {
        "elbo": [-5.5, -1.5],
        "reconstruction": [-4, -1],
        "kl": [1.5, 0.5],
        "iwae_bound": [-5, -1],
        "active_units": [1, 3],
    }
    assert {x.dtype for x in found.values()} == {np.dtype(np.float64)}


def test_a_unit_is_active_where_the_posteriors_mean_varies_between_images():
    """A head whose weights are 0 but for one unit gives the others the same mean for all images."""
    now = state()
    head = now.params["encoder"]["params"]["mean"]
    head["kernel"] = jnp.zeros_like(head["kernel"]).at[:, 1].set(1.0)
    outputs = jax.jit(vae.make(TINY).evaluate)(jax.random.key(0), now, HYPER, data())
    assert vae.score(jax.tree.map(lambda x: np.asarray(x)[None], outputs))["active_units"].tolist() == [1]
    pixels = np.stack([vae.binarize(k, x) for k, x in zip(binarization_keys(23), data().held_out, strict=True)])
    means, _ = Encoder((8,), 3).apply(now.params["encoder"], pixels)
    np.testing.assert_allclose(outputs.variance, np.asarray(means).var(0), rtol=1e-4, atol=1e-6)


def binarization_keys(count):
    return [jax.random.fold_in(jax.random.key(vae.BINARIZED), index) for index in range(count)]


def test_a_short_run_beats_the_best_independent_pixels():
    """Pixels' means over the training images are the best model without a latent; its held-out log-likelihood, in
    expectation over the binarisation, is linear in the brightness."""
    inputs, experiment = load(VAE.setup).data, vae.make(replace(VAE.setup, importance_samples=5))
    seed, total = jnp.uint32(0), jnp.int32(600)
    hyper = HYPER._replace(learning_rate=jnp.float32(3e-3))
    start = jax.jit(begin(experiment))(seed, hyper, inputs)
    end, metrics = jax.jit(advance(experiment, 600, 100))(start, seed, hyper, inputs, jnp.int32(0), total, None)
    judge = jax.jit(experiment.evaluate)
    before, after = (
        vae.score(jax.tree.map(lambda x: np.asarray(x)[None], judge(jax.random.key(0), s, hyper, inputs)))
        for s in (start, end)
    )
    train, held_out = (np.float64(x).reshape(len(x), -1) / 255 for x in inputs)
    ones = np.clip(train.mean(0), 1e-4, 1 - 1e-4)
    independent = (held_out * np.log(ones) + (1 - held_out) * np.log(1 - ones)).sum(1).mean()
    assert before["elbo"] < independent < after["elbo"] - 2
    assert after["elbo"] <= after["iwae_bound"] and metrics["elbo"][-1] > metrics["elbo"][0] + 5
    assert after["active_units"] >= 3


def test_pictures_stand_beside_their_reconstructions():
    outputs = jax.tree.map(lambda x: np.asarray(x)[None], outputs_of())
    shown = pictures(outputs, data())
    assert {name: (x.shape, x.dtype) for name, x in shown.items()} == {
        "reconstructions": ((72, 81, 3), np.uint8),
        "samples": ((72, 72, 3), np.uint8),
    }
    first = shown["reconstructions"][9:17]  # three triples to a row: the second begins with the fourth image
    for place, images in enumerate((data().held_out, outputs.binarized[0], outputs.reconstructed[0])):
        assert (first[:, 9 * place : 9 * place + 8] == images[3]).all()
    assert (shown["samples"][:8, :8] == outputs.samples[0, 0]).all()


def test_a_share_that_holds_out_nothing_is_refused():
    with pytest.raises(ValueError, match="holds out none of 1437 images"):
        load(replace(Setup(), validation=1e-5))


def test_the_three_parts_share_no_image():
    inputs = load(Setup())
    parts = inputs.data.train, inputs.data.held_out, inputs.final.held_out
    train, validation, test = ({image.tobytes() for image in part} for part in parts)
    assert not train & validation and not train & test and not validation & test


def test_a_layer_without_units_is_refused():
    with pytest.raises(ValueError, match=r"widths=\(8, 0\) must all be at least 1; usual: \(200, 200\)"):
        vae.make(Setup(widths=(8, 0)))
