"""Augmentation of training batches, with random numbers from the batch's own `Draw`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverie.data.options import DataOptions
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from torch import Tensor

    from reverie.engine.randomness import Draw


def augment(images: Tensor, options: DataOptions, draw: Draw) -> Tensor:
    """Flip and shift pictures (N, C, H, W) at random, as the options say; the same shape.

    ``flip`` mirrors half of them; ``shift`` moves each by up to so many pixels, with reflection padding that does not
    repeat the border.
    """
    import torch

    if options.flip:
        mirrored = (draw.uniform() < 0.5).to(images.device)
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
    if options.shift:
        height, width = images.shape[2:]
        if options.shift >= min(height, width):
            raise ReverieError(f"data.shift={options.shift} must be smaller than the pictures, {height}x{width}.")
        moves = draw.integers(2 * options.shift + 1, 2).to(images.device) - options.shift
        rows = _reflected(moves[:, :1] + torch.arange(height, device=images.device), height)
        columns = _reflected(moves[:, 1:] + torch.arange(width, device=images.device), width)
        sample = torch.arange(len(images), device=images.device)[:, None, None, None]
        channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
        images = images[sample, channel, rows[:, None, :, None], columns[:, None, None, :]]
    return images


def _reflected(index: Tensor, size: int) -> Tensor:
    return (size - 1) - ((size - 1) - index.abs()).abs()
