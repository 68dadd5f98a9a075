"""The image-to-image U-Net: Isola et al. (2017), section 6.1.1.

Strided convolutions with kernels of 4 downsample, transposed ones upsample, and skip connections pass the features of
each size across, so that edges need not pass the bottleneck. Differences: any height and width (padded by reflection as
the depth needs, and cropped back); optional residual blocks in the middle, which give a shallow network a large
receptive field; normalisation independent of the batch, which for the paper's batches of one is the same; dropout is
controlled by passing random numbers, not by train mode.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from reverie.networks.dcgan import init_normal
from reverie.networks.norm import norm
from reverie.networks.padding import mirrored

DEEPEST = 8  # halvings of the paper's net for 256 pixels
WIDEST = 8  # channels stop doubling at this multiple of the width
DROPPED = 3  # innermost upsampling stages, which have dropout


class Uniform(Protocol):
    """A source of random numbers for dropout: see `reverie.engine.randomness.Draw`."""

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), (N, *shape)."""


class UNet(nn.Module):
    """Pictures (N, before, H, W) of any size -> (N, after, H, W) in (-1, 1)."""

    def __init__(
        self, before: int, after: int, width: int, depth: int, blocks: int, kind: str, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.grain = 2**depth
        wide = [width * min(2**level, WIDEST) for level in range(depth)]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        self.dropout = dropout if depth > 1 else 0.0  # the output stage has none
        for level, channels in enumerate(wide):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
            # The first stage, on pixels, and the innermost, which may be one pixel in size, are not normalised.
            plain = level in (0, depth - 1)
            layers.append(nn.Conv2d(wide[level - 1] if level else before, channels, 4, 2, 1, bias=plain))
            self.down.append(nn.Sequential(*layers, *([] if plain else [norm(kind, channels)])))
        self.middle = nn.Sequential(*(Block(wide[-1], kind) for _ in range(blocks)))
        for level in reversed(range(depth)):
            joined = wide[level] * (1 if level == depth - 1 else 2)
            out = wide[level - 1] if level else after
            conv = nn.ConvTranspose2d(joined, out, 4, 2, 1, bias=level == 0)
            self.up.append(nn.Sequential(nn.ReLU(), conv, norm(kind, out) if level else nn.Tanh()))
        init_normal(self)

    def forward(self, x: Tensor, draw: Uniform | None = None) -> Tensor:
        height, width = x.shape[2:]
        skips = [mirrored(x, self.grain)]
        for step in self.down:
            skips.append(step(skips[-1]))
        y: Tensor = self.middle(skips.pop())
        for number, step in enumerate(self.up):
            y = step(torch.cat([y, skips.pop()], 1) if number else y)
            if draw is not None and self.dropout and number < DROPPED and number < len(self.up) - 1:
                kept = (draw.uniform(*y.shape[1:]) >= self.dropout).to(y.dtype)
                y = y * kept / (1 - self.dropout)
        return y[:, :, :height, :width]


class Block(nn.Module):
    """x + norm(W2 relu(norm(W1 relu(x)))), both 3x3; (N, channels, H, W) -> same."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        first, last = (nn.Conv2d(channels, channels, 3, 1, 1, bias=False) for _ in range(2))
        self.body = nn.Sequential(nn.ReLU(), first, norm(kind, channels), nn.ReLU(), last, norm(kind, channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y
