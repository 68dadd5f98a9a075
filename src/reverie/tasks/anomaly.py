"""Which pictures are odd, with a stated rate of false alarms, and where in a picture the oddness is.

A model that has learned from normal pictures gives every picture a score, higher for odder; which scores there are
depends on its capabilities (`SCORES`). What counts as odd is read off held-out normal pictures by conformal prediction
(Vovk et al. 2005, "Algorithmic learning in a random world"; for outliers Bates et al. 2023, "Testing for outliers with
conformal p-values"): no assumption on the scores, only that new normal pictures come from where the held-out ones did.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, features
from torch import Tensor, nn
from torch.nn import functional as F

from reverie.capabilities import Bounds, Discriminates, Encodes, Reconstructs
from reverie.config import check_range
from reverie.data.pictures import coloured, to_uint8
from reverie.engine.phase import Model
from reverie.engine.randomness import derive
from reverie.errors import ReverieError, nearest
from reverie.evaluation.likelihood import CHUNK, alike_bounds
from reverie.files import replacing, write_table
from reverie.inference.labels import Labels, classes_of
from reverie.inference.pictures import Data, Pictures, Read, Subset, device_of, images_and_labels, pictures_of, read
from reverie.inference.unsupported import unsupported
from reverie.metrics import ranking
from reverie.networks.mixture import Mixture
from reverie.reporting.page import page, png
from reverie.scale import quantised
from reverie.tasks.conformal import allowed, least
from reverie.tasks.reconstruct import check, rebuilt

BATCH = 256
SAMPLES = 32  # draws of z for each picture
MOST_SHOWN = 500  # pictures on a sheet
WEBP_SIDE = 16383  # pixels; that format has no larger pictures
FLOOR = 1e-6  # variance added to every direction of the codes, in units of their mean variance

Scores = NDArray[np.float64]  # (N,), higher for odder
Measure = Callable[[Read], Scores]


@dataclass(frozen=True)
class Given:
    """What a score may look at before it measures pictures."""

    reference: Pictures  # normal pictures, none of which the threshold is calibrated on
    background: object | None
    samples: int
    seed: int


@dataclass(frozen=True)
class Score:
    """A way to measure oddness, what a model must be for it, and that in words."""

    capability: type
    needs: str
    prepare: Callable[[Any, Given], Measure]


# Scores


def _reconstruction(model: Reconstructs, given: Given) -> Measure:
    """Squared error summed over pixels and channels, pixels in [-1, 1]."""
    return lambda part: _numbers(_squared_error(model, part).sum((1, 2, 3)))


def _peak(model: Reconstructs, given: Given) -> Measure:
    """The largest squared error, smoothed as in `heat_map`: a small defect is not drowned by the rest of a picture."""
    return lambda part: _numbers(_smooth(_squared_error(model, part).mean(1)).amax((1, 2)))


def _bound(model: Bounds, given: Given) -> Measure:
    """Minus the ELBO in nats."""
    return lambda part: -_numbers(_bounds(model, part, given)[0])


def _importance_weighted(model: Bounds, given: Given) -> Measure:
    """Minus the importance-weighted bound in nats (Burda et al. 2016, eq. 8)."""
    return lambda part: -_numbers(_bounds(model, part, given)[1])


def _complexity(model: Bounds, given: Given) -> Measure:
    """Minus the ELBO, minus the length in nats of the picture in a file without loss (Serra et al. 2020).

    A likelihood alone finds simple pictures (smooth, dark) likelier than the ones it learned from, whatever they show
    (Nalisnick et al. 2019); what general compressors need for a picture, the best of several, tells how simple it is.
    """
    if not _weighs(model):
        raise ReverieError(
            f"The bound of this {type(model).__name__} is of pictures made black and white, and the score 'complexity' "
            "compares it with whole pictures; use 'bound'."
        )
    if not _comparable(model):
        raise ReverieError(
            "The score 'complexity' compares a bound with the length of a file without loss, and here none is made of "
            "floats, or of 16 bits in several channels; use 'bound'."
        )
    bound, depth = _bound(model, given), given.reference.image_spec.depth
    return lambda part: bound(part) - _code_lengths(part.images, depth)


def _discriminator(model: Discriminates, given: Given) -> Measure:
    """Minus the discriminator's logit: how little a picture looks like those it was taught to take for real."""

    def measure(part: Read) -> Scores:
        with torch.no_grad():
            return -_numbers(model.realness(part.images, part.labels))

    return measure


