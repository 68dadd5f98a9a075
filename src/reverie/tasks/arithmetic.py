"""Vector arithmetic on latents: "smiling - neutral" as a change that can be made to any picture (Radford et al. 2016).

A term is a set of pictures; its latent is the mean over the set, since a single latent is noisy (their section 6.3.2).
The same change works for all pictures only if "smiling" is the same direction everywhere in latent space. Where it is
not (the mouth of a turned head is elsewhere), `nearby` uses, for each picture, the means of the pictures most like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.config import check_range
from reverie.data.sources import is_built_in
from reverie.errors import ReverieError, nearest
from reverie.inference.labels import Labels, labels_for, labels_in_turn
from reverie.inference.latent_space import Name, latent_space
from reverie.inference.pictures import Data, Pictures, Subset, images_and_labels, model_of, pictures_of, sample_indices
from reverie.tasks.attributes import MEASURED, attribute, attributes_of
from reverie.tasks.project import Progress, latents_of
from reverie.tasks.reconstruct import grid_rows

LEAST = 3  # pictures in a term
DEAD = 1e-2  # smallest deviation to divide by, as a share of the largest: nearly constant dimensions are not scaled up
SHARE = 0.2  # of the pictures counts as low, or as high, for an attribute that is not a class


@dataclass(frozen=True)
class Term:
    """``sign`` times the mean latent of the pictures that ``name`` selects: an attribute, a class, or a data spec."""

    sign: int  # 1 or -1
    name: str


@dataclass(frozen=True)
class Arithmetic:
    """The result of a sum of latents."""

    pictures: Tensor  # (rows * columns, C, H, W) in [-1, 1], row by row
    columns: int  # one for each changed picture; from top to bottom the picture, its latent decoded, the changed latent
    change: Tensor  # (...), or with ``near`` (columns, ...)
    figures: dict[str, Any]  # for JSON: the terms' sizes, the change's length, and the change of measurable attributes


def arithmetic(
    model: object,
    expression: str,
    data: Data,
    to: Data = None,
    *,
    count: int = 8,
    terms: int = 100,
    near: int = 0,
    strength: float = 1.0,
    space: Name | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Arithmetic:
    """Add and subtract the mean latents of sets of pictures, by an expression such as "smile - smile:low + curly/".

    A term is an attribute or a class of ``data`` (see `chosen`), or the spec of other pictures; at most ``terms``
    pictures of it are encoded, or projected. The sum is decoded, or added, times ``strength``, to the latents of the
    first ``count`` pictures of ``to``; in that case ``near`` uses only that many pictures of each term, those most like
    the picture that is changed (0: all). ``model`` may be a run, which then opens the data.
    """
    if near and to is None:
        raise ReverieError("The nearest pictures are those near to the pictures that are changed; give these as `to`.")
    parsed, known = parse(expression), pictures_of(model, data)
    network = model_of(model)

    def read(source: Pictures) -> tuple[Tensor, Labels | None, Tensor]:
        """Pictures, their labels where the model takes any, and their latents."""
        images, labels = images_and_labels(network, source, None)
        return images, labels, latents_of(network, images, labels, space=space, seed=seed, progress=progress)

    found: list[tuple[int, Tensor]] = []
    for term in parsed:
        rows = chosen(known, term.name, terms, seed)
        source = _named(model, term.name, known) if rows is None else known
        part = Subset(source, np.arange(min(terms, len(source))) if rows is None else rows)
        found.append((term.sign, read(part)[2]))
    change = total(found)  # which asks for enough pictures
    figures: dict[str, Any]
    if to is None:
        labels = labels_in_turn(network, None, 1)
        shown = [edited(network, torch.zeros_like(change)[None], change, strength, space, labels)]
        figures = {key: float(measure(shown[0])) for key, measure in MEASURED.items()}
    else:
        others = pictures_of(model, to)
        images, given, here = read(Subset(others, np.arange(min(count, len(others)))))
        numbers = labels_for(network, given, len(images))
        if near:
            change = nearby(found, here, near)
        before, after = (edited(network, here, change, size, space, numbers) for size in (0.0, strength))
        shown = [images, before, after]
        figures = {
            key: {"before": float(measure(before).mean()), "after": float(measure(after).mean())}
            for key, measure in MEASURED.items()
        }
    told = {
        "expression": expression,
        "pictures_in_terms": [len(part) for _, part in found],
        "near": near or None,
        "length": float(change.flatten(1 if near else 0).norm(dim=-1).mean()),  # of a change for each picture, the mean
        "strength": strength,
        "measured": figures,
    }
    return Arithmetic(grid_rows(shown, len(shown[0])), len(shown[0]), change, told)


def is_place(name: str) -> bool:
    """Whether a term is the path of an existing file or folder."""
    try:
        return Path(name).expanduser().exists()
    except (OSError, RuntimeError):  # a name too long, the home of an unknown user
        return False


def _named(model: object, name: str, known: Pictures) -> Pictures:
    """The pictures of a term that is not an attribute of ``known``."""
    if not (is_built_in(name) or name.startswith("hf:") or is_place(name)):
        plain = name.partition(":")[0]
        raise ReverieError(f"'{name}' is neither an attribute nor a place{nearest(plain, attributes_of(known))}")
    return pictures_of(model, name)


def parse(expression: str) -> list[Term]:
    """The terms of "a - b + c"; signs are surrounded by spaces, so that names may contain a hyphen."""
    words = expression.split()
    signs = [i for i, word in enumerate(words) if word in ("+", "-")]
    edges = [*([] if signs[:1] == [0] else [-1]), *signs, len(words)]  # -1: the implicit plus of the first term
    terms = [
        Term(-1 if start >= 0 and words[start] == "-" else 1, " ".join(words[start + 1 : end]))
        for start, end in pairwise(edges)
    ]
    if not all(term.name for term in terms):
        raise ReverieError(f"'{expression}' is no sum; write an expression such as 'smile - smile:low + curly'.")
    return terms


def chosen(dataset: Pictures, name: str, most: int, seed: int = 0) -> NDArray[np.int64] | None:
    """Indices of up to ``most`` pictures with the attribute ``name``: of a class, or the fifth with the highest values.

    ``name:low`` is the opposite: the other classes, or the fifth with the lowest values. Ties at the bound are all
    taken, unless their value is the opposite extreme. None where ``name`` is not an attribute.
    """
    plain, _, which = name.partition(":")
    if plain not in attributes_of(dataset) or which not in ("", "low", "high"):
        return None
    values = attribute(dataset, plain)
    if which == "low":
        values = -values
    bound, lowest = np.quantile(values, 1 - SHARE), values.min()
    # Where nearly all pictures have the lowest value, it equals the bound: take only those above it.
    members = np.flatnonzero(values >= bound if bound > lowest else values > lowest)
    return members[sample_indices(members, most, seed)]


def total(terms: Sequence[tuple[int, Tensor]]) -> Tensor:
    """The sum of sign x mean over each term's latents (n, ...): (...). Each needs at least `LEAST` of them."""
    for _, latents in terms:
        if len(latents) < LEAST:
            raise ReverieError(f"Each term needs at least {LEAST} pictures, and one has {len(latents)}.")
    return torch.stack([sign * latents.mean(0) for sign, latents in terms]).sum(0)


