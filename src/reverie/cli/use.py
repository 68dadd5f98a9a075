"""Commands that put a run to use on pictures: reconstruct, denoise, embed, cluster, compress, neighbours, translate."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from reverie.cli.shared import (
    FIGURES,
    Device,
    Force,
    Split,
    SplitOrNone,
    Whole,
    WholeOrNone,
    load,
    places,
    png,
    print_figures,
    print_line,
    print_note,
    print_notes,
    projected,
    room,
    run_and_pictures,
    writes,
)
from reverie.config import check_range
from reverie.errors import Partly, ReverieError, printable

command = room("Use")


@command
def reconstruct(
    run: str,
    images: str,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="A .png: rows of inputs above rows of outputs; by default reconstructions.png.")
    ] = None,
    count: Whole = 32,
    split: Split = "all",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Show pictures beside what a run makes of them; IMAGES is a data spec."""
    from reverie.data.image_io import save_grid, to_tensor
    from reverie.tasks.reconstruct import comparison_rows
    from reverie.tasks.reconstruct import reconstruct as rebuild

    png(out)
    out = writes("reconstruct", run, out, "reconstructions.png", reads=[images], force=force)
    loaded, pictures, labels = run_and_pictures(run, images, split, count, device)
    given = to_tensor(pictures)
    rebuilt = rebuild(loaded.model, given, labels)
    columns = min(8, len(given))
    print_notes(save_grid(comparison_rows(given, rebuilt, columns), out, columns, loaded.image_spec.scales[0]))
    print_line(f"{len(given)} pictures and their reconstructions in {out}")


