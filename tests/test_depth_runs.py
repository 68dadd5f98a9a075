"""Runs on pictures of more than 8 bits: what counts levels, what is kept, and what is written."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import expit

from cases import SPEC, tiny
from pictures import Held
from reverie import artifact
from reverie.cli import main
from reverie.data import DataOptions, open_dataset, to_tensor
from reverie.data.image_io import to_pixels
from reverie.data.loader import BatchLoader
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.evaluation import evaluate
from reverie.losses.reconstruction import logistic_mixture, mixture_parameters
from reverie.metrics.likelihood import bits_per_level
from reverie.networks.pool import Pool
from reverie.scale import Scale
from reverie.tasks.anomaly import detector
from reverie.tasks.anomaly_scores import scores_of
from reverie.tasks.compress import compress
from runs import written

WORDS, FLOATS = Scale(16, "integer", 0, 4095), Scale(32, "float", -5, 5)


def deep(scale: Scale, channels: int = 1, count: int = 8) -> Held:
    """Random pictures as a pack of that scale stores them."""
    held = Held(np.zeros((count, channels, 8, 8), np.uint8))
    held.pixels = scale.stored(np.random.default_rng(0).random((count, channels, 8, 8), np.float32))
    held.image_spec = replace(held.image_spec, scales=(scale,))
    return held


def image_spec(scale: Scale, channels: int = 1) -> ImageSpec:
    return ImageSpec(channels, 8, 8, scales=(scale,))


# Levels


@pytest.mark.parametrize("levels", [5, 256, 65536])
def test_the_levels_of_a_logistic_mixture_are_all_there_is(levels: int) -> None:
    """The probabilities of every level add up to one, and each is a difference of the mixture's distribution."""
    generator = torch.Generator().manual_seed(1)
    outputs = torch.randn(1, 9, 1, 1, generator=generator, dtype=torch.float64)
    outputs[:, 6:] -= 1 + math.log((levels - 1) / 255) if levels > 256 else 0  # narrow: some tens of levels
    every = torch.arange(levels, dtype=torch.float64).view(1, 1, 1, -1) * 2 / (levels - 1) - 1
    wide = outputs.expand(1, 9, 1, levels)
    log_weights, means, log_scales = mixture_parameters(outputs, 1, levels)
    one = logistic_mixture(outputs, every[..., 1:2], levels)
    step = 1 / (levels - 1)
    z = (
        (every[0, 0, 0, 1] + torch.tensor([step, -step])[:, None] - means.flatten()) / log_scales.flatten().exp()
    ).numpy()
    mass = (log_weights.flatten().exp().numpy() * (expit(z[0]) - expit(z[1]))).sum()
    assert one.exp().item() == pytest.approx(mass, rel=1e-6)
    each = torch.stack(
        [
            logistic_mixture(
                wide[..., i : i + 512].permute(3, 1, 2, 0), every[..., i : i + 512].permute(3, 1, 2, 0), levels
            )
            .exp()
            .sum()
            for i in range(0, levels, 512)
        ]
    )
    assert each.sum().item() == pytest.approx(1, abs=1e-9)


def test_eight_bits_are_counted_as_before() -> None:
    outputs, targets = torch.randn(2, 6, 3, 3), torch.rand(2, 1, 3, 3) * 2 - 1
    assert torch.equal(logistic_mixture(outputs, targets), logistic_mixture(outputs, targets, 256))
    assert mixture_parameters(outputs - 99, 1)[2].min() == -7


def test_a_logistic_vae_counts_the_levels_of_its_pictures() -> None:
    images = to_tensor(deep(WORDS).pixels)
    shallow, fine = (tiny("vae", image_spec(scale), likelihood="logistic", network="mlp") for scale in (Scale(), WORDS))
    outputs = torch.randn(8, 15, 8, 8, generator=torch.Generator().manual_seed(0))
    levels = [model.log_likelihood(outputs, images, torch.zeros(())) for model in (shallow, fine)]  # type: ignore[operator]
    # A level is 257 times as wide at 8 bits, and about as many times as likely.
    assert ((levels[0] - levels[1]) / 64).mean().item() == pytest.approx(math.log(257), rel=0.1)
    with pytest.raises(ReverieError, match=r"likelihood=logistic counts levels, and these pictures are floats"):
        tiny("vae", image_spec(FLOATS), likelihood="logistic")


def test_bits_are_referred_to_the_levels_there_are() -> None:
    assert bits_per_level(16) - bits_per_level(8) == pytest.approx(math.log2(257))
    for scale, levels in ((Scale(), 8), (WORDS, 16)):
        figures = evaluate(tiny("vae", image_spec(scale), network="mlp"), deep(scale), ["likelihood"], samples=2)[
            "likelihood"
        ]
        assert figures["bits_per_dim_from_density"] - figures["bits_per_dim"] == pytest.approx(bits_per_level(levels))
    figures = evaluate(tiny("vae", image_spec(FLOATS), network="mlp"), deep(FLOATS), ["likelihood"], samples=2)[
        "likelihood"
    ]
    assert "bits_per_dim_from_density" not in figures


