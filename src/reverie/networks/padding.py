"""Pictures of any size for networks that halve them: mirrored at the right and the bottom, and cropped afterwards."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mirrored(x: Tensor, grain: int, least: int = 1) -> Tensor:
    """(N, C, H, W) grown to sides that are multiples of ``grain``, and at least ``least``, by reflection.

    Sides of one pixel are repeated; a side is reflected back and forth as often as it takes.
    """
    for axis in (2, 3):
        side = x.shape[axis]
        wanted = math.ceil(max(side, least) / grain) * grain
        if wanted > side:
            period = max(1, 2 * (side - 1))
            place = torch.arange(wanted, device=x.device) % period
            x = x.index_select(axis, torch.minimum(place, period - place) if side > 1 else place)
    return x
