"""Augmentation of the discriminator's input, so that it cannot memorise the pictures of a small set.

Every operation is twice differentiable with respect to the pictures, so that R1 can be taken at the unaugmented ones.
DiffAugment (Zhao et al. 2020): translation, colour and cutout for real and generated pictures alike. ADA (Karras et al.
2020b): the probability of augmentation follows the discriminator's overfitting, measured by the mean of sign(D(x)).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Random(Protocol):
    """A source of random numbers: see `reverie.engine.randomness.Draw`."""

    def uniform(self, *shape: int) -> Tensor:
        """U[0, 1), (N, *shape), float32."""
        ...


def translation(images: Tensor, u: Tensor) -> Tensor:
    """Shift by whole pixels, up to an eighth of each side; padded with zero (mid-grey). ``u`` is (N, 3)."""
    count, _, height, width = images.shape
    device = images.device
    most = (max(1, round(height / 8)), max(1, round(width / 8)))
    rows, columns = ((u[:, i] * (2 * most[i] + 1)).floor().long() - most[i] for i in (0, 1))
    padded = F.pad(images, (most[1], most[1], most[0], most[0]))
    sample = torch.arange(count, device=device)[:, None, None]
    row = (torch.arange(height, device=device) + most[0] + rows[:, None])[:, :, None]
    column = (torch.arange(width, device=device) + most[1] + columns[:, None])[:, None, :]
    # Advanced indexing at dimensions 0, 2 and 3 moves these to the front: (N, H, W, C).
    return padded[sample, :, row, column].permute(0, 3, 1, 2)


def colour(images: Tensor, u: Tensor) -> Tensor:
    """Brightness +-0.5, saturation x 0..2 (with three channels), contrast x 0.5..1.5. ``u`` is (N, 3)."""
    brightness, saturation, contrast = (u[:, i, None, None, None].to(images.dtype) for i in range(3))
    images = images + brightness - 0.5
    if images.shape[1] == 3:
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * 2 * saturation
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * (contrast + 0.5)


def cutout(images: Tensor, u: Tensor) -> Tensor:
    """A rectangle of half of each side, centred anywhere, is set to zero (mid-grey). ``u`` is (N, 3)."""
    inside = []
    for i, side in ((0, images.shape[2]), (1, images.shape[3])):
        half = side // 2
        start = (u[:, i] * (side + 1 - half % 2)).floor()[:, None] - half // 2
        place = torch.arange(side, device=images.device)
        inside.append((place >= start) & (place < start + half))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return images * (~hole)[:, None].to(images.dtype)


def flip(images: Tensor, u: Tensor) -> Tensor:
    """Horizontal flip."""
    return images.flip(3)


def geometry(images: Tensor, u: Tensor) -> Tensor:
    """Rotation by up to 15 degrees, scaling by up to 20% along each axis; bilinear, zero-padded. ``u`` is (N, 3)."""
    count, _, height, width = images.shape
    angle = (2 * u[:, 0] - 1) * torch.pi / 12
    scale = 2 ** ((2 * u[:, 1:] - 1) * 0.263)
    cos, sin, across, down = (v[:, None, None] for v in (angle.cos(), angle.sin(), scale[:, 0], scale[:, 1]))
    middle = ((height - 1) / 2, (width - 1) / 2)
    y = (torch.arange(height, device=images.device) - middle[0])[:, None]
    x = torch.arange(width, device=images.device) - middle[1]
    row, column = down * (sin * x + cos * y) + middle[0], across * (cos * x - sin * y) + middle[1]  # (N, H, W)
    # Not F.grid_sample: most versions of PyTorch cannot differentiate that twice.
    padded = F.pad(images, (1, 1, 1, 1))
    sample = torch.arange(count, device=images.device)[:, None, None]
    moved = torch.zeros_like(images)
    for r in (row.floor(), row.floor() + 1):
        for c in (column.floor(), column.floor() + 1):
            weight = ((1 - (row - r).abs()) * (1 - (column - c).abs())).to(images.dtype)
            corner = padded[sample, :, (r + 1).clamp(0, height + 1).long(), (c + 1).clamp(0, width + 1).long()]
            moved = moved + weight[:, None] * corner.permute(0, 3, 1, 2)
    return moved


_OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "translation": translation,
    "colour": colour,
    "cutout": cutout,
    "flip": flip,
    "geometry": geometry,
}
POLICIES = tuple(_OPERATIONS)


class Augmentation(nn.Module):
    """The operations of the comma-separated ``policy``, in that order, each applied to a picture with probability p."""

    def __init__(self, policy: str) -> None:
        super().__init__()
        self.names = [name.strip() for name in policy.split(",") if name.strip()]
        unknown = set(self.names) - set(POLICIES)
        if unknown:
            raise ValueError(f"unknown augmentation {sorted(unknown)}; there are {', '.join(POLICIES)}")

    def forward(self, images: Tensor, draw: Random, p: Tensor | float = 1.0) -> Tensor:
        """(N, C, H, W) -> the same shape and type. The numbers drawn do not depend on p."""
        for name in self.names:
            u = draw.uniform(4).to(images.device)  # float32: in bfloat16 it might be 1
            chosen = (u[:, 3] < p)[:, None, None, None]
            images = torch.where(chosen, _OPERATIONS[name](images, u[:, :3]), images)
        return images


class Adaptive(nn.Module):
    """The augmentation probability p, adapted to keep the mean of sign(D(x)) at ``target`` (Karras 2020b, eq. 1).

    p takes at least ``kimg`` thousand pictures to go from 0 to 1. `observe` only accumulates signs, `adjust` changes p,
    so that ranks and microbatches agree.
    """

    p: Tensor
    signs: Tensor  # sum of sign(D(x)), and how many, since the last adjustment
    since: Tensor  # steps since then
    images: Tensor  # pictures seen at the last adjustment

    EVERY = 4  # steps

    def __init__(self, start: float = 0.0, target: float = 0.6, kimg: float = 500) -> None:
        super().__init__()
        self.target, self.kimg = target, kimg
        self.register_buffer("p", torch.tensor(float(start)))
        self.register_buffer("signs", torch.zeros(2))
        self.register_buffer("since", torch.zeros((), dtype=torch.int64))
        self.register_buffer("images", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def observe(self, logits: Tensor) -> None:
        """Accumulate the signs of D(x) of real pictures, (N,)."""
        self.signs += torch.stack([logits.sign().sum(), torch.ones_like(logits).sum()]).to(self.signs)

    @torch.no_grad()
    def adjust(self, images: int, total: Callable[[Tensor], Tensor]) -> None:
        """Call after each step: ``images`` is the number seen so far; ``total`` sums over ranks."""
        self.since += 1
        if int(self.since) < self.EVERY:
            return
        signs, count = total(self.signs).tolist()
        step = (images - int(self.images)) / (1000 * self.kimg)
        if count:
            up = signs / count > self.target
            self.p.copy_((self.p + (step if up else -step)).clamp(0, 1))
        self.signs.zero_()
        self.since.zero_()
        self.images.fill_(images)
