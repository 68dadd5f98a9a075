"""Codes in two dimensions, for plots."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.metrics.pca import pca, signed


def latent_map(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """A position (N, 2) for each code (N, d): a 2-D latent itself, else its first two principal components.

    Signs are fixed by making the largest loading of each component positive; a 1-D latent lies on the first axis.
    """
    if codes.shape[1] == 2:
        return np.asarray(codes, np.float32)
    points = torch.from_numpy(np.asarray(codes, np.float64))
    found = pca(points)
    places = (points - found.mean) @ signed(found.axes[:, : min(2, found.rank)])
    return np.pad(places.numpy(), ((0, 0), (0, 2 - places.shape[1]))).astype(np.float32)
