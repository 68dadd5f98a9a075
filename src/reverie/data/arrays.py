"""Sources that hold arrays: .npz and .npy, scikit-learn's digits and the built-in faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import Half, Pixels
from reverie.data.fingerprint import digest_of, hash_of
from reverie.data.formats import plain
from reverie.data.options import ARRAY_LAYOUTS, MOST_CHANNELS, DataOptions
from reverie.data.splits import spread
from reverie.data.target_format import BYTES, MODES, PictureInfo, TargetFormat, choose_target
from reverie.errors import ReverieError, nearest
from reverie.scale import Kind, Scale, Span, integers_in_memory, kind_of, span_in_memory

Array = NDArray[Any]
IMAGE_KEYS = {"train_images": 0, "x_train": 0, "val_images": 1, "x_val": 1, "test_images": 2, "x_test": 2}
LABEL_KEYS = {"train_labels": 0, "y_train": 0, "val_labels": 1, "y_val": 1, "test_labels": 2, "y_test": 2}
KINDS = {"f": " float", "i": " integer"}  # added to the bit depth in words; nothing for unsigned integers
LAYOUTS = "a single array; images and labels; or train_images, train_labels, test_images and test_labels"


@dataclass(frozen=True)
class Arrays:
    """Pictures of one shape, computed in batches so that the built-in faces need not all be in memory."""

    shape: tuple[int, int, int]  # (C, H, W)
    take: Callable[[NDArray[np.int64]], Pixels]  # indices (n,) -> values of the source (n, C, H, W), a copy
    content: Callable[[int], bytes]  # the bytes whose hash decides the split of picture i
    splits: NDArray[np.int8]  # (N,): 0, 1, 2 for train, validation, test; -1 if unknown
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    depth: str  # bit depth in words, for `reverie data`
    names: Sequence[str]  # (N,): the number of each picture in its source
    said: str = ""  # a description of how they were read
    kind: Kind = "byte"  # of the values
    span: Span = BYTES  # smallest and largest value
    in_memory: bool = False  # an object of the caller: its range is decided by `scale.span_in_memory`
    streamed: bool = False  # read again each time, so that their content is unknown

    def half(self, which: Half) -> Arrays:
        """The left or right half of every picture; the width must be even."""
        channels, height, width = self.shape
        columns = slice(width // 2) if which == "left" else slice(width // 2, None)
        return replace(
            self,
            shape=(channels, height, width // 2),
            take=partial(_columns_of, self.take, columns),
            content=lambda i: self.content(i) + which.encode(),
        )

    def of_class(self, number: int) -> Arrays:
        """The pictures of one class, without labels."""
        return replace(self.chosen(np.flatnonzero(self.labels == number)), labels=None, classes=())

    def of_classes(self, classes: Sequence[str]) -> Arrays:
        """The pictures of these classes, with the classes in this order."""
        assert self.labels is not None
        table = np.full(len(self.classes), -1, np.int64)
        table[[self.classes.index(name) for name in classes]] = np.arange(len(classes))
        labels = table[self.labels]
        kept = np.flatnonzero(labels >= 0)
        return replace(self.chosen(kept), labels=labels[kept], classes=tuple(classes))

    def chosen(self, rows: NDArray[np.int64]) -> Arrays:
        """The pictures with these indices (n,), with their labels."""
        return replace(
            self,
            take=partial(_rows_of, self.take, rows),
            content=lambda i: self.content(rows[i]),
            splits=self.splits[rows],
            labels=None if self.labels is None else self.labels[rows],
            names=[self.names[i] for i in rows.tolist()],
        )

    def digest(self) -> str:
        """A digest of the values, labels and splits."""
        labels = None if self.labels is None else self.labels.tolist()
        pictures = [digest_of(self.content(i)) for i in range(len(self.splits))]
        values = self.shape, self.kind, self.depth, self.span, pictures
        return hash_of((values, self.splits.tolist(), labels, self.classes))


# Functions, not closures, so that a data set in memory can be pickled for the workers of a DataLoader


def _columns_of(take: Callable[[NDArray[np.int64]], Pixels], columns: slice, wanted: NDArray[np.int64]) -> Pixels:
    return take(wanted)[..., columns]


def _rows_of(take: Callable[[NDArray[np.int64]], Pixels], rows: NDArray[np.int64], wanted: NDArray[np.int64]) -> Pixels:
    return take(rows[wanted])


def _from_parts(images: Sequence[Array], starts: NDArray[np.int64], wanted: NDArray[np.int64]) -> Pixels:
    """Pictures by index (n,) from the concatenation of ``images``, whose parts begin at the indices ``starts``."""
    if len(images) == 1:
        return plain(images[0][wanted])
    part_of = np.searchsorted(starts, wanted, "right") - 1
    pixels = np.empty((len(wanted), *images[0].shape[1:]), plain(images[0][:0]).dtype)
    for number, (part, start) in enumerate(zip(images, starts, strict=True)):
        chosen = part_of == number
        pixels[chosen] = plain(part[wanted[chosen] - start])
    return pixels


def arranged(what: str, given: Arrays, options: DataOptions) -> Arrays:
    """The pictures of the classes in the options. Raises ReverieError for options that apply to files only."""
    for name, value, fitting in (
        ("layout", options.layout, ("auto", *ARRAY_LAYOUTS)),
        ("labels", options.labels, ("",)),
        ("split", options.split, ("",)),
    ):
        if value not in fitting:
            raise ReverieError(f"data.{name}={value} is of picture files, and {what} holds arrays; leave it out.")
    if not options.classes:
        return given
    if unknown := [name for name in options.class_names() if name not in given.classes]:
        known = nearest(unknown[0], given.classes) if given.classes else "; its pictures have no classes."
        raise ReverieError(f"{what} has no class '{unknown[0]}'{known}")
    return given.of_classes(options.class_names())


def from_npz(path: Path, layout: str = "auto") -> Arrays:
    """Arrays from a .npy file, or a .npz with the names in `LAYOUTS`. Raises ReverieError if it is ambiguous."""
    try:
        if path.suffix.lower() == ".npy":
            # Memory-mapped: only the parts that are used are loaded.
            return from_parts(str(path), [(-1, np.load(path, mmap_mode="r", allow_pickle=False), None)], layout)
        with np.load(path, allow_pickle=False) as archive:
            known = [name for name in archive.files if name in IMAGE_KEYS or name in LABEL_KEYS]
            if not known:
                known = [name for name in archive.files if name in ("images", "labels")]
            if "images" not in known and not any(name in IMAGE_KEYS for name in known) and len(archive.files) == 1:
                known = archive.files
            arrays = {name: archive[name] for name in known}
            names = ", ".join(archive.files) or "nothing"
    except ReverieError:
        raise
    except Exception as why:  # numpy and zipfile raise many types of errors on damaged files
        hint = (
            "object arrays are never loaded: save numbers" if "pickle" in str(why) else "save it again with numpy.savez"
        )
        raise ReverieError(f"Cannot read {path} ({' '.join(str(why).split())}); {hint}.") from why
    if len(arrays) == 1 and not set(arrays) & {*IMAGE_KEYS, *LABEL_KEYS, "labels"}:
        return from_parts(str(path), [(-1, next(iter(arrays.values())), None)], layout)
    if "images" in arrays:
        return from_parts(str(path), [(-1, arrays["images"], arrays.get("labels"))], layout)
    images = {IMAGE_KEYS[name]: array for name, array in arrays.items() if name in IMAGE_KEYS}
    labels = {LABEL_KEYS[name]: array for name, array in arrays.items() if name in LABEL_KEYS}
    if 0 not in images:
        raise ReverieError(f"{path} holds {names}; expected is {LAYOUTS}.")
    return from_parts(str(path), [(split, images[split], labels.get(split)) for split in sorted(images)], layout)


def from_digits() -> Arrays:
    """scikit-learn's 1,797 real handwritten digits, 8x8, 17 levels."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return from_parts("digits", [(-1, images, digits.target)])


