"""GANs: what their nets descend, by hand and by differences; what is counted of their samples; and that one learns."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from recipes import compiled, tiny
from scipy.stats import chisquare

from research.engine.experiment import Tick
from research.engine.plan import Plan, Row
from research.gan import adversarial, mixture, pictures, points, sampling
from research.gan.objectives import OBJECTIVES, interpolated, r1, slopes
from research.gan.packs import Batch, packed
from research.models.gan import COLLECTION, Discriminator
from research.recipes import mixtures
from research.report import figures
from research.studies.mode_collapse_2d import CPU

SMALL = points.Setup(generator=(6,), discriminator=(5,), pieces=2, batch_size=4, weights=0.0, samples=16)
HYPER = adversarial.Hyper(generator_learning_rate=0.05, discriminator_learning_rate=0.02)


def started(setup: points.Setup, hyper: adversarial.Hyper = HYPER):
    """-> experiment, compiled, state at first, hyper and data as JAX has them, the first tick"""
    experiment, data = points.make(setup), jax.tree.map(jnp.asarray, mixture.MIXTURES[setup.data])
    hyper = jax.tree.map(jnp.float32, hyper)
    experiment = compiled(experiment)
    state = experiment.init(jax.random.key(0), hyper, data)
    return experiment, state, hyper, data, Tick(jnp.int32(0), jnp.int32(10), jax.random.key(1))


# By hand, with a = log 3: softplus(a) = log 4, softplus(-a) = log 4/3, softplus(0) = log 2.
# logistic, real (a, 0), fake (-a, a): (log 4/3 + log 2) / 2 + (log 4/3 + log 4) / 2 = log(8/3 * 16/3) / 2
A = np.log(3.0)
BY_HAND = {
    "non-saturating": (np.log(128 / 9) / 2, (np.log(4) + np.log(4 / 3)) / 2),
    "saturating": (np.log(128 / 9) / 2, -(np.log(4 / 3) + np.log(4)) / 2),
    # real: ((a - 1)^2 + 1) / 4; fake: 2 a^2 / 4; the generator's: ((-a - 1)^2 + (a - 1)^2) / 4 = (a^2 + 1) / 2
    "least-squares": (((A - 1) ** 2 + 1) / 4 + A**2 / 2, (A**2 + 1) / 2),
    # real: relu(1 - a) = 0 and 1; fake: relu(1 - a) = 0 and 1 + a; the generator's: -(-a + a) / 2
    "hinge": (1 / 2 + (1 + A) / 2, 0.0),
    "wasserstein": (0.0 - A / 2, 0.0),
}


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_by_hand(name):
    discriminator, generator = BY_HAND[name]
    real, fake = jnp.array([A, 0.0]), jnp.array([-A, A])
    assert OBJECTIVES[name].discriminator(real, fake) == pytest.approx(discriminator, abs=1e-6)
    assert OBJECTIVES[name].generator(fake) == pytest.approx(generator, abs=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_generator_is_drawn_to_what_seems_real(name):
    slope = jax.grad(OBJECTIVES[name].generator)(jnp.array([-1.0, 0.5]))
    assert (slope < 0).all(), "descending raises the logits"


def smooth(w: jax.Array, samples: jax.Array) -> jax.Array:
    """A discriminator with slopes and second slopes everywhere: samples [B,2] -> [B], weights w [3,2]"""
    return jnp.tanh(samples @ w[:2].T) @ w[2]


def test_slopes_and_their_own_gradient_equal_finite_differences():
    random = np.random.default_rng(0)
    with jax.enable_x64(True):
        w, real, fake = (jnp.asarray(random.normal(size=size)) for size in ((3, 2), (4, 2), (4, 2)))
        between = jnp.asarray(random.uniform(size=4))
        step = 1e-6

        def difference(f, x):
            """df/dx entry by entry, by central differences"""
            moves = np.eye(x.size).reshape(x.size, *x.shape) * step
            return np.array([(f(x + move) - f(x - move)) / (2 * step) for move in moves]).reshape(x.shape)

        by_hand = np.array([difference(lambda x: smooth(w, x[None])[0], x) for x in real])
        np.testing.assert_allclose(slopes(lambda x: smooth(w, x), real), (by_hand**2).sum(1), rtol=1e-7)
        middle = real + between[:, None] * (fake - real)
        norms = np.linalg.norm([difference(lambda x: smooth(w, x[None])[0], x) for x in middle], axis=1)
        penalties = {
            "r1": (lambda w: r1(lambda x: smooth(w, x), real), (by_hand**2).sum(1).mean() / 2),
            "interpolated": (
                lambda w: interpolated(lambda x: smooth(w, x), real, fake, between),
                ((norms - 1) ** 2).mean(),
            ),
        }
        for penalty, value in penalties.values():
            np.testing.assert_allclose(penalty(w), value, rtol=1e-6)
            np.testing.assert_allclose(jax.grad(penalty)(w), difference(penalty, w), rtol=1e-5, atol=1e-8)


def test_the_penalty_of_a_flat_discriminator_has_a_gradient():
    flat = jnp.zeros((3, 2)).at[:2].set(0.5)
    slope = jax.grad(lambda w: interpolated(lambda x: smooth(w, x), jnp.ones((4, 2)), jnp.zeros((4, 2)), jnp.ones(4)))(
        flat
    )
    assert np.isfinite(slope).all()


def test_spectral_norm_is_the_largest_singular_value():
    net, samples = Discriminator((7, 6), spectral=True), jax.random.normal(jax.random.key(0), (5, 4))
    none = jnp.zeros((5, 0))
    variables = net.init(jax.random.key(1), samples, none, train=False)
    params = jax.tree.map(lambda x: 3.0 * x, variables["params"])
    vectors = variables[COLLECTION]

    @jax.jit
    def refreshed(vectors):
        held = {"params": params, COLLECTION: vectors}
        return net.apply(held, samples[:1], none[:1], refresh=True, mutable=[COLLECTION])[1][COLLECTION]

    for _ in range(200):
        vectors = refreshed(vectors)
    divided = jax.tree.map(lambda x: x / np.linalg.svd(x, compute_uv=False)[0] if x.ndim == 2 else x, params)
    plain = Discriminator((7, 6)).apply({"params": divided}, samples, none)
    held = {"params": params, COLLECTION: vectors}
    np.testing.assert_allclose(net.apply(held, samples, none), plain, rtol=1e-4, atol=1e-6)


def test_maxout_is_the_largest_of_its_pieces():
    # Two units of two pieces: columns 0 and 1 make the first, 2 and 3 the second; x = 2 gives (2, -2), (4, 6).
    params = {
        "Dense_0": {"kernel": jnp.array([[1.0, -1.0, 2.0, 3.0]]), "bias": jnp.zeros(4)},
        "Dense_1": {"kernel": jnp.array([[1.0], [10.0]]), "bias": jnp.array([0.5])},
    }
    logit = Discriminator((2,), pieces=2).apply({"params": params}, jnp.array([[2.0], [-1.0]]), jnp.zeros((2, 0)))
    # x = -1 gives (-1, 1), (-2, -3)
    assert logit.tolist() == [2 + 60 + 0.5, 1 - 20 + 0.5]


def test_a_discriminator_that_reads_deviation_tells_copies_from_samples_that_differ():
    plain, told = (Discriminator((5,), deviation_read=read) for read in (False, True))
    different = jax.random.normal(jax.random.key(0), (6, 3))
    copies = jnp.broadcast_to(different[:1], (6, 3))
    for net, same in ((plain, True), (told, False)):
        none = jnp.zeros((6, 0))
        params = net.init(jax.random.key(1), different, none)
        first = [float(net.apply(params, x, none)[0]) for x in (different, copies)]
        assert (first[0] == pytest.approx(first[1])) == same


def test_batch_norm_makes_a_sample_of_its_own_latent_numbers():
    setup = replace(SMALL, batch_norm=True)
    game, state = points.game_of(setup), started(setup)[1]
    latent, none = jax.random.normal(jax.random.key(3), (50, 2)), jnp.zeros((50, 0))
    with_others, filled = game.generator.apply({"params": state.average}, latent, none, mutable=[COLLECTION])
    alone = sampling.sample(game, {"params": state.average} | filled, latent[:3], none[:3])
    np.testing.assert_allclose(alone, with_others[:3], rtol=1e-4, atol=1e-5)
    # By its own mean a single sample would be at 0 in each layer, whatever it is made of.
    one, other = (points.sampled(game, state, jax.random.key(key), 1, mixture.ring()) for key in (5, 6))
    assert one.shape == (1, 2) and (one != 0).all() and (one != other).all()


def test_a_pack_is_of_neighbours_and_generated_ones_are_packed_alike():
    setup = replace(SMALL, packing=3)
    game, (_, state, _, data, _) = points.game_of(setup), started(setup)
    samples, classes = jnp.arange(24.0).reshape(12, 2), jnp.arange(12.0)[:, None]
    packs = packed(Batch(samples, classes), setup.packing)
    assert packs.samples[1].tolist() == [6, 7, 8, 9, 10, 11] and packs.classes[1].tolist() == [3, 4, 5]
    # Images lie beside each other by their channels: of pack 1 the pixel in row 1, column 0.
    images = jnp.arange(12 * 2 * 2 * 2).reshape(12, 2, 2, 2)
    pixel = packed(Batch(images, classes), setup.packing).samples[1, 1, 0]
    assert pixel.tolist() == [8 * image + 4 + channel for image in (3, 4, 5) for channel in (0, 1)]
    assert adversarial.real(game, jax.random.key(0), data).samples.shape == (12, 2)
    fake = adversarial.generate(game, state.generator.params, jax.random.key(0), jnp.zeros((12, 0)))
    assert adversarial.shown(game, jnp.float32(0.0), jax.random.key(1), fake).samples.shape == (4, 6)


def moved(before, after) -> list[bool]:
    return [bool((x != y).any()) for x, y in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True)]


@pytest.mark.parametrize("unrolled", [0, 2])
def test_a_look_ahead_leaves_the_discriminator_as_it_is(unrolled):
    setup = replace(SMALL, unrolled=unrolled, batch_norm=False, discriminator_steps=2)
    experiment, state, hyper, data, tick = started(setup)
    after, _ = experiment.step(state, hyper, data, tick)
    assert int(after.discriminator.optimizer.count) == 2 and int(after.generator.optimizer.count) == 1
    assert any(moved(state.generator.params, after.generator.params))
    plain, _ = started(replace(setup, unrolled=0))[0].step(state, hyper, data, tick)
    for x, y in zip(*(jax.tree.leaves(s.discriminator.params) for s in (after, plain)), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 3.0])
@pytest.mark.parametrize("penalty", ["none", "r1", "interpolated"])
def test_a_discriminator_descends_its_objective_and_its_penalty(penalty, weight):
    setup = replace(SMALL, penalty=penalty, pieces=1)
    _, state, hyper, data, _ = started(setup)
    hyper = hyper._replace(penalty_weight=jnp.float32(weight))
    game, none = points.game_of(setup), jnp.zeros((4, 0))
    real, fake = (x + jax.random.normal(jax.random.key(7), (4, 2)) for x in (0.0, 1.0))
    key = jax.random.key(8)
    given = Batch(real, none), Batch(fake, none)
    after, loss = adversarial.discriminate(game, hyper, jnp.float32(0.0), state.discriminator, *given, key)
    between = jax.random.uniform(jax.random.split(key, 5)[4], (4,))

    def plain(params):
        r, f = (game.discriminator.apply({"params": params}, x, none) for x in (real, fake))
        return jnp.log1p(jnp.exp(-r)).mean() + jnp.log1p(jnp.exp(f)).mean()

    def written_out(params):
        def slope(x):
            return jax.grad(lambda x: game.discriminator.apply({"params": params}, x[None], none[:1])[0])(x)

        at_real = jnp.stack([jnp.sum(slope(x) ** 2) for x in real])
        middle = [b * f + (1 - b) * r for b, r, f in zip(between, real, fake, strict=True)]
        from_one = jnp.stack([(jnp.linalg.norm(slope(x)) - 1) ** 2 for x in middle])
        added = {"none": 0.0, "r1": at_real.mean() / 2, "interpolated": from_one.mean()}
        return plain(params) + weight * added[penalty]

    assert float(loss) == pytest.approx(float(plain(state.discriminator.params)), rel=1e-5), "without the penalty"
    gradient = jax.grad(written_out)(state.discriminator.params)
    # Adam's first average of gradients, from nothing, with beta1 at 0.8.
    for found, expected in zip(*map(jax.tree.leaves, (after.optimizer.mu, gradient)), strict=True):
        np.testing.assert_allclose(found, 0.2 * expected, rtol=1e-4, atol=1e-6)


def test_every_step_of_the_discriminator_sees_fresh_samples():
    """Adam from nothing, held still: of equal gradients the averages are the gradient and its square."""
    setup = replace(SMALL, discriminator_steps=3)
    experiment, state, hyper, data, tick = started(setup)
    still = hyper._replace(discriminator_learning_rate=jnp.float32(0.0))
    moments = experiment.step(state, still, data, tick)[0].discriminator.optimizer
    assert int(moments.count) == 3
    mean, square = (jax.flatten_util.ravel_pytree(x)[0] for x in (moments.mu, moments.nu))
    mean, square = mean / (1 - 0.8**3), square / (1 - 0.999**3)
    assert (square > 1.001 * mean**2).mean() > 0.5


def test_power_iteration_goes_on_from_step_to_step():
    setup = replace(SMALL, spectral=True, batch_norm=False)
    experiment, state, hyper, data, tick = started(setup)
    still = hyper._replace(generator_learning_rate=jnp.float32(0.0), discriminator_learning_rate=jnp.float32(0.0))
    for _ in range(100):
        state, _ = experiment.step(state, still, data, tick)
    kernels = {name: layer["kernel"] for name, layer in state.discriminator.params.items()}
    kept = jax.tree_util.tree_leaves_with_path(state.discriminator.vectors)
    sigma = {jax.tree_util.keystr(path): float(x) for path, x in kept if "sigma" in jax.tree_util.keystr(path)}
    assert len(sigma) == len(kernels) == 2
    for name, kernel in kernels.items():
        (found,) = [x for path, x in sigma.items() if name in path]
        assert found == pytest.approx(np.linalg.svd(kernel, compute_uv=False)[0], rel=1e-4)


def test_the_average_is_what_is_judged():
    experiment, state, hyper, data, tick = started(SMALL)
    hyper = hyper._replace(average=jnp.float32(1.0))
    first, _ = experiment.step(state, hyper, data, tick)
    second, _ = experiment.step(first, hyper, data, tick._replace(index=jnp.int32(1)))
    params = [jax.tree.leaves(s.generator.params) for s in (first, second)]
    for mean, *pair in zip(jax.tree.leaves(second.average), *params, strict=True):
        np.testing.assert_allclose(mean, sum(pair) / 2, rtol=1e-5, atol=1e-7)
    key = jax.random.key(9)
    judged = points.make(SMALL).evaluate(key, second, hyper, data).samples
    game = points.game_of(SMALL)
    assert (judged == points.sampled(game, second, key, SMALL.samples, data)).all()
    last = second._replace(average=second.generator.params)
    assert (judged != points.sampled(game, last, key, SMALL.samples, data)).any()


EVERY = [{"objective": name, "spectral": True} for name in OBJECTIVES] + [
    {"deviation_read": True},
    {"compute_dtype": "bfloat16", "penalty": "interpolated"},
    {"compute_dtype": "bfloat16", "unrolled": 1, "deviation_read": True, "packing": 2},
    {"dropout": 0.2, "pieces": 1, "penalty": "r1", "input_noise": True},
    {"data": "line", "latent": 3},
]


@pytest.mark.parametrize("change", EVERY, ids=str)
def test_every_choice_makes_a_step_and_samples(change):
    experiment, state, hyper, data, tick = started(replace(SMALL, **change))
    after, metrics = jax.eval_shape(experiment.step, state, hyper, data, tick)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert set(metrics) == {"generator_loss", "discriminator_loss"}
    drawn = jax.eval_shape(experiment.evaluate, jax.random.key(0), state, hyper, data).samples
    assert drawn.shape == (16, data.centres.shape[1]) and drawn.dtype == jnp.float32


def test_an_unrolled_objective_equals_its_two_updates_written_out():
    """Nets and two steps of Adam in NumPy's float64, with gradients by differences; then the generator's own gradient by
    differences of what that gives."""
    setup = replace(SMALL, unrolled=2, batch_norm=False, objective="least-squares", generator=(2,), discriminator=(2,))
    game, (_, state, hyper, data, _) = points.game_of(setup), started(setup)
    key = jax.random.key(5)
    state = state._replace(
        generator=state.generator._replace(params=without_ties(state.generator.params)),
        discriminator=state.discriminator._replace(params=without_ties(state.discriminator.params)),
    )
    fake_key, _, _, real_key, *_ = jax.random.split(key, 6)
    drawn = adversarial.latents(setup, fake_key, setup.batch_size)
    latent, real = (np.asarray(x, np.float64) for x in (drawn, adversarial.real(game, real_key, data).samples))
    flat = jax.flatten_util.ravel_pytree
    d, g = (np.asarray(flat(player.params)[0], np.float64) for player in (state.discriminator, state.generator))

    def layers(w, inputs, hidden, outputs):
        """A flattened tree of two layers, each a bias and a kernel; maxout has two pieces to a unit."""
        units = (len(w) - hidden - inputs * hidden - outputs) // outputs
        bias1, kernel1, bias2, kernel2 = np.split(w, np.cumsum([hidden, inputs * hidden, outputs]))
        return bias1, kernel1.reshape(inputs, hidden), bias2, kernel2.reshape(units, outputs)

    def logit(w, x):
        bias1, kernel1, bias2, kernel2 = layers(w, 2, 4, 1)
        return ((x @ kernel1 + bias1).reshape(-1, 2, 2).max(2) @ kernel2 + bias2)[:, 0]

    def made(w):
        bias1, kernel1, bias2, kernel2 = layers(w, 2, 2, 2)
        return np.maximum(latent @ kernel1 + bias1, 0) @ kernel2 + bias2

    def by_differences(f, x, step=1e-6):
        return np.array([(f(x + step * e) - f(x - step * e)) / (2 * step) for e in np.eye(len(x))])

    def two_ahead(g):
        fake, w, m, v = made(g), d, 0.0, 0.0
        for t in (1, 2):
            slope = by_differences(
                lambda w: ((logit(w, real) - 1) ** 2).mean() / 2 + (logit(w, fake) ** 2).mean() / 2, w
            )
            m, v = 0.8 * m + 0.2 * slope, 0.999 * v + 0.001 * slope**2
            w = w - 0.02 * (m / (1 - 0.8**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
        return ((logit(w, fake) - 1) ** 2).mean() / 2

    def objective(params):
        return adversarial.generator_objective(game, hyper, jnp.float32(0.0), state.discriminator, data, key, params)

    value, gradient = jax.value_and_grad(objective)(state.generator.params)
    assert float(value) == pytest.approx(two_ahead(g), rel=1e-4)
    expected = by_differences(two_ahead, g, 1e-5)
    np.testing.assert_allclose(flat(gradient)[0], expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max())
    looked_at = jax.grad(lambda p: objective_without(game, state, key, p))(state.generator.params)
    assert np.abs(flat(looked_at)[0] - expected).max() > 0.1 * np.abs(expected).max(), "looking ahead changes it"


def without_ties(params):
    """Biases of 0 make outputs alike, and no difference is a slope there."""
    return jax.tree.map(lambda x: x + jnp.linspace(-0.3, 0.4, x.size) if x.ndim == 1 else x, params)


def objective_without(game, state, key, params):
    """The generator's objective on the same samples, by the discriminator as it is."""
    fake = adversarial.generate(game, params, jax.random.split(key, 6)[0], jnp.zeros((4, 0)))
    return OBJECTIVES[game.setup.objective].generator(adversarial.logits(game, state.discriminator, fake, key))


