"""Pictures of one side turned into pictures of the other, of any size: whole, or in tiles that join without a seam."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from reverie.capabilities import Translates
from reverie.data.exact import fitting, holds, read_exact, to_channels, write_exact
from reverie.data.files import PICTURES, walk
from reverie.data.formats import Unreadable
from reverie.engine.phase import Model
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.files import Unwritten, check_folder, replacing
from reverie.inference.pictures import Data, device_of, side_of
from reverie.inference.unsupported import unsupported
from reverie.networks.norm import InstanceNorm, Moments

OVERLAP = 384  # pixels, the default: four times as far as the small pix2pix sees, so that its tiles equal the whole
STANDARD = Path("-")  # standard input or output, where a file is named


def translate(
    model: object,
    images: Data,
    direction: str = "ab",
    *,
    noise: int | None = None,
    batch: int = 16,
    tile: int = 0,
    overlap: int | None = None,
    passes: int | None = None,
) -> Tensor:
    """``images`` (N, C, H, W) in [-1, 1] of one side as pictures (N, C', H, W) of the other, on the CPU.

    Other data is read at its own size; of pairs it is the side that ``direction`` leads from.

    ``noise`` keeps the dropout of a model that learned with it on: picture i is then a function of (noise, i), and
    depends neither on ``batch`` nor on tiles. None is the model without noise.

    Pictures with a side of more than ``tile`` pixels (0: none) go through the network one at a time, in tiles of at
    most that side. Beside ``images`` and the result, both on the CPU, memory then holds what the network needs for one
    tile, whatever the picture's size.

    Neighbours share at least ``overlap`` pixels (None: `OVERLAP`), and one fades into the other over the inner half of
    what they share. So a network that sees no further than a quarter of the overlap gives exactly what it gives for the
    whole picture, and one that sees further still shows no seam: what it makes of a tile's edge is never used, and
    between two tiles that differ nothing changes at once.

    `InstanceNorm` sees the whole of a picture, so its statistics are gathered over all tiles first, layer after layer:
    pass n takes every tile as far as the n-th layer, whose mean and variance are then those of the whole picture. By
    default no layer is left out, which costs about half as many times the network as it has such layers; with fewer
    ``passes`` the later ones use their tile's own, and colours and contrast differ somewhat from tile to tile.

    Raises ReverieError where the model cannot translate, or not in this direction; where pictures have other channels
    than the side; where tiles hold no more than the overlap; where noise is asked of a model without dropout; where the
    pictures, or a tile of one, are more than the memory takes.
    """
    translator, before, after = _asked(model, direction, noise)
    overlap = OVERLAP if overlap is None else overlap
    images = side_of(cast(Model, translator).image_spec, images, direction)
    if images.ndim != 4 or images.shape[1] != before or 0 in images.shape[2:]:
        shape = " x ".join(map(str, images.shape))
        raise ReverieError(
            f"{type(model).__name__} takes pictures of {before} channels on side {direction[0]}, as N x {before} x H x "
            f"W; these are {shape}."
        )
    if batch < 1 or min(tile, overlap, passes or 0) < 0:
        raise ReverieError("A batch holds at least one picture, and tile, overlap and passes are at least 0.")
    network: Any = translator.translator(direction)
    rows, columns = (_spans(side, tile, overlap, network.grain) for side in images.shape[2:])
    tiles = [_Tile(row, column, network.grain) for row in rows for column in columns]
    norms = [layer for layer in network.modules() if isinstance(layer, InstanceNorm)] if len(tiles) > 1 else []
    step = batch if len(tiles) == 1 else 1
    out = torch.zeros(len(images), after, *images.shape[2:])
    with _memory(ReverieError(_too_large(images, tile, step))):
        for start in range(0, len(images), step):
            numbers = range(start, min(start + step, len(images)))
            through = partial(_through, translator, images, numbers, direction, noise)
            _join(out[numbers.start : numbers.stop], tiles, norms, passes, through)
    return out


def _asked(model: object, direction: str, noise: int | None) -> tuple[Translates, int, int]:
    """The model as what it promises, and the channels it takes and gives in this direction."""
    if not (isinstance(model, Translates) and isinstance(model, Model)):
        raise unsupported(model, "translate", "network from one side to the other", Translates)
    if direction not in model.directions:
        known = " and ".join(model.directions)
        raise ReverieError(f"{type(model).__name__} cannot translate in the direction '{direction}', only in {known}.")
    network: Any = model.translator(direction)
    if noise is not None and not network.dropout:
        raise ReverieError(
            f"This {type(model).__name__} learned without dropout and has no other noise; leave out --noise, or train "
            "pix2pix with --set model.dropout=0.5."
        )
    a, b = model.image_spec.sides
    return (model, a, b) if direction == "ab" else (model, b, a)


def _too_large(images: Tensor, tile: int, step: int) -> str:
    """What to do where the memory does not take so many pictures at once, or tiles of one."""
    height, width = images.shape[2:]
    way = f"smaller tiles than --tile {tile}" if tile else "tiles, say --tile 1024"
    fewer = ", or fewer at a time" if step > 1 else ""
    return f"Pictures of {width} x {height} pixels need more memory than there is; let them go in {way}{fewer}."


@contextmanager
def _memory(short: ReverieError) -> Iterator[None]:
    """Raises ``short`` where the memory ends."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = "you tried to allocate" in str(error)  # on the CPU torch has no type for it
        if told or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise short from error
        raise


def _through(
    model: Translates, images: Tensor, numbers: range, direction: str, noise: int | None, tile: _Tile
) -> Tensor:
    """What the model makes of a tile of the pictures ``numbers``, on the CPU."""
    device = device_of(model)
    draw = None if noise is None else _Placed(noise, tile, numbers, device)
    with torch.no_grad():
        part = tile.of(images[numbers.start : numbers.stop]).to(device, torch.float32)
        return model.translate(part, direction, draw).float().cpu()


def _join(
    out: Tensor,
    tiles: Sequence[_Tile],
    norms: Sequence[InstanceNorm],
    passes: int | None,
    through: Callable[[_Tile], Tensor],
) -> None:
    """Adds up in ``out`` (N, C, H, W) what comes of the tiles, after so many passes that learn statistics."""
    shared = _Shared(norms)
    while norms and (passes is None or len(shared.known) < passes):
        if not shared.learn(tiles, through):
            break
    for tile in tiles:
        with shared.used(_own):
            tile.of(out).add_(tile.weight * through(tile))


# Tiles


@dataclass(frozen=True)
class _Span:
    """A tile along one side of a picture, in pixels: what goes through the network, and what of it counts."""

    start: int  # a multiple of the grain
    stop: int
    core: tuple[int, int]  # multiples of the grain but for the picture's end; the cores of all tiles share no pixel
    weight: Tensor  # (stop - start,), in what is shown; those of all tiles are 1 together


@dataclass(frozen=True)
class _Tile:
    rows: _Span
    columns: _Span
    grain: int

    def of(self, pictures: Tensor) -> Tensor:
        """The tile of whole pictures (N, C, H, W), a view."""
        return pictures[:, :, self.rows.start : self.rows.stop, self.columns.start : self.columns.stop]

    def core(self, features: Tensor) -> Tensor:
        """The core of what the network has of the tile (N, C, h, w) on one of its grids, a view."""
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


def _place(at: int, span: _Span, grid: int, grain: int) -> int:
    """Where ``at`` pixels lie on a grid that has ``grid`` places for the span, which networks grow to the grain."""
    return _up(at, grain) * grid // _up(span.stop - span.start, grain)


def _up(at: int, grain: int) -> int:
    return -(-at // grain) * grain


def _spans(side: int, tile: int, overlap: int, grain: int) -> list[_Span]:
    """The tiles along a side of a picture, all of one length but for the last."""
    length = tile - tile % grain
    step = (length - overlap) // grain * grain
    if tile and step < grain:
        raise ReverieError(
            f"Tiles of {tile} pixels are too small for an overlap of {overlap} and this model, whose grid takes "
            f"multiples of {grain}; let them have {_up(overlap, grain) + grain} or more, or share less."
        )
    if not 0 < tile < side:
        return [_Span(0, side, (0, side), torch.ones(side))]
    last = _up(side - length, grain)
    starts = [*range(0, last, step), last]
    stops = [min(start + length, side) for start in starts]
    # Between two tiles lies a cut, in the middle of what they share, and a ramp from 0 to 1 around it. Both rise from
    # one pair to the next, so that the difference of a tile's ramps is its weight even where three tiles meet.
    pixels = torch.arange(side) + 0.5
    cuts, ramps = [0], [torch.ones(side)]
    for start, stop in zip(starts[1:], stops[:-1], strict=True):
        cuts.append((start + stop) // 2 // grain * grain)
        low, wide = (3 * start + stop) / 4, (stop - start) / 2
        ramps.append(((pixels - low) / max(wide, 1e-6)).clamp(0, 1))
    cuts.append(side)
    ramps.append(torch.zeros(side))
    return [
        _Span(start, stop, (cuts[i], cuts[i + 1]), (ramps[i] - ramps[i + 1])[start:stop])
        for i, (start, stop) in enumerate(zip(starts, stops, strict=True))
    ]


class _Placed(DrawEach):
    """The noise of a tile: on every grid of the network, what the whole picture has at these places.

    A number is a function of (noise, picture, call, row, column), and of nothing else about the tile.
    """

    def __init__(self, noise: int, tile: _Tile, numbers: Sequence[int], device: torch.device) -> None:
        super().__init__(noise, "translate", samples=numbers, device=device)
        self.tile = tile

    def _bits(self, *shape: int) -> np.ndarray:
        if len(shape) != 3:  # numbers that have no place
            return super()._bits(*shape)
        self._calls += 1
        channels, height, width = shape
        top, left = self.tile.corner(height, width)
        rows, columns = np.arange(top, top + height), np.arange(left, left + width)
        places = (rows[:, None] * 2**32 + columns).ravel().tolist()
        bits = [
            DrawEach(*self.key, int(number), self._calls, samples=places)._bits(channels).reshape(height, width, -1)
            for number in self.samples
        ]
        return np.stack(bits).transpose(0, 3, 1, 2)


# Statistics that tiles share


class _Enough(Exception):
    """Leaves a network when a pass has seen what it came for."""


class _Shared:
    """Mean and variance of the whole picture at each call of an `InstanceNorm`, in the order of the calls.

    Each pass learns one more, since only what comes before it is then as it will be in the end. (Learning all at once,
    and again with the result, gives each layer the scale of a network that is not there: errors multiply from layer to
    layer, and two such passes are far worse than none.)
    """

    def __init__(self, norms: Sequence[InstanceNorm]) -> None:
        self.norms = norms
        self.known: list[Moments] = []

    @contextmanager
    def used(self, other: Callable[[Tensor], Moments]) -> Iterator[None]:
        """For one tile, lets the layers use what is known, and at later calls what ``other`` says of their input."""
        before = [norm.moments for norm in self.norms]
        calls = iter(self.known)
        try:
            for norm in self.norms:
                norm.moments = lambda _, x: next(calls, None) or other(x)
            yield
        finally:
            for norm, asked in zip(self.norms, before, strict=True):
                norm.moments = asked

    def learn(self, tiles: Sequence[_Tile], through: Callable[[_Tile], Tensor]) -> bool:
        """One pass over all tiles as far as the first call that is not known; False where there is none."""
        sums: list[Tensor] = []

        def see(tile: _Tile, x: Tensor) -> Moments:
            core = tile.core(x)
            mean, variance = _own(core)
            found = torch.stack([torch.ones_like(mean), mean, variance]).cpu().double()
            found[2] += found[1].square()
            sums.append(found * core[0, 0].numel())
            raise _Enough

        for tile in tiles:
            with suppress(_Enough), self.used(partial(see, tile)):
                through(tile)
            if not sums:
                return False
        count, first, second = torch.stack(sums).sum(0)
        mean, gain = first / count, self.norms[0].gain
        variance = (second / count - mean.square()).clamp(min=0)
        self.known.append((mean.to(gain), variance.to(gain)))
        return True


def _own(x: Tensor) -> Moments:
    """Mean and variance of each channel over (N, C, H, W) alone, (N, C, 1, 1) each."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
    return mean, variance


# Files


Claimed = Callable[[list[Path], list[Path], Path | None], None]  # of pictures, results and the folder of results


@dataclass
class Translated:
    """What became of picture files."""

    written: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)  # names of those that can't be read or written, and why
    notes: Counter[str] = field(default_factory=Counter)  # what could not be kept, and of how many pictures


@dataclass(frozen=True)
class _Source:
    name: str  # as messages call it
    path: Path  # or STANDARD
    below: Path  # where it goes below a folder of results

    def read(self) -> bytes:
        """Its bytes; raises Unreadable."""
        if self.path == STANDARD:
            return sys.stdin.buffer.read()
        if self.path.exists() and not self.path.is_file():  # a pipe would block for ever
            raise Unreadable("not a regular file")
        try:
            return self.path.read_bytes()
        except OSError as why:
            raise Unreadable((why.strerror or str(why)).lower()) from why


def translate_file(
    model: object,
    data: bytes,
    suffix: str,
    direction: str = "ab",
    *,
    noise: int | None = None,
    tile: int = 1024,
    overlap: int | None = None,
) -> tuple[bytes, list[str]]:
    """The bytes of a picture file as those of its translation, a file of that ending, and notes on what was not kept.

    Size, depth, alpha and colour profile are kept where the ending can: see `reverie.data.exact`; other arguments as
    for `translate`. Beside the network's tile, memory holds a few float32 copies of the picture and of its translation.
    Raises Unreadable where the bytes are no picture, or one of other channels than the model takes, of more than
    `reverie.data.exact.MOST_PIXELS` pixels or larger than the memory.
    """
    _, before, _ = _asked(model, direction, noise)
    assert isinstance(model, Model)
    scales = model.image_spec.scales
    given, made_of = (scales[0], scales[-1]) if direction == "ab" else (scales[-1], scales[0])
    with _memory(Unreadable("larger than the memory")):
        exact = to_channels(read_exact(data, before, given), before)
        images = torch.from_numpy(exact.pixels * 2).sub_(1)[None]
        out = translate(model, images, direction, noise=noise, tile=tile, overlap=overlap)[0]
        made, notes = write_exact(out.add_(1).div_(2).numpy(), exact.alpha, exact.bits, suffix, exact.profile, made_of)
    return made, [*exact.notes, *notes]


def translate_files(
    model: object,
    images: Sequence[str],
    out: Path,
    direction: str = "ab",
    *,
    noise: int | None = None,
    tile: int = 1024,
    overlap: int | None = None,
    claimed: Claimed | None = None,
) -> Translated:
    """Translates picture files, and all those below folders, into the folder ``out``, where they keep their names.

    An ending that can't hold the result becomes .png, or .npy where no picture format has so many channels. With one
    picture, ``out`` may be a file, or "-" for standard output; "-" among ``images`` is standard input. What can't be
    read or written is told in the result, and the others are written, unless the disk is full. Raises ReverieError,
    before anything is written, where two results would have one name, or one would replace a picture of ``images``;
    where ``claimed``, called with the pictures, their results and the folder for these, does; and as `translate` does.
    """
    _, _, after = _asked(model, direction, noise)
    single = out == STANDARD or (out.suffix.lower() in PICTURES and not out.is_dir())
    sources = [source for word in images for source in _sources(word, None if single else out)]
    targets = [out] if single else [_below(out, source, after) for source in sources]
    _check(sources, targets, after)
    if claimed is not None:
        paths = [[path for path in each if path != STANDARD] for each in ([s.path for s in sources], targets)]
        claimed(paths[0], paths[1], None if single else out)
    done = Translated()
    for source, target in zip(sources, targets, strict=True):
        suffix = fitting(source.path.suffix, after) if target == STANDARD else target.suffix
        try:
            data, notes = translate_file(
                model, source.read(), suffix, direction, noise=noise, tile=tile, overlap=overlap
            )
        except Unreadable as why:
            done.failed.append((source.name, str(why)))
            continue
        if target == STANDARD:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        else:
            try:
                with replacing(target) as temporary:
                    temporary.write_bytes(data)
            except Unwritten as why:
                if why.full:
                    raise
                done.failed.append((source.name, str(why)))
                continue
        done.written += 1
        done.notes.update(notes)
    return done


def _sources(word: str, out: Path | None) -> list[_Source]:
    """The pictures that a word names; of a folder those that do not lie in ``out``, where an earlier call left them."""
    path = Path(word)
    if path == STANDARD:
        return [_Source("standard input", path, Path("stdin"))]
    if not path.is_dir():
        return [_Source(word, path, Path(path.name))]
    own = [] if out is None or _identity(path) == _identity(out) else [out.resolve()]
    found = [
        _Source(str(path / name), path / name, Path(name))
        for name, _ in walk(path).files
        if os.path.splitext(name)[1].lower() in PICTURES
        and not any(folder in (path / name).resolve().parents for folder in own)
    ]
    if not found:
        raise ReverieError(f"There are no pictures in the folder {path}.")
    return found


def _below(out: Path, source: _Source, channels: int) -> Path:
    """Where a picture's translation goes in the folder of results."""
    suffix = fitting(source.below.suffix, channels)
    return out / (source.below if suffix == source.below.suffix else source.below.with_suffix(suffix))


def _check(sources: Sequence[_Source], targets: Sequence[Path], channels: int) -> None:
    """Raises ReverieError where writing would end badly."""
    if len(sources) != len(targets):
        where = "Standard output" if targets[0] == STANDARD else targets[0]
        raise ReverieError(f"{where} takes one picture, and there are {len(sources)}; choose a folder for them.")
    inputs = {_identity(source.path) for source in sources} - {None}
    taken: dict[Path, str] = {}
    for source, target in zip(sources, targets, strict=True):
        if target == STANDARD:
            continue
        if not holds(target.suffix, channels):
            end = fitting("", channels)
            raise ReverieError(f"{target} can't hold the model's pictures of {channels} channels; let it end in {end}.")
        if target in taken:
            raise ReverieError(
                f"{taken[target]} and {source.name} would both become {target}; translate them one after the other, "
                "into two folders."
            )
        if _identity(target) in inputs:
            raise ReverieError(f"{target} is one of the pictures to translate and stays as it is; write elsewhere.")
        taken[target] = source.name
    for folder in {target.parent for target in taken}:
        check_folder(folder)


def _identity(path: Path) -> tuple[int, int] | None:
    """What is equal for two names of one file; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
