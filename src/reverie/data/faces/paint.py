"""Paint anti-aliased shapes on many pictures at once, as array operations.

Every shape is a signed distance (negative inside), in units where the shorter side of the picture spans -1..1 (x right,
y down). The coverage of a pixel is a ramp of the distance in pixels, so that edges are anti-aliased at every size. A
shape is painted in a window of the canvas, to save time.

Arithmetic on arrays uses only + - * /, squares, square roots, minimum, maximum and rounding, whose results are the same
to the last bit for any array shape (a power or a sine may not be): a picture does not depend on the others in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating[Any]]  # always float32: Python numbers in the formulas do not promote it


def rgb(*colours: str) -> Array:
    """Hexadecimal colours as rows of 0..255."""
    return np.array([list(bytes.fromhex(colour)) for colour in colours], dtype=np.float32)


def palette(colours: Array, position: Array) -> Array:
    """Interpolate evenly spaced colours (K, 3) at a position (N,) in 0..1 -> (N, 3)."""
    place = position * (len(colours) - 1)
    left = np.minimum(place.astype(np.intp), len(colours) - 2)
    return toward(colours[left], colours[left + 1], (place - left.astype(np.float32))[:, None])


def toward(colour: Array, other: Array, share: Array | float) -> Array:
    """Mix ``share`` of the other colour into this one."""
    return colour + (other - colour) * share


@dataclass(frozen=True)
class Spot:
    """The projection of a point on the turned head, and the foreshortening there; each (N, 1, 1)."""

    x: Array
    y: Array
    squeeze_x: Array
    squeeze_y: Array


@dataclass(frozen=True)
class Patch:
    """A window of the canvas: x (1, 1, w) and y (1, h, 1) of its pixels, and a view of their colours (N, 3, h, w)."""

    x: Array
    y: Array
    view: Array
    pixel: float
    flat: Array | None = None  # (3,): makes the patch a stencil, which paints only this colour

    def cover(self, distance: Array, blur: float = 0.0) -> Array:
        """How much of each pixel a shape covers, 0..1: a ramp as wide as a pixel, or as ``blur`` if that is wider."""
        cover: Array = distance * (-1 / max(self.pixel, blur))
        cover += 0.5
        np.maximum(cover, 0, out=cover)
        np.minimum(cover, 1, out=cover)
        return cover

    def paint(self, cover: Array, colour: Array, opacity: float = 1.0) -> None:
        """Lay a colour, (N or 1, 3) or (N, 3, h, w or 1), over the patch where cover (N, h, w) says.

        A stencil paints its own colour on pixels that are covered by at least half, and no translucent paint.
        """
        if self.flat is not None:
            if opacity == 1.0:
                np.copyto(self.view, self.flat[:, None, None], where=(cover >= 0.5)[:, None])
            return
        if opacity != 1.0:
            cover = cover * opacity
        change = (colour[:, :, None, None] if colour.ndim == 2 else colour) - self.view
        change *= cover[:, None]
        self.view[...] += change


def ellipse(x: Array, y: Array, radius_x: Array | float, radius_y: Array | float) -> Array:
    """Distance to an ellipse around the origin, exact to first order at its edge."""
    inverse_x, inverse_y = 1 / radius_x, 1 / radius_y
    square_x, square_y = np.square(x * inverse_x), np.square(y * inverse_y)
    slope: Array = square_x * (2 * inverse_x) ** 2 + (square_y * (2 * inverse_y) ** 2 + 1e-6)
    distance: Array = square_x + (square_y - 1)
    distance /= np.sqrt(slope, out=slope)
    return distance


def glow(x: Array, y: Array, radius_x: Array | float, radius_y: Array | float) -> Array:
    """A soft spot: 1 at the origin, smoothly 0 at the ellipse."""
    soft: Array = (1 - np.square(x / radius_x)) - np.square(y / radius_y)
    np.maximum(soft, 0, out=soft)
    soft *= soft
    return soft


def positive(x: Array) -> Array:
    """The part of x above zero."""
    return np.maximum(x, 0)


def negative(x: Array) -> Array:
    """The part of x below zero."""
    return np.minimum(x, 0)


def clamp(x: Array) -> Array:
    """x within 0..1."""
    return np.minimum(np.maximum(x, 0), 1)


class Canvas:
    """The pictures being painted: colours (N, 3, h, w), and x (1, 1, w) and y (1, h, 1) of their pixels."""

    flat: Array | None = None  # a colour (3,) turns the patches into stencils

    def __init__(self, count: int, height: int, width: int) -> None:
        self.colours = np.empty((count, 3, height, width), dtype=np.float32)
        self.pixel = 2 / min(height, width)
        self.x = ((np.arange(width, dtype=np.float32) + (0.5 - width / 2)) * self.pixel)[None, None, :]
        self.y = ((np.arange(height, dtype=np.float32) + (0.5 - height / 2)) * self.pixel)[None, :, None]

    def patch(self, left: float, right: float, top: float, bottom: float) -> Patch:
        """The window of the pixels that a shape within these bounds may touch."""
        columns = slice(*np.searchsorted(self.x[0, 0], [left - self.pixel, right + self.pixel]))
        lines = slice(*np.searchsorted(self.y[0, :, 0], [top - self.pixel, bottom + self.pixel]))
        view = self.colours[:, :, lines, columns]
        return Patch(self.x[:, :, columns], self.y[:, lines], view, self.pixel, self.flat)

    def around(self, spot: Spot, reach_x: float, reach_y: float) -> Patch:
        """The window of all pixels within reach of the spot in any of the pictures."""
        left, right = float(spot.x.min()) - reach_x, float(spot.x.max()) + reach_x
        return self.patch(left, right, float(spot.y.min()) - reach_y, float(spot.y.max()) + reach_y)
