"""Sampling of new pictures from a model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Reconstructs, Samples, Styles
from reverie.config import check_range
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.inference.codes import check_latents
from reverie.inference.labels import Labels, classes_of, label_numbers
from reverie.inference.pictures import device_of
from reverie.inference.unsupported import unsupported

Prior = Literal["model", "mixture"]


@dataclass(frozen=True)
class Drawn:
    """A batch of new pictures."""

    start: int  # number of the first
    latents: Tensor  # (n, d), what the pictures are decoded from
    labels: Tensor | None  # (n,) numbers of the model's classes; None where it takes no labels
    pictures: Tensor  # (n, C, H, W) in [-1, 1]; all tensors are on the CPU


def sample(
    model: object,
    count: int,
    seed: int = 0,
    labels: Labels | None = None,
    prior: Prior = "model",
    batch: int = 256,
    truncation: float = 1.0,
) -> Tensor:
    """``count`` new pictures (count, C, H, W) in [-1, 1], on the CPU.

    Picture i is a function of (seed, i): it depends neither on ``batch`` nor on ``count``. ``prior="mixture"`` samples
    latents from the Gaussian mixture over codes (see `fit_mixture`) instead of the model's own prior. ``labels`` are
    class names or numbers, used in rotation; by default a conditional model uses its classes in rotation.
    ``truncation`` below 1 moves styles towards their mean (1 changes nothing; with 0 all pictures have the mean style):
    fewer odd pictures, less variety. `sample_batches` gives the same where the pictures do not fit in memory.
    """
    return torch.cat([part.pictures for part in sample_batches(model, count, seed, labels, prior, batch, truncation)])


def sample_batches(
    model: object,
    count: int,
    seed: int = 0,
    labels: Labels | None = None,
    prior: Prior = "model",
    batch: int = 256,
    truncation: float = 1.0,
    latents: NDArray[np.floating] | None = None,
) -> Iterator[Drawn]:
    """The pictures of `sample`, a batch at a time, with their latents; arguments as there.

    With ``latents`` (at least ``count``, d), as of `Drawn`, these are decoded instead of sampled ones; picture i then
    has label i where there are as many labels as latents. Raises ReverieError, at the call, for an unsupported model.
    """
    if not isinstance(model, Samples):
        raise unsupported(model, "draw new pictures", "prior and decoder", Samples)
    if prior == "mixture" and not isinstance(model, Reconstructs):
        raise ReverieError(
            f"{type(model).__name__} has no encoder, so no mixture over codes; sample from its own prior."
        )
    if truncation != 1 and not isinstance(model, Styles):
        raise unsupported(model, "truncate", "styles", Styles)
    check_range("The number of pictures", count, low=1)
    rotation, shape = _rotation(model, labels), torch.Size()
    if latents is not None:
        shape = check_latents(model, latents)
        if len(latents) < count:
            raise ReverieError(f"There are {len(latents):,} latents, and {count:,} pictures are asked for.")
    device = device_of(model)

    def draw(numbers: range) -> Drawn:
        given = None if rotation is None else rotation[torch.tensor(numbers) % len(rotation)].to(device)
        draws = DrawEach(seed, "sample", samples=numbers, device=device)
        if latents is not None:
            rows = np.asarray(latents[numbers.start : numbers.stop], np.float32)
            z = torch.from_numpy(rows).to(device).view(-1, *shape)
        elif prior == "mixture" and isinstance(model, Reconstructs):
            z = model.mixture.sample(draws.uniform(), draws.normal(model.mixture.means.shape[1]))
        else:
            z = model.draw_latent(draws, given)
        if truncation != 1 and isinstance(model, Styles):
            pictures = model.synthesise(model.truncate(model.map(z, given), truncation))
        else:
            pictures = model.decode(z, given)
        return Drawn(
            numbers.start, z.flatten(1).float().cpu(), None if given is None else given.cpu(), pictures.float().cpu()
        )

    def parts() -> Iterator[Drawn]:
        for start in range(0, count, batch):
            with torch.no_grad():
                drawn = draw(range(start, min(start + batch, count)))
            yield drawn

    return parts()


def _rotation(model: object, labels: Labels | None) -> Tensor | None:
    """The labels that samples use in rotation; None for an unconditional model."""
    if labels is not None:
        if len(labels) == 0:
            raise ReverieError("The list of labels is empty; name at least one class or leave it out.")
        return label_numbers(model, labels)
    classes = classes_of(model)
    return torch.arange(len(classes)) if classes else None
