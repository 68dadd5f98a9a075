"""The command line: parses, calls, prints. Nothing here imports torch before a command runs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Parameter

from reverie.config import coerce
from reverie.errors import ReverieError

app = App(
    name="reverie",
    help="Generative image models from a folder of pictures: train, sample, reconstruct, embed, interpolate, evaluate.",
    version_flags=["--version"],
)

Set = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set", negative="", consume_multiple=True, help="section.key=value ...; sections: model, train, data."
    ),
]


def _whole(kind: Any, tokens: Sequence[Any]) -> Any:
    """A whole number as `--set` takes it; cyclopts itself would round 1.5."""
    return coerce(tokens[0].value, int, tokens[0].keyword)


Whole = Annotated[int, Parameter(converter=_whole)]
WholeOrNone = Annotated[int | None, Parameter(converter=_whole)]
Labels = Annotated[
    tuple[str, ...],
    Parameter(help="Class names or numbers, taken in turn.", negative="", consume_multiple=True),
]
Device = Annotated[str, Parameter(help="auto, cpu, cuda or mps.")]


@app.command
def train(
    model: str,
    /,
    *,
    data: Annotated[str, Parameter(help="Folder, zip, tar, npz, idx, hf:owner/name, digits or faces.")],
    out: Annotated[Path | None, Parameter(help="The run's folder; by default runs/MODEL-DATA.")] = None,
    minutes: float | None = None,
    epochs: float | None = None,
    steps: WholeOrNone = None,
    resume: Annotated[bool, Parameter(negative="", help="Go on with the run in --out.")] = False,
    batch_size: WholeOrNone = None,
    lr: Annotated[float | None, Parameter(help="Learning rate of every optimizer.")] = None,
    seed: WholeOrNone = None,
    evaluate_every: Annotated[
        int | None,
        Parameter(
            name=("--evaluate-every", "--during-training"),
            converter=_whole,
            help="Measure the samples' quality each time so many pictures were seen; RUN/best keeps the best.",
        ),
    ] = None,
    workers: Annotated[int | None, Parameter(converter=_whole, help="Threads that prepare batches ahead.")] = None,
    device: Device = "auto",
    config: Annotated[Path | None, Parameter(help="A JSON file with the sections model, train and data.")] = None,
    set_: Set = (),
    quiet: Annotated[bool, Parameter(negative="")] = False,
) -> None:
    """Train a model on pictures; leaves weights, metrics, sample pictures and report.html in a folder.

    Parameters
    ----------
    model
        A name that `reverie models` lists, say vae.
    minutes
        How long to train (10 where neither this, --epochs nor --steps is given).
    epochs
        How often to see every picture.
    steps
        How many optimizer steps.
    batch_size
        How many pictures a step.
    seed
        Equal seeds give equal runs.
    quiet
        Say nothing but the end.
    """
    from reverie.config import parse_settings
    from reverie.registry import preset

    preset(model)  # an unknown name is told before torch is imported
    settings = _settings_file(config)
    flags = {
        "minutes": minutes, "epochs": epochs, "steps": steps, "batch_size": batch_size, "lr": lr, "seed": seed,
        "workers": workers, "evaluate_every": evaluate_every,
    }  # fmt: skip
    given = {k: v for k, v in flags.items() if v is not None}
    if given.keys() & {"minutes", "epochs", "steps"}:  # a budget of the command line replaces the file's
        for key in ("minutes", "epochs", "steps"):
            settings["train"].pop(key, None)
    settings["train"] |= given
    for section, values in parse_settings(list(set_)).items():
        settings[section] |= values

    from reverie.training import train as run_training

    run = run_training(model, data, out, resume=resume, device=device, settings=settings, quiet=quiet)
    if os.environ.get("RANK", "0") == "0":
        further = f"translate {run.path} PICTURES" if run.facts.sides else f"sample {run.path}"
        print(f"Done: {run.path}. Look at {run.path / 'report.html'}; go on with: reverie {further}")


@app.command
def sample(
    run: str,
    /,
    *,
    count: Whole = 64,
    out: Annotated[Path, Parameter(help="A .png for one grid, or a folder for single pictures.")] = Path("samples.png"),
    labels: Labels = (),
    prior: Annotated[Literal["model", "mixture"], Parameter(help="mixture: the density fitted on codes.")] = "model",
    truncation: Annotated[float, Parameter(help="Of styles: below 1 fewer odd pictures, less variety.")] = 1.0,
    seed: Whole = 0,
    device: Device = "auto",
) -> None:
    """Draw new pictures from a run."""
    from reverie.data.pictures import save_grid
    from reverie.tasks.sample import sample as draw_pictures

    _at_least("--count", count, 1)
    if out.suffix and out.suffix.lower() != ".png":
        raise ReverieError(f"--out takes a .png file or a folder, not {out}.")
    loaded = _load(run, device)
    pictures = draw_pictures(loaded.model, count, seed=seed, labels=labels or None, prior=prior, truncation=truncation)
    if out.suffix.lower() == ".png":
        save_grid(pictures, out, columns=min(count, 8))
    else:
        for i, picture in enumerate(pictures):
            save_grid(picture[None], out / f"{i:06d}.png", columns=1)
    print(f"{count} pictures in {out}")


@app.command
def reconstruct(
    run: str,
    images: str,
    /,
    *,
    out: Annotated[Path, Parameter(help="A .png: rows of inputs above rows of outputs.")] = Path("reconstructions.png"),
    count: Whole = 32,
    split: Literal["train", "validation", "test", "all"] = "all",
    device: Device = "auto",
) -> None:
    """Show pictures beside what a run makes of them; IMAGES is a data spec."""
    from reverie.data.pictures import save_grid, to_tensor
    from reverie.tasks.reconstruct import pairs
    from reverie.tasks.reconstruct import reconstruct as rebuild

    _png(out)
    loaded, pictures, labels = _run_and_pictures(run, images, split, count, device)
    given = to_tensor(pictures)
    rebuilt = rebuild(loaded.model, given, labels)
    save_grid(pairs(given, rebuilt, min(8, len(given))), out, columns=min(8, len(given)))
    print(f"{len(given)} pictures and their reconstructions in {out}")


@app.command
def embed(
    run: str,
    images: str,
    /,
    *,
    out: Annotated[Path, Parameter(help="A .npz or .parquet file: names, codes, labels.")] = Path("codes.npz"),
    split: Literal["train", "validation", "test", "all"] = "all",
    device: Device = "auto",
) -> None:
    """Write the latent codes of pictures; IMAGES is a data spec."""
    from reverie.tasks.embed import embed as encode

    if out.suffix not in (".npz", ".parquet"):
        raise ReverieError(f"--out takes a .npz or .parquet file, not {out}.")
    loaded = _load(run, device)
    found = encode(loaded.model, _dataset_like(loaded, images).split(split))
    found.save(out)
    print(f"{len(found.codes)} codes of {found.codes.shape[1]} numbers in {out}")


@app.command
def interpolate(
    run: str,
    /,
    *,
    stops: Annotated[int, Parameter(converter=_whole, help="Latents that the path goes through.")] = 5,
    between: Annotated[int, Parameter(converter=_whole, help="Steps from one to the next.")] = 9,
    space: Annotated[Literal["z", "w"], Parameter(help="w: the styles of a StyleGAN.")] = "z",
    how: Annotated[
        Literal["lerp", "slerp"] | None, Parameter(help="Straight, or on a sphere (the default for z).")
    ] = None,
    loop: Annotated[bool, Parameter(negative="", help="Come back to the start.")] = False,
    label: Annotated[str | None, Parameter(help="The class, for a conditional model.")] = None,
    out: Annotated[Path, Parameter(help="A .png strip, a .gif or an .mp4.")] = Path("interpolation.png"),
    rate: Annotated[float, Parameter(help="Pictures a second, of a .gif or .mp4.")] = 20.0,
    scale: Annotated[int, Parameter(converter=_whole, help="Enlarge a .gif or .mp4.")] = 1,
    seed: Whole = 0,
    device: Device = "auto",
) -> None:
    """Walk through the latent space of a run, from one drawn picture to the next."""
    from reverie.data.pictures import save_animation, save_grid
    from reverie.tasks.interpolate import interpolate as walk

    _at_least("--scale", scale, 1)
    if not 0.1 <= rate <= 100:
        raise ReverieError(f"--rate must lie between 0.1 and 100, not {rate:g}.")
    if out.suffix.lower() not in (".png", ".gif", ".mp4"):
        raise ReverieError(f"--out takes a .png, .gif or .mp4 file, not {out}.")
    loaded = _load(run, device)
    labels = None if label is None else (label,)
    found = walk(loaded.model, stops, between, seed, space=space, how=how, loop=loop, labels=labels)
    if out.suffix.lower() == ".png":
        save_grid(found, out, columns=-(-len(found) // (stops if loop else stops - 1)))
    else:
        save_animation(found, out, rate, scale)
    print(f"{len(found)} pictures in {out}")


@app.command
def mix(
    run: str,
    /,
    *,
    rows: Whole = 4,
    columns: Whole = 6,
    layers: Annotated[
        str | None, Parameter(help="FIRST-LAST: layers that take the column's style; by default the coarse half.")
    ] = None,
    truncation: float = 1.0,
    labels: Labels = (),
    out: Path = Path("mix.png"),
    seed: Whole = 0,
    device: Device = "auto",
) -> None:
    """Mix the styles of drawn pictures: each row's picture with the column's styles in some layers."""
    import re

    from reverie.data.pictures import save_grid
    from reverie.tasks.mix import mix as table

    _png(out)
    chosen = None
    if layers is not None:
        if not re.fullmatch(r"\d{1,4}-\d{1,4}", layers):
            raise ReverieError(f"--layers takes FIRST-LAST, say 0-4, not '{layers}'.")
        first, last = layers.split("-")
        chosen = int(first), int(last)
    loaded = _load(run, device)
    save_grid(table(loaded.model, rows, columns, chosen, seed, truncation, labels or None), out, columns + 1)
    print(f"{rows} x {columns} mixed pictures in {out}")


@app.command
def neighbours(
    run: str,
    /,
    *,
    count: Annotated[int, Parameter(converter=_whole, help="Drawn pictures.")] = 8,
    nearest: Annotated[int, Parameter(converter=_whole, help="Training pictures shown for each.")] = 5,
    features: Annotated[
        str, Parameter(help="What near means: pixels, textures, classifier, encoder:RUN or inception[:FILE].")
    ] = "pixels",
    data: Annotated[str | None, Parameter(help="By default the data the run was trained on.")] = None,
    out: Path = Path("neighbours.png"),
    seed: Whole = 0,
    device: Device = "auto",
) -> None:
    """Show drawn pictures beside the training pictures nearest to them."""
    from reverie.data.pictures import save_grid
    from reverie.tasks.neighbours import neighbours as find
    from reverie.tasks.sample import sample as draw_pictures

    _at_least("--count", count, 1)
    _png(out)
    loaded = _load(run, device)
    training = _dataset_like(loaded, data or loaded.config["data"]["spec"]).split("train")
    pictures = draw_pictures(loaded.model, count, seed=seed)
    found = find(pictures, training, nearest, features)
    save_grid(found.sheet(pictures, training), out, nearest + 1)
    print(f"{count} pictures, each with its {nearest} nearest of {len(training):,}, in {out}")


@app.command
def translate(
    run: str,
    # Only so is "-" a picture; words that look like options are refused below.
    images: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    direction: Annotated[Literal["ab", "ba"], Parameter(help="From side A to B, or back.")] = "ab",
    out: Annotated[
        Path, Parameter(help="A folder; for one picture also a file, or - for stdout.", allow_leading_hyphen=True)
    ] = Path("translated"),
    tile: Annotated[int, Parameter(converter=_whole, help="Larger pictures go through in tiles; 0: never.")] = 1024,
    overlap: Annotated[int, Parameter(converter=_whole, help="Pixels that neighbouring tiles share.")] = 384,
    noise: Annotated[int | None, Parameter(converter=_whole, help="Keep dropout on, with this seed.")] = None,
    device: Device = "auto",
) -> None:
    """Turn pictures into those of the other side; IMAGES are files, folders, or - for stdin."""
    from reverie.tasks.translate import translate_files

    for word in (*images, str(out)):
        if word.startswith("-") and word != "-":
            raise ReverieError(f"Unknown option {word}, or not where it belongs; a picture of that name is ./{word}.")
    _at_least("--tile", tile, 0)
    _at_least("--overlap", overlap, 0)
    loaded = _load(run, device)
    done = translate_files(loaded.model, images, out, direction, noise=noise, tile=tile, overlap=overlap)
    for note, count in done.notes.items():
        _say(f"{note} (pictures: {count})")
    for name, why in done.failed:
        _say(f"{name}: {why}")
    if done.failed:
        total = done.written + len(done.failed)
        raise ReverieError(f"{len(done.failed)} of {total} pictures could not be read; {done.written} were translated.")
    print(f"{done.written} pictures in {out}", file=sys.stderr if str(out) == "-" else sys.stdout)


@app.command
def evaluate(
    run: str,
    /,
    *,
    data: Annotated[str | None, Parameter(help="By default the data the run was trained on.")] = None,
    split: Literal["train", "validation", "test", "all"] = "test",
    metrics: Annotated[
        tuple[str, ...],
        Parameter(help="By default all the model permits.", negative="", consume_multiple=True),
    ] = (),
    samples: Annotated[
        int, Parameter(converter=_whole, help="Draws a picture for the importance-weighted bound.")
    ] = 500,
    limit: Annotated[int, Parameter(converter=_whole, help="Use this many pictures; 0 = all.")] = 0,
    features: Annotated[
        str,
        Parameter(help="Space of quality: auto, pixels, textures, classifier, encoder:RUN or inception[:FILE]."),
    ] = "auto",
    generated: Annotated[
        int, Parameter(converter=_whole, help="New pictures that the quality figures are taken on.")
    ] = 10_000,
    seed: Whole = 0,
    out: Annotated[Path | None, Parameter(help="Also write the figures to this JSON file.")] = None,
    device: Device = "auto",
) -> None:
    """Measure a run on held-out pictures and print the figures as JSON."""
    import reverie.evaluation
    from reverie.files import replacing
    from reverie.training import pick_device

    _at_least("--samples", samples, 1)
    _at_least("--limit", limit, 0)
    _at_least("--generated", generated, 6)
    loaded = _load(run, device)
    whole = _dataset_like(loaded, data or loaded.config["data"]["spec"])
    figures = reverie.evaluation.evaluate(
        loaded.model,
        whole.split(split),
        metrics=metrics or None,
        samples=samples,
        limit=limit,
        seed=seed,
        device=pick_device(device),
        training=whole.split("train") if split == "test" else None,
        features=features,
        generated=generated,
    )
    text = json.dumps(figures, indent=2)
    if out:
        with replacing(out) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    print(text)


@app.command
def models(name: str | None = None, /) -> None:
    """List the models: what each is, and what it can do; with a NAME, its settings and their defaults."""
    import textwrap

    from reverie import capabilities, registry

    if name is not None:
        return _settings(name)
    kinds = {
        "samples": "Samples", "encodes": "Encodes", "bounds": "Bounds", "labels": "Conditions",
        "translates": "Translates",
    }  # fmt: skip
    wide = max(map(len, registry.names()))
    rows = []
    for name, entry in registry.MODELS.items():
        line = f"{name:{wide}}  {entry.summary} ({entry.paper})"
        print(textwrap.fill(line, 80, subsequent_indent=" " * (wide + 2), break_on_hyphens=False))
        found = registry.load_class(name)
        marks = ("yes" if issubclass(found, getattr(capabilities, kind)) else "-" for kind in kinds.values())
        rows.append((name, found.taxonomy, *marks))
    head = ("", "density", *kinds)
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    print()
    for row in (head, *rows):
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _settings(name: str) -> None:
    """Every key that --set takes for a model."""
    from dataclasses import asdict

    from reverie import registry
    from reverie.config import settings_of
    from reverie.data import DataOptions
    from reverie.engine.budget import Plan

    found = registry.load_class(name)
    sections: list[tuple[str, type, dict[str, Any]]] = [
        ("model", found.Config, registry.preset(name)),
        ("train", Plan, asdict(found.defaults)),
        ("data", DataOptions, {}),
    ]
    for section, kind, preset in sections:
        for key, default, meaning in settings_of(kind, preset):
            print(f"{f'{section}.{key}={default}':34}  {meaning}".rstrip())


@app.command
def data(
    spec: str,
    /,
    *,
    sheet: Annotated[Path, Parameter(help="Where to save the contact sheet.")] = Path("contact-sheet.png"),
    set_: Set = (),
) -> None:
    """Say what was found in a data spec, and save a contact sheet."""
    from reverie.config import configure, parse_settings
    from reverie.data import DataOptions, contact_sheet, open_dataset
    from reverie.files import replacing

    dataset = open_dataset(spec, configure(DataOptions, parse_settings(list(set_))["data"], "data"))
    print(f"{len(dataset):,} pictures, {' x '.join(map(str, dataset.facts.shape))} (channels x height x width)")
    for key, value in dataset.found.items():
        shown = (
            ", ".join(f"{k}: {v:,}" if isinstance(v, int) else f"{k}: {v}" for k, v in value.items())
            if isinstance(value, dict)
            else value
        )
        print(f"{key}: {shown}")
    if dataset.unreadable:
        print(f"unreadable: {len(dataset.unreadable)}")
        for name, why in dataset.unreadable:
            print(f"  {name}: {why}")
    with replacing(sheet) as temporary:
        contact_sheet(dataset, 8, 12).save(temporary, format="PNG")
    print(f"contact sheet: {sheet}")


def _png(out: Path) -> None:
    if out.suffix.lower() != ".png":
        raise ReverieError(f"--out takes a .png file, not {out}.")


def _at_least(flag: str, value: int, low: int) -> None:
    if value < low:
        raise ReverieError(f"{flag} must be at least {low}, not {value}.")


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


def _load(run: str, device: str) -> Any:
    from reverie.artifact import load
    from reverie.training import pick_device

    return load(run, pick_device(device))


def _dataset_like(loaded: Any, spec: str) -> Any:
    """The data set of a spec, its pictures brought to the size and channels the run was trained on."""
    from reverie.config import configure
    from reverie.data import DataOptions, open_dataset

    facts = loaded.facts
    options = dict(loaded.config["settings"]["data"])
    if spec != loaded.config["data"]["spec"]:
        options |= {"limit": 0}
    options |= {"size": f"{facts.height}x{facts.width}", "flip": False, "shift": 0}
    dataset = open_dataset(spec, configure(DataOptions, options, "data"))
    if dataset.facts.shape != facts.shape:
        raise ReverieError(
            f"{spec} has pictures of {dataset.facts.shape} (channels, height, width), "
            f"the run was trained on {facts.shape}."
        )
    if dataset.facts.sides != facts.sides:
        raise ReverieError(
            f"{spec} has sides of {dataset.facts.sides} channels, the run was trained on {facts.sides}; exchange them."
        )
    return dataset


def _run_and_pictures(run: str, images: str, split: str, count: int, device: str) -> Any:
    import numpy as np

    from reverie.capabilities import Conditions

    _at_least("--count", count, 1)
    loaded = _load(run, device)
    dataset = _dataset_like(loaded, images).split(split)
    indices = np.arange(min(count, len(dataset)))
    labels = None
    if isinstance(loaded.model, Conditions) and dataset.labels is not None:
        labels = [dataset.facts.classes[i] for i in dataset.labels[indices]]
    return loaded, dataset.batch(indices), labels


def main(words: Sequence[str] | None = None) -> None:
    """The entry point: one sentence and exit code 2 for bad input, 130 after an interruption."""
    try:
        app(list(sys.argv[1:] if words is None else words), exit_on_error=False, print_error=False)
    except CycloptsError as error:
        _fail(" ".join(str(error).split()), 2)
    except ReverieError as error:
        _fail(str(error), 130 if type(error).__name__ == "Interrupted" else 2)
    except KeyboardInterrupt:
        _fail("Stopped.", 130)
    except BrokenPipeError:
        os._exit(0)  # the reader of a pipe went away
    except OSError as error:  # a full disk, a name too long: nothing of ours, and still one sentence
        from reverie.files import reason

        _fail(f"{error.filename}: {reason(error)}." if error.filename else f"{reason(error)}.", 2)


def _say(sentence: str) -> None:
    # What a file says of itself may be part of the sentence: nothing in it steers the terminal.
    print("reverie: " + "".join(c if c.isprintable() else " " for c in sentence), file=sys.stderr)


def _fail(sentence: str, code: int) -> None:
    _say(sentence)
    sys.exit(code)


if __name__ == "__main__":
    main()
