"""Image-to-image translation of pictures of any size: as a whole, or in tiles that join without a seam."""

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

    ``noise`` is a seed that keeps dropout on, for a model trained with it: picture i is then a function of (noise, i),
    independent of ``batch`` and of tiles. None turns dropout off.

    Pictures with a side of more than ``tile`` pixels (0: none) go through the network one at a time, in tiles of at
    most that side. Besides ``images`` and the result, both on the CPU, the memory needed is then that of one tile,
    whatever the picture's size.

    Neighbouring tiles share at least ``overlap`` pixels (None: `OVERLAP`), and are blended over the inner half of the
    overlap. A network whose receptive field reaches no further than a quarter of the overlap gives exactly the result
    of the whole picture; one that reaches further shows no seam either, since its output at a tile's edge is never
    used, and differences between two tiles are blended gradually.

    `InstanceNorm` takes statistics over a whole picture, so these are gathered over all tiles first, layer by layer:
    pass n runs every tile up to the n-th such layer, which then has the mean and variance of the whole picture. The
    default is a pass for each layer, which costs about half as many runs of the network as it has such layers. With
    fewer ``passes`` the later layers use the statistics of each tile, and colours and contrast differ somewhat between
    tiles.

    Raises ReverieError where the model cannot translate, or not in this direction; where pictures have other channels
    than the side; where tiles are no larger than the overlap; where noise is requested of a model without dropout;
    where the memory is too small for the pictures, or for a tile of one.
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
    """The model, and the channels of its input and output; ReverieError where it cannot translate so."""
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
    """An error message: what to do where the memory is too small for the batch, or for a tile."""
    height, width = images.shape[2:]
    way = f"smaller tiles than --tile {tile}" if tile else "tiles, say --tile 1024"
    fewer = ", or fewer at a time" if step > 1 else ""
    return f"Pictures of {width} x {height} pixels need more memory than there is; let them go in {way}{fewer}."


@contextmanager
def where_memory_ends(short: ReverieError) -> Iterator[None]:
    """Raises ``short`` where memory runs out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        cpu_failed = "you tried to allocate" in str(error)  # on the CPU torch has no exception type for it
        if cpu_failed or isinstance(error, (MemoryError, torch.OutOfMemoryError)):
            raise short from error
        raise


def _through(
    model: Translates, images: Tensor, numbers: range, direction: str, noise: int | None, tile: Tile
) -> Tensor:
    """The model's output for a tile of the pictures ``numbers``, on the CPU."""
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
    """Adds the weighted outputs of all tiles to ``out`` (N, C, H, W), after ``passes`` passes for statistics."""
    shared = SharedMoments(norms)
    while norms and (passes is None or len(shared.known) < passes):
        if not shared.learn(tiles, through):
            break
    for tile in tiles:
        with shared.used(moments_of):
            tile.of(out).add_(tile.weight * through(tile))
