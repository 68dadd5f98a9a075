"""Gradient penalties, which keep a discriminator smooth.

Each takes outputs computed from ``inputs`` (which must require a gradient) and returns one number per sample, (N,); the
squared norm of a gradient sums over everything but the batch. All can be differentiated again.
"""

from __future__ import annotations

import torch
from torch import Tensor


def squared_gradient(logits: Tensor, inputs: Tensor) -> Tensor:
    """||grad_x D(x)||^2 of each sample, (N,).

    With real pictures this is R1, with generated ones R2 (Mescheder et al. 2018, eq. 9 and 10), both up to gamma / 2.
    Uses the gradient of the sum of logits (N,), which is that of each logit where D treats each row alone.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), inputs, create_graph=True)
    return gradient.square().flatten(1).sum(1)


def unit_gradient(logits: Tensor, inputs: Tensor) -> Tensor:
    """(||grad_x D(x)|| - 1)^2 of each sample, (N,): Gulrajani et al. (2017), eq. 3, at points between real and fake."""
    # The square root's derivative at zero is infinite: a constant far below the float32 precision of 1 keeps it finite.
    return ((squared_gradient(logits, inputs) + 1e-12).sqrt() - 1).square()


def path_lengths(images: Tensor, w: Tensor, noise: Tensor) -> Tensor:
    """||J_w^T y|| / sqrt(H W) of each sample, (N,), for noise y ~ N(0, I) of the pictures' shape.

    Karras et al. (2020), eq. 4. For styles w (N, L, size) the norm is the root of the mean over layers of each layer's
    squared norm, as in their section 4.
    """
    scaled = (images * noise).sum() / (images.shape[2] * images.shape[3]) ** 0.5
    (gradient,) = torch.autograd.grad(scaled, w, create_graph=True)
    squares = gradient.square().sum(-1)
    return (squares if squares.dim() == 1 else squares.flatten(1).mean(1)).clamp_min(1e-12).sqrt()
