"""Commands that explore a latent space: project, traverse, map, directions, arithmetic."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from reverie.cli.shared import (
    FIGURES,
    Device,
    Force,
    Split,
    Whole,
    at_least,
    dataset_like,
    finite,
    load,
    own_data,
    png,
    png_or_animation,
    projected,
    report,
    room,
    run_and_pictures,
    say,
    suffixed,
    writes,
)
from reverie.errors import ReverieError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

    from reverie.artifact import Run
    from reverie.data import Dataset
    from reverie.tasks.embed import Embedding
    from reverie.tasks.pictures import Pictures

command = room("Explore")

Space = Annotated[Literal["z", "w"] | None, Parameter(help="z, or w, the styles of a StyleGAN (there the default).")]
Data = Annotated[str | None, Parameter(help="By default the data the run was trained on.")]

EMBEDDED = 2000  # pictures that say how codes are spread


@command
def project(
    run: str,
    images: str,
    /,
    *,
    count: Whole = 16,
    space: Space = None,
    steps: Annotated[Whole, Parameter(help="Of the start that is kept to the end.")] = 400,
    starts: Annotated[Whole, Parameter(help="Places to begin the search at.")] = 4,
    sigma: Annotated[float, Parameter(help="Noise of a pixel in [-1, 1]: larger trusts the model more.")] = 0.1,
    split: Split = "all",
    out: Annotated[
        Path | None, Parameter(help="A .png: rows of pictures above rows of projections; by default projections.png.")
    ] = None,
    latents: Annotated[Path | None, Parameter(help="Also write the latents found to this .npz.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Find the latents of pictures, for models without an encoder too; IMAGES is a data spec."""
    from reverie.data.pictures import save_grid, to_tensor
    from reverie.evaluation.reconstruction import psnr, ssim
    from reverie.tasks.project import project as find
    from reverie.tasks.reconstruct import pairs

    png(out)
    if latents is not None:
        suffixed(latents, ".npz", "--latents")
    out = writes("project", run, out, "projections.png", latents, reads=[images], force=force)
    loaded, pictures, labels = run_and_pictures(run, images, split, count, device)
    given, began = to_tensor(pictures), time.perf_counter()
    found = find(
        loaded.model, given, labels, space=space, steps=steps, starts=starts, sigma=sigma, seed=seed, progress=projected
    )
    seconds = time.perf_counter() - began
    columns = min(8, len(given))
    save_grid(pairs(given, found.pictures, columns), out, columns)
    if latents is not None:
        _save_arrays(latents, {"latents": found.latents})
    say(f"{len(given)} pictures and their projections in {out}")
    quality = {"psnr": psnr(found.pictures, given), "ssim": ssim(found.pictures, given)}
    report(
        {name: float(value.mean()) for name, value in quality.items()}
        | {"worst_psnr": float(quality["psnr"].min()), "space": found.space, "pictures": len(given)}
        | {"steps": steps, "starts": starts, "sigma": sigma, "seed": seed, "seconds": round(seconds, 2)}
    )


