"""The training pictures nearest to given ones: has a generator learned, or learned by heart?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.data.pictures import to_tensor
from reverie.errors import ReverieError
from reverie.tasks.pictures import Pictures

BATCH = 256


@dataclass(frozen=True)
class Neighbours:
    """For each given picture its nearest ones of a set, nearest first."""

    indices: NDArray[np.int64]  # (N, k), into the set
    distances: NDArray[np.float64]  # (N, k), Euclidean, in the space of features

    def sheet(self, images: Tensor, dataset: Pictures) -> Tensor:
        """((k + 1) N, C, H, W) for a grid of k + 1 columns: each picture, then its neighbours."""
        k = self.indices.shape[1]
        found = to_tensor(dataset.batch(self.indices.reshape(-1))).unflatten(0, (-1, k))
        return torch.cat([images[:, None], found], 1).flatten(0, 1)


def neighbours(images: Tensor, dataset: Pictures, k: int = 5, features: str = "pixels") -> Neighbours:
    """The ``k`` pictures of ``dataset`` nearest to each of (N, C, H, W) in [-1, 1].

    ``features`` names the space: "pixels" is the pictures themselves, whole; any other word is one of
    `reverie.evaluation.features`. Exact; the set is read once, a batch at a time.
    """
    if not 1 <= k <= len(dataset):
        raise ReverieError(f"The number of neighbours must lie between 1 and {len(dataset)}, not {k}.")
    if features == "pixels":
        compute = _whole
    else:
        from reverie.evaluation.features import extractor

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
