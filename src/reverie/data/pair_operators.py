"""What pairs are made of where a source has single pictures: one side of the pair from the picture itself.

An operator turns pictures, uint8 (n, C, H, W) of 1 to 16 channels and any size, and their numbers (n,) into pictures of
the same height and width. Each is a function of its own picture and number alone, bit for bit: arithmetic keeps to
operations whose results are exact to the last bit for any array shape.

Of 2 or 4 channels the last is alpha. What changes colours (`night`, `invert`) leaves alpha as it is; what moves them
(`blur`, `downscale`) treats it as one more channel; the hole of `mask` is opaque; and what has no channel for it
(`edges`, `grey`, `tint`) sees the picture over white.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import Pixels

Numbers = NDArray[np.int64]
Operator = Callable[[Pixels, Numbers], Pixels]

MIDDLE = 128  # the grey of the hole
BLOCK = 4  # pixels of side that `downscale` makes one
NIGHT = np.array([0.40, 0.50, 0.85], np.float32)  # what is left of red, green and blue
DUSK = np.float32(0.55)  # what is left of any other channel
# Fractions of their multiples cover an interval, or a square, evenly; in units of 2**-32.
GOLDEN, PLASTIC = 2654435769, (3242174889, 2447445414)


def edges(pictures: Pixels, numbers: Numbers) -> Pixels:
    """(n, 1, H, W): the edges of `grey`, dark on white: 255 - |g| / 2, at least 0, where g is Sobel's gradient.

    Sobel's kernels are [1, 2, 1] across [-1, 0, 1], so a step of 128 between two flat areas is drawn in black, two
    pixels wide. Beyond the border the outermost pixels go on.
    """
    light = grey(pictures, numbers).astype(np.float32)
    down, right = (_weighed(_weighed(light, (1, 2, 1), other), (-1, 0, 1), along) for along, other in ((2, 3), (3, 2)))
    strength = np.rint(np.sqrt(np.square(down) + np.square(right)) * np.float32(0.5))
    return np.asarray(255 - np.minimum(strength, 255), np.uint8)


def grey(pictures: Pixels, numbers: Numbers) -> Pixels:
    """(n, 1, H, W): luminance, of Rec. 601 (as Pillow rounds it) where there are three colours, else their mean."""
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
    """(n, C, H, W): a Gaussian with a sigma of a 32nd of the shorter side; the outermost pixels go on beyond it."""
    sigma = min(pictures.shape[2:]) / 32
    reach = math.ceil(3 * sigma)
    bell = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(-reach, reach + 1)]
    weights = [weight / sum(bell) for weight in bell]
    return np.rint(_weighed(_weighed(pictures.astype(np.float32), weights, 2), weights, 3)).astype(np.uint8)


def mask(pictures: Pixels, numbers: Numbers) -> Pixels:
    """(n, C, H, W): a mid-grey square over a quarter of the area, where each picture's number says.

    In a picture more than four times as long as wide it is as large as fits.
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
    inside = (rows < side)[:, :, None] & (columns < side)[:, None, :]  # what lies before the start wrapped to huge
    holed = np.where(inside[:, None], np.uint8(MIDDLE), pictures)
    if _parted(pictures)[1] is not None:
        holed[:, -1][inside] = 255
    return holed


def downscale(pictures: Pixels, numbers: Numbers) -> Pixels:
    """(n, C, H, W): blocks of 4 x 4 pixels, from the upper left, and what is left of them, each in its mean colour."""
    sums, counts = pictures.astype(np.uint32), np.ones(pictures.shape[2:], np.uint32)
    for axis in (-2, -1):
        starts = np.arange(0, pictures.shape[axis], BLOCK)
        sums, counts = (np.add.reduceat(each, starts, axis=axis, dtype=np.uint32) for each in (sums, counts))
    means = ((sums + counts // 2) // counts).astype(np.uint8)
    height, width = pictures.shape[2:]
    return means.repeat(BLOCK, 2).repeat(BLOCK, 3)[:, :, :height, :width]


def night(pictures: Pixels, numbers: Numbers) -> Pixels:
    """(n, C, H, W): as by night: x (0.3 + 0.7 x) of a value x in [0, 1], then darker, bluer, and dark in the corners.

    Of red, green and blue 0.40, 0.50 and 0.85 are left, of other channels 0.55; times 1 - 0.3 (u^2 + v^2), where u and
    v go from -1 to 1 across the picture and down.
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
    """(n, C, H, W): 255 - x."""
    colours, alpha = _parted(pictures)
    return _joined(255 - colours, alpha)


def tint(pictures: Pixels, numbers: Numbers) -> Pixels:
    """(n, 3, H, W): `grey` in a full hue that each picture's number says: black stays black, white is the pure hue."""
    sixths = _evenly(numbers, GOLDEN).astype(np.float32) * np.float32(6 * 2**-32)
    # Red is whole within a sixth of the circle around 0, and gone beyond two; green and blue a third and two thirds on.
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
SIDE_B: dict[str, Operator] = {"colour": tint}  # of all others it is the picture as it is


def _parted(pictures: Pixels) -> tuple[Pixels, Pixels | None]:
    """The colours, and alpha where there is some."""
    return (pictures[:, :-1], pictures[:, -1:]) if pictures.shape[1] in (2, 4) else (pictures, None)


def _joined(colours: Pixels, alpha: Pixels | None) -> Pixels:
    return colours if alpha is None else np.concatenate([colours, alpha], 1)


def _weighed(values: NDArray[np.float32], weights: tuple[int, ...] | list[float], axis: int) -> NDArray[np.float32]:
    """The sum of neighbours along an axis, by an odd number of weights; the outermost go on beyond the border."""
    reach, size = len(weights) // 2, values.shape[axis]
    grown = np.moveaxis(values.take(np.clip(np.arange(-reach, size + reach), 0, size - 1), axis), axis, -2)
    total = np.zeros_like(grown[..., :size, :])
    for step, weight in enumerate(weights):
        total += grown[..., step : step + size, :] * np.float32(weight)
    return np.moveaxis(total, -2, axis)


def _evenly(numbers: Numbers, step: int) -> NDArray[np.uint64]:
    """For each number a place in 0 .. 2**32 - 1, such that those of successive numbers keep apart."""
    return numbers.astype(np.uint64) * np.uint64(step) & np.uint64(2**32 - 1)
