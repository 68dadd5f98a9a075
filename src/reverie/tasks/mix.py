"""Style mixing: what each layer of a style-based generator controls (Karras et al. 2019, figure 3)."""

from __future__ import annotations

import torch
from torch import Tensor

from reverie.capabilities import Styles
from reverie.config import check_range
from reverie.engine.randomness import DrawEach
from reverie.errors import ReverieError
from reverie.inference.labels import Labels, labels_in_turn
from reverie.inference.pictures import device_of
from reverie.inference.unsupported import unsupported


def mix(
    model: object,
    rows: int = 4,
    columns: int = 6,
    layers: tuple[int, int] | None = None,
    seed: int = 0,
    truncation: float = 1.0,
    labels: Labels | None = None,
) -> Tensor:
    """A table of pictures ((rows + 1) (columns + 1), C, H, W) in [-1, 1], row by row, for a grid of columns + 1.

    Its first column has ``rows`` sampled pictures, its first row ``columns`` others (the corner is white). Each other
    cell has the row's picture with the column's styles in the layers from ``layers[0]`` up to, not including,
    ``layers[1]`` (default: the first half, the coarse layers).
    """
    if not isinstance(model, Styles):
        raise unsupported(model, "mix styles", "styles", Styles)
    first, last = layers or (0, max(1, model.layers // 2))
    if not 0 <= first < last <= model.layers:
        raise ReverieError(f"Layers are given as FIRST-LAST between 0 and {model.layers}, not {first}-{last}.")
    check_range("The number of rows", rows, low=1)
    check_range("The number of columns", columns, low=1)
    device, count = device_of(model), rows + columns
    numbers = labels_in_turn(model, labels, count)
    given = None if numbers is None else numbers.to(device)
    with torch.no_grad():
        z = model.draw_latent(DrawEach(seed, "sample", samples=range(count), device=device), given)
        w = model.truncate(model.map(z, given), truncation)
        down, across = w[:rows], w[rows:]
        head = model.synthesise(across)
        table = [head.new_ones(1, *head.shape[1:]), head]
        for row in down:
            mixed = row.repeat(columns, 1, 1)
            mixed[:, first:last] = across[:, first:last]
            table.append(model.synthesise(torch.cat([row[None], mixed])))
    return torch.cat(table).float().cpu()
