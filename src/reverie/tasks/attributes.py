"""Attributes of pictures as numbers: known factors, classes, and what can be measured on any picture.

An attribute is one number per picture. `MEASURED` are computed from the pixels, so generated pictures have them too.
Thickness and slant are meant for strokes on a plain background (digits, letters, drawings), brightness for anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.data.image_io import coloured, to_tensor
from reverie.errors import ReverieError, nearest
from reverie.inference.pictures import Data, Pictures, pictures_of

AT_ONCE = 1024

Values = NDArray[np.float64]  # (N,)


def brightness(images: Tensor) -> Tensor:
    """Mean grey (N,) of pictures (N, C, H, W) in [-1, 1]: 0 black, 1 white."""
    return (coloured(images).mean((1, 2, 3)) + 1) / 2


def thickness(images: Tensor) -> Tensor:
    """Mean width of the strokes in pixels, (N,): their area over half the length of their outlines.

    The outlines' length is the total variation of the ink. A picture without ink has 0.
    """
    ink = _ink(images)
    across, down = ink.diff(dim=2)[:, :-1], ink.diff(dim=1)[:, :, :-1]
    outline = (across.square() + down.square()).sqrt().sum((1, 2))
    return 2 * ink.sum((1, 2)) / outline.clamp_min(1e-6) * (outline > 1e-6)


def slant(images: Tensor) -> Tensor:
    """How far the strokes lean to the right: pixels across for each pixel up, (N,); upright 0, leaning left below 0.

    The slope of the ink's column on its row, mu_11 / mu_02 of its central moments.
    """
    ink = _ink(images)
    total = ink.sum((1, 2)).clamp_min(1e-6)
    rows = torch.arange(ink.shape[1], device=ink.device, dtype=ink.dtype)
    columns = torch.arange(ink.shape[2], device=ink.device, dtype=ink.dtype)
    up = -(rows[None] - ((ink.sum(2) * rows).sum(1) / total)[:, None])  # (N, H)
    right = columns[None] - ((ink.sum(1) * columns).sum(1) / total)[:, None]  # (N, W)
    both = torch.einsum("nhw,nh,nw->n", ink, up, right)
    return both / torch.einsum("nhw,nh->n", ink, up.square()).clamp_min(1e-6)


MEASURED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "brightness": brightness, "slant": slant, "thickness": thickness,
}  # fmt: skip


def _ink(images: Tensor) -> Tensor:
    """The distance of each pixel from the background, (N, H, W) in [0, 1]; the background is the border's median."""
    grey = coloured(images.float()).mean(1)
    rim = torch.cat([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], 1)
    return (grey - rim.median(1).values[:, None, None]).abs() / 2


def attributes_of(dataset: Pictures) -> list[str]:
    """The names that `attribute` accepts for a set: its factors, its classes, and what can be measured."""
    factors = getattr(dataset, "factors", None) or {}
    return list(dict.fromkeys([*factors, *_classes(dataset), *MEASURED]))


def attribute(dataset: Data, name: str, indices: NDArray[np.int64] | None = None) -> Values:
    """One attribute of the pictures ``indices`` (default: all) of a set, (N,); for a class, 1 for its pictures, else 0.

    Raises ReverieError for an unknown name, and for an attribute with the same value for all pictures.
    """
    dataset = pictures_of(None, dataset)
    rows = np.arange(len(dataset)) if indices is None else indices
    factors = getattr(dataset, "factors", None) or {}
    if name in factors:
        values = np.asarray(factors[name], np.float64)[rows]
    elif name in _classes(dataset):
        assert dataset.labels is not None
        values = (dataset.labels[rows] == dataset.image_spec.classes.index(name)).astype(np.float64)
    elif name in MEASURED:
        portions = np.split(rows, range(AT_ONCE, len(rows), AT_ONCE))
        parts = [MEASURED[name](to_tensor(dataset.batch(portion))) for portion in portions]
        values = torch.cat(parts).double().numpy()
    else:
        raise ReverieError(f"There is no attribute '{name}'{nearest(name, attributes_of(dataset))}")
    if len(values) < 2 or values.min() == values.max():
        raise ReverieError(f"All pictures have the same '{name}', so nothing can be learned about it.")
    return values


def _classes(dataset: Pictures) -> tuple[str, ...]:
    return () if dataset.labels is None else tuple(dataset.image_spec.classes)
