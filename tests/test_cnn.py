"""The classic nets: sizes worked by hand, every image size, compute types."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.models.cnn import NETS, initialize


def parameters(name, shape):
    net = NETS[name]()
    params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, *shape)))
    return sum(x.size for x in jax.tree.leaves(params))


@pytest.mark.parametrize(
    ("name", "shape", "count"),
    [
        # conv 9*1*32+32, conv 9*32*64+64, dense 7*7*64*128+128, dense 128*10+10
        ("conv32-conv64-dense128", (28, 28, 1), 320 + 18_496 + 401_536 + 1_290),
        # conv 25*3*6+6, conv 25*6*16+16, dense 8*8*16*120+120, dense 120*84+84, dense 84*10+10
        ("lenet", (32, 32, 3), 456 + 2_416 + 123_000 + 10_164 + 850),
        # conv 9*3*32+32, conv 9*32*64+64, conv 9*64*64+64, dense 8*8*64*64+64, dense 64*10+10
        ("conv32", (32, 32, 3), 896 + 18_496 + 36_928 + 262_208 + 650),
    ],
)
def test_number_of_parameters(name, shape, count):
    assert parameters(name, shape) == count


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("shape", [(8, 8, 1), (28, 28, 1), (32, 32, 3)])
def test_every_net_takes_every_image_size(name, shape):
    assert jax.eval_shape(NETS[name]().init_with_output, jax.random.key(0), jnp.ones((3, *shape)))[0].shape == (3, 10)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_logits_and_parameters_are_float32(name, dtype):
    images = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    logits, params = jax.jit(NETS[name](classes=7, dtype=dtype).init_with_output)(jax.random.key(1), images)
    assert (logits.shape, logits.dtype) == ((3, 7), jnp.float32)
    assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert jnp.isfinite(logits).all() and jnp.ptp(logits) > 0


def test_one_draw_initialises_as_flax_does():
    net, images = NETS["conv32-conv64-dense128"](), jnp.ones((1, 28, 28, 1))
    ours, flax = (jax.jit(f)(jax.random.key(1), images) for f in (lambda k, x: initialize(net, k, x), net.init))
    assert jax.tree.map(lambda x: (x.shape, x.dtype), ours) == jax.tree.map(lambda x: (x.shape, x.dtype), flax)
    for mine, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(flax), strict=True):
        if mine.ndim == 1:
            assert not mine.any() and not theirs.any()
            continue
        deviation = (mine.size / mine.shape[-1]) ** -0.5
        # A sample's deviation is off by 1 / sqrt(2 n); five times that covers both.
        assert [mine.std(), theirs.std()] == pytest.approx([deviation] * 2, rel=5 / (2 * mine.size) ** 0.5)
        assert abs(mine.mean()) < 5 * deviation / mine.size**0.5
        assert np.abs(mine).max() <= 2.28 * deviation  # cut at 2, then widened to the deviation wanted
