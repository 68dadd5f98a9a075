"""A fully connected encoder and decoder; with depth 0 a linear map, with which a VAE is probabilistic PCA."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

from torch import nn


def dense(sizes: list[int], activation: Callable[[], nn.Module] = nn.SiLU) -> list[nn.Module]:
    """Linear layers through ``sizes`` with activations between them; (N, sizes[0]) -> (N, sizes[-1])."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layer = nn.Linear(fan_in, fan_out)
        nn.init.kaiming_normal_(layer.weight)
        nn.init.zeros_(layer.bias)
        layers += [layer, activation()]
    return layers[:-1]


class MLPEncoder(nn.Sequential):
    """Pictures (N, C, H, W) -> features (N, out), through ``depth`` layers of ``units``."""

    def __init__(self, shape: tuple[int, int, int], out: int, units: int, depth: int) -> None:
        super().__init__(nn.Flatten(), *dense([math.prod(shape), *[units] * depth, out]))


class MLPDecoder(nn.Sequential):
    """Latents (N, latent) -> outputs (N, C, H, W), unbounded, through ``depth`` layers of ``units``."""

    def __init__(self, latent: int, shape: tuple[int, int, int], units: int, depth: int) -> None:
        super().__init__(*dense([latent, *[units] * depth, math.prod(shape)]), nn.Unflatten(1, shape))
