"""Commands that train, evaluate, list models and describe data: train, evaluate, models, data."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from reverie.cli.shared import (
    Device,
    Force,
    Set,
    Split,
    Whole,
    WholeOrNone,
    load,
    places,
    png,
    print_figures,
    print_line,
    print_note,
    room,
    writes,
)
from reverie.config import check_range, settings_of
from reverie.engine.plan import Plan
from reverie.errors import ReverieError

command = room("Learn")

SHEET = "contact-sheet.png"
PLAN = {setting.name: setting for setting in settings_of(Plan)}


def planned(name: str, *flags: str) -> Parameter:
    """The option for a setting ``train.NAME``, with its help; ``flags`` where the option has another name."""
    meaning = PLAN[name].help
    return Parameter(name=flags or None, help=f"{meaning[:1].upper()}{meaning[1:]}.")


@command
def train(
    model: str,
    /,
    *,
    data: Annotated[
        str | None,
        Parameter(help="Folder, zip, tar, npz, idx, hf:owner/name, digits or faces; may be left out with --resume."),
    ] = None,
    out: Annotated[Path | None, Parameter(help="The run's folder; by default runs/MODEL-DATA.")] = None,
    minutes: Annotated[float | None, planned("minutes")] = None,
    epochs: Annotated[float | None, planned("epochs")] = None,
    steps: Annotated[WholeOrNone, planned("steps")] = None,
    resume: Annotated[bool, Parameter(negative="", help="Go on with the run in --out.")] = False,
    batch_size: Annotated[WholeOrNone, planned("batch_size")] = None,
    lr: Annotated[float | None, planned("lr")] = None,
    seed: Annotated[WholeOrNone, planned("seed")] = None,
    evaluate_every: Annotated[WholeOrNone, planned("evaluate_every", "--evaluate-every", "--during-training")] = None,
    workers: Annotated[WholeOrNone, planned("workers")] = None,
    device: Device = "auto",
    config: Annotated[Path | None, Parameter(help="A JSON file with the sections model, train and data.")] = None,
    set_: Set = (),
    quiet: Annotated[bool, Parameter(negative="")] = False,
    force: Force = False,
) -> None:
    """Train a model on pictures; leaves weights, metrics, sample pictures and report.html in a folder.

    Parameters
    ----------
    model
        A name that `reverie models` lists, say vae.
    quiet
        Say nothing but the end.
    """
    from reverie import registry
    from reverie.config import parse_settings

    registry.preset(model)  # refuses an unknown name before torch is imported
    settings = _settings_file(config)
    flags = {
        "minutes": minutes, "epochs": epochs, "steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed,
        "workers": workers, "evaluate_every": evaluate_every,
    }  # fmt: skip
    given = {k: v for k, v in flags.items() if v is not None}
    if given.keys() & {"minutes", "epochs", "steps"}:  # a budget on the command line replaces that of the file
        for key in ("minutes", "epochs", "steps"):
            settings["train"].pop(key, None)
    settings["train"] |= given
    for section, values in parse_settings(list(set_)).items():
        settings[section] |= values

    from reverie.training import train as run_training

    run = run_training(model, data, out, resume=resume, device=device, settings=settings, quiet=quiet, force=force)
    if os.environ.get("RANK", "0") == "0":
        further = f"translate {run.path} PICTURES" if run.image_spec.sides else f"sample {run.path}"
        further += registry.imports(type(run.model))
        print_line(f"Done: {run.path}. Look at {run.path / 'report.html'}; go on with: reverie {further}")


def _settings_file(path: Path | None) -> dict[str, dict[str, Any]]:
    sections: dict[str, dict[str, Any]] = {"model": {}, "train": {}, "data": {}}
    if path is None:
        return sections
    from reverie.errors import nearest

    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ReverieError(f"There is no file {path}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ReverieError(f"{path} can't be read as JSON: {str(error)[:200]}.") from error
    found = found.get("settings", found) if isinstance(found, dict) else None
    if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
        raise ReverieError(f"{path} must hold the sections model, train and data, each with keys and values.")
    for section, values in found.items():
        if section not in sections:
            raise ReverieError(f"Unknown section '{section}' in {path}{nearest(section, sections)}")
        sections[section] |= values
    return sections


@command
def evaluate(
    run: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="By default the data the run was trained on.")] = None,
    split: Split = "test",
    metrics: Annotated[
        tuple[str, ...],
        Parameter(help="By default all the model permits.", negative="", consume_multiple=True),
    ] = (),
    samples: Annotated[Whole, Parameter(help="Draws a picture for the importance-weighted bound.")] = 500,
    limit: Annotated[Whole, Parameter(help="Use this many pictures; 0 = all.")] = 0,
    features: Annotated[
        str,
        Parameter(help="Space of quality: auto, pixels, textures, classifier, encoder:RUN or inception[:FILE]."),
    ] = "auto",
    generated: Annotated[Whole, Parameter(help="New pictures that the quality figures are taken on.")] = 10_000,
    seed: Whole = 0,
    out: Annotated[Path | None, Parameter(help="Also write the figures to this JSON file.")] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Measure a run on held-out pictures and print the figures as JSON."""
    check_range("--samples", samples, low=1)
    check_range("--limit", limit, low=0)
    check_range("--generated", generated, low=6)
    loaded = load(run, device)
    spec = data or loaded.own_data("give --data")
    if out is not None:
        writes("evaluate", run, out, "", reads=[spec, *places(features)], force=force)
    figures = loaded.evaluate(
        spec, split, metrics=metrics or None, samples=samples, limit=limit, features=features, generated=generated,
        seed=seed,
    )  # fmt: skip
    print_figures(figures, out)


