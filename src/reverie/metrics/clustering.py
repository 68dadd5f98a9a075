"""How well clusters agree with classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Agreement:
    """Agreement of clusters with classes; 1 is the best."""

    purity: float  # share of points of the most frequent class of their cluster; grows with the number of clusters
    nmi: float  # normalised mutual information, 0 to 1
    ari: float  # adjusted Rand index (Hubert and Arabie 1985): 0 is expected by chance


def agreement(assignments: NDArray[np.int64], labels: NDArray[np.int64]) -> Agreement:
    """Agreement of the clusters (N,) of points with their classes (N,); both are numbered from 0."""
    from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

    return Agreement(
        purity=float(contingency(assignments, labels).max(1).sum() / len(labels)),
        nmi=float(normalized_mutual_info_score(labels, assignments)),
        ari=float(adjusted_rand_score(labels, assignments)),
    )


def contingency(assignments: NDArray[np.int64], labels: NDArray[np.int64], clusters: int = 0) -> NDArray[np.int64]:
    """The number of points of each cluster and class, (k, classes), with k at least ``clusters``."""
    table = np.zeros((max(clusters, int(assignments.max()) + 1), int(labels.max()) + 1), np.int64)
    np.add.at(table, (assignments, labels), 1)
    return table
