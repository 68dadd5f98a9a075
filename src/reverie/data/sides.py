"""Select the pictures of side A or B from a source of pairs: halves, folders, or classes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from reverie.data.arrange import arranged, natural
from reverie.data.arrays import Arrays
from reverie.data.decode import Half
from reverie.data.files import FileEntry, Files
from reverie.data.layouts import places
from reverie.data.options import DataOptions
from reverie.data.sources import Source
from reverie.data.splits import spread
from reverie.errors import ReverieError, nearest

Content = Files | Arrays

HALVES: tuple[Half, Half] = ("left", "right")
ALONE = "has no partner on the other side"


@contextmanager
def side(spec: str, options: DataOptions, source: Source, number: int) -> Iterator[Content]:
    """Yield the pictures of side A (0) or B (1) of the source."""
    with source.read() as content:
        if options.pair == "halves":
            whole = arranged(spec, content, options) if isinstance(content, Files) else content
            yield _half(spec, whole, HALVES[number])
        elif isinstance(content, Arrays):
            yield _class_of_arrays(spec, content, options, number)
        elif not content.entries:
            yield content  # `build_files` raises the error
        elif options.pair == "unpaired":
            yield _unpaired(spec, content, options, number)
        else:
            yield _folder(spec, content, options, number)


def _in_order(spec: str, names: Sequence[str], options: DataOptions) -> list[str]:
    """The names of the sides, A first: as data.sides says, else in the order of ``names``."""
    asked = options.side_names()
    if unknown := [name for name in asked if name not in names]:
        raise ReverieError(f"{spec} has no side '{unknown[0]}'{nearest(unknown[0], names)}")
    return asked or list(names)


def _said(how: str, order: Sequence[str], options: DataOptions) -> str:
    a, b = order
    by = "as data.sides says" if options.sides else f"in their usual order; data.sides={b},{a} exchanges them"
    return f"{how}: A is {a}, B is {b} ({by})"


def _half(spec: str, content: Content, half: Half) -> Content:
    if isinstance(content, Files):
        return replace(content, entries=[replace(entry, half=half) for entry in content.entries])
    if content.shape[2] % 2:
        raise ReverieError(f"{spec} has pictures that are {content.shape[2]} pixels wide; halves need an even width.")
    return content.half(half)


def _class_of_arrays(spec: str, arrays: Arrays, options: DataOptions, number: int) -> Arrays:
    if options.pair == "folders":
        raise ReverieError(f"{spec} has no folders to pair; data.pair=folders takes a folder or an archive of two.")
    _check_two(spec, 0 if arrays.labels is None else len(np.unique(arrays.labels)))
    order = _in_order(spec, arrays.classes, options)
    side = arrays.of_class(arrays.classes.index(order[number]))
    return replace(side, said=_said("unpaired classes", order, options))


def _check_two(spec: str, classes: int) -> None:
    if classes != 2:
        raise ReverieError(
            f"data.pair=unpaired takes two folders or exactly two classes, one for each side; {spec} has "
            f"{classes or 'no'} class{'es' * (classes != 1)}."
        )


def _unpaired(spec: str, files: Files, options: DataOptions, number: int) -> Files:
    """The files of one of two folders, or otherwise of one of two classes."""
    folders = _folders(files)
    if options.sides and folders.keys() >= set(options.side_names()):
        folders = {name: folders[name] for name in options.side_names()}
    if _are_two(folders):
        _refuse_unasked(options)
        order = _in_order(spec, natural(folders), options)
        said = _said("unpaired", order, options)
        return replace(files, entries=[entry for _, entry in folders[order[number]]], said=said)
    files = arranged(spec, files, options)
    labels = {entry.label for entry in files.entries if entry.label is not None}
    if options.sides:
        labels &= set(options.side_names())
    _check_two(spec, len(labels))
    known = [name for name in files.classes if name in labels]
    order = _in_order(spec, known or natural(labels), options)
    chosen = [replace(entry, label=None) for entry in files.entries if entry.label == order[number]]
    return replace(files, entries=chosen, said=_said("unpaired classes", order, options))


def _folder(spec: str, files: Files, options: DataOptions, number: int) -> Files:
    """The files of one of two folders that have a partner in the other; the rest is listed as unreadable."""
    folders = _folders(files)
    if options.sides and folders.keys() >= set(options.side_names()):
        folders = {name: folders[name] for name in options.side_names()}
    if not _are_two(folders):
        raise ReverieError(
            f"data.pair=folders takes pictures in exactly two folders, one for each side; {_told(spec, folders)}."
        )
    _refuse_unasked(options)
    first, second = order = _in_order(spec, natural(folders), options)
    own: dict[str, FileEntry] = {}
    unreadable = list(files.unreadable)
    for key, entry in folders[(first, second)[number]]:
        if own.setdefault(key, entry) is not entry:
            same = os.path.splitext(entry.name)[0] == os.path.splitext(own[key].name)[0]
            what = "extension" if same else "Unicode form"
            unreadable.append((entry.name, f"differs from {own[key].name} in its {what} alone"))
    partners = {key for key, _ in folders[(second, first)[number]]}
    common = [key for key in own if key in partners]
    if not common:
        examples = " and ".join(folders[name][0][1].name for name in (first, second))
        raise ReverieError(
            f"No picture in {first} has the name of one in {second}, as partners must have; in {spec} there are "
            f"{examples}."
        )
    unreadable += [(entry.name, ALONE) for key, entry in own.items() if key not in partners]
    chosen = [own[key] for key in spread(common, common, options.limit)]
    said = _said("pairs by name", order, options)
    return replace(files, entries=chosen, unreadable=unreadable, said=said)


def _refuse_unasked(options: DataOptions) -> None:
    """Raise ReverieError for options on splits and classes, which do not apply if the folders are the sides."""
    for name, value, usual in (
        ("layout", options.layout, "auto"),
        ("classes", options.classes, ""),
        ("labels", options.labels, ""),
        ("split", options.split, ""),
    ):
        if value != usual:
            raise ReverieError(f"data.{name}={value} says nothing of two folders of pairs; leave it out.")


def _folders(files: Files) -> dict[str, list[tuple[str, FileEntry]]]:
    """(key, entry) of the files in each folder that may be a side, "" for files in none; see `places`."""
    found: dict[str, list[tuple[str, FileEntry]]] = {}
    for entry, place in zip(files.entries, places([entry.name for entry in files.entries]), strict=True):
        found.setdefault(place.side, []).append((place.key, replace(entry, split=place.split, label=None)))
    return found


def _are_two(folders: dict[str, list[tuple[str, FileEntry]]]) -> bool:
    return len(folders) == 2 and "" not in folders


def _told(spec: str, folders: dict[str, list[tuple[str, FileEntry]]]) -> str:
    names = sorted(folders.keys() - {""})
    if len(names) > 2:
        return f"{spec} has {len(names)}: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"
    example = folders[""][0][1].name if "" in folders else folders[names[0]][0][1].name
    return (
        f"{example} in {spec} lies in neither"
        if len(names) == 2
        else f"those in {spec}, such as {example}, lie in no such two"
    )
