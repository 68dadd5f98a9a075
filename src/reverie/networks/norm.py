"""Normalisations that are independent of the rest of the batch.

`InstanceNorm` uses the mean and variance of each channel over a whole picture (Ulyanov et al. 2016); `PixelNorm` uses
the root mean square of the channels at each pixel alone (Karras et al. 2018), so that a crop gives the same values as
the whole picture. Both have a gain and a bias for each channel.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

SMALL = 1e-5
NORMS = ("instance", "pixel")
Moments = tuple[Tensor, Tensor]  # mean and variance of each channel, (N, C, 1, 1) each


class InstanceNorm(nn.Module):
    """(N, C, H, W) -> the same shape: each channel of each picture with mean 0 and variance 1, then gain and bias.

    ``moments``, where set, is called for mean and variance instead: so the tiles of a large picture can share those of
    the whole.
    """

    moments: Callable[[InstanceNorm, Tensor], Moments] | None = None

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        gain, bias = self.gain[:, None, None], self.bias[:, None, None]
        if self.moments is not None:
            mean, variance = self.moments(self, x)
            scale = gain * torch.rsqrt(variance + SMALL)
            return x * scale + (bias - mean * scale)
        if x.shape[2] * x.shape[3] == 1:  # the variance of a single pixel is zero
            return x * gain + bias
        return nn.functional.instance_norm(x, weight=self.gain, bias=self.bias, eps=SMALL)


class PixelNorm(nn.Module):
    """(N, C, H, W) -> the same shape: the channels of each pixel with mean square 1, then gain and bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * (torch.rsqrt(x.square().mean(1, keepdim=True) + SMALL) * self.gain) + self.bias


def norm(kind: str, channels: int) -> nn.Module:
    """The normalisation ``kind``, one of `NORMS`."""
    return InstanceNorm(channels) if kind == "instance" else PixelNorm(channels)
