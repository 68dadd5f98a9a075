"""The building blocks of the progressive and the style-based networks.

Layers with an equalised learning rate and pixel normalisation: Karras et al. (2018), "Progressive growing of GANs",
sections 3 and 4. The [1, 3, 3, 1] resampling and the gain of the leaky ReLU: Karras et al. (2020), "Analyzing and
improving the image quality of StyleGAN". Grids are those of `conv.plan_stages`: sides are halved, rounding up, while
longer than 4; upsampling is cropped to the exact size.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.networks.conv import Flatten, Stage, plan_stages

SMALLEST = 4  # sides are halved while longer than this
SLOPE = 0.2
GROUP = 4  # pictures that are compared with each other
EPSILON = 1e-8
TAPS = (0.125, 0.375, 0.375, 0.125)  # [1, 3, 3, 1] / 8


def stages(shape: tuple[int, int, int], width: int) -> list[Stage]:
    """The stages from the full (C, H, W) grid, with ``width`` channels, down to the smallest."""
    first, *rest = plan_stages(shape, width, SMALLEST)
    return [replace(first, wide=first.deep), *rest]


def activate(x: Tensor) -> Tensor:
    """Leaky ReLU times sqrt(2), which preserves the scale of activations; any shape."""
    return F.leaky_relu(x, SLOPE) * math.sqrt(2)


def pixel_norm(x: Tensor) -> Tensor:
    """x divided by its root mean square along dimension 1 (section 4.2): (N, C, ...) -> same."""
    return x * (x.square().mean(1, keepdim=True) + EPSILON).rsqrt()


def minibatch_std(x: Tensor) -> Tensor:
    """An additional channel with the variation within a picture's group: (N, C, H, W) -> (N, C + 1, H, W).

    The standard deviation over the group, mean over channels and pixels (section 3). A group is four consecutive
    pictures (fewer where four does not divide N), so that splitting a batch at multiples of four changes nothing.
    """
    count, _, height, width = x.shape
    group = next(size for size in range(min(GROUP, count), 0, -1) if count % size == 0)
    groups = x.unflatten(0, (-1, group))
    centred = groups - groups.mean(1, keepdim=True)
    spread = (centred.square().mean(1) + EPSILON).sqrt().mean((1, 2, 3))  # (N / group,)
    plane = spread.repeat_interleave(group).view(-1, 1, 1, 1).expand(-1, 1, height, width)
    return torch.cat([x, plane], 1)


class EqualLinear(nn.Linear):
    """(N, fan_in) -> (N, fan_out) with an equalised learning rate.

    Weights are stored as N(0, 1) and scaled by gain / sqrt(fan_in) when used, so that Adam, whose steps do not depend
    on the scale of a weight, changes all layers alike. ``rate`` multiplies the layer's learning rate and changes
    nothing else; ``bias`` is the initial value of its biases.
    """

    def __init__(self, fan_in: int, fan_out: int, gain: float = 1.0, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__(fan_in, fan_out)
        self.scale, self.rate = gain * rate / math.sqrt(fan_in), rate
        nn.init.normal_(self.weight, std=1 / rate)
        nn.init.constant_(self.bias, bias / rate)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight * self.scale, self.bias * self.rate)


class EqualConv(nn.Conv2d):
    """(N, channels, H, W) -> (N, out, H, W), with an odd kernel and an equalised learning rate as in `EqualLinear`."""

    def __init__(self, channels: int, out: int, kernel: int, bias: bool = True) -> None:
        super().__init__(channels, out, kernel, padding=kernel // 2, bias=bias)
        self.scale = 1 / math.sqrt(channels * kernel**2)
        nn.init.normal_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * self.scale, self.bias, padding=self.padding)


class Resample(nn.Module):
    """A [1, 3, 3, 1] filter along each axis that a stage halves, from its outer to its inner grid or back (``up``)."""

    kernel: Tensor

    def __init__(self, stage: Stage, up: bool) -> None:
        super().__init__()
        self.up, self.stage, self.stride = up, stage, stage.stride
        rows, columns = (torch.tensor(TAPS if step == 2 else (1.0,)) for step in stage.stride)
        gain = math.prod(stage.stride) if up else 1
        self.register_buffer("kernel", gain * torch.outer(rows, columns)[None, None], persistent=False)
        self.padding = (stage.stride[0] - 1, stage.stride[1] - 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == (1, 1):
            return x
        channels, (height, width) = x.shape[1], self.stage.outer
        kernel = self.kernel.expand(channels, 1, -1, -1)
        if self.up:
            y = F.conv_transpose2d(x, kernel, stride=self.stride, padding=self.padding, groups=channels)
            return y[:, :, :height, :width]
        return F.conv2d(self.stage.even(x), kernel, stride=self.stride, padding=self.padding, groups=channels)


class DiscriminatorHead(nn.Module):
    """The head of a discriminator: (N, channels, *size) on the smallest grid -> (N, out), with `minibatch_std`."""

    def __init__(self, channels: int, size: tuple[int, int], out: int = 1) -> None:
        super().__init__()
        self.conv = EqualConv(channels + 1, channels, 3)
        self.flatten = Flatten()
        self.dense = EqualLinear(channels * math.prod(size), channels)
        self.out = EqualLinear(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        x = activate(self.conv(minibatch_std(x)))
        y: Tensor = self.out(activate(self.dense(self.flatten(x))))
        return y
