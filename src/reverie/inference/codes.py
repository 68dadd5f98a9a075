"""Codes as rows of numbers, checked, and decoded by a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Samples
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.files import replacing
from reverie.inference.embed import Embedding
from reverie.inference.labels import classes_of
from reverie.inference.latent_space import LatentSpace
from reverie.inference.pictures import device_of

LATENTS = ("latents", "codes")  # names of the array in a file
Codes = Embedding | NDArray[np.floating]  # an embedding, or its codes (N, d) alone


def rows_of(codes: Codes) -> NDArray[np.float64]:
    """The codes (N, d); ReverieError where there are none, or where some are not finite numbers."""
    rows = np.asarray(codes.codes if isinstance(codes, Embedding) else codes, np.float64)
    if rows.ndim != 2 or 0 in rows.shape:
        raise ReverieError(f"Codes are a table of N pictures by d numbers, not of shape {rows.shape}.")
    if not np.isfinite(rows).all():
        raise ReverieError("Some codes are not finite numbers; the encoder has diverged.")
    return rows


@dataclass(frozen=True)
class Saved:
    """Codes or latents read from a file."""

    latents: NDArray[np.floating]  # (N, d)
    labels: list[int | str] | None  # (N,): names where the file has them, else numbers; None without labels


def read_latents(path: Path) -> Saved:
    """Read a file of `write_latents`, `Embedding.save` or `reverie project`; ReverieError for anything else."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in (*LATENTS, "labels", "classes", "space") if name in archive}
    except Exception as why:  # numpy and zipfile raise nearly every type there is on files that are broken
        raise ReverieError(f"Cannot read latents from {path} ({' '.join(str(why).split())}).") from why
    if str(arrays.get("space", "z")) != "z":
        raise ReverieError(f"{path} holds styles (w), which are no latents; project with --space z.")
    found = next((arrays[name] for name in LATENTS if name in arrays), None)
    if found is None:
        raise ReverieError(f"{path} holds no array called codes or latents.")
    if found.ndim != 2 or 0 in found.shape or found.dtype.kind not in "fiu":
        raise ReverieError(f"{path} holds {found.dtype} of shape {found.shape}; latents are numbers (N, d).")
    if not np.isfinite(found).all():
        raise ReverieError(f"{path} holds latents that are not finite numbers.")
    if "labels" not in arrays:
        return Saved(found, None)
    labels, classes = arrays["labels"], arrays.get("classes")
    if labels.shape != (len(found),) or labels.dtype.kind not in "iu":
        raise ReverieError(f"{path} holds labels {labels.shape} of {labels.dtype}; each latent needs one whole number.")
    if classes is None or not len(classes):
        return Saved(found, labels.tolist())
    if classes.ndim != 1 or not ((labels >= 0) & (labels < len(classes))).all():
        raise ReverieError(f"{path} holds labels that are none of its {len(classes)} classes.")
    return Saved(found, [str(classes[label]) for label in labels])


def write_latents(
    path: Path, latents: NDArray[np.floating], labels: NDArray[np.int64] | None, classes: Sequence[str]
) -> None:
    """Write an .npz of latents (N, d) and, if given, labels (N,) with the names of the classes."""
    arrays: dict[str, NDArray[np.generic]] = {"latents": latents}
    if labels is not None:
        arrays |= {"labels": labels, "classes": np.asarray(classes, np.str_)}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def check_latents(model: Samples, codes: NDArray[np.floating]) -> torch.Size:
    """The shape of one latent of ``model``; ReverieError where codes (N, d) are not of its size."""
    shape = latents(model, 1).shape[1:]
    if codes.ndim != 2:
        raise ReverieError(f"Codes are a table of N pictures by d numbers, not of shape {codes.shape}.")
    if codes.shape[1] != shape.numel():
        raise ReverieError(
            f"These codes have {codes.shape[1]} numbers each, and the latent of {type(model).__name__} "
            f"{shape.numel()}; embed the pictures with the same model."
        )
    return shape


def latents(model: Samples, count: int, seed: int = 0, label: int = 0) -> Tensor:
    """``count`` latents from the prior of ``model``, (count, ...); of class number ``label`` where it takes labels."""
    device = device_of(model)
    given = torch.full((count,), label, device=device) if classes_of(model) else None
    with torch.no_grad():
        return model.draw_latent(DrawEach(seed, "latents", samples=range(count), device=device), given)


def decode(model: Samples, codes: NDArray[np.floating], labels: Tensor | None = None, batch: int = 256) -> Tensor:
    """Decode codes (N, d), as of an `Embedding`: pictures (N, C, H, W) in [-1, 1], on the CPU.

    ``labels`` (N,) are class numbers, given if and only if the model takes labels. Raises ReverieError for codes that
    are not of its latent's size.
    """
    shape = check_latents(model, codes)
    z = torch.from_numpy(np.asarray(codes, np.float32)).view(-1, *shape)
    return LatentSpace(model, "z").pictures(z, labels, batch).clamp(-1, 1)
