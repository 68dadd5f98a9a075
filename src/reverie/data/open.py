"""`open_dataset`: a `Dataset` from a path, an array, a list of images or another data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, Union

import numpy as np

from reverie.data import arrays, build, hub, items, memory, pack, pairs
from reverie.data.arrange import arranged, outside
from reverie.data.arrays import Arrays
from reverie.data.dataset import Dataset, Packed
from reverie.data.files import Files
from reverie.data.fingerprint import hash_of
from reverie.data.options import DataOptions
from reverie.data.sources import MEMORY, Source, find, is_path
from reverie.data.splits import Division, divide
from reverie.errors import ReverieError
from reverie.scale import Scale

DEFAULTS = DataOptions()


class Items(Protocol):
    """An array, a tensor, a list, or a map-style data set."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> Any: ...


Data = Union[str, "os.PathLike[str]", Items, Dataset]


def open_dataset(
    data: Data,
    options: DataOptions = DEFAULTS,
    *,
    cache: Path | None = None,
    progress: build.Progress | None = None,
    scales: Sequence[Scale] | None = None,
    check: bool = False,
    layout: str | None = None,
) -> Dataset:
    """All pictures of a source as a `Dataset`; its method `split` gives the training ones.

    ``data`` is one of

    - a spec: a folder, a zip or tar of one, an .npz, an idx file, ``hf:owner/name``, ``digits``, ``faces``; or a path;
    - a NumPy array or torch tensor, (N, H, W), (N, H, W, C) or (N, C, H, W), distinguished by its shape or by
      ``layout`` ("NHW", "NHWC" or "NCHW"; overrides ``options.layout``): uint8, or floats in [0, 1] or [-1, 1], or
      other values if ``options.range`` gives their range. It is not copied, and must not be changed;
    - a list of PIL images;
    - ``(pictures, labels)`` of these, with labels (N,), integers or names;
    - a map-style torch data set, or anything with ``__len__`` and ``__getitem__``: see `reverie.data.items`;
    - a `Dataset` or `DatasetDict` of Hugging Face's `datasets`;
    - a reverie `Dataset`, which is returned unchanged.

    On first use, files are decoded into a pack in the cache (`pack.cache_folder`), with ``progress(done, total)``;
    later the pack is mapped into memory. Its key is made of the bytes of the files (`reverie.data.fingerprint`) and the
    options. With ``check`` every file is read and decoded again, and the notes of ``found`` say whether the pack was
    right. With ``options.pair`` each picture has two sides, and the result is a `reverie.data.pairs.Pairs`. ``scales``
    are those of a run, for pictures that are to be read as its own were; they override data.depth and data.range.
    Raises ReverieError if there are no pictures, or if the data is ambiguous.
    """
    if layout is not None:
        options = replace(options, layout=layout)
    if isinstance(data, Dataset):
        if options not in (DEFAULTS, data.options):
            raise ReverieError(f"{data.spec} is opened already, with options of its own; leave these out.")
        return data
    cache = cache or pack.cache_folder()
    # A trained model may be given pictures of only one of its classes; for training there are at least two classes.
    least = 1 if scales is not None and not options.pair else 2
    spec, given = _given(data, options, cache, progress, least)
    if options.stream and (given is None or not given.streamed):
        if scales is None:
            raise ReverieError(
                f"data.stream reads the items of a torch data set anew, and {spec} is none; leave it out."
            )
        options = replace(options, stream=False)  # the option was for the run's own data
    opener = Opener(spec, options, cache, progress, scales, check, given)
    if options.pair:
        return pairs.open_pairs(opener)
    return opener.open(opener.find(), options, scales[0] if scales else None)


