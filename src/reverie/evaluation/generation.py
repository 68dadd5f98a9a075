"""Quality of generated pictures as a set: distances, fidelity and diversity, classes.

Generated pictures are compared with training pictures in a feature space (`reverie.features`). The same figures of
held-out real pictures, the ``floor``, show what a perfect generator would get with as many pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Conditions, Reconstructs, Samples
from reverie.data.image_io import to_tensor
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.features.classifier import Classifier, classifier
from reverie.features.extractors import BATCH, Extractor, extractor, labelled
from reverie.inference.pictures import Pictures, device_of, sample_indices
from reverie.inference.sample import Prior, sample
from reverie.metrics.distances import frechet, kid
from reverie.metrics.prdc import prdc

LEAST = 6  # pictures of each kind: with fewer there is no fifth neighbour


@dataclass(frozen=True)
class SetFeatures:
    """What `SetMetrics` keeps of pictures, so that many can be processed in batches."""

    features: Tensor  # (N, d)
    classes: Tensor | None  # (N,), as classified, where the data has classes


@dataclass
class SetMetrics:
    """Compares sets of pictures with ``count`` training pictures sampled by ``seed``; reusable."""

    extractor: Extractor
    real: Tensor  # features of training pictures, (N, d)
    reader: Classifier | None  # predicts classes, where the data has them
    classes: tuple[str, ...]
    seed: int

    def extract(self, images: Tensor) -> SetFeatures:
        """The features of pictures (N, C, H, W) in [-1, 1], and their predicted classes."""
        features = self.extractor(images)
        if self.reader is None:
            return SetFeatures(features, None)
        return SetFeatures(
            features, _read(self.reader, features if self.reader is self.extractor.network else None, images)
        )

    def extract_from(self, dataset: Pictures, indices: NDArray[np.int64]) -> list[SetFeatures]:
        """`extract` for pictures of a data set, batch by batch."""
        parts = [indices[start : start + BATCH] for start in range(0, len(indices), BATCH)]
        return [self.extract(to_tensor(dataset.batch(part))) for part in parts]

    def figures(self, seen: Sequence[SetFeatures], wanted: Tensor | None = None) -> dict[str, Any]:
        """Figures of all pictures ``seen``; ``wanted`` (M,) are the classes that they were conditioned on, if any.

        ``frechet`` and ``kid`` are distances, smaller is better; ``precision`` and ``density`` measure the fidelity of
        the pictures, ``recall`` and ``coverage`` their diversity. ``class_entropy`` is in nats, at most log of the
        number of classes; ``label_accuracy`` is the share of pictures that are classified as the class wanted.
        """
        features = torch.cat([part.features for part in seen])
        _check_count(len(features))
        if not (features.isfinite().all() and self.real.isfinite().all()):
            raise ReverieError("The features are not finite: the pictures or the extractor hold NaN or infinity.")
        draw = Draw(self.seed, "kid", count=1)
        distance = kid(*(x[torch.randperm(len(x), generator=draw.generator())] for x in (self.real, features)))
        found: dict[str, Any] = {
            "frechet": frechet(self.real, features),
            "kid": distance.value,
            "kid_standard_error": distance.standard_error,
            **asdict(prdc(self.real, features)),
        }
        classes = [part.classes for part in seen if part.classes is not None]
        if classes:
            read = torch.cat(classes)
            counts = torch.bincount(read, minlength=len(self.classes))
            shares = counts[counts > 0].double() / len(read)
            found["class_counts"] = dict(zip(self.classes, counts.tolist(), strict=True))
            found["class_entropy"] = float(-(shares * shares.log()).sum())
            if wanted is not None:
                found["label_accuracy"] = float((read == wanted).double().mean())
        return found

    @property
    def protocol(self) -> dict[str, Any]:
        """What the figures depend on besides the pictures."""
        return {
            "features": self.extractor.description,
            "reference": len(self.real),
            "reference_split": "train",
            "seed": self.seed,
            "largest_class_entropy": math.log(len(self.classes)) if self.reader is not None else None,
        }


def set_metrics(
    training: Pictures,
    test: Pictures | None = None,
    features: str = "auto",
    count: int = 10_000,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> SetMetrics:
    """Metrics against ``count`` pictures of ``training`` (all, where it has no more) in the named features."""
    _check_count(min(len(training), count))
    chosen = extractor(features, training, test, device)
    reader = chosen.network or (classifier(training, device) if labelled(training) else None)
    real = chosen.of(training, sample_indices(training, count, seed))
    return SetMetrics(chosen, real, reader, training.image_spec.classes, seed)


def quality(model: Samples, metrics: SetMetrics, count: int = 10_000, prior: Prior = "model") -> dict[str, Any]:
    """The figures of ``count`` pictures of the model, its classes in rotation where it takes any."""
    images = sample(model, count, seed=metrics.seed, prior=prior)
    return metrics.figures([metrics.extract(images)], _wanted(model, metrics, count))


def generation_figures(
    model: Samples, metrics: SetMetrics, test: Pictures | None, count: int = 10_000
) -> dict[str, Any]:
    """For JSON: figures of the model's samples (with each prior it has), the floor, and the protocol."""
    found: dict[str, Any] = {"samples": quality(model, metrics, count)}
    if isinstance(model, Reconstructs):
        found["mixture"] = quality(model, metrics, count, "mixture")
    if test is not None and len(test) >= LEAST:
        indices = sample_indices(test, min(count, len(test)), metrics.seed)
        labels = None if test.labels is None or metrics.reader is None else torch.from_numpy(test.labels[indices])
        found["floor"] = metrics.figures(metrics.extract_from(test, indices), labels) | {"pictures": len(indices)}
    return found | {"protocol": metrics.protocol | {"generated": count}}


def _check_count(count: int) -> None:
    if count < LEAST:
        raise ReverieError(f"The quality of pictures is measured on at least {LEAST} of each kind.")


def _wanted(model: Samples, metrics: SetMetrics, count: int) -> Tensor | None:
    """The class of each sample in the numbering of the data; None where the model has no classes, or other ones."""
    if not isinstance(model, Conditions) or not set(model.classes) <= set(metrics.classes):
        return None
    numbers = torch.tensor([metrics.classes.index(name) for name in model.classes])
    return numbers[torch.arange(count) % len(numbers)]


def _read(reader: Classifier, features: Tensor | None, images: Tensor) -> Tensor:
    """The predicted class of each picture, (N,); ``features`` are the reader's, where they were computed already."""
    device = device_of(reader)
    with torch.no_grad():
        if features is not None:
            read: Tensor = reader.head(features.to(device)).argmax(1).cpu()
            return read
        return torch.cat([reader.head(reader(part.to(device))).argmax(1).cpu() for part in images.split(BATCH)])
