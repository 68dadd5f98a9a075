"""Bytes and quality of pictures that are kept as codes, by principal components and as files."""

from __future__ import annotations

import io
import math
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from pictures import Held
from reverie.capabilities import Code, Conditions, Encodes, Reconstructs
from reverie.data.image_io import to_tensor
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.networks.mixture import Mixture
from reverie.tasks.codecs import CODED, Cells
from reverie.tasks.compress import BITS, QUALITIES, Compression, compress

SIDE = 8


class Corner(nn.Module, Reconstructs):
    """The code is the first ``size`` pixels; the rest comes back as zero."""

    def __init__(self, size: int = 5, channels: int = 1) -> None:
        super().__init__()
        self.size, self.shape = size, (channels, SIDE, SIDE)
        self.mixture = Mixture(size)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(3 * images.flatten(1)[:, : self.size] + 1)

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(self.size)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        flat = z.new_zeros(len(z), math.prod(self.shape))
        flat[:, : self.size] = (z - 1) / 3
        return flat.view(-1, *self.shape)


class Told(Corner, Conditions):
    """Comes back as the number of its class."""

    classes = ("a", "b", "c", "d")

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return super().decode(z) * 0 + labels.view(-1, 1, 1, 1) / 4


class Eye(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1))


class Set(Held):
    def __init__(self, count: int, channels: int = 1, seed: int = 0, classes: tuple[str, ...] = (), rank: int = 6):
        random = np.random.default_rng(seed)
        bases = np.random.default_rng(9).normal(size=(rank, channels * SIDE * SIDE)) * 12
        pixels = 128 + random.normal(size=(count, rank)) @ bases
        whole = pixels.clip(0, 255).round().astype(np.uint8).reshape(count, channels, SIDE, SIDE)
        super().__init__(whole, random.integers(len(classes), size=count) if classes else None, classes)


def unit(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    return pixels.reshape(len(pixels), -1) / 255


def figures(found: Compression, name: str, setting: str) -> tuple[float, float, float]:
    (point,) = (p for p in found.points if (p.name, p.setting) == (name, setting))
    return point.bytes, point.psnr, point.mse


@pytest.fixture(scope="module")
def found() -> Compression:
    return compress(Corner(), Set(300), Set(40, seed=1), batch=16)


# Cells


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**20), st.sampled_from(BITS))
def test_codes_come_back_within_half_a_cell(seed: int, bits: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.normal(size=(50, 3)) * [1, 1e-3, 50] + [0, 7, -20]
    cells = Cells(codes, bits)
    width = (codes.max(0) - codes.min(0)) / 2**bits
    back = cells.middles(cells.of(codes))
    assert (np.abs(back - codes) <= width / 2 + 1e-9).all()
    assert cells.of(codes).min() == 0
    assert cells.of(codes).max() == 2**bits - 1
    far = cells.middles(cells.of(codes * 100))
    assert (far <= codes.max(0)).all()
    assert (far >= codes.min(0)).all()
    spread = codes.max(0) - codes.min(0)
    assert (np.abs(cells.middles(cells.of(codes + 2 * spread)) - codes.max(0)) <= width / 2 + 1e-9).all()


def test_the_price_is_what_the_frequencies_of_training_codes_say() -> None:
    # Cells of [0, 4): of 1,000 codes 500, 250, 125 and 125; the other number never changes.
    first = np.repeat([0.0, 1.5, 2.5, 4.0], [500, 250, 125, 125])
    cells = Cells(np.stack([first, np.full(1000, 3.0)], 1), 2)
    found = cells.of(np.array([[0.1, 3.0], [1.2, 3.0], [2.9, 9.0], [77.0, 3.0]]))
    assert found[:, 0].tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(cells.entropy(found), [1, 2, 3, 3], atol=0.01)
    assert cells.middles(found)[:, 0].tolist() == [0.5, 1.5, 2.5, 3.5]
    assert cells.middles(found)[:, 1].tolist() == [3, 3, 3, 3]
    # A cell that no training code fell in costs much, not infinitely much.
    empty = Cells(np.repeat([[0.0], [4.0]], [999, 1], 0), 2)
    assert empty.entropy(np.array([[1]])) == pytest.approx(-np.log2(0.5 / 1002))


# Curves


def test_bytes_of_codes_and_their_quality(found: Compression) -> None:
    assert (found.latent, found.pictures, found.name) == (5, 40, "Corner")
    for bits in BITS:
        for name in ("Corner", "PCA"):
            fixed, quality, error = figures(found, name, f"{bits} bits")
            coded = figures(found, name + CODED, f"{bits} bits")
            assert fixed == 5 * bits / 8
            assert coded[1:] == (quality, error)
            assert 0 < coded[0] < fixed
    assert figures(found, "Corner", "float32")[0] == figures(found, "PCA", "float32")[0] == 20
    assert [p.setting for p in found.curve("PCA")] == [*(f"{b} bits" for b in BITS), "float32"]


def test_quality_against_an_independent_calculation(found: Compression) -> None:
    known, new = unit(Set(300).pixels), unit(Set(40, seed=1).pixels)
    back = np.full_like(new, 0.5)
    low, high = known[:, :5].min(0), known[:, :5].max(0)
    cell = ((new[:, :5] - low) / (high - low) * 16).astype(int).clip(0, 15)
    back[:, :5] = low + (cell + 0.5) / 16 * (high - low)
    each = np.square(back - new).mean(1)
    assert figures(found, "Corner", "4 bits")[2] == pytest.approx(each.mean(), rel=1e-4)
    assert figures(found, "Corner", "4 bits")[1] == pytest.approx(-10 * np.log10(each).mean(), abs=1e-3)
    axes = np.linalg.svd(known - known.mean(0), full_matrices=False)[2][:5]
    linear = ((new - known.mean(0)) @ axes.T @ axes + known.mean(0)).clip(0, 1)
    assert figures(found, "PCA", "float32")[2] == pytest.approx(np.square(linear - new).mean(), rel=1e-3)
    assert figures(found, "PCA", "2 bits")[2] > figures(found, "PCA", "8 bits")[2]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB")])
def test_files_are_counted_as_they_are(channels: int, mode: str) -> None:
    test = Set(7, channels, seed=1)
    found = compress(Corner(5, channels), Set(30, channels), test, batch=3)
    sizes, errors = [], []
    for pixels in test.pixels:
        array = pixels[0] if channels == 1 else pixels.transpose(1, 2, 0)
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, "JPEG", quality=50, optimize=True)
        sizes.append(len(stream.getvalue()))
        errors.append(np.square((np.asarray(Image.open(stream).convert(mode)).astype(float) - array) / 255).mean())
    size, _, error = figures(found, "JPEG", "quality 50")
    assert size == np.mean(sizes)
    assert error == pytest.approx(np.mean(errors), rel=1e-4)
    assert figures(found, "PNG", "lossless")[1:] == (pytest.approx(100, abs=0.1), pytest.approx(0, abs=1e-9))
    assert [p.setting for p in found.curve("WebP")] == [f"quality {q}" for q in QUALITIES]
    assert found.curve("WebP")[0].psnr < found.curve("WebP")[-1].psnr
    assert found.notes == []


