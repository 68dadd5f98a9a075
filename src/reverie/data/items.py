"""Map-style torch data sets, or other objects with items by index: read once and kept, or streamed.

An item is a picture, ``(picture, label)``, or a dict with a picture under one of `PICTURE_KEYS` and perhaps a label
under one of `LABEL_KEYS`. A picture is a PIL image, a tensor (C, H, W) or (H, W), or an array (H, W), (H, W, C) or
(C, H, W).
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reverie.data import memory
from reverie.data.arrays import Array, Arrays, as_pictures, bits_of, channels_last, from_parts, labels_of
from reverie.data.build import Progress
from reverie.data.decode import Pixels, of_picture, refit, resized
from reverie.data.formats import plain
from reverie.data.options import DataOptions
from reverie.data.splits import spread
from reverie.data.target_format import MODES, TargetFormat
from reverie.errors import ReverieError
from reverie.scale import ROUNDING, SIGNED, UNIT, Span, kind_of, used

PICTURE_KEYS = ("image", "img", "pixel_values")
LABEL_KEYS = ("label", "labels")
PROBES = 16  # items that are read a second time, or inspected before streaming
HELD_BYTES = 2**30  # pictures up to this total size are kept in memory, others in a temporary file
ONCE = (
    "items differ from one read to the next: each is used as it was read first, so that a training cannot be resumed "
    "with items drawn anew (data.stream=true reads them anew each time)"
)
ANEW = "items are read anew each time: what they hold is not known, and a resumed training cannot be exact"
_reading = threading.RLock()  # data sets for DataLoader need not be thread-safe


class Item(NamedTuple):
    """The content of an item."""

    picture: Array  # (C, H, W)
    label: int | str | None


def check_items(data: object) -> None:
    """Raise ReverieError if data is not a map-style data set, or is of an unsupported type."""
    kind = type(data).__name__
    utils = sys.modules.get("torch.utils.data")
    endless = utils is not None and isinstance(data, utils.IterableDataset)
    if isinstance(data, Mapping | bytes | bytearray | int | float | None):
        raise ReverieError(f"Data can't be given as {kind}; give an array, (pictures, labels), or a torch data set.")
    if endless or not (hasattr(data, "__getitem__") and hasattr(data, "__len__")):
        one = "; one picture is given as [picture]" if hasattr(data, "getpixel") else ""
        raise ReverieError(
            f"Data of type {kind} has no items by number; give a map-style data set, which has __len__ and "
            f"__getitem__{one}."
        )
    if isinstance(data, list | tuple) and data and isinstance(data[0], str | Path):
        raise ReverieError("Data can't be given as a list of paths; give the folder of the pictures.")


def from_items(
    what: str, data: Any, options: DataOptions, cache: Path, progress: Progress | None, least: int = 2
) -> tuple[Arrays, list[str]]:
    """The pictures of a map-style data set, and notes. Labels of fewer classes than ``least`` are dropped.

    Items are read once and kept, or with data.stream read each time. data.size is applied to each as it is read.
    """
    count = len(data)
    if not count:
        raise ReverieError(f"{what} holds no pictures.")
    source = _Items(what, data, options)
    if options.stream:
        return _streamed(source, count, options, progress, least), [ANEW]
    limit = 0 if options.pair else options.limit  # for pairs, the limit applies to each side
    numbers = spread(range(count), [str(i) for i in range(count)], limit)
    first = source.read(numbers[0])
    pictures = _room((len(numbers), *first.picture.shape), first.picture.dtype, cache)
    labels = []
    for i, number in enumerate(numbers):
        item = source.read(number) if i else first
        source.check(number, item.picture, first.picture)
        pictures[i] = item.picture
        labels.append(item.label)
        if progress is not None:
            progress(i + 1, len(numbers))
    again = [(i, source.read(numbers[i])) for i in _probes(len(numbers))]
    same = all(np.array_equal(pictures[i], item.picture) and labels[i] == item.label for i, item in again)
    made = from_parts(what, [(-1, pictures, source.column(labels))], "nchw", least)
    named = replace(made, classes=source.class_names(made.classes), names=[str(number) for number in numbers])
    return replace(named, in_memory=True), [] if same else [ONCE]


def _room(shape: tuple[int, ...], dtype: np.dtype[Any], cache: Path) -> Array:
    """An empty array: in memory, or if it is large in a temporary file, deleted when the program ends."""
    if np.prod(shape, dtype=np.int64) * dtype.itemsize <= HELD_BYTES:
        return np.empty(shape, dtype)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache) as file:
            return np.memmap(file, dtype, "w+", shape=shape)
    except OSError as why:
        raise ReverieError(
            f"Cannot write the cache {cache} ({why.strerror}); make room, set REVERIE_CACHE to another folder, or say "
            "data.stream=true."
        ) from why


def _probes(count: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(0, count - 1, PROBES).tolist()})


@dataclass(frozen=True)
class _Items:
    """Reads the items of a data set as pictures."""

    what: str
    data: Any
    options: DataOptions

    def read(self, number: int) -> Item:
        """The item with this number. Raises ReverieError if it cannot be read or holds no picture."""
        try:
            given = self.data[number]
        except IndexError as why:
            raise ReverieError(f"{self.what} says that it holds {len(self.data)} items, and has no {number}.") from why
        except ReverieError:
            raise
        except Exception as why:  # the data set's own code may raise anything
            said = f"{type(why).__name__}: {' '.join(str(why).split())}".removesuffix(": ")
            raise ReverieError(f"Item {number} of {self.what} cannot be read ({said}).") from why
        what = f"Item {number} of {self.what}"
        picture, label = _parts(what, given)
        return Item(self._brought(_picture(what, picture, self.options.layout)), _label(what, label))

    def check(self, number: int, picture: Array, first: Array) -> None:
        """Raise ReverieError if a picture has another shape or type than the first."""
        if picture.shape != first.shape:
            raise ReverieError(
                f"{self.what} holds pictures of different shapes (channels, height, width), {first.shape} and "
                f"{picture.shape} (item {number}); say what they shall become by data.size and data.channels."
            )
        if picture.dtype != first.dtype:
            raise ReverieError(
                f"{self.what} holds pictures of different types, {first.dtype} and {picture.dtype} (item {number}); "
                "give them in one."
            )

    def column(self, labels: Sequence[int | str | None]) -> Array | None:
        """The labels of all items (N,), or None if they have none. Raises ReverieError if only some have one."""
        if all(label is None for label in labels):
            return None
        if None in labels:
            raise ReverieError(f"{self.what} has labels for some items alone; give one to each, or none.")
        return np.asarray(labels)

    def class_names(self, found: tuple[str, ...]) -> tuple[str, ...]:
        """The class names from the data set's ``classes``, or ``found`` if it has no names for all of them."""
        names = _listed_classes(self.data)
        known = {str(number): name for number, name in enumerate(names)}
        return tuple(known[one] for one in found) if known.keys() >= set(found) else found

    def _brought(self, picture: Array) -> Array:
        """Convert to the size and channels in the options, as far as that does not depend on the other pictures."""
        height, width = self.options.fixed_size() or picture.shape[1:]
        channels = self.options.fixed_channels() or len(picture)
        if picture.dtype == np.uint8:
            able = len(picture) in MODES and channels in MODES
            return refit(picture, TargetFormat(channels if able else len(picture), height, width, self.options.fit))
        if self.options.fit == "pad":  # padding needs the value of black, which is not known yet
            return picture
        return resized(picture, TargetFormat(len(picture), height, width, self.options.fit))


