"""The commands that explore a latent space, restore, cluster and compress: every one on a family with and without an
encoder, and one sentence where it is not possible."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import reverie
from commands import fails, run, succeeds
from reverie.cli import explore
from reverie.tasks.denoise import read_mask

Trained = Callable[[str], Path]

SIDE, GAP = 8, 2  # of digits, and of a grid


def size_of(path: Path) -> tuple[int, int]:
    """Columns and rows of a grid of digits."""
    with Image.open(path) as opened:
        width, height = opened.size
    assert (width + GAP) % (SIDE + GAP) == (height + GAP) % (SIDE + GAP) == 0
    return (width + GAP) // (SIDE + GAP), (height + GAP) // (SIDE + GAP)


@pytest.mark.parametrize("model", ["gan", "vae", "stylegan2", "cgan"])
def test_project(model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out, latents = trained(model), tmp_path / "p.png", tmp_path / "z.npz"
    words = ["--count", 3, "--steps", 4, "--starts", 2, "--out", out, "--latents", latents]
    figures = json.loads(succeeds(capsys, "project", run, "digits", *words))
    assert size_of(out) == (3, 2)
    assert figures["space"] == ("w" if model == "stylegan2" else "z")
    assert figures["pictures"] == 3
    assert figures["worst_psnr"] <= figures["psnr"]
    with np.load(latents, allow_pickle=False) as found:
        assert len(found["latents"]) == 3
        assert np.isfinite(found["latents"]).all()


def test_what_cannot_be_is_told_before_the_work(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vae, gan, out = trained("vae"), trained("gan"), tmp_path / "no.png"
    for said, words in {
        "--latents takes a .npz file": ["project", gan, "digits", "--latents", tmp_path / "z.txt"],
        "starts must be at most 2048": ["project", gan, "digits", "--starts", 3000],
        "--reach must be a finite number, not nan": ["traverse", vae, "--reach", "nan"],
        "--reach must be a finite number, not inf": ["directions", gan, "--reach", "inf"],
        "--rate must be at least 0.1": ["traverse", vae, "--rate", 0],
        "--vectors takes a .npz file": ["directions", gan, "--vectors", tmp_path / "z.txt"],
        "--pictures must be at least 2": ["directions", gan, "--attributes", "slant", "--pictures", -5],
        "--strength must be a finite number": ["arithmetic", vae, "3", "--strength", "nan"],
        "--count must be at least 1": ["arithmetic", vae, "3", "--to", "digits", "--count", 0],
        "--near must be at least 3": ["arithmetic", vae, "3", "--to", "digits", "--near", 2],
        "--terms must be at least 9": ["arithmetic", vae, "3", "--to", "digits", "--near", 8, "--terms", 8],
        "has no encoder, so it starts from no given picture": ["traverse", gan, "digits"],
        "--stops must be at least 2": ["interpolate", gan, "digits", "--stops", 0],
        "--between must be at least 1": ["interpolate", gan, "digits", "--between", 0],
    }.items():
        assert said in fails(capsys, *words, "--out", out)
    assert not list(tmp_path.iterdir())


def test_a_search_says_how_far_it_is(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--count", 80, "--steps", 2, "--starts", 5, "--out", tmp_path / "p.png"]  # 51 pictures at a time
    run("project", trained("gan"), "digits", *words)
    assert "51 of 80 pictures projected" in capsys.readouterr().err


def test_arrays_may_have_any_name(tmp_path: Path) -> None:
    arrays = {"file": torch.arange(3.0), "allow_pickle": torch.eye(2)}  # names of classes, and numpy's own words
    explore._save_arrays(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as found:
        assert {name: found[name].tolist() for name in found.files} == {k: v.tolist() for k, v in arrays.items()}


def test_a_path_goes_through_given_pictures(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "walk.png"
    for model in ("vae", "gan", "cvae"):
        succeeds(capsys, "interpolate", trained(model), "digits", "--stops", 2, "--between", 3, "--out", out)
        assert size_of(out) == (4, 1)
        with Image.open(out) as strip:
            ends = np.asarray(strip, float)[:, [*range(SIDE), *range(-SIDE, 0)]]
        if model == "vae":  # the path begins and ends with what the model makes of the first two pictures
            succeeds(capsys, "reconstruct", trained(model), "digits", "--count", 2, "--out", tmp_path / "r.png")
            with Image.open(tmp_path / "r.png") as rebuilt:
                wanted = np.asarray(rebuilt, float)[SIDE + GAP :, [*range(SIDE), *range(-SIDE, 0)]]
            assert np.abs(ends - wanted).max() <= 1
    assert "is to go through 5000" in fails(
        capsys, "interpolate", trained("vae"), "digits", "--stops", 5000, "--out", out
    )


def test_neighbours_of_given_pictures_are_themselves(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = reverie.open_dataset("digits", reverie.DataOptions(limit=80)).split("train").batch(np.arange(3))
    folder = tmp_path / "own"
    folder.mkdir()
    for i, picture in enumerate(training):
        Image.fromarray(picture[0]).save(folder / f"{i}.png")
    out = tmp_path / "n.png"
    figures = json.loads(succeeds(capsys, "neighbours", trained("ae"), folder, "--nearest", 1, "--out", out))
    assert figures["distances"] == [[0], [0], [0]]
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    for row in range(3):
        top = row * (SIDE + GAP)
        assert np.array_equal(pixels[top : top + SIDE, :SIDE], pixels[top : top + SIDE, SIDE + GAP : 2 * SIDE + GAP])


@pytest.mark.parametrize("model", ["ae", "vae", "cvae"])
def test_traverse(model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, gif = tmp_path / "t.png", tmp_path / "t.gif"
    words = ["--rows", 2, "--columns", 5]
    figures = json.loads(succeeds(capsys, "traverse", trained(model), *words, "--out", out))
    assert size_of(out) == (5, 2)
    assert len(figures["dimensions"]) == 2
    assert figures["importance"] == sorted(figures["importance"], reverse=True)
    assert figures["ordered_by"] == ("standard deviation of the codes" if model == "ae" else "KL from the prior, nats")
    assert figures["steps"] == pytest.approx([-2.5, -1.25, 0, 1.25, 2.5])
    succeeds(capsys, "traverse", trained(model), *words, "--out", gif)
    with Image.open(gif) as animation:
        assert animation.size == (SIDE, 2 * SIDE)
        frame = np.asarray(animation.convert("L"), float)
    with Image.open(out) as strip:
        pixels = np.asarray(strip.convert("L"), float)
    column = np.concatenate([pixels[:SIDE, :SIDE], pixels[SIDE + GAP :, :SIDE]])
    assert np.abs(frame - column).max() <= 1
    figures = json.loads(succeeds(capsys, "traverse", trained(model), "digits", *words, "--out", out))
    assert size_of(out) == (5, 2)


@pytest.mark.parametrize("model", ["gan", "cgan", "stylegan2"])
def test_traverse_of_what_has_no_encoder(
    model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "t.png"
    words = ["--rows", 2, "--columns", 5, "--out", out]
    figures = json.loads(succeeds(capsys, "traverse", trained(model), *words))
    assert size_of(out) == (5, 2)
    assert figures["ordered_by"] == "how far the picture moves"
    assert figures["importance"] == sorted(figures["importance"], reverse=True)
    other = json.loads(succeeds(capsys, "traverse", trained(model), *words, "--seed", 1))
    assert other["importance"] != figures["importance"]
    assert "leave digits out" in fails(capsys, "traverse", trained(model), "digits", "--out", out)


def test_map(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.tasks.maps.FEWEST_COMPARED", 20)
    out = tmp_path / "map"
    figures = json.loads(succeeds(capsys, "map", trained("vae"), "digits", "--side", 4, "--out", out))
    assert size_of(out / "manifold.png") == (4, 4)
    assert (out / "pictures.png").exists()
    assert figures == json.loads((out / "figures.json").read_text())
    assert 0 <= figures["gaps"] <= 1
    assert "cannot embed" in fails(capsys, "map", trained("gan"), "--out", tmp_path / "no")


@pytest.mark.parametrize("model", ["gan", "vae", "stylegan2"])
def test_directions(model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out, vectors = trained(model), tmp_path / "d.png", tmp_path / "d.npz"
    for how in ("principal", "sensitive"):
        words = ["--how", how, "--count", 2, "--columns", 3, "--out", out]
        figures = json.loads(succeeds(capsys, "directions", run, *words))
        assert size_of(out) == (3, 2)
        assert len(figures) == 2
        shares = [row["share"] for row in figures.values()]
        assert shares == sorted(shares, reverse=True)
    words = ["--attributes", "brightness", "slant", "--pictures", 40, "--columns", 5, "--out", out]
    figures = json.loads(succeeds(capsys, "directions", run, *words, "--vectors", vectors))
    assert list(figures) == ["brightness", "slant"]
    assert len(figures["slant"]["thickness"]) == 5
    with np.load(vectors, allow_pickle=False) as found:
        assert set(found.files) == {"brightness", "slant"}
    assert "no attribute 'smile'" in fails(capsys, "directions", run, "--attributes", "smile", "--out", out)


@pytest.mark.parametrize("model", ["vae", "gan"])
def test_arithmetic(model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = trained(model), tmp_path / "a.png"
    words = ["--data", "digits", "--terms", 4, "--out", out]
    figures = json.loads(succeeds(capsys, "arithmetic", run, "3 - slant + slant:low", *words))
    assert size_of(out) == (1, 1)
    assert figures["pictures_in_terms"] == [4, 4, 4]
    assert set(figures["measured"]) == {"brightness", "slant", "thickness"}
    figures = json.loads(succeeds(capsys, "arithmetic", run, "3 - 7", *words, "--to", "digits", "--count", 2))
    assert size_of(out) == (2, 3)
    assert set(figures["measured"]["slant"]) == {"before", "after"}
    assert figures["near"] is None
    succeeds(capsys, "arithmetic", run, "3 - 7", *words, "--to", "digits", "--count", 2, "--near", 3)
    assert "--near is of the pictures that are changed" in fails(capsys, "arithmetic", run, "3 - 7", "--near", 4)
    assert "neither an attribute nor a place" in fails(capsys, "arithmetic", run, "smile - 3", *words)
    assert "is no sum" in fails(capsys, "arithmetic", run, "3 -", *words)
    assert "at least 3" in fails(capsys, "arithmetic", run, "3", "--terms", 2, "--out", out)
    succeeds(capsys, "arithmetic", run, "3", "--terms", 3, "--seed", -1, "--out", out)
    figures = json.loads(succeeds(capsys, "arithmetic", run, "digits - 3", *words))  # a data spec that is no path
    assert figures["pictures_in_terms"] == [4, 4]


def test_a_term_may_be_a_folder_of_at_least_three_pictures(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((SIDE, SIDE), 80 * i, np.uint8)).save(folder / f"{i}.png")
    words = ["--data", "digits", "--out", tmp_path / "a.png"]
    figures = json.loads(succeeds(capsys, "arithmetic", trained("ae"), f"3 - {folder}", *words))
    assert figures["pictures_in_terms"][1] == 3
    (folder / "0.png").unlink()
    assert "at least 3 pictures, and one has 2" in fails(capsys, "arithmetic", trained("ae"), f"3 - {folder}", *words)


@pytest.mark.parametrize("damage", ["noise", "hole", "coarse"])
def test_denoise(damage: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "r.png"
    words = ["--damage", damage, "--level", 0.3, "--factor", 2, "--count", 3, "--out", out]
    figures = json.loads(succeeds(capsys, "denoise", trained("vae"), "digits", *words, "--clean"))
    assert size_of(out) == (3, 3)
    assert set(figures) == {"damage", "pictures", "seed", "damaged", "restored"}
    figures = json.loads(succeeds(capsys, "denoise", trained("vae"), "digits", *words))
    assert size_of(out) == (3, 2)
    assert "restored" not in figures


def test_a_hole_is_drawn_in_a_picture(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:2] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    words = ["--damage", "hole", "--count", 2, "--out", tmp_path / "r.png"]
    succeeds(capsys, "denoise", trained("vae"), "digits", *words, "--hole", tmp_path / "mask.png")
    with Image.open(tmp_path / "r.png") as sheet:
        assert set(np.unique(np.asarray(sheet)[:2, :SIDE])) <= {127, 128}
    Image.fromarray(mask.astype(np.uint16) * 257 // 2 + 2000).save(tmp_path / "deep.png")  # 2000, and above the middle
    assert torch.equal(read_mask(tmp_path / "deep.png"), torch.from_numpy(mask > 0))
    Image.fromarray(mask[:4]).save(tmp_path / "small.png")
    assert "is as large" in fails(capsys, "denoise", trained("vae"), "digits", *words, "--hole", tmp_path / "small.png")
    broken = bytearray((tmp_path / "mask.png").read_bytes())
    broken[broken.index(b"IDAT") - 1] = 4  # the length of the pixels; to Pillow this is an error of syntax
    (tmp_path / "broken.png").write_bytes(broken)
    for name in ("none.png", "broken.png"):
        assert "can't be read as a picture" in fails(
            capsys, "denoise", trained("vae"), "digits", *words, "--hole", tmp_path / name
        )


def test_denoise_says_what_is_not_possible(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["denoise", trained("gan"), "digits", "--count", 2, "--out", tmp_path / "no.png"]
    assert "cannot reconstruct" in fails(capsys, *words, "--how", "reconstruct")
    assert "noise must be more than 0" in fails(capsys, *words, "--level", 0)
    assert "of 8 x 8 pixels must be at most 8, not 99" in fails(capsys, *words, "--damage", "coarse", "--factor", 99)
    assert not (tmp_path / "no.png").exists()


def test_cluster(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c"
    words = ["--count", 3, "--columns", 4, "--out", out]
    figures = json.loads(succeeds(capsys, "cluster", trained("ae"), "digits", "--split", "all", *words))
    assert size_of(out / "clusters.png") == (4, 3)
    rows = (out / "clusters.csv").read_text().splitlines()
    assert rows[0] == "name,cluster,distance"
    assert len(rows) - 1 == sum(figures["sizes"]) > 3
    assert 0 < figures["purity"] <= 1
    assert "cannot embed" in fails(capsys, "cluster", trained("gan"), "digits", "--out", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_compress(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "c"
    figures = json.loads(succeeds(capsys, "compress", trained("ae"), "digits", "--count", 20, "--out", out))
    assert {point["name"] for point in figures["points"]} >= {"Autoencoder", "PCA", "JPEG", "PNG"}
    assert size_of(out / "compressed.png")[0] == 10
    assert (out / "compressed.svg").read_text().startswith("<svg")
    assert "cannot compress" in fails(capsys, "compress", trained("gan"), "digits", "--out", tmp_path / "no")


def test_pictures_on_a_path_are_coded_as_what_they_are(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, data = reverie.load(trained("cvae")), reverie.open_dataset("digits", reverie.DataOptions(limit=80))
    rows = np.arange(2)
    assert data.labels is not None
    pictures, numbers = reverie.to_tensor(data.batch(rows)), data.labels[rows]
    assert numbers[0] != numbers[1]
    ends = reverie.latents_of(run.model, pictures, numbers)
    path = reverie.interpolate(run.model, between=1, ends=ends, labels=["3"])
    reverie.save_grid(path, tmp_path / "a.png", 2)
    words = ["--stops", 2, "--between", 1, "--label", "3", "--out", tmp_path / "b.png"]
    succeeds(capsys, "interpolate", trained("cvae"), "digits", *words)
    with Image.open(tmp_path / "a.png") as mine, Image.open(tmp_path / "b.png") as theirs:
        assert np.array_equal(np.asarray(mine), np.asarray(theirs))


@pytest.mark.parametrize("model", ["cvae", "cgan"])
def test_directions_of_conditional_models(
    model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d.png"
    words = ["--attributes", "slant", "--pictures", 12, "--columns", 3, "--out", out]
    figures = json.loads(succeeds(capsys, "directions", trained(model), *words))
    assert size_of(out) == (3, 1)
    assert np.isfinite(figures["slant"]["slant"]).all()
