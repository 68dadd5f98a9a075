"""Commands that judge pictures: anomaly, classify, and transfer, which makes a classifier."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from reverie.cli.shared import (
    FIGURES,
    REMEDY,
    Device,
    Force,
    Normal,
    SplitOrNone,
    Whole,
    load,
    png,
    print_figures,
    print_note,
    room,
    suffixed,
    writes,
)
from reverie.config import check_range
from reverie.errors import ReverieError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from reverie.data import Dataset
    from reverie.run import Run

command = room("Judge")

SHOWN = 24  # pictures in odd.png


@command
def anomaly(
    run: str,
    images: str,
    /,
    *,
    score: Annotated[
        str,
        Parameter(
            help="auto, reconstruction, peak, bound, iw, complexity, density, codes, joint, discriminator or "
            "likelihood-ratio; a model has those that its capabilities permit. complexity is slower, and the better "
            "where some pictures are busier than others."
        ),
    ] = "auto",
    rate: Annotated[float, Parameter(help="Of normal pictures that are called odd, at most.")] = 0.05,
    normal: Normal = None,
    good: Annotated[
        tuple[str, ...],
        Parameter(
            help="Classes of IMAGES that are normal, all others being odd; adds AUROC and AUPR to the figures.",
            negative="",
            consume_multiple=True,
        ),
    ] = (),
    background: Annotated[str | None, Parameter(help="A second run, for the likelihood ratio.")] = None,
    split: SplitOrNone = None,
    out: Annotated[Path | None, Parameter(help="A folder; by default anomaly.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Find odd pictures, with a promised rate of false alarms, and where in each the oddness is.

    IMAGES is a data spec. Leaves scores.csv, sheet.html (the oddest first), odd.png (the oddest beside heat maps) and
    figures.json, and prints the last.
    """
    import torch

    from reverie.capabilities import Reconstructs
    from reverie.data.image_io import coloured, save_grid, to_tensor
    from reverie.inference.labels import names_of
    from reverie.inference.pictures import model_labels
    from reverie.reporting.anomaly import oddest, overlay, write_csv, write_sheet
    from reverie.tasks.anomaly import detector
    from reverie.tasks.anomaly_scores import score_of
    from reverie.tasks.heat_map import heat_map

    loaded = load(run, device)
    normal = normal or loaded.own_data("give normal pictures by --normal")
    names = ["odd.png", "scores.csv", "sheet.html", FIGURES]
    out = writes("anomaly", run, out, "anomaly", reads=[images, normal, background], names=names, force=force)
    beside = None if background is None else _background(loaded, background, device)
    score_of(loaded.model, score, beside)
    pictures = loaded.open(images, split)
    normals = _of_classes(pictures, good) if good else None
    known = loaded.held_out(normal, pictures, remedy=REMEDY)
    finder = detector(loaded.model, known, score, rate, beside, seed=seed)
    scores = finder.scores(pictures)
    p_values, odd = finder.p_values(scores), finder.odd(scores)
    figures = finder.figures(scores, normals) | {"normal": normal, "images": images, "seed": seed}

    rows = oddest(scores)
    shown, heat = to_tensor(pictures.batch(rows)), None
    if isinstance(loaded.model, Reconstructs):
        heat = heat_map(loaded.model, shown, names_of(loaded.model, model_labels(loaded.model, pictures, rows)))
        marked = overlay(shown[:SHOWN], heat[:SHOWN])
        save_grid(torch.stack([coloured(shown[:SHOWN]), marked], 1).flatten(0, 1), out / "odd.png", columns=8)
    write_csv(out / "scores.csv", pictures.names, scores, p_values, odd)
    title = f"Odd pictures of {images}"
    write_sheet(out / "sheet.html", shown, pictures.names, scores, p_values, odd, heat, title, rows)
    print_note(f"{int(odd.sum()):,} of {len(odd):,} pictures are odd; look at {out / 'sheet.html'}")
    print_figures(figures, out / FIGURES)


