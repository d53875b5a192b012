"""Augmentation: hand-worked pixels, and the frequencies that the papers' rules imply."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from research.data import augment
from research.data.augment import _hole, _window

KEY = jax.random.key(0)
flip = jax.jit(augment.flip)
shift = jax.jit(augment.shift, static_argnums=2)
cutout = jax.jit(augment.cutout, static_argnums=2)
NAMED = {
    "shift": lambda key, images: shift(key, images, 2),
    "flip": flip,
    "cutout": lambda key, images: cutout(key, images, 3),
}


def batch(count: int, *rows: list[float]) -> np.ndarray:
    """The same one-channel image `count` times, f32[count,H,W,1]."""
    return np.tile(np.array(rows, np.float32)[None, :, :, None], (count, 1, 1, 1))


def test_window_at_the_first_corner_moves_the_image_down_and_right():
    # 1 2    padded by 1:  0 0 0 0    its window at (0, 0):  0 0
    # 3 4                  0 1 2 0                           0 1
    #                      0 3 4 0    and at (1, 2):         2 0
    #                      0 0 0 0                           4 0
    padded = jnp.pad(jnp.array([[1.0, 2.0], [3.0, 4.0]]), 1)[..., None]
    assert _window(padded, jnp.array([0, 0]), (2, 2, 1))[..., 0].tolist() == [[0, 0], [0, 1]]
    assert _window(padded, jnp.array([1, 2]), (2, 2, 1))[..., 0].tolist() == [[2, 0], [4, 0]]


def test_shift_makes_each_of_the_nine_moves_equally_often():
    moved = np.asarray(shift(KEY, batch(9000, [1.0, 2.0], [3.0, 4.0]), 1)).reshape(-1, 4).astype(int)
    found, counts = np.unique(moved, axis=0, return_counts=True)
    # Rows move by -1, 0, 1 and so do columns; written out row by row.
    nine = [
        [0, 0, 0, 1], [0, 0, 1, 2], [0, 0, 2, 0],
        [0, 1, 0, 3], [1, 2, 3, 4], [2, 0, 4, 0],
        [0, 3, 0, 0], [3, 4, 0, 0], [4, 0, 0, 0],
    ]  # fmt: skip
    assert found.tolist() == sorted(nine)
    # 1000 expected, standard deviation sqrt(9000 * 1/9 * 8/9) = 29.8
    assert (abs(counts - 1000) < 5 * 29.8).all()


def test_shift_keeps_channels_together():
    images = np.arange(2 * 3 * 3 * 3, dtype=np.float32).reshape(2, 3, 3, 3) + 1
    moved = np.asarray(shift(KEY, images, 2))
    inside = moved[..., 0] > 0
    # Channels of one pixel are consecutive numbers.
    assert (moved[inside][:, 1] - moved[inside][:, 0] == 1).all()
    assert (moved[inside][:, 2] - moved[inside][:, 0] == 2).all()
    assert (moved[~inside] == 0).all()


def test_flip_mirrors_columns_of_half_the_images():
    flipped = np.asarray(flip(KEY, batch(1000, [1.0, 2.0, 3.0], [4.0, 5.0, 6.0])))[..., 0]
    mirrored = (flipped == [[3, 2, 1], [6, 5, 4]]).all(axis=(1, 2))
    kept = (flipped == [[1, 2, 3], [4, 5, 6]]).all(axis=(1, 2))
    assert (mirrored ^ kept).all()
    assert abs(mirrored.sum() - 500) < 5 * 15.8  # sqrt(1000 / 4)


@pytest.mark.parametrize(
    "size, spans",
    [
        (1, ["1000", "0100", "0010", "0001"]),
        (2, ["1000", "1100", "0110", "0011"]),  # centre c covers c-1 and c
        (3, ["1100", "1110", "0111", "0011"]),  # centre c covers c-1, c and c+1
    ],
)
def test_a_hole_covers_its_centre_and_is_clipped_at_the_border(size, spans):
    holes = np.asarray(_hole(KEY, 2000, 4, size)).astype(int)
    found, counts = np.unique(["".join(map(str, hole)) for hole in holes], return_counts=True)
    assert sorted(found) == sorted(spans)
    assert (abs(counts - 500) < 5 * 19.4).all()  # sqrt(2000 * 1/4 * 3/4)


def test_cutout_zeroes_one_square_in_all_channels():
    cut = np.asarray(cutout(KEY, np.ones((4000, 4, 4, 3), np.float32), 2))
    assert (cut == cut[..., :1]).all()
    rows, columns = (cut[..., 0] == 0).any(axis=2), (cut[..., 0] == 0).any(axis=1)
    assert ((cut[..., 0] == 0) == rows[:, :, None] & columns[:, None, :]).all()
    # An axis loses 1 pixel of 4 with probability 1/4, else 2: 7/4 on average, and axes are independent: 49/16.
    # Variance: E[n^2]^2 - (49/16)^2 with E[n^2] = (1 + 3 * 4) / 4 = 13/4, so 10.5625 - 9.3789 = 1.1836.
    zeros = (cut[..., 0] == 0).sum(axis=(1, 2))
    assert abs(zeros.mean() - 49 / 16) < 5 * (1.1836 / 4000) ** 0.5


def test_rows_and_columns_of_an_oblong_image_are_not_confused():
    images = np.ones((500, 2, 6, 1), np.float32)
    assert shift(KEY, images, 2).shape == cutout(KEY, images, 4).shape == images.shape
    wide = (np.asarray(cutout(KEY, images, 4)) == 0).any(axis=(1, 3))  # [500, 6]: which columns have a hole
    assert wide.sum(axis=1).max() == 4


def test_nothing_to_do_changes_nothing():
    images = np.arange(150, dtype=np.float32).reshape(3, 5, 5, 2)
    assert (np.asarray(shift(KEY, images, 0)) == images).all()
    assert (np.asarray(cutout(KEY, images, 0)) == images).all()


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_in_a_vmapped_scan_every_row_gets_the_bits_it_gets_alone(name, dtype):
    images = np.random.default_rng(0).normal(size=(3, 4, 8, 8, 2)).astype(dtype)  # [rows, B, H, W, C]
    keys = jax.random.split(KEY, (3, 5))  # [rows, ticks]

    def rollout(images, keys):
        return jax.lax.scan(lambda x, key: (NAMED[name](key, x), None), images, keys)[0]

    alone = jax.jit(lambda image, row, tick: NAMED[name](keys[row, tick], image))
    together = jax.jit(jax.vmap(rollout))(images, keys)
    assert together.dtype == dtype and together.shape == images.shape
    for row, expected in enumerate(images):
        for tick in range(5):
            expected = alone(expected, row, tick)
        assert (np.asarray(together[row]) == np.asarray(expected)).all()


@pytest.mark.parametrize("name", NAMED)
def test_images_draw_for_themselves_and_the_key_decides(name):
    images = np.tile(np.arange(1, 65, dtype=np.float32).reshape(1, 8, 8, 1), (32, 1, 1, 1))
    once, again, other = (np.asarray(NAMED[name](jax.random.key(seed), images)) for seed in (1, 1, 2))
    assert (once == again).all()
    assert (once != other).any()
    assert len(np.unique(once.reshape(32, -1), axis=0)) > 1