def from_faces(count: int, height: int, width: int) -> Arrays:
    """The built-in faces 0 .. count - 1, drawn at height x width."""
    from reverie.data import faces

    factors = faces.draw_factors(np.arange(count))
    return Arrays(
        shape=(3, height, width),
        take=lambda wanted: faces.render(factors[wanted], height, width),
        content=lambda i: factors[i].tobytes(),
        splits=np.full(count, -1, np.int8),
        labels=np.asarray(faces.labels(factors), np.int64),
        classes=tuple(faces.CLASSES),
        depth="8 bits",
        names=[str(i) for i in range(count)],
    )


def face_factors(numbers: NDArray[np.int64]) -> Mapping[str, NDArray[np.float32]]:
    """The ground-truth factors of the built-in faces with these numbers (N,): name -> (N,)."""
    from reverie.data import faces

    factors = faces.draw_factors(numbers)
    return {factor.name: factors[:, i] for i, factor in enumerate(faces.FACTORS)}


def from_parts(what: str, parts: list[tuple[int, Array, Array | None]], layout: str = "auto", least: int = 2) -> Arrays:
    """Arrays from (split, images, labels) of each split; ``what`` names the source in errors.

    ``layout`` is the order of the axes, as data.layout. Labels of fewer classes than ``least`` are dropped.
    """
    last = channels_last(what, parts[0][1], layout)
    images, depths = [], set()
    for _, array, _ in parts:
        if array.ndim != parts[0][1].ndim:
            raise ReverieError(f"{what} holds splits of different shapes, {parts[0][1].shape} and {array.shape}.")
        images.append(as_pictures(array, last))
        depths.add(bits_of(array))
    if 0 in images[0].shape[1:]:
        raise ReverieError(f"{what} holds an array of shape {parts[0][1].shape}, in which pictures have no pixels.")
    if len({part.shape[1:] for part in images}) > 1:
        raise ReverieError(f"{what} holds splits of different shapes, {images[0].shape[1:]} and {images[1].shape[1:]}.")
    if len({plain(part[:0]).dtype for part in images}) > 1:
        raise ReverieError(f"{what} holds splits of different types, {images[0].dtype} and {images[1].dtype}.")
    starts = np.cumsum([0, *(len(part) for part in images)])
    take = partial(_from_parts, images, starts[:-1])
    labels, classes = labels_of(what, [(len(array), given) for _, array, given in parts], least)
    return Arrays(
        shape=images[0].shape[1:],
        take=take,
        content=lambda i: take(np.array([i])).tobytes(),
        splits=np.concatenate([np.full(len(array), split, np.int8) for split, array, _ in parts]),
        labels=labels,
        classes=classes,
        depth=", ".join(sorted(depths)),
        names=[str(i) for i in range(starts[-1])],
        kind=kind_of(images[0]),
        span=_span(what, images),
    )


