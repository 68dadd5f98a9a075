"""Networks that grow: Karras et al. (2018), "Progressive growing of GANs".

Level 0 works on the smallest grid (sides of at most 4), each further level on one twice as fine, the last one at full
resolution. A new level is faded in: at ``alpha`` 0 a network computes the same as without the level, at 1 the level
alone. Sides that are not powers of two are halved rounding up (mean over the pixels present), doubled and cropped.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.networks.conv import Stage, Unflatten
from reverie.networks.equalized import DiscriminatorHead, EqualConv, EqualLinear, activate, pixel_norm, stages


def up(x: Tensor, stage: Stage) -> Tensor:
    """Nearest-neighbour upsampling: (N, C, *inner) -> (N, C, *outer)."""
    rows, columns = stage.stride
    height, width = stage.outer
    return F.interpolate(x, scale_factor=(float(rows), float(columns)))[:, :, :height, :width]


def down(x: Tensor, stage: Stage) -> Tensor:
    """Average pooling: (N, C, *outer) -> (N, C, *inner); the inverse of `up`: down(up(x)) = x."""
    return F.avg_pool2d(x, stage.stride, stage.stride, ceil_mode=True)


class UpLevel(nn.Module):
    """An upsampling level of the generator: (N, deep, *inner) -> (N, wide, *outer)."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.first, self.second = EqualConv(stage.deep, stage.wide, 3), EqualConv(stage.wide, stage.wide, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = pixel_norm(activate(self.first(up(x, self.stage))))
        return pixel_norm(activate(self.second(x)))


class DownLevel(nn.Module):
    """A downsampling level of the discriminator: (N, wide, *outer) -> (N, deep, *inner)."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage
        self.first, self.second = EqualConv(stage.wide, stage.wide, 3), EqualConv(stage.wide, stage.deep, 3)

    def forward(self, x: Tensor) -> Tensor:
        return down(activate(self.second(activate(self.first(x)))), self.stage)


class ProGANGenerator(nn.Module):
    """Latents (N, latent) -> pictures of the level, (N, C, *size), unbounded. ``stages`` are coarse to fine."""

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.stages = stages(shape, width)[::-1]
        last = self.stages[0]
        rows, columns = last.inner
        # A quarter of the gain, as in the paper: z is already normalised.
        self.dense = EqualLinear(latent, last.deep * rows * columns, gain=0.25)
        self.unflatten = Unflatten(last.deep, last.inner)
        self.conv = EqualConv(last.deep, last.deep, 3)
        self.levels = nn.ModuleList(UpLevel(stage) for stage in self.stages)
        channels = [last.deep, *(stage.wide for stage in self.stages)]
        self.to_picture = nn.ModuleList(EqualConv(wide, shape[0], 1) for wide in channels)

    def forward(self, z: Tensor, level: int, alpha: float) -> Tensor:
        x = pixel_norm(activate(self.unflatten(self.dense(pixel_norm(z)))))
        x = before = pixel_norm(activate(self.conv(x)))
        for grow in self.levels[:level]:
            x, before = grow(x), x
        picture: Tensor = self.to_picture[level](x)
        if level and alpha < 1:
            return torch.lerp(up(self.to_picture[level - 1](before), self.stages[level - 1]), picture, alpha)
        return picture


class ProGANDiscriminator(nn.Module):
    """Pictures of the level, (N, C, *size) -> logits (N,)."""

    def __init__(self, shape: tuple[int, int, int], width: int) -> None:
        super().__init__()
        self.stages = stages(shape, width)[::-1]
        last = self.stages[0]
        channels = [last.deep, *(stage.wide for stage in self.stages)]
        self.from_picture = nn.ModuleList(EqualConv(shape[0], wide, 1) for wide in channels)
        self.levels = nn.ModuleList(DownLevel(stage) for stage in self.stages)
        self.verdict = DiscriminatorHead(last.deep, last.inner)

    def forward(self, images: Tensor, level: int, alpha: float) -> Tensor:
        x = activate(self.from_picture[level](images))
        if level:
            x = self.levels[level - 1](x)
            if alpha < 1:
                before = self.from_picture[level - 1](down(images, self.stages[level - 1]))
                x = torch.lerp(activate(before), x, alpha)
        for shrink in reversed(list(self.levels[: max(0, level - 1)])):
            x = shrink(x)
        logits: Tensor = self.verdict(x)
        return logits.squeeze(1)