def test_complexity_is_of_files_that_hold_the_pictures() -> None:
    model = tiny("vae", image_spec(WORDS), likelihood="logistic", network="mlp").eval()
    random, flat = deep(WORDS, count=40), deep(WORDS, count=2)
    flat.pixels[:] = 300
    found = detector(model, random, "complexity", rate=0.1, samples=2)
    bound = detector(model, random, "bound", rate=0.1, samples=2)
    nats = (bound.scores(random) - found.scores(random)) / math.log(2) / 8
    assert nats.min() > 2 * 64  # noise of 16 bits does not shrink
    assert ((bound.scores(flat) - found.scores(flat)) / math.log(2) / 8).max() < 100
    for other in (image_spec(WORDS, 3), image_spec(FLOATS)):
        model = tiny("vae", other, network="mlp").eval()
        assert "complexity" not in scores_of(model)
        with pytest.raises(ReverieError, match="here none is made of floats, or of 16 bits in several channels"):
            detector(model, deep(other.scales[0], other.channels, 40), "complexity", rate=0.1)


def test_eight_bit_formats_are_not_compared_with_deeper_pictures() -> None:
    pictures = deep(WORDS, count=12)
    found = compress(tiny("ae", image_spec(WORDS), network="mlp").eval(), pictures, pictures)
    assert {point.name.split(",")[0] for point in found.points} == {"Autoencoder", "PCA"}
    assert (
        "JPEG, WebP and PNG are left out: they are measured at 8 bits, and the pictures are of 16 bits." in found.notes
    )


def test_a_pool_keeps_what_the_data_has() -> None:
    images = torch.rand(4, 1, 2, 2) * 2 - 1
    draw = Draw(0, "pool", 0, first=0, count=4, total=4, device=torch.device("cpu"))
    for depth, error in ((8, 1 / 255), (16, 0), (32, 0)):
        pool = Pool(4, (1, 2, 2), depth)
        pool.exchange(images, draw)
        kept = pool.pictures / 127.5 - 1 if depth == 8 else pool.pictures
        assert (kept - images).abs().max() <= error * 1.001
        shown = torch.stack([pool.exchange(-images, draw) for _ in range(8)])  # old ones, or new ones stored
        assert ((shown.abs() - images.abs()).abs().amax() <= error * 1.001).item()
    assert Pool(1, (1, 2, 2)).state_dict()["pictures"].dtype == torch.uint8


# Files


def test_a_run_keeps_its_scales(tmp_path: Path) -> None:
    sides = ImageSpec(5, 8, 8, (), (2, 3), (Scale(16, "byte", 0, 1), WORDS))
    for name, known in (("vae", replace(SPEC, scales=(FLOATS,))), ("cyclegan", sides)):
        written(tmp_path / name, name, known)
        assert artifact.load(tmp_path / name).image_spec == known
        config = json.loads((tmp_path / name / "config.json").read_text())
        assert config["facts"]["scales"] == [asdict(scale) for scale in known.scales]
        del config["facts"]["scales"]  # as of before
        (tmp_path / name / "config.json").write_text(json.dumps(config))
        if name == "vae":
            assert artifact.load(tmp_path / name).image_spec.scales == (Scale(),)


@pytest.mark.parametrize(
    "wrong",
    [
        7, {}, [], [[]], [{}], [{"depth": 8}], [{"depth": 12}], [{"depth": True}], [{"depth": "8"}], [{"kind": "word"}],
        [{"kind": []}], [{"low": 255}], [{"high": "9"}], [{"high": None}], [{"low": -1e300}], [{"low": True}],
        [{"more": 1}], [{}, {}],
    ],
)  # fmt: skip
def test_scales_that_make_no_sense_are_named(tmp_path: Path, wrong: Any) -> None:
    written(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    if isinstance(wrong, list) and wrong and isinstance(wrong[0], dict) and (wrong[0] or len(wrong) > 1):
        wrong = [{} if one == {"depth": 8} else asdict(Scale()) | one for one in wrong]
    config["facts"]["scales"] = wrong
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ReverieError, match=r"'facts\.scales' (is|holds|does)"):
        artifact.load(tmp_path)