def test_noise_falls_to_nothing():
    hyper, tick = HYPER._replace(noise=0.5), started(SMALL)[-1]
    levels = [float(adversarial.noise_level(hyper, tick._replace(index=jnp.int32(i)))) for i in (0, 5, 9)]
    assert levels == pytest.approx([0.5, 0.25, 0.05])
    batch = Batch(jnp.zeros((2000, 2)), jnp.zeros((2000, 0)))
    for setup, level, expected in ((True, 0.5, 0.5), (True, 0.0, 0.0), (False, 0.5, 0.0)):
        game = points.game_of(replace(SMALL, input_noise=setup))
        read = adversarial.shown(game, jnp.float32(level), jax.random.key(0), batch).samples
        assert float(read.std()) == pytest.approx(expected, rel=0.05)


def test_rows_are_shown_side_by_side_where_samples_are_points_of_a_plane():
    ring, samples = mixture.ring(), np.random.default_rng(0).normal(size=(7, 4, 2))
    shown = mixtures.scatters(points.Outputs(samples, ring), ring)["samples"]
    side = pictures.SIDE
    assert shown.shape == (side, mixtures.SHOWN * side, 3)
    np.testing.assert_array_equal(shown[:, side : 2 * side], pictures.scatter(samples[1], ring))
    assert mixtures.scatters(points.Outputs(samples[..., :1], mixture.line()), mixture.line()) == {}


