"""How well clusters agree with classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """1 is as good as can be."""

    purity: float  # share of points that are of the most frequent class of their cluster; grows with their number
    nmi: float  # normalised mutual information, 0 to 1
    ari: float  # adjusted Rand index (Hubert and Arabie 1985): 0 is what chance gives


def agreement(assignments: NDArray[np.int64], labels: NDArray[np.int64]) -> Agreement:
    """Of the clusters (N,) that points were given to with their classes (N,); numbers of either count from 0."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return Agreement(
        purity=float(contingency(assignments, labels).max(1).sum() / len(labels)),
        nmi=float(normalized_mutual_info_score(labels, assignments)),
        ari=float(adjusted_rand_score(labels, assignments)),
    )


def contingency(assignments: NDArray[np.int64], labels: NDArray[np.int64], clusters: int = 0) -> NDArray[np.int64]:
    """How many points of each cluster are of each class: (clusters at least, classes)."""
    table = np.zeros((max(clusters, int(assignments.max()) + 1), int(labels.max()) + 1), np.int64)
    np.add.at(table, (assignments, labels), 1)
    return table
