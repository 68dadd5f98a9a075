"""How much of its latent a model uses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reverie.inference.embed import Embedding

ACTIVE_VARIANCE = 0.01  # variance of the posterior mean over pictures above which a unit is active


@dataclass(frozen=True)
class LatentUse:
    """Over the codes of a set of pictures."""

    variance: NDArray[np.float64]  # (d,) of the codes, or posterior means, over pictures
    kl: (
        NDArray[np.float64] | None
    )  # (d,) nats, KL(q(z_j|x) || N(0, 1)), mean over pictures; None where codes are points

    @property
    def active(self) -> int:
        """Units whose variance is above `ACTIVE_VARIANCE` (Burda et al. 2016, IWAE, section 5.2)."""
        return int((self.variance > ACTIVE_VARIANCE).sum())


def latent_use(embedding: Embedding) -> LatentUse:
    """The use of each latent dimension, from codes and, where the encoder gives Gaussians, their log variances."""
    return LatentUse(embedding.codes.astype(np.float64).var(0), embedding.kl)
