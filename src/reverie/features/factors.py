"""A predictor of a picture's factors, a network trained once on pictures whose factors are known.

For the built-in faces, whose factors are known: it measures on generated pictures whether an edit or a translation
changed what it should, and nothing else. reference.py trains and caches it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.data.dataset import Dataset
from reverie.data.faces import FACTORS
from reverie.data.image_io import to_tensor
from reverie.engine.model import ImageSpec
from reverie.errors import ReverieError
from reverie.features.reference import reference_network
from reverie.inference.pictures import device_of
from reverie.networks.conv import ConvEncoder

VERSION = 1  # to be raised when anything here changes the predictions
WIDTH = 24
SEEN, EPOCHS = 200_000, 40  # pictures seen in training; largest number of epochs, for small sets
AT_ONCE = 256


class FactorReader(nn.Module):
    """Pictures (N, C, H, W) in [-1, 1] to a number for each continuous factor, and logits for each categorical one."""

    def __init__(self, image_spec: ImageSpec) -> None:
        super().__init__()
        self.sizes = [factor.values or 1 for factor in FACTORS]
        self.body = ConvEncoder(image_spec.shape, sum(self.sizes), WIDTH, 1)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """For each of `FACTORS`: (N, 1), the factor scaled to [-1, 1], or logits (N, values)."""
        heads: tuple[Tensor, ...] = self.body(images.contiguous(memory_format=torch.channels_last)).split(self.sizes, 1)
        return heads

    def read(self, images: Tensor) -> dict[str, NDArray[np.float32]]:
        """The factors of pictures (N, C, H, W): name -> (N,), in the units of the factor."""
        parts = []
        with torch.no_grad():
            for some in images.split(AT_ONCE):
                heads = self(some.to(device_of(self)))
                parts.append(torch.stack([_value(head, i) for i, head in enumerate(heads)]).cpu())
        values = torch.cat(parts, 1)
        return {factor.name: values[i].numpy() for i, factor in enumerate(FACTORS)}


def factor_reader(dataset: Dataset, device: torch.device | str = "cpu", cache: Path | None = None) -> FactorReader:
    """The predictor of ``dataset``'s factors, trained on its pictures or taken from the cache; in eval mode.

    Raises ReverieError where the factors of the pictures are not known.
    """
    known = dataset.factors
    if known is None:
        raise ReverieError("A reader of factors needs pictures whose factors are known: the built-in faces.")
    targets = torch.from_numpy(np.stack([known[factor.name] for factor in FACTORS], 1))

    def loss(network: FactorReader, indices: NDArray[np.int64]) -> Tensor:
        """Squared error or cross-entropy, all factors with equal weight."""
        wanted = targets[torch.from_numpy(indices)].to(device)
        heads = network(to_tensor(dataset.batch(indices)).to(device))
        return torch.stack([_error(head, wanted[:, i], i) for i, head in enumerate(heads)]).sum()

    build = partial(FactorReader, dataset.image_spec)
    return reference_network(
        "factors", dataset, build, loss, version=VERSION, seen=SEEN, epochs=EPOCHS, device=device, cache=cache
    )


def _value(head: Tensor, number: int) -> Tensor:
    factor = FACTORS[number]
    if factor.values:
        return head.argmax(1).float()
    return factor.low + (head[:, 0].clamp(-1, 1) + 1) / 2 * (factor.high - factor.low)


def _error(head: Tensor, wanted: Tensor, number: int) -> Tensor:
    factor = FACTORS[number]
    if factor.values:
        return F.cross_entropy(head, wanted.long())
    scaled = 2 * (wanted - factor.low) / (factor.high - factor.low) - 1
    return F.mse_loss(head[:, 0], scaled)
