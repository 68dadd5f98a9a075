"""A small classifier of a labelled data set: a feature extractor for such pictures, and a predictor of their labels.

A plain convolutional network; reference.py trains and caches it.
"""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.data.image_io import to_tensor
from reverie.engine.model import ImageSpec
from reverie.errors import ReverieError
from reverie.features.reference import BATCH, SEED, reference_network
from reverie.inference.pictures import Pictures, device_of, sample_indices

VERSION = 1  # to be raised when anything here changes the features
FEATURES = 128
WIDTHS = (32, 64, 128)  # channels above, at and below a quarter of the picture's size
SIDE = 32  # pixels; the first layer brings larger pictures near it
SEEN, EPOCHS = 200_000, 40  # pictures seen in training; largest number of epochs, for small sets
TESTED = 10_000  # held-out pictures for the accuracy


class Classifier(nn.Module):
    """Pictures to `FEATURES` non-negative features (`forward`), and those to a logit for each class (``head``)."""

    def __init__(self, image_spec: ImageSpec) -> None:
        super().__init__()
        stride = max(1, min(image_spec.height, image_spec.width) // SIDE)
        stem = nn.Conv2d(image_spec.channels, WIDTHS[0], 2 * stride + 1, stride, stride, bias=False)
        side = min(image_spec.height, image_spec.width) // stride
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()]
        channels = WIDTHS[0]
        for level in range(1, max(2, round(math.log2(max(side, 2) / 4)) + 1)):
            width = WIDTHS[min(level, len(WIDTHS) - 1)]
            layers += [nn.Conv2d(channels, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers += [nn.Conv2d(channels, FEATURES, 3, padding=1, bias=False), nn.BatchNorm2d(FEATURES), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(FEATURES, len(image_spec.classes))

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) in [-1, 1] -> (N, FEATURES)."""
        maps: Tensor = self.body(images.contiguous(memory_format=torch.channels_last))
        return maps.mean((2, 3))


def classifier(dataset: Pictures, device: torch.device | str = "cpu", cache: Path | None = None) -> Classifier:
    """The classifier of ``dataset``, trained on its pictures and labels or taken from the cache; in eval mode.

    Raises ReverieError where the data has fewer than two classes.
    """
    if dataset.labels is None or len(dataset.image_spec.classes) < 2:
        raise ReverieError("A classifier needs class labels, and this data has none; take --features pixels.")
    labels = torch.from_numpy(dataset.labels)

    def loss(network: Classifier, indices: NDArray[np.int64]) -> Tensor:
        logits = network.head(network(to_tensor(dataset.batch(indices)).to(device)))
        return F.cross_entropy(logits, labels[torch.from_numpy(indices)].to(device))

    build = partial(Classifier, dataset.image_spec)
    return reference_network(
        "classifier", dataset, build, loss, version=VERSION, seen=SEEN, epochs=EPOCHS, device=device, cache=cache
    )


def accuracy(network: Classifier, dataset: Pictures) -> float | None:
    """Accuracy, from 0 to 1, on up to `TESTED` pictures of ``dataset``; None where it has no labels."""
    if dataset.labels is None or len(dataset) == 0:
        return None
    indices, device = sample_indices(dataset, TESTED, SEED), device_of(network)
    right = 0
    for start in range(0, len(indices), BATCH):
        part = indices[start : start + BATCH]
        with torch.no_grad():
            found = network.head(network(to_tensor(dataset.batch(part)).to(device))).argmax(1)
        right += int((found.cpu() == torch.from_numpy(dataset.labels[part])).sum())
    return right / len(indices)
