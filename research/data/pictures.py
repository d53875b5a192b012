"""Many images as one picture, and several pictures as an animation, for people.

Dimensions: N images, H rows, W columns, C channels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from research.engine.files import replacing


def tiled(images: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The first images u8[N,H,W,C], `columns` in a row, a white line between them, white where there are fewer ->
    u8[H',W',3]. One channel is grey; of two and more the first three are red, green and blue."""
    count, height, width, channels = images.shape
    canvas = np.full((rows * columns, height + 1, width + 1, 3), 255, np.uint8)
    shown = images[: rows * columns, ..., :3]
    canvas[:count, :height, :width] = 0
    canvas[:count, :height, :width, : 3 if channels == 1 else channels] = shown
    places = canvas.reshape(rows, columns, height + 1, width + 1, 3).transpose(0, 2, 1, 3, 4)
    return places.reshape(rows * (height + 1), columns * (width + 1), 3)  # [rows * H, columns * W, 3]


def save_gif(path: Path, pictures: Sequence[Image.Image], milliseconds: int) -> None:
    """Replaces `path` whole by an animation of the pictures, the last of which stays for a second longer."""
    few = [picture.quantize(128, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE) for picture in pictures]
    path.parent.mkdir(parents=True, exist_ok=True)
    lasting = [milliseconds] * (len(few) - 1) + [milliseconds + 1000]
    with replacing(path) as part:
        few[0].save(part, "GIF", save_all=True, append_images=few[1:], duration=lasting, loop=0)
