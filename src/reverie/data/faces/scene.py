"""The faces being painted: their canvas, and the quantities that all painters use."""

from __future__ import annotations

import math

import numpy as np

from reverie.data.faces.factors import FACTORS, HAIR_STYLES, values_of
from reverie.data.faces.paint import Array, Canvas, Patch, Spot, palette, positive, rgb, toward

FALLING = ("bob", "long")  # hair styles that cover the ears
WHITE = rgb("ffffff")
_SKIN = rgb("ffe3d3", "f6c9a8", "e0a67c", "b87a52", "8a5840")
_HAIR = rgb("37313f", "74492f", "d2682f", "f0ca6c", "bcc2d0", "ee86ac")
_BACKDROP = rgb("f79f8e", "f8c48c", "f3de92", "aadcae", "8fd0e6", "a0b2f0", "c9a5ea")
_SKIN_SHADE = np.array([0.88, 0.75, 0.73], dtype=np.float32)  # shadows are warm
_HAIR_SHADE = np.array([0.76, 0.64, 0.66], dtype=np.float32)


class Scene(Canvas):
    """The canvas of faces of one hair style and the quantities that their painters share, each (N, 1, 1) or (N, 3)."""

    def __init__(self, rows: Array, height: int, width: int) -> None:
        super().__init__(len(rows), height, width)
        each = {factor.name: values_of(rows, factor.name) for factor in FACTORS}
        self.smile, eye_open, self.gaze, wide, yaw, pitch = (
            each[name][:, None, None] for name in ("smile", "eye_open", "gaze", "face_width", "yaw", "pitch")
        )
        self.open = eye_open * (2 - eye_open)  # eyes are open in most faces
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
        self.hair_shine = toward(self.hair, WHITE, 0.42)
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
        """The head's outline, enlarged by ``grow``: its signed distance, and a level (-1 in the middle, 0 on it)."""
        inverse_y = 1 / (self.head_b + grow_y)
        y = (patch.y - self.head_y) * inverse_y
        jaw = positive(y)
        across = 1 / ((self.head_a + grow_x) * (1 + jaw * (0.10 - 0.20 * jaw)))  # full cheeks above a narrow chin
        square_x = np.square(patch.x - self.head_x) * across**2
        level: Array = square_x + (y**2 - 1)
        slope: Array = square_x * (2 * across) ** 2
        slope += (y * (2 * inverse_y)) ** 2 + 1e-6
        return level / np.sqrt(slope, out=slope), level
