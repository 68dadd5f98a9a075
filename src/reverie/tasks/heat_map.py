"""Heat maps of a model's reconstruction error: where in a picture an anomaly is."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from reverie.inference.labels import Labels
from reverie.inference.pictures import Data, images_and_labels
from reverie.tasks.reconstruct import check_reconstructs, rebuilt


def heat_map(model: object, images: Data, labels: Labels | None = None) -> Tensor:
    """Where pictures (N, C, H, W) in [-1, 1] differ from their reconstructions: (N, H, W) in [0, 1], on the CPU.

    Half the root mean squared error over channels, smoothed by a Gaussian with a sigma of 1/32 of the shorter side, at
    least one pixel. 1 is white reconstructed as black; the scale is the same for all pictures. Raises ReverieError for
    a model that cannot reconstruct.
    """
    coder = check_reconstructs(model)
    images, labels = images_and_labels(coder, images, labels)
    outputs = rebuilt(coder, images, labels)
    error = (outputs.clamp(-1, 1) - images.float().cpu()).square().mean(1)
    return (smooth(error).sqrt() / 2).clamp(0, 1)


def smooth(maps: Tensor) -> Tensor:
    """(N, H, W) smoothed by a Gaussian of sigma 1/32 of the shorter side, at least one pixel; edges are replicated."""
    sigma = max(1.0, min(maps.shape[1:]) / 32)
    reach = math.ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = (-0.5 * (places / sigma) ** 2).exp()
    kernel = kernel / kernel.sum()
    padded = F.pad(maps.unsqueeze(1), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None, :]).squeeze(1)
