"""Clusters of the codes of pictures, by k-means or a Gaussian mixture, and a sheet that shows each cluster.

Codes are not standardised before clustering: the encoder's scale is meaningful. A dimension that a VAE does not use has
codes of almost no variance, and dividing by its deviation would scale its noise up to the size of the dimensions that
distinguish pictures. (A mixture with full covariances does not depend on the scale anyway.)
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.config import check_range
from reverie.data.image_io import to_tensor
from reverie.engine.randomness import derive
from reverie.errors import ReverieError, nearest
from reverie.inference.codes import Codes, decode, rows_of
from reverie.inference.embed import Embedding
from reverie.inference.pictures import Pictures, model_labels, sample_indices
from reverie.metrics.clustering import agreement, contingency

How = Literal["kmeans", "mixture"]

MOST_FITTED = 20_000  # codes that clusters are fitted on; all are assigned
MOST_COMPARED = 2_000  # codes that the silhouette is measured on: it needs the distance of every pair
STARTS = 5  # of k-means; the best is kept
ROUNDS = 100  # iterations of EM, at most
FLOOR = 1e-6  # variance added to every direction, in units of the mean variance: far above rounding errors


@dataclass(frozen=True)
class Clusters:
    """k clusters of N codes, numbered by size, the largest first."""

    assignments: NDArray[np.int64]  # (N,), the number of each code's cluster
    centres: NDArray[np.float32]  # (k, d): the mean of a cluster, or of its Gaussian
    distances: NDArray[np.float64]  # (N,), Euclidean, of each code to its centre
    silhouette: float | None  # in [-1, 1], mean over at most `MOST_COMPARED` codes; None for fewer than two clusters
    purity: float | None = None  # share of codes whose class is the most frequent one of their cluster
    nmi: float | None = None  # mutual information of cluster and class over the mean of their entropies, in [0, 1]
    ari: float | None = None  # adjusted Rand index: 1 where clusters are classes, 0 expected of chance

    @property
    def sizes(self) -> NDArray[np.int64]:
        """How many codes each cluster has, (k,)."""
        return np.bincount(self.assignments, minlength=len(self.centres))

    def nearest(self, cluster: int, count: int) -> NDArray[np.int64]:
        """The rows of up to ``count`` codes of a cluster, nearest to its centre first."""
        members = np.flatnonzero(self.assignments == cluster)
        return members[np.argsort(self.distances[members], kind="stable")[:count]]


def cluster(codes: Codes, count: int, how: How = "kmeans", seed: int = 0) -> Clusters:
    """``count`` clusters of codes (N, d), with the figures that compare them to classes where an embedding has labels.

    ``kmeans`` assigns every code to its nearest centre (Lloyd 1982, from k-means++ starts); ``mixture`` to the Gaussian
    of highest posterior probability, with full covariances, or diagonal ones where there are fewer than d + 1 codes for
    each Gaussian; a Gaussian may end up without codes. Fitted on at most `MOST_FITTED` codes, sampled by ``seed``.

    Figures: silhouette (Rousseeuw 1987), purity, normalised mutual information, adjusted Rand index (Hubert and Arabie
    1985). Raises ReverieError for codes that are not finite, and for more clusters than distinct codes.
    """
    if how not in ("kmeans", "mixture"):
        raise ReverieError(f"Codes cannot be clustered by '{how}'{nearest(how, ('kmeans', 'mixture'))}")
    rows = rows_of(codes)
    fitted = rows[sample_indices(rows, MOST_FITTED, seed)]
    distinct = len(np.unique(fitted, axis=0))
    check_range(f"The number of clusters of {distinct} distinct codes", count, low=1, high=distinct)

    from threadpoolctl import threadpool_limits

    # On one thread: with several, the order of summation, and so the rounding, would vary.
    with threadpool_limits(1):
        fit = _kmeans if how == "kmeans" else _mixture
        assignments, centres = fit(rows, fitted, count, seed)
        order = np.argsort(-np.bincount(assignments, minlength=count), kind="stable")
        assignments, centres = np.argsort(order)[assignments], centres[order]
        distances = np.linalg.norm(rows - centres[assignments], axis=1)
        silhouette = _silhouette(rows, assignments, seed)
    found = Clusters(assignments.astype(np.int64), centres.astype(np.float32), distances, silhouette)
    if not isinstance(codes, Embedding) or codes.labels is None:
        return found
    return replace(found, **asdict(agreement(found.assignments, codes.labels)))


def contact_sheet(clusters: Clusters, dataset: Pictures, columns: int = 10, model: object | None = None) -> Tensor:
    """The clusters as pictures for a grid of ``columns`` columns, a row each: (k columns, C, H, W) in [-1, 1].

    A row holds the pictures nearest to the centre, nearest first, then white. Where ``model`` has an encoder and a
    decoder, the decoded centre comes before them; a conditional model decodes it as the most frequent class of the
    cluster. ``dataset`` holds the pictures whose codes were clustered, in the same order.
    """
    if len(dataset) != len(clusters.assignments):
        raise ReverieError(f"{len(clusters.assignments)} codes were clustered, and there are {len(dataset)} pictures.")
    decoded = isinstance(model, Reconstructs)
    check_range("The number of columns", columns, low=1 + decoded)
    sheet = torch.ones(len(clusters.centres), columns, *dataset.image_spec.shape)
    if isinstance(model, Reconstructs):
        centres = decode(model, clusters.centres, _commonest(clusters, model_labels(model, dataset)))
        if centres.shape[1:] != sheet.shape[2:]:
            raise ReverieError(f"{type(model).__name__} draws pictures of another shape than those of the data.")
        sheet[:, 0] = centres
    for number, row in enumerate(sheet):
        chosen = clusters.nearest(number, columns - decoded)
        if len(chosen):
            row[decoded : decoded + len(chosen)] = to_tensor(dataset.batch(chosen))
    return sheet.flatten(0, 1)


def _kmeans(
    rows: NDArray[np.float64], fitted: NDArray[np.float64], count: int, seed: int
) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    from sklearn.cluster import KMeans

    fit = KMeans(count, n_init=STARTS, random_state=derive(seed, "kmeans") % 2**32).fit(fitted)
    return fit.predict(rows), fit.cluster_centers_


def _mixture(
    rows: NDArray[np.float64], fitted: NDArray[np.float64], count: int, seed: int
) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
    from sklearn.mixture import GaussianMixture

    # One scale for all dimensions keeps their proportions; the floor of the variances is relative to it.
    centre, scale = fitted.mean(0), np.sqrt(fitted.var(0).mean()) or 1.0
    kind = "full" if len(fitted) >= count * (fitted.shape[1] + 1) else "diag"
    fit = GaussianMixture(
        count, covariance_type=kind, max_iter=ROUNDS, reg_covar=FLOOR, random_state=derive(seed, "mixture") % 2**32
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # clusters of an EM that has not converged are usable
        fit.fit((fitted - centre) / scale)
    return fit.predict((rows - centre) / scale), fit.means_ * scale + centre


def _silhouette(rows: NDArray[np.float64], assignments: NDArray[np.integer], seed: int) -> float | None:
    from sklearn.metrics import silhouette_score

    chosen = sample_indices(rows, MOST_COMPARED, seed)
    present = len(np.unique(assignments[chosen]))
    if not 2 <= present < len(chosen):
        return None
    return float(silhouette_score(rows[chosen], assignments[chosen]))


def _commonest(clusters: Clusters, labels: NDArray[np.int64] | None) -> Tensor | None:
    """The most frequent class of each cluster, (k,); the first class where a cluster is empty."""
    if labels is None:
        return None
    return torch.from_numpy(contingency(clusters.assignments, labels, len(clusters.centres)).argmax(1))
