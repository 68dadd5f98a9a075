"""Read classes, attributes and splits from a table: a .csv, or the dataset.json of StyleGAN's tools."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reverie.data.layouts import SPLIT_ALIASES
from reverie.errors import ReverieError

CLASS_COLUMNS = ("class", "label", "category", "target")
DATASET_JSON = "dataset.json"


@dataclass(frozen=True)
class Table:
    """The classes and attributes in a table, by the index of a file in ``names``."""

    labels: dict[int, str] = field(default_factory=dict)
    factors: dict[str, dict[int, float]] = field(default_factory=dict)  # attribute -> its value for each file
    missing: int = 0  # number of rows whose file does not exist
    dropped: tuple[str, ...] = ()  # columns that are not attributes, as some cells are not numbers


def read_labels(what: str, content: bytes, names: Sequence[str]) -> Table:
    """Classes and attributes from a table. Raises ReverieError if it is invalid or names none of the files.

    ``what`` is the name of the table, for its type and for errors; ``names`` are those of the picture files.
    """
    if what.lower().endswith(".json"):
        return _dataset_json(what, content, names)
    head, rows, missing = _csv(what, content, names)
    columns = [[row[i] for _, row in rows] for i in range(len(head))]
    classes = [i for i, name in enumerate(head) if name.lower() in CLASS_COLUMNS]
    if not classes and len(head) == 1:
        classes = [0]
    factors, dropped = {}, []
    for i, name in enumerate(head):
        if i in classes[:1]:
            continue
        numbers = [_number(text) for text in columns[i]]
        if None in numbers:
            dropped.append(name)
        else:
            factors[name] = {at: number for (at, _), number in zip(rows, numbers, strict=True) if number is not None}
    if not classes and not factors:
        raise ReverieError(
            f"{what} has no column of classes, and none of numbers; call one {CLASS_COLUMNS[0]} (its columns: "
            f"{', '.join(head)})."
        )
    labels = {at: row[classes[0]] for at, row in rows if row[classes[0]]} if classes else {}
    return Table(labels, factors, missing, tuple(dropped))


def read_splits(what: str, content: bytes, names: Sequence[str]) -> dict[int, int]:
    """The split of each file in the table, by its index in ``names``: 0, 1, 2 for train, validation, test."""
    head, rows, _ = _csv(what, content, names)
    column = next((i for i, name in enumerate(head) if name.lower() == "split"), 0)
    found = {}
    for at, row in rows:
        split = SPLIT_ALIASES.get(row[column].lower())
        if split is None:
            raise ReverieError(f"{what} says that {names[at]} is in '{row[column]}'; say train, validation or test.")
        found[at] = split
    return found


def _dataset_json(what: str, content: bytes, names: Sequence[str]) -> Table:
    try:
        labels: Any = json.loads(content)["labels"]
        pairs = [] if labels is None else [(str(name), label) for name, label in labels]
    except (ValueError, TypeError, KeyError, RecursionError) as why:
        raise ReverieError(f'{what} is no table of labels; expected is {{"labels": [["FILE", NUMBER], ...]}}.') from why
    if any(isinstance(label, bool) or not isinstance(label, int | str) for _, label in pairs):
        raise ReverieError(f"{what} holds labels that are no class numbers; only one class for each picture is read.")
    find = _Names(names)
    found = {at: str(label) for name, label in pairs if (at := find(name)) is not None}
    if pairs and not found:
        raise ReverieError(f"{what} names none of the pictures; the first that it names is {pairs[0][0]}.")
    return Table(found, {}, len(pairs) - len(found))


def _csv(what: str, content: bytes, names: Sequence[str]) -> tuple[list[str], list[tuple[int, list[str]]], int]:
    """(names of the columns after the first, (file index, cells) of each row, number of rows without a file)."""
    try:
        text = content.decode("utf-8-sig")
        first = text.splitlines()[0] if text.strip() else ""
        lines = [row for row in csv.reader(io.StringIO(text), delimiter=_delimiter(first)) if any(row)]
    except (UnicodeDecodeError, csv.Error) as why:
        raise ReverieError(f"{what} cannot be read as a table ({why}); save it as .csv in UTF-8.") from why
    if not lines or len(lines[0]) < 2:
        raise ReverieError(f"{what} needs two columns at least: the file's name, and what is said of it.")
    find = _Names(names)
    head, rows = [cell.strip() for cell in lines[0]], lines[1:]
    if find(lines[0][0]) is not None:  # there is no header
        head, rows = ["file", *(f"column {i}" for i in range(1, len(head)))], lines
    if len(head) == 2 and head[1].startswith("column "):
        head[1] = CLASS_COLUMNS[0]
    if uneven := next((row for row in rows if len(row) != len(head)), None):
        raise ReverieError(f"{what} has {len(head)} columns, and {len(uneven)} in the row of {uneven[0][:80]}.")
    found: dict[int, list[str]] = {}
    places = [find(row[0].strip()) for row in rows]
    for at, row in zip(places, rows, strict=True):
        cells = [cell.strip() for cell in row[1:]]
        if at is not None and found.setdefault(at, cells) != cells:
            raise ReverieError(f"{what} says two things of {names[at]}: {found[at]} and {cells}.")
    if not found:
        raise ReverieError(f"{what} names none of the pictures; the first that it names is {(rows or lines)[0][0]}.")
    return head[1:], list(found.items()), places.count(None)


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


class _Names:
    """Finds a file by its name in a table: its path, or a unique end of it, with or without extension."""

    def __init__(self, names: Sequence[str]) -> None:
        self._whole: Mapping[str, int] = {name: i for i, name in enumerate(names)}
        self._ends: dict[str, list[tuple[str, int]]] = {}  # by the file name, with and without extension
        for i, name in enumerate(names):
            for path in {name, os.path.splitext(name)[0]}:
                self._ends.setdefault(path.rpartition("/")[2], []).append((path, i))

    def __call__(self, name: str) -> int | None:
        name = name.replace("\\", "/").removeprefix("./")
        if name in self._whole:
            return self._whole[name]
        found = {
            at
            for path, at in self._ends.get(name.rpartition("/")[2], [])
            if f"/{path}".endswith(f"/{name}") or f"/{name}".endswith(f"/{path}")
        }
        return found.pop() if len(found) == 1 else None
