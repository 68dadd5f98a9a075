"""The factors that a face is drawn from, computed from its number by hashing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from reverie.data.faces.paint import Array
from reverie.errors import ReverieError


@dataclass(frozen=True)
class Factor:
    """One ground-truth factor: uniform in low..high, or one of 0..values-1 if ``values`` is set."""

    name: str
    low: float
    high: float
    values: int = 0


HAIR_STYLES = ("bald", "short", "bob", "long", "curly", "bun")
HAIR_COLOURS = ("black", "brown", "ginger", "blond", "silver", "rose")
CLASSES: tuple[str, ...] = ("plain", "glasses")

FACTORS: tuple[Factor, ...] = (
    Factor("smile", -1, 1),  # frown .. grin
    Factor("yaw", -1, 1),  # towards the picture's left .. right, 22 degrees each way
    Factor("pitch", -1, 1),  # down .. up, 12 degrees each way
    Factor("eye_open", 0, 1),
    Factor("gaze", -1, 1),  # pupils towards the picture's left .. right
    Factor("hair_colour", 0, len(HAIR_COLOURS) - 1, len(HAIR_COLOURS)),
    Factor("hair_style", 0, len(HAIR_STYLES) - 1, len(HAIR_STYLES)),
    Factor("skin_tone", 0, 1),  # light .. dark
    Factor("glasses", 0, 1, len(CLASSES)),
    Factor("face_width", 0, 1),
    Factor("background", 0, 1),  # hue, coral .. violet: not the full circle, so that near values look alike
)
_COLUMN = {factor.name: column for column, factor in enumerate(FACTORS)}


def draw_factors(indices: npt.NDArray[Any], seed: int = 0) -> Array:
    """The factors of the faces ``indices`` (integers, shape (N,)): (N, len(FACTORS)), a function of (seed, index)."""
    indices = np.asarray(indices)
    if indices.ndim != 1 or not np.issubdtype(indices.dtype, np.integer):
        raise ReverieError(f"face indices must be a list of integers, not {indices.dtype} of shape {indices.shape}")
    stream = _mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64))
    rows = _mix(indices.astype(np.uint64) ^ stream)
    columns = np.arange(len(FACTORS), dtype=np.uint64)
    bits = _mix(rows[:, None] + columns * np.uint64(_GOLDEN)) >> np.uint64(40)  # 24 bits: exact in float32
    factors = np.empty(bits.shape, dtype=np.float32)
    for column, factor in enumerate(FACTORS):
        if factor.values:
            factors[:, column] = (bits[:, column] * np.uint64(factor.values)) >> np.uint64(24)
        else:
            unit = bits[:, column].astype(np.float32) * np.float32(2**-24)
            factors[:, column] = factor.low + unit * (factor.high - factor.low)
    return factors


def labels(factors: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """The class of each row, an index into :data:`CLASSES`: (N,)."""
    return (np.asarray(factors)[:, _COLUMN["glasses"]] >= 0.5).astype(np.int64)


def values_of(rows: Array, name: str) -> Array:
    """A factor of each row, clipped to its range, rounded if it is categorical: (N,)."""
    factor = FACTORS[_COLUMN[name]]
    values = np.minimum(np.maximum(rows[:, _COLUMN[name]], factor.low), factor.high)
    return np.rint(values) if factor.values else values


_GOLDEN = 0x9E3779B97F4A7C15


def _mix(state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """One output of splitmix64: every bit of the result depends on every bit of the state."""
    state = state + np.uint64(_GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))