def _listed_classes(data: Any) -> Sequence[str]:
    """The class names of a data set, by number; for torch's Subset and ConcatDataset, those of the wrapped data sets.

    Other wrappers are not followed, as they may renumber the classes.
    """
    utils = sys.modules.get("torch.utils.data")
    if utils is not None and isinstance(data, utils.Subset):
        return _listed_classes(data.dataset)
    if utils is not None and isinstance(data, utils.ConcatDataset):
        first, *others = (_listed_classes(each) for each in data.datasets)
        return first if all(each == first for each in others) else ()
    image_spec = getattr(data, "image_spec", None)  # of a reverie `Dataset`
    names = getattr(data if image_spec is None else image_spec, "classes", None)
    named = isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)
    return tuple(names) if names is not None and named else ()


def _parts(what: str, given: Any) -> tuple[Any, Any]:
    """The picture of an item, and its label or None."""
    if isinstance(given, Mapping):
        pictures = [name for name in PICTURE_KEYS if name in given]
        if len(pictures) != 1:
            raise ReverieError(f"{what} holds {', '.join(map(str, given))}, and not one of {', '.join(PICTURE_KEYS)}.")
        return given[pictures[0]], next((given[name] for name in LABEL_KEYS if name in given), None)
    if isinstance(given, tuple | list):
        if len(given) not in (1, 2):
            raise ReverieError(f"{what} is of {len(given)} parts; expected is a picture, or (picture, label).")
        return given[0], given[1] if len(given) == 2 else None
    return given, None