@dataclass(frozen=True)
class Opener:
    """Opens the pictures of one source, with the arguments of `open_dataset`."""

    spec: str
    options: DataOptions
    cache: Path
    progress: build.Progress | None = None
    scales: Sequence[Scale] | None = None  # of a run, for pictures that are to be read as its own were
    check: bool = False
    given: Source | None = None  # data in memory, which the spec only describes

    def find(self) -> Source:
        """The source that the spec names. Raises ReverieError if there is none."""
        return self.given or find(self.spec, self.options, self.cache, not self.check)

    def open(self, source: Source, options: DataOptions, scale: Scale | None = None, *, arrange: bool = True) -> Packed:
        """All pictures of a source from its pack, which is created if needed; arrays in memory need none.

        ``scale`` overrides data.depth and data.range. With ``arrange=False`` the splits and classes that the source
        gives to its files are kept.
        """
        known = source.key
        if source.in_memory:
            with source.read() as content:
                assert isinstance(content, Arrays)
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

    def _in_place(self, given: Arrays, options: DataOptions, scale: Scale | None) -> pack.InPlace | None:
        """Arrays in memory in place of a pack; None if they must be resized or converted, which a pack does once."""
        given = arrays.limited(given, options)
        target = arrays.target_of_arrays(self.spec, given, options, scale)
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
                content = arrays.limited(content, options)
                target = arrays.target_of_arrays(self.spec, content, options, scale)
                index = build.build_arrays(content, target, writer, self.progress)
            writer.finish(index)

    def _mended(self, opened: pack.Pack, source: Source, options: DataOptions, arrange: bool) -> bool:
        """Whether a file that could not be read when the pack was made can be read now: then the pack is made again."""
        if not opened.index["failed"]:
            return False
        with source.read() as content:
            if not isinstance(content, Files):
                return False
            content = arranged(self.spec, content, options) if arrange else content
            return build.readable(content, set(opened.index["failed"]), opened.target)


def spec_of(data: Data) -> str:
    """The name of data in a run's config.json: the spec of files, else a word for its type. Nothing is read."""
    if isinstance(data, str | os.PathLike):
        path = os.fspath(data)
        # A path object never means built-in data or the Hub.
        return path if isinstance(data, str) or is_path(path) else os.path.join(".", path)
    if isinstance(data, Dataset):
        return data.spec
    pictures: Any = data
    if isinstance(data, tuple) and len(data) == 2 and memory.are_pictures(data[0]):
        pictures = data[0]
    if memory.is_array(pictures):
        return MEMORY + ("array" if isinstance(pictures, np.ndarray) else "tensor")
    if memory.are_pictures(pictures):
        return f"{MEMORY}pictures"
    return MEMORY + ("huggingface" if hub.is_given(data) else type(data).__name__)


def _given(
    data: Data, options: DataOptions, cache: Path, progress: build.Progress | None, least: int
) -> tuple[str, Source | None]:
    """The spec of data, and its source if it is in memory; None for files.

    Labels of fewer classes than ``least`` are dropped.
    """
    spec = spec_of(data)
    if isinstance(data, str | os.PathLike):
        return spec, None
    pictures: Any = data
    labels = None
    if isinstance(data, tuple) and len(data) == 2 and memory.are_pictures(data[0]):
        pictures, labels = data
    if memory.is_array(pictures):
        return spec, _source(memory.from_array(spec, pictures, labels, options.layout, least))
    if memory.are_pictures(pictures):
        return spec, _source(_counted(memory.from_pictures(spec, pictures, labels, least), least))
    if hub.is_given(data):
        return spec, _source(_counted(memory.digested(hub.files(hub.given(spec, data))), least))
    items.check_items(data)
    return spec, _source(*items.from_items(spec, data, options, cache, progress, least))


def _counted(files: Files, least: int) -> Files:
    """The files, with the class name listed if there is one class and one is enough: it is part of their key."""
    labels = {entry.label for entry in files.entries if entry.label is not None}
    return files if least > 1 or len(labels) != 1 else replace(files, least=least, classes=[*labels])


def _source(content: Files | Arrays, notes: Sequence[str] = ()) -> Source:
    """Data in memory as a source: arrays are used in place, PIL images are packed, with a key from their pixels."""

    def read() -> AbstractContextManager[Files | Arrays]:
        return nullcontext(content)

    if isinstance(content, Files):
        return Source(content.key(), read, notes)
    return Source(None, read, notes, in_memory=True, streamed=content.streamed)
