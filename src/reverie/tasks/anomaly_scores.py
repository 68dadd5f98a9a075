"""The anomaly scores that `reverie.tasks.anomaly` calibrates, each for models with some capability.

Higher is odder, and a picture's score depends only on the picture (and its label).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.capabilities import Bounds, Discriminates, Encodes, Reconstructs
from reverie.engine.model import Model
from reverie.errors import ReverieError, nearest
from reverie.evaluation.likelihood import CHUNK, alike_bounds
from reverie.inference.labels import classes_of
from reverie.inference.pictures import Pictures, Read, device_of, read
from reverie.inference.unsupported import unsupported
from reverie.networks.mixture import Mixture
from reverie.tasks.complexity import code_lengths
from reverie.tasks.heat_map import smooth

BATCH = 256
FLOOR = 1e-6  # variance added to every direction of the codes, in units of their mean variance

Scores = NDArray[np.float64]  # (N,), higher for odder
Measure = Callable[[Read], Scores]


@dataclass(frozen=True)
class Given:
    """What a score is given before it measures pictures."""

    reference: Pictures  # normal pictures, none of which the threshold is calibrated on
    background: object | None
    samples: int
    seed: int


@dataclass(frozen=True)
class Score:
    """An anomaly score, the capability that it needs, and a description of that."""

    capability: type
    needs: str
    prepare: Callable[[Any, Given], Measure]


# Scores


def _reconstruction(model: Reconstructs, given: Given) -> Measure:
    """Squared error summed over pixels and channels, pixels in [-1, 1]."""
    return lambda part: _numbers(_squared_error(model, part).sum((1, 2, 3)))


def _peak(model: Reconstructs, given: Given) -> Measure:
    """The largest squared error, smoothed as in `heat_map`: it finds small defects that a sum over pixels would not."""
    return lambda part: _numbers(smooth(_squared_error(model, part).mean(1)).amax((1, 2)))


def _bound(model: Bounds, given: Given) -> Measure:
    """Minus the ELBO in nats."""
    return lambda part: -_numbers(_bounds(model, part, given)[0])


def _importance_weighted(model: Bounds, given: Given) -> Measure:
    """Minus the importance-weighted bound in nats (Burda et al. 2016, eq. 8)."""
    return lambda part: -_numbers(_bounds(model, part, given)[1])


def _complexity(model: Bounds, given: Given) -> Measure:
    """Minus the ELBO, minus the length in nats of the picture in a lossless file (Serra et al. 2020).

    A likelihood alone is often higher for simple pictures (smooth, dark) than for the training pictures, whatever they
    show (Nalisnick et al. 2019). The length of the smallest of several lossless files measures how simple a picture is.
    """
    if not weighs(model):
        raise ReverieError(
            f"The bound of this {type(model).__name__} is of pictures made black and white, and the score 'complexity' "
            "compares it with whole pictures; use 'bound'."
        )
    if not comparable(model):
        raise ReverieError(
            "The score 'complexity' compares a bound with the length of a file without loss, and here none is made of "
            "floats, or of 16 bits in several channels; use 'bound'."
        )
    bound, depth = _bound(model, given), given.reference.image_spec.depth
    return lambda part: bound(part) - code_lengths(part.images, depth)


def _discriminator(model: Discriminates, given: Given) -> Measure:
    """Minus the discriminator's logit: higher for pictures that look less like the training pictures."""

    def measure(part: Read) -> Scores:
        with torch.no_grad():
            return -_numbers(model.realness(part.images, part.labels))

    return measure


def _ratio(model: Bounds, given: Given) -> Measure:
    """The ELBO of a background model minus this model's (Ren et al. 2019, section 3).

    The background model, trained for example on perturbed pictures, has what is common to all pictures: it cancels out.
    """
    background = given.background
    if background is None:
        raise ReverieError("The score 'likelihood-ratio' needs a background model; give one, or use 'bound'.")
    if not isinstance(background, Bounds):
        raise ReverieError(f"A background model needs {SCORES['bound'].needs}; {type(background).__name__} has none.")
    if classes_of(background) != classes_of(model):
        raise ReverieError("The background model must take the same class labels as the model.")
    if isinstance(background, nn.Module):
        background.to(device_of(model))
    mine, other = _bound(model, given), _bound(background, given)
    return lambda part: mine(part) - other(part)


def _density(model: Reconstructs, given: Given) -> Measure:
    """Minus the log density in nats of the code under the mixture fitted on codes (Ghosh et al. 2020)."""
    if not _fitted(model.mixture):
        raise ReverieError(
            "The scores 'density' and 'joint' need a mixture fitted on codes, and this "
            f"{type(model).__name__} has none; fit one with reverie.fit_mixture."
        )
    return lambda part: -_numbers(model.mixture.log_prob(_codes(model, part)))


def _distance(model: Encodes, given: Given) -> Measure:
    """Mahalanobis distance of the code to those of normal pictures; covariance shrunk by Ledoit and Wolf (2004)."""
    from sklearn.covariance import ledoit_wolf

    if len(given.reference) < 2:
        raise ReverieError(
            "The score 'codes' needs at least 4 normal pictures: half to learn from, half to calibrate on."
        )
    known = np.concatenate([_numbers(_codes(model, part)) for part in batches(model, given.reference, 1)])
    if not np.isfinite(known).all():
        raise ReverieError("Some codes are not finite numbers; the encoder has diverged.")
    center = known.mean(0)
    covariance, _ = ledoit_wolf(known - center, assume_centered=True)
    size = len(center)
    covariance = covariance + max(FLOOR * np.trace(covariance) / size, 1e-12) * np.eye(size)  # codes may be constant
    root = np.linalg.cholesky(np.linalg.inv(covariance))

    def measure(part: Read) -> Scores:
        return np.asarray(np.linalg.norm((_numbers(_codes(model, part)) - center) @ root, axis=1))

    return measure


