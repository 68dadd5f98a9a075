"""Operators that make pairs from single pictures, for translation: one side is computed from the picture.

An operator maps pictures, uint8 (n, C, H, W) with 1 to 16 channels, and their numbers in the data set (n,), which seed
what varies, to uint8 pictures of the same height and width. Each result depends only on its own picture and number, bit
for bit: only operations whose results are the same for every array shape are used.

The last of 2 or 4 channels is alpha. `night` and `invert`, which change colours, keep alpha; `blur` and `downscale`,
which mix pixels, treat it as one more channel; the hole of `mask` is opaque; `edges`, `grey` and `tint`, whose results
have no alpha, composite the picture over white.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import Pixels

Numbers = NDArray[np.int64]
Operator = Callable[[Pixels, Numbers], Pixels]

MIDDLE = 128  # grey value of the hole
BLOCK = 4  # side in pixels of the blocks of `downscale`
NIGHT = np.array([0.40, 0.50, 0.85], np.float32)  # factors on red, green and blue
DUSK = np.float32(0.55)  # factor on the channels of pictures that are not RGB
# Low-discrepancy constants in units of 2**-32: fractions of their multiples cover an interval, or a square, evenly.
GOLDEN, PLASTIC = 2654435769, (3242174889, 2447445414)


def edges(pictures: Pixels, numbers: Numbers) -> Pixels:
    """Edges of `grey`, dark on white, (n, 1, H, W): max(0, 255 - |g| / 2), where g is the Sobel gradient.

    The Sobel kernels are outer products of [1, 2, 1] and [-1, 0, 1]: a step of 128 between two flat areas becomes a
    black line, two pixels wide. The border is padded by repeating the outermost pixels.
    """
    light = grey(pictures, numbers).astype(np.float32)
    down, right = (_weighed(_weighed(light, (1, 2, 1), other), (-1, 0, 1), along) for along, other in ((2, 3), (3, 2)))
    strength = np.rint(np.sqrt(np.square(down) + np.square(right)) * np.float32(0.5))
    return np.asarray(255 - np.minimum(strength, 255), np.uint8)


def grey(pictures: Pixels, numbers: Numbers) -> Pixels:
    """Greyscale, (n, 1, H, W): Rec. 601 luma (rounded as by Pillow) of RGB, else the mean of the channels."""
    colours, alpha = _parted(pictures)
    values = colours.astype(np.uint32)
    if alpha is not None:
        values = (values * alpha + (255 - alpha.astype(np.uint32)) * 255 + 127) // 255
    if values.shape[1] == 3:
        light = (values[:, 0] * 19595 + values[:, 1] * 38470 + values[:, 2] * 7471 + 32768) >> 16
    else:
        light = (values.sum(1, dtype=np.uint32) + values.shape[1] // 2) // values.shape[1]
    return light[:, None].astype(np.uint8)


def blur(pictures: Pixels, numbers: Numbers) -> Pixels:
    """Gaussian blur, (n, C, H, W): sigma is 1/32 of the shorter side; the border is padded by repetition."""
    sigma = min(pictures.shape[2:]) / 32
    reach = math.ceil(3 * sigma)
    bell = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(-reach, reach + 1)]
    weights = [weight / sum(bell) for weight in bell]
    return np.rint(_weighed(_weighed(pictures.astype(np.float32), weights, 2), weights, 3)).astype(np.uint8)


def mask(pictures: Pixels, numbers: Numbers) -> Pixels:
    """A mid-grey square over a quarter of the area, (n, C, H, W); its position depends on the picture's number.

    If the longer side is more than four times the shorter, the square is as large as the shorter side.
    """
    height, width = pictures.shape[2:]
    side = min(height, width, max(1, round(math.sqrt(height * width) / 2)))
    top, left = (
        _evenly(numbers, step) * np.uint64(room - side + 1) >> np.uint64(32)
        for step, room in zip(PLASTIC, (height, width), strict=True)
    )
    rows, columns = (
        np.arange(size, dtype=np.uint64) - start[:, None] for start, size in ((top, height), (left, width))
    )
    inside = (rows < side)[:, :, None] & (columns < side)[
        :, None, :
    ]  # positions before the start wrapped around to large numbers
    holed = np.where(inside[:, None], np.uint8(MIDDLE), pictures)
    if _parted(pictures)[1] is not None:
        holed[:, -1][inside] = 255
    return holed


def downscale(pictures: Pixels, numbers: Numbers) -> Pixels:
    """Blocks of 4 x 4 pixels (smaller at the right and lower border) in their mean colour, (n, C, H, W)."""
    sums, counts = pictures.astype(np.uint32), np.ones(pictures.shape[2:], np.uint32)
    for axis in (-2, -1):
        starts = np.arange(0, pictures.shape[axis], BLOCK)
        sums, counts = (np.add.reduceat(each, starts, axis=axis, dtype=np.uint32) for each in (sums, counts))
    means = ((sums + counts // 2) // counts).astype(np.uint8)
    height, width = pictures.shape[2:]
    return means.repeat(BLOCK, 2).repeat(BLOCK, 3)[:, :, :height, :width]


def night(pictures: Pixels, numbers: Numbers) -> Pixels:
    """The picture at night, (n, C, H, W): x (0.3 + 0.7 x) of a value x in [0, 1], darkened, tinted blue, vignetted.

    The factors on red, green and blue are 0.40, 0.50 and 0.85, on other channels 0.55; the vignette is
    1 - 0.3 (u^2 + v^2), where u and v go from -1 to 1 across the picture and down.
    """
    colours, alpha = _parted(pictures)
    height, width = pictures.shape[2:]
    v, u = (
        (np.arange(size, dtype=np.float32) * 2 + np.float32(1 - size)) / np.float32(size) for size in (height, width)
    )
    frame = 1 - np.float32(0.3) * (np.square(u) + np.square(v)[:, None])
    left = NIGHT[:, None, None] if colours.shape[1] == 3 else DUSK
    x = colours.astype(np.float32) / np.float32(255)
    x = x * (np.float32(0.3) + np.float32(0.7) * x) * (left * frame)
    return _joined(np.rint(x * 255).astype(np.uint8), alpha)


def invert(pictures: Pixels, numbers: Numbers) -> Pixels:
    """The negative, 255 - x, (n, C, H, W)."""
    colours, alpha = _parted(pictures)
    return _joined(255 - colours, alpha)


def tint(pictures: Pixels, numbers: Numbers) -> Pixels:
    """`grey` times a saturated hue that depends on the picture's number, (n, 3, H, W): white becomes the pure hue."""
    sixths = _evenly(numbers, GOLDEN).astype(np.float32) * np.float32(6 * 2**-32)
    # HSV hue to RGB: red is 1 within a sixth of the circle around 0, and 0 from two sixths on; green and blue likewise
    # around a third and two thirds.
    distance = np.abs((sixths[:, None] + np.array([0, 4, 2], np.float32) + 3) % 6 - 3)
    hue = np.clip(2 - distance, 0, 1)
    return np.asarray(np.rint(grey(pictures, numbers) * hue[:, :, None, None]), np.uint8)


