"""Pictures of one side turned into pictures of the other, of any size: whole, or in tiles that join without a seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from reverie.capabilities import Translates
from reverie.config import check_range
from reverie.engine.model import Model
from reverie.errors import ReverieError
from reverie.inference.pictures import Data, device_of, side_of
from reverie.inference.unsupported import unsupported
from reverie.networks.norm import InstanceNorm
from reverie.tasks.translate_norm_statistics import SharedMoments, moments_of
from reverie.tasks.translate_tiles import Tile, TileDraw, tiles_of

OVERLAP = 384  # pixels, the default: four times as far as the small pix2pix sees, so that its tiles equal the whole


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
    translator, before, after = check_translates(model, direction, noise)
    overlap = OVERLAP if overlap is None else overlap
    images = side_of(cast(Model, translator).image_spec, images, direction)
    if images.ndim != 4 or images.shape[1] != before or 0 in images.shape[2:]:
        shape = " x ".join(map(str, images.shape))
        raise ReverieError(
            f"{type(model).__name__} takes pictures of {before} channels on side {direction[0]}, as N x {before} x H x "
            f"W; these are {shape}."
        )
    check_range("The number of pictures in a batch", batch, low=1)
    for name, value in (("tile", tile), ("overlap", overlap), ("passes", passes or 0)):
        check_range(name, value, low=0)
    network: Any = translator.translator(direction)
    tiles = tiles_of(images.shape[2], images.shape[3], tile, overlap, network.grain)
    norms = [layer for layer in network.modules() if isinstance(layer, InstanceNorm)] if len(tiles) > 1 else []
    step = batch if len(tiles) == 1 else 1
    out = torch.zeros(len(images), after, *images.shape[2:])
    with where_memory_ends(ReverieError(_too_large(images, tile, step))):
        for start in range(0, len(images), step):
            numbers = range(start, min(start + step, len(images)))
            through = partial(_through, translator, images, numbers, direction, noise)
            _join(out[numbers.start : numbers.stop], tiles, norms, passes, through)
    return out


def check_translates(model: object, direction: str, noise: int | None) -> tuple[Translates, int, int]:
    """The model as what it promises, and the channels it takes and gives; ReverieError where it cannot do this."""
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
def where_memory_ends(short: ReverieError) -> Iterator[None]:
    """Raises ``short`` where the memory ends."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        told = "you tried to allocate" in str(error)  # on the CPU torch has no type for it
        if told or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise short from error
        raise


def _through(
    model: Translates, images: Tensor, numbers: range, direction: str, noise: int | None, tile: Tile
) -> Tensor:
    """What the model makes of a tile of the pictures ``numbers``, on the CPU."""
    device = device_of(model)
    draw = None if noise is None else TileDraw(noise, tile, numbers, device)
    with torch.no_grad():
        part = tile.of(images[numbers.start : numbers.stop]).to(device, torch.float32)
        return model.translate(part, direction, draw).float().cpu()


def _join(
    out: Tensor,
    tiles: Sequence[Tile],
    norms: Sequence[InstanceNorm],
    passes: int | None,
    through: Callable[[Tile], Tensor],
) -> None:
    """Adds up in ``out`` (N, C, H, W) what comes of the tiles, after so many passes that learn statistics."""
    shared = SharedMoments(norms)
    while norms and (passes is None or len(shared.known) < passes):
        if not shared.learn(tiles, through):
            break
    for tile in tiles:
        with shared.used(moments_of):
            tile.of(out).add_(tile.weight * through(tile))
