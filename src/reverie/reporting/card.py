"""The model card: README.md of a run, in the form that the Hugging Face Hub reads."""

from __future__ import annotations

import json
import math
import re
import shlex
from pathlib import Path
from typing import Any

from reverie import registry
from reverie.capabilities import Conditions, Encodes, Reconstructs, Samples, Translates
from reverie.data.sources import MEMORY
from reverie.engine.events import read_metrics, read_quality
from reverie.engine.phase import Model
from reverie.files import replacing

SHOWN_CLASSES = 20


def write_card(folder: Path, config: dict[str, Any], model: Model | type[Model] | None = None) -> None:
    """Write README.md: what the model is, its data, its final training figures, and how to use it.

    ``config`` is the content of config.json; the figures are the last line of metrics.jsonl. ``model`` may be left out
    where the name of it in config.json is registered.
    """
    given = registry.load_class(config["model"]) if model is None else model
    kind = given if isinstance(given, type) else type(given)
    sections = [_front_matter(config, kind), _what(folder, config, kind), _data(config), _training(folder, config)]
    sections += [*_quality(folder), _use(folder, config, kind), _licence(config)]
    with replacing(folder / "README.md") as temporary:
        temporary.write_text("\n\n".join(sections) + "\n", encoding="utf-8", errors="replace")


def commands(run: str, config: dict[str, Any], kind: type[Model]) -> str:
    """Lines for a shell that use the run, as its model's capabilities permit; none where only a program can load it."""
    if not _named(config, kind) or kind.__module__ == "__main__":
        return ""
    spec = str(config["data"].get("spec", ""))
    in_memory = spec.startswith(MEMORY)
    place, data = shlex.quote(run), "PICTURES" if in_memory else shlex.quote(spec)
    judge = f"evaluate {place}{f' --data {data}' if in_memory else ''}"
    lines = [f"sample {place} --count 64"] if _is(kind, Samples) else []
    if _is(kind, Reconstructs):
        lines.append(f"reconstruct {place} {data}")
    if _is(kind, Translates):
        lines += [f"translate {place} PICTURES", judge]
    if _is(kind, Encodes):
        lines += [f"embed {place} {data}", judge]
    return "\n".join(f"reverie {line}{registry.imports(kind)}" for line in lines)


def script(run: str, config: dict[str, Any], kind: type[Model]) -> str:
    """Lines of Python that use the run, as its model's capabilities permit."""
    a, b = config["facts"].get("sides") or (0, 0)
    lines, given = ["import reverie"], ""
    if config.get("outside"):  # what only the program that trained it can build
        given = ", model=model"
    elif not _named(config, kind):
        lines.append(f"from {kind.__module__} import {kind.__name__}")
        given = f", model={kind.__name__}"
    elif registry.imports(kind):
        lines.append(f"import {kind.__module__}  # which registers the model")
    given += ", data=data" if str(config["data"].get("spec", "")).startswith(MEMORY) else ""
    lines += ["", f"run = reverie.load({run!r}{given})"]
    if _is(kind, Samples):
        c, h, w = (config["facts"][side] for side in ("channels", "height", "width"))
        lines.append(f"pictures = run.sample(16)  # (16, {c}, {h}, {w}) in [-1, 1]")
    if _is(kind, Translates):
        lines.append(f"translated = run.translate(run.open())  # the test pictures, from {a} to {b} channels")
    if _is(kind, Encodes):
        lines.append("codes = run.encode(run.open())  # of the test pictures")
    return "\n".join(lines)


def _named(config: dict[str, Any], kind: type[Model]) -> bool:
    """Whether the name in config.json is one of the class's, and builds it."""
    return config["model"] in registry.names_of(kind) and not config.get("outside")


def final_figures(folder: Path) -> dict[str, float]:
    """The last finite value of every scalar that the run logged."""
    figures: dict[str, float] = {}
    for line in read_metrics(folder):
        figures |= {k: float(v) for k, v in line.items() if isinstance(v, (int, float)) and math.isfinite(v)}
    return figures


def number(value: float) -> str:
    """Four digits or so, with thousands apart: 12,345 or 0.1234."""
    if value == 0 or 1e-3 <= abs(value) < 1000:
        return f"{value:.4g}".replace("-", "−")
    return (f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.3g}").replace("-", "−")


def _is(kind: type[Model], capability: type) -> bool:
    return issubclass(kind, capability)


def _front_matter(config: dict[str, Any], kind: type[Model]) -> str:
    spec = str(config["data"].get("spec", ""))
    head: dict[str, Any] = {"library_name": "reverie"}
    if _is(kind, Samples) and not _is(kind, Conditions):
        head["pipeline_tag"] = "unconditional-image-generation"
    if _is(kind, Translates):
        head["pipeline_tag"] = "image-to-image"
    head["tags"] = ["reverie", "pytorch", "image-generation", config["model"]]
    if re.fullmatch(r"hf:[\w.-]+/[\w.-]+", spec):
        head["datasets"] = [spec[3:]]
    lines = []
    for key, value in head.items():  # JSON strings are YAML strings
        each = [f"{key}:", *(f"  - {json.dumps(v)}" for v in value)] if isinstance(value, list) else [f"{key}: {value}"]
        lines += each
    return "\n".join(["---", *lines, "---"])


