"""The model card: README.md of a run, in the format of the Hugging Face Hub."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from reverie import registry
from reverie.capabilities import Conditions, Samples, Translates
from reverie.engine.model import Model
from reverie.reporting.logged import COUNTED, best_and_last, final_figures, grids
from reverie.reporting.rendering import markdown, write
from reverie.reporting.usage import commands, script

SHOWN_CLASSES = 20


def write_card(folder: Path, config: dict[str, Any], model: Model | type[Model] | None = None) -> None:
    """Write README.md: what the model is, its data, its final training figures, and how to use it.

    ``config`` is the content of config.json; the figures are the last line of metrics.jsonl. ``model`` may be omitted
    where its name in config.json is registered.
    """
    given = registry.load_class(config["model"]) if model is None else model
    kind = given if isinstance(given, type) else type(given)
    facts, figures, plan = config["facts"], final_figures(folder), config["settings"]["train"]
    text = markdown(
        "card.md.jinja",
        config=config,
        spec=config["data"].get("spec", "pictures"),
        hub=re.fullmatch(r"hf:([\w.-]+/[\w.-]+)", str(config["data"].get("spec", ""))),
        task=_task(kind),
        about=registry.entry_of(config["model"], kind).line,
        density=kind.taxonomy if kind.taxonomy == "not probabilistic" else f"{kind.taxonomy} density",
        channels=_channels(facts),
        drawn=max((path.name for _, path in grids(folder)), default=None),
        translated=max((path.name for _, path in grids(folder, "-ab")), default=None),
        pictures=f"{count:,} training pictures" if isinstance(count := config["data"].get("pictures"), int) else None,
        classes=facts["classes"],
        shown_classes=SHOWN_CLASSES,
        steps=f"{int(figures.get('step', plan.get('steps') or 0)):,}",
        plan=plan,
        figures={key: value for key, value in figures.items() if key not in COUNTED},
        quality=_quality(folder),
        shell=commands(str(folder), config, kind),
        script=script(str(folder), config, kind),
    )
    write(folder / "README.md", text)


def _task(kind: type[Model]) -> str | None:
    """The Hub's name for the task of the model."""
    if issubclass(kind, Translates):
        return "image-to-image"
    return "unconditional-image-generation" if issubclass(kind, Samples) and not issubclass(kind, Conditions) else None


def _channels(facts: dict[str, Any]) -> str:
    if facts.get("sides"):
        return f"in {facts['sides'][0]} channels on side A and {facts['sides'][1]} on side B"
    return f"in {facts['channels']} channel{'s' if facts['channels'] > 1 else ''}"


def _quality(folder: Path) -> dict[str, Any] | None:
    """The quality figures of the best and the last measurement; None where there are none."""
    measured = best_and_last(folder)
    if not measured:
        return None
    (_, best), (_, last) = measured
    keys = [k for k, v in last.items() if isinstance(v, (int, float)) and k not in COUNTED and k in best]
    return {"best": best["step"], "last": last["step"], "rows": [(key, best[key], last[key]) for key in keys]}
