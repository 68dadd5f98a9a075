"""The sizes of pictures in lossless files, a measure of how simple they are."""

from __future__ import annotations

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor

from reverie.data.image_io import to_uint8
from reverie.data.png import png
from reverie.scale import quantised

WEBP_SIDE = 16383  # pixels; that format has no larger pictures


def code_lengths(images: Tensor, depth: int) -> NDArray[np.float64]:
    """(N,) size in nats of each picture as a PNG or, if smaller, at 8 bits and where Pillow can, a lossless WebP."""
    if depth == 16:
        deep = quantised((images.float().cpu().numpy() + 1) / 2, 16)
        return np.array([8 * len(png(Image.fromarray(picture[0]))) for picture in deep], np.float64) * math.log(2)
    webp = features.check("webp")
    bits = []
    for pixels in to_uint8(images):
        picture = _picture(pixels)
        files = [png(picture)]
        if webp and max(picture.size) <= WEBP_SIDE:
            stream = io.BytesIO()
            picture.save(stream, "WEBP", lossless=True, exact=True, quality=100, method=4)
            files.append(stream.getvalue())
        bits.append(8 * min(map(len, files)))
    return np.array(bits, np.float64) * math.log(2)


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """The picture (C, H, W); where no mode has so many channels, they are stacked vertically in grey."""
    channels, _, width = pixels.shape
    if channels == 1 or channels > 4:
        return Image.fromarray(pixels.reshape(-1, width))
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))
