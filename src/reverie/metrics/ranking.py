"""How well scores separate positives from negatives, over all thresholds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def auroc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve of scores (N,); those of positives, ``positive`` (N,), should be higher.

    The probability that a positive's score is above a negative's, ties one half. Infinite scores are allowed. Raises
    ValueError for NaN, and where there are no positives or no negatives.
    """
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(positive, _ranks(scores, positive)))


def auprc(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> float:
    """Area under the precision-recall curve of scores (N,): sum_k (R_k - R_{k-1}) P_k, the average precision.

    The step-wise sum over distinct thresholds; linear interpolation would be too optimistic. Errors as for `auroc`.
    """
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(positive, _ranks(scores, positive)))


def _ranks(scores: NDArray[np.floating], positive: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The rank of each score among the distinct ones: scikit-learn refuses infinity, and only the order matters."""
    if not 0 < np.count_nonzero(positive) < len(positive):
        raise ValueError("Scores are ranked where there are positives and negatives.")
    if np.isnan(scores).any():
        raise ValueError("Scores that are not numbers have no order.")
    ranks: NDArray[np.int64] = np.unique(scores, return_inverse=True)[1]
    return ranks
