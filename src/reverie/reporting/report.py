"""report.html: what became of a run, on one page that needs nothing but a browser.

Pictures are inside the page, charts are SVG (drawn in charts.py), and whatever comes from outside (names of files and
classes, specs, warnings) is escaped. A section that has nothing to show is left out.
"""

from __future__ import annotations

import base64
import json
import re
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from reverie import registry
from reverie.artifact import read_config
from reverie.capabilities import Bounds, Encodes, Translates
from reverie.data import Dataset
from reverie.data.pictures import GAP
from reverie.engine.events import EVENTS, read_metrics, read_quality
from reverie.engine.phase import Model
from reverie.files import replacing
from reverie.inference.embed import embed
from reverie.inference.latent_map import latent_map
from reverie.inference.pictures import sample_indices
from reverie.reporting.card import commands, number, script
from reverie.reporting.charts import Group, bars, colour_of, curve, legend, scatter, shortened
from reverie.reporting.page import page, png

LARGE, LARGE_BYTES = 1024, 1_000_000  # pixels of side, and bytes, of the large pictures
SMALL, SMALL_BYTES = 264, 80_000  # of those in a strip
STRIP, BESIDE = 10, 9  # pictures in a strip, and in one beside a large picture
MAPPED = 2000  # pictures on the map of the latent space
ENOUGH = 500  # pictures of the test split that make a map; with fewer, training pictures are shown
LARGEST = 1e100  # a value beyond it is not drawn

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


def write_report(folder: Path, model: Model, dataset: Dataset) -> None:
    """Write report.html from what the run in ``folder`` left there, and the codes of pictures of ``dataset``.

    ``model`` is in eval mode. The page loads nothing from elsewhere.
    """
    config, metrics, events = read_config(folder), read_metrics(folder), _read_events(folder)
    rates = [(e["step"], e["images_per_second"]) for e in events if _drawable(e.get("images_per_second"))]
    sections = [
        _head(folder, config, metrics, rates, model),
        _warnings(events),
        _over_time(folder, config),
        _from_mixture(folder),
        _reconstructions(folder, config),
        *(_translations(folder, config, model, way) for way in _directions(model)),
        _quality(folder),
        _curves(metrics, rates, isinstance(model, Bounds)),
        _latent(metrics, model, dataset),
        _use(folder, config, model),
        _settings(config, dataset),
    ]
    title = escape(f"{config['model']} on {config['data'].get('spec', 'pictures')}")
    foot = f"<footer>Written by reverie {escape(config['reverie'])}. This page loads nothing from elsewhere.</footer>"
    body = "\n".join(["<main>", "\n".join(filter(None, sections)), "</main>", foot])
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(page(f"{title} – reverie", STYLE, body), encoding="utf-8", errors="replace")


# Sections


def _head(
    folder: Path, config: dict[str, Any], metrics: list[dict[str, Any]], rates: list[tuple[int, float]], model: Model
) -> str:
    facts, plan = config["facts"], config["settings"]["train"]
    about = registry.entry_of(config["model"], type(model)).line
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
        figures["of training, about"] = _duration(images * float(np.mean([1 / r for _, r in rates if r > 0] or [0])))
    kind = model.taxonomy if model.taxonomy.startswith("not") else f"{model.taxonomy} density"
    shown = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in figures.items() if v)
    samples = _pictures(folder, "")
    hero = ""
    if samples:
        alt = f"Grid of pictures drawn from the model after {samples[-1][0]:,} steps"
        hero = _figure(_image(samples[-1][1], alt), "Drawn from the model: final samples, not selected.", "hero")
    return (
        f'<header class="head"><div><p class="eyebrow">reverie · training report</p>'
        f"<h1>{escape(config['model'])} <span>on</span> {escape(str(config['data'].get('spec', 'pictures')))}</h1>"
        f'<p class="lead">{escape(about)}; {escape(kind)}.</p>'
        f"<dl>{shown}</dl></div>{hero}</header>"
    )


def _warnings(events: list[dict[str, Any]]) -> str:
    said = {str(e["warning"]): e["step"] for e in reversed(events) if e.get("warning")}
    items = [f"<li>{escape(text)} <small>from step {step:,}</small></li>" for text, step in reversed(said.items())]
    return _section("Warnings", f'<ul class="warnings">{"".join(items)}</ul>') if items else ""


