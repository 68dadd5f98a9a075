"""The style-based generator: Karras et al. (2019), "A style-based generator architecture for GANs".

Latents are first mapped to styles w; each layer of the synthesis network gets its own copy of w. This file has what
both versions share (mapping, noise, discriminator) and the synthesis of the first, whose styles set mean and standard
deviation of each feature map (adaptive instance normalisation); stylegan2.py has that of the second.

Differences from the paper: a layer that changes resolution convolves on the coarser of the two grids; both versions
resample with [1, 3, 3, 1] (which equals nearest neighbour and [1, 2, 1] blur, as used in the first).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from reverie.networks.equalized import (
    EPSILON,
    DiscriminatorHead,
    EqualConv,
    EqualLinear,
    Resample,
    activate,
    pixel_norm,
    stages,
)

SLOW = 0.01  # factor on the learning rate of the mapping network


class Noise(Protocol):
    """A source of random numbers, one row for each picture."""

    def normal(self, *shape: int) -> Tensor:
        """N(0, 1), (N, *shape)."""
        ...


class Mapping(nn.Module):
    """Latents (N, latent), and labels (N,) where there are classes, -> styles (N, size)."""

    def __init__(self, latent: int, size: int, depth: int, classes: int = 0) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, latent) if classes else None
        widths = [latent * (2 if classes else 1), *[size] * depth]
        self.layers = nn.ModuleList(EqualLinear(a, b, rate=SLOW) for a, b in pairwise(widths))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = pixel_norm(z)
        if self.embedding is not None:
            w = torch.cat([w, pixel_norm(self.embedding(labels))], 1)
        for layer in self.layers:
            w = activate(layer(w))
        return w


class Noisy(nn.Module):
    """activate(x + strength noise + bias): (N, channels, *size) -> same.

    The noise is one number per pixel: fresh in training, otherwise a fixed map, so that a picture depends on its styles
    alone. Its strength is learned, starting from zero.
    """

    fixed: Tensor

    def __init__(self, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))
        self.strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("fixed", torch.randn(1, *size))

    def forward(self, x: Tensor, noise: Noise | None) -> Tensor:
        grain = self.fixed if noise is None else noise.normal(*self.fixed.shape).to(x)
        return activate(x + (self.strength * grain + self.bias))


class AdaIN(nn.Module):
    """Feature maps with mean and deviation set by styles (N, size) (eq. 1): (N, channels, H, W) -> same."""

    def __init__(self, channels: int, size: int) -> None:
        super().__init__()
        self.affine = EqualLinear(size, 2 * channels)
        with torch.no_grad():
            self.affine.bias[:channels] = 1.0

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        deviation, mean = self.affine(w)[:, :, None, None].chunk(2, 1)
        centred = x - x.mean((2, 3), keepdim=True)
        normal = centred * (centred.square().mean((2, 3), keepdim=True) + EPSILON).rsqrt()
        styled: Tensor = deviation * normal + mean
        return styled


class Layer(nn.Module):
    """Convolution, resampling where given, noise, activation, style: (N, channels, h, w) -> (N, out, *grid)."""

    def __init__(self, channels: int, out: int, grid: tuple[int, int], size: int, resample: nn.Module) -> None:
        super().__init__()
        self.conv, self.resample = EqualConv(channels, out, 3, bias=False), resample
        self.noisy, self.style = Noisy(out, grid), AdaIN(out, size)

    def forward(self, x: Tensor, w: Tensor, noise: Noise | None) -> Tensor:
        y: Tensor = self.style(self.noisy(self.resample(self.conv(x)), noise), w)
        return y


class Synthesis(nn.Module):
    """Styles (N, L, size) -> pictures (N, C, H, W), unbounded; ``count`` is L; ``noise`` as in `Noisy`."""

    count: int

    @abstractmethod
    def forward(self, w: Tensor, noise: Noise | None = None) -> Tensor:
        """The pictures."""


class AdaINSynthesis(Synthesis):
    """The synthesis of the first version. Layer i uses style i."""

    def __init__(self, shape: tuple[int, int, int], width: int, size: int) -> None:
        super().__init__()
        coarse_to_fine = stages(shape, width)[::-1]
        last = coarse_to_fine[0]
        # Random, not ones as in the paper: a constant map has no deviation to normalise, and no useful gradient.
        self.constant = nn.Parameter(torch.randn(1, last.deep, *last.inner))
        self.noisy, self.style = Noisy(last.deep, last.inner), AdaIN(last.deep, size)
        layers = [Layer(last.deep, last.deep, last.inner, size, nn.Identity())]
        for stage in coarse_to_fine:
            layers.append(Layer(stage.deep, stage.wide, stage.outer, size, Resample(stage, up=True)))
            layers.append(Layer(stage.wide, stage.wide, stage.outer, size, nn.Identity()))
        self.layers = nn.ModuleList(layers)
        self.to_picture = EqualConv(coarse_to_fine[-1].wide, shape[0], 1)
        self.count = len(layers) + 1

    def forward(self, w: Tensor, noise: Noise | None = None) -> Tensor:
        x = self.style(self.noisy(self.constant.expand(len(w), -1, -1, -1), noise), w[:, 0])
        for i, layer in enumerate(self.layers, 1):
            x = layer(x, w[:, i], noise)
        picture: Tensor = self.to_picture(x)
        return picture


class Downward(nn.Module):
    """A stage of the discriminator, with ``residual`` with a skip: (N, wide, *outer) -> (N, deep, *inner)."""

    def __init__(self, wide: int, deep: int, down: nn.Module, residual: bool) -> None:
        super().__init__()
        self.first, self.second = EqualConv(wide, wide, 3), EqualConv(wide, deep, 3)
        self.skip = EqualConv(wide, deep, 1, bias=False) if residual else None
        self.down = down

    def forward(self, x: Tensor) -> Tensor:
        y = activate(self.second(self.down(activate(self.first(x)))))
        if self.skip is None:
            return y
        residual: Tensor = (self.skip(self.down(x)) + y) * math.sqrt(0.5)
        return residual


class StyleDiscriminator(nn.Module):
    """Pictures (N, C, H, W), and labels (N,) where there are classes, -> logits (N,).

    ``residual`` as in the second version. Labels enter by a projection (Miyato & Koyama 2018).
    """

    def __init__(self, shape: tuple[int, int, int], width: int, residual: bool, classes: int = 0) -> None:
        super().__init__()
        steps = stages(shape, width)
        last = steps[-1]
        self.from_picture = EqualConv(shape[0], steps[0].wide, 1)
        self.body = nn.Sequential(*(Downward(s.wide, s.deep, Resample(s, up=False), residual) for s in steps))
        self.verdict = DiscriminatorHead(last.deep, last.inner, last.deep if classes else 1)
        self.embedding = nn.Embedding(classes, last.deep) if classes else None

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor:
        features: Tensor = self.verdict(self.body(activate(self.from_picture(images))))
        if self.embedding is None:
            return features.squeeze(1)
        direction = pixel_norm(self.embedding(labels))
        return (features * direction).sum(1) / math.sqrt(direction.shape[1])


class StyleGenerator(nn.Module):
    """Mapping and synthesis: latents (N, latent), and labels (N,) where there are classes, -> pictures, unbounded."""

    def __init__(self, mapping: Mapping, synthesis: Synthesis) -> None:
        super().__init__()
        self.mapping, self.synthesis = mapping, synthesis

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        w = self.mapping(z, labels)
        picture: Tensor = self.synthesis(w.unsqueeze(1).expand(-1, self.synthesis.count, -1))
        return picture
