"""Cartoon faces, drawn from named factors: an endless data set whose ground truth is known.

A face is a row of :data:`FACTORS`. :func:`draw_factors` makes the row of any index by hashing, so there is no state and
no end; :func:`render` draws rows as pictures of any size, of shapes from :mod:`reverie.data.faces.paint`, and
:func:`render_labels` as maps of their :data:`PARTS`.

Two rules keep a picture a function of its row alone, bit for bit: arithmetic on arrays keeps to the operations which
that module names, and a shape covers nothing outside its window.
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