def nearby(terms: Sequence[tuple[int, Tensor]], latents: Tensor, count: int) -> Tensor:
    """For each of ``latents`` (N, ...), the `total` over the ``count`` latents of each term nearest to it: (N, ...).

    Distances are in standard deviations of the terms' latents. A term with fewer latents is used whole.
    """
    check_range("The number of a term's nearest pictures", count, low=LEAST)
    deviation = torch.cat([part for _, part in terms]).flatten(1).std(0)
    deviation = deviation.clamp_min(DEAD * float(deviation.max()) + 1e-12)
    here = latents.flatten(1) / deviation
    closest = [
        torch.cdist(here, part.flatten(1) / deviation).topk(min(count, len(part)), largest=False).indices
        for _, part in terms
    ]
    changes = [
        total([(sign, part[rows[i]]) for (sign, part), rows in zip(terms, closest, strict=True)])
        for i in range(len(latents))
    ]
    return torch.stack(changes)


def edited(
    model: object,
    latents: Tensor,
    change: Tensor,
    strength: float = 1.0,
    space: Name | None = None,
    labels: Tensor | None = None,
    batch: int | None = None,
) -> Tensor:
    """The pictures (N, C, H, W) in [-1, 1] of latents (N, ...) + strength x change (...) or (N, ...), on the CPU."""
    return latent_space(model, space, "do arithmetic").pictures(latents + strength * change, labels, batch)
