"""Pictures of where a translation looks in its source, for people. All of it runs on the host.

Dimensions: T tokens of the translation, S tokens of the source, H rows and W columns of pixels.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL, MARGIN, GAP = 22, 110, 16  # pixels: of a weight, for the longest token, between layers
INK, PAPER = (38, 42, 51), (255, 255, 255)
LETTERS = 12


def attention_maps(attention: np.ndarray, source: Sequence[str], target: Sequence[str]) -> np.ndarray:
    """Layers side by side, the source's tokens above and the translation's at the left, the darker the more weight.

    attention f32[layers,T,S] from 0 to 1, of which the first len(target) rows and len(source) columns are drawn
    -> u8[H,W,3]
    """
    rows, columns = max(1, len(target)), max(1, len(source))
    width, height = columns * CELL, MARGIN + rows * CELL
    whole = Image.new("RGB", (MARGIN + len(attention) * (width + GAP), height + GAP), PAPER)
    above, pen = lettering(source, width), ImageDraw.Draw(whole)
    font = typeface()
    for row, token in enumerate(target):
        place = (MARGIN - 6, MARGIN + (row + 0.5) * CELL)
        pen.text(place, shortened(token), INK, font, anchor="rm")
    for layer, weights in enumerate(attention):
        left = MARGIN + layer * (width + GAP)
        shade = 255 - np.clip(weights[:rows, :columns] * 255, 0, 255).astype(np.uint8)
        whole.paste(Image.fromarray(shade).resize((width, height - MARGIN), Image.Resampling.NEAREST), (left, MARGIN))
        pen.rectangle((left, MARGIN, left + width, height), outline=INK)
        whole.paste(above, (left, 0))
    return np.asarray(whole)


def lettering(tokens: Sequence[str], width: int) -> Image.Image:
    """Tokens written upwards, one above each column."""
    lying = Image.new("RGB", (MARGIN, width), PAPER)
    pen, font = ImageDraw.Draw(lying), typeface()
    for column, token in enumerate(tokens):
        pen.text((6, (column + 0.5) * CELL), shortened(token), INK, font, anchor="lm")
    return lying.transpose(Image.Transpose.ROTATE_90)


def typeface() -> ImageFont.FreeTypeFont:
    """matplotlib's own, which has the letters of many languages; Pillow's has English ones alone."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", CELL * 0.6)


def shortened(token: str) -> str:
    return token if len(token) <= LETTERS else token[: LETTERS - 1] + "…"