def _over_time(folder: Path, config: dict[str, Any]) -> str:
    found = _pictures(folder, "")
    if len(found) < 2:
        return ""
    return _section("Samples over time", _strip(found, config, "Samples", STRIP), "Drawn with the same seed each time.")


def _from_mixture(folder: Path) -> str:
    found = _pictures(folder, "-mixture")
    if not found:
        return ""
    note = (
        "Latents drawn from the Gaussian mixture fitted on the codes after training, not from the model's own prior. "
        "Where these look better, the codes leave gaps in the prior: a smaller latent or a larger beta closes them."
    )
    image = _image(found[-1][1], "Grid of pictures drawn with the mixture")
    return _section("Samples from the mixture", _figure(image, "reverie sample RUN --prior mixture"), note)


def _reconstructions(folder: Path, config: dict[str, Any]) -> str:
    found = _pictures(folder, "-reconstructions")
    if not found:
        return ""
    step = f"{found[-1][0]:,}"
    large = _image(found[-1][1], f"Pictures of the test split above their reconstructions after {step} steps")
    body = _figure(large, f"After {step} steps.")
    if len(found) > 1:
        body += f"<div><h3>Over time</h3>{_strip(found, config, 'Reconstructions', BESIDE)}</div>"
    note = "Rows alternate: pictures of the test split above, what the model makes of them below."
    return _section("Reconstructions", f'<div class="beside">{body}</div>', note)


def _directions(model: Model) -> tuple[str, ...]:
    return model.directions if isinstance(model, Translates) else ()


def _translations(folder: Path, config: dict[str, Any], model: Model, way: str) -> str:
    found = _pictures(folder, f"-{way}")
    if not found:
        return ""
    rows = ["the input", "its translation"]
    rows += ["that, translated back"] if len(_directions(model)) == 2 else []
    # As the pictures are: without pairs, there is nothing that belongs to an input.
    rows += ["what belongs to the input"] if config["settings"]["data"].get("pair") != "unpaired" else []
    step = f"{found[-1][0]:,}"
    title = f"Translations from {way[0].upper()} to {way[1].upper()}"
    body = _figure(_image(found[-1][1], f"{title} after {step} steps"), f"After {step} steps.")
    if len(found) > 1:
        crop = len(rows) * (config["facts"]["height"] + GAP) - GAP, 2 * (config["facts"]["width"] + GAP) - GAP
        body += f"<div><h3>Over time</h3>{_strip(found, config, title, BESIDE, crop)}</div>"
    note = f"Held-out pictures; rows, from above: {', '.join(rows)}."
    return _section(title, f'<div class="beside">{body}</div>', note)


def _curves(metrics: list[dict[str, Any]], rates: list[tuple[int, float]], nats: bool) -> str:
    series: dict[str, list[tuple[int, float]]] = {}
    for line in metrics:
        for key, value in line.items():
            if key not in ("step", "images") and _drawable(value):
                series.setdefault(key, []).append((line["step"], float(value)))
    order = {key: i for i, key in enumerate(NAMES)}
    steps = [step for each in (*series.values(), rates) for step, _ in each]
    charts = [
        curve(
            key,
            NAMES.get(key, key.replace("_", " ")),
            series[key],
            (min(steps), max(steps)),
            UNITS.get(key, "nats per picture" if nats and key in NATS else ""),
        )
        for key in sorted(series, key=lambda key: order.get(key, len(order)))
    ]
    if rates:
        key = "images_per_second"
        charts.append(curve(key, NAMES[key], rates, (min(steps), max(steps)), UNITS[key]))
    note = "Against the step, on training pictures; the large number is the last value. Point at a curve to read it."
    return _section("Training", f'<div class="charts">{"".join(charts)}</div>', note) if charts else ""


def _quality(folder: Path) -> str:
    lines, best = read_quality(folder)
    if best is None:
        return ""
    charts = [
        curve(key, key.replace("_", " "), values, (lines[0]["step"], lines[-1]["step"]))
        for key in lines[-1]
        if key not in ("step", "images", "kid_standard_error")
        and (values := [(line["step"], float(line[key])) for line in lines if _drawable(line.get(key))])
    ]
    tables = [_table(f"{what}, step {line['step']:,}", line) for what, line in (("Best", best), ("Last", lines[-1]))]
    note = (
        "Against training pictures, and for translations against what belongs to the inputs. The weights with the "
        "smallest Frechet distance are a run of their own in the folder best."
    )
    body = f'<div class="charts">{"".join(charts)}</div><div class="tables">{"".join(tables)}</div>'
    return _section("Quality", body, note)


