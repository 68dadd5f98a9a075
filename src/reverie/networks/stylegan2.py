"""The second style-based generator: Karras et al. (2020), "Analyzing and improving the image quality of StyleGAN".

A style scales the input of a convolution, and the output is scaled back to unit *expected* deviation, not by its actual
statistics (section 2.2), which removes the droplet artifacts of the first version. Each resolution adds its picture to
the upsampled picture of the previous one (section 4.1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.networks.equalized import EPSILON, EqualConv, EqualLinear, Resample, stages
from reverie.networks.stylegan import Noise, Noisy, Synthesis


def modulated(x: Tensor, weight: Tensor, style: Tensor, demodulate: bool = True, fused: bool = False) -> Tensor:
    """Modulated convolution (eq. 1 and 3): x (N, I, H, W), weight (O, I, k, k), k odd, style (N, I) -> (N, O, H, W).

    ``fused`` convolves each picture with its own weights w s, in one grouped convolution. The default scales the input
    by s and the output by the deviation instead, which is the same in exact arithmetic, and faster on a CPU.
    """
    padding = weight.shape[2] // 2
    if fused:
        own = weight * style[:, None, :, None, None]  # (N, O, I, k, k)
        if demodulate:
            own = own * (own.square().sum((2, 3, 4), keepdim=True) + EPSILON).rsqrt()
        whole = x.reshape(1, -1, *x.shape[2:])
        out: Tensor = F.conv2d(whole, own.flatten(0, 1), padding=padding, groups=len(x))
        return out.view(len(x), len(weight), *x.shape[2:])
    y = F.conv2d(x * style[:, :, None, None], weight, padding=padding)
    if demodulate:
        squares = F.linear(style.square(), weight.square().sum((2, 3)))  # (N, O)
        y = y * (squares + EPSILON).rsqrt()[:, :, None, None]
    return y


class ModulatedConv(nn.Module):
    """A convolution with inputs scaled by styles (N, size): (N, channels, H, W) -> (N, out, H, W)."""

    def __init__(self, channels: int, out: int, kernel: int, size: int, demodulate: bool = True) -> None:
        super().__init__()
        self.conv = EqualConv(channels, out, kernel, bias=False)
        self.affine = EqualLinear(size, channels, bias=1.0)
        self.demodulate = demodulate

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        return modulated(x, self.conv.weight * self.conv.scale, self.affine(w), self.demodulate)


class StyledLayer(nn.Module):
    """Modulated convolution, resampling where given, noise, activation: (N, channels, h, w) -> (N, out, *grid)."""

    def __init__(self, channels: int, out: int, grid: tuple[int, int], size: int, resample: nn.Module) -> None:
        super().__init__()
        self.conv, self.resample, self.noisy = ModulatedConv(channels, out, 3, size), resample, Noisy(out, grid)

    def forward(self, x: Tensor, w: Tensor, noise: Noise | None) -> Tensor:
        y: Tensor = self.noisy(self.resample(self.conv(x, w)), noise)
        return y


class ToPicture(nn.Module):
    """Features to a picture, modulated but not demodulated: (N, channels, H, W) -> (N, out, H, W)."""

    def __init__(self, channels: int, out: int, size: int) -> None:
        super().__init__()
        self.conv = ModulatedConv(channels, out, 1, size, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(out, 1, 1))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        y: Tensor = self.conv(x, w) + self.bias
        return y


class SkipSynthesis(Synthesis):
    """The synthesis of the second version; layer i uses style i, its picture style i + 1, as does the next layer."""

    def __init__(self, shape: tuple[int, int, int], width: int, size: int) -> None:
        super().__init__()
        coarse_to_fine = stages(shape, width)[::-1]
        last = coarse_to_fine[0]
        self.constant = nn.Parameter(torch.randn(1, last.deep, *last.inner))
        layers = [StyledLayer(last.deep, last.deep, last.inner, size, nn.Identity())]
        pictures, ups = [ToPicture(last.deep, shape[0], size)], []
        for stage in coarse_to_fine:
            up = Resample(stage, up=True)
            layers.append(StyledLayer(stage.deep, stage.wide, stage.outer, size, up))
            layers.append(StyledLayer(stage.wide, stage.wide, stage.outer, size, nn.Identity()))
            pictures.append(ToPicture(stage.wide, shape[0], size))
            ups.append(up)
        self.layers, self.pictures, self.ups = nn.ModuleList(layers), nn.ModuleList(pictures), nn.ModuleList(ups)
        self.count = len(layers) + 1

    def forward(self, w: Tensor, noise: Noise | None = None) -> Tensor:
        x = self.layers[0](self.constant.expand(len(w), -1, -1, -1), w[:, 0], noise)
        picture: Tensor = self.pictures[0](x, w[:, 1])
        for i, (up, to_picture) in enumerate(zip(self.ups, self.pictures[1:], strict=True)):
            first, second = 2 * i + 1, 2 * i + 2
            x = self.layers[second](self.layers[first](x, w[:, first], noise), w[:, second], noise)
            picture = up(picture) + to_picture(x, w[:, second + 1])
        return picture
