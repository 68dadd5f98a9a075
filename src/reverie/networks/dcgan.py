"""The networks of DCGAN for pictures of any size and any number of channels, with or without classes.

Radford et al. (2016): strided convolutions with kernels of 4, batch normalisation except at the ends, ReLU in the
generator and leaky ReLU in the discriminator, weights N(0, 0.02), down to a grid of 4 x 4. Sizes that are not powers of
two are treated as in `reverie.networks.conv`: halved rounding up, and cropped after upsampling.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reverie.networks.conv import Stage, Up, plan_stages

SMALLEST = 4  # sides are halved while longer than this; stopping at 7 x 7, D judges strokes, not whole digits
SPREAD = 0.02  # standard deviation of every weight at the start
# Running statistics average over about the last hundred steps rather than ten: evaluation uses them with averaged
# weights, which change slowly.
MOMENTUM = 0.01


class Down(nn.Module):
    """A stage's outer size to its inner, (N, wide, *outer) -> (N, deep, *inner), with kernels of 4 where halved."""

    def __init__(self, stage: Stage, bias: bool) -> None:
        super().__init__()
        kernel = (stage.stride[0] + 2, stage.stride[1] + 2)
        self.conv = nn.Conv2d(stage.wide, stage.deep, kernel, stage.stride, 1, bias=bias)
        self.stage = stage

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.conv(self.stage.even(x))
        return y


class DCGANGenerator(nn.Module):
    """Latents (N, latent), and labels (N,) where there are classes, -> pictures (N, C, H, W) in (-1, 1)."""

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int, classes: int = 0) -> None:
        super().__init__()
        stages = plan_stages(shape, width, SMALLEST)
        last = stages[-1]
        self.embedding = nn.Embedding(classes, latent) if classes else None
        self.grid = (last.deep, *last.inner)
        self.stem = nn.Linear(latent * (2 if classes else 1), math.prod(self.grid), bias=False)
        layers: list[nn.Module] = [_norm(last.deep), nn.ReLU()]
        for stage in reversed(stages[1:]):
            up = Up(stage, stage.wide)
            up.conv.bias = None  # batch normalisation has one
            layers += [up, _norm(stage.wide), nn.ReLU()]
        self.body = nn.Sequential(*layers, Up(stages[0], shape[0]), nn.Tanh())
        init_normal(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embedding is not None:
            z = torch.cat([z, self.embedding(labels)], 1)
        picture: Tensor = self.body(self.stem(z).unflatten(1, self.grid))
        return picture


class DCGANDiscriminator(nn.Module):
    """Pictures (N, C, H, W), and labels (N,) where there are classes, -> logits (N,).

    The label enters in one of two ways. ``projection``: the inner product of its embedding with the features is added
    to the logit (Miyato & Koyama 2018, eq. 3). ``concatenation``: a learned map for each class is an additional input
    channel (Mirza & Osindero 2014).
    """

    def __init__(self, shape: tuple[int, int, int], width: int, classes: int = 0, how: str = "projection") -> None:
        super().__init__()
        joined = classes > 0 and how == "concatenation"
        self.plane = nn.Embedding(classes, shape[1] * shape[2]) if joined else None
        stages = plan_stages((shape[0] + joined, *shape[1:]), width, SMALLEST)
        layers: list[nn.Module] = [Down(stages[0], bias=True), nn.LeakyReLU(0.2)]
        for stage in stages[1:]:
            layers += [Down(stage, bias=False), _norm(stage.deep), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        features = stages[-1].deep * math.prod(stages[-1].inner)
        self.head = nn.Linear(features, 1)
        self.projection = nn.Embedding(classes, features) if classes and not joined else None
        init_normal(self)

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.plane is not None:
            images = torch.cat([images, self.plane(labels).view(-1, 1, *images.shape[2:])], 1)
        features: Tensor = self.body(images)
        logits: Tensor = self.head(features).squeeze(1)
        return logits if self.projection is None else logits + (self.projection(labels) * features).sum(1)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, momentum=MOMENTUM)


def init_normal(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for the gains of batch normalisation, zero for biases."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)):
            nn.init.normal_(layer.weight, std=SPREAD)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, SPREAD)
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
