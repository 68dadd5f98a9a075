"""Commands that draw new pictures: sample, interpolate, mix, condition."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from reverie.cli.shared import (
    Device,
    Force,
    Labels,
    ProgressPrinter,
    Whole,
    WholeOrNone,
    load,
    png,
    png_or_animation,
    print_figures,
    print_line,
    print_note,
    print_notes,
    projected,
    room,
    suffixed,
    writes,
)
from reverie.config import check_range
from reverie.errors import Interrupted, Partly, ReverieError

if TYPE_CHECKING:
    from reverie.run import Run
    from reverie.tasks.condition import Classifier

command = room("Draw")

LEARNED = "give a classifier by --classifier"  # where the data to train one on is missing


@command
def sample(
    run: str,
    /,
    *,
    count: Annotated[WholeOrNone, Parameter(help="By default 64, or as many as there are --latents.")] = None,
    out: Annotated[
        Path | None,
        Parameter(help="A .png for one grid, or a folder for single pictures; by default samples.png."),
    ] = None,
    labels: Labels = (),
    prior: Annotated[Literal["model", "mixture"], Parameter(help="mixture: the density fitted on codes.")] = "model",
    truncation: Annotated[float, Parameter(help="Of styles: below 1 fewer odd pictures, less variety.")] = 1.0,
    latents: Annotated[
        Path | None,
        Parameter(help="An .npz of latents, or of codes by `reverie embed`: draw what they are of, with their labels."),
    ] = None,
    save_latents: Annotated[Path | None, Parameter(help="Also write the latents, and labels, to this .npz.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Draw new pictures from a run."""
    import numpy as np

    from reverie.data.image_io import save_grid, save_picture, suffix_of, to_pixels
    from reverie.files import Unwritten
    from reverie.inference.codes import read_latents, write_latents
    from reverie.inference.labels import classes_of
    from reverie.inference.sample import sample_batches

    if count is not None:
        check_range("--count", count, low=1)
    if out is not None and out.suffix and out.suffix.lower() != ".png":
        raise ReverieError(f"--out takes a .png file or a folder, not {out}.")
    suffixed(latents, ".npz", "--latents")
    suffixed(save_latents, ".npz", "--save-latents")
    if latents is not None and prior == "mixture":
        raise ReverieError("--prior says what latents are drawn from, and --latents gives them; leave out one.")
    loaded = load(run, device)
    saved = None if latents is None else read_latents(latents)
    count = count or (64 if saved is None else len(saved.latents))
    single = out is None or bool(out.suffix)
    scale = loaded.image_spec.scales[0]
    end = suffix_of(scale, loaded.image_spec.channels)
    names = None if single else (f"{i:06d}{end}" for i in range(count))
    out = writes("sample", run, out, "samples.png", save_latents, reads=[latents], names=names, force=force)
    given = saved.labels if saved is not None and not labels and classes_of(loaded.model) else labels or None
    batches = sample_batches(
        loaded.model, count, seed, given, prior, truncation=truncation, latents=None if saved is None else saved.latents
    )
    pace, done, failed, stopped = ProgressPrinter(count), 0, 0, False
    cells, kept = [], []
    try:
        for part in batches:
            pixels = to_pixels(part.pictures, scale.depth)
            if single:
                cells.append(pixels)
                done += len(pixels)
            for picture in () if single else pixels:
                try:
                    save_picture(picture, out / f"{done:06d}{end}", scale, sync=False)
                except Unwritten as why:
                    if why.full:
                        raise
                    failed += 1
                    print_note(str(why))
                done += 1
            if save_latents is not None:
                kept.append((part.latents.numpy(), None if part.labels is None else part.labels.numpy()))
            pace(done)
    except KeyboardInterrupt:
        if single or not done:
            raise
        stopped = True
    if single:
        print_notes(save_grid(np.concatenate(cells), out, min(count, 8), scale))
    if save_latents is not None and kept:
        drawn = [label for _, label in kept if label is not None]
        classes = classes_of(loaded.model)
        write_latents(
            save_latents, np.concatenate([z for z, _ in kept]), np.concatenate(drawn) if drawn else None, classes
        )
    if stopped:
        raise Interrupted(f"Stopped: {done - failed:,} of {count:,} pictures are in {out}.")
    if failed:
        raise Partly(f"{failed:,} of {count:,} pictures could not be written; {done - failed:,} are in {out}.")
    print_line(f"{count} pictures in {out}")


