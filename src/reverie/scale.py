"""What the values in picture files mean: which of them is black, which white, and at how many bits they are kept.

A pack, and whatever comes after it, knows nothing but the stretch from black to white: uint8, uint16, or float32 in
[0, 1]. A `Scale` leads there from the values of files, and back.
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

Kind = Literal["byte", "integer", "float"]  # of values in files: of 8 bits, of more, or with a fraction
Span = tuple[float, float]  # the least and the greatest value
Stored = NDArray[Any]  # uint8, uint16, or float32 in [0, 1]

FULL: dict[Kind, float] = {"byte": 255.0, "integer": 65535.0, "float": 1.0}  # white, where the whole type is used
KINDS = tuple(FULL)  # the later ones keep more
DTYPES: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.float32}
DEPTHS = ("auto", "8", "16", "float")
UNIT, SIGNED = (0.0, 1.0), (-1.0, 1.0)  # what floats in memory usually mean
ROUNDING = 1e-6  # by so much floats may lie outside of that
SMALL_BYTES = 31  # bytes up to here are masks or few levels; a photograph may be dark, but not so dark as a whole set
_NUMBER = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?"


@dataclass(frozen=True)
class Scale:
    """How values of files become stored ones. Files of another kind than ``kind`` have their type's whole range."""

    depth: int = 8  # bits of a stored value: 8 and 16 are integers, 32 is a float
    kind: Kind = "byte"  # of the files that ``low`` and ``high`` speak of
    low: float = 0.0  # the value that is black
    high: float = 255.0  # the value that is white

    @property
    def dtype(self) -> Any:
        """Of a stored value."""
        return DTYPES[self.depth]

    @property
    def full(self) -> bool:
        """Whether black and white are the ends of the type."""
        return (self.low, self.high) == (0, FULL[self.kind])

    def span(self, kind: Kind) -> Span:
        """What is black and what is white in files of a kind."""
        return (self.low, self.high) if kind == self.kind else (0, FULL[kind])

    def unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Values of a file, of its type and of any shape, as float32 in [0, 1]; what lies outside is clipped."""
        low, high = self.span(kind_of(values))
        # In float64 where a narrow band lies far from zero: float32 holds 24 bits.
        narrow = values.dtype.itemsize <= 2 or (values.dtype == np.float32 and _rounds_once(low, high))
        wide: Any = np.float32 if narrow else np.float64
        return np.asarray(((values.astype(wide) - wide(low)) / wide(high - low)).clip(0, 1), np.float32)

    def stored(self, unit: NDArray[np.float32]) -> Stored:
        """[0, 1] as it is kept in a pack."""
        return quantised(unit, self.depth)

    def values(self, unit: NDArray[Any]) -> NDArray[np.float64]:
        """[0, 1] as values of a file, not rounded: the inverse of `unit`."""
        return np.asarray(self.low + unit.astype(np.float64) * (self.high - self.low))


def _rounds_once(low: float, high: float) -> bool:
    """Whether of a difference to ``low`` and a quotient by ``high - low`` no more than one is rounded.

    Then float32 gives to the bit what float64 gives, rounded: its 53 bits are more than twice 24 (Figueroa 1995).
    """
    kept = all(float(np.float32(end)) == end for end in (low, high - low))
    return kept and (low == 0 or math.frexp(high - low)[0] == 0.5)


def quantised(unit: NDArray[Any], depth: int) -> Stored:
    """[0, 1] (clamped; not-a-number becomes 0) as uint8, uint16 or float32."""
    clean = np.nan_to_num(unit, nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    if depth == 32:
        return np.asarray(clean, np.float32)
    top = 2**depth - 1
    return np.asarray(np.rint(clean * clean.dtype.type(top)), DTYPES[depth])


def in_files(unit: NDArray[Any], bits: int, scale: Scale) -> tuple[Stored, list[str]]:
    """[0, 1] (clamped; not-a-number becomes 0) as whole numbers of 8 or 16 bits for a file, and a note where due.

    They are the values that such files have by the ``scale``; where it is of others, the type's whole range.
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


PLAIN = Scale()  # 8 bits, their whole range


def deepest(kinds: Mapping[Kind, Any]) -> Kind:
    """Of the kinds that a set holds, the one that keeps most."""
    return max(kinds, key=KINDS.index)


def choose_scale(found: Mapping[Kind, Span | None], depth: str, wanted: str, given: Scale | None = None) -> Scale:
    """The scale of a set that holds these kinds of files, with their least and greatest values (None: not yet known).

    ``depth`` and ``wanted`` are the settings data.depth and data.range. ``given`` is the scale that a run has learned
    with: it holds for files of its kind, and its depth for all.
    """
    kind = deepest(found)
    if given is not None and given.kind in found:
        return given
    fixed = parse_range(wanted) if given is None else None  # a range that was asked for is that of the run's files
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
    """What is black and white in an array of floats that lie within ``found``; the rest as for `choose_scale`.

    They are 0 to 1 or -1 to 1, told apart by themselves; or what was asked for; or as those of the run that the array
    is read for. Raises ReverieError where they could mean several things.
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
    if said is not None and (floats or said != own):  # else it was said of the run's files, which are no floats
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
    """What is black and white in an array of wide integers within ``found``, for a run of bytes or of floats.

    Values of bytes are meant as bytes are, others as 16 bits; it is not asked how much of that the array uses, so that
    a picture is the same in every company. Raises ReverieError where they are neither.
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
    """The bits that keep what files of a kind hold between these values."""
    if kind == "float" or high - low > FULL["integer"]:
        return 32
    return 8 if kind == "byte" or (low >= 0 and high <= FULL["byte"]) else 16


def used(kind: Kind, least: float, greatest: float) -> Span:
    """What "auto" takes for black and white where values of a kind lie from ``least`` to ``greatest``."""
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
    """The smallest 2^k - 1 that is at least so much."""
    return float(2 ** math.ceil(math.log2(greatest + 1)) - 1)


def parse_range(text: str) -> Span | None:
    """(low, high) of LOW-HIGH, as 0-4095 or -1000-3000; None for auto and full. Raises ReverieError."""
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
    """Whether these are finite numbers, the first below the second by what float32 can tell."""
    return _number(low) and _number(high) and 1e-30 < high - low < 1e30


def _number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30
