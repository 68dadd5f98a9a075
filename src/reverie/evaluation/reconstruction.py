"""Reconstruction error of a model: MSE, PSNR and SSIM, on pictures scaled to [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.capabilities import Reconstructs
from reverie.inference.pictures import Pictures, read
from reverie.metrics.images import mse, psnr, ssim, window_side


@dataclass(frozen=True)
class Reconstruction:
    """Figures per picture, (N,) each."""

    mse: NDArray[np.float64]  # mean over pixels and channels of the squared error, pixels in [0, 1]
    psnr: NDArray[np.float64]  # dB, peak 1, at most 100
    ssim: NDArray[np.float64]  # in [-1, 1]
    window: int  # side of SSIM's window in pixels; below 11 (and then not comparable) for pictures smaller than 6


def reconstruction(
    model: Reconstructs, dataset: Pictures, indices: NDArray[np.int64] | None = None, batch: int = 256
) -> Reconstruction:
    """Figures of ``model.reconstruct`` on the pictures ``indices`` of ``dataset`` (default: all)."""
    parts = []
    for part in read(model, dataset, batch, indices):
        with torch.no_grad():
            output = model.reconstruct(part.images, part.labels)
            figures = [mse(output, part.images), psnr(output, part.images), ssim(output, part.images)]
        parts.append(torch.stack(figures).double().cpu().numpy())
    error, ratio, similarity = np.concatenate(parts, 1)
    return Reconstruction(error, ratio, similarity, window_side(dataset.image_spec.height, dataset.image_spec.width))
