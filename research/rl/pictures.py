"""Pictures of environments for people: a frame of a state where there is a drawing of its own, of an observation elsewhere.

All of it runs on the host; the drawings of gymnax's environments stand in adapters/gymnax_pictures.py.

Dimensions: H rows and W columns of pixels; T steps of an episode; O an observation's shape, C its channels.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, CAPTION = 400, 300, 30  # pixels
FINE = 3  # lines are smooth because they are drawn so much larger and scaled down

Colour = tuple[int, int, int]
Point = tuple[float, float]
PAPER, INK, GREY = (250, 250, 247), (38, 42, 51), (176, 180, 188)
BLUE, ORANGE, GREEN, RED = (0, 114, 178), (230, 134, 0), (0, 140, 100), (205, 72, 48)

# Cells: apart from each other and from NIGHT for most eyes (after Okabe and Ito 2008).
NIGHT = (22, 25, 34)
CHANNELS = (
    (86, 180, 233),
    (240, 228, 66),
    (230, 120, 40),
    (0, 180, 130),
    (214, 120, 180),
    (245, 245, 245),
    (80, 110, 240),
    (225, 60, 70),
    (150, 210, 90),
    (165, 140, 115),
)


class Canvas:
    """A picture of HEIGHT by WIDTH pixels that is drawn in a world's coordinates: (x, y), y upwards, lengths in x's unit."""

    def __init__(self, centre: Point, width: float, background: Colour = PAPER) -> None:
        """Shows `width` units of the world around its point `centre`."""
        self.centre, self.scale = centre, WIDTH * FINE / width
        self.image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), background)
        self.pen = ImageDraw.Draw(self.image)

    def pixel(self, point: Point) -> Point:
        x, y = point
        right, up = (x - self.centre[0]) * self.scale, (y - self.centre[1]) * self.scale
        return WIDTH * FINE / 2 + right, HEIGHT * FINE / 2 - up

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """A line with round ends and corners."""
        self.pen.line([self.pixel(p) for p in points], colour, max(1, round(width * self.scale)), "curve")
        for point in (points[0], points[-1]):
            self.disc(point, width / 2, colour)

    def disc(self, centre: Point, radius: float, colour: Colour) -> None:
        (x, y), r = self.pixel(centre), radius * self.scale
        self.pen.ellipse((x - r, y - r, x + r, y + r), colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        self.pen.polygon([self.pixel(p) for p in points], colour)

    def box(self, low: Point, high: Point, colour: Colour) -> None:
        self.polygon([low, (high[0], low[1]), high, (low[0], high[1])], colour)

    def frame(self) -> np.ndarray:
        """u8[H,W,3]"""
        return np.asarray(self.image.resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def board(tiles: np.ndarray, discs: dict[tuple[int, int], Colour], line: Colour = GREY) -> np.ndarray:
    """Tiles u8[rows,columns,3] as large as they fit, and discs on some of them -> u8[H,W,3]"""
    rows, columns = tiles.shape[:2]
    size = min(0.96 * WIDTH * FINE / columns, 0.96 * HEIGHT * FINE / rows)
    canvas = Canvas((columns / 2, -rows / 2), WIDTH * FINE / size)
    whole = Image.fromarray(tiles).resize((round(columns * size), round(rows * size)), Image.Resampling.NEAREST)
    left, top = (round(x) for x in canvas.pixel((0, 0)))
    canvas.image.paste(whole, (left, top))
    if size >= 8 * FINE:
        for row in range(rows + 1):
            canvas.line([(0, -row), (columns, -row)], line, FINE / size)
        for column in range(columns + 1):
            canvas.line([(column, 0), (column, -rows)], line, FINE / size)
    for (row, column), colour in discs.items():
        canvas.disc((column + 0.5, -row - 0.5), 0.33, colour)
    return canvas.frame()


def cells(observation: np.ndarray, largest: float) -> np.ndarray:
    """An observation f32[rows,columns] or [rows,columns,C] as cells: of the channels that are not 0 the last one's colour,
    the stronger the nearer its magnitude is to `largest` -> u8[H,W,3]

    Of rank 2, what is below 0 is a channel of its own.
    """
    if observation.ndim == 2:
        observation = np.stack([np.maximum(observation, 0), np.maximum(-observation, 0)], -1)
    strength = np.clip(np.abs(observation) / (largest or 1.0), 0, 1)  # [rows, columns, C]
    tiles = np.broadcast_to(np.array(NIGHT, np.float64), (*observation.shape[:2], 3))
    for channel in range(observation.shape[-1]):
        share = np.where(strength[..., channel] > 0, 0.15 + 0.85 * strength[..., channel], 0)[..., None]
        tiles = (1 - share) * tiles + share * np.array(CHANNELS[channel % len(CHANNELS)])
    return board(tiles.round().astype(np.uint8), {}, line=(44, 49, 62))


def bars(observation: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """The components of an observation f32[O] as bars, each against the magnitude `largest` f32[O] -> u8[H,W,3]"""
    count = len(observation)
    canvas = Canvas((count / 2, 0.0), 1.08 * count)
    reach = 0.4 * HEIGHT / WIDTH * 1.08 * count  # of a bar as high as it gets
    for i, value in enumerate(observation):
        up = reach * float(value) / (float(largest[i]) or 1.0)
        canvas.box((i + 0.2, min(0.0, up)), (i + 0.8, max(0.0, up)), BLUE if value >= 0 else RED)
    canvas.line([(0, 0), (count, 0)], INK, 0.006 * count)
    if count <= 8:
        for i, value in enumerate(observation):
            written(canvas, (i + 0.5, -1.14 * reach), f"{value:.3g}")
    return canvas.frame()


def written(canvas: Canvas, at: Point, text: str) -> None:
    canvas.pen.text(canvas.pixel(at), text, INK, font(13 * FINE), anchor="mm")


@functools.cache
def font(size: int) -> Any:
    return ImageFont.load_default(size)


def observed(observation: np.ndarray, largest: np.ndarray, one_hot: bool = False) -> np.ndarray:
    """An observation f32[O] of any environment: cells where it is of rank 2 or 3, a strip of cells where it names a state,
    bars elsewhere, against the magnitudes `largest` f32[O] -> u8[H,W,3]"""
    if one_hot:
        return cells(observation.reshape(1, -1), 1.0)
    if observation.ndim in (2, 3):
        return cells(observation, float(largest.max()))
    return bars(observation.reshape(-1), largest.reshape(-1))


def captioned(frame: np.ndarray, text: str) -> Image.Image:
    """A frame u8[H,W,3] of any size with a line of text beneath it."""
    height, width = frame.shape[:2]
    whole = Image.new("RGB", (width, height + CAPTION), "white")
    whole.paste(Image.fromarray(frame), (0, 0))
    ImageDraw.Draw(whole).text((10, height + CAPTION / 2), text, INK, font(15), anchor="lm")
    return whole


def frames(
    draw: Callable[[Any], np.ndarray] | None, one_hot: bool, states: Sequence[Any], observations: np.ndarray
) -> Iterator[np.ndarray]:
    """The pictures of an episode's T + 1 states, by `draw` or by their observations f32[T+1,O] -> u8[H,W,3] each.

    Observations are drawn against their largest magnitudes in the episode, so that one picture compares with the next.
    Raises ValueError where `draw` gives no picture.
    """
    largest = np.abs(observations).max(0)
    for state, observation in zip(states, observations, strict=True):
        frame = draw(state) if draw else observed(observation, largest, one_hot)
        if getattr(frame, "dtype", None) != np.uint8 or np.ndim(frame) != 3 or frame.shape[-1] != 3:
            told = f"{frame.dtype}{list(frame.shape)}" if isinstance(frame, np.ndarray) else type(frame).__name__
            raise ValueError(f"draw gives {told}; it must give a picture, uint8[height, width, 3], from 0 to 255")
        yield frame