def bits_of(array: Array) -> str:
    """The bit depth of an array in words."""
    return "1 bit" if array.dtype == bool else f"{array.dtype.itemsize * 8} bits{KINDS.get(array.dtype.kind, '')}"


def _span(what: str, images: Sequence[Array]) -> Span:
    """The smallest and the largest value. Raises ReverieError if they are not finite."""
    filled = [part for part in images if part.size]
    if not filled:
        return BYTES
    ends = [float(plain(np.asarray(end))) for part in filled for end in (part.min(), part.max())]
    low, high = float(np.min(ends)), float(np.max(ends))
    if not (abs(low) < np.inf and abs(high) < np.inf):
        raise ReverieError(f"{what} holds values from {low:g} to {high:g}; only finite numbers are understood.")
    return low, high


def channels_last(what: str, array: Array, layout: str = "auto") -> bool | None:
    """Whether the axes are (N, H, W, C), not (N, C, H, W); None for (N, H, W). Raises ReverieError if ambiguous."""
    if array.dtype.kind not in "buif":
        raise ReverieError(f"{what} holds values of type {array.dtype}; only numbers make pictures.")
    if layout in ARRAY_LAYOUTS:
        axes = ARRAY_LAYOUTS[layout]
        if array.ndim != len(axes) or dict(zip(axes, array.shape, strict=True)).get("C", 1) > MOST_CHANNELS:
            raise ReverieError(
                f"{what} holds an array of shape {array.shape}, which is not ({', '.join(axes)}) with at most "
                f"{MOST_CHANNELS} channels, as data.layout={layout} says."
            )
        return None if layout == "nhw" else layout == "nhwc"
    if array.ndim == 3:
        return None
    if array.ndim != 4:
        raise ReverieError(
            f"{what} holds an array of shape {array.shape}; expected is (N, H, W), (N, H, W, C) or (N, C, H, W)."
        )
    first, last = array.shape[1], array.shape[3]
    for usual in (range(1, MOST_CHANNELS + 1), (1, 3, 4)):
        if (first in usual) != (last in usual):
            return last in usual
    raise ReverieError(
        f"{what} holds an array of shape {array.shape}, where it is unclear which axis holds the channels (1 to "
        f"{MOST_CHANNELS}); say data.layout=nhwc or nchw."
    )


