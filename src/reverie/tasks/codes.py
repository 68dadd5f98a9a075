"""Codes as rows of numbers, checked, and the pictures that a model makes of such rows."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Samples
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.tasks.embed import Embedding
from reverie.tasks.labels import classes_of
from reverie.tasks.pictures import device_of
from reverie.tasks.space import Space

Codes = Embedding | NDArray[np.floating]  # an embedding, or its codes (N, d) alone


def rows_of(codes: Codes) -> NDArray[np.float64]:
    """The codes (N, d); ReverieError where there are none, or where some are not finite numbers."""
    rows = np.asarray(codes.codes if isinstance(codes, Embedding) else codes, np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ReverieError(f"Codes are a table of N pictures by d numbers, not of shape {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ReverieError("Some codes are not finite numbers; the encoder has diverged.")
    return rows


def latents(model: Samples, count: int, seed: int = 0, label: int = 0) -> Tensor:
    """``count`` latents from the prior of ``model``, (count, ...); of class number ``label`` where it takes labels."""
    device = device_of(model)
    given = torch.full((count,), label, device=device) if classes_of(model) else None
    with torch.no_grad():
        return model.draw_latent(DrawEach(seed, "latents", samples=range(count), device=device), given)


def decode(model: Samples, codes: NDArray[np.floating], labels: Tensor | None = None, batch: int = 256) -> Tensor:
    """What ``model`` makes of codes (N, d), as an `Embedding` holds them: (N, C, H, W) in [-1, 1], on the CPU.

    ``labels`` (N,) are numbers of the model's classes, exactly where it takes labels. Raises ReverieError for codes
    that are not of its latent's size.
    """
    shape = latents(model, 1).shape[1:]
    if codes.shape[1] != shape.numel():
        raise ReverieError(
            f"These codes have {codes.shape[1]} numbers each, and the latent of {type(model).__name__} "
            f"{shape.numel()}; embed the pictures with the same model."
        )
    z = torch.from_numpy(np.asarray(codes, np.float32)).view(-1, *shape)
    return Space(model, "z").pictures(z, labels, batch).clamp(-1, 1)
