"""Select pictures by the hash of their names (data.limit), and divide them into splits by the hash of their content."""

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
    """The rows of a pack in each split."""

    rows: Mapping[Split, NDArray[np.int64]]  # also of "all"
    notes: list[str]  # on empty splits and on duplicates
    content: str  # a digest of the pictures and of the division


def spread(items: Sequence[T], names: Sequence[str], limit: int) -> list[T]:
    """``limit`` of the items (0: all), chosen by the hash of their names, so from all classes; in their order."""
    if not limit or limit >= len(items):
        return list(items)
    ranks = sorted(range(len(items)), key=lambda i: digest_of(names[i].encode(errors="surrogateescape")))
    return [items[i] for i in sorted(ranks[:limit])]


def divide(index: dict[str, Any], options: DataOptions) -> tuple[dict[Split, NDArray[np.int64]], list[str]]:
    """The rows of each split, and notes on empty splits and duplicates.

    A held-out split that the source does not have is taken from its training pictures by the hash of their content:
    adding files does not move others to another split, and equal files are in the same one.
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
