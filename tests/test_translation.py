"""Figures of translations, and training that translates: from pairs to a run with pictures, figures and a report."""

from __future__ import annotations

import json
import re
import sys
import types
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

import reverie
from reverie.capabilities import Translates
from reverie.data import DataOptions, Pairs
from reverie.data.faces import FACTORS, PART_COLOURS
from reverie.data.image_io import to_tensor
from reverie.engine.model import ImageSpec, Model
from reverie.errors import ReverieError
from reverie.evaluation.translation import BATCH, compared, nearest_label, palette, translation_metrics
from reverie.features import factors
from reverie.features.factors import factor_reader
from reverie.tasks.translation_grid import translation_grid


def pairs(spec: str = "digits", **options: Any) -> Pairs:
    found = reverie.open_dataset(spec, DataOptions(**{"pair": "invert", "limit": 300} | options))
    assert isinstance(found, Pairs)
    return found


class Inverter(Model, Translates):
    """The right answer for data.pair=invert, moved by ``off``; both ways."""

    directions = ("ab", "ba")
    learns_pairs = True

    def __init__(self, off: float = 0.0, ways: tuple[str, ...] = ("ab", "ba"), channels: int = 1) -> None:
        super().__init__(None, ImageSpec(2 * channels, 8, 8, sides=(channels, channels)))
        self.off, self.directions = off, ways

    grain = 1

    def translator(self, direction: str) -> nn.Module:
        return self

    def forward(self, images: Tensor, draw: object = None) -> Tensor:
        return -images + self.off

    def translate(self, images: Tensor, direction: str = "ab", draw: object = None) -> Tensor:
        return self(images)


# Figures


def test_figures_against_the_truth_are_torchmetrics() -> None:
    random = torch.Generator().manual_seed(0)
    wanted = torch.rand(3, 2, 20, 16, generator=random) * 2 - 1
    output = (wanted + 0.4 * torch.randn(wanted.shape, generator=random)).clamp(-1, 1)
    found = compared(output, wanted)
    a, b = output / 2 + 0.5, wanted / 2 + 0.5
    torch.testing.assert_close(found["l1"], (a - b).abs().mean((1, 2, 3)))
    for i in range(3):
        assert float(found["psnr"][i]) == pytest.approx(float(peak_signal_noise_ratio(a[i : i + 1], b[i : i + 1], 1.0)))
        theirs = structural_similarity_index_measure(a[i : i + 1], b[i : i + 1], data_range=1.0)
        assert float(found["ssim"][i]) == pytest.approx(float(theirs), abs=1e-4)
    assert set(found) == {"l1", "psnr", "ssim"}


def test_label_maps_are_scored_by_pixels_and_by_classes() -> None:
    colours = torch.tensor([[0, 0, 0], [255, 0, 0], [0, 0, 255]], dtype=torch.uint8)
    truth = torch.tensor([[0, 0, 1, 1], [0, 0, 1, 2]])
    read = torch.tensor([[0, 1, 1, 1], [0, 0, 1, 1]])
    wanted, output = (to_tensor(colours[labels].permute(2, 0, 1)[None].numpy()) for labels in (truth, read))
    output = output * 0.8  # not quite the colour; still the nearest
    assert torch.equal(nearest_label(output, colours)[0], read)
    found = compared(output, wanted, colours)
    assert float(found["pixel_accuracy"]) == pytest.approx(6 / 8)
    assert found["class_iou"].tolist() == [[[3, 4], [3, 5], [0, 1]]]  # intersection, union


def test_the_colours_of_label_maps_are_found_and_photos_have_none() -> None:
    maps = pairs("faces:32", pair="labels", count=80, limit=0)
    found = palette(maps.side("a"))
    assert found is not None
    assert {tuple(c) for c in found.tolist()} <= {tuple(c) for c in PART_COLOURS.tolist()}
    assert len(found) >= 6
    assert palette(maps.side("b")) is None
    assert palette(pairs().side("b")) is None  # grey