def _ratio(model: Bounds, given: Given) -> Measure:
    """The ELBO of a background model less this model's (Ren et al. 2019, section 3).

    The background model has learned what is common to all pictures, say from perturbed ones; it cancels out.
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
    known = np.concatenate([_numbers(_codes(model, part)) for part in _parts(model, given.reference, 1)])
    if not np.isfinite(known).all():
        raise ReverieError("Some codes are not finite numbers; the encoder has diverged.")
    center = known.mean(0)
    covariance, _ = ledoit_wolf(known - center, assume_centered=True)
    size = len(center)
    covariance = covariance + max(FLOOR * np.trace(covariance) / size, 1e-12) * np.eye(size)  # codes may not vary
    root = np.linalg.cholesky(np.linalg.inv(covariance))

    def measure(part: Read) -> Scores:
        return np.asarray(np.linalg.norm((_numbers(_codes(model, part)) - center) @ root, axis=1))

    return measure


def _joint(model: Reconstructs, given: Given) -> Measure:
    """What the decoder and what the codes say, in standard deviations of normal pictures each, and added.

    That is ``complexity`` where a model permits it, else ``reconstruction``, and ``density`` (after Abati et al. 2019,
    "Latent space autoregression for novelty detection"): pictures may be odd in either way.
    """
    first = _complexity(model, given) if _comparable(model) else _reconstruction(model, given)
    parts = []
    for measure in (first, _density(model, given)):
        known = [measure(part) for part in _parts(model, given.reference, given.samples)]
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

    ``complexity`` is not among them under a Bernoulli likelihood, nor for floats or 16 bits of colour; ``density`` and
    ``joint`` are once a mixture was fitted on codes, ``likelihood-ratio`` where there is a background model.
    """
    names = [name for name, score in SCORES.items() if isinstance(model, score.capability)]
    if isinstance(model, Reconstructs) and not _fitted(model.mixture):
        names = [name for name in names if name not in ("density", "joint")]
    if isinstance(model, Bounds):
        if not _comparable(model):
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


# Detector


@dataclass(frozen=True)
class Scored:
    """What a `Detector` says of N pictures."""

    scores: Scores  # (N,), higher for odder
    p_values: Scores  # (N,) in (0, 1]
    odd: NDArray[np.bool_]  # (N,)


