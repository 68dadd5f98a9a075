"""How many of n held-out normal pictures may lie beyond the threshold for a guaranteed rate.

Conformal prediction (Vovk et al. 2005, "Algorithmic learning in a random world"): with the threshold at the k-th most
extreme of n normal scores, a new normal picture lies beyond it with probability k / (n + 1) or less.
"""

from __future__ import annotations

import math

ROUNDING = 1e-9  # tolerance for rounding: 0.05 * 20 counts as 1


def allowed(count: int, rate: float) -> int:
    """k = floor((count + 1) rate); 0 where there are too few pictures to guarantee the rate."""
    return math.floor((count + 1) * rate + ROUNDING)


def least(rate: float) -> int:
    """The fewest normal pictures with which a rate can be guaranteed."""
    return math.ceil(1 / rate - ROUNDING) - 1
