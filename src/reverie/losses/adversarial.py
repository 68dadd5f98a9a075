"""Adversarial objectives of a generator and a discriminator, each as two functions of logits.

``real`` and ``fake`` are the discriminator's raw outputs D(x) and D(G(z)), (N,) each, never probabilities. Losses are
per sample, (N,); each network minimises its own, and averaging over the batch is left to the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """The two losses of one adversarial objective."""

    discriminator: Callable[[Tensor, Tensor], Tensor]  # (real, fake) -> (N,)
    generator: Callable[[Tensor, Tensor], Tensor]  # (fake, real) -> (N,); only a relativistic objective uses real
    pairs: bool = False  # whether the generator's loss needs D(x) too


def cross_entropy(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x)) - log(1 - sigmoid(D(G(z)))): Goodfellow et al. (2014), eq. 1, negated."""
    return F.softplus(-real) + F.softplus(fake)


def saturating(fake: Tensor, real: Tensor) -> Tensor:
    """log(1 - sigmoid(D(G(z)))), the generator's side of the minimax objective: Goodfellow et al. (2014), eq. 1.

    Its gradient vanishes where the discriminator is confident, which is why section 3 there proposes `non_saturating`.
    """
    return -F.softplus(fake)


def non_saturating(fake: Tensor, real: Tensor) -> Tensor:
    """-log sigmoid(D(G(z))): Goodfellow et al. (2014), section 3."""
    return F.softplus(-fake)


def least_squares(real: Tensor, fake: Tensor) -> Tensor:
    """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2: Mao et al. (2017), eq. 9 with a = 0, b = c = 1."""
    return 0.5 * ((real - 1).square() + fake.square())


def least_squares_generator(fake: Tensor, real: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2: Mao et al. (2017), eq. 9."""
    return 0.5 * (fake - 1).square()


def hinge(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))): Lim & Ye (2017)."""
    return F.relu(1 - real) + F.relu(1 + fake)


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x), the critic's estimate of the Wasserstein distance, negated: Arjovsky et al. (2017), eq. 2."""
    return fake - real


def raise_score(fake: Tensor, real: Tensor) -> Tensor:
    """-D(G(z)): the generator under the hinge and the Wasserstein critic."""
    return -fake


def relativistic(real: Tensor, fake: Tensor) -> Tensor:
    """softplus(-(D(x) - D(G(z)))), real and fake in pairs: Jolicoeur-Martineau (2019); Huang et al. (2024), eq. 2."""
    return F.softplus(fake - real)


def relativistic_generator(fake: Tensor, real: Tensor) -> Tensor:
    """softplus(-(D(G(z)) - D(x))): `relativistic` with real and fake exchanged."""
    return F.softplus(real - fake)


OBJECTIVES: dict[str, Objective] = {
    "minimax": Objective(cross_entropy, saturating),
    "non-saturating": Objective(cross_entropy, non_saturating),
    "lsgan": Objective(least_squares, least_squares_generator),
    "hinge": Objective(hinge, raise_score),
    "wgan-gp": Objective(wasserstein, raise_score),
    "relativistic": Objective(relativistic, relativistic_generator, pairs=True),
}
# Objectives in which the generator's loss needs no D(x), and the discriminator's no penalty.
SIMPLE = tuple(name for name, objective in OBJECTIVES.items() if name != "wgan-gp" and not objective.pairs)