def test_a_mixture_is_drawn_evenly_and_as_wide_as_it_is():
    grid = mixture.grid()
    samples = np.asarray(mixture.draw(jax.random.key(0), grid, 20_000))
    apart = samples[:, None] - grid.centres[None]
    nearest = (apart**2).sum(2).argmin(1)
    assert chisquare(np.bincount(nearest, minlength=25)).pvalue > 1e-3
    off = apart[np.arange(len(samples)), nearest]
    np.testing.assert_allclose(off.std(0), 0.05, rtol=0.03)


def test_what_is_counted_of_samples_by_hand():
    # Two samples on the first of 8 modes, one just inside three deviations of the third, one just outside of the fifth's.
    ring = mixture.ring()
    samples = np.array([ring.centres[0], ring.centres[0], ring.centres[2] * 1.029, ring.centres[4] * 1.031])
    found = mixture.judge(samples, ring)
    # Shares 2/3 and 1/3 of three good samples: 2/3 log(16/3) + 1/3 log(8/3).
    expected = 2 / 3 * np.log(16 / 3) + 1 / 3 * np.log(8 / 3)
    assert found == {"modes": 2, "high_quality": 0.75, "reverse_kl": pytest.approx(expected), "collapsed": 1}
    assert mixture.judge(ring.centres[:4], ring)["collapsed"] == 0
    nothing = mixture.judge(np.zeros((3, 2)), ring)
    assert nothing["modes"] == 0 and np.isnan(nothing["reverse_kl"]) and nothing["collapsed"] == 1