def _picture(what: str, given: Any, layout: str) -> Array:
    """The picture as an array (C, H, W), of its own dtype."""
    if memory.is_picture(given):
        return of_picture(given)
    if not memory.is_array(given):
        raise ReverieError(f"{what} is of type {type(given).__name__}, which is no picture: tensor, array or PIL.")
    array = memory.as_array(given)
    if array.ndim == 2:
        layout = "nhw"
    elif layout == "auto" and memory.is_tensor(given):
        layout = "nchw"
    return plain(as_pictures(array[None], channels_last(what, array[None], layout))[0])


def _label(what: str, given: Any) -> int | str | None:
    if isinstance(given, np.generic) or (memory.is_array(given) and memory.as_array(given).size == 1):
        given = given.item()
    if given is None or isinstance(given, str):
        return given
    if not isinstance(given, Integral):
        raise ReverieError(f"{what} has a label of type {type(given).__name__}; a label is a whole number or a name.")
    return int(given)


# Streaming


@dataclass(frozen=True)
class _Anew:
    """Reads items each time; they must have the shape and type of ``first``, and values within ``span`` if given."""

    items: _Items
    first: Array
    span: Span | None

    def __call__(self, rows: NDArray[np.int64]) -> Pixels:
        pictures = np.empty((len(rows), *self.first.shape), self.first.dtype)
        with _reading:
            for i, row in enumerate(rows.tolist()):
                picture = self.items.read(row).picture
                self.items.check(row, picture, self.first)
                low, high = self.span or (-np.inf, np.inf)
                if picture.min() < low - ROUNDING or picture.max() > high + ROUNDING:
                    raise ReverieError(
                        f"Item {row} of {self.items.what} holds values from {picture.min():g} to {picture.max():g}, "
                        f"and those looked at lie from {low:g} to {high:g}; say what is black and white by data.range."
                    )
                pictures[i] = picture
        return pictures


def _streamed(source: _Items, count: int, options: DataOptions, progress: Progress | None, least: int) -> Arrays:
    """The pictures, read again each time. A few are inspected first, or all if their labels are not listed."""
    probes = _probes(count)
    looked = [source.read(number) for number in probes]
    first = looked[0].picture
    low = float(min(item.picture.min() for item in looked))
    high = float(max(item.picture.max() for item in looked))
    kind, span = kind_of(first), None
    if options.range == "auto":  # the values of all others must lie within this range
        spans: tuple[Span, ...] = (UNIT, SIGNED) if kind == "float" else (used(kind, low, high),)
        span = next((one for one in spans if one[0] - ROUNDING <= low and high <= one[1] + ROUNDING), None)
    column = None if looked[0].label is None else _listed(source.data, count)
    if column is not None and [column[i].item() for i in probes] != [item.label for item in looked]:
        column = None  # the list disagrees with the labels of its items
    if column is None and looked[0].label is not None:
        labels = []
        for number in range(count):
            labels.append(source.read(number).label)
            if progress is not None:
                progress(number + 1, count)
        column = source.column(labels)
    numbers, classes = labels_of(source.what, [(count, column)], least)
    return Arrays(
        shape=(first.shape[0], first.shape[1], first.shape[2]),
        take=_Anew(source, first, span),
        content=lambda i: str(i).encode(),
        splits=np.full(count, -1, np.int8),
        labels=numbers,
        classes=source.class_names(classes),
        depth=bits_of(first),
        names=[str(i) for i in range(count)],
        kind=kind,
        span=(low, high),
        in_memory=True,
        streamed=True,
    )


def _listed(data: Any, count: int) -> Array | None:
    """The labels in a data set's ``targets`` or ``labels``, so that its items need not be read for them."""
    for name in ("targets", "labels"):
        given = getattr(data, name, None)
        column = memory.as_array(given) if memory.is_array(given) else None
        if isinstance(given, list | tuple) and all(isinstance(label, int | str) for label in given):
            column = np.asarray(given)
        if column is not None and column.shape == (count,) and column.dtype.kind in "iuUS":
            return column
    return None
