"""Anomaly detection with a stated false alarm rate.

A model trained on normal pictures gives every picture a score, higher for odder; the available scores depend on its
capabilities (`SCORES`). The threshold is calibrated on held-out normal pictures by conformal prediction (Vovk et al.
2005, "Algorithmic learning in a random world"; for outliers Bates et al. 2023, "Testing for outliers with conformal
p-values"), which assumes nothing of the scores, only that new normal pictures are distributed like the held-out ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie.capabilities import Bounds
from reverie.config import check_range
from reverie.engine.randomness import derive
from reverie.errors import ReverieError
from reverie.inference.pictures import Data, Subset, pictures_of
from reverie.metrics import ranking
from reverie.tasks.anomaly_scores import SCORES, Given, Measure, Scores, batches, comparable, score_of
from reverie.tasks.conformal import allowed, least

SAMPLES = 32  # samples of z for each picture


@dataclass(frozen=True)
class Scored:
    """The verdicts of a `Detector` on N pictures."""

    scores: Scores  # (N,), higher for odder
    p_values: Scores  # (N,) in (0, 1]
    odd: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True)
class Detector:
    """Scores pictures, and compares the scores with those of normal pictures; made by `detector`."""

    model: object
    score: str
    rate: float  # largest share of normal pictures that are called odd
    shape: tuple[int, int, int]  # (C, H, W) of its pictures
    normal: Scores  # (n,), of the held-out normal pictures, ascending
    samples: int
    measure: Measure

    @property
    def threshold(self) -> float:
        """Higher scores are odd: the k-th smallest score of n normal pictures, k = ceil((n + 1) (1 - rate))."""
        return float(self.normal[-allowed(len(self.normal), self.rate)])

    @property
    def draws(self) -> bool:
        """Whether the score samples z, ``samples`` times for each picture."""
        return SCORES[self.score].capability is Bounds or (self.score == "joint" and comparable(self.model))

    def judge(self, data: Data) -> Scored:
        """Scores, p-values and verdicts at once."""
        scores = self.scores(data)
        return Scored(scores, self.p_values(scores), self.odd(scores))

    def scores(self, data: Data) -> Scores:
        """(N,) float64, higher for odder; a picture's score depends only on the picture (and its label).

        A score that is NaN becomes infinity.
        """
        pictures = pictures_of(self.model, data)
        if pictures.image_spec.shape != self.shape:
            theirs, mine = ("x".join(map(str, shape)) for shape in (pictures.image_spec.shape, self.shape))
            raise ReverieError(f"The pictures are {theirs} (channels x height x width), and the detector takes {mine}.")
        parts = [self.measure(part) for part in batches(self.model, pictures, self.samples)]
        scores = np.concatenate([np.empty(0), *parts])
        return np.where(np.isnan(scores), np.inf, scores)

    def odd(self, scores: Scores) -> NDArray[np.bool_]:
        """(N,): whether each score is above the threshold. The same as p_values(scores) <= rate."""
        return np.asarray(scores > self.threshold, np.bool_)

    def figures(self, scores: Scores, good: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """For JSON: how it was calibrated, and how many of the pictures with ``scores`` (N,) are odd.

        With ``good`` (N,), whether each picture is normal, also how well the scores separate the two kinds.
        """
        odd = self.odd(scores)
        found: dict[str, Any] = {
            "score": self.score,
            "threshold": self.threshold,
            "rate": self.rate,
            "calibrated_on": len(self.normal),
            "samples": self.samples if self.draws else None,
            "pictures": len(scores),
            "odd": int(odd.sum()),
            "share_odd": float(odd.mean()) if len(odd) else None,
        }
        if good is not None:
            kinds = scores[good], scores[~good]
            found |= {"auroc": auroc(*kinds), "aupr": aupr(*kinds)}
            found |= {"false_alarms": float(odd[good].mean()), "found": float(odd[~good].mean())}  # shares of each kind
        return found

    def p_values(self, scores: Scores) -> Scores:
        """(N,) in (0, 1]: for a new normal picture, the probability of a p-value of at most p is at most p."""
        above = len(self.normal) - np.searchsorted(self.normal, scores)  # normal scores that are at least as high
        return np.asarray((above + 1) / (len(self.normal) + 1))


def detector(
    model: object,
    normal: Data,
    score: str = "auto",
    rate: float = 0.05,
    background: object | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Detector:
    """A detector of odd pictures, calibrated so that at most ``rate`` of new normal pictures are called odd.

    ``normal`` are normal pictures that ``model`` was not trained on: on its training pictures a model scores lower,
    and the rate would not hold. ``score`` is a name from `SCORES`, or "auto", the first of `scores_of`. ``codes``
    and ``joint`` are fitted to one half of ``normal``, split by ``seed``, and calibrated on the other. ``background``
    is another model with a bound, for ``likelihood-ratio``. ``samples`` is the number of samples of z for each picture
    where there is a bound; all pictures use the same random numbers, those of ``seed``.
    """
    check_range("The rate of false alarms", rate, above=0, below=1)
    check_range("The number of samples", samples, low=1)
    name = score_of(model, score, background)
    normal = pictures_of(model, normal)
    order = np.random.default_rng(derive(seed, "anomaly")).permutation(len(normal))
    learned = len(normal) // 2 if name in ("codes", "joint") else 0
    count = len(normal) - learned
    if not allowed(count, rate):
        raise ReverieError(
            f"A rate of {rate:g} needs at least {least(rate)} normal pictures to calibrate the score '{name}' on, and "
            f"there are {count}; give more, or a higher rate."
        )
    measure = SCORES[name].prepare(model, Given(Subset(normal, np.sort(order[:learned])), background, samples, seed))
    fresh = Detector(model, name, rate, normal.image_spec.shape, np.empty(0), samples, measure)
    scores = fresh.scores(Subset(normal, np.sort(order[learned:])))
    if not np.isfinite(scores).all():
        raise ReverieError(f"Some scores '{name}' of normal pictures are not finite numbers; the model has diverged.")
    return replace(fresh, normal=np.sort(scores))


def auroc(normal: Scores, odd: Scores) -> float:
    """Area under the ROC curve: the probability that an odd picture's score is above a normal one's, ties one half."""
    return ranking.auroc(*_compared(normal, odd))


def aupr(normal: Scores, odd: Scores) -> float:
    """Area under the precision-recall curve, odd pictures being the positives: sum_k (R_k - R_{k-1}) P_k.

    The step-wise sum (average precision) over distinct thresholds; linear interpolation would be too optimistic.
    """
    return ranking.auprc(*_compared(normal, odd))


def _compared(normal: Scores, odd: Scores) -> tuple[Scores, NDArray[np.bool_]]:
    """The scores of both kinds, and whether each is an odd picture's."""
    known, new = np.asarray(normal, np.float64).ravel(), np.asarray(odd, np.float64).ravel()
    if not len(known) or not len(new):
        raise ReverieError("Normal and odd pictures are compared by at least one score each.")
    if np.isnan(known).any() or np.isnan(new).any():
        raise ReverieError("Some scores are not numbers, so they cannot be compared.")
    return np.concatenate([known, new]), np.arange(len(known) + len(new)) >= len(known)
