"""Divergences of a code's distribution from its prior: KL and its parts, total correlation, MMD.

KL is **summed** over latent dimensions, nats per picture, (N,); averaging over the batch is left to the model.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from reverie.metrics.distances import unbiased_mmd

ACTIVE_KL = 0.01  # nats of KL above which a latent dimension counts as in use


def gaussian_kl(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, e^logvar) || N(0, 1)) of each dimension, (N, size) nats; its sum over dimensions is the ELBO's KL.

    Kingma & Welling (2014), appendix B.
    """
    return 0.5 * (mean.square() + logvar.exp() - 1 - logvar)


def gaussian_log_density(z: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """log N(z; mean, e^logvar) of each dimension, nats; shapes broadcast."""
    return -0.5 * ((z - mean).square() * torch.exp(-logvar) + logvar + math.log(2 * math.pi))


def free_bits(kl: Tensor, floor: float) -> Tensor:
    """The KL (N, size) averaged over the batch, each dimension counted at ``floor`` nats at least, summed: a scalar.

    Kingma et al. (2016), Improved variational inference with inverse autoregressive flow, eq. 15: below the floor the
    gradient is zero, so the model gains nothing by collapsing a dimension further.
    """
    return kl.mean(0).clamp(min=floor).sum()


def total_correlation(z: Tensor, mean: Tensor, logvar: Tensor, population: int, stratified: bool = False) -> Tensor:
    """KL(q(z) || prod_d q(z_d)), estimated at each z_i ~ q(z|x_i) from its minibatch: (N,) nats, all inputs (N, size).

    q(z) is the aggregate posterior over ``population`` pictures, N of them in the batch. Chen et al. (2018), Isolating
    sources of disentanglement in VAEs, appendix C: minibatch-weighted sampling (eq. S3), or minibatch-stratified
    sampling (eq. S6). The gradient of the weighted estimator does not depend on ``population``.
    """
    count = len(z)
    log_q = gaussian_log_density(z.unsqueeze(1), mean.unsqueeze(0), logvar.unsqueeze(0))  # [i, j] = log q(z_i | x_j)
    if stratified:
        log_w = stratified_weights(count, population).log().to(z)
    else:
        log_w = torch.full((count, count), -math.log(population * count), dtype=z.dtype, device=z.device)
    joint = torch.logsumexp(log_q.sum(2) + log_w, 1)
    marginals = torch.logsumexp(log_q + log_w.unsqueeze(2), 1)
    return joint - marginals.sum(1)


def stratified_weights(count: int, population: int) -> Tensor:
    """Weight of picture j in the estimate of q(z_i), (count, count), rows summing to one; Chen et al. (2018), eq. S6.

    Picture i itself has the weight 1 / population, as in the true average; the others share the rest. The paper gives
    one of the others a separate weight; equal weights are the average over its choice, so equally unbiased.
    """
    own = torch.eye(count, dtype=torch.float64)
    rest = (1 - 1 / population) / max(count - 1, 1)
    return own / population + (1 - own) * rest


def mmd(x: Tensor, y: Tensor) -> Tensor:
    """Squared maximum mean discrepancy of two samples (N, size), (M, size): unbiased, so a scalar that may be negative.

    Sum of inverse multiquadratic kernels C / (C + |a - b|^2), C = 2 size s for scales s from 0.1 to 10, as in
    Tolstikhin et al. (2018), Wasserstein auto-encoders, section 4; the divergence InfoVAE (Zhao et al. 2019) prefers.
    """

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        distance = (a.unsqueeze(1) - b.unsqueeze(0)).square().sum(2)
        scales = [2 * a.shape[1] * s for s in (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)]
        return torch.stack([c / (c + distance) for c in scales]).sum(0)

    return unbiased_mmd(x, y, kernel)


def importance_bound(log_weights: Tensor) -> Tensor:
    """log mean_s exp(log_weights), the bound of Burda et al. (2016), eq. 8: (N, S) -> (N,) nats."""
    return torch.logsumexp(log_weights, 1) - math.log(log_weights.shape[1])
