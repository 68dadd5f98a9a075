"""PatchGAN: a discriminator that judges every patch of a picture, not the picture as a whole.

Isola et al. (2017), section 3.2.2: strided convolutions with kernels of 4, two more at stride 1, leaky ReLU.
``strided`` sets the receptive field of a logit: 16, 34, 70 pixels a side for 1, 2, 3 strided layers. Differences from
the paper: sides are padded so that every layer keeps them (or halves them, rounding up), so any size works; group
normalisation replaces batch normalisation, so that a picture's logits do not depend on its batch.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

KERNEL, SLOPE, GROUP = 4, 0.2, 8
WIDEST = 8  # channels stop doubling at this multiple of the width


class PatchDiscriminator(nn.Module):
    """Pictures (N, C, H, W) -> logits (N, h, w), one per patch; h and w are H and W halved ``strided`` times."""

    def __init__(self, channels: int, width: int, strided: int = 2) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for level in range(strided + 1):
            after = width * min(2**level, WIDEST)
            stride = 2 if level < strided else 1
            layers.append(Conv(before, after, stride, bias=level == 0))
            if level:
                layers.append(nn.GroupNorm(after // math.gcd(after, GROUP), after))
            layers.append(nn.LeakyReLU(SLOPE))
            before = after
        self.body = nn.Sequential(*layers, Conv(before, 1, 1, bias=True))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.body(images).squeeze(1)
        return logits


class Conv(nn.Module):
    """A convolution with kernels of 4 that keeps each side, or halves it, rounding up."""

    def __init__(self, before: int, after: int, stride: int, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, KERNEL, stride, bias=bias)
        nn.init.normal_(self.conv.weight, std=0.02)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        right, below = (2, 2) if self.stride == 1 else (1 + width % 2, 1 + height % 2)
        y: Tensor = self.conv(F.pad(x, (1, right, 1, below)))
        return y