def _latent(metrics: list[dict[str, Any]], model: Model, dataset: Dataset) -> str:
    parts = []
    logged = [line["kl_dims"] for line in metrics if isinstance(line.get("kl_dims"), list)]
    kl = [(i, float(value)) for i, value in enumerate(logged[-1]) if _drawable(value)] if logged else []
    if kl:
        parts.append(bars(kl))
    if isinstance(model, Encodes):
        parts.append(_map(model, dataset))
    return _section("Latent space", f'<div class="pair">{"".join(parts)}</div>') if any(parts) else ""


def _use(folder: Path, config: dict[str, Any], model: Model) -> str:
    kind = type(model)
    parts = [("In a shell", commands(str(folder), config, kind)), ("In Python", script(str(folder), config, kind))]
    blocks = "".join(f"<div><h3>{h}</h3><pre><code>{escape(text)}</code></pre></div>" for h, text in parts if text)
    return _section("How to use this artifact", f'<div class="pair">{blocks}</div>')


def _settings(config: dict[str, Any], dataset: Dataset) -> str:
    about = {k: v for k, v in config["data"].items() if k != "place"} | {
        f"facts.{k}": v for k, v in config["facts"].items()
    }
    about |= {"splits": dataset.found.get("splits"), "notes": dataset.found.get("notes")}
    if dataset.unreadable:
        about["unreadable"] = [f"{name}: {why}" for name, why in dataset.unreadable[:20]]
    tables = {"Pictures": {k: v for k, v in about.items() if v}} | {
        f"{name}.*": values for name, values in config["settings"].items() if values
    }
    return _section(
        "Settings",
        f'<div class="tables">{"".join(_table(caption, rows) for caption, rows in tables.items())}</div>',
        "Everything this run was trained with, defaults included.",
    )


# Pictures


def _pictures(folder: Path, kind: str) -> list[tuple[int, Path]]:
    """The steps and files of the grids whose names end in ``kind``."""
    found = ((re.fullmatch(rf"(\d{{9}}){kind}\.png", path.name), path) for path in (folder / "samples").glob("*.png"))
    return sorted((int(match[1]), path) for match, path in found if match)