@command
def traverse(
    run: str,
    images: Annotated[
        str | None,
        Parameter(help="The first of these is varied; by default a test picture, or a draw without an encoder."),
    ] = None,
    /,
    *,
    rows: Annotated[Whole, Parameter(help="Latent dimensions, the most important first.")] = 10,
    columns: Whole = 9,
    reach: Annotated[float, Parameter(help="Standard deviations of the codes, or of drawn latents, each way.")] = 2.5,
    label: Annotated[str | None, Parameter(help="The class, for a conditional model.")] = None,
    out: Annotated[
        Path | None, Parameter(help="A .png, or a .gif or .mp4 that goes there and back; by default traversal.png.")
    ] = None,
    rate: Annotated[float, Parameter(help="Pictures a second, of a .gif or .mp4.")] = 10.0,
    seed: Annotated[Whole, Parameter(help="Of the draw, without an encoder.")] = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Vary one latent dimension at a time, a row each, the others as in one picture; print what was varied."""
    import torch

    from reverie.capabilities import Reconstructs
    from reverie.data.pictures import save_animation, save_grid, to_tensor
    from reverie.tasks.pictures import model_labels
    from reverie.tasks.traverse import traverse as vary
    from reverie.tasks.traverse import traverse_drawn

    at_least("--rows", rows, 1)
    at_least("--columns", columns, 1)
    finite("--reach", reach)
    png_or_animation(out, rate)
    loaded = load(run, device)
    encodes = isinstance(loaded.model, Reconstructs)
    out = writes(
        "traverse", run, out, "traversal.png", reads=[images, own_data(loaded) if encodes else None], force=force
    )
    if not isinstance(loaded.model, Reconstructs):
        if images is not None:
            name = type(loaded.model).__name__
            raise ReverieError(f"{name} has no encoder, so it starts from no given picture; leave {images} out.")
        found = traverse_drawn(loaded.model, rows, columns, reach, label, seed)
    else:
        test = dataset_like(loaded, images or own_data(loaded)).split("all" if images else "test")
        embedding = _embedding(loaded, dataset_like(loaded, own_data(loaded)).split("train"))
        labels = model_labels(loaded.model, test, _first(1)) if label is None else [label]
        found = vary(loaded.model, to_tensor(test.batch(_first(1)))[0], embedding, rows, columns, reach, labels)
    if out.suffix.lower() == ".png":
        save_grid(found.pictures, out, columns)
    else:
        frames = found.pictures.unflatten(0, (-1, columns)).permute(1, 2, 0, 3, 4)  # (columns, C, rows, H, W)
        frames = frames.flatten(2, 3)  # the rows below each other
        save_animation(torch.cat([frames, frames[1:-1].flip(0)]), out, rate)
    say(f"{len(found.dimensions)} dimensions in {out}")
    report(
        {
            "dimensions": found.dimensions,
            "ordered_by": found.ordered_by,
            "importance": found.importance,
            "steps": found.steps,
        }
    )


@command
def map(
    run: str,
    images: Annotated[str | None, Parameter(help="By default the test pictures of the run's own data.")] = None,
    /,
    *,
    side: Annotated[Whole, Parameter(help="Pictures along each side of the maps.")] = 20,
    label: Annotated[str | None, Parameter(help="The class that a conditional model draws.")] = None,
    out: Annotated[Path | None, Parameter(help="A folder; by default map.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Show the latent space: what it decodes to, where pictures lie in it, and how much of it is empty.

    Leaves manifold.png, pictures.png (thumbnails where their codes lie) and figures.json, and prints the last.
    """
    from reverie.data.pictures import save_grid
    from reverie.files import replacing
    from reverie.tasks import maps
    from reverie.tasks.embed import embed
    from reverie.tasks.pictures import Subset, some

    loaded = load(run, device)
    spec = images or own_data(loaded, "give IMAGES")
    out = writes("map", run, out, "map", reads=[spec], names=["manifold.png", "pictures.png", FIGURES], force=force)
    dataset = dataset_like(loaded, spec).split("all" if images else "test")
    shown = Subset(dataset, some(dataset, maps.MOST_COMPARED, seed))
    embedding = embed(loaded.model, shown)
    labels = None if label is None else (label,)
    save_grid(maps.manifold(loaded.model, side, embedding, labels), out / "manifold.png", side)
    with replacing(out / "pictures.png") as temporary:
        maps.thumbnails(embedding, shown, side).save(temporary, format="PNG")
    figures: dict[str, Any] = {"pictures": len(shown), "dimensions": embedding.codes.shape[1], "seed": seed}
    if len(shown) >= maps.FEWEST_COMPARED:
        figures["gaps"] = maps.gaps(embedding, seed=seed)
        figures["gaps_on_segments"] = maps.gaps(embedding, "segments", seed=seed)
    else:
        say(f"gaps are measured among {maps.FEWEST_COMPARED} codes or more; there are {len(shown)}")
    say(f"maps of {len(shown):,} codes in {out}")
    report(figures, out / FIGURES)


@command
def directions(
    run: str,
    /,
    *,
    attributes: Annotated[
        tuple[str, ...],
        Parameter(
            help="Learn a direction for each: classes or factors of the data, brightness, slant or thickness; the "
            "others are held fixed. Without: directions found without labels.",
            negative="",
            consume_multiple=True,
        ),
    ] = (),
    how: Annotated[
        Literal["principal", "sensitive"],
        Parameter(help="Without attributes: where latents vary most, or where pictures change most."),
    ] = "principal",
    count: Annotated[Whole, Parameter(help="Directions, of those found without labels.")] = 6,
    pictures: Annotated[Whole, Parameter(help="That attributes are learned from.")] = 500,
    data: Data = None,
    space: Space = None,
    reach: Annotated[float, Parameter(help="Standard deviations, each way.")] = 3.0,
    columns: Whole = 7,
    out: Annotated[Path | None, Parameter(help="A .png: a direction a row; by default directions.png.")] = None,
    vectors: Annotated[Path | None, Parameter(help="Also write the directions to this .npz.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Find directions in the latent space and show what a step along each changes."""
    import torch

    from reverie.capabilities import Encodes
    from reverie.data.pictures import save_grid
    from reverie.tasks import directions as task
    from reverie.tasks.attributes import MEASURED
    from reverie.tasks.labels import labels_in_turn
    from reverie.tasks.space import space_of

    png(out)
    if vectors is not None:
        suffixed(vectors, ".npz", "--vectors")
    at_least("--count", count, 1)
    at_least("--columns", columns, 2)
    at_least("--pictures", pictures, 2)
    finite("--reach", reach)
    loaded = load(run, device)
    spec = data or own_data(loaded, "give --data")
    out = writes("directions", run, out, "directions.png", vectors, reads=[spec], force=force)
    space_of(loaded.model, space, "have directions")
    whole = dataset_like(loaded, spec)
    if attributes:
        latents, values = task.attributed(
            loaded.model, whole.split("train"), attributes, pictures, space, seed, projected
        )
        found = task.effects(latents, values)
    elif how == "sensitive":
        latents = task.drawn(loaded.model, space, seed=seed, count=1)  # to show the directions from
        found = task.sensitive(loaded.model, count, space, seed=seed)
    else:
        if isinstance(loaded.model, Encodes) and space != "w":
            latents = torch.from_numpy(_embedding(loaded, whole.split("train")).codes)
        else:
            latents = task.drawn(loaded.model, space, seed=seed)
        found = task.principal(latents, count)
    steps = torch.linspace(-reach, reach, columns)
    start = latents[:1]
    labels = labels_in_turn(loaded.model, None, 1)
    rows = [task.along(loaded.model, start, vector, steps, space, labels)[0] for vector in found.vectors]
    save_grid(torch.cat(rows), out, columns)
    if vectors is not None:
        _save_arrays(vectors, {name: vector for name, vector in zip(found.names, found.vectors, strict=True)})
    say(f"{len(found.names)} directions in {out}")
    report(
        {
            name: {"share": float(share)}
            | {key: [round(float(v), 4) for v in measure(row)] for key, measure in MEASURED.items()}
            for name, share, row in zip(found.names, found.strength, rows, strict=True)
        }
    )


@command
def arithmetic(
    run: str,
    expression: Annotated[
        str,
        Parameter(
            help="Such as 'smile - smile:low + curly/': attributes or classes (:low or :high), or data specs.",
            allow_leading_hyphen=True,
        ),
    ],
    /,
    *,
    to: Annotated[str | None, Parameter(help="Pictures to add it to; by default the sum itself is drawn.")] = None,
    count: Annotated[Whole, Parameter(help="Of those pictures.")] = 8,
    terms: Annotated[Whole, Parameter(help="Pictures whose mean a term is, at most.")] = 100,
    near: Annotated[Whole, Parameter(help="Only so many, most like the picture that is changed; 0 = all.")] = 0,
    strength: float = 1.0,
    data: Data = None,
    space: Space = None,
    out: Annotated[
        Path | None,
        Parameter(help="A .png: pictures, their latents drawn, and with the change; by default arithmetic.png."),
    ] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Add and subtract the mean latents of sets of pictures; print what changed of what can be measured."""
    import torch

    from reverie.data.pictures import save_grid, to_tensor
    from reverie.tasks import arithmetic as task
    from reverie.tasks.attributes import MEASURED
    from reverie.tasks.labels import labels_for, labels_in_turn
    from reverie.tasks.pictures import model_labels
    from reverie.tasks.project import latents_of
    from reverie.tasks.reconstruct import in_rows

    png(out)
    at_least("--count", count, 1)
    at_least("--terms", terms, task.LEAST)
    finite("--strength", strength)
    if near:
        at_least("--near", near, task.LEAST)
        at_least("--terms", terms, near + 1)  # of fewer, all are near
        if to is None:
            raise ReverieError("--near is of the pictures that are changed; name them with --to.")
    parsed = task.parse(expression)
    loaded = load(run, device)
    spec = data or own_data(loaded, "give --data")
    read_too = [spec, to, *(term.name for term in parsed if _exists(term.name))]
    out = writes("arithmetic", run, out, "arithmetic.png", reads=read_too, force=force)
    whole = dataset_like(loaded, spec)
    test = whole.split("test")
    held_out = test if len(test) else whole.split("all")

    def read(source: Dataset, rows: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64] | None, Tensor]:
        """Pictures, their labels where the model takes any, and their latents."""
        images, labels = to_tensor(source.batch(rows)), model_labels(loaded.model, source, rows)
        return images, labels, latents_of(loaded.model, images, labels, space=space, seed=seed, progress=projected)

    found: list[tuple[int, Tensor]] = []
    for term in parsed:
        source, rows = held_out, task.chosen(held_out, term.name, terms, seed)
        if rows is None:
            source = _pictures_of(loaded, term.name, held_out)
            rows = _first(min(terms, len(source)))
        found.append((term.sign, read(source, rows)[2]))
    change = task.total(found)  # which asks for enough pictures
    if to is None:
        labels = labels_in_turn(loaded.model, None, 1)
        shown = [task.edited(loaded.model, torch.zeros_like(change)[None], change, strength, space, labels)]
        figures: dict[str, Any] = {key: float(measure(shown[0])) for key, measure in MEASURED.items()}
    else:
        others = dataset_like(loaded, to)
        images, given, here = read(others, _first(min(count, len(others))))
        numbers = labels_for(loaded.model, given, len(images))
        if near:
            change = task.near(found, here, near)
        before, after = (task.edited(loaded.model, here, change, size, space, numbers) for size in (0.0, strength))
        shown = [images, before, after]
        figures = {
            key: {"before": float(measure(before).mean()), "after": float(measure(after).mean())}
            for key, measure in MEASURED.items()
        }
    save_grid(in_rows(shown, len(shown[0])), out, len(shown[0]))
    say(f"{expression} in {out}")
    report(
        {"expression": expression, "pictures_in_terms": [len(part) for _, part in found]}
        | {"near": near or None, "length": _length(change, near), "strength": strength, "measured": figures}
    )


def _length(change: Tensor, near: int) -> float:
    """The norm of a change; of a change for each picture, their mean."""
    return float(change.flatten(1 if near else 0).norm(dim=-1).mean())


def _pictures_of(loaded: Run, name: str, known: Dataset) -> Dataset:
    """The data set that a term names, which is no attribute of the ``known`` one."""
    from reverie.data.sources import is_built_in
    from reverie.errors import nearest
    from reverie.tasks.attributes import attributes_of

    if not (is_built_in(name) or name.startswith("hf:") or _exists(name)):
        plain = name.partition(":")[0]
        raise ReverieError(f"'{name}' is neither an attribute nor a place{nearest(plain, attributes_of(known))}")
    return dataset_like(loaded, name)


def _exists(name: str) -> bool:
    try:
        return Path(name).expanduser().exists()
    except (OSError, RuntimeError):  # a name too long, the home of an unknown user
        return False


def _save_arrays(path: Path, arrays: dict[str, Tensor]) -> None:
    import zipfile

    import numpy as np

    from reverie.files import replacing

    # As numpy.savez does, whose own arguments no array can be named after; but a class may have any name.
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value.numpy(), allow_pickle=False)


def _first(count: int) -> NDArray[np.int64]:
    import numpy as np

    return np.arange(count)


def _embedding(loaded: Run, training: Pictures) -> Embedding:
    from reverie.tasks.embed import embed
    from reverie.tasks.pictures import some

    return embed(loaded.model, training, indices=some(training, EMBEDDED))
