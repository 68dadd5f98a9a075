"""`open_dataset`: from a path or a name to pictures that a training loop can index."""

from __future__ import annotations

import hashlib
import os
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reverie.data import arrays, build, pack
from reverie.data.decode import Pixels
from reverie.data.files import PICTURES, Files, files_in_folder, files_in_tar, files_in_zip, is_tar, walk
from reverie.data.options import DataOptions, parse_size
from reverie.errors import ReverieError, nearest

if TYPE_CHECKING:
    from reverie.engine.phase import Facts

Split = Literal["train", "validation", "test", "all"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")
BUILT_IN = ("digits", "faces")
FACES_SIZE = "64"
DEFAULTS = DataOptions()


@dataclass(frozen=True)
class Source:
    """Where pictures come from: a key that changes when they do, and a way to read them, used only where no pack is."""

    key: object
    read: Callable[[], AbstractContextManager[Files | arrays.Arrays]]


@dataclass(frozen=True)
class Division:
    """Which rows of a pack are in which split."""

    rows: Mapping[Split, NDArray[np.int64]]  # of "all", too
    notes: list[str]  # on what stands in for what
    content: str  # changes with the pictures and with whatever else decided this


class Dataset(ABC):
    """Pictures of one shape, with labels where the source has them: of a pack, or the pairs of `reverie.data.pairs`."""

    def __init__(
        self, spec: str, options: DataOptions, found: dict[str, Any], unreadable: list[tuple[str, str]]
    ) -> None:
        self.spec = spec
        self.options = options
        self.found = found  # counts for people: sizes, modes, bits, classes, splits, notes
        self.unreadable = unreadable  # the name of each such file, and why

    @abstractmethod
    def __len__(self) -> int: ...

    @property
    @abstractmethod
    def facts(self) -> Facts:
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
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        """The ground truth of the built-in faces, name -> (N,); None for anything else."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes with the pictures, labels, shape and split; not with names or the place on disk."""

    @property
    @abstractmethod
    def digests(self) -> Sequence[str]:
        """Of each picture: what changes with its content."""

    @abstractmethod
    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        """uint8 (n, C, H, W), a copy."""

    @abstractmethod
    def split(self, which: Split) -> Dataset:
        """The training, validation or test pictures. One that is empty stands in for by another; `found` says so."""


class Packed(Dataset):
    """The pictures of a pack, which `split` and the rest share."""

    def __init__(
        self,
        spec: str,
        options: DataOptions,
        opened: pack.Pack,
        division: Division,
        found: dict[str, Any],
        which: Split = "all",
    ) -> None:
        super().__init__(spec, options, found, [(name, why) for name, why in opened.index["unreadable"]])
        self.pack = opened
        self.rows = division.rows[which]  # (N,): the number of each picture in the pack
        self._division, self._which = division, which

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def facts(self) -> Facts:
        from reverie.engine.phase import Facts

        return Facts(*self.pack.plan.shape, classes=tuple(self.pack.index["classes"]))

    @cached_property
    def labels(self) -> NDArray[np.int64] | None:
        labels = self.pack.index["labels"]
        return None if labels is None else np.array(labels, np.int64)[self.rows]

    @cached_property
    def names(self) -> Sequence[str]:
        names = self.pack.index["names"]
        return [names[row] for row in self.rows]

    @cached_property
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        if not is_faces(self.spec):
            return None
        return arrays.face_factors(np.array([int(name) for name in self.names], np.int64))

    @cached_property
    def fingerprint(self) -> str:
        parts = (self._division.content, self.options.validation, self.options.test, self._which)
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    @property
    def digests(self) -> Sequence[str]:
        draws = self.pack.index["draws"]
        return [f"{draws[row]:08x}" for row in self.rows]

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        return self.pack.read(self.rows[indices])

    def split(self, which: Split) -> Packed:
        if which not in self._division.rows:
            raise ReverieError(f"There is no split '{which}'{nearest(which, self._division.rows)}")
        return Packed(self.spec, self.options, self.pack, self._division, self.found, which)

    def divided(self, division: Division) -> Packed:
        """All of the division's rows, in its splits."""
        return Packed(self.spec, self.options, self.pack, division, _found(self.pack.index, division))


def open_dataset(
    spec: str,
    options: DataOptions = DEFAULTS,
    *,
    cache: Path | None = None,
    progress: build.Progress | None = None,
) -> Dataset:
    """All pictures of a source; `Dataset.split` then takes the training ones.

    A spec is a folder, a zip or tar of one, an .npz, an idx file, ``hf:owner/name``, ``digits`` or ``faces``. The first
    use decodes into a pack in the cache (`pack.cache_folder`), calling ``progress(done, total)``; later ones map it.
    The pack's key is made of names, sizes and times of change (and, for single files, of their first and last bytes).
    With ``options.pair`` each picture has two sides, and what comes back is a `reverie.data.pairs.Pairs`.
    Raises ReverieError where there is nothing to read.
    """
    if options.pair:
        from reverie.data import pairs

        return pairs.open_pairs(spec, options, cache, progress)
    return open_source(spec, find(spec, options), options, cache, progress)


def open_source(
    spec: str, source: Source, options: DataOptions, cache: Path | None, progress: build.Progress | None
) -> Packed:
    """All pictures of a source, out of its pack, which is made where there is none."""
    key = (pack.MAGIC.hex(), source.key, options.size, options.fit, options.channels, options.limit)
    path = (cache or pack.cache_folder()) / f"{hashlib.blake2b(repr(key).encode(), digest_size=16).hexdigest()}.pack"
    opened = pack.open_pack(path)
    if opened is None:
        with pack.writing(path) as writer, source.read() as content:
            if isinstance(content, Files):
                index = build.build_files(spec, content, options, writer, progress)
            else:
                index = build.build_arrays(spec, content, options, writer, progress)
            writer.finish(index)
        opened = pack.open_pack(path)
        if opened is None:
            raise ReverieError(
                f"The cache at {path.parent} does not keep what is written; set REVERIE_CACHE to another folder."
            )
    rows, notes = divide(opened.index, options)
    division = Division({**rows, "all": np.arange(len(opened.index["names"]))}, notes, opened.index["content"])
    return Packed(spec, options, opened, division, _found(opened.index, division))


def divide(index: dict[str, Any], options: DataOptions) -> tuple[dict[Split, NDArray[np.int64]], list[str]]:
    """Rows of each split, and notes on what stands in for what.

    A held-out split that the source does not have is taken from its training pictures by the hash of their content:
    more files move none of the old ones, and equal files stay together.
    """
    own = np.array(index["splits"], np.int8)
    place = np.array(index["draws"], np.float64) / 2**32
    chosen = np.maximum(own, 0)
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
    return rows, notes


def _found(index: dict[str, Any], division: Division) -> dict[str, Any]:
    rows = division.rows["all"]
    labels = np.array(index["labels"] or [], np.int64)
    counts = np.bincount(labels[rows] if len(labels) else labels, minlength=len(index["classes"]))
    return {
        "pictures": len(rows),
        **index["found"],
        "unreadable": len(index["unreadable"]),
        "classes": {name: int(count) for name, count in zip(index["classes"], counts, strict=True)},
        "splits": {name: len(division.rows[name]) for name in SPLITS},
        "notes": division.notes,
    }


def is_faces(spec: str) -> bool:
    """Whether a spec means the built-in faces."""
    return spec == "faces" or spec.startswith("faces:")


def find(spec: str, options: DataOptions) -> Source:
    """What a spec means. Raises ReverieError where that is nothing."""
    if spec == "digits":
        return Source("digits", lambda: nullcontext(arrays.from_digits()))
    if is_faces(spec):
        return _faces(spec, options)
    if spec.startswith("hf:"):
        from reverie.data import hub

        loaded = hub.load(spec)
        return Source(hub.key(loaded), lambda: nullcontext(hub.files(loaded)))
    if not spec.strip():
        raise ReverieError("The name of the data is empty; give a folder, an archive, or digits or faces.")
    path = Path(spec)
    try:
        path = path.expanduser()
        exists = path.exists()
    except (OSError, ValueError, RuntimeError):  # a name too long or with a zero byte, the home of an unknown user
        exists = False
    if not exists:
        raise ReverieError(_unknown(spec, path))
    try:
        return _at(path)
    except OSError as why:
        raise ReverieError(f"Cannot read {spec} ({why.strerror}); check its permissions.") from why


def _at(path: Path) -> Source:
    if path.is_dir():
        listed = list(walk(path))
        times = [(name, facts and (facts.st_size, facts.st_mtime_ns)) for name, facts in listed]
        return Source(times, lambda: nullcontext(files_in_folder(path, listed)))
    if not path.is_file():
        raise ReverieError(f"{path} is neither a file nor a folder.")
    key = (path.suffix, _file_key(path))
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return Source((path.name, key), lambda: nullcontext(files_in_folder(path.parent, [(path.name, path.stat())])))
    if suffix in (".npz", ".npy"):
        return Source(key, lambda: nullcontext(arrays.from_npz(path)))
    if suffix == ".zip" or zipfile.is_zipfile(path):
        return Source(key, lambda: files_in_zip(path))
    if arrays.is_idx(path):
        keys = [_file_key(file) for file in arrays.idx_files(path)]
        return Source(keys, lambda: nullcontext(arrays.from_idx(path)))
    if ".tar" in path.suffixes or suffix in (".tgz", ".tbz", ".tbz2", ".txz") or is_tar(path):
        return Source(key, lambda: files_in_tar(path))
    raise ReverieError(
        f"{path} is of no known kind; give a folder of pictures, a .zip or .tar of one, an .npz, or an idx .gz file."
    )


def _file_key(path: Path) -> object:
    facts = path.stat()
    with path.open("rb") as stream:
        head = stream.read(65536)
        stream.seek(max(0, facts.st_size - 65536))
        tail = stream.read()
    return facts.st_size, facts.st_mtime_ns, hashlib.blake2b(head + tail).hexdigest()


def _faces(spec: str, options: DataOptions) -> Source:
    from reverie.data import faces, paint

    size = options.size if options.size != "auto" else spec.partition(":")[2] or FACES_SIZE
    height, width = parse_size(size, "Faces of size ")
    drawing = Path(faces.__file__).read_bytes() + Path(paint.__file__).read_bytes()
    code = hashlib.blake2b(drawing).hexdigest()  # drawn anew when the drawing changes
    return Source(
        ("faces", code, options.count, height, width),
        lambda: nullcontext(arrays.from_faces(options.count, height, width)),
    )


def _unknown(spec: str, path: Path) -> str:
    shown = spec if len(spec) <= 200 else spec[:200] + "..."
    if os.sep not in spec and not path.suffix:
        hint = nearest(spec, [*BUILT_IN, *_beside(path)])
        known = "; give a path, hf:owner/name, digits or faces."
        return f"There is no folder or data called '{shown}'{hint if 'did you mean' in hint else known}"
    hint = nearest(path.name, _beside(path))
    where = "" if path.parent.is_dir() else f", nor its folder {path.parent}"
    return f"There is no {shown}{where}{hint if 'did you mean' in hint else '; check the path.'}"


def _beside(path: Path) -> list[str]:
    try:
        return [child.name for child in path.parent.iterdir() if not child.name.startswith(".")][:1000]
    except (OSError, ValueError):
        return []