def ask(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """A command that ends well, and what it says on stderr."""
    with pytest.raises(SystemExit) as stopped:
        main([str(word) for word in words])
    said = capsys.readouterr().err
    assert not stopped.value.code, said
    return said


def test_from_files_to_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Twelve bits in 16-bit PNGs: learned as they are, written as they were, and new pictures read alike."""
    band = np.random.default_rng(0).integers(100, 3000, (20, 8, 8)).astype(np.uint16)
    band[0, 0, 0] = 0
    (tmp_path / "in").mkdir()
    for i, one in enumerate(band):
        Image.fromarray(one).save(tmp_path / "in" / f"{i:02}.png")
    run = tmp_path / "run"
    small = ["--set", "model.network=mlp", "model.width=8", "model.latent=4", "train.batch_size=8"]
    ask(capsys, "train", "ae", "--data", tmp_path / "in", "--out", run, "--steps", 2, "--quiet", *small)
    assert artifact.load(run).image_spec.scales == (WORDS,)
    ask(capsys, "reconstruct", run, tmp_path / "in", "--out", tmp_path / "a.png", "--count", 2)
    grid = np.asarray(Image.open(tmp_path / "a.png"))
    assert grid.dtype == np.uint16
    assert np.abs(grid[:8, :8].astype(int) - band[0]).max() <= 1
    ask(capsys, "sample", run, "--out", tmp_path / "drawn", "--count", 2)
    assert np.asarray(Image.open(tmp_path / "drawn" / "000001.png")).max() <= 4095
    ask(capsys, "denoise", run, tmp_path / "in", "--out", tmp_path / "b.png", "--count", 2, "--clean")
    assert Image.open(tmp_path / "b.png").mode == "I;16"
    # A darker set is not stretched, and one of 8 bits is read from its black to its white.
    (tmp_path / "dark").mkdir()
    Image.fromarray(band[0] // 10).save(tmp_path / "dark" / "a.png")
    said = ask(capsys, "reconstruct", run, tmp_path / "dark", "--out", tmp_path / "c.png", "--count", 1)
    assert np.abs(np.asarray(Image.open(tmp_path / "c.png"))[:8].astype(int) - band[0] // 10).max() <= 1
    assert "values from 0 to 299: 0 is black and 4095 white" in said
    (tmp_path / "bytes").mkdir()
    Image.fromarray((band[0] // 16).astype(np.uint8)).save(tmp_path / "bytes" / "a.png")
    ask(capsys, "reconstruct", run, tmp_path / "bytes", "--out", tmp_path / "d.png", "--count", 1)
    wanted = np.rint(band[0] // 16 / 255 * 4095)
    assert np.abs(np.asarray(Image.open(tmp_path / "d.png"))[:8] - wanted).max() <= 1


def test_floats_from_files_to_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "in.npz", np.random.default_rng(0).normal(0, 50, (20, 24, 24)).astype(np.float32))
    run = tmp_path / "run"
    small = ["--set", "model.network=mlp", "model.width=8", "model.latent=4", "train.batch_size=8", "data.size=8"]
    ask(capsys, "train", "ae", "--data", tmp_path / "in.npz", "--out", run, "--steps", 2, "--quiet", *small)
    (scale,) = artifact.load(run).image_spec.scales
    assert (scale.depth, scale.kind) == (32, "float")
    ask(capsys, "sample", run, "--out", tmp_path / "drawn", "--count", 1)
    drawn = Image.open(tmp_path / "drawn" / "000000.tif")
    assert drawn.mode == "F"
    assert scale.low <= np.asarray(drawn).min() < np.asarray(drawn).max() <= scale.high
    said = ask(capsys, "reconstruct", run, tmp_path / "in.npz", "--out", tmp_path / "a.png")
    assert re.search(r"values from -?[\d.]+ to [\d.]+ are written as 0 to 65535", said)


def test_deep_batches_are_augmented_as_shallow_ones_are(tmp_path: Path) -> None:
    """And a pack that lies on a GPU gives the same batches: there pictures are scaled as tensors."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 20), dtype=np.uint8)
    np.savez(tmp_path / "8.npz", noise)
    np.savez(tmp_path / "16.npz", noise.astype(np.uint16) * 257)
    batches = []
    for name in ("8", "16"):
        dataset = open_dataset(str(tmp_path / f"{name}.npz"), DataOptions(flip=True, shift=2), cache=tmp_path)
        feed = BatchLoader(dataset, 0, torch.device("cpu"))
        first, _ = feed.take(0, 8)
        feed._resident = torch.from_numpy(dataset.batch(np.arange(len(dataset))))
        second, _ = feed.take(0, 8)
        assert torch.equal(first, second)
        batches.append(first)
    assert torch.allclose(*batches, atol=1e-6)


def test_pixels_and_back() -> None:
    images = torch.tensor([-9.0, -1, 0.25, 1, 9, math.nan, math.inf])
    for depth, top in ((8, 255), (16, 65535), (32, 1)):
        found = to_pixels(images, depth) / top
        assert found == pytest.approx(np.array([0, 0, 0.625, 1, 1, 0, 1]), abs=0.51 / top if depth < 32 else 1e-7)