def _strip(
    found: list[tuple[int, Path]], config: dict[str, Any], what: str, most: int, crop: tuple[int, int] | None = None
) -> str:
    """At most so many of the grids, evenly spread, the first and the last among them.

    Of each only the upper left is shown: of height and width ``crop``, or the whole cells that fit, two at least.
    """
    chosen = np.unique(np.linspace(0, len(found) - 1, min(most, len(found))).round().astype(int))
    cell = config["facts"]["height"] + GAP, config["facts"]["width"] + GAP
    fitting = max(2, (SMALL + GAP) // cell[0] // 2 * 2), max(2, (SMALL + GAP) // cell[1] // 2 * 2)
    crop = crop or (fitting[0] * cell[0] - GAP, fitting[1] * cell[1] - GAP)
    items = []
    for step, path in (found[i] for i in chosen):
        image = _image(path, f"{what} after {step:,} steps", SMALL, SMALL_BYTES, crop)
        items.append(f"<li>{_figure(image, f'step {step:,}')}</li>")
    return f'<ol class="strip">{"".join(items)}</ol>'


def _image(
    path: Path, alt: str, side: int = LARGE, most: int = LARGE_BYTES, crop: tuple[int, int] | None = None
) -> str:
    """An <img> that holds the picture, or its upper left of height and width ``crop``, at most ``side`` large."""
    with Image.open(path) as opened:
        picture = opened.copy()
    if crop:
        picture = picture.crop((0, 0, min(crop[1], picture.width), min(crop[0], picture.height)))
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    data = png(picture)
    if len(data) > most:
        picture = picture.convert("RGBA").quantize(256, Image.Quantize.FASTOCTREE)
        data = png(picture)
    crisp = ' class="crisp"' if max(picture.size) <= side // 2 else ""
    source = base64.b64encode(data).decode()
    return (
        f'<img{crisp} width="{picture.width}" height="{picture.height}" alt="{escape(alt)}" '
        f'src="data:image/png;base64,{source}">'
    )


# The map


def _map(model: Model, dataset: Dataset) -> str:
    """Codes of pictures on the plane, coloured by class where there are classes."""
    split, word = dataset.split("test"), "the test split"
    if len(split) < ENOUGH:
        split, word = dataset.split("train"), "the training split"
    if len(split) == 0:
        return ""
    count = min(MAPPED, len(split))
    found = embed(model, split, indices=sample_indices(split, count))
    places, spread = latent_map(found.codes), float(found.codes.astype(np.float64).var(0).sum())
    inside = np.asarray(np.isfinite(places).all(1), np.bool_)
    if not inside.any():
        return ""
    size = found.codes.shape[1]
    names = ("z₁", "z₂")
    how = f"The {'latent space itself' if size == 2 else 'one latent dimension'}"
    if size > 2:
        shares = places.astype(np.float64).var(0) / spread if spread > 0 else np.zeros(2)
        names = (f"first component, {shares[0]:.0%} of variance", f"second component, {shares[1]:.0%}")
        how = f"First two of {size} principal components, which hold {shares.sum():.0%} of the variance"
    labels = found.labels if found.classes else None
    groups: list[Group] = [("pictures", inside, "var(--accent)")]
    if labels is not None:
        each = ((name, np.logical_and(inside, labels == k), k) for k, name in enumerate(found.classes))
        groups = [(name, member, colour_of(k, len(found.classes))) for name, member, k in each if member.any()]
    coloured = ", coloured by class" if labels is not None else ""
    heading = f"<h3>Map</h3><p>{how}: {count:,} pictures of {word}{coloured}.</p>"
    return f'<div class="chart map">{heading}{scatter(places, groups, names)}{legend(groups)}</div>'


# Words


def _section(title: str, body: str, note: str = "") -> str:
    """A part of the page; ``title``, ``body`` and ``note`` are HTML."""
    noted = f'<p class="note">{note}</p>' if note else ""
    return f"<section><h2>{title}</h2>{noted}{body}</section>"


def _figure(image: str, caption: str, kind: str = "") -> str:
    return f'<figure class="{kind}">{image}<figcaption>{escape(caption)}</figcaption></figure>'


def _table(caption: str, rows: dict[str, Any]) -> str:
    body = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(_value(v))}</td></tr>' for k, v in rows.items())
    return f"<table><caption>{escape(caption)}</caption><tbody>{body}</tbody></table>"


