"""Image-to-image networks by name: the U-Net of unet.py, and CycleGAN's residual network.

Zhu et al. (2017), appendix 7.2, after Johnson et al. (2016): a 7x7 convolution, two that halve, residual blocks, two
that double, and a 7x7 convolution, padded by reflection. Differences: any height and width (padded by reflection to
multiples of four, and cropped back), and a choice of normalisation.
"""

from __future__ import annotations

from torch import Tensor, nn

from reverie.networks.dcgan import init_normal
from reverie.networks.norm import norm
from reverie.networks.padding import mirrored
from reverie.networks.unet import DEEPEST, UNet, Uniform

NETWORKS = ("unet", "resnet")
LEAST = 8  # shortest side in pixels of the residual network: below it, reflection padding is impossible


def translator(
    network: str,
    before: int,
    after: int,
    size: tuple[int, int],
    *,
    width: int,
    depth: int,
    blocks: int,
    kind: str,
    dropout: float = 0.0,
) -> nn.Module:
    """Pictures (N, before, H, W) of any size -> (N, after, H, W) in (-1, 1); calls also take a `Uniform` for dropout.

    ``depth`` is the number of halvings of the unet, at most down to one pixel for pictures of ``size``; 0 is that most.
    """
    if network == "resnet":
        return ResNet(before, after, width, blocks, kind)
    most = max(1, min(size).bit_length() - 1)
    return UNet(before, after, width, min(depth or DEEPEST, most), blocks, kind, dropout)


class ResNet(nn.Module):
    """Pictures (N, before, H, W) of any size -> (N, after, H, W) in (-1, 1)."""

    grain, dropout = 4, 0.0

    def __init__(self, before: int, after: int, width: int, blocks: int, kind: str) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_conv(before, width, 7, 1), norm(kind, width), nn.ReLU()]
        for wide in (width, 2 * width):
            layers += [nn.Conv2d(wide, 2 * wide, 3, 2, 1, bias=False), norm(kind, 2 * wide), nn.ReLU()]
        layers += [_Block(4 * width, kind) for _ in range(blocks)]
        for wide in (4 * width, 2 * width):
            back = nn.ConvTranspose2d(wide, wide // 2, 3, 2, 1, output_padding=1, bias=False)
            layers += [back, norm(kind, wide // 2), nn.ReLU()]
        last = nn.Conv2d(width, after, 7, padding=3, padding_mode="reflect")
        self.body = nn.Sequential(*layers, last, nn.Tanh())
        init_normal(self)

    def forward(self, x: Tensor, draw: Uniform | None = None) -> Tensor:
        height, width = x.shape[2:]
        y: Tensor = self.body(mirrored(x, self.grain, LEAST))
        return y[:, :, :height, :width]


class _Block(nn.Module):
    """x + norm(W2 relu(norm(W1 x))), both 3x3; (N, channels, H, W) -> same."""

    def __init__(self, channels: int, kind: str) -> None:
        super().__init__()
        first, second = _conv(channels, channels, 3, 1), _conv(channels, channels, 3, 1)
        self.body = nn.Sequential(*first, norm(kind, channels), nn.ReLU(), *second, norm(kind, channels))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


def _conv(before: int, after: int, kernel: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False, padding_mode="reflect")]
