"""How a run shows itself: in one line, and in a notebook as its card, its last pictures and its loss.

Whatever comes from outside is escaped, and a part that cannot be shown, as of a run that is not finished, is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING

from reverie.engine.events import last_step
from reverie.errors import printable

if TYPE_CHECKING:
    from reverie.run import Run

SIDE = 512  # pixels of the longer side of the pictures, at most
LARGEST = 1e100  # a value beyond it is not drawn
CURVES = ("loss", "recon", "d", "g")  # of which the first that was logged is drawn; else whatever was


def line(run: Run) -> str:
    """The run in one line."""
    image_spec = _image_spec(run)
    data = image_spec.pop("data", "pictures")
    told = ", ".join(f"{value} {key}" for key, value in image_spec.items())
    return printable(f"<Run {run.path}: {run.name} on {data}; {told}>")


def html(run: Run) -> str:
    """The run as a part of a page, which needs nothing but a browser and loads nothing."""
    rows = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in _image_spec(run).items())
    head = f"<h3>{escape(run.name)} <code>{escape(str(run.path))}</code></h3><dl>{rows}</dl>"
    parts = [_tried(part, run) for part in (_pictures, _curve)]
    return f'<div class="reverie-run"><style>{STYLE}</style><div>{head}</div>{"".join(parts)}</div>'


def _image_spec(run: Run) -> dict[str, str]:
    image_spec = run.image_spec
    count, steps = run.config["data"].get("pictures"), _tried(_steps, run)
    found = {
        "pictures": " x ".join(map(str, image_spec.shape)),
        "classes": str(len(image_spec.classes)) if image_spec.classes else "",
        "parameters": f"{sum(parameter.numel() for parameter in run.model.parameters()):,}",
        "training pictures": f"{count:,}" if isinstance(count, int) else "",
        "steps": steps,
        "data": str(run.config["data"].get("spec", "")),
    }
    return {key: value for key, value in found.items() if value}


def _tried(part: Callable[[Run], str], run: Run) -> str:
    """A part that is read from the run's folder, whatever state that is in."""
    try:
        return part(run)
    except Exception:  # a file may be half there, or anything
        return ""


def _steps(run: Run) -> str:
    steps = last_step(run.path)
    if steps is None:
        steps = run.config["settings"]["train"].get("steps")
    return "" if steps is None else f"{steps:,}"


def _pictures(run: Run) -> str:
    from PIL import Image

    from reverie.reporting.page import png

    newest = max((run.path / "samples").glob("[0-9]*.png"), key=lambda file: file.name[:9])
    shown = newest.with_name(f"{newest.name[:9]}.png")  # what was drawn, where there is anything beside it
    with Image.open(shown if shown.exists() else newest) as opened:
        picture = opened.copy()
    picture.thumbnail((SIDE, SIDE))
    source = base64.b64encode(png(picture)).decode()
    return f'<img alt="Pictures of the run" src="data:image/png;base64,{source}">'


def _curve(run: Run) -> str:
    from reverie.engine.events import read_metrics
    from reverie.reporting.charts import curve

    series: dict[str, list[tuple[int, float]]] = {}
    for entry in read_metrics(run.path):
        for key, value in entry.items():
            if key not in ("step", "images") and isinstance(value, float) and abs(value) < LARGEST:
                series.setdefault(key, []).append((int(entry["step"]), float(value)))
    key = next((name for name in CURVES if name in series), next(iter(series)))
    steps = [step for step, _ in series[key]]
    return curve(key, "Training", series[key], (min(steps), max(steps)))


STYLE = """
.reverie-run { display: flex; flex-wrap: wrap; gap: 24px; align-items: flex-start; }
.reverie-run dl { display: grid; grid-template-columns: auto auto; gap: 2px 12px; margin: 0; }
.reverie-run dt { opacity: .65; } .reverie-run dd { margin: 0; overflow-wrap: anywhere; }
.reverie-run img { image-rendering: pixelated; max-width: 320px; }
.reverie-run svg { width: 360px; } .reverie-run svg text { font: 11px system-ui, sans-serif; fill: currentColor; }
.reverie-run .axis { stroke: currentColor; fill: none; } .reverie-run .rule { stroke: currentColor; opacity: .15; }
.reverie-run .line { stroke: #3f90da; stroke-width: 2; fill: none; } .reverie-run .range { fill: #3f90da; opacity: .2; }
.reverie-run .spot rect { fill: none; pointer-events: all; } .reverie-run .spot > :not(rect) { visibility: hidden; }
.reverie-run .spot:hover > :not(rect), .reverie-run .spot > .only { visibility: visible; }
.reverie-run .spot path { stroke: currentColor; opacity: .4; } .reverie-run .spot circle { fill: #3f90da; }
"""
