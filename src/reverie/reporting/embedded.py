"""Pictures embedded in a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from reverie.data.png import png

LARGE, LARGE_BYTES = 1024, 1_000_000  # largest side in pixels, and size in bytes, of a picture


@dataclass(frozen=True)
class Embedded:
    """A picture as the attributes of an <img>."""

    source: str  # a data URI
    width: int
    height: int
    alt: str
    crisp: bool  # whether it is enlarged without smoothing


def embedded(
    path: Path, alt: str, side: int = LARGE, most: int = LARGE_BYTES, crop: tuple[int, int] | None = None
) -> Embedded:
    """The picture of a file, or its upper left part of ``crop`` (height, width), at most ``side`` pixels large.

    Where its PNG has more than ``most`` bytes, it is reduced to 256 colours.
    """
    with Image.open(path) as opened:
        picture = opened.copy()
    if crop:
        picture = picture.crop((0, 0, min(crop[1], picture.width), min(crop[0], picture.height)))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = png(picture)
    if len(data) > most:
        picture = picture.convert("RGBA").quantize(256, Image.Quantize.FASTOCTREE)
        data = png(picture)
    return Embedded(data_uri(data), picture.width, picture.height, alt, max(picture.size) <= side // 2)


def data_uri(data: bytes) -> str:
    """A PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
