"""The training pictures nearest to given ones: to see whether a generator has memorised its training pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.config import check_range
from reverie.data.image_io import to_tensor
from reverie.errors import ReverieError
from reverie.inference.pictures import Data, Pictures, images_of, pictures_of, sample_indices, without

BATCH = 256


@dataclass(frozen=True)
class Neighbours:
    """The nearest pictures of a set for each given picture, nearest first."""

    indices: NDArray[np.int64]  # (N, k), into the set
    distances: NDArray[np.float64]  # (N, k), Euclidean, in the space of features

    def sheet(self, images: Tensor, dataset: Pictures) -> Tensor:
        """((k + 1) N, C, H, W) for a grid of k + 1 columns: each picture, then its neighbours."""
        k = self.indices.shape[1]
        found = to_tensor(dataset.batch(self.indices.reshape(-1))).unflatten(0, (-1, k))
        return torch.cat([images[:, None], found], 1).flatten(0, 1)


@dataclass(frozen=True)
class Nearest:
    """Pictures, the training pictures nearest to them, and the distance of held-out pictures for comparison."""

    images: Tensor  # (N, C, H, W) in [-1, 1]
    training: Pictures
    found: Neighbours  # of the images, in the training pictures
    held_out: float | None  # mean distance of held-out pictures to their nearest training picture; None without any

    def sheet(self) -> Tensor:
        """As `Neighbours.sheet`."""
        return self.found.sheet(self.images, self.training)


def nearest_of(
    images: Tensor,
    training: Pictures,
    test: Pictures,
    nearest: int = 5,
    features: str = "pixels",
    count: int = 8,
    seed: int = 0,
) -> Nearest:
    """The training pictures nearest to (N, C, H, W) in [-1, 1], and to ``count`` of ``test``, sampled by ``seed``.

    The latter show the distance of pictures that cannot have been memorised.
    """
    found = neighbours(images, training, nearest, features)
    new, distance = without(test, training), None  # without a test split, ``test`` has training pictures
    if len(new):
        others = to_tensor(new.batch(sample_indices(new, count, seed)))
        distance = float(neighbours(others, training, 1, features).distances.mean())
    return Nearest(images, training, found, distance)


def neighbours(images: Data, dataset: Data, k: int = 5, features: str = "pixels") -> Neighbours:
    """The ``k`` pictures of ``dataset`` nearest to each of (N, C, H, W) in [-1, 1], or to other data.

    ``features`` names the feature space: "pixels" is all pixels of the pictures; any other word is one of
    `reverie.features.extractors`. The search is exact; the set is read once, a batch at a time.
    """
    dataset = pictures_of(None, dataset)
    images = images_of(dataset.image_spec, images)
    if not len(dataset):
        raise ReverieError("There are no pictures among which neighbours could be found.")
    check_range("The number of neighbours", k, low=1, high=len(dataset))
    if features == "pixels":
        compute = _whole
    else:
        from reverie.features.extractors import extractor

        compute = extractor(features, dataset)
    mine = compute(images).double()
    best = mine.new_full((len(mine), 0), 0.0)
    which = torch.empty(len(mine), 0, dtype=torch.int64)
    for start in range(0, len(dataset), BATCH):
        rows = np.arange(start, min(start + BATCH, len(dataset)))
        distance = torch.cdist(mine, compute(to_tensor(dataset.batch(rows))).double())
        best = torch.cat([best, distance], 1)
        which = torch.cat([which, torch.from_numpy(rows).expand(len(mine), -1)], 1)
        best, order = best.topk(min(k, best.shape[1]), largest=False)
        which = which.gather(1, order)
    return Neighbours(which.numpy(), best.numpy())


def _whole(images: Tensor) -> Tensor:
    return images.flatten(1)
