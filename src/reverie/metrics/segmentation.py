"""Agreement of label maps: pixel accuracy, and intersection over union."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def pixel_accuracy(output: Tensor, target: Tensor) -> Tensor:
    """The share of pixels with the right label in each of maps (N, H, W) of label numbers: (N,) float64."""
    return (output == target).double().mean((1, 2))


def overlaps(output: Tensor, target: Tensor, labels: int) -> Tensor:
    """For each label, the number of pixels in intersection and union of maps (N, H, W): (N, labels, 2) int64."""
    one, other = (F.one_hot(each.flatten(1), labels).bool() for each in (output, target))
    return torch.stack([(one & other).sum(1), (one | other).sum(1)], 2)


def mean_iou(counts: Tensor) -> float:
    """Intersection over union of the `overlaps` (N, labels, 2) of all maps together, the mean over labels present."""
    intersection, union = counts.double().sum(0).unbind(1)
    return float((intersection / union)[union > 0].mean())
