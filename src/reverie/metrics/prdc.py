"""Precision, recall, density and coverage of two sets of features: fidelity and diversity separately."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MANIFOLD, DENSITY = 3, 5  # neighbours: for precision and recall; for density and coverage
NUMBERS = 2**25  # values in a block of the distance matrix: 256 MB


@dataclass(frozen=True)
class PRDC:
    """Precision, recall, density and coverage of generated pictures."""

    precision: float  # share of generated pictures within a real one's neighbourhood: fidelity
    recall: float  # share of real pictures within a generated one's neighbourhood: diversity
    density: float  # real neighbourhoods around a generated picture, over the number expected of real ones; above 0
    coverage: float  # share of real pictures with a generated one in their neighbourhood


def prdc(real: Tensor, generated: Tensor, manifold: int = MANIFOLD, density: int = DENSITY) -> PRDC:
    """From features (N, d) and (M, d); a picture's neighbourhood is the ball out to its k-th neighbour in its own set.

    Precision and recall: Kynkaanniemi et al. 2019, eq. 1 and 2, k = ``manifold``. Density and coverage: Naeem et al.
    2020, eq. 3 and 4, k = ``density``. Memory does not grow as N M: distances are computed in blocks. Raises ValueError
    where a set has no k-th neighbour.
    """
    least = max(manifold, density) + 1
    if min(len(real), len(generated)) < least:
        raise ValueError(f"Nearest neighbours need at least {least} pictures of each set.")
    centre = real.double().mean(0)  # distances are more precise near the origin
    real, generated = real.double() - centre, generated.double() - centre
    near, wide = radii(real, (manifold, density)).T
    (reach,) = radii(generated, (manifold,)).T
    hit = torch.zeros(len(generated), dtype=torch.bool, device=real.device)
    recalled, covered = torch.zeros(2, len(real), dtype=torch.bool, device=real.device)
    balls = 0
    for start, block in _blocks(real, generated):
        rows = slice(start, start + len(block))
        hit |= (block <= near[rows, None]).any(0)
        recalled[rows] = (block <= reach).any(1)
        inside = block <= wide[rows, None]
        covered[rows] = inside.any(1)
        balls += int(inside.sum())
    return PRDC(
        precision=float(hit.double().mean()),
        recall=float(recalled.double().mean()),
        density=balls / (density * len(generated)),
        coverage=float(covered.double().mean()),
    )


def radii(features: Tensor, ks: tuple[int, ...]) -> Tensor:
    """Squared distances from each of (N, d) to its k-th nearest other, (N, len(ks))."""
    found = []
    for start, block in _blocks(features, features):
        rows = torch.arange(len(block), device=block.device)
        block[rows, start + rows] = math.inf
        nearest = block.topk(max(ks), 1, largest=False, sorted=True).values
        found.append(nearest[:, [k - 1 for k in ks]])
    return torch.cat(found)


def _blocks(a: Tensor, b: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Rows of the squared distances between (N, d) and (M, d): the number of the first row, and (n, M)."""
    squares_a, squares_b = a.square().sum(1), b.square().sum(1)
    size = max(1, NUMBERS // len(b))
    for start in range(0, len(a), size):
        rows = slice(start, start + size)
        block = torch.addmm(squares_b, a[rows], b.T, alpha=-2)
        yield start, block.add_(squares_a[rows, None]).clamp_min_(0)
