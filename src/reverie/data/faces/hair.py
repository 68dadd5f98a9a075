"""Paint the hair: the part behind the head, and the part in front of it."""

from __future__ import annotations

import math

import numpy as np

from reverie.data.faces.paint import Array, Patch, clamp, ellipse, glow, negative, positive
from reverie.data.faces.scene import FALLING, Scene

_CLOUD = [(1.20 * math.sin(turn), -0.12 - 1.0 * math.cos(turn)) for turn in (0.5 * k for k in range(-4, 5))]
_FRINGE = [(0.40 * k, -0.82 + 0.06 * k * k) for k in range(-2, 3)]


def behind(scene: Scene) -> None:
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
    elif scene.style in FALLING:
        patch = scene.patch(-0.98, 0.98, -0.8, 1.0)
        patch.paint(patch.cover(_mane(scene, patch)), scene.hair_shade)


def _comb(scene: Scene, patch: Patch, cover: Array, deep: Array) -> None:
    """Paint hair: in its shade where ``deep`` is 1, in its own colour where it is 0."""
    tone = (scene.hair_shade - scene.hair)[:, :, None, None] * clamp(deep)[:, None]
    tone += scene.hair[:, :, None, None]
    patch.paint(cover, tone)


def before(scene: Scene) -> None:
    """The front of the hair (``whole`` without the opening ``free`` for the face), its shadow and its shine."""
    if scene.style == "bald":
        return
    patch = scene.patch(-0.98, 0.98, -0.84, 1.0 if scene.style in FALLING else 0.2)
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
        whole = _mane(scene, patch) if scene.style in FALLING else np.maximum(crown, y - 0.03)
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


def _mane(scene: Scene, patch: Patch) -> Array:
    """Distance to long hair: a bob to the chin, waves past the shoulders."""
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


def _curls(scene: Scene, x: Array, y: Array, centres: list[tuple[float, float]], radius: float) -> Array:
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