SIDE_A: dict[str, Operator] = {
    "edges": edges,
    "grey": grey,
    "blur": blur,
    "mask": mask,
    "downscale": downscale,
    "night": night,
    "invert": invert,
    "colour": grey,
}
SIDE_B: dict[str, Operator] = {"colour": tint}  # for all others, side B is the picture itself


def _parted(pictures: Pixels) -> tuple[Pixels, Pixels | None]:
    """The colours, and alpha or None."""
    return (pictures[:, :-1], pictures[:, -1:]) if pictures.shape[1] in (2, 4) else (pictures, None)


def _joined(colours: Pixels, alpha: Pixels | None) -> Pixels:
    return colours if alpha is None else np.concatenate([colours, alpha], 1)


def _weighed(values: NDArray[np.float32], weights: tuple[int, ...] | list[float], axis: int) -> NDArray[np.float32]:
    """Correlate an axis with an odd number of weights; the border is padded by repeating the outermost values."""
    reach, size = len(weights) // 2, values.shape[axis]
    grown = np.moveaxis(values.take(np.clip(np.arange(-reach, size + reach), 0, size - 1), axis), axis, -2)
    total = np.zeros_like(grown[..., :size, :])
    for step, weight in enumerate(weights):
        total += grown[..., step : step + size, :] * np.float32(weight)
    return np.moveaxis(total, -2, axis)


def _evenly(numbers: Numbers, step: int) -> NDArray[np.uint64]:
    """A low-discrepancy sequence: each number mapped to 0 .. 2**32 - 1, successive ones far apart."""
    return numbers.astype(np.uint64) * np.uint64(step) & np.uint64(2**32 - 1)
