"""Errors of pictures against their targets: MSE, L1, PSNR and SSIM, on the scale [0, 1].

Pictures (N, C, H, W) are first clamped to [-1, 1] and scaled to [0, 1], as for display.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

WINDOW = 11  # pixels; SSIM's Gaussian window, sigma 1.5
SIGMA = 1.5
LEAST_ERROR = 1e-10  # mean squared error that PSNR is capped at: 100 dB


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared error of each picture, (N,), from pictures (N, C, H, W) in [-1, 1]; in units of [0, 1] pixels."""
    return (_unit(output) - _unit(target)).square().mean((1, 2, 3))


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of each picture, (N,), from pictures (N, C, H, W) in [-1, 1]; in units of [0, 1] pixels."""
    return (output.clamp(-1, 1) - target.clamp(-1, 1)).abs().mean((1, 2, 3)) / 2


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each picture in dB, (N,): -10 log10 MSE with peak 1, at most 100."""
    return -10 * mse(output, target).clamp_min(LEAST_ERROR).log10()


def ssim(output: Tensor, target: Tensor) -> Tensor:
    """Structural similarity of each picture, (N,), mean over its channels.

    Wang et al. 2004, "Image quality assessment", eq. 13 with K1 = 0.01, K2 = 0.03: an 11 x 11 Gaussian window of sigma
    1.5 about every pixel, the picture mirrored at its borders (as torchmetrics does; the authors' own code leaves the
    border pixels out). A side below 6 pixels is too short to be mirrored so far: the window shrinks to twice the side
    minus one, and such figures are not comparable with others.
    """
    side = window_side(*output.shape[-2:])
    kernel = _gaussian(side).to(output.device)
    x, y = _unit(output).flatten(0, 1), _unit(target).flatten(0, 1)  # (N C, H, W)
    maps = torch.stack([x, y, x * x, y * y, x * y]).flatten(0, 1).unsqueeze(1)
    maps = F.pad(maps, (side // 2,) * 4, mode="reflect")
    local = F.conv2d(F.conv2d(maps, kernel[None, None, :, None]), kernel[None, None, None, :]).squeeze(1)
    mean_x, mean_y, xx, yy, xy = local.unflatten(0, (5, -1))
    var_x, var_y = (xx - mean_x**2).clamp_min(0), (yy - mean_y**2).clamp_min(0)
    covariance = xy - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    channels: Tensor = (luminance * structure).mean((1, 2)).unflatten(0, output.shape[:2])
    return channels.mean(1)


def window_side(height: int, width: int) -> int:
    """The side of SSIM's window for pictures of this size: 11, or less where a side is below 6 pixels."""
    return min(WINDOW, 2 * min(height, width) - 1)


def _unit(images: Tensor) -> Tensor:
    """[-1, 1] to [0, 1]."""
    return images.float().clamp(-1, 1) * 0.5 + 0.5


def _gaussian(side: int) -> Tensor:
    """A Gaussian of sigma `SIGMA` at ``side`` integer places about its centre, summing to one."""
    places = torch.arange(side, dtype=torch.float64) - side // 2
    weights = (-0.5 * (places / SIGMA) ** 2).exp()
    return (weights / weights.sum()).float()
