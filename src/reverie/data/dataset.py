"""Pictures that a training loop can index: of a pack, or where they lie in memory; and how a source is opened."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from operator import index as whole
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reverie.data import arrays, build, pack
from reverie.data.decode import Pixels
from reverie.data.files import Files
from reverie.data.identity import hash_of
from reverie.data.layouts import ALSO_TEST
from reverie.data.options import DataOptions
from reverie.data.reading import arranged, outside
from reverie.data.sources import Source, find, is_faces
from reverie.deprecated import OldName
from reverie.errors import ReverieError, nearest
from reverie.scale import Scale

if TYPE_CHECKING:
    from torch import Tensor

    from reverie.engine.phase import ImageSpec

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Division:
    """Which rows of a pack are in which split."""

    rows: Mapping[Split, NDArray[np.int64]]  # of "all", too
    notes: list[str]  # on what stands in for what
    content: str  # changes with the pictures and with whatever else decided this


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
        from reverie.data.pictures import to_tensor

        count = len(self)
        rows = np.array([whole(number) for number in numbers], np.int64)
        if ((rows < -count) | (rows >= count)).any():
            raise IndexError(f"there are {count} pictures")
        rows %= max(count, 1)
        pictures = list(to_tensor(self.batch(rows)))
        labels = self.labels
        return pictures if labels is None else list(zip(pictures, labels[rows].tolist(), strict=True))

    facts = OldName("facts", "image_spec")

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
        return self.fingerprint.startswith(build.STREAMED)

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
        from reverie.engine.phase import ImageSpec

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
        if content.startswith(build.STREAMED):
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


@dataclass(frozen=True)
class Opener:
    """How the pictures of one source are opened."""

    spec: str
    options: DataOptions
    cache: Path
    progress: build.Progress | None = None
    scales: Sequence[Scale] | None = None  # of a run that pictures shall be read alike for
    check: bool = False
    given: Source | None = None  # what a program has given, where the spec is no more than a word for it

    def find(self) -> Source:
        """What the spec means. Raises ReverieError where that is nothing."""
        return self.given or find(self.spec, self.options, self.cache, not self.check)

    def open(self, source: Source, options: DataOptions, scale: Scale | None = None, *, arrange: bool = True) -> Packed:
        """All pictures of a source, out of its pack, which is made where there is none; arrays in memory need none.

        ``scale`` is over data.depth and data.range. Without ``arrange`` the source has given its files their splits and
        classes already.
        """
        known = source.key
        if source.in_memory:
            with source.read() as content:
                assert isinstance(content, arrays.Arrays)
                content = arrays.arranged(self.spec, content, options) if arrange else content
                held = self._in_place(content, options, scale)
                if held is not None:
                    return self._packed(held, options, source.notes)
                known = content.digest()
        key = (
            *(pack.MAGIC.hex(), known, options.size, options.fit, options.channels, options.limit),
            *(options.layout, options.classes, options.labels, options.split, outside(options)),
            scale or (options.depth, options.range),
        )
        path = self.cache / f"{hash_of(key)}.pack"
        write = partial(self._write, path, source, options, scale, arrange)
        opened = pack.open_pack(path)
        notes = list(source.notes)
        if opened is not None and self.check:
            before = pack.checksums(opened)
            write()
            opened = pack.open_pack(path)
            changed = opened is None or pack.checksums(opened) != before
            notes.append(
                "the pack did not hold what the files hold, and was made anew"
                if changed
                else "the pack holds what the files hold, byte for byte"
            )
        elif opened is None or self._mended(opened, source, options, arrange):
            write()
            opened = pack.open_pack(path)
        if opened is None:
            raise ReverieError(
                f"The cache at {path.parent} does not keep what is written; set REVERIE_CACHE to another folder."
            )
        return self._packed(opened, options, notes)

    def _packed(self, opened: pack.Pack | pack.InPlace, options: DataOptions, notes: Sequence[str]) -> Packed:
        rows, more = divide(opened.index, options)
        division = Division({**rows, "all": np.arange(len(opened.index["names"]))}, more, opened.index["content"])
        return Packed(self.spec, options, opened, division, notes)

    def _in_place(self, given: arrays.Arrays, options: DataOptions, scale: Scale | None) -> pack.InPlace | None:
        """Arrays in memory as a pack would hold them; None where they must be made smaller or otherwise fitted once."""
        given = build.limited(given, options)
        target = build.target_of_arrays(self.spec, given, options, scale)
        if target.shape != given.shape and not given.streamed:
            return None
        return pack.InPlace(build.build_arrays(given, target, None, self.progress), given.take)

    def _write(self, path: Path, source: Source, options: DataOptions, scale: Scale | None, arrange: bool) -> None:
        with pack.writing(path) as writer, source.read() as content:
            if isinstance(content, Files):
                content = arranged(self.spec, content, options) if arrange else content
                index = build.build_files(self.spec, content, options, writer, self.progress, scale)
            else:
                content = arrays.arranged(self.spec, content, options) if arrange else content
                content = build.limited(content, options)
                target = build.target_of_arrays(self.spec, content, options, scale)
                index = build.build_arrays(content, target, writer, self.progress)
            writer.finish(index)

    def _mended(self, opened: pack.Pack, source: Source, options: DataOptions, arrange: bool) -> bool:
        """Whether a file that could not be read when the pack was made can be read now: failures are not remembered."""
        if not opened.index["failed"]:
            return False
        with source.read() as content:
            if not isinstance(content, Files):
                return False
            content = arranged(self.spec, content, options) if arrange else content
            return build.readable(content, set(opened.index["failed"]), opened.target)


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
