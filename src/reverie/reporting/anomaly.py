"""Results of anomaly detection for people: a table, pictures with heat maps, and a page of the oddest pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from reverie.data.image_io import coloured, to_uint8
from reverie.data.png import png
from reverie.errors import ReverieError
from reverie.files import write_table
from reverie.reporting.embedded import Embedded, data_uri
from reverie.reporting.rendering import html, write

MOST_SHOWN = 500  # pictures on a sheet


def oddest(scores: NDArray[np.float64], count: int | None = None) -> NDArray[np.int64]:
    """The indices of the ``count`` highest ``scores``, highest first; ties in their order.

    By default as many as a sheet shows, `MOST_SHOWN`.
    """
    return np.argsort(-scores, kind="stable")[: MOST_SHOWN if count is None else count]


def overlay(images: Tensor, heat: Tensor) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] in grey, overlaid in red with heat (N, H, W) in [0, 1]: (N, 3, H, W)."""
    if heat.shape != (len(images), *images.shape[2:]):
        raise ReverieError(f"A heat map for pictures {tuple(images.shape)} cannot be {tuple(heat.shape)}.")
    grey = coloured(images).mean(1, keepdim=True)
    red = torch.tensor([1.0, -1.0, -1.0], device=images.device).view(1, 3, 1, 1)
    return torch.lerp(grey.expand(-1, 3, -1, -1), red.expand(len(images), -1, *images.shape[2:]), heat.unsqueeze(1))


def write_csv(
    path: Path | str,
    names: Sequence[str],
    scores: NDArray[np.float64],
    p_values: NDArray[np.float64],
    odd: NDArray[np.bool_],
) -> None:
    """Write a table of name, score, p_value and odd (true or false), in the given order; atomically."""
    _check_lengths(names, {"scores": scores, "p-values": p_values, "verdicts": odd})
    columns = zip(names, scores.tolist(), p_values.tolist(), odd.tolist(), strict=True)
    rows = ([name, repr(score), repr(p), str(strange).lower()] for name, score, p, strange in columns)
    write_table(Path(path), ["name", "score", "p_value", "odd"], rows)


def write_sheet(
    path: Path | str,
    images: Tensor,
    names: Sequence[str],
    scores: NDArray[np.float64],
    p_values: NDArray[np.float64],
    odd: NDArray[np.bool_],
    heat: Tensor | None = None,
    title: str = "Odd pictures",
    rows: NDArray[np.int64] | None = None,
) -> None:
    """Write a self-contained HTML page of the pictures (N, C, H, W) in [-1, 1], oddest first.

    With ``heat`` (N, H, W) in [0, 1] its `overlay` is shown beside each picture. At most `MOST_SHOWN` pictures are
    shown. If there are too many to hold in memory, ``images`` and ``heat`` may be only those of ``rows``, from
    `oddest`; names, scores, p-values and verdicts are always of all. Names and the title are escaped; the page is
    written atomically.
    """
    _check_lengths(names, {"scores": scores, "p-values": p_values, "verdicts": odd})
    given = np.arange(len(names)) if rows is None else rows
    _check_lengths(given, {"pictures": images} | ({} if heat is None else {"heat maps": heat}))
    places = oddest(scores[given])
    pictures = []
    for i in places.tolist():  # one at a time, so that memory does not grow with their number
        marked = [] if heat is None else [overlay(images[i : i + 1], heat[i : i + 1])]
        pictures.append(_embedded(torch.cat([coloured(images[i : i + 1]), *marked], 3)))
    shown = given[places].tolist()
    cards = [
        {"name": names[row], "score": f"{scores[row]:.5g}", "p": f"{p_values[row]:.3g}", "odd": odd[row], "picture": it}
        for row, it in zip(shown, pictures, strict=True)
    ]
    text = html(
        "anomaly.html.jinja", title=title, cards=cards, odd=int(odd.sum()), count=len(names), marked=heat is not None
    )
    write(path, text)


def _embedded(picture: Tensor) -> Embedded:
    """An embedded picture of (1, 3, H, W), without alt text: its name is below it."""
    pixels = to_uint8(picture)[0]
    data = png(Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0))))
    return Embedded(data_uri(data), pixels.shape[2], pixels.shape[1], alt="", crisp=True)


def _check_lengths(names: Sized, others: Mapping[str, Sized]) -> None:
    for what, values in others.items():
        if len(values) != len(names):
            raise ReverieError(f"There are {len(names)} names and {len(values)} {what}; give one for each picture.")
