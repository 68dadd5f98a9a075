"""Assign a split and a class to each picture file: from its folders by a layout, or from a table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from reverie.data.files import FileEntry, Files
from reverie.data.fingerprint import digest_of
from reverie.data.layouts import Reading, arrange
from reverie.data.options import ARRAY_LAYOUTS, DataOptions
from reverie.data.tables import DATASET_JSON, Table, read_labels, read_splits
from reverie.errors import ReverieError, nearest


def arranged(what: str, files: Files, options: DataOptions) -> Files:
    """The files with their splits and classes, without those that are left out; ``said`` describes how.

    Raises ReverieError if the folders are ambiguous, or if a table or class in the options does not exist.
    """
    if not files.entries:
        return files
    if options.layout in ARRAY_LAYOUTS:
        raise ReverieError(
            f"data.layout={options.layout} says how the axes of an array lie, and {what} holds pictures; leave it out."
        )
    entries, names, notes = files.entries, [entry.name for entry in files.entries], list(files.notes)
    if files.said:  # a data set that has classes and splits of its own, from the Hub or in memory
        if options.labels or options.layout != "auto":
            raise ReverieError(f"{what} says its classes and splits itself; leave out data.labels and data.layout.")
        reading = Reading([entry.split for entry in entries], [entry.label for entry in entries], said=files.said)
        table, factors = None, files.factors
    else:
        table = _labels(what, files, options, names)
        reading = _by_folders(what, names, options, table)
        factors = {}
    if table is not None:
        reading, more = _by_table(reading, table, len(names))
        notes += more
        factors = {key: {names[i]: number for i, number in values.items()} for key, values in table.factors.items()}
    if options.split:
        given = read_splits(options.split, _content(what, files, options.split), names)
        left = dict.fromkeys(set(range(len(names))) - given.keys(), f"that {options.split} does not name")
        reading = replace(
            reading,
            splits=[given.get(i, -1) for i in range(len(names))],
            left=reading.left | left,
            said=f"{reading.said}; splits from {options.split}{_told(left)}",
        )
    classes = files.classes
    if options.classes:
        classes = options.class_names()
        there = {label for label in reading.labels if label is not None}
        if unknown := [name for name in classes if name not in there]:
            known = nearest(unknown[0], there) if there else "; its pictures have no classes."
            raise ReverieError(f"{what} has no class '{unknown[0]}'{known}")
        left = {i: "of other classes" for i, label in enumerate(reading.labels) if label not in classes}
        left = {i: why for i, why in left.items() if i not in reading.left}
        reading = replace(reading, left=reading.left | left, said=f"{reading.said}{_told(left)}")
    said = reading.said if files.said else f"{reading.said} (data.layout changes that)"
    kept = [
        FileEntry(entry.name, entry.read, split, label, digest=entry.digest)
        for i, (entry, split, label) in enumerate(zip(entries, reading.splits, reading.labels, strict=True))
        if i not in reading.left
    ]
    return replace(files, entries=kept, classes=classes, factors=factors, said=said, notes=notes)


def outside(options: DataOptions) -> list[object]:
    """Digests of the tables that the options name outside the data; None for one that is not a file there."""
    named = [Path(name).expanduser() for name in (options.labels, options.split) if name]
    return [digest_of(path.read_bytes()).hex() if path.is_file() else None for path in named]


def _by_folders(what: str, names: Sequence[str], options: DataOptions, table: Table | None) -> Reading:
    if table is None or options.layout != "auto":
        return arrange(names, options.layout, what)
    try:  # classes come from the table; folders may be splits, or mere shards
        found = arrange(names, "splits", what)
    except ReverieError:
        found = None
    return arrange(names, "flat", what) if found is None or found.left else found


def _by_table(reading: Reading, table: Table, count: int) -> tuple[Reading, list[str]]:
    """The reading with the classes of a table, and notes on them."""
    notes = []
    if table.missing:
        notes.append(f"{table.missing} row{'s' * (table.missing != 1)} of the table name no picture that is there")
    if not table.labels and not table.factors:
        return reading, notes
    if table.dropped:
        notes.append(f"columns of the table that do not hold a number in each row: {', '.join(table.dropped)}")
    named = set(table.labels) or set().union(*table.factors.values())
    labels = [table.labels.get(i) for i in range(count)] if table.labels else reading.labels
    left = dict.fromkeys(set(range(count)) - named, "that the table does not name")
    classes = len(set(table.labels.values()))
    said = [
        *([f"{classes} classes from a table"] if classes else []),
        *([f"{len(table.factors)} attributes from a table"] if table.factors else []),
        *([] if reading.said == "no classes" and classes else [reading.said]),
    ]
    return Reading(reading.splits, labels, reading.left | left, "; ".join(said) + _told(left)), notes


def _labels(what: str, files: Files, options: DataOptions, names: Sequence[str]) -> Table | None:
    """The table that the options name, or the dataset.json in a data set made by StyleGAN's tools."""
    if options.labels:
        return read_labels(options.labels, _content(what, files, options.labels), names)
    inside = [name for name in files.tables if name.rpartition("/")[2] == DATASET_JSON]
    if options.layout != "auto" or len(inside) != 1:
        return None
    try:
        found = read_labels(inside[0], files.tables[inside[0]](), names)
    except (ReverieError, OSError):  # another file of the same name
        return None
    return found if found.labels else None


def _content(what: str, files: Files, name: str) -> bytes:
    """The bytes of a table inside the data, or else at a path."""
    inside = [read for path, read in files.tables.items() if name in (path, path.rpartition("/")[2])]
    try:
        if len(inside) == 1:
            return inside[0]()
        return Path(name).expanduser().read_bytes()
    except OSError as why:
        raise ReverieError(f"There is no table {name}, neither in {what} nor at that path ({why.strerror}).") from why


def _told(left: dict[int, str]) -> str:
    count = len(left)
    return f"; {count} picture{'s' * (count != 1)} {next(iter(left.values()))} left out" if left else ""


def natural(names: Collection[str]) -> list[str]:
    """Sorted class names; in numeric order if all are numbers, so that 2 comes before 10."""
    return sorted(names, key=lambda name: (int(name), name)) if all(map(str.isdecimal, names)) else sorted(names)
