"""Draw rows of factors as pictures of any size, and as maps of the part that each pixel shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from reverie.data.faces import hair, head
from reverie.data.faces.factors import CLASSES, FACTORS, values_of
from reverie.data.faces.paint import Array, rgb, toward
from reverie.data.faces.scene import WHITE, Scene
from reverie.errors import ReverieError

SMALLEST = 8  # pixels per side; below this a face has no eyes

PARTS = ("background", "hair", "body", "face", "nose", "mouth", "eyes", "glasses", "brows")
# (len(PARTS), 3): the corners and the centre of the RGB cube, so that all colours are far apart.
PART_COLOURS: npt.NDArray[np.uint8] = rgb(
    *("0000ff", "ff0000", "00ff00", "ffff00", "ff00ff", "000000", "ffffff", "00ffff", "808080")
).astype(np.uint8)
CHUNK_PIXELS = 1 << 17  # pixels drawn together: few enough for the CPU cache, enough to amortise numpy's overhead


def render(factors: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw rows of factors: (N, len(FACTORS)) -> RGB (N, 3, height, width). Values beyond a factor's range are clipped.

    The face fits the shorter side; backdrop and shirt fill the rest of a picture that is not square.
    """
    return _drawn(factors, height, width, _draw)


def render_labels(factors: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.uint8]:
    """The part that each pixel of `render`'s pictures shows, as `PART_COLOURS`: (N, 3, height, width).

    A pixel shows the front part that covers at least half of it. Glasses are the frame only; the face includes ears and
    cheeks.
    """
    return _drawn(factors, height, width, _draw_labels)


def _drawn(
    factors: npt.NDArray[Any], height: int, width: int, draw: Callable[[Array, int, int], npt.NDArray[np.uint8]]
) -> npt.NDArray[np.uint8]:
    if min(height, width) < SMALLEST:
        raise ReverieError(f"a face needs at least {SMALLEST} pixels per side, not {height} x {width}")
    rows = np.asarray(factors, dtype=np.float32)
    if rows.ndim != 2 or rows.shape[1] != len(FACTORS):
        raise ReverieError(f"factors must have shape (N, {len(FACTORS)}), one column per factor, not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ReverieError("factors must be finite numbers")
    pictures = np.empty((len(rows), 3, height, width), dtype=np.uint8)
    for chosen in _alike(rows, max(1, CHUNK_PIXELS // (height * width))):
        pictures[chosen] = draw(rows[chosen], height, width)
    return pictures


def _alike(rows: Array, size: int) -> Iterator[npt.NDArray[np.intp]]:
    """Indices of rows that can be drawn together (same hair style and glasses), at most ``size`` at once.

    They are sorted by yaw, so that features are at similar positions and a small window holds them.
    """
    kind = values_of(rows, "hair_style") * len(CLASSES) + values_of(rows, "glasses")
    order = np.lexsort((values_of(rows, "yaw"), kind))
    for members in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _draw(rows: Array, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw rows of one hair style, all with glasses or all without, back to front: (N, 3, height, width)."""
    scene = Scene(rows, height, width)
    _backdrop(scene)
    for _, painter in _LAYERS:
        painter(scene)
    scene.colours += 0.5
    return scene.colours.astype(np.uint8)


def _draw_labels(rows: Array, height: int, width: int) -> npt.NDArray[np.uint8]:
    """As `_draw`, with each part in its own flat colour."""
    scene = Scene(rows, height, width)
    colours = dict(zip(PARTS, PART_COLOURS.astype(np.float32), strict=True))
    scene.colours[:] = colours["background"][:, None, None]
    for part, painter in _LAYERS:
        scene.flat = colours[part]
        painter(scene)
    return scene.colours.astype(np.uint8)


def _backdrop(scene: Scene) -> None:
    """A pastel, light behind the head and deeper towards the corners."""
    inner, outer = toward(scene.backdrop, WHITE, 0.68), toward(scene.backdrop, WHITE, 0.04)
    far = np.square(scene.x + 0.25) + np.square(scene.y + 0.35)
    far = np.minimum(far * 0.36, 1)
    np.multiply((outer - inner)[:, :, None, None], far[:, None], out=scene.colours)
    scene.colours += inner[:, :, None, None]


# The painters in their order, back to front, each with the part that it paints.
_LAYERS: tuple[tuple[str, Callable[[Scene], None]], ...] = (
    ("hair", hair.behind),
    ("body", head.body),
    ("face", head.head),
    ("face", head.cheeks),
    ("nose", head.nose),
    ("mouth", head.mouth),
    ("eyes", head.eyes),
    ("glasses", head.spectacles),
    ("hair", hair.before),
    ("brows", head.brows),
)
