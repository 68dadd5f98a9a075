"""Data sets from the Hugging Face Hub or a folder in its layout, through the optional ``datasets`` package."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

from reverie.data.files import FileEntry, Files
from reverie.data.fingerprint import identify
from reverie.data.layouts import SPLIT_ALIASES
from reverie.errors import ReverieError

Loaded = dict[str, tuple[Any, str, str | None]]  # split -> (its rows, the picture column, the label column)


def load(spec: str) -> Loaded:
    """The splits by name, with pictures still encoded, of a data set of the Hub or of a local folder.

    Works offline if it is in the cache of `datasets`. Raises ReverieError if it cannot be loaded.
    """
    try:
        import datasets
    except ImportError as why:
        raise ReverieError(f"{spec} needs the datasets package; install it with: pip install 'reverie[hub]'") from why
    name, _, config = spec.removeprefix("hf:").partition("@")
    if not name:
        raise ReverieError("hf: names no data set; write hf:owner/name, or hf:owner/name@config.")
    try:
        loaded = datasets.load_dataset(name, config or None)
    except Exception as why:  # the hub, the network and file formats raise many types of errors
        first = (str(why).strip() or type(why).__name__).splitlines()[0]
        raise ReverieError(
            f"Cannot load {spec} ({first}); check the name, the network, and that you may read it."
        ) from why
    return {split: (part, *_columns(spec, datasets, part)) for split, part in loaded.items()}


def is_given(data: object) -> bool:
    """Whether data is a `Dataset` or `DatasetDict` of the ``datasets`` package without a custom transform.

    One with a transform is read item by item instead (`reverie.data.items`), as the transform changes its pictures.
    """
    datasets = sys.modules.get("datasets")  # imported already if data is one of its objects
    if datasets is None or not isinstance(data, (datasets.Dataset, datasets.DatasetDict)):
        return False
    parts = data.values() if isinstance(data, datasets.DatasetDict) else [data]
    return not any(part.format["type"] == "custom" for part in parts)


def given(spec: str, data: Any) -> Loaded:
    """The splits of a data set in memory, as `load` returns them. Raises ReverieError for unusable labels."""
    import datasets

    parts = dict(data) if isinstance(data, datasets.DatasetDict) else {"train": data}
    plain = {split: part.with_format(None) for split, part in parts.items()}
    found = {split: (part, *_columns(spec, datasets, part)) for split, part in plain.items()}
    for part, _, label in found.values():
        for value in [] if label is None else part[label]:
            if not isinstance(value, Integral | str | None):
                raise ReverieError(
                    f"{spec} has labels of type {type(value).__name__}; give whole numbers or "
                    "names, or remove that column."
                )
    return found


def _columns(spec: str, datasets: Any, part: Any) -> tuple[str, str | None]:
    """The names of the picture column, and of the label column if there is exactly one candidate."""
    images = [name for name, kind in part.features.items() if isinstance(kind, datasets.Image)]
    if len(images) != 1:
        held = ", ".join(part.features) or "nothing"
        count = "no column" if not images else f"{len(images)} columns"
        raise ReverieError(f"{spec} has {count} of pictures (its columns: {held}); exactly one is expected.")
    labels = [name for name, kind in part.features.items() if isinstance(kind, datasets.ClassLabel)]
    if len(labels) != 1:
        labels = [name for name in labels or part.features if name in ("label", "labels")]
    return images[0], labels[0] if len(labels) == 1 else None


def key(spec: str, loaded: Loaded, cache: Path) -> object:
    """A key that changes with the bytes of the files of the data set."""
    from datasets import Image

    paths = [str(Path(file["filename"]).resolve()) for part, *_ in loaded.values() for file in part.cache_files]
    for part, column, _ in loaded.values():
        pictures = part.select_columns([column]).cast_column(column, Image(decode=False))
        if len(pictures) and pictures[0][column] and pictures[0][column]["bytes"] is None:  # pictures in separate files
            cells = (row[column] for row in pictures)
            paths += [os.path.abspath(cell["path"]) for cell in cells if cell and os.path.isfile(cell["path"] or "")]
    known = identify(Path("/"), [(path, os.stat(path)) for path in paths], cache, place=spec, named=False)
    return known.key, [(split, len(part), columns) for split, (part, *columns) in loaded.items()]


def files(loaded: Loaded) -> Files:
    """The rows as files named split/number; ``split`` is -1 if its name is not train, validation or test."""
    from datasets import Image

    found = Files(said="classes and splits of the data set")
    named = len(loaded) > 1
    for split, (part, column, label) in loaded.items():
        pictures = part.select_columns([column]).cast_column(column, Image(decode=False))
        labels = [None] * len(part) if label is None else list(part[label])
        names = getattr(part.features[label], "names", None) if label is not None else None
        if names:
            found.classes = list(names)
        for row, number in enumerate(labels):
            known = number is not None and number != -1  # the hub uses -1 for a missing label
            text = (names[number] if names else str(number)) if known else None
            split_number = SPLIT_ALIASES.get(split, -1) if named else -1
            found.entries.append(FileEntry(f"{split}/{row}", partial(_read, pictures, row, column), split_number, text))
    unknown = sum(entry.label is None for entry in found.entries)
    if 0 < unknown < len(found.entries):
        found.notes.append(f"without a label are {unknown} of {len(found.entries)} pictures, so labels are not used")
    if unknown:
        found.entries = [replace(entry, label=None) for entry in found.entries]
    return found


def _read(pictures: Any, row: int, column: str) -> bytes:
    picture = pictures[row][column]
    if picture is None:
        return b""
    return bytes(picture["bytes"]) if picture["bytes"] is not None else Path(picture["path"]).read_bytes()
