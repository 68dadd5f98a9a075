"""Tiles of a picture that join without a seam: their positions, blending weights, and position-dependent noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError


@dataclass(frozen=True)
class Span:
    """A tile along one side of a picture, in pixels: the network's input, and the weight of its output."""

    start: int  # a multiple of the grain
    stop: int
    core: tuple[int, int]  # multiples of the grain, except at the picture's end; the cores of all tiles are disjoint
    weight: Tensor  # (stop - start,), of the output; the weights of all tiles sum to 1


@dataclass(frozen=True)
class Tile:
    """A tile of a picture, at full resolution and on the coarser grids of a network."""

    rows: Span
    columns: Span
    grain: int

    def of(self, pictures: Tensor) -> Tensor:
        """The tile of whole pictures (N, C, H, W), a view."""
        return pictures[:, :, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def core(self, features: Tensor) -> Tensor:
        """The core of a feature map of the tile (N, C, h, w), on any of the network's grids, a view."""
        places = []
        for span, grid in ((self.rows, features.shape[2]), (self.columns, features.shape[3])):
            places.append([_place(at - span.start, span, grid, self.grain) for at in span.core])
        (top, bottom), (left, right) = places
        return features[:, :, top:bottom, left:right]

    def corner(self, height: int, width: int) -> tuple[int, int]:
        """Row and column of its first pixel, in the whole picture, on a grid where the tile has that size."""
        rows, columns = self.rows, self.columns
        return _place(rows.start, rows, height, self.grain), _place(columns.start, columns, width, self.grain)

    @property
    def weight(self) -> Tensor:
        """(h, w)."""
        return self.rows.weight[:, None] * self.columns.weight


def tiles_of(height: int, width: int, tile: int, overlap: int, grain: int) -> list[Tile]:
    """The tiles of a picture, row by row: of at most ``tile`` pixels a side, neighbours sharing at least ``overlap``.

    A single tile, the whole picture, where ``tile`` is 0 or no side is longer. ``grain`` is the factor by which the
    network downsamples. Raises ReverieError where tiles are no larger than the overlap.
    """
    rows, columns = (_spans(side, tile, overlap, grain) for side in (height, width))
    return [Tile(row, column, grain) for row in rows for column in columns]


def _place(at: int, span: Span, grid: int, grain: int) -> int:
    """The position of pixel ``at`` on a grid with ``grid`` cells for the span padded to a multiple of the grain."""
    return _up(at, grain) * grid // _up(span.stop - span.start, grain)


def _up(at: int, grain: int) -> int:
    return -(-at // grain) * grain


def _spans(side: int, tile: int, overlap: int, grain: int) -> list[Span]:
    """The tiles along a side of a picture, all of one length except the last."""
    length = tile - tile % grain
    step = (length - overlap) // grain * grain
    if tile and step < grain:
        raise ReverieError(
            f"Tiles of {tile} pixels are too small for an overlap of {overlap} and this model, whose grid takes "
            f"multiples of {grain}; let them have {_up(overlap, grain) + grain} or more, or share less."
        )
    if not 0 < tile < side:
        return [Span(0, side, (0, side), torch.ones(side))]
    last = _up(side - length, grain)
    starts = [*range(0, last, step), last]
    stops = [min(start + length, side) for start in starts]
    # Each pair of neighbours has a cut in the middle of their overlap, and a ramp from 0 to 1 around it. Cuts and ramps
    # are ordered along the side, so the difference of a tile's two ramps is its weight even where three tiles overlap.
    pixels = torch.arange(side) + 0.5
    cuts, ramps = [0], [torch.ones(side)]
    for start, stop in zip(starts[1:], stops[:-1], strict=True):
        cuts.append((start + stop) // 2 // grain * grain)
        low, wide = (3 * start + stop) / 4, (stop - start) / 2
        ramps.append(((pixels - low) / max(wide, 1e-6)).clamp(0, 1))
    cuts.append(side)
    ramps.append(torch.zeros(side))
    return [
        Span(start, stop, (cuts[i], cuts[i + 1]), (ramps[i] - ramps[i + 1])[start:stop])
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


class TileDraw(DrawEach):
    """The noise of a tile: on every grid of the network, that of the whole picture at the tile's positions.

    A number is a function of (noise, picture, call, row, column) only.
    """

    def __init__(self, noise: int, tile: Tile, numbers: Sequence[int], device: torch.device) -> None:
        super().__init__(noise, "translate", samples=numbers, device=device)
        self.tile = tile

    def bits(self, *shape: int) -> np.ndarray:
        if len(shape) != 3:  # numbers without a position
            return super().bits(*shape)
        self.calls += 1
        channels, height, width = shape
        top, left = self.tile.corner(height, width)
        rows, columns = np.arange(top, top + height), np.arange(left, left + width)
        places = (rows[:, None] * 2**32 + columns).ravel().tolist()
        bits = [
            DrawEach(*self.key, int(number), self.calls, samples=places).bits(channels).reshape(height, width, -1)
            for number in self.samples
        ]
        return np.stack(bits).transpose(0, 3, 1, 2)