def _joint(model: Reconstructs, given: Given) -> Measure:
    """The sum of a score of the decoder and one of the codes, each standardised on normal pictures.

    That is ``complexity`` where the model permits it, else ``reconstruction``, plus ``density`` (after Abati et al.
    2019, "Latent space autoregression for novelty detection"): pictures may be odd in either way.
    """
    first = _complexity(model, given) if comparable(model) else _reconstruction(model, given)
    parts = []
    for measure in (first, _density(model, given)):
        known = [measure(part) for part in batches(model, given.reference, given.samples)]
        if sum(map(len, known)) < 2:
            raise ReverieError(
                "The score 'joint' needs at least 4 normal pictures: half to learn from, half to calibrate on."
            )
        scores = np.concatenate(known)
        parts.append((measure, float(scores.mean()), max(float(scores.std()), 1e-12)))
    return lambda part: np.sum([(measure(part) - mean) / deviation for measure, mean, deviation in parts], 0)


DECODER, BOUND = "an encoder with a decoder", "a bound on log p(x), which variational autoencoders have"
SCORES = {  # in the order in which "auto" prefers them
    "reconstruction": Score(Reconstructs, DECODER, _reconstruction),
    "peak": Score(Reconstructs, DECODER, _peak),
    "bound": Score(Bounds, BOUND, _bound),
    "iw": Score(Bounds, BOUND, _importance_weighted),
    "complexity": Score(Bounds, BOUND, _complexity),
    "density": Score(Reconstructs, DECODER, _density),
    "codes": Score(Encodes, "an encoder", _distance),
    "joint": Score(Reconstructs, DECODER, _joint),
    "discriminator": Score(Discriminates, "a discriminator, which GANs have", _discriminator),
    "likelihood-ratio": Score(Bounds, BOUND, _ratio),
}


def scores_of(model: object, background: object | None = None) -> list[str]:
    """The names of the scores that ``model`` permits, the one that "auto" means first.

    ``complexity`` is not available with a Bernoulli likelihood, for float pictures or for 16-bit colour; ``density``
    and ``joint`` need a mixture fitted on codes, ``likelihood-ratio`` needs a background model.
    """
    names = [name for name, score in SCORES.items() if isinstance(model, score.capability)]
    if isinstance(model, Reconstructs) and not _fitted(model.mixture):
        names = [name for name in names if name not in ("density", "joint")]
    if isinstance(model, Bounds):
        if not comparable(model):
            names.remove("complexity")
        names.remove("likelihood-ratio")
        names[:0] = ["likelihood-ratio"] if background is not None else []
    return names


def score_of(model: object, score: str = "auto", background: object | None = None) -> str:
    """The name of the score that a `detector` with these would use; ReverieError where ``model`` does not permit it."""
    possible = scores_of(model, background)
    if not possible:
        raise unsupported(model, "tell odd pictures", "encoder and no discriminator", Encodes)
    name = possible[0] if score == "auto" else score
    if name not in SCORES:
        raise ReverieError(f"There is no score '{name}'{nearest(name, ['auto', *SCORES])}")
    chosen = SCORES[name]
    if not isinstance(model, chosen.capability):
        raise ReverieError(f"The score '{name}' needs {chosen.needs}; {type(model).__name__} has none.")
    if background is not None and name != "likelihood-ratio":
        raise ReverieError(f"A background model is for the score 'likelihood-ratio', not for '{name}'.")
    return name


# Parts


def weighs(model: object) -> TypeGuard[Bounds]:
    """Whether a model has a bound on the pictures themselves, not on binarised ones."""
    return isinstance(model, Bounds) and not model.binarises


def comparable(model: object) -> TypeGuard[Bounds]:
    """Whether `weighs` holds, and `code_lengths` has files for such pictures as well."""
    if not weighs(model):
        return False
    image_spec = model.image_spec if isinstance(model, Model) else None
    return image_spec is None or image_spec.depth == 8 or (image_spec.depth == 16 and image_spec.channels == 1)


@torch.no_grad()
def _squared_error(model: Reconstructs, part: Read) -> Tensor:
    return (model.reconstruct(part.images, part.labels).float() - part.images).square()


@torch.no_grad()
def _codes(model: Encodes, part: Read) -> Tensor:
    return model.encode(part.images, part.labels).mean.flatten(1).float()


def _bounds(model: Bounds, part: Read, given: Given) -> Tensor:
    return alike_bounds(model, part.images, part.labels, given.samples, given.seed)


def batches(model: object, pictures: Pictures, samples: int) -> Iterator[Read]:
    return read(model, pictures, max(1, min(BATCH, CHUNK // samples)))


def _numbers(values: Tensor) -> Scores:
    return np.asarray(values.double().cpu().numpy(), np.float64)


def _fitted(mixture: Mixture) -> bool:
    """Whether it differs from the initial N(0, I)."""
    return bool(mixture.means.any()) or bool((mixture.weights != mixture.weights[0]).any())
