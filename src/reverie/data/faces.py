"""Cartoon faces, drawn from named factors: an endless data set whose ground truth is known.

A face is a row of :data:`FACTORS`. :func:`draw_factors` makes the row of any index by hashing, so there is no state and
no end; :func:`render` draws rows as pictures of any size, of shapes from :mod:`reverie.data.paint`, and
:func:`render_labels` as maps of their :data:`PARTS`.

Two rules keep a picture a function of its row alone, bit for bit: arithmetic on arrays keeps to the operations which
that module names, and a shape covers nothing outside its window.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reverie.data.paint import (
    Array,
    Canvas,
    Patch,
    Spot,
    clamp,
    ellipse,
    glow,
    negative,
    palette,
    positive,
    rgb,
    toward,
)
from reverie.errors import ReverieError


@dataclass(frozen=True)
class Factor:
    """One ground-truth factor: uniform in low..high, or one of 0..values-1 where ``values`` is set."""

    name: str
    low: float
    high: float
    values: int = 0


HAIR_STYLES = ("bald", "short", "bob", "long", "curly", "bun")
HAIR_COLOURS = ("black", "brown", "ginger", "blond", "silver", "rose")
CLASSES: tuple[str, ...] = ("plain", "glasses")

FACTORS: tuple[Factor, ...] = (
    Factor("smile", -1, 1),  # frown .. grin
    Factor("yaw", -1, 1),  # towards the picture's left .. right, 22 degrees each way
    Factor("pitch", -1, 1),  # down .. up, 12 degrees each way
    Factor("eye_open", 0, 1),
    Factor("gaze", -1, 1),  # pupils towards the picture's left .. right
    Factor("hair_colour", 0, len(HAIR_COLOURS) - 1, len(HAIR_COLOURS)),
    Factor("hair_style", 0, len(HAIR_STYLES) - 1, len(HAIR_STYLES)),
    Factor("skin_tone", 0, 1),  # light .. dark
    Factor("glasses", 0, 1, len(CLASSES)),
    Factor("face_width", 0, 1),
    Factor("background", 0, 1),  # hue, coral .. violet: not the full circle, so that near values look alike
)
_COLUMN = {factor.name: column for column, factor in enumerate(FACTORS)}

SMALLEST = 8  # pixels per side; below this a face has no eyes

PARTS = ("background", "hair", "body", "face", "nose", "mouth", "eyes", "glasses", "brows")
# (len(PARTS), 3): the corners of the cube of colours and its middle, each as far from the others as can be.
PART_COLOURS: npt.NDArray[np.uint8] = rgb(
    *("0000ff", "ff0000", "00ff00", "ffff00", "ff00ff", "000000", "ffffff", "00ffff", "808080")
).astype(np.uint8)


def draw_factors(indices: npt.NDArray[Any], seed: int = 0) -> Array:
    """The factors of the faces ``indices`` (integers, shape (N,)): (N, len(FACTORS)), a function of (seed, index)."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise ReverieError(f"face indices must be a list of integers, not {indices.dtype} of shape {indices.shape}")
    stream = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
    rows = _mix(indices.astype(np.uint64) ^ stream)
    columns = np.arange(len(FACTORS), dtype=np.uint64)
    bits = _mix(rows[:, None] + columns * np.uint64(_GOLDEN)) >> np.uint64(40)  # 24 bits: exact in float32
    factors = np.empty(bits.shape, dtype=np.float32)
    for column, factor in enumerate(FACTORS):
        if factor.values:
            factors[:, column] = (bits[:, column] * np.uint64(factor.values)) >> np.uint64(24)
        else:
            unit = bits[:, column].astype(np.float32) * np.float32(2**-24)
            factors[:, column] = factor.low + unit * (factor.high - factor.low)
    return factors


