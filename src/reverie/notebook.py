"""How a run is displayed: in one line, and in a notebook as its card, its last pictures and its loss.

Text from outside is escaped, and a part that is missing, as in an unfinished run, is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from reverie.engine.events import last_step, read_metrics
from reverie.errors import printable
from reverie.reporting.logged import series

if TYPE_CHECKING:
    from reverie.reporting.charts import Chart
    from reverie.reporting.embedded import Embedded
    from reverie.run import Run

Part = TypeVar("Part")

SIDE = 512  # longest side of the pictures, in pixels
CURVES = ("loss", "recon", "d", "g")  # the first of these that was logged is drawn, else any other


def line(run: Run) -> str:
    """The run in one line."""
    rows = _rows(run)
    data = rows.pop("data", "pictures")
    summary = ", ".join(f"{value} {key}" for key, value in rows.items())
    return printable(f"<Run {run.path}: {run.name} on {data}; {summary}>")


def html(run: Run) -> str:
    """The run as a self-contained part of an HTML page."""
    from reverie.reporting.rendering import html as rendered

    return rendered(
        "notebook.html.jinja",
        name=run.name,
        path=str(run.path),
        rows=_rows(run),
        picture=_tried(_picture, run),
        loss=_tried(_loss, run),
    )


def _rows(run: Run) -> dict[str, str]:
    image_spec = run.image_spec
    count, steps = run.config["data"].get("pictures"), _tried(_steps, run)
    found = {
        "pictures": " x ".join(map(str, image_spec.shape)),
        "classes": str(len(image_spec.classes)) if image_spec.classes else "",
        "parameters": f"{sum(parameter.numel() for parameter in run.model.parameters()):,}",
        "training pictures": f"{count:,}" if isinstance(count, int) else "",
        "steps": steps or "",
        "data": str(run.config["data"].get("spec", "")),
    }
    return {key: value for key, value in found.items() if value}


def _tried(part: Callable[[Run], Part], run: Run) -> Part | None:
    """A part that is read from the run's folder; None where that fails."""
    try:
        return part(run)
    except Exception:  # a file may be incomplete or invalid
        return None


def _steps(run: Run) -> str:
    steps = last_step(run.path)
    if steps is None:
        steps = run.config["settings"]["train"].get("steps")
    return "" if steps is None else f"{steps:,}"


def _picture(run: Run) -> Embedded:
    from reverie.reporting.embedded import embedded

    newest = max((run.path / "samples").glob("[0-9]*.png"), key=lambda file: file.name[:9])
    shown = newest.with_name(f"{newest.name[:9]}.png")  # the samples, without the other pictures of that step
    return embedded(shown if shown.exists() else newest, "Pictures of the run", SIDE)


def _loss(run: Run) -> Chart:
    from reverie.reporting.charts import curve

    logged = series(read_metrics(run.path))
    key = next((name for name in CURVES if name in logged), next(iter(logged)))
    steps = [step for step, _ in logged[key]]
    return curve(key, "Training", logged[key], (min(steps), max(steps)))
