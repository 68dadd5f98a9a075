"""Vector arithmetic on latents: "smiling - neutral" as a change that can be made to any picture (Radford et al. 2016).

A term is a set of pictures; its latent is the mean of theirs, for that of one picture is noisy (their section 6.3.2).
One change for all pictures needs a latent space in which "smiling" lies in the same direction everywhere. Where it is
curved (a mouth on a turned head is elsewhere), `near` takes each picture's own: the means of those most like it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.errors import ReverieError
from reverie.tasks.attributes import attribute, attributes_of
from reverie.tasks.pictures import Pictures, some
from reverie.tasks.space import Name, space_of

LEAST = 3  # pictures in a term
DEAD = 1e-2  # of the largest deviation; a dimension that varies less says little, and must not be blown up
SHARE = 0.2  # of the pictures have a low, or a high, value of an attribute that is no class


@dataclass(frozen=True)
class Term:
    """``sign`` times the mean latent of what ``name`` says: an attribute or class, or not ("low"), or a place."""

    sign: int  # 1 or -1
    name: str


def parse(expression: str) -> list[Term]:
    """The terms of "a - b + c"; signs stand between spaces, so that names may hold a hyphen."""
    words = expression.split()
    signs = [i for i, word in enumerate(words) if word in ("+", "-")]
    edges = [*([] if signs[:1] == [0] else [-1]), *signs, len(words)]  # -1: a plus that nobody wrote
    terms = [
        Term(-1 if start >= 0 and words[start] == "-" else 1, " ".join(words[start + 1 : end]))
        for start, end in pairwise(edges)
    ]
    if not all(term.name for term in terms):
        raise ReverieError(f"'{expression}' is no sum; write an expression such as 'smile - smile:low + curly'.")
    return terms


def chosen(dataset: Pictures, name: str, most: int, seed: int = 0) -> NDArray[np.int64] | None:
    """Up to ``most`` pictures of a set with the attribute ``name``: of a class, or the fifth with its highest values.

    ``name:low`` is the opposite: the others, or the fifth with its lowest. A value that more than a fifth share is
    taken by all of them, unless it is the opposite extreme. None where the name is no attribute.
    """
    plain, _, which = name.partition(":")
    if plain not in attributes_of(dataset) or which not in ("", "low", "high"):
        return None
    values = attribute(dataset, plain)
    if which == "low":
        values = -values
    bound, lowest = np.quantile(values, 1 - SHARE), values.min()
    # Where nearly all share the lowest value (a class of few), it is the bound, and no extreme.
    members = np.flatnonzero(values >= bound if bound > lowest else values > lowest)
    return members[some(members, most, seed)]


def total(terms: Sequence[tuple[int, Tensor]]) -> Tensor:
    """The sum of sign x mean over each term's latents (n, ...): (...). Each needs at least `LEAST` of them."""
    for _, latents in terms:
        if len(latents) < LEAST:
            raise ReverieError(f"Each term needs at least {LEAST} pictures, and one has {len(latents)}.")
    return torch.stack([sign * latents.mean(0) for sign, latents in terms]).sum(0)


def near(terms: Sequence[tuple[int, Tensor]], latents: Tensor, count: int) -> Tensor:
    """For each of ``latents`` (N, ...), the `total` of those ``count`` of each term that are nearest to it: (N, ...).

    Distances are in standard deviations of the terms' latents. A term of fewer is taken whole.
    """
    if count < LEAST:
        raise ReverieError(f"A term's nearest must be at least {LEAST} pictures, not {count}.")
    deviation = torch.cat([part for _, part in terms]).flatten(1).std(0)
    deviation = deviation.clamp_min(DEAD * float(deviation.max()) + 1e-12)
    here = latents.flatten(1) / deviation
    nearest = [
        torch.cdist(here, part.flatten(1) / deviation).topk(min(count, len(part)), largest=False).indices
        for _, part in terms
    ]
    changes = [
        total([(sign, part[rows[i]]) for (sign, part), rows in zip(terms, nearest, strict=True)])
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
    return space_of(model, space, "do arithmetic").pictures(latents + strength * change, labels, batch)