@dataclass(frozen=True)
class Detector:
    """Scores pictures, and knows what scores normal pictures have; made by `detector`."""

    model: object
    score: str
    rate: float  # of normal pictures that are called odd, at most
    shape: tuple[int, int, int]  # (C, H, W) of its pictures
    normal: Scores  # (n,), of the held-out normal pictures, ascending
    samples: int
    measure: Measure

    @property
    def threshold(self) -> float:
        """What is above it is odd: the k-th smallest score of n normal pictures, k = ceil((n + 1) (1 - rate))."""
        return float(self.normal[-allowed(len(self.normal), self.rate)])

    @property
    def draws(self) -> bool:
        """Whether a score takes draws of z, ``samples`` for each picture."""
        return SCORES[self.score].capability is Bounds or (self.score == "joint" and _comparable(self.model))

    def judge(self, data: Data) -> Scored:
        """Scores, p-values and verdicts at once."""
        scores = self.scores(data)
        return Scored(scores, self.p_values(scores), self.odd(scores))

    def scores(self, data: Data) -> Scores:
        """(N,) float64, higher for odder; a picture's score depends on nothing but the picture (and its label).

        Where a score is not a number, the picture is as odd as can be: infinity.
        """
        pictures = pictures_of(self.model, data)
        if pictures.image_spec.shape != self.shape:
            theirs, mine = ("x".join(map(str, shape)) for shape in (pictures.image_spec.shape, self.shape))
            raise ReverieError(f"The pictures are {theirs} (channels x height x width), and the detector takes {mine}.")
        parts = [self.measure(part) for part in _parts(self.model, pictures, self.samples)]
        scores = np.concatenate([np.empty(0), *parts])
        return np.where(np.isnan(scores), np.inf, scores)

    def odd(self, scores: Scores) -> NDArray[np.bool_]:
        """(N,): whether each score is above the threshold. The same as p_values(scores) <= rate."""
        return np.asarray(scores > self.threshold, np.bool_)

    def figures(self, scores: Scores, good: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """For JSON: how it was calibrated, and how many of the pictures with ``scores`` (N,) are odd.

        With ``good`` (N,), whether each picture is a normal one, also how well the two kinds are told apart.
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

    ``normal`` are normal pictures that ``model`` has not learned from: on its training pictures a model scores lower,
    and the rate would not hold. ``score`` is a name from `SCORES`, or "auto", the first of `scores_of`. ``codes``
    and ``joint`` learn what is usual from one half of ``normal``, drawn by ``seed``, and are calibrated on the other.
    ``background`` is another model with a bound, for ``likelihood-ratio``. ``samples`` is the number of draws of z for
    each picture where there is a bound. All pictures see the same draws, those of ``seed``.
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


def oddest(scores: Scores, count: int = MOST_SHOWN) -> NDArray[np.int64]:
    """The places of the ``count`` highest of ``scores``, highest first; equal ones in their order."""
    return np.argsort(-scores, kind="stable")[:count]


def auroc(normal: Scores, odd: Scores) -> float:
    """Area under the ROC curve: the probability that an odd picture's score is above a normal one's, ties one half."""
    return ranking.auroc(*_compared(normal, odd))


def aupr(normal: Scores, odd: Scores) -> float:
    """Area under the precision-recall curve, odd pictures being what is looked for: sum_k (R_k - R_{k-1}) P_k.

    The step-wise sum (average precision) over distinct thresholds; a straight line between points would flatter.
    """
    return ranking.auprc(*_compared(normal, odd))


# Where


def heat_map(model: object, images: Data, labels: Labels | None = None) -> Tensor:
    """Where pictures (N, C, H, W) in [-1, 1] differ from what ``model`` makes of them: (N, H, W) in [0, 1], on the CPU.

    Half the root of the squared error's mean over channels, smoothed by a Gaussian whose sigma is 1/32 of the shorter
    side, one pixel at least. 1 is white in place of black; the scale is the same for all pictures. Raises ReverieError
    for a model that cannot reconstruct.
    """
    coder = check(model)
    images, labels = images_and_labels(coder, images, labels)
    outputs = rebuilt(coder, images, labels)
    error = (outputs.clamp(-1, 1) - images.float().cpu()).square().mean(1)
    return (_smooth(error).sqrt() / 2).clamp(0, 1)


def overlay(images: Tensor, heat: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] in grey, with heat (N, H, W) in [0, 1] as red over them: (N, 3, H, W)."""
    if heat.shape != (len(images), *images.shape[2:]):
        raise ReverieError(f"A heat map for pictures {tuple(images.shape)} cannot be {tuple(heat.shape)}.")
    grey = coloured(images).mean(1, keepdim=True)
    red = torch.tensor([1.0, -1.0, -1.0], device=images.device).view(1, 3, 1, 1)
    return torch.lerp(grey.expand(-1, 3, -1, -1), red.expand(len(images), -1, *images.shape[2:]), heat.unsqueeze(1))


# Files


def write_csv(path: Path | str, names: Sequence[str], scores: Scores, p_values: Scores, odd: NDArray[np.bool_]) -> None:
    """A table of name, score, p_value and odd (true or false), in the order given; it appears whole or not at all."""
    _check_lengths(names, {"scores": scores, "p-values": p_values, "verdicts": odd})
    columns = zip(names, scores.tolist(), p_values.tolist(), odd.tolist(), strict=True)
    rows = ([name, repr(score), repr(p), str(strange).lower()] for name, score, p, strange in columns)
    write_table(Path(path), ["name", "score", "p_value", "odd"], rows)


def write_sheet(
    path: Path | str,
    images: Tensor,
    names: Sequence[str],
    scores: Scores,
    p_values: Scores,
    odd: NDArray[np.bool_],
    heat: Tensor | None = None,
    title: str = "Odd pictures",
    rows: NDArray[np.int64] | None = None,
) -> None:
    """One HTML page of the pictures (N, C, H, W) in [-1, 1], oddest first, that needs nothing but a browser.

    With ``heat`` (N, H, W) in [0, 1] its `overlay` stands beside each picture. At most `MOST_SHOWN` pictures are
    shown. Where there are too many to hold, ``rows``, from `oddest`, says which of them ``images`` and ``heat`` are of;
    names, scores, p-values and verdicts are always of all. Names and the title are escaped; the page appears whole or
    not at all.
    """
    _check_lengths(names, {"scores": scores, "p-values": p_values, "verdicts": odd})
    given = np.arange(len(names)) if rows is None else rows
    maps = {} if heat is None else {"heat maps": heat}
    _check_lengths(given, {"pictures": images, **maps})
    places = oddest(scores[given], MOST_SHOWN)
    shown = given[places]
    # One picture at a time, so that memory does not grow with their number.
    pictures = [to_uint8(coloured(images[i : i + 1])) for i in places.tolist()]
    if heat is not None:
        marked = [to_uint8(overlay(images[i : i + 1], heat[i : i + 1])) for i in places.tolist()]
        pictures = [np.concatenate(pair, 3) for pair in zip(pictures, marked, strict=True)]
    cards = [
        f"<li{' class=odd' if odd[row] else ''}>{_image(pixels[0])}<p>{escape(names[row])}</p>"
        f"<p>{'odd, ' if odd[row] else ''}score {scores[row]:.5g}, p = {p_values[row]:.3g}</p></li>"
        for row, pixels in zip(shown.tolist(), pictures, strict=True)
    ]
    count = f"{int(odd.sum()):,} of {len(names):,} pictures are odd."
    first = f" The {len(shown):,} oddest are shown." if len(shown) < len(names) else ""
    beside = " Red, on the right, marks what the model did not expect." if heat is not None else ""
    note = f"{count} The oddest come first.{first}{beside}"
    body = "\n".join([f"<h1>{escape(title)}</h1>", f"<p>{note}</p>", "<ol>", *cards, "</ol>"])
    with replacing(Path(path)) as temporary:
        temporary.write_text(page(escape(title), STYLE, body), encoding="utf-8", errors="replace")


# Parts


def _weighs(model: object) -> TypeGuard[Bounds]:
    """Whether a model has a bound, and of whole pictures."""
    return isinstance(model, Bounds) and not model.binarises


def _comparable(model: object) -> TypeGuard[Bounds]:
    """Whether `_weighs` holds, and `_code_lengths` has files for such pictures as well."""
    if not _weighs(model):
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


def _parts(model: object, pictures: Pictures, samples: int) -> Iterator[Read]:
    return read(model, pictures, max(1, min(BATCH, CHUNK // samples)))


def _numbers(values: Tensor) -> Scores:
    return np.asarray(values.double().cpu().numpy(), np.float64)


def _fitted(mixture: Mixture) -> bool:
    """Whether it is another one than the N(0, I) it started as."""
    return bool(mixture.means.any()) or bool((mixture.weights != mixture.weights[0]).any())


def _smooth(maps: Tensor) -> Tensor:
    """(N, H, W) through a Gaussian whose sigma is 1/32 of the shorter side, one pixel at least; edges are continued."""
    sigma = max(1.0, min(maps.shape[1:]) / 32)
    reach = math.ceil(3 * sigma)
    places = torch.arange(-reach, reach + 1, dtype=maps.dtype, device=maps.device)
    kernel = (-0.5 * (places / sigma) ** 2).exp()
    kernel = kernel / kernel.sum()
    padded = F.pad(maps.unsqueeze(1), (reach,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel[None, None, :, None]), kernel[None, None, None, :]).squeeze(1)


def _code_lengths(images: Tensor, depth: int) -> Scores:
    """(N,) nats of each picture in the smaller of a PNG and, at 8 bits and where Pillow can, a lossless WebP."""
    if depth == 16:
        deep = quantised((images.float().cpu().numpy() + 1) / 2, 16)
        return np.array([8 * len(png(Image.fromarray(picture[0]))) for picture in deep], np.float64) * math.log(2)
    webp = features.check("webp")
    bits = []
    for pixels in to_uint8(images):
        picture = _picture(pixels)
        files = [png(picture)]
        if webp and max(picture.size) <= WEBP_SIDE:
            stream = io.BytesIO()
            picture.save(stream, "WEBP", lossless=True, exact=True, quality=100, method=4)
            files.append(stream.getvalue())
        bits.append(8 * min(map(len, files)))
    return np.array(bits, np.float64) * math.log(2)


def _picture(pixels: NDArray[np.uint8]) -> Image.Image:
    """(C, H, W); channels that no file has lie one below the other in grey."""
    channels, _, width = pixels.shape
    if channels == 1 or channels > 4:
        return Image.fromarray(pixels.reshape(-1, width))
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _image(pixels: NDArray[np.uint8]) -> str:
    _, height, width = pixels.shape
    source = base64.b64encode(png(_picture(pixels))).decode()
    return f'<img width="{width}" height="{height}" alt="" src="data:image/png;base64,{source}">'


def _compared(normal: Scores, odd: Scores) -> tuple[Scores, NDArray[np.bool_]]:
    """The scores of both kinds, and whether each is an odd picture's."""
    known, new = np.asarray(normal, np.float64).ravel(), np.asarray(odd, np.float64).ravel()
    if not len(known) or not len(new):
        raise ReverieError("Normal and odd pictures are compared by at least one score each.")
    if np.isnan(known).any() or np.isnan(new).any():
        raise ReverieError("Some scores are not numbers, so they cannot be compared.")
    return np.concatenate([known, new]), np.arange(len(known) + len(new)) >= len(known)


def _check_lengths(names: Sized, others: Mapping[str, Sized]) -> None:
    for what, values in others.items():
        if len(values) != len(names):
            raise ReverieError(f"There are {len(names)} names and {len(values)} {what}; give one for each picture.")


STYLE = """
:root { --page: #faf9f6; --ink: #1d1b26; --soft: #68647a; --line: #e5e2da; --odd: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --page: #131218; --ink: #ece9f4; --soft: #9d98af; --line: #302d3b; --odd: #ff8a80; }
}
body { margin: 0 auto; max-width: 1160px; padding: 32px 24px; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font: 500 2.4rem/1.1 ui-serif, Georgia, serif; margin: 0 0 8px; overflow-wrap: anywhere; }
p { margin: 0; color: var(--soft); }
ol { display: grid; grid-template-columns: repeat(auto-fill, minmax(220px, 1fr)); gap: 20px; margin: 28px 0 0;
  padding: 0; list-style: none; }
li { border-top: 3px solid var(--line); padding-top: 10px; font-size: .84rem; overflow-wrap: anywhere; }
.odd { border-color: var(--odd); }
.odd p:last-child { color: var(--odd); font-weight: 600; }
img { display: block; width: 100%; height: auto; image-rendering: pixelated; background: var(--line);
  margin-bottom: 8px; }
"""
