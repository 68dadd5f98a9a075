"""What tasks and evaluation ask of a set of pictures, and how they read it in batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.data.decode import Pixels
from reverie.data.pictures import to_tensor
from reverie.engine.phase import Facts, Model
from reverie.engine.randomness import derive
from reverie.errors import ReverieError
from reverie.tasks.labels import classes_of, label_number


class Pictures(Protocol):
    """A set of pictures by number: `reverie.data.Dataset`, or anything of its shape."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        """(n, C, H, W)."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) class numbers, or None."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each picture, (N,)."""

    @property
    def facts(self) -> Facts:
        """Shape and class names."""


class Subset:
    """The pictures ``rows`` (N,) of a set, in that order, as a set."""

    def __init__(self, dataset: Pictures, rows: NDArray[np.int64]) -> None:
        self.dataset, self.rows, self.facts = dataset, rows, dataset.facts
        self.labels = None if dataset.labels is None else dataset.labels[rows]

    @property
    def names(self) -> Sequence[str]:
        return [self.dataset.names[row] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        return self.dataset.batch(self.rows[indices])


def without(dataset: Pictures, *others: Pictures) -> Subset:
    """The pictures of a set that are in none of ``others``, which are parts of the same source: told by their names."""
    taken = {name for other in others for name in other.names}
    rows = [row for row, name in enumerate(dataset.names) if name not in taken]
    return Subset(dataset, np.array(rows, np.int64))


def some(dataset: Sized, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of ``count`` pictures of the data set (all, where it has no more), drawn by ``seed``, ascending.

    Drawn, not taken at equal distances or from the start: the classes of a set may take turns, or come one by one.
    """
    drawn = np.random.default_rng(derive(seed, "some")).permutation(len(dataset))[:count]
    return np.sort(drawn)


@dataclass(frozen=True)
class Read:
    """One batch out of a set of pictures, on the model's device."""

    indices: NDArray[np.int64]  # (n,)
    images: Tensor  # (n, C, H, W) in [-1, 1]
    labels: Tensor | None  # (n,) int64; None where the model takes no labels


def device_of(model: object) -> torch.device:
    """The device that a model's weights are on."""
    first = next(model.parameters(), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def check_shape(model: object, shape: Sequence[int]) -> None:
    """ReverieError where a model of the registry takes pictures of another (C, H, W)."""
    if isinstance(model, Model) and tuple(shape) != model.facts.shape:
        theirs, mine = ("x".join(map(str, each)) for each in (shape, model.facts.shape))
        raise ReverieError(
            f"The pictures are {theirs} (channels x height x width), and {type(model).__name__} takes {mine}; open "
            "them with these, say by data.size and data.channels."
        )


def model_labels(
    model: object, dataset: Pictures, indices: NDArray[np.int64] | None = None
) -> NDArray[np.int64] | None:
    """Labels of the pictures ``indices`` (default: all) of a set in the *model's* numbering, matched by class name.

    None where the model takes no labels.
    """
    classes = classes_of(model)
    if not classes:
        return None
    if dataset.labels is None:
        raise ReverieError(f"{type(model).__name__} needs class labels, and this data has none.")
    known = dataset.facts.classes or classes
    present = np.unique(dataset.labels)
    table = np.zeros(len(known), np.int64)
    table[present] = [label_number(known[i], classes) for i in present]
    return table[dataset.labels if indices is None else dataset.labels[indices]]


def read(
    model: object, dataset: Pictures, batch: int = 256, indices: NDArray[np.int64] | None = None
) -> Iterator[Read]:
    """The pictures ``indices`` (default: all), in that order, with their labels where the model takes labels."""
    check_shape(model, dataset.facts.shape)
    device = device_of(model)
    labels = model_labels(model, dataset)
    chosen = np.arange(len(dataset)) if indices is None else indices
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        images = to_tensor(dataset.batch(part)).to(device)
        yield Read(part, images, None if labels is None else torch.from_numpy(labels[part]).to(device))
