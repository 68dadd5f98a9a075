"""Class labels as users give them (names, numbers or none), converted to the class numbers of a model."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.capabilities import Conditions
from reverie.errors import ReverieError, nearest

NUMBER = r"\s*[+-]?\d+(\.\d+)?\s*"  # a name that looks like a number
MOST_NAMED = 20  # classes listed in an error message
Labels = Sequence[int | str] | NDArray[np.int64] | Tensor


def classes_of(model: object) -> tuple[str, ...]:
    """The classes that ``model`` takes as labels, in the order of their numbers; empty for an unconditional model."""
    return tuple(model.classes) if isinstance(model, Conditions) else ()


def label_number(label: int | str, classes: Sequence[str]) -> int:
    """The number of a class from its name or its number.

    A string is a name, or else a class number; where any class name looks like a number, it can only be a name. An int
    is compared with the names where all of them look like numbers (of the classes "1" to "10", 1 is the first); else it
    is a class number. Raises ReverieError for an unknown class.
    """
    if isinstance(label, str):
        if label in classes:
            return list(classes).index(label)
        if label.isdecimal() and any(re.fullmatch(NUMBER, name) for name in classes):
            raise ReverieError(
                f"There is no class {label}; where classes are called by numbers, give one: {_listed(classes)}."
            )
        if not label.isdecimal():
            raise ReverieError(f"There is no class '{label}'{nearest(label, classes)}")
    number = int(label)
    if (
        not isinstance(label, str)
        and called_by_numbers(classes)
        and list(classes) != list(map(str, range(len(classes))))
    ):
        if number not in (values := [float(name) for name in classes]):
            raise ReverieError(f"There is no class {number}; classes are called by numbers: {_listed(classes)}.")
        return values.index(number)
    if not 0 <= number < len(classes):
        raise ReverieError(f"There is no class {number}: classes are numbered 0 to {len(classes) - 1}.")
    return number


def called_by_numbers(classes: Sequence[str]) -> bool:
    """Whether the names of all classes look like numbers."""
    return bool(classes) and all(re.fullmatch(NUMBER, name) for name in classes)


def _listed(classes: Sequence[str]) -> str:
    return ", ".join(classes[:MOST_NAMED]) + ", ..." * (len(classes) > MOST_NAMED)


def names_of(model: object, numbers: NDArray[np.int64] | None) -> list[str] | None:
    """The class names for the model's class numbers; None for None."""
    classes = classes_of(model)
    return None if numbers is None else [classes[number] for number in numbers.tolist()]


def label_numbers(model: object, labels: Labels) -> Tensor:
    """(len(labels),) int64 on the CPU; ReverieError where the model takes no labels or has no such class."""
    classes = classes_of(model)
    if not classes:
        raise ReverieError(f"{type(model).__name__} takes no class labels; leave them out.")
    given = labels.tolist() if isinstance(labels, (Tensor, np.ndarray)) else labels
    return torch.tensor([label_number(label, classes) for label in given], dtype=torch.int64)


def labels_in_turn(model: object, labels: Labels | None, count: int) -> Tensor | None:
    """The given labels (default: the first class), repeated for ``count`` samples; None where the model takes none."""
    if labels is None:
        if not (classes := classes_of(model)):
            return None
        labels = [classes[0]]
    numbers = label_numbers(model, labels)
    return numbers[torch.arange(count) % len(numbers)]


def labels_for(model: object, labels: Labels | None, count: int) -> Tensor | None:
    """One label for each of ``count`` given pictures, (count,) int64; None where the model takes none."""
    classes = classes_of(model)
    if labels is None:
        if classes:
            raise ReverieError(f"{type(model).__name__} needs the class label of each picture.")
        return None
    numbers = label_numbers(model, labels)
    if len(numbers) != count:
        raise ReverieError(f"{count} pictures need {count} labels, not {len(numbers)}.")
    return numbers