@pytest.mark.parametrize(("channels", "kept"), [(2, {"PNG"}), (4, {"WebP", "PNG"}), (5, set())])
def test_formats_that_cannot_take_the_channels_are_named(channels: int, kept: set[str]) -> None:
    test = Set(5, channels, seed=1)
    test.pixels[:, -1] = 0  # of four channels this is alpha: the colour of what cannot be seen counts as any other
    found = compress(Corner(5, channels), Set(20, channels), test)
    left_out = {"JPEG", "WebP", "PNG"} - kept
    assert {p.name for p in found.points} - {"Corner", "PCA", "Corner" + CODED, "PCA" + CODED} == kept
    assert len(found.notes) == len(left_out)
    for kind in left_out:
        assert f"{kind} is left out: it takes no pictures of {channels} channels." in found.notes
    if kept:
        assert figures(found, "PNG", "lossless")[1] == pytest.approx(100, abs=0.1)
    if "WebP" in kept:
        assert figures(found, "WebP", "quality 90")[1] > 23


def test_a_class_that_has_to_be_told_is_counted() -> None:
    classes = ("d", "c", "b", "a")
    data, test = Set(60, classes=classes), Set(10, seed=1, classes=classes)
    found = compress(Told(), data, test)
    assert figures(found, "Told", "8 bits")[0] == 5 + 2 / 8
    assert figures(found, "PCA", "8 bits")[0] == 5
    assert test.labels is not None
    expected = np.square(0.5 + (3 - test.labels) / 8 - unit(test.pixels).T).mean()
    assert figures(found, "Told", "8 bits")[2] == pytest.approx(expected, rel=1e-4)
    shown = found.picture(to_tensor(test.pixels[:2]), 8, ["b", "d"])
    assert shown.pictures[2:4].mean((1, 2, 3)).tolist() == [0.25, 0.75]
    with pytest.raises(ReverieError, match="needs the class label of each picture"):
        found.picture(to_tensor(test.pixels[:2]), 8)


def test_fewer_components_than_numbers_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = compress(Corner(9), Set(4), Set(3, seed=1))
    assert found.notes == ["PCA has 4 components and not 9: the pictures have no more directions."]
    assert figures(found, "PCA", "8 bits")[0] == 4
    monkeypatch.setattr("reverie.tasks.codecs.MOST_NUMBERS", 7 * SIDE * SIDE)
    assert figures(compress(Corner(9), Set(50), Set(3, seed=1)), "PCA", "8 bits")[0] == 7


