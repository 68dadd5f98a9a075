"""A grid of held-out pictures and their translations."""

from __future__ import annotations

from torch import Tensor

from reverie.capabilities import DIRECTION_SIDES, OPPOSITE_DIRECTION, Translates
from reverie.data.image_io import coloured, to_tensor
from reverie.data.pairs import Pairs
from reverie.inference.pictures import sample_indices
from reverie.tasks.reconstruct import grid_rows
from reverie.tasks.translate import translate


def translation_grid(model: Translates, pairs: Pairs, direction: str, columns: int, groups: int = 2) -> Tensor:
    """Pictures (N, 3, H, W) in the order of a grid with ``columns`` columns, in ``groups`` groups of rows.

    A group is a row of inputs, a row of their translations, where the model has both directions a row of these
    translated back, and where the data has pairs a row of the inputs' counterparts.
    """
    source = pairs.side(DIRECTION_SIDES[direction][0])
    indices = sample_indices(source, columns * groups)
    inputs = to_tensor(source.batch(indices))
    outputs = translate(model, inputs, direction)
    rows = [inputs, outputs]
    back = OPPOSITE_DIRECTION[direction]
    if back in model.directions:
        rows.append(translate(model, outputs, back))
    if pairs.paired:
        rows.append(to_tensor(pairs.side(DIRECTION_SIDES[direction][1]).batch(indices)))
    return grid_rows([coloured(row) for row in rows], columns)