@command
def interpolate(
    run: str,
    images: Annotated[str | None, Parameter(help="A data spec: the path goes through these, not drawn ones.")] = None,
    /,
    *,
    stops: Annotated[Whole, Parameter(help="Pictures that the path goes through.")] = 5,
    between: Annotated[Whole, Parameter(help="Steps from one to the next.")] = 9,
    space: Annotated[Literal["z", "w"], Parameter(help="w: the styles of a StyleGAN.")] = "z",
    how: Annotated[
        Literal["lerp", "slerp"] | None, Parameter(help="Straight, or on a sphere (the default for z).")
    ] = None,
    loop: Annotated[bool, Parameter(negative="", help="Come back to the start.")] = False,
    even: Annotated[bool, Parameter(negative="", help="Equal change of the picture at each step of a leg.")] = False,
    label: Annotated[str | None, Parameter(help="The class, for a conditional model.")] = None,
    out: Annotated[
        Path | None, Parameter(help="A .png strip, a .gif or an .mp4; by default interpolation.png.")
    ] = None,
    rate: Annotated[float, Parameter(help="Pictures a second, of a .gif or .mp4.")] = 20.0,
    scale: Annotated[Whole, Parameter(help="Enlarge a .gif or .mp4.")] = 1,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Walk through the latent space of a run, from one drawn or given picture to the next."""
    from reverie.data.image_io import save_animation, save_grid
    from reverie.tasks.interpolate import evenness

    check_range("--scale", scale, low=1)
    check_range("--stops", stops, low=2)
    check_range("--between", between, low=1)
    png_or_animation(out, rate)
    loaded = load(run, device)
    out = writes("interpolate", run, out, "interpolation.png", reads=[images], force=force)
    found = loaded.interpolate(
        images, stops=stops, between=between, space=space, how=how, loop=loop, even=even, label=label, seed=seed,
        progress=projected,
    )  # fmt: skip
    if out.suffix.lower() == ".png":
        save_grid(found, out, columns=-(-len(found) // (stops if loop else stops - 1)))
    else:
        save_animation(found, out, rate, scale)
    print_note(f"{len(found)} pictures in {out}")
    between_what = "drawn pictures" if images is None else images
    print_figures({"pictures": len(found), "through": between_what, "stops": stops, "seed": seed} | evenness(found))


@command
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
    out: Annotated[Path | None, Parameter(help="A .png; by default mix.png.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Mix the styles of drawn pictures: each row's picture with the column's styles in some layers."""
    import re

    from reverie.data.image_io import save_grid
    from reverie.tasks.mix import mix as table

    png(out)
    chosen = None
    if layers is not None:
        if not re.fullmatch(r"\d{1,4}-\d{1,4}", layers):
            raise ReverieError(f"--layers takes FIRST-LAST, say 0-4, not '{layers}'.")
        first, last = layers.split("-")
        chosen = int(first), int(last)
    loaded = load(run, device)
    out = writes("mix", run, out, "mix.png", force=force)
    save_grid(table(loaded.model, rows, columns, chosen, seed, truncation, labels or None), out, columns + 1)
    print_line(f"{rows} x {columns} mixed pictures in {out}")


@command
def condition(
    run: str,
    /,
    *,
    label: Annotated[str, Parameter(help="The class to draw: its name or number in the classifier.")],
    classifier: Annotated[
        str,
        Parameter(help="A folder that `reverie transfer` made, or auto: learned from the run's own labelled data."),
    ] = "auto",
    how: Annotated[
        Literal["resample", "langevin"],
        Parameter(help="Choose among many draws, or also move what was chosen (slower; for rare classes)."),
    ] = "resample",
    count: Whole = 64,
    draws: Annotated[Whole, Parameter(help="Pictures to choose among.")] = 4096,
    steps: Annotated[Whole, Parameter(help="Of langevin.")] = 100,
    strength: Annotated[float, Parameter(help="What p(y|x) is raised to: above 1 surer, less varied pictures.")] = 1.0,
    out: Annotated[Path | None, Parameter(help="A .png; by default conditioned.png.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Draw pictures of one class from a model that knows no classes, by a classifier; print how far to trust them."""
    from reverie.data.image_io import save_grid
    from reverie.inference.labels import label_number
    from reverie.tasks import condition as task

    for flag, value in {"--count": count, "--draws": draws, "--steps": steps}.items():
        check_range(flag, value, low=1)
    check_range("--strength", strength, above=0)
    png(out)
    loaded = load(run, device)
    given = loaded.own_data(LEARNED) if classifier == "auto" else classifier
    out = writes("condition", run, out, "conditioned.png", reads=[given], force=force)
    task.check_conditionable(loaded.model)
    judge, classes = _classifier(loaded, classifier, device)
    number = label_number(label, classes)
    found = task.condition(
        loaded.model, judge, number, count, how=how, draws=draws, steps=steps, strength=strength, seed=seed
    )
    save_grid(found.pictures, out, columns=min(count, 8))
    if how == "resample" and found.effective < count:
        print_note(
            f"The draws are worth {found.effective:.0f} pictures of class {classes[number]}, so some are repeated; "
            "give more --draws, or take --how langevin."
        )
    print_figures(
        {
            "class": classes[number],
            "classifier": classifier,
            "how": how,
            "pictures": count,
            "draws": draws,
            "steps": steps if how == "langevin" else None,
            "strength": strength,
            "seed": seed,
            "probability": float(found.probability.mean()),  # p(y|x), mean over the pictures
            "share_of_draws": found.share,
            "effective_draws": found.effective,
            "acceptance": found.acceptance,
        }
    )


def _classifier(loaded: Run, where: str, device: str) -> tuple[Classifier, tuple[str, ...]]:
    """A classifier for the run's kind of pictures, on the device of its model, and its classes."""
    from reverie.engine.device import pick_device
    from reverie.features.classifier import classifier as trained
    from reverie.features.extractors import labelled
    from reverie.tasks.transfer import load_classifier

    if where != "auto":
        found = load_classifier(where, pick_device(device))
        if found.shape != loaded.image_spec.shape:
            raise ReverieError(
                f"{where} takes pictures of {found.shape} (channels, height, width), and {loaded.path} draws "
                f"{loaded.image_spec.shape}."
            )
        return found, found.classes
    spec = loaded.own_data(LEARNED)
    training = loaded.open(spec, "train")
    if not labelled(training):
        raise ReverieError(
            f"{spec} has no classes to learn a classifier from; give one that `reverie transfer` made by --classifier."
        )
    network = trained(training, pick_device(device))
    return lambda images: network.head(network(images)), training.image_spec.classes
