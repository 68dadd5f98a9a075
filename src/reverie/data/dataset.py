"""`Dataset`: pictures by index, from a pack or from memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property
from operator import index as whole
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from reverie.data import arrays, pack
from reverie.data.decode import Pixels
from reverie.data.fingerprint import hash_of
from reverie.data.options import DataOptions
from reverie.data.sources import is_faces
from reverie.data.splits import SPLITS, Division, Split
from reverie.deprecated import OldName, accept_old_names
from reverie.errors import ReverieError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from reverie.engine.model import ImageSpec


class Dataset(ABC):
    """Pictures of one shape, with labels if the source has them.

    It is also a map-style torch data set, which a `torch.utils.data.DataLoader` accepts. The subclasses are `Packed`,
    and those for pairs in `reverie.data.pairs`.
    """

    def __init__(
        self, spec: str, options: DataOptions, found: dict[str, Any], unreadable: list[tuple[str, str]]
    ) -> None:
        self.spec = spec
        self.options = options
        self.found = found  # a summary for the user: counts of sizes, modes, bits, classes and splits; notes
        self.unreadable = unreadable  # (name, reason) of each unreadable file

    @property
    def said(self) -> str:
        """One line on how the source was read: classes and splits, what was left out, notes."""
        unreadable = len(self.unreadable)
        some = [f"{unreadable} unreadable, as {self.unreadable[0][0]}"] if unreadable else []
        return f"reading {self.spec}: " + "; ".join([self.found["read as"], *self.found["notes"], *some])

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Tensor | tuple[Tensor, int]:
        """(picture, label) if there are labels, else the picture: float32, (C, H, W), in [-1, 1].

        Negative numbers count from the end. Raises IndexError if out of range, TypeError if not an integer.
        """
        found: Tensor | tuple[Tensor, int] = self.__getitems__([number])[0]
        return found

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Several items at once: a DataLoader calls this for a batch."""
        from reverie.data.image_io import to_tensor

        count = len(self)
        rows = np.array([whole(number) for number in numbers], np.int64)
        if ((rows < -count) | (rows >= count)).any():
            raise IndexError(f"there are {count} pictures")
        rows %= max(count, 1)
        pictures = list(to_tensor(self.batch(rows)))
        labels = self.labels
        return pictures if labels is None else list(zip(pictures, labels[rows].tolist(), strict=True))

    facts = OldName("facts", "image_spec")
    old_names: ClassVar[dict[str, str]] = {"facts": "image_spec"}

    def __init_subclass__(cls, **words: Any) -> None:
        super().__init_subclass__(**words)
        accept_old_names(cls)

    @property
    @abstractmethod
    def image_spec(self) -> ImageSpec:
        """Channels, height, width, class names and scale."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int64] | None:
        """Class numbers (N,), or None if the source has no classes."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """The path of each picture inside the source, or its number there."""

    @property
    @abstractmethod
    def digests(self) -> Sequence[str]:
        """A digest of the file of each picture."""

    @property
    @abstractmethod
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        """Attributes, name -> (N,): the ground truth of the built-in faces, or from a table; None if there are none."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """A digest of the pictures, labels, shape and split; it does not depend on names or the path.

        For `streamed` data it only says so, with the number of pictures and their shape.
        """

    @property
    def streamed(self) -> bool:
        """Whether pictures are read again each time, so that their content is unknown."""
        return self.fingerprint.startswith(pack.STREAMED)

    @abstractmethod
    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        """(n, C, H, W), uint8, uint16 or float32 in [0, 1] by the bit depth of `image_spec`; a copy."""

    which: Split = "all"  # the split that this is

    @abstractmethod
    def split(self, which: Split) -> Dataset:
        """The pictures of a split, or "all". Another split is used for an empty one, which the notes of `found` say."""


class Packed(Dataset):
    """The pictures of a pack; all splits share the pack."""

    def __init__(
        self,
        spec: str,
        options: DataOptions,
        opened: pack.Pack | pack.InPlace,
        division: Division,
        notes: Sequence[str] = (),
        which: Split = "all",
    ) -> None:
        unreadable = [(name, why) for name, why in opened.index["unreadable"]]
        super().__init__(spec, options, _found(opened.index, division, notes), unreadable)
        self.pack = opened
        self.rows = division.rows[which]  # (N,): the row of each picture in the pack
        self._division, self.which, self._notes = division, which, notes

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def image_spec(self) -> ImageSpec:
        from reverie.engine.model import ImageSpec

        return ImageSpec(*self.pack.target.shape, tuple(self.pack.index["classes"]), scales=(self.pack.target.scale,))

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        labels = self.pack.index["labels"]
        return None if labels is None else np.array(labels, np.int64)[self.rows]

    @cached_property
    def names(self) -> Sequence[str]:
        names = self.pack.index["names"]
        return [names[row] for row in self.rows]

    @cached_property
    def digests(self) -> Sequence[str]:
        digests = self.pack.index["digests"]
        return [digests[row] for row in self.rows]

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """(N, 2): original height and width of each picture."""
        sizes = self.pack.index["sizes"]
        if sizes is None:
            height, width = next(iter(self.pack.index["found"]["sizes"])).split("x")
            return np.full((len(self), 2), (int(height), int(width)), np.int64)
        return np.array(sizes, np.int64)[self.rows]

    @cached_property
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        if not is_faces(self.spec):
            given = self.pack.index["factors"]
            return {name: np.array(values, np.float32)[self.rows] for name, values in given.items()} or None
        return arrays.face_factors(np.array([int(name) for name in self.names], np.int64))

    @cached_property
    def fingerprint(self) -> str:
        content = self._division.content
        if content.startswith(pack.STREAMED):
            return f"{content}, {self.which}"
        return hash_of((content, self.options.validation, self.options.test, self.which))

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        return self.pack.read(self.rows[indices])

    def split(self, which: Split) -> Packed:
        if which not in self._division.rows:
            raise ReverieError(f"There is no split '{which}'{nearest(which, self._division.rows)}")
        return Packed(self.spec, self.options, self.pack, self._division, self._notes, which)

    def divided(self, division: Division) -> Packed:
        """The same pack with another division into splits."""
        return Packed(self.spec, self.options, self.pack, division, self._notes)


def _found(index: dict[str, Any], division: Division, notes: Sequence[str]) -> dict[str, Any]:
    rows = division.rows["all"]
    labels = np.array(index["labels"] or [], np.int64)
    counts = np.bincount(labels[rows] if len(labels) else labels, minlength=len(index["classes"]))
    return {
        "pictures": len(rows),
        **index["found"],
        "unreadable": len(index["unreadable"]),
        "classes": {name: int(count) for name, count in zip(index["classes"], counts, strict=True)},
        "splits": {name: len(division.rows[name]) for name in SPLITS},
        "notes": [*notes, *index["notes"], *index["found"]["notes"], *division.notes],
    }