@command
def embed(
    run: str,
    images: str,
    /,
    *,
    out: Annotated[
        Path | None, Parameter(help="A .npz or .parquet file: names, codes, labels; by default codes.npz.")
    ] = None,
    split: Split = "all",
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Write the latent codes of pictures; IMAGES is a data spec."""
    from reverie.inference.embed import embed as encode

    if out is not None and out.suffix not in (".npz", ".parquet"):
        raise ReverieError(f"--out takes a .npz or .parquet file, not {out}.")
    loaded = load(run, device)
    out = writes("embed", run, out, "codes.npz", reads=[images], force=force)
    found = encode(loaded.model, loaded.open(images, split))
    found.save(out)
    print_line(f"{len(found.codes)} codes of {found.codes.shape[1]} numbers in {out}")


@command
def denoise(
    run: str,
    images: str,
    /,
    *,
    damage: Annotated[
        Literal["noise", "hole", "coarse"],
        Parameter(help="What is wrong with the pictures; coarse: too few pixels."),
    ] = "noise",
    level: Annotated[float, Parameter(help="The noise's standard deviation, pixels being 0 to 1.")] = 0.1,
    hole: Annotated[
        Path | None, Parameter(help="A picture of the run's size, white where a pixel is missing; else the middle is.")
    ] = None,
    factor: Annotated[Whole, Parameter(help="Of coarse: how many pixels became one, each way.")] = 4,
    clean: Annotated[
        bool, Parameter(negative="", help="IMAGES are undamaged: damage them first, and measure what comes back.")
    ] = False,
    how: Annotated[
        Literal["auto", "reconstruct", "project"],
        Parameter(help="By the encoder, or by a search for what the model can draw; auto: what the model can."),
    ] = "auto",
    count: Whole = 16,
    split: Split = "all",
    out: Annotated[
        Path | None,
        Parameter(help="A .png: rows of damaged pictures above rows of restored ones; by default denoised.png."),
    ] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Restore pictures by what a run knows: remove noise, fill a hole, add pixels; IMAGES is a data spec."""
    from reverie.data.image_io import save_grid, to_tensor
    from reverie.metrics.images import psnr, ssim
    from reverie.tasks import denoise as task
    from reverie.tasks.reconstruct import grid_rows

    png(out)
    out = writes("denoise", run, out, "denoised.png", reads=[images, hole], force=force)
    loaded, pictures, labels = run_and_pictures(run, images, split, count, device)
    given = to_tensor(pictures)
    if damage == "hole":
        found = task.mask(given, task.centre_mask(*given.shape[2:]) if hole is None else task.read_mask(hole))
    elif damage == "coarse":
        found = task.downsample(given, factor)
    else:
        found = task.add_noise(given, level, seed) if clean else task.already_noisy(given, level)
    restored = task.restore(loaded.model, found, labels, how=how, seed=seed, progress=projected)
    columns = min(8, len(given))
    rows = grid_rows([*([given] if clean else []), found.damaged.clamp(-1, 1), restored], columns)
    print_notes(save_grid(rows, out, columns, loaded.image_spec.scales[0]))
    print_note(f"{len(given)} pictures, damaged and restored, in {out}")
    figures: dict[str, Any] = {"damage": damage, "pictures": len(given), "seed": seed}
    if clean:
        for name, part in (("damaged", found.damaged), ("restored", restored)):
            figures[name] = {"psnr": float(psnr(part, given).mean()), "ssim": float(ssim(part, given).mean())}
    print_figures(figures)


@command
def cluster(
    run: str,
    images: Annotated[str | None, Parameter(help="A data spec; by default the run's own test pictures.")] = None,
    /,
    *,
    count: Annotated[Whole, Parameter(help="Groups.")] = 10,
    how: Literal["kmeans", "mixture"] = "kmeans",
    columns: Annotated[Whole, Parameter(help="Pictures of each group that are shown.")] = 12,
    split: SplitOrNone = None,
    out: Annotated[Path | None, Parameter(help="A folder; by default clusters.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Group pictures by their codes.

    Leaves clusters.png (a group a row, the decoded centre first, then the pictures nearest to it), clusters.csv (name,
    group, distance from its centre) and figures.json, and prints the last.
    """
    from reverie.data.image_io import save_grid
    from reverie.files import write_table
    from reverie.inference.embed import embed as encode
    from reverie.tasks.cluster import cluster as group
    from reverie.tasks.cluster import contact_sheet

    loaded = load(run, device)
    spec = images or loaded.own_data("give IMAGES")
    names = ["clusters.png", "clusters.csv", FIGURES]
    out = writes("cluster", run, out, "clusters", reads=[spec], names=names, force=force)
    dataset = loaded.open(spec, split)
    found = group(encode(loaded.model, dataset), count, how, seed)
    save_grid(contact_sheet(found, dataset, columns, loaded.model), out / "clusters.png", columns)
    rows = zip(dataset.names, found.assignments.tolist(), found.distances.tolist(), strict=True)
    write_table(out / "clusters.csv", ["name", "cluster", "distance"], rows)
    print_note(f"{len(dataset):,} pictures in {count} groups in {out}")
    figures = {key: getattr(found, key) for key in ("silhouette", "purity", "nmi", "ari")}
    print_figures({"how": how, "sizes": found.sizes.tolist(), **figures, "seed": seed}, out / FIGURES)


@command
def compress(
    run: str,
    images: Annotated[str | None, Parameter(help="A data spec; by default the run's own test pictures.")] = None,
    /,
    *,
    bits: Annotated[Whole, Parameter(help="Of each number of a code, in the picture; 32: as they are.")] = 4,
    count: Annotated[Whole, Parameter(help="Pictures that are measured.")] = 1000,
    split: SplitOrNone = None,
    out: Annotated[Path | None, Parameter(help="A folder; by default compressed.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Measure how well pictures come back from how few bytes, beside principal components, JPEG, WebP and PNG.

    Leaves compressed.svg (the curves), compressed.png (what comes back) and figures.json, and prints the last.
    """
    from dataclasses import asdict

    import numpy as np

    from reverie.data.image_io import save_grid, to_tensor
    from reverie.files import replacing
    from reverie.inference.labels import names_of
    from reverie.inference.pictures import model_labels
    from reverie.tasks.compress import compress as measure

    loaded = load(run, device)
    own = loaded.own_data("put it back there")
    names = ["compressed.png", "compressed.svg", FIGURES]
    out = writes("compress", run, out, "compressed", reads=[images, own], names=names, force=force)
    test = loaded.open(images or own, split)
    found = measure(loaded.model, loaded.open(own, "train"), test, count, seed)
    rows = np.arange(min(10, len(test)))
    labels = names_of(loaded.model, model_labels(loaded.model, test, rows))
    shown = found.picture(to_tensor(test.batch(rows)), bits, labels)
    save_grid(shown.pictures, out / "compressed.png", len(rows))
    with replacing(out / "compressed.svg") as temporary:
        temporary.write_text(found.chart(), encoding="utf-8")
    for note in found.notes:
        print_note(note)
    print_note(f"rows of compressed.png: {'; '.join(shown.names)}")
    points = [asdict(point) for point in found.points]
    figures = {"latent": found.latent, "pictures": found.pictures, "points": points, "notes": found.notes, "seed": seed}
    print_figures(figures, out / FIGURES)


@command
def neighbours(
    run: str,
    images: Annotated[str | None, Parameter(help="A data spec; by default pictures that the run draws.")] = None,
    /,
    *,
    count: Annotated[Whole, Parameter(help="Pictures.")] = 8,
    nearest: Annotated[Whole, Parameter(help="Training pictures shown for each.")] = 5,
    features: Annotated[
        str, Parameter(help="What near means: pixels, textures, classifier, encoder:RUN or inception[:FILE].")
    ] = "pixels",
    data: Annotated[str | None, Parameter(help="By default the data the run was trained on.")] = None,
    out: Annotated[Path | None, Parameter(help="A .png; by default neighbours.png.")] = None,
    seed: Whole = 0,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Show drawn or given pictures beside the training pictures nearest to them."""
    from reverie.data.image_io import save_grid

    check_range("--count", count, low=1)
    png(out)
    loaded = load(run, device)
    spec = data or loaded.own_data("give --data")
    out = writes("neighbours", run, out, "neighbours.png", reads=[images, spec, *places(features)], force=force)
    found = loaded.neighbours(images, count=count, nearest=nearest, features=features, data=spec, seed=seed)
    save_grid(found.sheet(), out, nearest + 1)
    training, distances = found.training, found.found.distances
    print_note(f"{len(found.images)} pictures, each with its {nearest} nearest of {len(training):,}, in {out}")
    figures: dict[str, Any] = {
        "features": features,
        "training_pictures": len(training),
        "distance": float(distances[:, 0].mean()),  # to the nearest, mean over the pictures
        "distances": distances.round(6).tolist(),
        "nearest": [[training.names[i] for i in row] for row in found.found.indices],
    }
    if found.held_out is not None:
        figures["distance_of_held_out"] = found.held_out
    print_figures(figures)


@command
def translate(
    run: str,
    # Needed for "-" as an argument; other words that look like options are refused below.
    images: Annotated[tuple[str, ...], Parameter(allow_leading_hyphen=True)],
    /,
    *,
    direction: Annotated[Literal["ab", "ba"], Parameter(help="From side A to B, or back.")] = "ab",
    out: Annotated[
        Path | None,
        Parameter(
            help="A folder, by default translated; for one picture also a file, or - for stdout.",
            allow_leading_hyphen=True,
        ),
    ] = None,
    tile: Annotated[Whole, Parameter(help="Larger pictures go through in tiles; 0: never.")] = 1024,
    overlap: Annotated[
        WholeOrNone, Parameter(help="Pixels that neighbouring tiles share; by default enough for pix2pix.")
    ] = None,
    noise: Annotated[WholeOrNone, Parameter(help="Keep dropout on, with this seed.")] = None,
    device: Device = "auto",
    force: Force = False,
) -> None:
    """Turn pictures into those of the other side; IMAGES are files, folders, or - for stdin."""
    from reverie.output_guard import claim_outputs
    from reverie.tasks.translate_files import translate_files
    from reverie.training_data import inside

    for word in (*images, "" if out is None else str(out)):
        if word.startswith("-") and word != "-":
            raise ReverieError(f"Unknown option {word}, or not where it belongs; a picture of that name is ./{word}.")
    check_range("--tile", tile, low=0)
    check_range("--overlap", overlap or 0, low=0)
    loaded = load(run, device)
    where = out or Path("translated")
    if out is None and any(inside(where, word) for word in images if word != "-"):
        raise ReverieError(f"{where} would lie in a folder that is read; choose another place by --out.")

    def claimed(sources: list[Path], targets: list[Path], folder: Path | None) -> None:
        # Results are named after their pictures, so those of other pictures may stay.
        claim_outputs(
            f"translate {direction}", run, targets, folder=folder, reads=[Path(run), *sources], force=force, keep=True
        )

    done = translate_files(
        loaded.model, images, where, direction, noise=noise, tile=tile, overlap=overlap, claimed=claimed
    )
    for note, count in done.notes.items():
        print_note(f"{note} (pictures: {count})")
    for name, why in done.failed:
        print_note(f"{name}: {why}")
    if done.failed:
        total = done.written + len(done.failed)
        raise Partly(f"{len(done.failed)} of {total} pictures failed; {done.written} were translated.")
    print(printable(f"{done.written} pictures in {where}"), file=sys.stderr if str(where) == "-" else sys.stdout)
