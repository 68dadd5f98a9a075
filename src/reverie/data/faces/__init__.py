"""Cartoon faces drawn from named factors: an infinite data set with known ground truth.

A face is a row of :data:`FACTORS`. :func:`draw_factors` computes the row of any index by hashing; :func:`render` draws
rows as pictures of any size, with shapes from :mod:`reverie.data.faces.paint`, and :func:`render_labels` as maps of
their :data:`PARTS`.

A picture depends only on its own row, bit for bit. For that, array arithmetic uses only the operations that
:mod:`reverie.data.faces.paint` names, and no shape may extend beyond the window in which it is painted.
"""

from reverie.data.faces.drawing import PART_COLOURS, PARTS, SMALLEST, render, render_labels
from reverie.data.faces.factors import CLASSES, FACTORS, HAIR_COLOURS, HAIR_STYLES, Factor, draw_factors, labels

__all__ = [
    "CLASSES",
    "FACTORS",
    "HAIR_COLOURS",
    "HAIR_STYLES",
    "PARTS",
    "PART_COLOURS",
    "SMALLEST",
    "Factor",
    "draw_factors",
    "labels",
    "render",
    "render_labels",
]
