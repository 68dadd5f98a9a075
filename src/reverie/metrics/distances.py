"""Distances between two sets of features: the Frechet distance and the kernel distance."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK, BLOCKS = 1000, 10  # KID: the most pictures of a block, and the fewest blocks


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to features (N, d) and (M, d); at least 0, float64 throughout.

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Heusel et al. 2017, eq. 6), with unbiased covariances.

    With S = R'R, R the triangular factor of the centred features, the last trace is the sum of the singular values of
    R1 R2'. No square root of a covariance is taken, so a singular one (fewer pictures than features) loses no
    precision. Raises ValueError for fewer than 2 pictures of either.
    """
    if min(len(a), len(b)) < 2:
        raise ValueError("The Frechet distance needs at least 2 pictures of each set.")
    mean_a, root_a = _gaussian(a)
    mean_b, root_b = _gaussian(b)
    overlap = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * overlap
    return max(0.0, float(distance))


@dataclass(frozen=True)
class KernelDistance:
    """KID: the squared maximum mean discrepancy, and the standard error of that estimate."""

    value: float  # may be slightly negative: the estimate is unbiased
    standard_error: float
    block: int  # pictures of each set in a block
    blocks: int


def kid(a: Tensor, b: Tensor) -> KernelDistance:
    """Kernel distance of features (N, d) and (M, d) (Binkowski et al. 2018, section 4): k(x, y) = (x.y / d + 1)^3.

    The mean of the unbiased estimate (their eq. 4) over consecutive blocks of up to `BLOCK` pictures of each set. The
    blocks are disjoint, hence independent if the pictures are in random order, and the spread of their values gives the
    standard error. Raises ValueError for fewer than 2 blocks of 2.
    """
    count = min(len(a), len(b))
    block = min(BLOCK, max(2, count // BLOCKS))
    blocks = count // block
    if blocks < 2:
        raise ValueError(f"The kernel distance needs at least 4 pictures of each set, not {count}.")
    parts = [x.double()[: block * blocks].unflatten(0, (blocks, block)) for x in (a, b)]
    values = torch.stack([mmd2(x, y) for x, y in zip(*parts, strict=True)])
    return KernelDistance(float(values.mean()), float(values.std() / math.sqrt(blocks)), block, blocks)


def mmd2(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased squared MMD of (n, d) and (m, d) under the cubic kernel of KID; a scalar, which may be negative."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    return unbiased_mmd(a, b, kernel)


def unbiased_mmd(x: Tensor, y: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Squared MMD of samples (N, size), (M, size) under ``kernel``, giving (N, M): Gretton et al. (2012), eq. 3."""

    def within(a: Tensor) -> Tensor:
        k = kernel(a, a)
        return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))

    return within(x) + within(y) - 2 * kernel(x, y).mean()


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and a factor R (min(N, d), d) of the covariance R'R."""
    features = features.double().cpu()
    mean = features.mean(0)
    root: Tensor = torch.linalg.qr((features - mean) / math.sqrt(len(features) - 1), mode="r").R
    return mean, root
