"""Pictures of samples, for people. All of it runs on the host.

Dimensions: M samples, K modes.
"""

import numpy as np
from PIL import Image, ImageDraw

from research.gan.mixture import Mixture

SIDE, MARGIN = 240, 1.3  # pixels; the picture reaches so many times as far as the farthest mode
INK, MODE, PAPER = (0, 90, 160), (210, 210, 210), (255, 255, 255)


def scatter(samples: np.ndarray, mixture: Mixture) -> np.ndarray:
    """Samples f32[M,2] as dots over grey discs of three deviations, at least three pixels, where the modes are ->
    u8[SIDE,SIDE,3]. What lies outside of the picture is drawn at its edge."""
    reach = MARGIN * float(np.abs(mixture.centres).max())
    picture = Image.new("RGB", (SIDE, SIDE), PAPER)
    pen = ImageDraw.Draw(picture)
    across = max(3.0, 3 * float(mixture.deviation) * SIDE / (2 * reach))
    for x, y in pixels(np.asarray(mixture.centres), reach):
        pen.ellipse((x - across, y - across, x + across, y + across), fill=MODE)
    for x, y in pixels(samples, reach):
        pen.ellipse((x - 1, y - 1, x + 1, y + 1), fill=INK)
    return np.asarray(picture)


def pixels(points: np.ndarray, reach: float) -> np.ndarray:
    """Points f32[N,2] from -reach to reach -> columns and rows f64[N,2], the second coordinate upwards"""
    whole = np.nan_to_num(np.asarray(points, np.float64), nan=reach)
    return (np.clip(whole / reach, -1, 1) * (1, -1) + 1) / 2 * (SIDE - 1)
