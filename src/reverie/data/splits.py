"""Which pictures of a source are used, and in which split: by the hash of what they hold or are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from reverie.data.fingerprint import digest_of
from reverie.data.layouts import ALSO_TEST
from reverie.data.options import DataOptions

T = TypeVar("T")

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Division:
    """Which rows of a pack are in which split."""

    rows: Mapping[Split, NDArray[np.int64]]  # of "all", too
    notes: list[str]  # on what stands in for what
    content: str  # changes with the pictures and with whatever else decided this


def spread(items: Sequence[T], names: Sequence[str], limit: int) -> list[T]:
    """``limit`` of the items (0: all) by the hash of their names, so not only of the first class; in their order."""
    if not limit or limit >= len(items):
        return list(items)
    ranks = sorted(range(len(items)), key=lambda i: digest_of(names[i].encode(errors="surrogateescape")))
    return [items[i] for i in sorted(ranks[:limit])]


def divide(index: dict[str, Any], options: DataOptions) -> tuple[dict[Split, NDArray[np.int64]], list[str]]:
    """Rows of each split, and notes on what stands in for what.

    A held-out split that the source does not have is taken from its training pictures by the hash of their content:
    more files move none of the old ones, and equal files stay together.
    """
    own = np.array(index["splits"], np.int8)
    place = np.array(index["draws"], np.float64) / 2**32
    chosen = np.where(own == ALSO_TEST, 2, np.maximum(own, 0))
    if not (own == 2).any():
        chosen[(own <= 0) & (place < options.test)] = 2
    if not (own == 1).any():
        chosen[(own <= 0) & (place >= 1 - options.validation)] = 1
    rows: dict[Split, NDArray[np.int64]] = {name: np.flatnonzero(chosen == i) for i, name in enumerate(SPLITS)}
    notes = []
    if not len(rows["train"]):
        rows["train"] = np.arange(len(own))
        notes.append("too few pictures to hold any out: all are used for training")
    if not len(rows["validation"]):
        rows["validation"] = rows["train"]
        notes.append("no validation pictures: the training pictures stand in")
    if not len(rows["test"]):
        rows["test"] = rows["validation"]
        notes.append("no test pictures: the validation pictures stand in")
    twins = np.array(index.get("twins") or np.empty((0, 2)), np.int64)
    for number, name in enumerate(SPLITS[1:], 1):
        parted = (chosen[twins] == (number, 0)) | (chosen[twins] == (0, number))
        if copies := int(parted.all(1).sum()):
            some = f"1 picture of the {name} split is" if copies == 1 else f"{copies} pictures of the {name} split are"
            notes.append(f"{some} also in the training split, pixel for pixel")
    return rows, notes