def _what(folder: Path, config: dict[str, Any], kind: type[Model]) -> str:
    facts = config["facts"]
    text = (
        f"# {config['model']} on {code(config['data'].get('spec', 'pictures'))}\n\n"
        f"{registry.entry_of(config['model'], kind).line}, {kind.taxonomy} density, for pictures of "
        f"{facts['height']} × {facts['width']} pixels {_channels(facts)}. Trained with reverie {config['reverie']}."
    )
    text = text.replace("not probabilistic density", "not probabilistic")
    drawn = max((folder / "samples").glob("[0-9]*[0-9].png"), default=None)
    translated = max((folder / "samples").glob("[0-9]*-ab.png"), default=None)
    if drawn:
        text += f"\n\n![A grid of pictures drawn from the model](samples/{drawn.name})"
    elif translated:
        text += f"\n\n![Held-out pictures above their translations](samples/{translated.name})"
    return text + "\n\nCurves, the latent space and more: [report.html](report.html)."


def _channels(facts: dict[str, Any]) -> str:
    if facts.get("sides"):
        return f"in {facts['sides'][0]} channels on side A and {facts['sides'][1]} on side B"
    return f"in {facts['channels']} channel{'s' if facts['channels'] > 1 else ''}"


def _data(config: dict[str, Any]) -> str:
    classes = config["facts"]["classes"]
    count = config["data"].get("pictures")
    lines = ["## Data", ""]
    trained = f"{count:,} training pictures" if isinstance(count, int) else "Training pictures"
    lines.append(f"{trained} of {code(config['data'].get('spec', ''))}, with values scaled to [-1, 1].")
    if classes:
        shown = ", ".join(code(name) for name in classes[:SHOWN_CLASSES])
        more = f" and {len(classes) - SHOWN_CLASSES} more" if len(classes) > SHOWN_CLASSES else ""
        lines.append(f"{len(classes)} classes: {shown}{more}.")
    if config["data"].get("fingerprint"):
        lines.append(f"Fingerprint: {code(config['data']['fingerprint'])}.")
    return "\n".join(lines)


def _training(folder: Path, config: dict[str, Any]) -> str:
    figures, plan = final_figures(folder), config["settings"]["train"]
    lines = ["## Training", ""]
    steps = f"{int(figures.get('step', plan.get('steps') or 0)):,} steps"
    lines += [f"{steps} of {plan.get('batch_size')} pictures, seed {plan.get('seed')}.", ""]
    rows = [f"| {code(k)} | {number(v)} |" for k, v in figures.items() if k not in ("step", "images")]
    if rows:
        lines += ["Means over the last logged steps, on training pictures:", "", "| figure | value |", "|---|---:|"]
        lines += rows
    else:
        lines.append("No figures were logged.")
    return "\n".join(lines)


def _quality(folder: Path) -> list[str]:
    """A table of the figures of samples at the best and at the last measurement; nothing where there was none."""
    lines, best = read_quality(folder)
    if best is None:
        return []
    last = lines[-1]
    keys = [k for k, v in last.items() if isinstance(v, (int, float)) and k not in ("step", "images")]
    rows = [f"| {code(k)} | {number(best[k])} | {number(last[k])} |" for k in keys if k in best]
    head = ["## Quality", "", f"| figure | best, step {best['step']:,} | last, step {last['step']:,} |"]
    note = (
        "Of the set against training pictures; of translations also against what belongs to them. The best weights, by "
        "the Frechet distance, are a run of their own: `best/`."
    )
    return ["\n".join([*head, "|---|---:|---:|", *rows, "", note])]


def _use(folder: Path, config: dict[str, Any], kind: type[Model]) -> str:
    shell = commands(str(folder), config, kind)
    return "\n\n".join(
        [
            "## How to use",
            fence("python", script(str(folder), config, kind)),
            *([fence("bash", shell)] if shell else []),
            "All settings are in `config.json`; `model.safetensors` holds the weights. Nothing in either is executed.",
        ]
    )


def _licence(config: dict[str, Any]) -> str:
    return (
        "## Licence\n\n"
        "reverie itself is under the Apache License 2.0. That says nothing about these weights: they were learned "
        f"from {code(config['data'].get('spec', 'pictures'))}, whose terms decide how they may be used and shared."
    )


def code(text: object) -> str:
    """Text as a Markdown code span, whatever it contains."""
    clean = " ".join(str(text).split()).replace("|", "\\|")
    ticks = "`" * (max((len(run) for run in re.findall("`+", clean)), default=0) + 1)
    return f"{ticks} {clean} {ticks}" if "`" in clean else f"`{clean}`"


def fence(language: str, text: str) -> str:
    """Text as a Markdown code block, whatever it contains."""
    ticks = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{ticks}{language}\n{text}\n{ticks}"
