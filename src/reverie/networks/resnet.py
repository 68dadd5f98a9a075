"""A residual encoder and its mirror image, for pictures of any size and any number of channels.

The stages of `reverie.networks.conv` with ``depth`` residual blocks after each downsampling and before each upsampling,
in the pre-activation order of He et al. (2016b). There is no normalisation, so that a code cannot depend on its batch;
the last convolution of each block starts at zero, so that every block starts as the identity (Zhang et al. 2019,
Fixup).
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from reverie.networks.conv import Flatten, Unflatten, Up, down, init_he, plan_stages


class Block(nn.Module):
    """x + W2 silu(W1 silu(x)), both 3x3; (N, channels, H, W) -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, 1, 1)
        nn.init.zeros_(last.weight)
        self.body = nn.Sequential(nn.SiLU(), init_he(nn.Conv2d(channels, channels, 3, 1, 1)), nn.SiLU(), last)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


class ResNetEncoder(nn.Sequential):
    """Pictures (N, C, H, W) -> features (N, out); ``depth`` residual blocks a stage."""

    def __init__(self, shape: tuple[int, int, int], out: int, width: int, depth: int) -> None:
        stages = plan_stages(shape, width)
        layers: list[nn.Module] = []
        for i, stage in enumerate(stages):
            layers += [nn.SiLU()] if i else []
            layers += [down(stage), *(Block(stage.deep) for _ in range(depth))]
        last = stages[-1]
        dense = nn.Linear(last.deep * math.prod(last.inner), 8 * width)
        super().__init__(*layers, nn.SiLU(), Flatten(), init_he(dense), nn.SiLU(), nn.Linear(8 * width, out))


class ResNetDecoder(nn.Sequential):
    """Latents (N, latent) -> outputs (N, C, H, W), unbounded: the mirror image of `ResNetEncoder`."""

    def __init__(self, latent: int, shape: tuple[int, int, int], width: int, depth: int) -> None:
        stages = plan_stages(shape, width)
        last = stages[-1]
        dense = nn.Linear(8 * width, last.deep * math.prod(last.inner))
        layers: list[nn.Module] = [init_he(nn.Linear(latent, 8 * width)), nn.SiLU(), init_he(dense)]
        layers.append(Unflatten(last.deep, last.inner))
        for stage in reversed(stages):
            layers += [*(Block(stage.deep) for _ in range(depth)), nn.SiLU(), Up(stage, stage.wide)]
        super().__init__(*layers)
