"""Log-likelihoods in the units of papers, and the standard error of a mean."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def nats_to_bits_per_dim(nats: float, dimensions: int) -> float:
    """-log2 p(x) / dimensions, from log p(x) in nats in whatever unit the model's likelihood measures pixels.

    That is a code length where pixels are discrete: Bernoulli (binarised) or discretised (256 levels, 65,536 at 16
    bits). A density over pixels in [-1, 1] is not a code length; adding `bits_per_level` converts it to levels.
    """
    return -nats / (dimensions * math.log(2))


def bits_per_level(depth: int) -> float:
    """log2 of the number of level steps per unit of [-1, 1]: log2 127.5 at 8 bits, which have 255 steps."""
    return math.log2((2**depth - 1) / 2)


def standard_error(values: NDArray[np.float64]) -> float | None:
    """The standard error of the mean of values (N,); None for a single value."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
