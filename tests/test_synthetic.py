"""A classifier that learns from a GAN's samples: who learns when, from what."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recipes import tiny

from research.engine.experiment import Tick
from research.engine.plan import Plan, Row
from research.gan import images, synthetic

SMALL = tiny("synthetic-data").setup


def started(setup: synthetic.Setup, seed: int = 0):
    """-> experiment, state at first, hyper, data as JAX has them"""
    recipe = tiny("synthetic-data")
    experiment, data = synthetic.make(setup), jax.tree.map(jnp.asarray, recipe.load(setup).data)
    hyper = jax.tree.map(jnp.float32, recipe.hyper)
    return experiment, jax.jit(experiment.init)(jax.random.key(seed), hyper, data), hyper, data


def test_few_images_are_drawn_evenly_and_by_the_key_alone():
    labels = jnp.asarray(np.random.default_rng(0).permutation(np.repeat(np.arange(3), (20, 50, 30))))
    drawn = [np.asarray(synthetic.choose(jax.random.key(i), labels, 3, 15)) for i in range(400)]
    for chosen in drawn[:20]:
        assert np.bincount(labels[chosen]).tolist() == [5, 5, 5] and len(set(chosen.tolist())) == 15
    times = np.bincount(np.concatenate(drawn), minlength=100)
    # A member of the class of 20 is drawn 400 * 5 / 20 = 100 times on average, of 50 40 times, of 30 67 times.
    for label, expected in ((0, 100), (1, 40), (2, 200 / 3)):
        assert abs(times[labels == label] - expected).max() < 5 * expected**0.5


def test_equal_seeds_have_equal_images_with_a_gan_and_without():
    with_gan, without, other = (
        started(setup, seed)[1] for setup, seed in ((SMALL, 0), (replace(SMALL, generated=0.0), 0), (SMALL, 1))
    )
    assert with_gan.chosen.tolist() == without.chosen.tolist() != other.chosen.tolist()
    for x, y in zip(*(jax.tree.leaves(state.params) for state in (with_gan, without)), strict=True):
        assert (x == y).all()


def moved(before, after) -> bool:
    return any(bool((x != y).any()) for x, y in zip(*map(jax.tree.leaves, (before, after)), strict=True))


@pytest.mark.parametrize("generated", [0.5, 0.0])
def test_first_the_gan_learns_and_then_the_classifier(generated):
    experiment, state, hyper, data = started(replace(SMALL, generated=generated, game=0.7))
    step = jax.jit(experiment.step)
    for index, game in ((0, True), (6, True), (7, False), (9, False)):
        tick = Tick(jnp.int32(index), jnp.int32(10), jax.random.key(index))
        after, metrics = step(state, hyper, data, tick)
        assert moved(state.game, after.game) == (game and generated > 0)
        assert moved(state.params, after.params) == (not game)
        counts = {name: float(x.count) for name, x in metrics.items()}
        assert counts == {
            "generator_loss": float(game and generated > 0),
            "discriminator_loss": float(game and generated > 0),
            "loss": float(not game),
        }


def test_nobody_sees_other_images_than_the_few():
    experiment, state, hyper, data = started(SMALL)
    step, tick = jax.jit(experiment.step), Tick(jnp.int32(0), jnp.int32(10), jax.random.key(3))
    few = np.asarray(data.train.images)[np.asarray(state.chosen)]
    batch = images.real(SMALL, jax.random.key(0), synthetic.own(data, state.chosen), 200)
    shown = {np.round((x + 1) * 127.5).astype(np.uint8).tobytes() for x in np.asarray(batch.samples)}
    assert shown <= {x.tobytes() for x in few} and len(shown) > 10
    # Other images than these may be anything: no step changes.
    others = np.full(np.asarray(data.train.images).shape, 77, np.uint8)
    others[np.asarray(state.chosen)] = few
    changed = data._replace(train=data.train._replace(images=jnp.asarray(others)))
    for index in (0, 8):
        tick = tick._replace(index=jnp.int32(index))
        assert not moved(step(state, hyper, data, tick), step(state, hyper, changed, tick))


WRONG = {
    "classes": ({"conditional": False}, "set conditional"),
    "few": ({"few": 25}, "few=25 must be equally many of each of 10 classes; try 10 or 50"),
}


@pytest.mark.parametrize("name", WRONG)
def test_fields_that_do_not_fit_are_refused(name):
    change, told = WRONG[name]
    recipe = tiny("synthetic-data")
    with pytest.raises(ValueError, match=told):
        Plan(recipe, replace(recipe.setup, **change), (Row(0, recipe.hyper),), recipe.budget)