def labels(factors: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The class of each row, an index into :data:`CLASSES`: (N,)."""
    return (np.asarray(factors)[:, _COLUMN["glasses"]] >= 0.5).astype(np.int64)


def render(factors: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw rows of factors: (N, len(FACTORS)) -> RGB (N, 3, height, width). Values beyond a factor's range are clipped.

    The face fits the shorter side; backdrop and shirt fill the rest of a picture that is not square.
    """
    return _drawn(factors, height, width, _draw)


def render_labels(factors: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.uint8]:
    """Which part each pixel of `render`'s pictures shows: (N, 3, height, width), every pixel one of `PART_COLOURS`.

    A part owns the pixels it covers by half or more. Glasses are their frame alone; ears and cheeks belong to the face.
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
    for chosen in _alike(rows, max(1, _CHUNK_PIXELS // (height * width))):
        pictures[chosen] = draw(rows[chosen], height, width)
    return pictures


# ---------------------------------------------------------------------------------------------- faces drawn together

_GOLDEN = 0x9E3779B97F4A7C15
_CHUNK_PIXELS = 1 << 17  # pictures drawn together: their planes stay in the cache, numpy's overhead stays small


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One output of splitmix64: every bit of the result depends on every bit of the state."""
    state = state + np.uint64(_GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def _alike(rows: Array, size: int) -> Iterator[npt.NDArray[np.intp]]:
    """Rows that are drawn by the same program (hair style and glasses), at most ``size`` at once.

    They come in the order of their yaw: features that are near each other fit a small window.
    """
    kind = _column(rows, "hair_style") * len(CLASSES) + _column(rows, "glasses")
    order = np.lexsort((_column(rows, "yaw"), kind))
    for members in np.split(order, np.flatnonzero(np.diff(kind[order])) + 1):
        for start in range(0, len(members), size):
            yield members[start : start + size]


def _column(rows: Array, name: str) -> Array:
    """A factor of each row, within its range; whole where it is categorical: (N,)."""
    factor = FACTORS[_COLUMN[name]]
    values = np.minimum(np.maximum(rows[:, _COLUMN[name]], factor.low), factor.high)
    return np.rint(values) if factor.values else values


class _Scene(Canvas):
    """A few faces in the making: their canvas, and every quantity the painters share, each (N, 1, 1)."""

    def __init__(self, rows: Array, height: int, width: int) -> None:
        super().__init__(len(rows), height, width)
        each = {factor.name: _column(rows, factor.name) for factor in FACTORS}
        self.smile, eye_open, self.gaze, wide, yaw, pitch = (
            each[name][:, None, None] for name in ("smile", "eye_open", "gaze", "face_width", "yaw", "pitch")
        )
        self.open = eye_open * (2 - eye_open)  # so that half of all faces do not look sleepy
        self.style = HAIR_STYLES[int(each["hair_style"][0])]
        self.glasses = bool(each["glasses"][0])

        self.turn, self.nod = yaw * 0.37, pitch * 0.21  # sines of the angles
        self.turn_cos, self.nod_cos = np.sqrt(1 - self.turn**2), np.sqrt(1 - self.nod**2)
        self.head_x, self.head_y = yaw * 0.04, pitch * -0.03
        self.head_a, self.head_b = wide * 0.14 + 0.455, 0.59

        self.skin = palette(_SKIN, each["skin_tone"])
        self.skin_shade = self.skin * _SKIN_SHADE
        self.hair = _HAIR[each["hair_colour"].astype(np.intp)]
        self.hair_shade = self.hair * _HAIR_SHADE
        self.hair_shine = toward(self.hair, _WHITE, 0.42)
        self.backdrop = palette(_BACKDROP, each["background"])

    def spot(self, longitude: float, latitude: float, reach: float = 1.0) -> Spot:
        """A point of the head's surface (radians from its middle, right and down), turned and projected."""
        sin_x, cos_x = math.sin(longitude), math.cos(longitude)
        sin_y, cos_y = math.sin(latitude), math.cos(latitude)
        depth = cos_x * cos_y * self.nod_cos + sin_y * self.nod
        x = sin_x * cos_y * self.turn_cos + depth * self.turn
        y = sin_y * self.nod_cos - cos_x * cos_y * self.nod
        return Spot(
            x=self.head_x + x * self.head_a * reach,
            y=self.head_y + y * (self.head_b * reach),
            squeeze_x=self.turn_cos - sin_x / cos_x * self.turn * self.nod_cos,
            squeeze_y=self.nod_cos + sin_y / cos_y * self.nod,
        )

    def egg(self, patch: Patch, grow_x: float, grow_y: float) -> tuple[Array, Array]:
        """The head's outline, grown by so much: its distance, and the level (-1 in the middle, 0 on the outline)."""
        inverse_y = 1 / (self.head_b + grow_y)
        y = (patch.y - self.head_y) * inverse_y
        jaw = positive(y)
        across = 1 / ((self.head_a + grow_x) * (1 + jaw * (0.10 - 0.20 * jaw)))  # full cheeks above a narrow chin
        square_x = np.square(patch.x - self.head_x) * across**2
        level: Array = square_x + (y**2 - 1)
        slope: Array = square_x * (2 * across) ** 2
        slope += (y * (2 * inverse_y)) ** 2 + 1e-6
        return level / np.sqrt(slope, out=slope), level


# ------------------------------------------------------------------------------------------------------ the painting

_SKIN = rgb("ffe3d3", "f6c9a8", "e0a67c", "b87a52", "8a5840")
_HAIR = rgb("37313f", "74492f", "d2682f", "f0ca6c", "bcc2d0", "ee86ac")
_BACKDROP = rgb("f79f8e", "f8c48c", "f3de92", "aadcae", "8fd0e6", "a0b2f0", "c9a5ea")
_SKIN_SHADE = np.array([0.88, 0.75, 0.73], dtype=np.float32)  # shadows are warm
_HAIR_SHADE = np.array([0.76, 0.64, 0.66], dtype=np.float32)
_FALLING = ("bob", "long")  # hair styles that cover the ears
_WHITE, _CREAM, _NAVY = rgb("ffffff"), rgb("fff6e8"), rgb("3d5488")
_INK, _IRIS, _PUPIL = rgb("3a2a30"), rgb("5a88a8"), rgb("251d29")
_LIP, _MOUTH, _TONGUE = rgb("8f3542"), rgb("762332"), rgb("ee7f86")
_BLUSH, _FRAME, _LENS = rgb("f4696b"), rgb("33304a"), rgb("e4f4ff")


def _draw(rows: Array, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Draw rows of one hair style, all with glasses or all without, back to front: (N, 3, height, width)."""
    scene = _Scene(rows, height, width)
    _backdrop(scene)
    for _, painter in _LAYERS:
        painter(scene)
    scene.colours += 0.5
    return scene.colours.astype(np.uint8)


def _draw_labels(rows: Array, height: int, width: int) -> npt.NDArray[np.uint8]:
    """As `_draw`, with each part in its own flat colour."""
    scene = _Scene(rows, height, width)
    colours = dict(zip(PARTS, PART_COLOURS.astype(np.float32), strict=True))
    scene.colours[:] = colours["background"][:, None, None]
    for part, painter in _LAYERS:
        scene.flat = colours[part]
        painter(scene)
    return scene.colours.astype(np.uint8)


def _backdrop(scene: _Scene) -> None:
    """A pastel, light behind the head and deeper towards the corners."""
    inner, outer = toward(scene.backdrop, _WHITE, 0.68), toward(scene.backdrop, _WHITE, 0.04)
    far = np.square(scene.x + 0.25) + np.square(scene.y + 0.35)
    far = np.minimum(far * 0.36, 1)
    np.multiply((outer - inner)[:, :, None, None], far[:, None], out=scene.colours)
    scene.colours += inner[:, :, None, None]


def _body(scene: _Scene) -> None:
    """A striped shirt that goes on to the bottom of a tall picture, and the neck in its collar."""
    patch = scene.patch(-0.9, 0.9, 0.6, math.inf)
    shoulders = ellipse(patch.x, negative(patch.y - 1.12), 0.82, 0.44)
    wave = (patch.y - 0.12 * np.square(patch.x)) * (1 / 0.17)
    stripe = np.abs(wave - np.floor(wave) - 0.5) * 0.17 - 0.033
    cloth = toward(_CREAM[:, :, None, None], _NAVY[:, :, None, None], patch.cover(stripe)[:, None])
    cloth *= 1 - np.minimum(np.square(patch.x) * 0.35, 0.3)
    patch.paint(patch.cover(shoulders), cloth)

    patch = scene.patch(-0.35, 0.35, 0.2, 0.96)
    below = patch.y - np.minimum(np.maximum(patch.y, 0.4), 0.70)
    neck, collar = (ellipse(patch.x, below, 0.19 + rim, 0.13 + rim) for rim in (0.0, 0.045))
    patch.paint(patch.cover(np.maximum(collar, 0.70 - patch.y)), _NAVY)
    shadow = patch.cover(patch.y - scene.head_y - 0.66, blur=0.22)[:, None]  # of the chin
    tone = toward(scene.skin[:, :, None, None], scene.skin_shade[:, :, None, None], 0.35 + 0.65 * shadow)
    patch.paint(patch.cover(neck), tone)


def _head(scene: _Scene) -> None:
    """Ears where the hair leaves them free, then the head, shaded towards its lower right edge."""
    for side in () if scene.style in _FALLING else (-1, 1):
        patch = scene.patch(side * 0.56 - 0.26, side * 0.56 + 0.26, -0.2, 0.32)
        x = patch.x - (scene.head_x + side * 0.97 * scene.head_a - 0.10 * scene.turn)
        y = patch.y - (scene.head_y + 0.06 + 0.22 * scene.nod)
        patch.paint(patch.cover(ellipse(x, y, 0.105, 0.14)), scene.skin)
        patch.paint(patch.cover(ellipse(x - 0.015 * side, y, 0.06, 0.09), blur=0.05), scene.skin_shade)

    patch = scene.patch(-0.68, 0.68, -0.66, 0.68)
    distance, level = scene.egg(patch, 0, 0)
    level *= 0.45
    level += (patch.x - scene.head_x) * 0.30
    level += (patch.y - scene.head_y) * 0.34
    tone = (scene.skin_shade - scene.skin)[:, :, None, None] * clamp(level)[:, None]
    tone += scene.skin[:, :, None, None]
    patch.paint(patch.cover(distance), tone)
    if scene.style == "bald":
        x, y = patch.x - scene.head_x + 0.15, patch.y - scene.head_y + 0.42
        patch.paint(glow(x, y + 0.45 * x, 0.17, 0.07), _WHITE, 0.55)


def _cheeks(scene: _Scene) -> None:
    for side in (-1, 1):
        spot = scene.spot(side * 0.62, 0.36)
        patch = scene.around(spot, 0.24, 0.18)
        blush = glow(patch.x - spot.x, patch.y - spot.y, 0.19 * spot.squeeze_x, 0.14 * spot.squeeze_y)
        patch.paint(blush * patch.cover(scene.egg(patch, 0, 0)[0]), _BLUSH, 0.4)


def _nose(scene: _Scene) -> None:
    """A button with a shadow and a highlight; it stands out from the face, so it moves further than the rest."""
    spot = scene.spot(0, 0.26, reach=1.12)
    patch = scene.around(spot, 0.10, 0.10)
    x, y = patch.x - spot.x, patch.y - spot.y
    patch.paint(patch.cover(ellipse(x, y - 0.015, 0.075, 0.055), blur=0.035), scene.skin_shade)
    patch.paint(patch.cover(ellipse(x, y, 0.062, 0.046), blur=0.05), toward(scene.skin, _BLUSH, 0.16))
    patch.paint(glow(x + 0.02, y + 0.018, 0.04, 0.03), _WHITE, 0.6)


def _mouth(scene: _Scene) -> None:
    """A line that bends with the smile; a grin opens it on teeth and tongue."""
    spot = scene.spot(0, 0.58, reach=0.93)
    patch = scene.around(spot, 0.29, 0.18)
    glad = positive(scene.smile)
    grin = 0.20 * positive(scene.smile - 0.12)  # how far the lips part
    bend = 0.10 * scene.smile - 0.25 * grin
    half = (0.165 + 0.065 * glad) * (0.4 + 1.15 * scene.head_a) * spot.squeeze_x
    x, y = patch.x - spot.x, patch.y - spot.y
    along = np.minimum(np.abs(x) / half, 1)
    rise = along**2
    slope = 1 / np.sqrt(1 + np.square(along * (2 * bend + grin) / half))  # a bent line is thinner than it is tall
    under = (y + 0.5 * grin - bend * (0.4 - rise)) * slope  # below the upper lip
    over = under - grin * (1 - np.square(rise)) * slope  # below the lower lip
    beyond = np.abs(x) - half
    gap = np.maximum(-under, over)
    patch.paint(patch.cover(np.sqrt(positive(gap) ** 2 + positive(beyond) ** 2) - 0.021), _LIP)

    inside = patch.cover(np.maximum(gap, beyond)) * np.minimum(grin * 25, 1)  # no dark seam where the lips touch
    patch.paint(inside, _MOUTH)
    tongue = ellipse(x, y - (0.5 * grin + 0.4 * bend + 0.015), half * 0.6, 0.075)
    patch.paint(inside * patch.cover(tongue), _TONGUE)
    patch.paint(inside * patch.cover(under - 0.36 * grin), _CREAM)


def _eyes(scene: _Scene) -> None:
    for side in (-1, 1):
        _eye(scene, side)


def _eye(scene: _Scene, side: int) -> None:
    """Lids that close come to rest on a smiling arc."""
    spot = scene.spot(side * 0.43, 0.03)
    patch = scene.around(spot, 0.16, 0.19)
    x, y = patch.x - spot.x, patch.y - spot.y
    wide, tall = 0.115 * spot.squeeze_x, (0.004 + 0.138 * scene.open) * spot.squeeze_y
    sag = 0.06 * np.square((1 - scene.open) ** 2)
    lid = y - sag * positive(1 - np.square(x / wide))
    beyond = np.abs(x) - wide  # the ellipse's distance is too short beyond its ends where it is very flat
    ball = patch.cover(np.maximum(ellipse(x, lid, wide, tall), beyond))
    lashes = np.maximum(ellipse(x, lid + 0.015, wide + 0.017, tall + 0.017), beyond - 0.017)
    patch.paint(patch.cover(lashes), _INK)
    patch.paint(ball, _WHITE)

    round_x = 0.088 * spot.squeeze_x
    x, y = x - 0.045 * scene.gaze * spot.squeeze_x, y - 0.5 * sag
    patch.paint(ball * patch.cover(ellipse(x, y, round_x, 0.098)), _IRIS)
    patch.paint(ball * patch.cover(ellipse(x, y, 0.62 * round_x, 0.062)), _PUPIL)
    patch.paint(ball * patch.cover(ellipse(x + 0.38 * round_x, y + 0.036, 0.030, 0.032)), _WHITE)
    patch.paint(ball * patch.cover(ellipse(x - 0.42 * round_x, y - 0.042, 0.015, 0.016)), _WHITE, 0.8)


def _brows(scene: _Scene) -> None:
    for side in (-1, 1):
        _brow(scene, side)


def _brow(scene: _Scene, side: int) -> None:
    """An arch in the hair's colour: raised by a grin, its inner end lifted by a frown."""
    spot = scene.spot(side * 0.45, -0.34)
    patch = scene.around(spot, 0.16, 0.15)
    half = 0.10 * spot.squeeze_x
    x = patch.x - spot.x
    outward = np.minimum(np.maximum(x * (side / half), -1), 1)
    sad, glad = positive(-scene.smile), positive(scene.smile)
    arch = (0.035 - 0.025 * sad) * outward**2 + (0.014 + 0.05 * sad) * outward - 0.035 * glad
    beyond = positive(np.abs(x) - half)
    distance = np.sqrt(np.square(patch.y - spot.y - arch) + beyond**2) - (0.027 - 0.008 * outward)
    patch.paint(patch.cover(distance), scene.hair_shade)


def _spectacles(scene: _Scene) -> None:
    """Round frames with a glint, a bridge, and arms that run to the ears."""
    if not scene.glasses:
        return
    left, right = scene.spot(-0.43, 0.05, reach=1.06), scene.spot(0.43, 0.05, reach=1.06)
    patch = scene.around(left, 1.3, 0.30)
    y = patch.y - left.y
    radius = 0.19
    gap = 0.5 * (right.x - left.x - radius * (left.squeeze_x + right.squeeze_x))
    bridge = ellipse(
        patch.x - 0.5 * (left.x + right.x) - 0.5 * radius * (left.squeeze_x - right.squeeze_x), y, gap, 0.05
    )
    frame = np.maximum(np.abs(bridge) - 0.017, y)
    for side, spot in ((-1, left), (1, right)):
        x = patch.x - spot.x
        lens = ellipse(x, y, radius * spot.squeeze_x, radius)
        patch.paint(patch.cover(lens), _LENS, 0.16)
        glint = np.abs(x + 0.7 * y + 0.05) - 0.028
        patch.paint(patch.cover(np.maximum(lens + 0.03, glint)), _WHITE, 0.22)
        start = spot.x + side * radius * spot.squeeze_x
        arm = np.maximum((start - patch.x) * side, (patch.x - scene.head_x) * side - 0.96 * scene.head_a)
        arm = np.maximum(arm, np.abs(y + 0.03) - 0.018)
        frame = np.minimum(frame, np.minimum(np.abs(lens) - 0.021, arm))
    patch.paint(patch.cover(frame), _FRAME)


def _mane(scene: _Scene, patch: Patch) -> Array:
    """Distance to hair that falls: a bob to the chin, waves past the shoulders."""
    y = patch.y - scene.head_y
    fall = positive(y)
    if scene.style == "bob":
        bottom, flare = 0.50, 0.16 * fall
    else:
        wave = fall * 3.2 - np.floor(fall * 3.2) - 0.5
        bottom, flare = 0.96, 0.05 * fall + 0.06 * np.square(1 - 4 * wave**2) * np.minimum(4 * fall, 1)
    tip = positive(y - (bottom - 0.22)) * (1 / 0.24)
    wide = (scene.head_a + 0.09 + flare) * (1 - 0.4 * np.square(tip**2))
    return np.maximum(ellipse(patch.x - scene.head_x, negative(y), wide, 0.69), y - bottom)


def _curls(scene: _Scene, x: Array, y: Array, centres: list[tuple[float, float]], radius: float) -> Array:
    """Distance to equal circles, their centres in units of the head's half width and height.

    |p - c|^2 - r^2 is a part common to all circles plus a part linear in p: another circle costs two operations.
    """
    nearest = np.full(np.broadcast_shapes(x.shape, y.shape), np.inf, dtype=np.float32)
    for across, down in centres:
        at_x, at_y = scene.head_a * across, scene.head_b * down
        np.minimum(nearest, (at_x**2 + at_y**2 - 2 * at_x * x) - 2 * at_y * y, out=nearest)
    nearest += x**2
    nearest += y**2 - radius**2
    nearest *= 0.5 / radius
    return nearest


_CLOUD = [(1.20 * math.sin(turn), -0.12 - 1.0 * math.cos(turn)) for turn in (0.5 * k for k in range(-4, 5))]
_FRINGE = [(0.40 * k, -0.82 + 0.06 * k * k) for k in range(-2, 3)]


def _hair_behind(scene: _Scene) -> None:
    if scene.style == "curly":
        patch = scene.patch(-1.05, 1.05, -1.0, 0.66)
        outline = _curls(scene, patch.x - scene.head_x, patch.y - scene.head_y, _CLOUD, 0.25)
        _comb(scene, patch, patch.cover(outline), 0.55 + 4 * outline)
    elif scene.style == "bun":
        patch = scene.patch(-0.4, 0.4, -1.0, -0.45)
        x, y = patch.x - scene.head_x + 0.2 * scene.turn, patch.y - scene.head_y - 0.2 * scene.nod + 0.76
        cover = patch.cover(ellipse(x, y, 0.2, 0.17))
        _comb(scene, patch, cover, 0.3 + 3 * y)
        patch.paint(glow(x + 0.05, y + 0.06, 0.10, 0.06), scene.hair_shine, 0.7)
    elif scene.style in _FALLING:
        patch = scene.patch(-0.98, 0.98, -0.8, 1.0)
        patch.paint(patch.cover(_mane(scene, patch)), scene.hair_shade)


def _comb(scene: _Scene, patch: Patch, cover: Array, deep: Array) -> None:
    """Paint hair that is its shade where ``deep`` is 1, its own colour at 0."""
    tone = (scene.hair_shade - scene.hair)[:, :, None, None] * clamp(deep)[:, None]
    tone += scene.hair[:, :, None, None]
    patch.paint(cover, tone)


def _hair_before(scene: _Scene) -> None:
    """The front of the hair: a whole that leaves the face free, its shadow on the forehead, and its shine."""
    if scene.style == "bald":
        return
    patch = scene.patch(-0.98, 0.98, -0.84, 1.0 if scene.style in _FALLING else 0.2)
    crown, level = scene.egg(patch, 0.035, 0.085)
    down = patch.y - scene.head_y
    x, y = patch.x - (scene.head_x + 0.30 * scene.turn), down + 0.32 * scene.nod  # the hairline moves with the face
    wide = scene.head_a
    whole: Array
    free: Array
    if scene.style == "curly":
        # a fringe that moved down with the face would bare the crown
        whole = _curls(scene, x, down + 0.32 * positive(scene.nod), _FRINGE, 0.18)
        free = -whole
        deep = 0.5 + 5 * whole
    else:
        deep = 0.28 + 0.55 * down
        whole = _mane(scene, patch) if scene.style in _FALLING else np.maximum(crown, y - 0.03)
        if scene.style == "short":
            free = np.maximum(ellipse(x, y + 0.20 * x, wide * 0.93, 0.41), crown + 0.06)
        elif scene.style == "bun":
            free = np.maximum(ellipse(x, y - 0.04, wide * 0.96, 0.48), crown + 0.06)
        elif scene.style == "bob":
            free = np.maximum(ellipse(x, negative(y), wide * 0.86, 0.44), 0.25 * x**2 - y - 0.29)
        else:
            free = ellipse(x, negative(y - 0.55 * np.abs(x)), wide * 0.88, 0.52)
    front = np.maximum(whole, -free)
    patch.paint(patch.cover(np.maximum(front - 0.03, crown + 0.09), blur=0.11), scene.skin_shade, 0.4)
    cover = patch.cover(front)
    _comb(scene, patch, cover, deep)
    if scene.style != "curly":
        shine = positive(1 - np.square((level + 0.36) * (1 / 0.16)))
        shine *= positive(1 - np.square((patch.x - scene.head_x + 0.14) * (1 / 0.34))) * (down < 0)
        shine *= cover
        patch.paint(shine, scene.hair_shine, 0.8)


# What lies before the backdrop, back to front, and the part that each painter's strokes belong to.
_LAYERS: tuple[tuple[str, Callable[[_Scene], None]], ...] = (
    ("hair", _hair_behind),
    ("body", _body),
    ("face", _head),
    ("face", _cheeks),
    ("nose", _nose),
    ("mouth", _mouth),
    ("eyes", _eyes),
    ("glasses", _spectacles),
    ("hair", _hair_before),
    ("brows", _brows),
)
