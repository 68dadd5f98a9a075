"""One latent dimension at a time, varied while the others stay: what each dimension means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reverie.capabilities import Reconstructs
from reverie.tasks.embed import Embedding
from reverie.tasks.labels import Labels, labels_for
from reverie.tasks.pictures import check_shape, device_of
from reverie.tasks.unable import unable


@dataclass(frozen=True)
class Traversal:
    """A grid of pictures; row r varies latent dimension ``dimensions[r]``."""

    pictures: Tensor  # (rows * columns, C, H, W) in [-1, 1], row by row
    dimensions: list[int]  # (rows,), the most informative first
    steps: list[float]  # (columns,), the place of each column in standard deviations


def traverse(
    model: object,
    image: Tensor,
    embedding: Embedding,
    rows: int = 10,
    columns: int = 9,
    reach: float = 2.5,
    labels: Labels | None = None,
) -> Traversal:
    """Start from the code of ``image`` (C, H, W) in [-1, 1], and give one dimension a row.

    Along its row a dimension runs from -reach to +reach standard deviations of the aggregate posterior about its mean;
    ``embedding`` holds the codes that give those. Rows are ordered by KL(q(z|x) || p(z)) where the encoder gives
    Gaussians, by the variance of the codes where it gives points. ``labels`` is the one label of a conditional model.
    """
    if not isinstance(model, Reconstructs):
        raise unable(model, "traverse its latent", "encoder with a decoder", Reconstructs)
    check_shape(model, image.shape)
    device = device_of(model)
    numbers = labels_for(model, labels, 1)
    mean, deviation = embedding.spread()
    kl = embedding.kl
    importance = deviation if kl is None else kl
    order = np.argsort(-importance, kind="stable")[:rows].tolist()
    steps = np.linspace(-reach, reach, columns) if columns > 1 else np.zeros(1)
    pictures = []
    with torch.no_grad():
        start = model.encode(image[None].to(device), None if numbers is None else numbers.to(device)).mean
        given = None if numbers is None else numbers.to(device).expand(columns)
        for dimension in order:
            z = start.flatten(1).repeat(columns, 1)
            z[:, dimension] = torch.from_numpy(mean[dimension] + steps * deviation[dimension]).to(z)
            pictures.append(model.decode(z.view(columns, *start.shape[1:]), given).float().cpu())
    return Traversal(torch.cat(pictures), order, steps.tolist())
