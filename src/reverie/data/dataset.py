"""Pictures that a training loop can index: of a pack, or where they lie in memory."""

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
    """Pictures of one shape, with labels where the source has them: of a pack, or the pairs of `reverie.data.pairs`.

    It is a map-style data set of torch, too: a `torch.utils.data.DataLoader` takes it as it is.
    """

    def __init__(
        self, spec: str, options: DataOptions, found: dict[str, Any], unreadable: list[tuple[str, str]]
    ) -> None:
        self.spec = spec
        self.options = options
        self.found = found  # counts for people: sizes, modes, bits, classes, splits, notes
        self.unreadable = unreadable  # the name of each such file, and why

    @property
    def said(self) -> str:
        """In one line, how the source was read: what its folders or tables said, what was left out, what is odd."""
        unreadable = len(self.unreadable)
        some = [f"{unreadable} unreadable, as {self.unreadable[0][0]}"] if unreadable else []
        return f"reading {self.spec}: " + "; ".join([self.found["read as"], *self.found["notes"], *some])

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Tensor | tuple[Tensor, int]:
        """(picture, label) where there are labels, else the picture: float32, (C, H, W), in [-1, 1].

        Negative numbers count from the end. Raises IndexError beyond the ends, TypeError for what is no whole number.
        """
        found: Tensor | tuple[Tensor, int] = self.__getitems__([number])[0]
        return found

    def __getitems__(self, numbers: Sequence[int]) -> list[Any]:
        """Several at once, which is how a DataLoader asks for a batch."""
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
        """Channels, height, width and class names."""

    @property
    @abstractmethod
    def labels(self) -> NDArray[np.int64] | None:
        """(N,), or None where the source has no classes."""

    @property
    @abstractmethod
    def names(self) -> Sequence[str]:
        """Of each picture: its path inside the source, or its number there."""

    @property
    @abstractmethod
    def digests(self) -> Sequence[str]:
        """Of each picture: what changes with the bytes of its file."""

    @property
    @abstractmethod
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        """Attributes, name -> (N,): the ground truth of the built-in faces, or a table's; None where there are none."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes with the pictures, labels, shape and split; not with names or the place on disk.

        Of what is `streamed` it says so, the number of pictures and their shape, and no more.
        """

    @property
    def streamed(self) -> bool:
        """Whether pictures are read anew each time, so that nothing is known of what they hold."""
        return self.fingerprint.startswith(pack.STREAMED)

    @abstractmethod
    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        """(n, C, H, W), uint8, uint16 or float32 in [0, 1] by the depth of `image_spec`; a copy."""

    which: Split = "all"  # of the splits, or all

    @abstractmethod
    def split(self, which: Split) -> Dataset:
        """The training, validation or test pictures. One that is empty stands in for by another; `found` says so."""


class Packed(Dataset):
    """The pictures of a pack, which `split` and the rest share."""

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
        self.rows = division.rows[which]  # (N,): the number of each picture in the pack
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
        """(N, 2): height and width of each picture in its file."""
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
        """All of the division's rows, in its splits."""
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