def test_a_perfect_translator_has_perfect_figures_and_the_worse_the_worse() -> None:
    whole = pairs()
    training, test = whole.split("train"), whole.split("test")
    judged = translation_metrics(Inverter(), training, test, "pixels", 100)
    perfect, off = judged.figures(Inverter()), judged.figures(Inverter(0.2))
    floor = judged.floor()
    for way in ("ab", "ba"):
        assert perfect[f"l1_{way}"] == pytest.approx(0, abs=1e-6)
        assert perfect[f"cycle_l1_{way}"] == pytest.approx(0, abs=1e-6)
        assert perfect[f"frechet_{way}"] == pytest.approx(floor[way]["frechet"], rel=1e-3)
        assert off[f"frechet_{way}"] > perfect[f"frechet_{way}"]
        assert 0.03 < off[f"l1_{way}"] <= 0.1  # 0.2 of a range of 2, but for what is cut off at its end
    assert perfect["frechet"] == pytest.approx((perfect["frechet_ab"] + perfect["frechet_ba"]) / 2)
    one = translation_metrics(Inverter(ways=("ba",)), training, test, "pixels", 100).figures(Inverter(ways=("ba",)))
    assert one["l1"] == perfect["l1_ba"]
    assert "cycle_l1" not in one


def test_each_direction_is_compared_with_the_side_it_leads_to() -> None:
    """Black on white and white on black: a model that does nothing is right about the other side only."""
    whole = pairs()

    class Lazy(Inverter):
        def forward(self, images: Tensor, draw: object = None) -> Tensor:
            return images

    judged = translation_metrics(Lazy(), whole.split("train"), whole.split("test"), "pixels", 100)
    lazy, right = judged.figures(Lazy()), judged.figures(Inverter())
    assert lazy["frechet_ab"] > 4 * right["frechet_ab"]
    assert lazy["frechet_ba"] > 4 * right["frechet_ba"]


