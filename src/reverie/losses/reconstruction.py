"""Reconstruction losses: log-likelihoods log p(x|z) and plain errors, **summed** over pixels.

Averaging over the batch is left to the model. A mean over pixels here would rescale the KL's weight by the number of
pixels, the most common cause of blur and collapse in VAE code.

Throughout, ``targets`` is (N, C, H, W) and the network's outputs have N S rows, S in succession for each target (S = 1
in plain training, else the number of importance samples); the result is one number per row, (N S,). The targets are
never copied S times, so that the loss stays cheap compared with the decoder.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256  # grey levels of an 8-bit picture
LEAST_LOG_SCALE = -7.0  # of a logistic in 256 levels, as in PixelCNN++: an eighth of a level


def aligned(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs as (N, S, ...) and targets as (N, 1, ...), so that they broadcast.

    Pixels are not flattened, since the gradient would reach a channels_last decoder in the wrong memory layout.
    """
    return outputs.unflatten(0, (len(targets), -1)), targets.unsqueeze(1)


def summed(pixels: Tensor) -> Tensor:
    """(N, S, ...) -> (N S,)."""
    return pixels.flatten(2).sum(2).flatten()


def bernoulli(logits: Tensor, targets: Tensor) -> Tensor:
    """log p of binary targets, 0 or 1: sum of x l - softplus(l), (N S,) nats."""
    logits, targets = aligned(logits, targets)
    if logits.shape[1] == 1:
        return summed(targets * logits - F.softplus(logits))
    # With many samples per target, a matrix product reads the logits once and writes little.
    hit = logits.flatten(2) @ targets.flatten(2).transpose(1, 2)
    return hit.flatten() - summed(F.softplus(logits))


def squared_error(mean: Tensor, targets: Tensor) -> Tensor:
    """Sum of (x - mean)^2 over each picture: (N S,)."""
    mean, targets = aligned(mean, targets)
    return summed((targets - mean).square())


def gaussian(mean: Tensor, targets: Tensor, log_sigma: Tensor) -> Tensor:
    """log N(x; mean, sigma^2 I), a density over pixels on the scale of ``targets``: (N S,) nats; log_sigma a scalar."""
    squares = squared_error(mean, targets)
    return -0.5 * squares * torch.exp(-2 * log_sigma) - mean[0].numel() * (log_sigma + 0.5 * math.log(2 * math.pi))


def laplace(median: Tensor, targets: Tensor, log_scale: Tensor) -> Tensor:
    """log Laplace(x; median, e^log_scale) of every pixel, summed: -|x - median| / scale - log 2 scale; (N S,) nats."""
    median, targets = aligned(median, targets)
    errors = summed((targets - median).abs())
    return -errors * torch.exp(-log_scale) - median[0, 0].numel() * (log_scale + math.log(2))


def optimal_log_sigma(mean: Tensor, targets: Tensor, floor: float = -6.0) -> Tensor:
    """log of the sigma that maximises the batch's Gaussian likelihood, sigma^2 = MSE, soft-clipped above ``floor``.

    Rybkin et al. (2021), Simple and effective VAE training with calibrated decoders, sections 3.2 and 4, with the same
    soft clip. A scalar without gradient: at the optimum the likelihood's derivative in sigma is zero.
    """
    with torch.no_grad():
        log_sigma = 0.5 * (squared_error(mean, targets).mean() / mean[0].numel()).log()
        return floor + F.softplus(log_sigma - floor)


def logistic_mixture(outputs: Tensor, targets: Tensor, levels: int = LEVELS) -> Tensor:
    """log probability of pictures under a discretised mixture of logistics, exact over their levels: (N S,) nats.

    Salimans et al. (2017), PixelCNN++, eq. 2: a level's probability is the mixture's mass within half a level of it,
    the two end levels including the tails. The channels are independent given z, unlike in PixelCNN++ (where green
    depends on red), so that any number of channels works. outputs (N S, 3 K C, H, W), see `mixture_parameters`;
    targets (N, C, H, W) in [-1, 1], level = (x + 1) (levels - 1) / 2: 256 at 8 bits, 65,536 at 16.
    """
    log_weights, means, log_scales = mixture_parameters(outputs, targets.shape[1], levels)
    level = ((targets + 1) * (levels - 1) / 2).round()
    level = level.repeat_interleave(len(outputs) // len(targets), 0).unsqueeze(1)  # (N S, 1, C, H, W)
    centre = level * (2 / (levels - 1)) - 1
    sharpness = torch.exp(-log_scales)
    half = sharpness / (levels - 1)  # half a level, in units of the scale
    middle = (centre - means) * sharpness
    # sigmoid(b) - sigmoid(a) = (1 - e^(a - b)) sigmoid(b) sigmoid(-a) keeps its precision where both are near one
    above = F.softplus(-middle - half, threshold=40)  # -log(mass below the level's upper edge); none at the last level
    below = F.softplus(middle - half, threshold=40)  # -log(mass above its lower edge); none at the first
    inner = torch.log(-torch.expm1(-2 * half))
    first, last = level == 0, level == levels - 1
    log_mass = inner.masked_fill(first | last, 0.0) - above.masked_fill(last, 0.0) - below.masked_fill(first, 0.0)
    return torch.logsumexp(log_weights + log_mass, 1).flatten(1).sum(1)


def mixture_parameters(outputs: Tensor, channels: int, levels: int = LEVELS) -> tuple[Tensor, Tensor, Tensor]:
    """Log weights, means and log scales, each (N, K, C, H, W), from a network's outputs (N, 3 K C, H, W).

    Zero outputs give means spread over [-1, 1], and scales of 0.1; log scales are kept above -7 as in PixelCNN++, or
    above the same fraction of a level where levels are finer.
    """
    logits, means, log_scales = outputs.unflatten(1, (3, -1, channels)).unbind(1)
    spread = torch.linspace(-1, 1, means.shape[1] + 2, dtype=means.dtype, device=means.device)[1:-1]
    means = means + spread.view(-1, 1, 1, 1)
    return logits.log_softmax(1), means, (log_scales - 2.3).clamp(min=LEAST_LOG_SCALE - math.log((levels - 1) / 255))


def mixture_mean(outputs: Tensor, channels: int) -> Tensor:
    """The mean picture of `logistic_mixture`, (N, C, H, W) in [-1, 1]: its continuous mean, clipped per component."""
    log_weights, means, _ = mixture_parameters(outputs, channels)
    return (log_weights.exp() * means.clamp(-1, 1)).sum(1)
