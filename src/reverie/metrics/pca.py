"""Principal components: the orthogonal directions in which points vary most."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

VARIES = 1e-9  # share of the largest variance below which a variance is rounding error


@dataclass(frozen=True)
class Components:
    """Principal components of points (N, d), the largest variance first; k = min(N, d)."""

    mean: Tensor  # (d,)
    axes: Tensor  # (d, k), columns of length one; those beyond `rank` are arbitrary
    variance: Tensor  # (k,) of the points along each axis, unbiased

    @property
    def rank(self) -> int:
        """The number of directions in which the points vary."""
        return int((self.variance > VARIES * self.variance[:1]).sum())


def pca(points: Tensor) -> Components:
    """The exact principal components of points (N, d), in the precision of ``points``: preferably float64.

    Computed from the eigenvectors of the smaller of the d x d and N x N matrices. Signs are arbitrary; see `signed`.
    """
    mean = points.mean(0)
    centred = points - mean
    wide = centred.shape[0] < centred.shape[1]
    values, axes = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    axes = axes.flip(1)
    if wide:
        axes = centred.T @ axes
    lengths: Tensor = axes.norm(dim=0)
    axes = axes / lengths.clamp_min(torch.finfo(axes.dtype).tiny)
    return Components(mean, axes, values.flip(0).clamp_min(0) / max(1, len(points) - 1))


def signed(axes: Tensor) -> Tensor:
    """Axes (d, k) with the sign that makes the largest number of each positive."""
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    return axes * torch.where(largest < 0, -1.0, 1.0)
