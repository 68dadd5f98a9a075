"""How far apart two sets of features are as wholes: the Frechet distance and the kernel distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.losses.divergence import unbiased_mmd

BLOCK, BLOCKS = 1000, 10  # KID: the most pictures of a block, and the fewest blocks


def frechet(a: Tensor, b: Tensor) -> float:
    """Frechet distance of the Gaussians fitted to features (N, d) and (M, d); at least 0, float64 throughout.

    |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2) (Heusel et al. 2017, eq. 6), with unbiased covariances.

    With S = R'R, R the triangular factor of the centred features, the last trace is the sum of the singular values of
    R1 R2'. No root of a covariance is taken, so one without full rank (fewer pictures than features) costs no digits.
    """
    _check(a, b)
    mean_a, root_a = _gaussian(a)
    mean_b, root_b = _gaussian(b)
    overlap = torch.linalg.svdvals(root_a @ root_b.T).sum()
    distance = (mean_a - mean_b).square().sum() + root_a.square().sum() + root_b.square().sum() - 2 * overlap
    return max(0.0, float(distance))


@dataclass(frozen=True)
class KernelDistance:
    """KID: the squared maximum mean discrepancy, and the standard error of that estimate."""

    value: float  # may be a little below zero: the estimate is unbiased
    standard_error: float
    block: int  # pictures of each set in a block
    blocks: int


def kid(a: Tensor, b: Tensor, seed: int = 0) -> KernelDistance:
    """Kernel distance of features (N, d) and (M, d) (Binkowski et al. 2018, section 4): k(x, y) = (x.y / d + 1)^3.

    The unbiased estimate (their eq. 4) over blocks of up to `BLOCK` pictures of each set. The blocks are disjoint, so
    that they are independent and the spread of their values gives the standard error; `seed` says which picture goes
    where. Raises ReverieError below 2 blocks of 2.
    """
    _check(a, b)
    count = min(len(a), len(b))
    block = min(BLOCK, max(2, count // BLOCKS))
    blocks = count // block
    if blocks < 2:
        raise ReverieError(f"The kernel distance needs at least 4 pictures of each kind, not {count}.")
    draw = Draw(seed, "kid", count=1)
    parts = [
        x.double()[torch.randperm(len(x), generator=draw.generator())[: block * blocks]].unflatten(0, (blocks, block))
        for x in (a, b)
    ]
    values = torch.stack([mmd2(x, y) for x, y in zip(*parts, strict=True)])
    return KernelDistance(float(values.mean()), float(values.std() / math.sqrt(blocks)), block, blocks)


def mmd2(a: Tensor, b: Tensor) -> Tensor:
    """The unbiased squared MMD of (n, d) and (m, d) under the cubic kernel of KID; a scalar, which may be negative."""

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / x.shape[1] + 1) ** 3

    return unbiased_mmd(a, b, kernel)


def _gaussian(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean (d,) and a factor R (min(N, d), d) of the covariance R'R."""
    features = features.double().cpu()
    mean = features.mean(0)
    root: Tensor = torch.linalg.qr((features - mean) / math.sqrt(len(features) - 1), mode="r").R
    return mean, root


def _check(a: Tensor, b: Tensor) -> None:
    if min(len(a), len(b)) < 2:
        raise ReverieError("A distance between sets of pictures needs at least 2 of each.")
    if not (a.isfinite().all() and b.isfinite().all()):
        raise ReverieError("The features are not finite: the pictures or the extractor hold NaN or infinity.")
