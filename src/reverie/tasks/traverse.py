"""Latent traversals: one dimension varies while the others are fixed, to see what it encodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.inference.embed import Embedding
from reverie.inference.labels import Labels, labels_for, labels_in_turn
from reverie.inference.latent_space import latent_space
from reverie.inference.pictures import check_shape, device_of
from reverie.inference.unsupported import unsupported
from reverie.tasks.directions import along, drawn

DRAWS = 512  # samples for the spread of a dimension where there is no encoder


@dataclass(frozen=True)
class Traversal:
    """A grid of pictures; row r varies latent dimension ``dimensions[r]``."""

    pictures: Tensor  # (rows * columns, C, H, W) in [-1, 1], row by row
    dimensions: list[int]  # (rows,), the most important first
    importance: list[float]  # (rows,)
    ordered_by: str  # what the importance measures
    steps: list[float]  # (columns,), the position of each column in standard deviations


def traverse(
    model: object,
    image: Tensor,
    embedding: Embedding,
    rows: int = 10,
    columns: int = 9,
    reach: float = 2.5,
    labels: Labels | None = None,
) -> Traversal:
    """Vary one dimension per row, starting from the code of ``image`` (C, H, W) in [-1, 1].

    Along its row a dimension goes from -reach to +reach standard deviations of the aggregate posterior about its mean,
    both taken from ``embedding``. Rows are ordered by KL(q(z|x) || p(z)) where the encoder gives Gaussians, by the
    standard deviation of the codes where it gives points. ``labels`` is the one label for a conditional model.
    """
    if not isinstance(model, Reconstructs):
        raise unsupported(model, "traverse its latent from a given picture", "encoder with a decoder", Reconstructs)
    check_shape(model, image.shape)
    device = device_of(model)
    numbers = labels_for(model, labels, 1)
    mean, deviation = embedding.spread()
    kl = embedding.kl
    importance = deviation if kl is None else kl
    order = np.argsort(-importance, kind="stable")[:rows].tolist()
    steps = _steps(reach, columns)
    pictures = []
    with torch.no_grad():
        start = model.encode(image[None].to(device), None if numbers is None else numbers.to(device)).mean
        given = None if numbers is None else numbers.to(device).expand(columns)
        for dimension in order:
            z = start.flatten(1).repeat(columns, 1)
            z[:, dimension] = torch.from_numpy(mean[dimension] + steps * deviation[dimension]).to(z)
            pictures.append(model.decode(z.view(columns, *start.shape[1:]), given).float().cpu())
    named = "standard deviation of the codes" if kl is None else "KL from the prior, nats"
    return Traversal(torch.cat(pictures), order, importance[order].tolist(), named, steps.tolist())


def traverse_drawn(
    model: object,
    rows: int = 10,
    columns: int = 9,
    reach: float = 2.5,
    label: int | str | None = None,
    seed: int = 0,
) -> Traversal:
    """`traverse` for any model that samples, from a picture sampled by ``seed``: in its styles if it has them.

    A dimension's mean and deviation are those of `DRAWS` sampled latents. Rows are ordered by how much the picture
    changes (root mean square over pixels) from one deviation below the mean to one above.
    """
    found = latent_space(model, None, "traverse its latent")
    labels = None if label is None else (label,)
    latents, numbers = drawn(model, found.name, labels, seed, DRAWS), labels_in_turn(model, labels, 1)
    # The layers of a sampled style are equal, and move together.
    styles = found.name == "w"
    flat = latents[:, 0] if styles else latents.flatten(1)
    mean, deviation, size = flat.mean(0), flat.std(0), flat.shape[1]
    axes = torch.eye(size)
    axes = axes[:, None].expand(-1, latents.shape[1], -1) if styles else axes.view(size, *latents.shape[1:])

    def pictures(dimension: int, steps: Tensor) -> Tensor:
        axis = axes[dimension]
        middle = latents[0] + (mean - flat[0])[dimension] * axis
        return along(model, middle[None], deviation[dimension] * axis, steps, found.name, numbers)[0]

    both = torch.tensor([-1.0, 1.0])
    importance = np.array([float(pictures(d, both).diff(dim=0).square().mean().sqrt()) for d in range(size)])
    order = np.argsort(-importance, kind="stable")[:rows].tolist()
    steps = torch.from_numpy(_steps(reach, columns)).float()
    shown = torch.cat([pictures(d, steps) for d in order])
    return Traversal(shown, order, importance[order].tolist(), "how far the picture moves", steps.tolist())


def _steps(reach: float, columns: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Positions in standard deviations; a single column is at the mean."""
    return np.linspace(-reach, reach, columns) if columns > 1 else np.zeros(1)
