"""Pictures of one class from an unconditional model: p(x|y) from a generator of p(x) and a classifier's p(y|x).

By Bayes' rule p(z|y) is proportional to p(z) p(y|G(z)). ``resample`` samples latents from p(z), weights each by
p(y|G(z)) and resamples them by weight (Rubin 1988, "Using the SIR algorithm"). ``langevin`` then moves the resampled
latents by Langevin steps towards higher log p(z) + log p(y|G(z)), each accepted by the Metropolis rule, which leaves
p(z|y) invariant for any step size (Roberts and Tweedie 1996): copies of one latent separate, and regions are reached
that no sample was in. As Nguyen et al. (2017), "Plug & play generative networks", but with the Metropolis correction.
Both are only as good as p(y|x): pictures that show nothing are accepted if the classifier is confident of them. A
``strength`` s above 1 samples from p(x) p(y|x)^s instead, the scale of classifier guidance (Dhariwal and Nichol 2021,
"Diffusion models beat GANs on image synthesis", section 4.3): higher confidence, less variety.

Steps are taken in the standard normal numbers from which the model makes a latent, not in the latent itself: their
density is known whatever the model's prior is. For most models they are the latent; for a mixture of Gaussians each
latent stays in its component, and the weights alone determine how often each component occurs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from reverie.capabilities import Conditions, Samples
from reverie.config import check_range
from reverie.engine.randomness import Draw, DrawEach, derive
from reverie.errors import ReverieError, nearest
from reverie.inference.labels import classes_of
from reverie.inference.pictures import device_of
from reverie.inference.unsupported import unsupported

Classifier = Callable[[Tensor], Tensor]  # (N, C, H, W) in [-1, 1] -> logits (N, classes)
How = Literal["resample", "langevin"]

DRAWS, STEPS, BATCH = 4096, 100, 256
ACCEPTED = 0.574  # the share of accepted steps that is best in many dimensions (Roberts & Rosenthal 1998)


@dataclass(frozen=True)
class Conditioned:
    """Pictures of one class, and how far to trust them."""

    pictures: Tensor  # (count, C, H, W) in [-1, 1], on the CPU
    probability: Tensor  # (count,): the classifier's p(y|x) of each
    effective: float  # effective sample size of the weighted draws, (sum w)^2 / sum w^2: from 1 to their number
    share: float  # mean p(y|x) over the draws: the share of the model's pictures that are of the class
    acceptance: float | None  # the share of steps accepted after their size was fixed; None without steps


def condition(
    model: object,
    classifier: Classifier,
    label: int,
    count: int,
    *,
    how: How = "resample",
    draws: int = DRAWS,
    steps: int = STEPS,
    strength: float = 1.0,
    seed: int = 0,
    batch: int = BATCH,
) -> Conditioned:
    """``count`` pictures from p(x) p(y|x)^strength, y being class number ``label`` of ``classifier``.

    ``classifier`` gives logits for pictures on the model's device, each picture alone (so in eval mode); for
    ``langevin`` they must be differentiable. ``draws`` latents are weighted; where ``effective`` is not far above
    ``count``, ``resample`` repeats pictures, and ``langevin`` or more draws help. The size of the Langevin steps adapts
    to `ACCEPTED` during the first half of ``steps``, then stays. All arguments but ``batch`` determine the pictures.

    Raises ReverieError for a model that cannot sample, one that takes labels itself, one whose latents are not made of
    normal numbers (``langevin``), and invalid logits.
    """
    able_model = check_conditionable(model)
    if how not in ("resample", "langevin"):
        raise ReverieError(f"Pictures cannot be conditioned by '{how}'{nearest(how, ('resample', 'langevin'))}")
    for what, number in (("pictures", count), ("draws", draws), ("steps", steps)):
        check_range(f"The number of {what}", number, low=1)
    check_range("The strength of the classifier", strength, above=0)
    judge = _Judge(able_model, classifier, label, strength, batch)
    noise = _Noise.drawn(able_model, seed, draws)
    with torch.no_grad():
        log_probability = judge.log_probability(noise).double()
    log_weights = strength * log_probability
    weights = (log_weights - log_weights.logsumexp(0)).exp()
    chosen = noise.rows(_systematic(weights, count, seed))
    acceptance = None
    if how == "langevin":
        chosen, acceptance = _langevin(judge, chosen, steps, seed)
    pictures, probability = judge.pictures(chosen)
    effective, share = float(1 / weights.square().sum()), float(log_probability.exp().mean())
    return Conditioned(pictures, probability, effective, share, acceptance)


def check_conditionable(model: object) -> Samples:
    """The model, if it can be conditioned; ReverieError says why it cannot."""
    if not isinstance(model, Samples):
        raise unsupported(model, "draw new pictures", "prior and decoder", Samples, never=(Conditions,))
    if classes_of(model):
        raise ReverieError(f"{type(model).__name__} takes class labels itself; sample with labels instead.")
    return model


class _Noise:
    """The random numbers from which latents are made: ``normal`` (N, d) can be moved, the rest is fixed."""

    def __init__(self, normal: Tensor, numbers: Sequence[Tensor | tuple[int, ...]]) -> None:
        self.normal = normal
        self._numbers = numbers  # in the order of the model's calls: fixed numbers, or the shape of normal ones

    @classmethod
    def drawn(cls, model: Samples, seed: int, count: int) -> _Noise:
        """The random numbers that ``model`` uses to sample ``count`` latents."""
        draw = _Recorded(seed, "condition", samples=range(count), device=device_of(model))
        with torch.no_grad():
            model.draw_latent(draw)
        normal = [part.flatten(1) for part in draw.normals]
        return cls(torch.cat([torch.empty(count, 0, device=draw.device), *normal], 1), draw.numbers)

    def rows(self, which: Tensor | slice) -> _Noise:
        """The numbers of some of the latents."""
        kept = [n if isinstance(n, tuple) else n[which] for n in self._numbers]
        return _Noise(self.normal[which], kept)

    def moved(self, normal: Tensor) -> _Noise:
        """The same with other normal numbers."""
        return _Noise(normal, self._numbers)

    def latent(self, model: Samples) -> Tensor:
        """The latents, differentiable in the normal numbers."""
        return model.draw_latent(_Given(self.normal, self._numbers))


class _Recorded(DrawEach):
    """A `DrawEach` that records its numbers."""

    def __init__(self, *key: int | str, samples: Sequence[int], device: torch.device) -> None:
        super().__init__(*key, samples=samples, device=device)
        self.normals: list[Tensor] = []
        self.numbers: list[Tensor | tuple[int, ...]] = []

    def normal(self, *shape: int) -> Tensor:
        self.normals.append(super().normal(*shape))
        self.numbers.append(shape)
        return self.normals[-1]

    def uniform(self, *shape: int) -> Tensor:
        return self._kept(super().uniform(*shape))

    def integers(self, high: int, *shape: int) -> Tensor:
        return self._kept(super().integers(high, *shape))

    def _kept(self, numbers: Tensor) -> Tensor:
        self.numbers.append(numbers)
        return numbers


class _Given(Draw):
    """A `Draw` that replays recorded numbers in order."""

    def __init__(self, normal: Tensor, numbers: Sequence[Tensor | tuple[int, ...]]) -> None:
        super().__init__(count=len(normal), device=normal.device)
        self._normal, self._numbers = normal, iter(numbers)

    def normal(self, *shape: int) -> Tensor:
        next(self._numbers)
        size = math.prod(shape)
        mine, self._normal = self._normal[:, :size], self._normal[:, size:]
        return mine.reshape(-1, *shape)

    def uniform(self, *shape: int) -> Tensor:
        return self._kept()

    def integers(self, high: int, *shape: int) -> Tensor:
        return self._kept()

    def _kept(self) -> Tensor:
        numbers = next(self._numbers)
        assert isinstance(numbers, Tensor)
        return numbers


class _Judge:
    """The probability of a class for the pictures that a model makes from noise, ``batch`` at a time."""

    def __init__(self, model: Samples, classifier: Classifier, label: int, strength: float, batch: int) -> None:
        self.model, self.classifier, self.label = model, classifier, label
        self.strength, self.batch = strength, batch

    def log_probability(self, noise: _Noise) -> Tensor:
        """log p(y|G(z)), (N,)."""
        return torch.cat([self._judged(self.model.decode(part.latent(self.model))) for part in self._parts(noise)])

    def slope(self, noise: _Noise) -> tuple[Tensor, Tensor]:
        """log p(normal) + strength log p(y|G(z)) up to a constant, (N,), and its gradient in those numbers, (N, d)."""
        values, slopes = [], []
        for part in self._parts(noise):
            normal = part.normal.detach().requires_grad_()
            with torch.enable_grad():
                judged = self._judged(self.model.decode(part.moved(normal).latent(self.model)))
                value = self.strength * judged - 0.5 * normal.square().sum(1)
                if not judged.requires_grad:
                    raise ReverieError("This classifier gives no gradient, which 'langevin' needs; take 'resample'.")
                (slope,) = torch.autograd.grad(value.sum(), normal)
            values.append(value.detach())
            slopes.append(slope)
        return torch.cat(values), torch.cat(slopes)

    @torch.no_grad()
    def pictures(self, noise: _Noise) -> tuple[Tensor, Tensor]:
        """The pictures (N, C, H, W) and p(y|x) of each (N,), on the CPU."""
        shown, judged = [], []
        for part in self._parts(noise):
            images = self.model.decode(part.latent(self.model))
            judged.append(self._judged(images).exp().float().cpu())
            shown.append(images.float().cpu())
        return torch.cat(shown), torch.cat(judged)

    def _parts(self, noise: _Noise) -> list[_Noise]:
        return [noise.rows(slice(start, start + self.batch)) for start in range(0, len(noise.normal), self.batch)]

    def _judged(self, images: Tensor) -> Tensor:
        logits = self.classifier(images)
        if logits.ndim != 2 or len(logits) != len(images):
            raise ReverieError(
                f"A classifier gives a row of logits for each picture; for {len(images)} pictures this one gives "
                f"{' x '.join(map(str, logits.shape))} numbers."
            )
        if not 0 <= self.label < logits.shape[1]:
            raise ReverieError(f"There is no class {self.label}: the classifier's are 0 to {logits.shape[1] - 1}.")
        if not logits.isfinite().all():
            raise ReverieError("Some of the classifier's logits are not finite numbers.")
        return logits.log_softmax(1)[:, self.label]


def _systematic(weights: Tensor, count: int, seed: int) -> Tensor:
    """``count`` row numbers by weights (N,) that sum to one, (count,): each count * w times, rounded up or down.

    Systematic resampling (Kitagawa 1996), shuffled, so that the first few are a sample too.
    """
    random = torch.Generator().manual_seed(derive(seed, "condition", "resample"))
    places = (torch.arange(count) + torch.rand((), generator=random, dtype=torch.float64)) / count
    edges = weights.cpu().cumsum(0)
    rows = torch.searchsorted(edges, places * edges[-1], right=True).clamp(max=len(edges) - 1)
    return rows[torch.randperm(count, generator=random)].to(weights.device)


def _langevin(judge: _Judge, noise: _Noise, steps: int, seed: int) -> tuple[_Noise, float]:
    """``noise`` after ``steps`` Metropolis-adjusted Langevin steps, and the accepted share of their second half."""
    dimensions = noise.normal.shape[1]
    if not dimensions:
        raise ReverieError(
            f"{type(judge.model).__name__} makes its latents of no normal numbers, which 'langevin' needs; take "
            "'resample'."
        )
    step = dimensions ** (-1 / 6)  # how the best size scales (Roberts & Rosenthal 1998)
    numbers = range(len(noise.normal))
    here, (value, slope) = noise.normal, judge.slope(noise)
    accepted = []
    for number in range(steps):
        draw = DrawEach(seed, "condition", "step", number, samples=numbers, device=here.device)
        there = here + 0.5 * step**2 * slope + step * draw.normal(dimensions)
        new_value, new_slope = judge.slope(noise.moved(there))
        forth = (there - here - 0.5 * step**2 * slope).square().sum(1)
        back = (here - there - 0.5 * step**2 * new_slope).square().sum(1)
        log_ratio = new_value - value + (forth - back) / (2 * step**2)
        yes = draw.uniform().log() < log_ratio
        here, slope = torch.where(yes[:, None], there, here), torch.where(yes[:, None], new_slope, slope)
        value = torch.where(yes, new_value, value)
        if number < steps // 2:  # ever smaller changes, so that it converges (Robbins & Monro 1951)
            step *= math.exp((float(log_ratio.clamp(max=0).exp().mean()) - ACCEPTED) / math.sqrt(number + 1))
        else:
            accepted.append(float(yes.double().mean()))
    return noise.moved(here), sum(accepted) / len(accepted)
