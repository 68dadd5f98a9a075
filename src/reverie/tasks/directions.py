"""Directions in a latent space: what a step along each of them changes in the picture.

There are two unsupervised ways. ``principal`` are the principal components of sampled latents (Haerkoenen et al. 2020,
"GANSpace"): meaningless for an isotropic prior, but not for the codes of an encoder or the styles of a StyleGAN.
``sensitive`` are the directions along which the picture changes most: the eigenvectors of E[J^T J], J being the
Jacobian of the generator. Shen and Zhou (2021, "Closed-form factorization of latent semantics") use the weights of the
generator's first layer; the Jacobian is that of the whole generator, so that any architecture works.

Supervised, `effects` is the multiple regression of latents on the attributes of their pictures: how latents change with
one attribute while the others are constant, that is, with the others projected out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Encodes
from reverie.data.image_io import to_tensor
from reverie.errors import ReverieError, nearest
from reverie.inference.embed import embed
from reverie.inference.labels import Labels, classes_of, labels_in_turn, names_of
from reverie.inference.latent_space import BATCH, Name, latent_space
from reverie.inference.pictures import Data, Pictures, device_of, model_labels, model_of, pictures_of, sample_indices
from reverie.metrics.pca import pca, signed
from reverie.tasks.attributes import MEASURED, Values, attribute
from reverie.tasks.project import Progress, latents_of

How = Literal["principal", "sensitive"]

DRAWS = 2048  # latents sampled
EMBEDDED = 2000  # pictures encoded for the distribution of codes
PROBED = 32  # latents at which the derivative is taken
SMALL = 0.02  # step of the finite difference, in standard deviations of the latents
ATTRIBUTES = 64  # largest number in a regression


@dataclass(frozen=True)
class Directions:
    """Directions of a latent space: the most important first, or one for each attribute, in that order."""

    vectors: Tensor  # (k, ...), a latent each; its length is one standard deviation of the latents, or of the attribute
    strength: NDArray[np.float64]  # (k,): share of the variance, of the sensitivity, or of the latents explained
    names: list[str]  # (k,)


@dataclass(frozen=True)
class Found:
    """Directions, and what steps along each of them change."""

    directions: Directions
    pictures: Tensor  # (k, columns, C, H, W) in [-1, 1]: a row for each direction
    measured: list[dict[str, list[float]]]  # (k,): the attributes `MEASURED` of each picture of the row, (columns,)


def directions(
    model: object,
    data: Data,
    attributes: Sequence[str] = (),
    *,
    how: How = "principal",
    count: int = 6,
    pictures: int = 500,
    space: Name | None = None,
    reach: float = 3.0,
    columns: int = 7,
    seed: int = 0,
    progress: Progress | None = None,
) -> Found:
    """Directions, and ``columns`` pictures along each, from -``reach`` to +``reach`` standard deviations.

    With ``attributes``, one direction for each is estimated from up to ``pictures`` pictures of ``data``, the other
    attributes held fixed (see `attributed`, `effects`). Without, ``count`` directions are found without labels by
    ``how``: `principal` of the codes of ``data``, or of sampled latents where there is no encoder, or `sensitive`.
    ``model`` may be a run, which then opens the data.
    """
    network = model_of(model)
    latent_space(network, space, "have directions")
    if how not in ("principal", "sensitive"):
        raise ReverieError(f"Directions cannot be found by '{how}'{nearest(how, ('principal', 'sensitive'))}")
    if attributes:
        known = pictures_of(model, data)
        latents, values = attributed(network, known, attributes, pictures, space, seed, progress)
        found = effects(latents, values)
    elif how == "sensitive":
        latents = drawn(network, space, seed=seed, count=1)  # the starting point of every row
        found = sensitive(network, count, space, seed=seed)
    else:
        if isinstance(network, Encodes) and space != "w":
            known = pictures_of(model, data)
            latents = torch.from_numpy(embed(network, known, indices=sample_indices(known, EMBEDDED)).codes)
        else:
            latents = drawn(network, space, seed=seed)
        found = principal(latents, count)
    steps, labels = torch.linspace(-reach, reach, columns), labels_in_turn(network, None, 1)
    rows = [along(network, latents[:1], vector, steps, space, labels)[0] for vector in found.vectors]
    measured = [{key: measure(row).tolist() for key, measure in MEASURED.items()} for row in rows]
    return Found(found, torch.stack(rows), measured)


def principal(latents: Tensor, count: int = 10) -> Directions:
    """The first ``count`` principal components of latents (N, ...), each as long as its standard deviation."""
    flat = latents.flatten(1).double()
    if len(flat) < 3:
        raise ReverieError("Principal components need at least 3 latents.")
    if not flat.isfinite().all():
        raise ReverieError("Some latents are not finite numbers; the model has diverged.")
    found = pca(flat)
    count = min(count, found.rank)
    if count == 0:
        raise ReverieError("All latents are the same, so they vary in no direction.")
    vectors = (signed(found.axes[:, :count]) * found.variance[:count].sqrt()).T.contiguous()
    share = (found.variance / found.variance.sum())[:count].numpy()
    names = [f"component {i + 1}" for i in range(count)]
    return Directions(vectors.float().view(count, *latents.shape[1:]), share, names)


def drawn(
    model: object, space: Name | None = None, labels: Labels | None = None, seed: int = 0, count: int = DRAWS
) -> Tensor:
    """``count`` latents sampled from the prior, (count, ...), on the CPU; in the space "w", styles."""
    found = latent_space(model, space, "have directions")
    numbers = labels_in_turn(model, labels, count)
    with torch.no_grad():
        given = None if numbers is None else numbers.to(device_of(model))
        return found.draw(seed, range(count), given).cpu()


def attributed(
    model: object,
    dataset: Pictures,
    names: Sequence[str],
    count: int = 500,
    space: Name | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Tensor, dict[str, Values]]:
    """Up to ``count`` latents (N, ...) on the CPU, with the named attributes (N,) of their pictures, for `effects`.

    By default these are pictures of the data set, encoded or projected. Without an encoder, or for styles, they are
    sampled instead, classes in rotation, where all the attributes can be measured on any picture: exact, and faster.
    """
    coded = isinstance(model, Encodes) and space != "w"
    if not coded and all(name in MEASURED for name in names):
        found, classes = latent_space(model, space, "have directions"), classes_of(model)
        turns = list(classes) or None
        latents, given = drawn(model, space, turns, seed, count), labels_in_turn(model, turns, count)
        parts = []
        for start in range(0, count, BATCH):  # so that not all pictures are held at once
            rows = slice(start, start + BATCH)
            pictures = found.pictures(latents[rows], None if given is None else given[rows])
            parts.append(torch.stack([MEASURED[name](pictures) for name in names]))
        return latents, dict(zip(names, torch.cat(parts, 1).double().numpy(), strict=True))
    chosen = sample_indices(dataset, count, seed)
    values = {name: attribute(dataset, name, chosen) for name in names}  # first, so that an unknown name fails at once
    labels, images = names_of(model, model_labels(model, dataset, chosen)), to_tensor(dataset.batch(chosen))
    return latents_of(model, images, labels, space=space, seed=seed, progress=progress), values


def sensitive(
    model: object, count: int = 10, space: Name | None = None, labels: Labels | None = None, seed: int = 0
) -> Directions:
    """The ``count`` directions along which pictures change most, each of length one in standard deviations.

    The standard deviation is that of each dimension alone: where dimensions of styles are correlated, that along a
    direction may differ. The derivative is a central difference along every dimension of the latent, at `PROBED`
    sampled latents. Directions of styles move all layers alike.
    """
    found = latent_space(model, space, "have directions")
    latents = drawn(model, found.name, labels, seed)
    numbers = labels_in_turn(model, labels, PROBED)
    styles = found.name == "w"
    rows = latents[:, 0] if styles else latents.flatten(1)
    deviation = rows.std(0).clamp_min(1e-6)
    size = rows.shape[1]
    total = torch.zeros(size, size, dtype=torch.float64)
    steps = torch.diag(SMALL * deviation)
    steps = steps[:, None].expand(-1, latents.shape[1], -1) if styles else steps.view(size, *latents.shape[1:])
    for i in range(PROBED):
        given = None if numbers is None else numbers[i].expand(size)
        ahead, behind = (found.pictures(latents[i] + sign * steps, given) for sign in (1, -1))
        slope = ((ahead - behind).flatten(1) / (2 * SMALL)).double()  # (d, pixels), for one deviation
        total += slope @ slope.T / PROBED
    values, axes = torch.linalg.eigh(total)
    count = min(count, size)
    vectors = signed(axes.flip(1)[:, :count]).T.contiguous().float() * deviation
    vectors = vectors[:, None].expand(-1, latents.shape[1], -1).clone() if styles else vectors
    share = (values.flip(0)[:count] / values.sum().clamp_min(1e-30)).numpy()
    return Directions(vectors.view(count, *latents.shape[1:]), share, [f"direction {i + 1}" for i in range(count)])


def effects(latents: Tensor, attributes: Mapping[str, NDArray[np.float64]]) -> Directions:
    """How latents (N, ...) change with one standard deviation of each attribute (N,), the others held fixed.

    By least squares. ``strength`` is the share of the latents' variance that the attribute explains beyond the others.
    Raises ReverieError for a constant attribute, and for one that is a linear combination of the others.
    """
    names = list(attributes)
    flat = latents.flatten(1).double()
    values = torch.tensor(np.stack([attributes[name] for name in names], 1), dtype=torch.float64)  # (N, k)
    if len(values) != len(flat):
        raise ReverieError(f"{len(flat)} latents need as many values of each attribute, not {len(values)}.")
    if not len(names) < len(flat) or len(names) > ATTRIBUTES:
        raise ReverieError(f"{len(names)} attributes need more than so many pictures, and are at most {ATTRIBUTES}.")
    centred = values - values.mean(0)
    deviation = centred.std(0)
    for name, spread in zip(names, deviation.tolist(), strict=True):
        if not spread > 1e-9:
            raise ReverieError(f"All pictures have the same '{name}', so nothing can be learned about it.")
    scaled = centred / deviation
    gram = scaled.T @ scaled
    if float(torch.linalg.eigvalsh(gram)[0]) < 1e-6 * len(flat):
        raise ReverieError(f"One of these attributes follows from the others: {', '.join(names)}; leave one out.")
    apart = flat - flat.mean(0)
    vectors = torch.linalg.solve(gram, scaled.T @ apart)  # (k, d)
    # The residual of attribute i on the others has the squared norm 1 / (gram^-1)_ii.
    alone = 1 / torch.linalg.inv(gram).diagonal()
    strength = vectors.square().sum(1) * alone / apart.square().sum().clamp_min(1e-30)
    return Directions(vectors.float().view(len(names), *latents.shape[1:]), strength.numpy(), names)


def along(
    model: object,
    latents: Tensor,
    direction: Tensor,
    steps: Tensor,
    space: Name | None = None,
    labels: Tensor | None = None,
) -> Tensor:
    """Pictures (N, s, C, H, W) of latents (N, ...) moved by each of ``steps`` (s,) along a direction (...), on the CPU.

    ``labels`` (N,) are numbers, for a conditional model.
    """
    found = latent_space(model, space, "follow a direction")
    rows = []
    for i, latent in enumerate(latents):
        moved = latent + steps.view(-1, *[1] * direction.dim()) * direction
        rows.append(found.pictures(moved, None if labels is None else labels[i].expand(len(steps))))
    return torch.stack(rows)
