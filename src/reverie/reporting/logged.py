"""What a run logged, read for charts: series of numbers, warnings, rates and the grids of pictures."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from reverie.engine.events import EVENTS, read_metrics, read_quality
from reverie.reporting.charts import Chart, curve

LARGEST = 1e100  # a value beyond it is not drawn
COUNTED = ("step", "images")  # counters, not measurements

NAMES = {
    "loss": "Loss",
    "recon": "Reconstruction",
    "kl": "KL divergence",
    "tc": "Total correlation",
    "mmd": "Maximum mean discrepancy",
    "sigma": "Noise of the decoder",
    "code": "Squared norm of the codes",
    "grad_norm": "Gradient norm",
    "images_per_second": "Speed",
}
UNITS = {"sigma": "on pixels from −1 to 1", "images_per_second": "pictures per second"}
NATS = ("loss", "recon", "kl", "tc")  # in nats where the model has a bound on log p(x)

Series = list[tuple[int, float]]  # step and value


def series(lines: Iterable[Mapping[str, Any]]) -> dict[str, Series]:
    """Every scalar of ``lines`` that can be drawn, by its name."""
    found: dict[str, Series] = {}
    for line in lines:
        for key, value in line.items():
            if key not in COUNTED and drawable(value):
                found.setdefault(key, []).append((line["step"], float(value)))
    return found


def drawable(value: object) -> bool:
    """Whether it is a number that a chart can show: finite and not too large."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def final_figures(folder: Path) -> dict[str, float]:
    """The last finite value of every scalar that the run logged."""
    figures: dict[str, float] = {}
    for line in read_metrics(folder):
        figures |= {k: float(v) for k, v in line.items() if isinstance(v, (int, float)) and math.isfinite(v)}
    return figures


def training_curves(metrics: list[dict[str, Any]], rates: Series, nats: bool) -> list[Chart]:
    """Charts of each logged scalar and of the speed; ``nats``: whether the model has a bound on log p(x)."""
    order = {key: i for i, key in enumerate(NAMES)}
    found = series(metrics)
    shown = {key: found[key] for key in sorted(found, key=lambda key: order.get(key, len(order)))}
    charts = list(shown.items()) + ([("images_per_second", rates)] if rates else [])
    steps = [step for _, values in charts for step, _ in values]
    return [
        curve(
            key,
            NAMES.get(key, key.replace("_", " ")),
            values,
            (min(steps), max(steps)),
            UNITS.get(key, "nats per picture" if nats and key in NATS else ""),
        )
        for key, values in charts
    ]


def quality_curves(lines: list[dict[str, Any]]) -> list[Chart]:
    """A chart of each figure in the last of these lines of quality.jsonl, except standard errors."""
    if not lines:
        return []
    found, steps = series(lines), (lines[0]["step"], lines[-1]["step"])
    return [
        curve(key, key.replace("_", " "), found[key], steps)
        for key in lines[-1]
        if key in found and key != "kid_standard_error"
    ]


def best_and_last(folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """The best and the last measurement of quality.jsonl, with the names "Best" and "Last"; none without any."""
    lines, best = read_quality(folder)
    return [] if best is None else [("Best", best), ("Last", lines[-1])]


def read_events(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of events.jsonl."""
    file = folder / EVENTS
    found = []
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines() if file.exists() else []:
        try:
            event = json.loads(line)
        except ValueError:  # cut off by a crash
            continue
        if isinstance(event, dict) and isinstance(event.get("step"), int):
            found.append(event)
    return found


def grids(folder: Path, kind: str = "") -> list[tuple[int, Path]]:
    """The steps and files of the run's picture grids with names that end in ``kind``, by step."""
    found = ((re.fullmatch(rf"(\d{{9}}){kind}\.png", path.name), path) for path in (folder / "samples").glob("*.png"))
    return sorted((int(match[1]), path) for match, path in found if match)