def test_the_same_of_the_same_seed_and_any_batch(found: Compression) -> None:
    other = compress(Corner(), Set(300), Set(40, seed=1), batch=256)
    for one, two in zip(found.points, other.points, strict=True):
        assert (one.name, one.setting) == (two.name, two.setting)
        assert [two.bytes, two.psnr, two.mse] == pytest.approx([one.bytes, one.psnr, one.mse], rel=1e-5)
    some = [compress(Corner(), Set(300), Set(40, seed=1), 10, seed) for seed in (0, 0, 1)]
    assert some[0].pictures == 10
    assert figures(some[0], "Corner", "8 bits")[0] == 5
    assert some[0].points == some[1].points
    assert some[0].points != some[2].points


# Pictures and charts


def test_rows_of_a_comparison(found: Compression) -> None:
    images = to_tensor(Set(3, seed=2).pixels)
    shown = found.picture(images, 3)
    assert shown.pictures.shape == (15, 1, SIDE, SIDE)
    assert torch.equal(shown.pictures[:3], images)
    assert shown.names[:3] == ["original", "Corner, 3 bits: 1.875 bytes", "PCA, 3 bits: 1.875 bytes"]
    assert [name.split(":")[0] for name in shown.names[3:]] == ["JPEG, quality 1", "WebP, quality 1"]
    assert (shown.pictures[3:6].flatten(1)[:, 5:] == 0).all()
    assert torch.allclose(
        found.picture(images, 32).pictures[3:6].flatten(1)[:, :5], images.flatten(1)[:, :5], atol=1e-6
    )
    assert float((shown.pictures[6:9] - images).square().mean()) < float((images - images.mean()).square().mean())
    steep = torch.from_numpy(np.random.default_rng(9).normal(size=(6, SIDE * SIDE))).sign().float()
    assert float(found.picture(steep.view(6, 1, SIDE, SIDE), 32).pictures.abs().max()) == 1  # PCA overshoots
    with pytest.raises(ReverieError, match="7 bits were not measured; take one of 2, 3, 4, 5, 6, 8, 32"):
        found.picture(images, 7)


def test_files_are_chosen_by_their_bytes() -> None:
    data = Set(100, 3, rank=190)
    found = compress(Corner(60, 3), data, Set(6, 3, seed=1, rank=190))
    wanted = figures(found, "Corner", "float32")[0]
    near = min(found.curve("JPEG"), key=lambda p: abs(p.bytes - wanted))
    assert near.setting == "quality 1"  # 240 bytes are fewer than any JPEG
    big = compress(Corner(190, 3), data, Set(6, 3, seed=1, rank=190))
    wanted = figures(big, "Corner", "float32")[0]  # 760
    best = min(big.curve("JPEG"), key=lambda p: abs(p.bytes - wanted)).setting
    assert best != "quality 1"
    assert f"JPEG, {best}: " in big.picture(to_tensor(data.pixels[:2]), 32).names[3]


def test_a_chart_has_a_point_for_every_figure(found: Compression) -> None:
    root = ElementTree.fromstring(found.chart("a < b"))
    svg = "{http://www.w3.org/2000/svg}"
    texts = [text.text for text in root.iter(f"{svg}text")]
    assert texts[0] == "a < b"
    names = ["Corner", "Corner" + CODED, "PCA", "PCA" + CODED, "JPEG", "WebP"]
    assert [t for t in texts if t in names] == names  # not PNG, which loses nothing
    drawn = [p for p in found.points if p.name != "PNG"]
    circles = list(root.iter(f"{svg}circle"))
    assert len(circles) == len(drawn)
    by_bytes = sorted(zip(circles, drawn, strict=True), key=lambda pair: pair[1].bytes)
    across = [float(circle.get("cx", "")) for circle, _ in by_bytes]
    assert across == sorted(across)
    by_quality = sorted(zip(circles, drawn, strict=True), key=lambda pair: pair[1].psnr)
    down = [float(circle.get("cy", "")) for circle, _ in by_quality]
    assert down == sorted(down, reverse=True)


def test_what_cannot_be_compressed() -> None:
    with pytest.raises(ReverieError, match="Eye cannot compress pictures: it has no encoder with a decoder"):
        compress(Eye(), Set(3), Set(3))
    with pytest.raises(ReverieError, match="same size and channels"):
        compress(Corner(), Set(3), Set(3, 3))
    with pytest.raises(ReverieError, match="at least one training picture and one test picture"):
        compress(Corner(), Set(3), Set(0))
    with pytest.raises(ReverieError, match="needs class labels, and this data has none"):
        compress(Told(), Set(3), Set(3))
