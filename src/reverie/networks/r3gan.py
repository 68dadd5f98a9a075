"""The residual networks of R3GAN for pictures of any size and any number of channels.

Huang et al. (2024), "The GAN is dead; long live the GAN! A modern GAN baseline", section 4 and figure 4. No
normalisation layer at all: a block is 1x1 -> grouped 3x3 -> 1x1, twice as wide inside, and its residual branch starts
at zero, so that every block starts as the identity (Zhang et al. 2019, Fixup). Between stages features are resampled
with [1, 2, 1], and a 1x1 convolution changes the number of channels where needed. The generator starts from a learned
basis on the smallest grid, weighted by a linear map of z; the discriminator ends with the mirror image.

The paper's finest blocks work at full resolution, which takes most of the time with few channels. With ``patch`` 2 they
work at half the resolution instead, after a strided convolution with kernels of 4 as in DCGAN, or before its transpose.
``bounded`` ends the generator with tanh.
"""

from __future__ import annotations

import math
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reverie.networks.conv import Stage, Up, plan_stages
from reverie.networks.dcgan import Down

L = TypeVar("L", nn.Conv2d, nn.Linear)

SMALLEST = 4  # sides are halved while longer than this
GROUP = 16  # channels of a group of the 3x3 convolution
EXPANSION = 2  # factor by which a block is wider inside
SLOPE = 0.2
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # keeps the variance through a leaky ReLU


