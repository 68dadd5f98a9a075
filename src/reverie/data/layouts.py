"""Folder layouts: how folder names give the split, the class and the side of a picture (see the table `LAYOUTS`).

Folders that contain everything are ignored. ``data.layout`` names a row of the table; "auto" takes the first that fits,
and raises ReverieError if two would fit, as a guess could be wrong unnoticed. Pictures that a layout leaves out are
counted and reported.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from reverie.errors import ReverieError

SPLIT_ALIASES = {"train": 0, "training": 0, "val": 1, "valid": 1, "validation": 1, "test": 2, "testing": 2}
YEAR = re.compile(r"[ _-]?[0-9]{4}$")  # as in train2017
SPLIT_NAMES = ("train", "validation", "test")
ALSO_TEST = 3  # test pictures, in addition to those held out from training: see `splits.divide`
SIDED = re.compile(
    rf"(?:({'|'.join(SPLIT_ALIASES)})[ _-]?([ab])|([ab])[ _-]({'|'.join(SPLIT_ALIASES)}))", re.IGNORECASE
)
GROUND_TRUTH = frozenset(("ground_truth", "ground-truth", "groundtruth"))
MASKS = frozenset(("mask", "masks", "annotations"))
IMAGES = frozenset(
    ("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "input", "inputs", "data")
)
NORMAL = frozenset(("good", "normal", "ok"))

Path = list[str]  # a file's folders and its name


@dataclass(frozen=True)
class Reading:
    """The splits and classes of files by a layout."""

    splits: list[int]  # 0, 1, 2 for train, validation, test; -1 if unknown; or ALSO_TEST
    labels: list[str | None]  # class names; None for all or for none
    left: dict[int, str] = field(default_factory=dict)  # files that are left out -> the reason
    said: str = ""  # a description


@dataclass(frozen=True)
class Layout:
    """A row of the table."""

    meaning: str
    read: Callable[[list[Path]], Reading | None]  # None if the files do not have this layout


def split_of(folder: str) -> int:
    """0, 1, 2 for a folder named train, val(idation) or test, perhaps with a year; -1 for others."""
    return SPLIT_ALIASES.get(YEAR.sub("", folder).lower(), -1)


def _flat(paths: list[Path]) -> Reading:
    return Reading([-1] * len(paths), [None] * len(paths), said="no classes")


def _classes(paths: list[Path]) -> Reading | None:
    """The first folder is the class; files outside of folders are left out."""
    outside = {i: "outside any class" for i, path in enumerate(paths) if len(path) == 1}
    labels = [None if len(path) == 1 else path[0] for path in paths]
    names = {label for label in labels if label is not None}
    if len(names) < 2:
        return None
    return Reading([-1] * len(paths), labels, outside, f"{len(names)} classes from folders")


def _splits(paths: list[Path]) -> Reading | None:
    """The first folder is named train, val(idation) or test; files elsewhere are left out."""
    splits = [split_of(path[0]) if len(path) > 1 else -1 for path in paths]
    if all(split == -1 for split in splits):
        return None
    outside = {i: "outside train, validation and test" for i, split in enumerate(splits) if split == -1}
    return Reading(splits, [None] * len(paths), outside, f"{_named(splits)} from folders")


def _splits_classes(paths: list[Path]) -> Reading | None:
    """Folders of splits that contain folders of classes."""
    outer = _splits(paths)
    if outer is None:
        return None
    kept = [i for i in range(len(paths)) if i not in outer.left]
    inner = _classes([paths[i][1:] for i in kept])
    if inner is None:
        return None
    inner = _among(inner, kept, len(paths), outer.left)
    return replace(inner, splits=outer.splits, said=f"{inner.said}; {outer.said}")


def _among(inner: Reading, kept: Sequence[int], count: int, left: dict[int, str]) -> Reading:
    """The reading of the files ``kept`` as one of all ``count`` files; the others are ``left`` out."""
    splits, labels = [-1] * count, list[str | None]([None] * count)
    for i, split, label in zip(kept, inner.splits, inner.labels, strict=True):
        splits[i], labels[i] = split, label
    return Reading(splits, labels, left | {kept[i]: why for i, why in inner.left.items()}, inner.said)


def _sides(paths: list[Path]) -> Reading | None:
    """trainA, trainB, testA, testB without data.pair: the sides become classes."""
    sides = [found for path in paths if len(path) > 1 and (found := side_and_split(path[0])) is not None]
    if not paths or len(sides) < len(paths):
        return None
    splits = [SPLIT_ALIASES[split] for _, split in sides]
    labels: list[str | None] = [side for side, _ in sides]
    said = f"classes A and B; {_named(splits)} from folders; data.pair=folders or data.pair=unpaired pairs them"
    return Reading(splits, labels, {}, said) if len(set(labels)) == 2 else None


def _defects(paths: list[Path]) -> Reading | None:
    """Normal pictures and classes of defects, with or without masks: only normal ones are for training."""
    masks = _masks(paths)
    kept = [i for i in range(len(paths)) if i not in masks]
    unwrapped = _unwrapped([paths[i] for i in kept])
    inner = _splits_classes(unwrapped)
    if inner is None and (inner := _classes(unwrapped)) is not None:
        extra = [ALSO_TEST if label is not None and label.lower() not in NORMAL else -1 for label in inner.labels]
        inner = replace(inner, splits=extra, said=f"{inner.said}; only normal pictures are for training")
    if inner is None or not any(label is not None and label.lower() in NORMAL for label in inner.labels):
        return None
    return _among(inner, kept, len(paths), masks)


LAYOUTS = {
    "flat": Layout("every picture, wherever it lies; no classes, no splits", _flat),
    "classes": Layout("a folder for each class", _classes),
    "splits": Layout("folders train, val and test", _splits),
    "splits-classes": Layout("train/CLASS, val/CLASS, test/CLASS", _splits_classes),
    "sides": Layout("trainA, trainB, testA, testB (train_A, train-A, A_train)", _sides),
    "defects": Layout("train/good, test/good, test/DEFECT, ground_truth/DEFECT; or good, DEFECT and masks", _defects),
}


def arrange(names: Sequence[str], layout: str = "auto", what: str = "The data") -> Reading:
    """The splits and class names of files from their paths. Raises ReverieError if they are ambiguous."""
    paths = [name.split("/") for name in names]
    if layout == "flat":
        return _found(_flat(paths), paths)
    if layout == "auto":
        return _found(_auto(paths, what), paths)
    found = LAYOUTS[layout].read(paths if layout == "defects" else _unwrapped(paths))
    if found is None or not any(i not in found.left for i in range(len(paths))):
        raise ReverieError(f"{what} does not lie as data.layout={layout} says: {LAYOUTS[layout].meaning}.")
    return _found(found, paths)


def _auto(paths: list[Path], what: str) -> Reading:
    masks = _masks(paths)
    if masks and (found := _defects(paths)) is not None:
        return found
    tops = {path[0] for path in _unwrapped(paths) if len(path) > 1}
    maybe = {name for name in tops if name.lower() in MASKS}
    if masks and len(tops) == 2 and len(maybe) == 1 and not {name.lower() for name in tops - maybe} & IMAGES:
        raise ReverieError(
            f"{what} could mean two things, as {min(maybe)} may be a class or hold masks of {min(tops - maybe)}: "
            "data.layout=classes takes both as classes, data.pair=folders pairs them; else give the one folder alone."
        )
    kept = [i for i in range(len(paths)) if i not in masks]
    inner = _plain(_unwrapped([paths[i] for i in kept]), what)
    return _among(inner, kept, len(paths), masks)


def _plain(paths: list[Path], what: str) -> Reading:
    """The layout of files without masks."""
    folders = {path[0] for path in paths if len(path) > 1}
    tops, others = {split_of(name) for name in folders} - {-1}, {name for name in folders if split_of(name) == -1}
    if (sides := _sides(paths)) is not None:
        return sides
    # A folder named train without another split, but among other folders, is a class (say of vehicles).
    if (0 in tops and len(tops) > 1) or (tops and not others):
        found = _splits_classes(paths) or _splits(paths)
        assert found is not None
        name = "splits-classes" if any(found.labels) else "splits"
    else:
        found, name = _classes(paths), "classes"
    if found is None:
        return _flat(paths)
    if 2 * len(found.left) >= len(paths):
        raise ReverieError(
            f"{what} could mean two things, as {len(found.left)} of {len(paths)} pictures lie "
            f"{next(iter(found.left.values()))}: data.layout={name} leaves them out, data.layout=flat takes all."
        )
    return found


def _found(reading: Reading, paths: list[Path]) -> Reading:
    """The reading with a description of what was left out, and without labels if there is only one class."""
    labels = {label for i, label in enumerate(reading.labels) if i not in reading.left}
    if len(labels - {None}) < 2:
        reading = replace(reading, labels=[None] * len(paths))
    counts = Counter(reading.left.values())
    said = [reading.said, *(f"{n} picture{'s' * (n != 1)} {why} left out" for why, n in counts.items())]
    return replace(reading, said="; ".join(said))


def _masks(paths: list[Path]) -> dict[int, str]:
    """Files that are masks of other pictures: in ground_truth, or with the names of pictures in other folders."""
    said = {i: "of masks" for i, path in enumerate(paths) if any(part.lower() in GROUND_TRUTH for part in path[:-1])}
    tops = {part for path in paths for part in path[:-1]}
    maybe = {part for part in tops if part.lower() in MASKS or re.sub(r"[-_]masks$", "", part) in tops - {part}}
    if maybe:
        stems = {_stem(path) for path in paths if not maybe & set(path[:-1])}
        inside = [i for i, path in enumerate(paths) if maybe & set(path[:-1])]
        if 2 * sum(_stem(paths[i]) in stems for i in inside) > len(inside):
            said |= dict.fromkeys(inside, "of masks")
    return said if len(said) < len(paths) else {}


def _stem(path: Path) -> str:
    return re.sub(r"[-_]mask$", "", os.path.splitext(path[-1])[0])


def _named(splits: Sequence[int]) -> str:
    there = [name for number, name in enumerate(SPLIT_NAMES) if number in splits]
    return ", ".join(there)


def _unwrapped(paths: list[Path]) -> list[Path]:
    while paths and all(len(path) > 1 for path in paths) and len({path[0] for path in paths}) == 1:
        paths = [path[1:] for path in paths]
    return paths


# Sides of pairs


@dataclass(frozen=True)
class Place:
    """The position of a file in a source that has a folder for each side of pairs."""

    side: str  # the folder of the side; "" if the file is in none
    split: int  # as in `Reading`
    key: str  # the path without side and extension, NFC-normalised: equal for two partners


def side_and_split(name: str) -> tuple[str, str] | None:
    """("A", "train") for trainA, train_A, train-a or A_train; None for other names."""
    match = SIDED.fullmatch(name)
    if match is None:
        return None
    side, split = (match[2], match[1]) if match[2] else (match[3], match[4])
    return side.upper(), split.lower()


def places(names: Sequence[str]) -> list[Place]:
    """The side, split and key of files from their paths; there may be more or fewer than two sides.

    Folders that contain everything are ignored. The folder of a side may contain those of splits (A/train), be inside
    them (train/A), or be the same (trainA).
    """
    paths = _unwrapped([name.split("/") for name in names])
    sided = {path[0]: side_and_split(path[0]) for path in paths}
    if all(path[0].lower() in SPLIT_ALIASES for path in paths):
        paths = [[path[1], path[0].lower(), *path[2:]] if len(path) > 2 else ["", *path] for path in paths]
    elif all(sided.values()):
        paths = [[*(sided[path[0]] or ()), *path[1:]] for path in paths]
    else:
        paths = [path if len(path) > 1 else ["", *path] for path in paths]
    divided = all(len(path) > 2 and path[1].lower() in SPLIT_ALIASES for path in paths)
    return [
        Place(
            path[0],
            SPLIT_ALIASES[path[1].lower()] if divided else -1,
            unicodedata.normalize("NFC", os.path.splitext("/".join(path[1:]))[0]),
        )
        for path in paths
    ]
