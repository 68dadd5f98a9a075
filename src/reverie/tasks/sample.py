"""New pictures from a model."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from reverie.capabilities import Reconstructs, Samples, Styles
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.tasks.labels import Labels, classes_of, label_numbers
from reverie.tasks.pictures import device_of
from reverie.tasks.unable import unable

Prior = Literal["model", "mixture"]


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

    Picture i is a function of (seed, i): it depends neither on ``batch`` nor on ``count``. ``prior="mixture"`` draws
    latents from the Gaussian mixture over codes (see `fit_mixture`) instead of the model's own prior. ``labels`` are
    class names or numbers, taken in rotation; a conditional model without them takes its classes in rotation.
    ``truncation`` below 1 pulls styles towards their mean (1 changes nothing, 0 draws one picture): fewer odd pictures
    for less variety.
    """
    if not isinstance(model, Samples):
        raise unable(model, "draw new pictures", "prior and decoder", Samples)
    if prior == "mixture" and not isinstance(model, Reconstructs):
        raise ReverieError(
            f"{type(model).__name__} has no encoder, so no mixture over codes; sample from its own prior."
        )
    if truncation != 1 and not isinstance(model, Styles):
        raise unable(model, "truncate", "styles", Styles)
    if count < 1:
        raise ReverieError(f"The number of pictures must be at least 1, not {count}.")
    device = device_of(model)
    rotation = _rotation(model, labels)
    parts = []
    for start in range(0, count, batch):
        numbers = range(start, min(start + batch, count))
        draw = DrawEach(seed, "sample", samples=numbers, device=device)
        given = None if rotation is None else rotation[torch.tensor(numbers) % len(rotation)].to(device)
        with torch.no_grad():
            if prior == "mixture" and isinstance(model, Reconstructs):
                z = model.mixture.sample(draw.uniform(), draw.normal(model.mixture.means.shape[1]))
            else:
                z = model.draw_latent(draw, given)
            if truncation != 1 and isinstance(model, Styles):
                pictures = model.synthesise(model.truncate(model.map(z, given), truncation))
            else:
                pictures = model.decode(z, given)
            parts.append(pictures.float().cpu())
    return torch.cat(parts)


def _rotation(model: object, labels: Labels | None) -> Tensor | None:
    """The labels that samples take in turn; None for an unconditional model."""
    if labels is not None:
        if len(labels) == 0:
            raise ReverieError("The list of labels is empty; name at least one class or leave it out.")
        return label_numbers(model, labels)
    classes = classes_of(model)
    return torch.arange(len(classes)) if classes else None
