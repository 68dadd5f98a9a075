"""Log-likelihoods in the units that papers give them in, and how sure a mean of figures is."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def nats_to_bits_per_dim(nats: float, dimensions: int) -> float:
    """-log2 p(x) / dimensions, from log p(x) in nats in whatever unit the model's likelihood measures pixels.

    That is a code length where pixels are discrete: Bernoulli (binarised) or discretised (256 levels, 65,536 at 16
    bits). A density over pixels in [-1, 1] has no code length of its own; `bits_per_level` more refers it to levels.
    """
    return -nats / (dimensions * math.log(2))


def bits_per_level(depth: int) -> float:
    """At 8 bits a density per unit of [-1, 1] is 127.5 times the density per one of 255 steps: log2 of that number."""
    return math.log2((2**depth - 1) / 2)


def standard_error(values: NDArray[np.float64]) -> float | None:
    """Of the mean of (N,) figures; None of a single one."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else None
