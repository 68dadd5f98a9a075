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
    load,
    png,
    png_or_animation,
    print_figures,
    print_note,
    projected,
    room,
    run_and_pictures,
    suffixed,
    writes,
)
from reverie.config import check_range
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from torch import Tensor


command = room("Explore")

SpaceName = Annotated[
    Literal["z", "w"] | None, Parameter(help="z, or w, the styles of a StyleGAN (there the default).")
]
Data = Annotated[str | None, Parameter(help="By default the data the run was trained on.")]


@command
def project(
    run: str,
    images: str,
    /,
    *,
    count: Whole = 16,
    space: SpaceName = None,
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
    from reverie.data.image_io import save_grid, to_tensor
    from reverie.metrics.images import psnr, ssim
    from reverie.tasks.project import project as find
    from reverie.tasks.reconstruct import comparison_rows

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
    save_grid(comparison_rows(given, found.pictures, columns), out, columns)
    if latents is not None:
        _save_arrays(latents, {"latents": found.latents})
    print_note(f"{len(given)} pictures and their projections in {out}")
    quality = {"psnr": psnr(found.pictures, given), "ssim": ssim(found.pictures, given)}
    print_figures(
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
    from reverie.data.image_io import save_animation, save_grid

    check_range("--rows", rows, low=1)
    check_range("--columns", columns, low=1)
    check_range("--reach", reach)
    png_or_animation(out, rate)
    loaded = load(run, device)
    own = loaded.own_data("put it back there") if isinstance(loaded.model, Reconstructs) else None
    out = writes("traverse", run, out, "traversal.png", reads=[images, own], force=force)
    found = loaded.traverse(images, rows=rows, columns=columns, reach=reach, label=label, seed=seed)
    if out.suffix.lower() == ".png":
        save_grid(found.pictures, out, columns)
    else:
        frames = found.pictures.unflatten(0, (-1, columns)).permute(1, 2, 0, 3, 4)  # (columns, C, rows, H, W)
        frames = frames.flatten(2, 3)  # the rows below each other
        save_animation(torch.cat([frames, frames[1:-1].flip(0)]), out, rate)
    print_note(f"{len(found.dimensions)} dimensions in {out}")
    print_figures(
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
    from reverie.data.image_io import save_grid
    from reverie.files import replacing
    from reverie.inference.embed import embed
    from reverie.inference.pictures import Subset, sample_indices
    from reverie.tasks import maps

    loaded = load(run, device)
    spec = images or loaded.own_data("give IMAGES")
    out = writes("map", run, out, "map", reads=[spec], names=["manifold.png", "pictures.png", FIGURES], force=force)
    dataset = loaded.open(spec, "all" if images else "test")
    shown = Subset(dataset, sample_indices(dataset, maps.MOST_COMPARED, seed))
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
        print_note(f"gaps are measured among {maps.FEWEST_COMPARED} codes or more; there are {len(shown)}")
    print_note(f"maps of {len(shown):,} codes in {out}")
    print_figures(figures, out / FIGURES)


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
    space: SpaceName = None,
    reach: Annotated[float, Parameter(help="Standard deviations, each way.")] = 3.0,
    columns: Whole = 7,
    out: Annotated[Path | None, Parameter(help="A .png: a direction a row; by default directions.png.")] = None,
    vectors: Annotated[Path | None, Parameter(help="Also write the directions to this .npz.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Find directions in the latent space and show what a step along each changes."""
    from reverie.data.image_io import save_grid
    from reverie.inference.latent_space import latent_space
    from reverie.tasks import directions as task

    png(out)
    if vectors is not None:
        suffixed(vectors, ".npz", "--vectors")
    check_range("--count", count, low=1)
    check_range("--columns", columns, low=2)
    check_range("--pictures", pictures, low=2)
    check_range("--reach", reach)
    loaded = load(run, device)
    spec = data or loaded.own_data("give --data")
    out = writes("directions", run, out, "directions.png", vectors, reads=[spec], force=force)
    latent_space(loaded.model, space, "have directions")
    found = task.directions(
        loaded.model, loaded.open(spec, "train"), attributes, how=how, count=count, pictures=pictures, space=space,
        reach=reach, columns=columns, seed=seed, progress=projected,
    )  # fmt: skip
    names, vectors_of = found.directions.names, found.directions.vectors
    save_grid(found.pictures.flatten(0, 1), out, columns)
    if vectors is not None:
        _save_arrays(vectors, {name: vector for name, vector in zip(names, vectors_of, strict=True)})
    print_note(f"{len(names)} directions in {out}")
    print_figures(
        {
            name: {"share": float(share)} | {key: [round(v, 4) for v in values] for key, values in measured.items()}
            for name, share, measured in zip(names, found.directions.strength, found.measured, strict=True)
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
    space: SpaceName = None,
    out: Annotated[
        Path | None,
        Parameter(help="A .png: pictures, their latents drawn, and with the change; by default arithmetic.png."),
    ] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Add and subtract the mean latents of sets of pictures; print what changed of what can be measured."""
    from reverie.data.image_io import save_grid
    from reverie.tasks import arithmetic as task

    png(out)
    check_range("--count", count, low=1)
    check_range("--terms", terms, low=task.LEAST)
    check_range("--strength", strength)
    if near:
        check_range("--near", near, low=task.LEAST)
        check_range("--terms", terms, low=near + 1)  # a term with fewer pictures would be used whole
        if to is None:
            raise ReverieError("--near is of the pictures that are changed; name them with --to.")
    parsed = task.parse(expression)
    loaded = load(run, device)
    spec = data or loaded.own_data("give --data")
    read_too = [spec, to, *(term.name for term in parsed if task.is_place(term.name))]
    out = writes("arithmetic", run, out, "arithmetic.png", reads=read_too, force=force)
    whole = loaded.open(spec, "all")
    test = whole.split("test")
    found = task.arithmetic(
        loaded, expression, test if len(test) else whole, to, count=count, terms=terms, near=near, strength=strength,
        space=space, seed=seed, progress=projected,
    )  # fmt: skip
    save_grid(found.pictures, out, found.columns)
    print_note(f"{expression} in {out}")
    print_figures(found.figures)


def _save_arrays(path: Path, arrays: dict[str, Tensor]) -> None:
    import zipfile

    import numpy as np

    from reverie.files import replacing

    # As numpy.savez, which cannot name an array like one of its own arguments; a class may have any name.
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, value in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, value.numpy(), allow_pickle=False)
