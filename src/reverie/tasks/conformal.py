"""How many of n held-out normal pictures a promised rate lets lie beyond the threshold.

Conformal prediction (Vovk et al. 2005, "Algorithmic learning in a random world"): with the threshold at the k-th most
extreme of n normal scores, a new normal picture lies beyond it with probability k / (n + 1) or less.
"""

from __future__ import annotations

import math

ROUNDING = 1e-9  # 0.05 * 20 is to count as 1


def allowed(count: int, rate: float) -> int:
    """k = the whole part of (count + 1) rate; 0 where so few pictures can promise nothing."""
    return math.floor((count + 1) * rate + ROUNDING)


def least(rate: float) -> int:
    """The fewest normal pictures that a rate can be promised with."""
    return math.ceil(1 / rate - ROUNDING) - 1
