"""A plain convolutional encoder and its mirror image, for pictures of any size and any number of channels.

The DCGAN-shaped pair of Radford et al. (2016) with three differences: no batch normalisation (a picture's code must not
depend on its batch), SiLU, and sizes that need not be powers of two. Each stage halves every side longer than 7,
rounding up, and doubles the channels; the decoder has the same sizes in reverse, and crops the extra row or column
where a side was odd.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

SMALLEST = 7  # a side is halved while it is longer than this: 28 -> 14 -> 7, 64 -> 32 -> 16 -> 8 -> 4
WIDEST = 8  # channels stop doubling at this multiple of the width


@dataclass(frozen=True)
class Stage:
    """A downsampling stage: from size ``outer`` (height, width) with ``wide`` channels to ``inner`` with ``deep``."""

    outer: tuple[int, int]
    inner: tuple[int, int]
    wide: int
    deep: int

    @property
    def stride(self) -> tuple[int, int]:
        """2 along an axis that is halved, else 1."""
        return 1 + (self.inner[0] < self.outer[0]), 1 + (self.inner[1] < self.outer[1])

    def even(self, x: Tensor) -> Tensor:
        """x (N, C, *outer) padded by a row or column of zeros where an odd side will be halved."""
        rows, columns = (side % 2 if step == 2 else 0 for side, step in zip(self.outer, self.stride, strict=True))
        return F.pad(x, (0, columns, 0, rows)) if rows or columns else x


def plan_stages(shape: tuple[int, int, int], width: int, smallest: int = SMALLEST) -> list[Stage]:
    """The stages from a (C, H, W) picture down to a grid with sides of at most ``smallest``; at least one stage."""
    wide, *size = shape
    stages: list[Stage] = []
    while not stages or max(size) > smallest:
        inner = [math.ceil(side / 2) if side > smallest else side for side in size]
        deep = width * min(2 ** len(stages), WIDEST)
        stages.append(Stage((size[0], size[1]), (inner[0], inner[1]), wide, deep))
        size, wide = inner, deep
    return stages


def init_he(layer: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """The layer with weights N(0, 2 / fan_in) and biases zero (He et al. 2015): for layers before an activation."""
    nn.init.kaiming_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def down(stage: Stage) -> nn.Module:
    """A stage's outer size and channels to its inner size and channels: (N, wide, *outer) -> (N, deep, *inner)."""
    return init_he(nn.Conv2d(stage.wide, stage.deep, 3, stage.stride, 1))


class Up(nn.Module):
    """The reverse of `down`, to ``out`` channels at exactly the outer size: (N, deep, *inner) -> (N, out, *outer)."""

    def __init__(self, stage: Stage, out: int) -> None:
        super().__init__()
        kernel = (stage.stride[0] + 2, stage.stride[1] + 2)
        self.conv = nn.ConvTranspose2d(stage.deep, out, kernel, stage.stride, 1)
        self.size = stage.outer
        terms = stage.deep * math.prod(kernel) / math.prod(stage.stride)  # what each output pixel sums over
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / terms))
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        height, width = self.size
        y: Tensor = self.conv(x)[:, :, :height, :width]
        return y


class Flatten(nn.Module):
    """(N, C, H, W) -> (N, H W C), the order of channels_last memory, so that nothing is copied there."""

    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1).flatten(1)


class Unflatten(nn.Module):
    """(N, H W C) -> (N, C, H, W) in channels_last memory."""

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.grid = (*size, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x.unflatten(1, self.grid).permute(0, 3, 1, 2)
        return y


class ConvEncoder(nn.Sequential):
    """Pictures (N, C, H, W) -> features (N, out): ``depth`` convolutions a stage, then a dense layer of 8 ``width``."""

    def __init__(self, shape: tuple[int, int, int], out: int, width: int, depth: int) -> None:
        stages = plan_stages(shape, width)
        layers: list[nn.Module] = []
        for stage in stages:
            layers += [down(stage), nn.SiLU()]
            for _ in range(depth - 1):
                layers += [init_he(nn.Conv2d(stage.deep, stage.deep, 3, 1, 1)), nn.SiLU()]
        last = stages[-1]
        dense = nn.Linear(last.deep * math.prod(last.inner), 8 * width)
        super().__init__(*layers, Flatten(), init_he(dense), nn.SiLU(), nn.Linear(8 * width, out))


class ConvDecoder(nn.Sequential):
    """Latents (N, latent) -> outputs (N, C, H, W), unbounded: the mirror image of `ConvEncoder`."""

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int, depth: int) -> None:
        stages = plan_stages(shape, width)
        last = stages[-1]
        dense = nn.Linear(8 * width, last.deep * math.prod(last.inner))
        layers: list[nn.Module] = [init_he(nn.Linear(latent, 8 * width)), nn.SiLU(), init_he(dense), nn.SiLU()]
        layers.append(Unflatten(last.deep, last.inner))
        for stage in reversed(stages):
            for _ in range(depth - 1):
                layers += [init_he(nn.Conv2d(stage.deep, stage.deep, 3, 1, 1)), nn.SiLU()]
            layers += [Up(stage, stage.wide), nn.SiLU()]
        super().__init__(*layers[:-1])
