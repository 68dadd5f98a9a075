"""Classification by Bayes' rule: p(y|x) = p(x|y) p(y) / p(x), with p(x) = sum_y p(x|y) p(y).

A conditional model with a bound on log p(x|y) is a classifier without having been trained as one, and it can reject
pictures of other classes: those with a low log p(x). log p(x|y) is the importance-weighted bound (Burda et al. 2016,
eq. 8), which tightens with samples; p(y|x) is exact where the bound is tight. The threshold on log p(x) is calibrated
on held-out normal pictures by conformal prediction (Vovk et al. 2005, "Algorithmic learning in a random world").
Likelihoods can be higher for simple pictures of something else than for the training pictures (Nalisnick et al. 2019);
fewer of those are rejected then, and `reverie.tasks.anomaly_scores` has scores without that failure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Bounds, Conditions
from reverie.config import check_range
from reverie.data.image_io import to_tensor
from reverie.errors import ReverieError, either
from reverie.evaluation.likelihood import CHUNK, alike_bounds
from reverie.files import write_table
from reverie.inference.labels import classes_of
from reverie.inference.pictures import Data, Pictures, device_of, images_of, pictures_of
from reverie.registry import able
from reverie.tasks.conformal import allowed, least

SAMPLES = 50  # samples of z for each picture and class

Weights = Sequence[float] | NDArray[np.float64] | Tensor  # (classes,), non-negative, in proportion to p(y)


@dataclass(frozen=True)
class Rejection:
    """The log p(x) in nats below which a picture counts as none of the classes; made by `calibrate`."""

    threshold: float
    rate: float  # largest share of normal pictures that are rejected
    pictures: int  # number that it was calibrated on
    samples: int  # of the bounds that it was calibrated with; it is valid for no others
    log_prior: tuple[float, ...]
    seed: int


@dataclass(frozen=True)
class Classified:
    """The result of Bayes' rule for N pictures, in nats."""

    classes: tuple[str, ...]
    log_joint: NDArray[np.float64]  # (N, classes): log p(x|y) + log p(y), minus infinity in place of NaN
    log_prior: NDArray[np.float64]  # (classes,)
    threshold: float | None = None  # of log p(x); None rejects nothing

    @property
    def log_evidence(self) -> NDArray[np.float64]:
        """log p(x) = log sum_y p(x|y) p(y), (N,)."""
        return np.asarray(np.logaddexp.reduce(self.log_joint, axis=1))

    @property
    def posterior(self) -> NDArray[np.float64]:
        """p(y|x), (N, classes), rows that sum to one; the prior where p(x|y) is 0 for every class."""
        evidence = self.log_evidence[:, None]
        known = np.isfinite(evidence)
        return np.exp(np.where(known, self.log_joint - np.where(known, evidence, 0), self.log_prior))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The number of the most probable class, (N,), also for rejected pictures."""
        return np.asarray(self.posterior.argmax(1), np.int64)

    @property
    def rejected(self) -> NDArray[np.bool_]:
        """Whether each picture is rejected as none of the classes, (N,)."""
        low = -math.inf if self.threshold is None else self.threshold
        return np.asarray(self.log_evidence < low, np.bool_)

    def figures(self, pictures: Pictures) -> dict[str, Any]:
        """The accuracy on ``pictures``, those that were classified; for JSON.

        Classes are matched by name. ``accuracy`` is the share of correct predictions among pictures of a known class,
        rejected or not; ``accuracy_of_accepted`` that among those not rejected. ``rejected`` are shares of all
        pictures, and of those with labels of none of the classes. None where a share has no pictures.
        """
        refused = self.rejected
        found: dict[str, Any] = {"pictures": len(refused), "rejected": _share(refused)}
        if pictures.labels is None:
            return found
        numbers = [self.classes.index(name) if name in self.classes else -1 for name in pictures.image_spec.classes]
        wanted = np.array(numbers, np.int64)[pictures.labels]
        known, right = wanted >= 0, self.predicted == wanted
        found |= {"of_known_classes": int(known.sum()), "accuracy": _share(right[known])}
        found["accuracy_of_accepted"] = _share(right[known & ~refused])
        return found | {"rejected_of_other_classes": _share(refused[~known])}

    def write_csv(self, path: Path | str, names: Sequence[str]) -> None:
        """A table of name, predicted, rejected, log p(x) in nats and p(class) of each class; whole or not at all."""
        if len(names) != len(self.log_joint):
            raise ReverieError(f"There are {len(names)} names and {len(self.log_joint)} pictures.")
        head = ["name", "predicted", "rejected", "log p(x)", *(f"p({name})" for name in self.classes)]
        columns = (names, self.predicted, self.rejected, self.log_evidence.tolist(), self.posterior.tolist())
        rows = (
            [name, self.classes[number], str(bool(refused)).lower(), repr(evidence), *map(repr, row)]
            for name, number, refused, evidence, row in zip(*columns, strict=True)
        )
        write_table(Path(path), head, rows)

    def sheet(self, pictures: Pictures, columns: int = 12) -> Tensor:
        """((classes + 1) * columns, C, H, W) for a grid: in each row the pictures of a class, most probable first.

        The last row has the rejected pictures, least likely first; without a threshold there is none. Blanks are white.
        """
        sure, predicted, refused = self.posterior.max(1), self.predicted, self.rejected
        kinds = [(sure, ~refused & (predicted == number)) for number in range(len(self.classes))]
        kinds += [] if self.threshold is None else [(-self.log_evidence, refused)]
        white = torch.ones(columns, *pictures.image_spec.shape)
        rows = []
        for key, members in kinds:
            chosen = np.flatnonzero(members)
            chosen = chosen[np.argsort(-key[chosen], kind="stable")[:columns]]
            rows.append(torch.cat([to_tensor(pictures.batch(chosen)), white[len(chosen) :]]))
        return torch.cat(rows)


def log_joint(
    model: object, images: Data, samples: int = SAMPLES, seed: int = 0, prior: Weights | None = None
) -> Tensor:
    """log p(x|y) + log p(y) of pictures (N, C, H, W) in [-1, 1] for each class: (N, classes) float64, on the CPU.

    log p(x|y) is the importance-weighted bound of ``samples`` samples of z. All pictures and classes use the same
    random numbers, those of ``seed``: a picture's row depends on the picture alone, and most of the sampling noise
    cancels when the bounds of two classes are compared. ``prior`` is proportional to p(y), uniform by default. Raises
    ReverieError for a model without labels or without a bound.
    """
    able, log_prior = _able(model, samples), _log_prior(prior, classes_of(model))
    images, device = images_of(model, images), device_of(model)
    parts = [torch.empty(0, len(log_prior), dtype=torch.float64)]
    rows = max(1, CHUNK // samples)
    for start in range(0, len(images), rows):
        part = images[start : start + rows].to(device)
        labels = [torch.full((len(part),), number, device=device) for number in range(len(log_prior))]
        bounds = [alike_bounds(able, part, each, samples, seed, CHUNK)[1] for each in labels]
        parts.append(torch.stack(bounds, 1).cpu())
    return torch.cat(parts) + torch.from_numpy(log_prior)


def classify(
    model: object,
    pictures: Data,
    *,
    samples: int = SAMPLES,
    prior: Weights | None = None,
    seed: int = 0,
    reject: Rejection | None = None,
) -> Classified:
    """The probability of each class for every picture; labels of the pictures, if any, are ignored.

    Classes are the model's, in its numbering. ``reject`` is a threshold found by `calibrate` with the same samples,
    prior and seed: it is valid for no other bounds. Without it no picture is rejected. See `log_joint`.
    """
    _able(model, samples)
    classes = classes_of(model)
    log_prior = _log_prior(prior, classes)
    pictures = pictures_of(model, pictures)
    if reject is not None and (reject.samples, reject.seed) != (samples, seed):
        raise ReverieError(
            f"The threshold was calibrated with {reject.samples} samples and seed {reject.seed}; classify with the "
            "same, or calibrate anew."
        )
    if reject is not None and not np.array_equal(reject.log_prior, log_prior):
        raise ReverieError("The threshold was calibrated with another prior over classes; calibrate anew.")
    found = [log_joint(model, images, samples, seed, prior).numpy() for images in _batches(pictures, samples)]
    joint = np.concatenate([np.empty((0, len(classes))), *found])
    joint = np.where(np.isfinite(joint), joint, -np.inf)
    return Classified(classes, joint, log_prior, None if reject is None else reject.threshold)


def calibrate(
    model: object,
    normal: Data,
    rate: float = 0.05,
    *,
    samples: int = SAMPLES,
    prior: Weights | None = None,
    seed: int = 0,
) -> Rejection:
    """The threshold that rejects at most ``rate`` of new normal pictures: the conformal quantile of log p(x).

    ``normal`` are pictures of the model's classes that it was not trained on; on its training pictures the bound is
    higher, and the rate would not hold. With n of them the threshold is the k-th smallest log p(x),
    k = floor((n + 1) rate): a new one is below it with probability k / (n + 1) or less.
    """
    check_range("The rate of false refusals", rate, above=0, below=1)
    normal = pictures_of(model, normal)
    rank = allowed(len(normal), rate)
    if rank < 1:
        raise ReverieError(
            f"A rate of {rate:g} needs at least {least(rate)} normal pictures to calibrate on, and "
            f"there are {len(normal)}; give more, or a higher rate."
        )
    found = classify(model, normal, samples=samples, prior=prior, seed=seed)
    evidence = np.sort(found.log_evidence)
    if not np.isfinite(evidence).all():
        raise ReverieError("log p(x) of some normal pictures is not a finite number; the model has diverged.")
    return Rejection(float(evidence[rank - 1]), rate, len(normal), samples, tuple(found.log_prior.tolist()), seed)


def check_classifies(model: object) -> Bounds:
    """The model, if it can classify; ReverieError names those that can."""
    if not isinstance(model, Bounds) or not isinstance(model, Conditions):
        raise ReverieError(
            f"{type(model).__name__} cannot classify by Bayes' rule: that takes labels and a bound on log p(x|y), "
            f"which {either(able(Bounds, Conditions))} has."
        )
    return model


def _able(model: object, samples: int) -> Bounds:
    able_model = check_classifies(model)
    check_range("The number of samples", samples, low=1)
    return able_model


def _share(verdicts: NDArray[np.bool_]) -> float | None:
    return float(verdicts.mean()) if len(verdicts) else None


def _log_prior(prior: Weights | None, classes: Sequence[str]) -> NDArray[np.float64]:
    """log p(y), (classes,)."""
    given = np.ones(len(classes)) if prior is None else np.asarray(prior, np.float64)
    if given.shape != (len(classes),):
        raise ReverieError(f"The prior needs a number for each of the {len(classes)} classes, not {given.size}.")
    if not np.isfinite(given).all() or (given < 0).any() or not given.any():
        raise ReverieError("The prior over classes needs numbers of at least 0, one of them above 0.")
    with np.errstate(divide="ignore"):  # a prior of 0 becomes minus infinity
        return np.asarray(np.log(given / given.sum()))


def _batches(pictures: Pictures, samples: int) -> Iterator[Tensor]:
    """Batches of pictures without labels, which `read` would require."""
    rows = max(1, CHUNK // samples)
    for start in range(0, len(pictures), rows):
        yield to_tensor(pictures.batch(np.arange(start, min(start + rows, len(pictures)))))
