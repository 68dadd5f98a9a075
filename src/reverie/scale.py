"""The range of values in picture files: which value is black, which is white, and the bit depth they are stored at.

A pack stores values scaled from black to white: uint8, uint16, or float32 in [0, 1]. A `Scale` converts the values of
files to these and back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard

import numpy as np
from numpy.typing import NDArray

from reverie.errors import ReverieError, nearest

Kind = Literal["byte", "integer", "float"]  # of values in files: 8-bit integers, wider integers, floats
Span = tuple[float, float]  # the smallest and the largest value
Stored = NDArray[Any]  # uint8, uint16, or float32 in [0, 1]

FULL: dict[Kind, float] = {"byte": 255.0, "integer": 65535.0, "float": 1.0}  # white, if the full range is used
KINDS = tuple(FULL)  # from the least to the most precise
DTYPES: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.float32}
DEPTHS = ("auto", "8", "16", "float")
UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)  # the usual ranges of floats in memory
ROUNDING = 1e-6  # tolerance for floats outside of these
SMALL_BYTES = 31  # a set of 8-bit pictures without larger values holds masks or a few levels, not dark photographs
_NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Scale:
    """The map from values of files to stored values. Files that are not of ``kind`` use their type's full range."""

    depth: int = 8  # bit depth of a stored value: 8 and 16 are integers, 32 is a float
    kind: Kind = "byte"  # the kind of files that ``low`` and ``high`` apply to
    low: float = 0.0  # the value that is black
    high: float = 255.0  # the value that is white

    @property
    def dtype(self) -> Any:
        """The dtype of stored values."""
        return DTYPES[self.depth]

    @property
    def full(self) -> bool:
        """Whether black and white are the smallest and largest value of the type."""
        return (self.low, self.high) == (0, FULL[self.kind])

    def span(self, kind: Kind) -> Span:
        """(black, white) in files of a kind."""
        return (self.low, self.high) if kind == self.kind else (0, FULL[kind])

    def unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values of a file, of any shape and in the type of the file, as float32 in [0, 1], clipped."""
        low, high = self.span(kind_of(values))
        # float64 for a narrow range far from zero: float32 has only 24 significant bits.
        narrow = values.dtype.itemsize <= 2 or (values.dtype == np.float32 and _rounds_once(low, high))
        wide: Any = np.float32 if narrow else np.float64
        return np.asarray(((values.astype(wide) - wide(low)) / wide(high - low)).clip(0, 1), np.float32)

    def stored(self, unit: NDArray[np.float32]) -> Stored:
        """Values in [0, 1] as a pack stores them."""
        return quantised(unit, self.depth)

    def values(self, unit: NDArray[Any]) -> NDArray[np.float64]:
        """Values in [0, 1] as unrounded values of a file: the inverse of `unit`."""
        return np.asarray(self.low + unit.astype(np.float64) * (self.high - self.low))


def _rounds_once(low: float, high: float) -> bool:
    """Whether in float32 at most one of ``x - low`` and the division by ``high - low`` is rounded.

    Then float32 gives exactly the rounded result of float64, whose 53 bits are more than twice 24 (Figueroa 1995).
    """
    kept = all(float(np.float32(end)) == end for end in (low, high - low))
    return kept and (low == 0 or math.frexp(high - low)[0] == 0.5)


def quantised(unit: NDArray[Any], depth: int) -> Stored:
    """Values in [0, 1] (clamped; NaN becomes 0) as uint8, uint16 or float32, by the bit depth."""
    clean = np.nan_to_num(unit, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    if depth == 32:
        return np.asarray(clean, np.float32)
    top = 2**depth - 1
    return np.asarray(np.rint(clean * clean.dtype.type(top)), DTYPES[depth])


def in_files(unit: NDArray[Any], bits: int, scale: Scale) -> tuple[Stored, list[str]]:
    """Values in [0, 1] (clamped; NaN becomes 0) as integers of 8 or 16 bits for a file, and notes for the user.

    They lie between the black and white of the ``scale`` if it applies to such files, else in the type's full range.
    """
    own: Kind = "byte" if bits == 8 else "integer"
    if scale.kind == own and scale.low >= 0 and scale.high <= FULL[own]:
        clean = np.nan_to_num(unit).clip(0, 1)
        return np.asarray(np.rint(scale.values(clean)), DTYPES[bits]), []
    told = [] if scale.full else [f"values from {scale.low:g} to {scale.high:g} are written as 0 to {FULL[own]:g}"]
    return quantised(unit, bits), told if bits == 16 or scale.kind != "byte" else []


def kind_of(values: NDArray[Any]) -> Kind:
    """The kind of an array's values."""
    if values.dtype.kind == "f":
        return "float"
    return "byte" if values.dtype.kind in "ub" and values.dtype.itemsize == 1 else "integer"


PLAIN = Scale()  # 8 bits, full range


def deepest(kinds: Mapping[Kind, Any]) -> Kind:
    """The most precise of the kinds of files in a set."""
    return max(kinds, key=KINDS.index)


