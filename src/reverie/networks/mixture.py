"""A Gaussian mixture with full covariances, held in buffers: the ex-post density of an encoder's codes."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Mixture(nn.Module):
    """Sum_k w_k N(m_k, L_k L_k^T) over R^size; starts as N(0, I)."""

    weights: Tensor  # (K,), sums to one
    means: Tensor  # (K, size)
    scale_tril: Tensor  # (K, size, size), lower triangular

    def __init__(self, size: int, components: int = 10) -> None:
        super().__init__()
        self.register_buffer("weights", torch.full((components,), 1 / components))
        self.register_buffer("means", torch.zeros(components, size))
        unit = torch.zeros(size, size).fill_diagonal_(1)  # not torch.eye, which on the meta device imports the compiler
        self.register_buffer("scale_tril", unit.repeat(components, 1, 1))

    def load(self, weights: Tensor, means: Tensor, scale_tril: Tensor) -> None:
        """Store a fitted mixture; components beyond those fitted get weight zero."""
        found = len(weights)
        with torch.no_grad():
            self.weights.zero_()[:found].copy_(weights)
            self.means[:found].copy_(means)
            self.scale_tril[:found].copy_(scale_tril)

    def sample(self, uniform: Tensor, normal: Tensor) -> Tensor:
        """(N, size) from uniform (N,), which selects the component, and normal (N, size), the noise within it."""
        edges = self.weights.cumsum(0)
        pick = torch.searchsorted(edges, uniform.to(edges) * edges[-1], right=True).clamp(max=len(edges) - 1)
        return self.means[pick] + (self.scale_tril[pick] @ normal.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, z: Tensor) -> Tensor:
        """log density of each row of z (N, size), in nats: (N,)."""
        size = self.means.shape[1]
        delta = (z.unsqueeze(1) - self.means).unsqueeze(-1)  # (N, K, size, 1)
        white = torch.linalg.solve_triangular(self.scale_tril, delta, upper=False).squeeze(-1)
        log_det = self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        each = -0.5 * white.square().sum(-1) - log_det - 0.5 * size * math.log(2 * math.pi)
        density: Tensor = (each + self.weights.log()).logsumexp(1)
        return density