@command
def classify(
    run: str,
    images: str,
    /,
    *,
    reject: Annotated[
        float | None, Parameter(help="Refuse what is of none of the classes, and at most this share of what is.")
    ] = None,
    normal: Normal = None,
    samples: Annotated[Whole, Parameter(help="Draws for each picture and class; more are slower and better.")] = 50,
    split: SplitOrNone = None,
    out: Annotated[
        Path | None, Parameter(help="A .csv of names, classes and probabilities; by default classes.csv.")
    ] = None,
    sheet: Annotated[Path | None, Parameter(help="A .png: a row of each class, the surest first.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Tell the classes of pictures by Bayes' rule, from a model of p(x|y); IMAGES is a data spec.

    Prints, as JSON, how often that is right where the pictures have labels.
    """
    from reverie.data.image_io import save_grid
    from reverie.tasks import classify as task

    check_range("--samples", samples, low=1)
    suffixed(out, ".csv")
    if sheet:
        png(sheet, "--sheet")
    loaded = load(run, device)
    normals = normal if reject is None else normal or loaded.own_data("give normal pictures by --normal")
    out = writes("classify", run, out, "classes.csv", sheet, reads=[images, normals], force=force)
    task.check_classifies(loaded.model)
    pictures = loaded.open(images, split)
    threshold = None
    if reject is not None:
        known = loaded.held_out(normals, pictures, remedy=REMEDY)
        threshold = task.calibrate(loaded.model, known, reject, samples=samples, seed=seed)
    found = task.classify(loaded.model, pictures, samples=samples, seed=seed, reject=threshold)
    found.write_csv(out, pictures.names)
    if sheet:
        save_grid(found.sheet(pictures, columns := 12), sheet, columns)
    promised = {"rate": reject, "calibrated_on": threshold.pictures} if threshold else {}
    print_figures(found.figures(pictures) | promised | {"images": images, "samples": samples, "seed": seed})


@command
def transfer(
    run: str,
    /,
    *,
    labels: Annotated[
        str | None,
        Parameter(
            name=("--labels", "--data"), help="A data spec with classes; by default the data the run was trained on."
        ),
    ] = None,
    count: Annotated[
        tuple[Whole, ...],
        Parameter(
            help="Labelled pictures to learn from; of several numbers each is measured and the last is kept.",
            negative="",
            consume_multiple=True,
        ),
    ] = (100,),
    how: Annotated[
        Literal["frozen", "tuned", "scratch"],
        Parameter(help="A layer on codes; the encoder too; or the encoder from fresh weights, to compare."),
    ] = "frozen",
    steps: Annotated[Whole, Parameter(help="Of tuned and scratch.")] = 1000,
    out: Annotated[
        Path | None, Parameter(help="A folder for the classifier and figures.json; by default classifier.")
    ] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Make a classifier of a run's encoder and few labels, and measure it on the data's test pictures.

    The folder is what `reverie condition --classifier` takes.
    """
    from reverie.tasks import transfer as task

    for number in count:
        check_range("--count", number, low=1)
    check_range("--steps", steps, low=1)
    loaded = load(run, device)
    spec = labels or loaded.own_data("give --labels")
    names = [task.CONFIG, task.WEIGHTS, FIGURES]
    out = writes("transfer", run, out, "classifier", reads=[spec], names=names, force=force)
    task.check_transfers(loaded.model)
    whole = loaded.open(spec, "all")
    training, test = whole.split("train"), whole.split("test")
    found = task.curve(loaded.model, training, test, counts=count, how=how, steps=steps, seed=seed)
    for note in whole.found["notes"]:
        print_note(f"{spec}: {note}")
    best = found[-1]
    best.classifier.save(out)
    figures = {
        "how": how,
        "data": spec,
        "classes": list(best.classifier.classes),
        "labels": best.labels,
        "accuracy": best.accuracy,
        "tested": best.tested,
        "accuracies": {each.labels: each.accuracy for each in found},
        "steps": None if how == "frozen" else steps,
        "seed": seed,
    }
    print_figures(figures, out / FIGURES)


def _background(loaded: Run, where: str, device: str) -> object:
    """The model of another run, trained on pictures of the same shape."""
    found = load(where, device)
    if found.image_spec.shape != loaded.image_spec.shape:
        raise ReverieError(
            f"{where} was trained on pictures of {found.image_spec.shape} (channels, height, width), and "
            f"{loaded.path} on {loaded.image_spec.shape}."
        )
    return found.model


def _of_classes(pictures: Dataset, names: tuple[str, ...]) -> NDArray[np.bool_]:
    """(N,): whether each picture is of one of these classes."""
    import numpy as np

    from reverie.inference.labels import label_number

    classes = pictures.image_spec.classes
    if pictures.labels is None:
        raise ReverieError(f"--good names classes, and {pictures.spec} has none; sort its pictures into subfolders.")
    return np.isin(pictures.labels, [label_number(name, classes) for name in names])