def _value(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(each) for each in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def _drawable(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def _read_events(folder: Path) -> list[dict[str, Any]]:
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


STYLE = """
:root { --page: #faf9f6; --card: #fff; --ink: #1d1b26; --soft: #68647a; --line: #e5e2da; --accent: #5146c8;
  --warn: #8a4b00; --warn-page: #fff4e0; }
@media (prefers-color-scheme: dark) {
  :root { --page: #131218; --card: #1b1a22; --ink: #ece9f4; --soft: #9d98af; --line: #302d3b; --accent: #a79dff;
    --warn: #ffc978; --warn-page: #2e2313; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main, footer { max-width: 1160px; margin: 0 auto; padding: 0 clamp(16px, 4vw, 40px); }
h1, h2 { font-family: ui-serif, "Iowan Old Style", Georgia, serif; font-weight: 500; letter-spacing: -.01em; }
h1 { font-size: clamp(2rem, 5vw, 3.4rem); line-height: 1.08; margin: 0 0 16px; overflow-wrap: anywhere; }
h1 span { color: var(--soft); font-style: italic; }
h2 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; }
h3 { font-size: 1rem; margin: 0; }
p { margin: 0; }
small, .note, figcaption, footer { color: var(--soft); }
figcaption, small, footer { font-size: .84rem; }
code, pre { font: .86em/1.6 ui-monospace, Menlo, Consolas, monospace; }
section { padding: 36px 0 40px; border-top: 1px solid var(--line); }
section > .note { max-width: 60em; margin-bottom: 22px; }
section > h2:not(:has(+ .note)) { margin-bottom: 20px; }
.head { display: grid; grid-template-columns: 1fr minmax(0, 480px); gap: clamp(28px, 5vw, 64px); align-items: center;
  padding: clamp(32px, 6vw, 72px) 0; }
.head > :only-child { grid-column: 1 / -1; }
.eyebrow { color: var(--accent); font-weight: 600; font-size: .84rem; margin-bottom: 14px; }
.lead { font-size: 1.1rem; color: var(--soft); max-width: 34em; }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); gap: 20px 24px; margin: 32px 0 0; }
dl div { display: flex; flex-direction: column-reverse; justify-content: flex-end; }
dt { color: var(--soft); font-size: .84rem; }
dd { margin: 0; font-size: 1.35rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
figure { margin: 0; }
figcaption { margin-top: 8px; }
img { display: block; width: 100%; height: auto; border-radius: 8px; background: var(--line); }
.crisp { image-rendering: pixelated; }
.strip { display: grid; grid-template-columns: repeat(5, 1fr); gap: 16px; margin: 0; padding: 0; list-style: none; }
.strip figcaption { margin-top: 4px; }
.beside { display: grid; grid-template-columns: minmax(0, 600px) 1fr; gap: clamp(24px, 4vw, 48px); }
.beside > :only-child { grid-column: 1 / -1; max-width: 720px; }
.beside .strip { grid-template-columns: repeat(3, 1fr); gap: 12px; margin-top: 10px; }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(320px, 100%), 1fr)); gap: 20px; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 20px; }
.pair > * { min-width: 0; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 16px 18px 12px; }
.chart h3 code { color: var(--soft); font-weight: 400; margin-left: 4px; }
.chart p { color: var(--soft); font-size: .88rem; margin: 2px 0 10px; }
.charts .chart b { color: var(--ink); font-size: 1.25rem; font-weight: 500; font-variant-numeric: tabular-nums; }
.pair .chart b { color: var(--ink); }
svg { display: block; width: 100%; height: auto; overflow: visible; }
text { fill: var(--soft); font: 11px system-ui, sans-serif; font-variant-numeric: tabular-nums; }
path { fill: none; }
.rule { stroke: var(--line); }
.axis { stroke: var(--soft); }
.line { stroke: var(--accent); stroke-width: 1.8; stroke-linejoin: round; stroke-linecap: round; }
.range, .fill { fill: var(--accent); }
.range { opacity: .18; }
.spot rect:not(.fill) { fill: transparent; }
.spot > path { stroke: var(--soft); stroke-dasharray: 2 3; }
.spot circle { fill: var(--accent); }
.spot > path, .spot circle:not(.only), .spot text { opacity: 0; }
.spot:hover > path, .spot:hover circle, .spot:hover text { opacity: 1; }
.spot text { fill: var(--ink); font-weight: 600; paint-order: stroke; stroke: var(--card); stroke-width: 5px; }
.bar.idle .fill { fill: var(--soft); opacity: .5; }
.bar:hover .fill { fill: var(--ink); }
.dots { stroke-width: 6.5; stroke-linecap: round; opacity: .75; transition: opacity .15s; }
.centre { fill: var(--ink); font-size: 15px; font-weight: 700; text-anchor: middle; dominant-baseline: central;
  paint-order: stroke; stroke: var(--card); stroke-width: 4px; stroke-linejoin: round; pointer-events: none; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 14px; list-style: none; margin: 8px 0 4px; padding: 0;
  font-size: .88rem; max-height: 12em; overflow-y: auto; }
.legend li { cursor: default; overflow-wrap: anywhere; }
.legend i { display: inline-block; width: 11px; height: 11px; border-radius: 50%; margin-right: 6px; }
.warnings { margin: 0; padding: 16px 20px 16px 38px; border-radius: 12px; background: var(--warn-page);
  color: var(--warn); }
.warnings small { color: inherit; opacity: .8; }
pre { margin: 10px 0 0; padding: 16px 18px; overflow-x: auto; background: var(--card); border: 1px solid var(--line);
  border-radius: 12px; }
.tables { columns: 3 300px; column-gap: 40px; }
table { width: 100%; border-collapse: collapse; break-inside: avoid; margin-bottom: 28px; font-size: .88rem; }
caption { text-align: left; font-weight: 600; padding-bottom: 6px; }
th, td { text-align: left; vertical-align: top; padding: 5px 0; border-top: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { font-weight: 400; color: var(--soft); padding-right: 16px; width: 45%; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 4px; }
footer { padding-top: 24px; padding-bottom: 48px; }
@media (max-width: 820px) {
  .head, .beside { grid-template-columns: minmax(0, 1fr); }
  .strip, .beside .strip { grid-template-columns: repeat(auto-fill, minmax(130px, 1fr)); }
}
"""
