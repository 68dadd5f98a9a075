"""Reflection padding at the right and the bottom, for networks that halve pictures; the output is cropped again."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def mirrored(x: Tensor, grain: int, least: int = 1) -> Tensor:
    """(N, C, H, W) padded by reflection to sides that are multiples of ``grain``, and at least ``least``.

    Sides of one pixel are repeated; a side is reflected as many times as needed.
    """
    for axis in (2, 3):
        side = x.shape[axis]
        wanted = math.ceil(max(side, least) / grain) * grain
        if wanted > side:
            period = max(1, 2 * (side - 1))
            place = torch.arange(wanted, device=x.device) % period
            x = x.index_select(axis, torch.minimum(place, period - place) if side > 1 else place)
    return x
