"""Codes on a page."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def latent_map(codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """A place (N, 2) for each code (N, d): a 2-D latent itself, else its first two principal components.

    Signs are fixed by making the largest loading of each component positive; a 1-D latent lies on the first axis.
    """
    size = codes.shape[1]
    if size == 2:
        return np.asarray(codes, np.float32)
    centred = np.asarray(codes, np.float64) - codes.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1][:, :2]  # (d, at most 2), largest variance first
    axes = axes * np.where(np.take_along_axis(axes, np.abs(axes).argmax(0)[None], 0) < 0, -1, 1)
    places = centred @ axes
    return np.pad(places, ((0, 0), (0, 2 - places.shape[1]))).astype(np.float32)