def choose_scale(found: Mapping[Kind, Span | None], depth: str, wanted: str, given: Scale | None = None) -> Scale:
    """The scale of a set that holds files of these kinds, each with its smallest and largest value (None: unknown yet).

    ``depth`` and ``wanted`` are the settings data.depth and data.range. ``given`` is the scale that a run was trained
    with: it is used for files of its kind, and its depth for all.
    """
    kind = deepest(found)
    if given is not None and given.kind in found:
        return given
    fixed = parse_range(wanted) if given is None else None  # a range in the settings is that of the run's own files
    if fixed is None:
        small = wanted == "auto" and not (given is not None and kind == "byte")
        span = found[kind]
        fixed = used(kind, *span) if small and span is not None else (0.0, FULL[kind])
    if given is not None:
        return Scale(given.depth, kind, *fixed)
    if depth != "auto":
        return Scale(32 if depth == "float" else int(depth), kind, *fixed)
    return Scale(_enough(kind, *fixed), kind, *fixed)


def span_in_memory(what: str, found: Span, wanted: str, given: Scale | None = None) -> Span:
    """(black, white) in an array of floats whose values lie within ``found``; other arguments as for `choose_scale`.

    It is (0, 1) or (-1, 1), decided from the values; or the range in the settings; or that of the run that the array
    is read for. Raises ReverieError if the range is ambiguous; ``what`` names the array.
    """
    low, high = found
    said = parse_range(wanted) or ((0.0, 1.0) if wanted == "full" and given is None else None)
    own = (given.low, given.high) if given is not None else None  # of the run
    floats = given is not None and given.kind == "float"
    if own is not None and floats and _within(SIGNED, found) and not _within(SIGNED, own):
        raise ReverieError(
            f"{what} holds floats from {low:g} to {high:g}, and the run's go from {own[0]:g} to {own[1]:g}, so they "
            "may be meant so or as 0 to 1 or -1 to 1; say what is black and white by data.range=LOW-HIGH."
        )
    if said is not None and (floats or said != own):  # otherwise it is the range of the run's integers
        return said
    if own is not None and floats and own not in (UNIT, SIGNED):
        return own
    if _within(UNIT, found):
        return UNIT
    if _within(SIGNED, found) and (low <= -0.5 or (floats and own == SIGNED)):
        return SIGNED
    if said is not None and said[0] <= low and high <= said[1]:
        return said
    raise ReverieError(
        f"{what} holds floats from {low:g} to {high:g}, and only those from 0 to 1, or from -1 to 1, speak for "
        "themselves; say what is black and white by data.range=LOW-HIGH, as 0-255 or -1-1, or give uint8."
    )


def integers_in_memory(what: str, found: Span, given: Scale) -> Span:
    """(black, white) in an array of wide integers within ``found``, for a run trained on 8-bit or float pictures.

    Values up to 255 are read as 8 bits, others as 16 bits, whatever part of that range the array uses: so a picture is
    read alike in small and large sets. Raises ReverieError for values beyond 16 bits; ``what`` names the array.
    """
    low, high = found
    if low < 0 or high > FULL["integer"]:
        raise ReverieError(
            f"{what} holds whole numbers from {low:g} to {high:g}, which are neither of 8 bits nor of 16; say what is "
            "black and white by data.range=LOW-HIGH."
        )
    if high > FULL["byte"]:
        return 0.0, FULL["integer"]
    return given.span("byte")


def _within(outer: Span, inner: Span) -> bool:
    return outer[0] - ROUNDING <= inner[0] and inner[1] <= outer[1] + ROUNDING


def _enough(kind: Kind, low: float, high: float) -> int:
    """The bit depth that represents values of files of a kind between ``low`` and ``high``."""
    if kind == "float" or high - low > FULL["integer"]:
        return 32
    return 8 if kind == "byte" or (low >= 0 and high <= FULL["byte"]) else 16


def used(kind: Kind, least: float, greatest: float) -> Span:
    """(black, white) that "auto" chooses for values of a kind between ``least`` and ``greatest``."""
    full = FULL[kind]
    if kind == "byte":
        return (0.0, _power(greatest)) if least < greatest <= SMALL_BYTES else (0.0, full)
    if kind == "float":
        return (0.0, full) if (least >= 0 and greatest <= 1) or least == greatest else (least, greatest)
    if least == greatest:
        return 0.0, 255.0 if 0 <= greatest <= 255 else full
    if least < 0 or greatest > full:
        return least, greatest
    if greatest - least > full / 4:
        return 0.0, full
    return (0.0, _power(greatest)) if least < greatest / 2 else (least, greatest)


def _power(greatest: float) -> float:
    """The smallest 2^k - 1 that is at least ``greatest``."""
    return float(2 ** math.ceil(math.log2(greatest + 1)) - 1)


def parse_range(text: str) -> Span | None:
    """(low, high) from LOW-HIGH, such as 0-4095 or -1000-3000; None for auto and full. Raises ReverieError."""
    if text in ("auto", "full"):
        return None
    match = re.fullmatch(rf"({_NUMBER})-({_NUMBER})", text)
    if match is None:
        raise ReverieError(
            f"data.range={text[:80]} is no range{nearest(text, ('auto', 'full'))} Or write LOW-HIGH, say 0-4095."
        )
    low, high = float(match[1]), float(match[2])
    if not is_span(low, high):
        raise ReverieError(f"data.range={text[:80]} must go from a number to a greater one.")
    return low, high


def is_span(low: object, high: object) -> bool:
    """Whether these are finite numbers, the first smaller by a difference that float32 can represent."""
    return _number(low) and _number(high) and 1e-30 < high - low < 1e30


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