def test_a_picture_shows_samples_where_they_are():
    ring = mixture.ring()
    picture = pictures.scatter(np.array([[0.65, 0.65]]), ring)
    rows, columns = np.nonzero((picture == pictures.INK).all(2))
    # Half of the way from the middle to the right and to the top edge, at 1.3.
    assert abs(columns.mean() - 0.75 * (pictures.SIDE - 1)) <= 1 and abs(rows.mean() - 0.25 * (pictures.SIDE - 1)) <= 1
    assert pictures.scatter(np.full((2, 2), np.nan), ring).shape == picture.shape


def test_each_arm_that_shows_a_picture_has_a_lane_of_its_own(tmp_path):
    for quick in (True, False):
        for _, arms, sweep in CPU.work(quick):
            assert len(arms) == len(sweep.lanes) == 8
            assert all(len({row.hyper for row in lane.rows}) == 1 for lane in sweep.lanes)
    Image.fromarray(np.full((20, 40, 3), 7, np.uint8)).save(tmp_path / "a.png")
    figure = figures.strips("samples", {"one": tmp_path / "a.png", "other": None})
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["one", "other: no picture"]
    assert [len(axis.images) for axis in figure.axes] == [1, 0]


PLAIN = {"spectral": False, "penalty": "none", "dropout": 0.0}
WRONG = {
    "one sample": (
        PLAIN | {"batch_size": 1, "packing": 1},
        "batch_size=1 has nothing to compare a sample with, as batch_norm",
    ),
    "widths": ({"generator": ()}, r"generator=\(\) must be widths of at least 1"),
    "slope": (PLAIN | {"objective": "wasserstein"}, "use penalty=interpolated, or spectral"),
    "slope at real samples": (PLAIN | {"objective": "wasserstein", "penalty": "r1"}, "held everywhere"),
    "penalty": (PLAIN | {"penalty": "r1", "deviation_read": True}, "penalty='r1' does not go with deviation_read"),
    "dropout": (PLAIN | {"dropout": 0.1, "deviation_read": True}, "dropout=0.1 does not go with deviation_read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_fields_that_do_not_fit_are_refused(name):
    change, told = WRONG[name]
    recipe = tiny("gan-ring")
    with pytest.raises(ValueError, match=told):
        Plan(recipe, replace(recipe.setup, **change), (Row(0, recipe.hyper),), recipe.budget)


def test_a_gaussian_on_a_line_is_matched_in_mean_and_deviation():
    setup = replace(points.Setup(data="line", latent=1, pieces=1, batch_norm=False, weights=0.0), penalty="r1")
    setup = replace(setup, generator=(32,), discriminator=(32,))
    rates = {"generator_learning_rate": 1e-3, "discriminator_learning_rate": 4e-3, "beta1": 0.0}
    hyper = adversarial.Hyper(**rates, penalty_weight=0.2, average=0.1)
    experiment, state, hyper, data, _ = started(setup, hyper)
    total = 4000

    def tick(state, index):
        key = jax.random.fold_in(jax.random.key(2), index)
        return experiment.step(state, hyper, data, Tick(index, jnp.int32(total), key))[0], None

    before = np.asarray(experiment.evaluate(jax.random.key(3), state, hyper, data).samples)
    state, _ = jax.jit(lambda state: jax.lax.scan(tick, state, jnp.arange(total)))(state)
    after = np.asarray(experiment.evaluate(jax.random.key(3), state, hyper, data).samples)
    assert abs(before.mean() - 0.5) > 0.1
    assert after.mean() == pytest.approx(0.5, abs=0.05) and after.std() == pytest.approx(0.5, abs=0.05)