class Block(nn.Module):
    """x + W3 act(W2 act(W1 x)), (N, channels, H, W) -> same; the initial scale falls with the number of ``blocks``."""

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        inside = EXPANSION * channels
        group = math.gcd(inside, GROUP)
        small = GAIN * blocks**-0.25  # Fixup: two convolutions before the last, L^(-1/4) each
        self.widen = _init_scaled(nn.Conv2d(channels, inside, 1), small)
        self.mix = _init_scaled(nn.Conv2d(inside, inside, 3, 1, 1, groups=inside // group), small)
        self.narrow = _init_scaled(nn.Conv2d(inside, channels, 1, bias=False), 0.0)

    def forward(self, x: Tensor) -> Tensor:
        inside = F.leaky_relu(self.mix(F.leaky_relu(self.widen(x), SLOPE)), SLOPE)
        y: Tensor = x + self.narrow(inside)
        return y


class Resample(nn.Module):
    """[1, 2, 1] along each axis that a stage halves, down to its inner size or up to its outer size."""

    kernel: Tensor

    def __init__(self, stage: Stage, up: bool) -> None:
        super().__init__()
        self.stride, self.up, self.size = stage.stride, up, stage.outer if up else stage.inner
        halved, kept = torch.tensor([0.25, 0.5, 0.25]), torch.tensor([0.0, 1.0, 0.0])
        rows, columns = (halved * (step if up else 1) if step == 2 else kept for step in stage.stride)
        self.register_buffer("kernel", torch.outer(rows, columns)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.kernel.expand(x.shape[1], 1, 3, 3)
        if not self.up:
            return F.conv2d(x, kernel, stride=self.stride, padding=1, groups=x.shape[1])
        extra = [
            size - (step * (side - 1) + 1) for size, step, side in zip(self.size, self.stride, x.shape[2:], strict=True)
        ]
        return F.conv_transpose2d(x, kernel, stride=self.stride, padding=1, output_padding=extra, groups=x.shape[1])


class R3GANGenerator(nn.Module):
    """Latents (N, latent), and labels (N,) where there are classes, -> pictures (N, C, H, W)."""

    def __init__(
        self,
        latent: int,
        shape: tuple[int, int, int],
        width: int,
        depth: int,
        patch: int = 1,
        bounded: bool = False,
        classes: int = 0,
        embedding: int = 0,
    ) -> None:
        super().__init__()
        stages = plan_stages(shape, width, SMALLEST)
        last, first = stages[-1], stages[0]
        walked, blocks = stages[patch - 1 :], depth * len(stages)
        self.embedding = nn.Embedding(classes, embedding) if classes else None
        if self.embedding is not None:  # smaller than z: at equal scale labels dominate, and classes lose variety
            nn.init.normal_(self.embedding.weight, std=1 / math.sqrt(classes))
        self.basis = nn.Parameter(torch.randn(last.deep, *last.inner))
        self.stem = _init_scaled(nn.Linear(latent + (embedding if classes else 0), last.deep, bias=False), 1.0)
        layers: list[nn.Module] = []
        for stage in reversed(walked):
            layers += [Block(stage.deep, blocks) for _ in range(depth)]
            wide = first.deep if stage is first else stage.wide
            layers += [*_channels(stage.deep, wide), Resample(stage, up=True)]
        layers += [Block(first.deep, blocks) for _ in range(depth)]
        if patch == 1:
            layers.append(_init_scaled(nn.Conv2d(first.deep, shape[0], 1, bias=False), 1.0))
        else:
            layers.append(Up(first, shape[0]))
        if bounded:
            layers.append(nn.Tanh())
        self.body = nn.Sequential(*layers)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        picture: Tensor = self.body(self.basis * self.stem(z)[:, :, None, None])
        return picture


class R3GANDiscriminator(nn.Module):
    """Pictures (N, C, H, W), and labels (N,) where there are classes, -> logits (N,).

    A label adds the inner product of its embedding with features (Miyato & Koyama 2018, eq. 3).
    """

    def __init__(
        self, shape: tuple[int, int, int], width: int, depth: int, patch: int = 1, classes: int = 0, embedding: int = 0
    ) -> None:
        super().__init__()
        stages = plan_stages(shape, width, SMALLEST)
        last, first = stages[-1], stages[0]
        walked, blocks = stages[patch - 1 :], depth * len(stages)
        layers: list[nn.Module] = []
        if patch == 1:
            layers.append(_init_scaled(nn.Conv2d(shape[0], first.deep, 1, bias=False), 1.0))
        else:
            stem = Down(first, bias=False)
            _init_scaled(stem.conv, 1.0)
            layers.append(stem)
        layers += [Block(first.deep, blocks) for _ in range(depth)]
        for stage in walked:
            wide = first.deep if stage is first else stage.wide
            layers += [Resample(stage, up=False), *_channels(wide, stage.deep)]
            layers += [Block(stage.deep, blocks) for _ in range(depth)]
        self.body = nn.Sequential(*layers)
        self.basis = nn.Parameter(torch.randn(last.deep, *last.inner) / math.sqrt(math.prod(last.inner)))
        self.head = _init_scaled(nn.Linear(last.deep, 1, bias=False), 1.0)
        self.projection = _init_scaled(nn.Linear(last.deep, embedding, bias=False), 1.0) if classes else None
        self.embedding = nn.Embedding(classes, embedding) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features: Tensor = (self.body(images) * self.basis).sum((2, 3))
        logits: Tensor = self.head(features).squeeze(1)
        if self.projection is None or self.embedding is None:
            return logits
        direction: Tensor = self.embedding(labels)
        agreement: Tensor = (self.projection(features) * direction).sum(1)
        return logits + agreement / math.sqrt(direction.shape[1])


def _channels(before: int, after: int) -> list[nn.Module]:
    """A 1x1 convolution where the number of channels changes."""
    return [] if before == after else [_init_scaled(nn.Conv2d(before, after, 1, bias=False), 1.0)]


def _init_scaled(layer: L, gain: float) -> L:
    """The layer with weights N(0, gain^2 / fan_in) and zero biases, if any: for layers before an activation."""
    with torch.no_grad():
        layer.weight.normal_(0, gain / math.sqrt(layer.weight[0].numel()))
        if layer.bias is not None:
            layer.bias.zero_()
    return layer
