"""report.html: the results of a run, on one self-contained page.

Pictures are embedded, charts are SVG, and text from outside (names of files and classes, specs, warnings) is escaped by
the template. A section without content is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reverie import registry
from reverie.artifact import read_config
from reverie.capabilities import Bounds, Translates
from reverie.data import Dataset
from reverie.data.image_io import GAP
from reverie.engine.events import read_metrics, read_quality
from reverie.engine.model import Model
from reverie.reporting.embedded import Embedded, embedded
from reverie.reporting.formatting import duration, number, setting, shortened
from reverie.reporting.latent import code_map, kl_bars
from reverie.reporting.logged import (
    Series,
    best_and_last,
    drawable,
    grids,
    quality_curves,
    read_events,
    training_curves,
)
from reverie.reporting.rendering import html, write
from reverie.reporting.usage import commands, script

SMALL, SMALL_BYTES = 264, 80_000  # largest side in pixels, and size in bytes, of a picture in a strip
STRIP, BESIDE = 10, 9  # pictures in a strip, and in one beside a large picture


@dataclass(frozen=True)
class Shown:
    """The last grid of pictures of a kind, and earlier ones."""

    title: str
    note: str
    picture: Embedded
    step: int
    strip: list[tuple[int, Embedded]]  # by step; empty where there is only one grid


def write_report(folder: Path, model: Model, dataset: Dataset) -> None:
    """Write report.html from the files of the run in ``folder`` and the codes of pictures of ``dataset``.

    ``model`` is in eval mode. The page loads no other files.
    """
    config, metrics, events = read_config(folder), read_metrics(folder), read_events(folder)
    rates = [(e["step"], float(e["images_per_second"])) for e in events if drawable(e.get("images_per_second"))]
    samples, mixture = grids(folder), grids(folder, "-mixture")
    text = html(
        "report.html.jinja",
        model=config["model"],
        spec=str(config["data"].get("spec", "pictures")),
        version=config["reverie"],
        about=registry.entry_of(config["model"], type(model)).line,
        density=model.taxonomy if model.taxonomy.startswith("not") else f"{model.taxonomy} density",
        figures=_figures(config, metrics, rates, model),
        drawn=embedded(samples[-1][1], _after("Grid of pictures drawn from the model", samples)) if samples else None,
        warnings=_warnings(events),
        over_time=_strip(samples, config, "Samples", STRIP),
        mixture=embedded(mixture[-1][1], "Grid of pictures drawn with the mixture") if mixture else None,
        comparisons=[*_reconstructions(folder, config), *_translations(folder, config, model)],
        quality=quality_curves(read_quality(folder)[0]),
        measured=[(f"{name}, step {line['step']:,}", _rows(_rounded(line))) for name, line in best_and_last(folder)],
        curves=training_curves(metrics, rates, isinstance(model, Bounds)),
        latent=[chart for chart in (kl_bars(metrics), code_map(model, dataset)) if chart],
        shell=commands(str(folder), config, type(model)),
        script=script(str(folder), config, type(model)),
        settings=[(caption, _rows(values)) for caption, values in _settings(config, dataset).items()],
    )
    write(folder / "report.html", text)


def _figures(config: dict[str, Any], metrics: list[dict[str, Any]], rates: Series, model: Model) -> dict[str, str]:
    """The figures at the top of the page, by name."""
    facts, plan = config["facts"], config["settings"]["train"]
    steps = metrics[-1]["step"] if metrics else plan.get("steps")
    images = metrics[-1].get("images") if metrics else None
    figures = {
        "steps": f"{steps:,}" if isinstance(steps, int) else None,
        "pictures seen": f"{images:,}" if isinstance(images, int) else None,
        "training pictures": f"{config['data']['pictures']:,}" if "pictures" in config["data"] else None,
        "height, width, channels": f"{facts['height']} × {facts['width']} × {facts['channels']}",
        "classes": str(len(facts["classes"])) if facts["classes"] else None,
        "parameters": shortened(sum(p.numel() for p in model.parameters())),
        "pictures per second": number(float(np.median([r for _, r in rates]))) if rates else None,
    }
    if rates and isinstance(images, int):
        figures["of training, about"] = duration(images * float(np.mean([1 / r for _, r in rates if r > 0] or [0])))
    return {name: value for name, value in figures.items() if value}


def _warnings(events: list[dict[str, Any]]) -> list[tuple[str, int]]:
    """Each warning once, with the first step at which it occurred."""
    said = {str(e["warning"]): e["step"] for e in reversed(events) if e.get("warning")}
    return list(reversed(said.items()))


def _reconstructions(folder: Path, config: dict[str, Any]) -> list[Shown]:
    found = grids(folder, "-reconstructions")
    if not found:
        return []
    alt = _after("Pictures of the test split above their reconstructions", found)
    note = "Rows alternate: pictures of the test split above, what the model makes of them below."
    strip = _strip(found, config, "Reconstructions", BESIDE)
    return [Shown("Reconstructions", note, embedded(found[-1][1], alt), found[-1][0], strip)]


def _translations(folder: Path, config: dict[str, Any], model: Model) -> list[Shown]:
    """One for each direction of translation."""
    directions = model.directions if isinstance(model, Translates) else ()
    rows = ["the input", "its translation"]
    rows += ["that, translated back"] if len(directions) == 2 else []
    # As in the grids: without pairs, inputs have no counterparts.
    rows += ["what belongs to the input"] if config["settings"]["data"].get("pair") != "unpaired" else []
    crop = len(rows) * (config["facts"]["height"] + GAP) - GAP, 2 * (config["facts"]["width"] + GAP) - GAP
    shown = []
    for way in directions:
        if found := grids(folder, f"-{way}"):
            title = f"Translations from {way[0].upper()} to {way[1].upper()}"
            note = f"Held-out pictures; rows, from above: {', '.join(rows)}."
            strip = _strip(found, config, title, BESIDE, crop)
            shown.append(Shown(title, note, embedded(found[-1][1], _after(title, found)), found[-1][0], strip))
    return shown


def _settings(config: dict[str, Any], dataset: Dataset) -> dict[str, dict[str, Any]]:
    """The settings of the run, by the caption of each table."""
    about = {k: v for k, v in config["data"].items() if k != "place"} | {
        f"facts.{k}": v for k, v in config["facts"].items()
    }
    about |= {"splits": dataset.found.get("splits"), "notes": dataset.found.get("notes")}
    if dataset.unreadable:
        about["unreadable"] = [f"{name}: {why}" for name, why in dataset.unreadable[:20]]
    return {"Pictures": {k: v for k, v in about.items() if v}} | {
        f"{name}.*": values for name, values in config["settings"].items() if values
    }


def _rows(values: dict[str, Any]) -> dict[str, str]:
    return {key: setting(value) for key, value in values.items()}


def _rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {key: number(value) if isinstance(value, float) else value for key, value in figures.items()}


def _after(what: str, found: list[tuple[int, Path]]) -> str:
    return f"{what} after {found[-1][0]:,} steps"


def _strip(
    found: list[tuple[int, Path]], config: dict[str, Any], what: str, most: int, crop: tuple[int, int] | None = None
) -> list[tuple[int, Embedded]]:
    """At most ``most`` of the grids, evenly spaced, including the first and the last; none of a single one.

    Only the upper left of each is shown: ``crop`` (height, width), or the whole cells that fit, at least two.
    """
    if len(found) < 2:
        return []
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
    cell = config["facts"]["height"] + GAP, config["facts"]["width"] + GAP
    fitting = max(2, (SMALL + GAP) // cell[0] // 2 * 2), max(2, (SMALL + GAP) // cell[1] // 2 * 2)
    crop = crop or (fitting[0] * cell[0] - GAP, fitting[1] * cell[1] - GAP)
    return [
        (step, embedded(path, f"{what} after {step:,} steps", SMALL, SMALL_BYTES, crop))
        for step, path in (found[i] for i in chosen)
    ]