@command
def models(name: str | None = None, /) -> None:
    """List the models: what each is, and what it can do; with a NAME, its settings and their defaults."""
    import textwrap

    from reverie import registry

    if name is not None:
        return _settings(name)
    kinds = {
        "draws": "Samples", "codes": "Encodes", "bounds": "Bounds", "labels": "Conditions",
        "pairs": "Translates", "judges": "Discriminates",
    }  # fmt: skip
    wide = max(map(len, registry.names()))
    rows = []
    for name in registry.names():
        try:
            line, (density, able) = registry.entry(name).line, registry.promises(name)
        except ReverieError as error:  # a broken package must not hide the others
            print_note(str(error))
            continue
        print(textwrap.fill(f"{name:{wide}}  {line}", 80, subsequent_indent=" " * (wide + 2), break_on_hyphens=False))
        rows.append((name, density, *("yes" if kind in able else "-" for kind in kinds.values())))
    head = ("", "density", *kinds)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print()
    for row in (head, *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _settings(name: str) -> None:
    """Every key that --set takes for a model."""
    from dataclasses import asdict

    from reverie import registry
    from reverie.data import DataOptions

    found = registry.load_class(name)
    sections: list[tuple[str, type, dict[str, Any]]] = [
        ("model", found.Config, registry.preset(name)),
        ("train", Plan, asdict(found.defaults)),
        ("data", DataOptions, {}),
    ]
    for section, kind, preset in sections:
        for each in settings_of(kind, preset):
            print(f"{f'{section}.{each.name}={each.default}':34}  {each.line}".rstrip())


@command
def data(
    spec: str,
    /,
    *,
    sheet: Annotated[
        Path | None, Parameter(help="Where to save the contact sheet; by default contact-sheet.png.")
    ] = None,
    check: Annotated[
        bool, Parameter(negative="", help="Read and decode every file again, and say whether the cache holds the same.")
    ] = False,
    set_: Set = (),
    force: Force = False,
) -> None:
    """Say what was found in a data spec, and save a contact sheet."""
    from reverie.config import configure, parse_settings
    from reverie.data import DataOptions, contact_sheet, open_dataset
    from reverie.files import replacing
    from reverie.training_data import inside

    png(sheet, "--sheet")
    where = None if sheet is None and inside(Path(SHEET), spec) else sheet or Path(SHEET)
    if where is not None:
        writes("data", spec, where, SHEET, reads=[spec], force=force)
    dataset = open_dataset(spec, configure(DataOptions, parse_settings(list(set_))["data"], "data"), check=check)
    print_line(
        f"{len(dataset):,} pictures, {' x '.join(map(str, dataset.image_spec.shape))} (channels x height x width)"
    )
    for key, value in dataset.found.items():
        shown = (
            ", ".join(f"{k}: {v:,}" if isinstance(v, int) else f"{k}: {v}" for k, v in value.items())
            if isinstance(value, dict)
            else "; ".join(value)
            if isinstance(value, list)
            else value
        )
        print_line(f"{key}: {shown}")
    if dataset.unreadable:
        print_line(f"unreadable: {len(dataset.unreadable)}")
        for name, why in dataset.unreadable:
            print_line(f"  {name}: {why}")
    if where is None:
        print_line(f"contact sheet: none, as {SHEET} would lie in the data; name a place by --sheet")
        return
    with replacing(where) as temporary:
        contact_sheet(dataset, 8, 12).save(temporary, format="PNG")
    print_line(f"contact sheet: {where}")
