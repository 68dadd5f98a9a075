"""Pictures through a model's encoder and back through its decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.inference.labels import Labels, labels_for
from reverie.inference.pictures import Data, check_shape, device_of, images_and_labels
from reverie.inference.unsupported import unsupported


def reconstruct(model: object, images: Data, labels: Labels | None = None, batch: int = 256) -> Tensor:
    """Reconstructions of ``images`` (N, C, H, W) in [-1, 1], or of other data: the same shape, on the CPU.

    A conditional model needs the class of each picture, by name or number; by default the data's own.
    """
    coder = check_reconstructs(model)
    return rebuilt(coder, *images_and_labels(coder, images, labels), batch)


def check_reconstructs(model: object) -> Reconstructs:
    """The model, if it can reconstruct; ReverieError names those that can."""
    if not isinstance(model, Reconstructs):
        raise unsupported(model, "reconstruct", "encoder with a decoder", Reconstructs)
    return model


def rebuilt(model: Reconstructs, images: Tensor, labels: Labels | None = None, batch: int = 256) -> Tensor:
    """`reconstruct` for a tensor with values that may exceed [-1, 1], such as noisy pictures."""
    check_shape(model, images.shape[1:])
    device = device_of(model)
    numbers = labels_for(model, labels, len(images))
    parts = [images.new_empty(0, *images.shape[1:])]
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        given = None if numbers is None else numbers[part].to(device)
        with torch.no_grad():
            parts.append(model.reconstruct(images[part].to(device), given).float().cpu())
    return torch.cat(parts)


def comparison_rows(inputs: Tensor, outputs: Tensor, columns: int) -> Tensor:
    """Pictures in the order of a grid with ``columns`` columns: a row of inputs, the row of their outputs, and so on.

    ``inputs`` and ``outputs`` are (N, C, H, W). The last two rows are filled up with white where ``columns`` does not
    divide N.
    """
    return grid_rows([inputs, outputs], columns)


def grid_rows(sets: Sequence[Tensor], columns: int) -> Tensor:
    """`comparison_rows` for any number of sets of pictures (N, C, H, W): a row of each set in turn."""
    missing = -len(sets[0]) % columns
    blank = sets[0].new_ones(missing, *sets[0].shape[1:])
    tall = [torch.cat([tensor, blank]).unflatten(0, (-1, columns)) for tensor in sets]
    return torch.stack(tall, 1).flatten(0, 2)