def test_classes_are_read_off_translations(monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie.features import classifier

    monkeypatch.setattr(classifier, "SEEN", 12_000)
    whole = pairs(limit=900)
    judged = translation_metrics(Inverter(), whole.split("train"), whole.split("test"), "auto", 60)
    right, wrong = judged.figures(Inverter()), judged.figures(Inverter(2.0))
    assert right["label_accuracy_ab"] > 0.85
    assert wrong["label_accuracy_ab"] < 0.5


def test_unpaired_sides_have_no_truth_to_be_near() -> None:
    whole = pairs("faces:16", pair="unpaired", count=200, limit=0)
    model = Inverter(channels=3)
    judged = translation_metrics(model, whole.split("train"), whole.split("test"), "pixels", 50)
    assert not any(key.startswith(("l1", "ssim", "psnr")) for key in judged.figures(model))


@pytest.mark.parametrize("count", [1, 5])
def test_a_handful_of_pictures_is_no_set_but_has_a_truth(count: int) -> None:
    whole = pairs()
    training, test = whole.split("train"), whole.split("test")
    found = reverie.evaluate(Inverter(), test, ["translation"], limit=count, training=training)["translation"]
    names = {f"{name}_{way}" for name in ("l1", "psnr", "ssim", "cycle_l1", "cycle_psnr") for way in ("ab", "ba")}
    assert set(found) == {*names, "note", "protocol"}
    assert f"at least 6 pictures of each side, not {count}" in found["note"]
    assert found["l1_ab"] == pytest.approx(0, abs=1e-6)
    one = translation_metrics(Inverter(ways=("ab",)), training, test, count=count).figures(Inverter(0.2, ways=("ab",)))
    assert set(one) == {"l1", "psnr", "ssim", "note"}
    assert one["l1"] > 0.03
    enough = reverie.evaluate(Inverter(), test, ["translation"], limit=6, training=training, features="pixels")
    assert {"frechet", "frechet_ab", "floor"} < set(enough["translation"])
    assert "note" not in enough["translation"]


def test_few_training_pictures_are_no_set_either() -> None:
    whole = pairs()
    few = pairs(limit=4, test=0.0).split("train")
    assert len(few) == 4
    found = translation_metrics(Inverter(), few, whole.split("test")).figures(Inverter())
    assert "l1_ab" in found
    assert "not 4" in found["note"]


def test_of_many_pictures_a_batch_is_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    alive: list[weakref.ref[Tensor]] = []

    class Counting(Inverter):
        def translate(self, images: Tensor, direction: str = "ab", draw: object = None) -> Tensor:
            assert len(images) <= BATCH
            assert sum(each() is not None for each in alive) <= 3  # here, back, and the last batch's
            output = self(images)
            alive.append(weakref.ref(output))
            return output

    monkeypatch.setattr("reverie.evaluation.generation.BATCH", 20)
    whole = pairs(test=0.5)
    test = whole.split("test")
    judged = translation_metrics(Counting(), whole.split("train"), test, "pixels", 500)
    judged.figures(Counting())
    assert len(alive) >= 4 * len(test) // BATCH > 20
    asked: list[int] = []
    for side in (test.side("a"), test.side("b")):
        batch = side.batch
        monkeypatch.setattr(side, "batch", lambda rows, batch=batch: (asked.append(len(rows)), batch(rows))[1])
    judged.floor()
    assert max(asked) == 20
    assert sum(asked) == 2 * len(test)


def test_evaluate_measures_pairs_only() -> None:
    whole = pairs()
    found = reverie.evaluate(Inverter(), whole.split("test"), training=whole.split("train"), features="pixels")
    assert found["translation"]["l1_ab"] == pytest.approx(0, abs=1e-6)
    assert set(found["translation"]["floor"]) == {"ab", "ba"}
    assert found["translation"]["protocol"]["ab"]["features"]["name"] == "pixels"
    assert "floor" not in reverie.evaluate(Inverter(), whole.split("test"), features="pixels")["translation"]
    swapped = pairs("faces:16", pair="grey", count=200, limit=0, swap=True)
    with pytest.raises(ReverieError, match=r"sides have \(3, 1\) channels, the model was trained on \(1, 1\)"):
        reverie.evaluate(Inverter(), swapped.split("test"), features="pixels")
    with pytest.raises(ReverieError, match=r"measured on pairs; say with data\.pair"):
        reverie.evaluate(Inverter(), reverie.open_dataset("digits"), features="pixels")


def test_lpips_is_asked_for_and_gets_three_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    test = pairs().split("test")
    monkeypatch.setitem(sys.modules, "lpips", None)
    with pytest.raises(ReverieError, match=r"needs an extra: pip install 'reverie\[eval-ref\]'"):
        reverie.evaluate(Inverter(), test, ["lpips"])

    class LPIPS(nn.Module):
        def __init__(self, net: str, verbose: bool) -> None:
            super().__init__()
            assert net == "alex"

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            assert a.shape == b.shape == (len(a), 3, 8, 8)
            return (a - b).abs().mean((1, 2, 3), keepdim=True)

    monkeypatch.setitem(sys.modules, "lpips", types.SimpleNamespace(LPIPS=LPIPS))
    found = reverie.evaluate(Inverter(), test, ["lpips"])["lpips"]
    assert found == pytest.approx({"ab": 0, "ba": 0}, abs=1e-6)
    assert reverie.evaluate(Inverter(0.2), test, ["lpips"])["lpips"]["ab"] > 0.05
    with pytest.raises(ReverieError, match="has no pairs"):
        reverie.evaluate(Inverter(), pairs("faces:16", pair="unpaired", count=100, limit=0), ["lpips"])


# The grid


def test_rows_of_the_grid() -> None:
    test = pairs(test=0.2).split("test")
    for model, rows in ((Inverter(), 4), (Inverter(ways=("ab",)), 3)):
        sheet = translation_grid(model, test, "ab", 5, groups=2).unflatten(0, (2, rows, 5))
        assert sheet.shape == (2, rows, 5, 3, 8, 8)
        torch.testing.assert_close(sheet[:, 1], -sheet[:, 0])
        torch.testing.assert_close(sheet[:, -1], -sheet[:, 0])  # the truth
        if rows == 4:
            torch.testing.assert_close(sheet[:, 2], sheet[:, 0])  # there and back
    back = translation_grid(Inverter(), test, "ba", 5, groups=1)
    torch.testing.assert_close(back[:5], -translation_grid(Inverter(), test, "ab", 5, groups=1)[:5])
    wide = translation_grid(Inverter(), test, "ab", 8, groups=9)  # more than there are: filled up with white
    assert len(wide) == 4 * 8 * -(-len(test) // 8)


# Training


def train(model: str, out: Path, spec: str = "digits", **options: Any) -> reverie.Run:
    settings = {
        "model": {"width": 4, "width_d": 4},
        "train": {"steps": 6, "batch_size": 8, "evaluate_every": 24, "features": "pixels", "sample_every": 3},
        "data": {"pair": "invert", "limit": 300, "test": 0.1} | options,
    }
    return reverie.train(model, spec, out, settings=settings, quiet=True, device="cpu")


@pytest.mark.parametrize(("model", "ways"), [("pix2pix", ["ab"]), ("cyclegan", ["ab", "ba"])])
def test_a_run_shows_and_measures_translations(model: str, ways: list[str], tmp_path: Path) -> None:
    run = train(model, tmp_path / "run")
    for way in ways:
        rows = 3 if model == "pix2pix" else 4
        for step in (3, 6):
            with Image.open(run.path / "samples" / f"{step:09d}-{way}.png") as sheet:
                assert sheet.size == (8 * 10 - 2, 2 * rows * 10 - 2)
    lines = [json.loads(line) for line in (run.path / "quality.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 6]
    best = reverie.load(run.path / "best").model
    whole = pairs(test=0.1)
    judged = translation_metrics(best, whole.split("train"), whole.split("test"), "pixels", 5000)  # type: ignore[arg-type]
    smallest = min(line["frechet"] for line in lines)
    assert judged.figures(best)["frechet"] == pytest.approx(smallest, rel=1e-4)  # type: ignore[arg-type]
    report = (run.path / "report.html").read_text()
    titles = re.findall(r"<h2>Translations from (.) to (.)</h2>", report)
    assert [f"{a}{b}".lower() for a, b in titles] == ways
    assert ("that, translated back" in report) == (model == "cyclegan")
    card = (run.path / "README.md").read_text()
    assert "pipeline_tag: image-to-image" in card
    assert f"samples/{6:09d}-ab.png" in card
    assert "reverie translate" in card
    script = card.split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {}
    exec(script, found)  # what the card says works
    assert found["translated"].shape[1:] == (1, 8, 8)


def test_sides_of_different_channels_and_no_partner(tmp_path: Path) -> None:
    run = train("cyclegan", tmp_path / "run", "faces:16", pair="grey", count=120, limit=0)
    assert run.image_spec.sides == (1, 3)
    with Image.open(run.path / "samples" / f"{6:09d}-ba.png") as sheet:
        assert sheet.mode == "RGB"
    free = train("cyclegan", tmp_path / "free", "faces:16", pair="unpaired", count=200, limit=0)
    assert (
        "rows, from above: the input, its translation, that, translated back.<"
        in (free.path / "report.html").read_text()
    )


def test_what_does_not_fit_is_told_before_anything_is_written(tmp_path: Path) -> None:
    for model, options, said in (
        ("vae", {}, "VAE learns single pictures; leave out data.pair"),
        ("pix2pix", {"pair": ""}, "learns from two sides"),
        ("pix2pix", {"pair": "unpaired", "count": 60, "limit": 0}, "train cyclegan on unpaired ones"),
        ("pix2pix", {"limit": 30, "test": 0.1}, r"at least 6 pictures of each side, not \d\."),  # nothing to call best
    ):
        spec = "faces:16" if options.get("pair") == "unpaired" else "digits"
        settings = {"data": {"pair": "invert", "limit": 50} | options, "train": {"evaluate_every": 8}}
        with pytest.raises(ReverieError, match=said):
            reverie.train(model, spec, tmp_path / "run", settings=settings, quiet=True, device="cpu")
        assert not (tmp_path / "run").exists()


# The reader of factors


def test_factors_are_read_off_faces_it_has_not_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(factors, "SEEN", 40_000)
    monkeypatch.setattr(factors, "WIDTH", 16)
    faces = reverie.open_dataset("faces:32", DataOptions(count=1500, test=0.1))
    reader = factor_reader(faces.split("train"), cache=tmp_path)
    test = faces.split("test")
    found = reader.read(to_tensor(test.batch(np.arange(len(test)))))
    true = test.factors
    assert true is not None
    assert set(found) == {factor.name for factor in FACTORS}
    for name in ("yaw", "skin_tone", "background"):
        assert np.corrcoef(found[name], true[name])[0, 1] > 0.8, name
    assert (found["glasses"] == true["glasses"]).mean() > 0.85
    assert set(np.unique(found["hair_style"])) <= set(range(6))
    again = factor_reader(faces.split("train"), cache=tmp_path).read(to_tensor(test.batch(np.arange(3))))
    assert all(np.allclose(again[name], found[name][:3], atol=1e-5) for name in again)  # other batches round otherwise
    with pytest.raises(ReverieError, match="the built-in faces"):
        factor_reader(reverie.open_dataset("digits"))
