"""Likelihood of pictures under a model: the ELBO, and the importance-weighted bound on log p(x).

With S draws z_s ~ q(z|x) and w_s = p(x, z_s) / q(z_s|x), the mean of log w_s estimates the ELBO (Kingma and Welling
2014, eq. 3) and log mean w_s the importance-weighted bound (Burda et al. 2016, "Importance weighted autoencoders",
eq. 8), which tightens to log p(x) as S grows. Both come from the same draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Bounds
from reverie.config import check_range
from reverie.engine.randomness import DrawEach, derive
from reverie.inference.pictures import Pictures, Read, read

CHUNK = 2000  # decoder evaluations per call


@dataclass(frozen=True)
class Likelihood:
    """Figures per picture in nats, (N,) each."""

    elbo: NDArray[np.float64]
    bound: NDArray[np.float64]  # importance-weighted
    samples: int
    dimensions: int  # C * H * W


def likelihood(
    model: Bounds,
    dataset: Pictures,
    samples: int = 500,
    seed: int = 0,
    chunk: int = CHUNK,
    indices: NDArray[np.int64] | None = None,
) -> Likelihood:
    """Bounds on log p(x) of the pictures ``indices`` of ``dataset`` (default: all), with ``samples`` draws for each.

    The model makes ``chunk`` decoder evaluations at a time, pictures x samples, so memory does not grow with either.
    Samples are a function of (seed, index of the picture), and figures do not depend on ``chunk``.
    """
    check_range("The number of samples", samples, low=1)
    parts = [
        _bounds(model, part, samples, min(samples, chunk), SampleDraw(seed, part))
        for part in read(model, dataset, max(1, chunk // samples), indices)
    ]
    elbo, bound = torch.cat(parts, 1).cpu().numpy()
    return Likelihood(elbo, bound, samples, math.prod(dataset.image_spec.shape))


class SampleDraw(DrawEach):
    """The random numbers of a batch of pictures, for several calls of ``log_weights`` with some samples each.

    Call `again` before each. Uniform numbers, which binarise a picture, are the same in each call; normal numbers
    continue, so that S samples are the same S in however many calls.
    """

    def __init__(self, seed: int, pictures: Read) -> None:
        key = (seed, "likelihood")
        super().__init__(*key, samples=pictures.indices.tolist(), device=pictures.images.device)
        self._streams: dict[int, list[np.random.Generator]] = {}

    def again(self) -> None:
        """Begin another call, for further samples of the same pictures."""
        self.calls = 0

    def normal(self, *shape: int) -> Tensor:
        self.calls += 1
        if self.calls not in self._streams:
            seeds = [derive(*self.key, self.calls, s) for s in self.samples.tolist()]
            self._streams[self.calls] = [np.random.default_rng(s) for s in seeds]
        rows = [stream.standard_normal(shape, np.float32) for stream in self._streams[self.calls]]
        return torch.from_numpy(np.stack(rows)).to(self.device)


def alike_bounds(
    model: Bounds, images: Tensor, labels: Tensor | None, samples: int, seed: int, chunk: int = CHUNK
) -> Tensor:
    """ELBO and importance-weighted bound of each picture, (2, n) float64, all with the random numbers of picture 0.

    So a figure depends on the picture alone, not on its index in a set, and pictures, or classes of a picture, are
    compared with the same random numbers.
    """
    pictures = Read(np.zeros(len(images), np.int64), images, labels)
    return _bounds(model, pictures, samples, min(samples, chunk), SampleDraw(seed, pictures))


def _bounds(model: Bounds, pictures: Read, samples: int, span: int, draw: SampleDraw) -> Tensor:
    """ELBO and importance-weighted bound of each picture, (2, n) float64, ``span`` samples at a time."""
    count = len(pictures.indices)
    total = torch.zeros(count, dtype=torch.float64, device=draw.device)
    log_sum = torch.full_like(total, -math.inf)
    for first in range(0, samples, span):
        draw.again()
        with torch.no_grad():
            weights = model.log_weights(pictures.images, min(span, samples - first), draw, pictures.labels).double()
        total += weights.sum(1)
        log_sum = torch.logaddexp(log_sum, weights.logsumexp(1))
    return torch.stack([total / samples, log_sum - math.log(samples)])