def as_pictures(array: Array, last: bool | None) -> Array:
    """A view (N, C, H, W) of an array; ``last`` is the result of `channels_last`."""
    if last is None:
        return array[:, None]
    return array.transpose(0, 3, 1, 2) if last else array


def labels_of(
    what: str, parts: list[tuple[int, Array | None]], least: int = 2
) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
    """The labels (N,) as class numbers, and the sorted class names, from (number of pictures, labels) of each part.

    (None, ()) if a part has no labels, or if there are fewer classes than ``least``. Raises ReverieError for labels of
    a wrong shape or type.
    """
    given = [(count, labels) for count, labels in parts if labels is not None]
    if len(given) != len(parts):
        return None, ()
    columns = []
    for count, labels in given:
        column = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
        if column.shape != (count,) or column.dtype.kind not in "iuUS":
            raise ReverieError(
                f"{what} holds labels of shape {labels.shape} and type {labels.dtype} for {count} pictures; "
                f"expected is one integer or name for each picture."
            )
        columns.append(np.char.decode(column, "utf-8", "replace") if column.dtype.kind == "S" else column)
    found, numbers = np.unique(np.concatenate(columns), return_inverse=True)
    if len(found) < least:
        return None, ()
    return numbers.astype(np.int64), tuple(str(value) for value in found)


def limited(arrays: Arrays, options: DataOptions) -> Arrays:
    """The pictures, at most ``options.limit``."""
    numbers = spread(range(len(arrays.splits)), arrays.names, options.limit)
    return arrays if len(numbers) == len(arrays.splits) else arrays.chosen(np.array(numbers, np.int64))


def target_of_arrays(what: str, arrays: Arrays, options: DataOptions, scale: Scale | None = None) -> TargetFormat:
    """As `choose_target`. Raises ReverieError if there are no pictures, or if the channels cannot be converted."""
    if not len(arrays.splits):
        raise ReverieError(f"{what} holds no pictures.")
    channels, height, width = arrays.shape
    span = arrays.span
    if arrays.in_memory and arrays.kind == "float":
        span = span_in_memory(what, span, options.range, scale)
        scale = None if scale is None else Scale(scale.depth, "float", *span)
    elif arrays.in_memory and arrays.kind == "integer" and scale is not None and scale.kind != "integer":
        scale = Scale(scale.depth, "integer", *integers_in_memory(what, span, scale))
    target = choose_target([PictureInfo("", channels, height, width, 8, arrays.kind, span)], options, scale)
    if target.channels != channels and not (channels in MODES and target.channels in MODES):
        raise ReverieError(
            f"{what} has {channels} channels, which cannot become {target.channels}; leave out data.channels."
        )
    return target
