"""Paint all of a face but its hair: body, head, cheeks, nose, mouth, eyes, brows and glasses."""

from __future__ import annotations

import math

import numpy as np

from reverie.data.faces.paint import clamp, ellipse, glow, negative, positive, rgb, toward
from reverie.data.faces.scene import FALLING, WHITE, Scene

_CREAM, _NAVY = rgb("fff6e8"), rgb("3d5488")
_INK, _IRIS, _PUPIL = rgb("3a2a30"), rgb("5a88a8"), rgb("251d29")
_LIP, _MOUTH, _TONGUE = rgb("8f3542"), rgb("762332"), rgb("ee7f86")
_BLUSH, _FRAME, _LENS = rgb("f4696b"), rgb("33304a"), rgb("e4f4ff")


def body(scene: Scene) -> None:
    """A striped shirt, down to the lower border of a tall picture, and the neck in its collar."""
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


def head(scene: Scene) -> None:
    """Ears where the hair leaves them free, then the head, shaded towards its lower right edge."""
    for side in () if scene.style in FALLING else (-1, 1):
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
        patch.paint(glow(x, y + 0.45 * x, 0.17, 0.07), WHITE, 0.55)


def cheeks(scene: Scene) -> None:
    for side in (-1, 1):
        spot = scene.spot(side * 0.62, 0.36)
        patch = scene.around(spot, 0.24, 0.18)
        blush = glow(patch.x - spot.x, patch.y - spot.y, 0.19 * spot.squeeze_x, 0.14 * spot.squeeze_y)
        patch.paint(blush * patch.cover(scene.egg(patch, 0, 0)[0]), _BLUSH, 0.4)


def nose(scene: Scene) -> None:
    """A button with a shadow and a highlight; it stands out from the face, so it moves further than the rest."""
    spot = scene.spot(0, 0.26, reach=1.12)
    patch = scene.around(spot, 0.10, 0.10)
    x, y = patch.x - spot.x, patch.y - spot.y
    patch.paint(patch.cover(ellipse(x, y - 0.015, 0.075, 0.055), blur=0.035), scene.skin_shade)
    patch.paint(patch.cover(ellipse(x, y, 0.062, 0.046), blur=0.05), toward(scene.skin, _BLUSH, 0.16))
    patch.paint(glow(x + 0.02, y + 0.018, 0.04, 0.03), WHITE, 0.6)


def mouth(scene: Scene) -> None:
    """A line that bends with the smile; a grin opens it and shows teeth and tongue."""
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


def eyes(scene: Scene) -> None:
    for side in (-1, 1):
        _eye(scene, side)


def _eye(scene: Scene, side: int) -> None:
    """One eye; when it is closed, the lids form a smiling arc."""
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
    patch.paint(ball, WHITE)

    round_x = 0.088 * spot.squeeze_x
    x, y = x - 0.045 * scene.gaze * spot.squeeze_x, y - 0.5 * sag
    patch.paint(ball * patch.cover(ellipse(x, y, round_x, 0.098)), _IRIS)
    patch.paint(ball * patch.cover(ellipse(x, y, 0.62 * round_x, 0.062)), _PUPIL)
    patch.paint(ball * patch.cover(ellipse(x + 0.38 * round_x, y + 0.036, 0.030, 0.032)), WHITE)
    patch.paint(ball * patch.cover(ellipse(x - 0.42 * round_x, y - 0.042, 0.015, 0.016)), WHITE, 0.8)


def brows(scene: Scene) -> None:
    for side in (-1, 1):
        _brow(scene, side)


def _brow(scene: Scene, side: int) -> None:
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


def spectacles(scene: Scene) -> None:
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
        patch.paint(patch.cover(np.maximum(lens + 0.03, glint)), WHITE, 0.22)
        start = spot.x + side * radius * spot.squeeze_x
        arm = np.maximum((start - patch.x) * side, (patch.x - scene.head_x) * side - 0.96 * scene.head_a)
        arm = np.maximum(arm, np.abs(y + 0.03) - 0.018)
        frame = np.minimum(frame, np.minimum(np.abs(lens) - 0.021, arm))
    patch.paint(patch.cover(frame), _FRAME)
