"""Pictures from one side to the other: any size, tiles that join, files kept as they are, and the command."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from torch import Tensor, nn

from cases import tiny
from commands import fails, succeeds, visible
from reverie.artifact import write_config, write_weights
from reverie.capabilities import Translates
from reverie.cli import main
from reverie.data.decode import decode
from reverie.data.formats import Unreadable
from reverie.data.full_resolution import Exact, read_exact, to_channels, write_exact
from reverie.data.target_format import TargetFormat
from reverie.engine.model import ImageSpec, Model
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.networks.norm import InstanceNorm, PixelNorm
from reverie.networks.padding import mirrored
from reverie.run import Run
from reverie.scale import Scale
from reverie.tasks.translate import translate
from reverie.tasks.translate_files import translate_file
from runs import config_of, written

ABOVE_ROUNDING = 2e-5


class Same(nn.Module):
    dropout = 0.0

    def __init__(self, grain: int = 1) -> None:
        super().__init__()
        self.grain = grain

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        return x


class Net(nn.Module):
    """Halves and doubles; its kernels are not symmetric, it sees 9 pixels far, and has noise on both its grids."""

    grain, dropout = 4, 0.3

    def __init__(self, before: int, after: int, norm: Callable[[int], nn.Module] = PixelNorm) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(before, 6, (3, 5), padding=(1, 2)), norm(6), nn.LeakyReLU(0.2))
        self.middle = nn.Sequential(nn.Conv2d(6, 8, 4, 2, 1), norm(8), nn.LeakyReLU(0.2), nn.Conv2d(8, 8, 3, padding=1))
        self.up = nn.Sequential(
            norm(8), nn.ReLU(), nn.ConvTranspose2d(8, 6, 4, 2, 1), nn.Conv2d(6, after, 1), nn.Tanh()
        )
        generator = torch.Generator().manual_seed(5)
        for value in self.parameters():
            value.data = torch.randn(value.shape, generator=generator) * 0.4
        for layer in self.modules():
            if isinstance(layer, (PixelNorm, InstanceNorm)):
                layer.gain.data += 1

    def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
        height, width = x.shape[2:]
        y = self.down(mirrored(x, self.grain))
        if draw is not None:
            y = y * (draw.uniform(*y.shape[1:]) > self.dropout)
        y = self.middle(y)
        if draw is not None:
            y = y * (draw.uniform(*y.shape[1:]) > self.dropout)
        return self.up(y)[:, :, :height, :width]


class Toy(Model, Translates):
    """Translates by one network for each direction, and notes what it was given."""

    def __init__(self, ab: nn.Module, ba: nn.Module | None = None, sides: tuple[int, int] = (1, 1)) -> None:
        super().__init__(None, ImageSpec(sum(sides), 8, 8, sides=sides))
        self.networks = nn.ModuleDict({"ab": ab} if ba is None else {"ab": ab, "ba": ba})
        self.directions = tuple(self.networks)
        self.given: list[tuple[int, ...]] = []

    def translator(self, direction: str) -> nn.Module:
        return self.networks[direction]

    def translate(self, images: Tensor, direction: str = "ab", draw: Draw | None = None) -> Tensor:
        self.given.append(tuple(images.shape))
        found: Tensor = self.networks[direction](images, draw)
        return found


def local(before: int = 2, after: int = 3) -> Toy:
    return Toy(Net(before, after), Net(after, before), (before, after))


def normed(before: int = 2, after: int = 3) -> Toy:
    return Toy(Net(before, after, InstanceNorm), sides=(before, after))


def same(channels: int = 1, after: int | None = None) -> Toy:
    """Gives back what it gets; where there are more channels to give, the first ones again."""

    class Again(Same):
        def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
            return x.repeat(1, 8, 1, 1)[:, : after or channels]

    return Toy(Again(), sides=(channels, after or channels))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def uneven(height: int, width: int) -> Tensor:
    """(1, 2, H, W), dark and flat at the top left, bright and busy at the bottom right."""
    y, x = torch.linspace(0, 1, height)[:, None], torch.linspace(0, 1, width)
    return torch.stack([x * y * 1.6 - 0.8, (40 * x * y).sin() * x])[None] + 0.2 * x * y * noise(1, 2, height, width)


def nearly(one: Tensor, other: Tensor, atol: float = ABOVE_ROUNDING) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=atol)


# Tensors


@pytest.mark.parametrize("size", [(431, 1073), (1, 1), (1, 37), (37, 1), (16, 16), (5, 9)])
def test_any_size_is_kept_and_each_picture_is_alone(size: tuple[int, int]) -> None:
    images = noise(3, 2, *size)
    whole = translate(local(), images, batch=3)
    assert whole.shape == (3, 3, *size)
    assert whole.device.type == "cpu"
    assert whole.abs().max() <= 1
    nearly(translate(local(), images, batch=1), whole)
    nearly(translate(local(), images[1:2]), whole[1:2])
    assert translate(local(), whole, "ba").shape == images.shape


ELSEWHERE = """
import sys
from pathlib import Path
import numpy, reverie, torch
from reverie.data.full_resolution import read_exact
for folder in map(Path, sys.argv[1:]):
    model = reverie.load(folder / "run").model
    for path in (folder / "in").iterdir():
        images = torch.from_numpy(read_exact(path.read_bytes(), model.image_spec.sides[0]).pixels * 2 - 1)[None]
        numpy.save(folder / f"{path.stem}.npy", reverie.translate(model, images).numpy())
"""


def test_files_arrays_and_another_process_give_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the command (in tiles, where larger), by the function, and by the function elsewhere; alone and among others.

    Of 16 bits of grey as PNG, of six channels as an array.
    """
    expected: dict[Path, Tensor] = {}  # of each picture, where another process leaves it
    for name, before, after, end in (
        ("pix2pix", 1, 1, ".png"),
        ("cyclegan", 1, 1, ".png"),
        ("pix2pix", 6, 5, ".npy"),
        ("cyclegan", 6, 5, ".npy"),
    ):
        folder = tmp_path / f"{name}-{before}"
        model = tiny(name, ImageSpec(before + after, 16, 16, sides=(before, after)), depth=2, blocks=1).eval()
        for value in model.parameters():  # away from the start, where every picture is nearly grey
            value.data.mul_(2)
        write_config(folder / "run", config_of(name, model))
        write_weights(folder / "run", model)
        (folder / "in").mkdir()
        for number, (height, width) in enumerate([(431, 1073), (1, 1), (1, 37), (37, 1), (16, 16)]):
            words = np.random.default_rng(number).integers(0, 65536, (before, height, width), np.uint16)
            file = folder / "in" / f"{height}x{width}{end}"
            file.write_bytes(saved(Image.fromarray(words[0])) if end == ".png" else stored(words))
            images = torch.from_numpy(words.astype(np.float32) / 65535 * 2 - 1)[None]
            whole = translate(model, images)
            among = translate(model, torch.cat([noise(1, *images.shape[1:], seed=9), images, -images]), batch=3)
            nearly(among[1:2], whole)
            expected[folder / f"{file.stem}.npy"] = whole
            assert width * height < 100 or whole.std() > 0.02
        succeeds(capsys, "translate", folder / "run", folder / "in", "--out", folder / "out")
    subprocess.run([sys.executable, "-c", ELSEWHERE, *{path.parent for path in expected}], check=True)
    for path, whole in expected.items():
        nearly(torch.from_numpy(np.load(path)), whole)
        (file,) = (path.parent / "out").glob(f"{path.stem}.*")
        found = read_exact(file.read_bytes(), whole.shape[1])
        assert found.bits == 16
        nearly(torch.from_numpy(found.pixels)[None] * 2 - 1, whole, 1e-4)


def test_no_pictures_are_no_pictures() -> None:
    assert translate(local(), noise(0, 2, 8, 8)).shape == (0, 3, 8, 8)


def test_what_cannot_be_translated_is_said_in_one_sentence() -> None:
    with pytest.raises(ReverieError, match=r"^Linear cannot translate: .*\.$"):
        translate(nn.Linear(1, 1), noise(1, 1, 4, 4))
    with pytest.raises(ReverieError, match=r"^Toy cannot translate in the direction 'ba', only in ab\.$"):
        translate(same(), noise(1, 1, 4, 4), "ba")
    with pytest.raises(ReverieError, match="'up', only in ab and ba"):
        translate(local(), noise(1, 2, 4, 4), "up")
    with pytest.raises(ReverieError, match=r"3 channels on side b, .*these are 1 x 2 x 4 x 4\.$"):
        translate(local(), noise(1, 2, 4, 4), "ba")
    for shape in ((2, 4, 4), (1, 2, 0, 4), (1, 1, 4, 4)):
        with pytest.raises(ReverieError, match="2 channels on side a"):
            translate(local(), noise(*shape))
    for wrong in ({"batch": 0}, {"tile": -1}, {"overlap": -1}, {"passes": -1}):
        with pytest.raises(ReverieError, match="at least"):
            translate(local(), noise(1, 2, 4, 4), **wrong)
    for tile, overlap, enough in ((7, 4, 8), (64, 64, 68), (3, 0, 4)):
        with pytest.raises(ReverieError, match=rf"an overlap of {overlap}.* {enough} or more, or share less\.$"):
            translate(local(), noise(1, 2, 4, 4), tile=tile, overlap=overlap)
        translate(local(), noise(1, 2, 4, 99), tile=enough, overlap=overlap)


def cuda(_: Tensor) -> Tensor:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB")


def numpy(_: Tensor) -> Tensor:
    raise MemoryError


def cpu(_: Tensor) -> Tensor:
    return torch.empty(2**50)  # no machine has so much


@pytest.mark.parametrize("burst", [cuda, numpy, cpu])
def test_too_little_memory_is_said_in_one_sentence(
    burst: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = same()
    monkeypatch.setattr(model, "translate", lambda images, *_: burst(images))
    images = noise(2, 1, 40, 90)
    with pytest.raises(
        ReverieError, match=r"^Pictures of 90 x 40 pixels .* tiles, say --tile 1024, or fewer at a time"
    ):
        translate(model, images)
    with pytest.raises(ReverieError, match=r"let them go in tiles, say --tile 1024\.$"):
        translate(model, images, batch=1)
    with pytest.raises(ReverieError, match=r"let them go in smaller tiles than --tile 64\.$"):
        translate(model, images, tile=64, overlap=8)
    with pytest.raises(ReverieError, match="smaller tiles than --tile 1024"):
        translate_file(model, saved(Image.fromarray(WORDS)), ".png")


def test_other_errors_of_the_network_stay_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    model = same()

    def wrong(*_: object) -> Tensor:
        raise RuntimeError("size mismatch")

    monkeypatch.setattr(model, "translate", wrong)
    with pytest.raises(RuntimeError, match="size mismatch"):
        translate(model, noise(1, 1, 4, 4))


def test_noise_is_asked_of_models_that_have_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = noise(1, 1, 12, 12)
    with pytest.raises(ReverieError, match=r"^This Toy learned without dropout .* --set model\.dropout=0\.5\.$"):
        translate(same(), images, noise=0)
    for without in ({"dropout": 0.0}, {"dropout": 0.5, "depth": 1}, {"network": "resnet"}):  # of one stage none drops
        with pytest.raises(ReverieError, match="This Pix2Pix learned without dropout"):
            translate(tiny("pix2pix", **without), images, noise=0)
    with pytest.raises(ReverieError, match="This CycleGAN learned without dropout"):
        translate(tiny("cyclegan"), images, noise=0)
    noisy = tiny("pix2pix", dropout=0.5)
    assert not torch.equal(translate(noisy, images, noise=0), translate(noisy, images))
    written(tmp_path / "run", "pix2pix", ImageSpec(4, 8, 8, sides=(1, 3)))
    Image.fromarray(WORDS).save(tmp_path / "a.png")
    words = ["translate", tmp_path / "run", tmp_path / "a.png", "--noise", 0, "--out", tmp_path / "b.png"]
    assert "learned without dropout" in fails(capsys, *words)
    assert not (tmp_path / "b.png").exists()


def test_noise_belongs_to_the_picture_and_its_number() -> None:
    model, images = local(), noise(1, 2, 12, 20).expand(5, -1, -1, -1)
    whole = translate(model, images, noise=3, batch=5)
    assert torch.equal(translate(model, images, noise=3, batch=5), whole)
    nearly(translate(model, images, noise=3, batch=2), whole)
    nearly(translate(model, images[:3], noise=3), whole[:3])
    different = [whole[1], translate(model, images, noise=4)[0], translate(model, images)[0]]
    assert all((whole[0] - other).abs().max() > 0.05 for other in different)


def test_each_draw_is_its_own() -> None:
    class Grain(Same):
        dropout = 0.5

        def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
            assert draw is not None
            return torch.cat(
                [
                    draw.uniform(1, *x.shape[2:]),
                    draw.uniform(1, *x.shape[2:]),
                    draw.normal(1)[:, :, None, None] + 0 * x,
                ],
                1,
            )

    out = translate(Toy(Grain(), sides=(1, 3)), noise(4, 1, 50, 50), noise=0).flatten(2)
    assert out[:, :2].min() >= 0
    assert (out[:, :2].mean(2) - 0.5).abs().max() < 0.03
    assert torch.corrcoef(out[:, :2].flatten(0, 1)).sub(torch.eye(8)).abs().max() < 0.1
    assert len(out[:, 2, 0].unique()) == 4


# Tiles


@pytest.mark.parametrize(
    ("size", "tile", "overlap"),
    [
        ((150, 210), 64, 40),
        ((150, 210), 67, 40),  # tiles and pictures that are no multiples of the grain
        ((149, 211), 100, 37),
        ((97, 64), 96, 36),  # one pixel too many, on one side
        ((40, 333), 128, 90),  # three tiles meet
        ((1, 300), 64, 40),
        ((130, 129), 128, 36),
    ],
)
@pytest.mark.parametrize("seed", [None, 7])
def test_tiles_of_a_local_network_are_the_whole(
    size: tuple[int, int], tile: int, overlap: int, seed: int | None
) -> None:
    model, images = local(), noise(2, 2, *size)
    whole = translate(model, images, noise=seed)
    model.given.clear()
    nearly(translate(model, images, tile=tile, overlap=overlap, noise=seed), whole)
    assert len(model.given) > 2
    assert all(shape[0] == 1 and max(shape[2:]) <= tile // 4 * 4 for shape in model.given)


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    grain=st.integers(1, 16),
    tile=st.integers(1, 100),
    overlap=st.integers(0, 60),
)
@settings(max_examples=200, deadline=None)
def test_tiles_cover_every_pixel_once(size: tuple[int, int], grain: int, tile: int, overlap: int) -> None:
    model, images = Toy(Same(grain)), noise(1, 1, *size)
    try:
        out = translate(model, images, tile=tile, overlap=overlap)
    except ReverieError:
        assert tile < overlap + 2 * grain
        return
    nearly(out, images, 1e-5)
    assert max(max(shape[2:]) for shape in model.given) <= tile


def test_a_picture_that_fits_is_never_cut() -> None:
    model, images = normed(), noise(3, 2, 40, 64)
    whole = translate(model, images)
    model.given.clear()
    assert torch.equal(translate(model, images, tile=64, overlap=8), whole)
    assert model.given == [(3, 2, 40, 64)]


def test_tiles_with_instance_norm_share_the_statistics_of_the_whole() -> None:
    model, images = normed(), uneven(146, 205)
    whole = translate(model, images)

    def off(passes: int | None) -> float:
        return float((translate(model, images, tile=64, overlap=40, passes=passes) - whole).abs().mean())

    alone, one, two, three = map(off, range(4))
    assert alone > 0.1
    assert alone > one > two > 10 * three
    assert three < 1e-5  # as many as there are layers
    assert off(None) == off(9) == three
    nearly(translate(model, images, tile=64, overlap=40), whole)
    model.given.clear()
    translate(model, images, tile=64, overlap=40)
    assert all(shape[0] == 1 and max(shape[2:]) <= 64 for shape in model.given)


def test_statistics_are_each_pictures_own() -> None:
    model, images = normed(), torch.cat([uneven(90, 70), -uneven(90, 70).flip(3)])
    nearly(translate(model, images, tile=64, overlap=40), translate(model, images))


def test_a_layer_that_is_called_twice_and_one_that_is_not_called() -> None:
    class Twice(Same):
        def __init__(self) -> None:
            super().__init__(2)
            self.norm, self.unused = InstanceNorm(1), InstanceNorm(1)

        def forward(self, x: Tensor, draw: Draw | None = None) -> Tensor:
            return self.norm((3 * self.norm(x)).relu()).tanh()

    images = uneven(60, 90)[:, 1:]
    nearly(translate(Toy(Twice()), images, tile=32, overlap=8), translate(Toy(Twice()), images))


def test_the_layers_are_as_before_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = normed(), uneven(90, 70)
    norms = [layer for layer in model.modules() if isinstance(layer, InstanceNorm)]

    def own(norm: InstanceNorm, x: Tensor) -> tuple[Tensor, Tensor]:
        return x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True)

    norms[1].moments = own
    translate(model, images, tile=64, overlap=40)
    assert [norm.moments for norm in norms] == [None, own, None]
    model.given.clear()
    translate(model, images, tile=64, overlap=40)
    inner, calls = model.translate, len(model.given)
    for bursts in (2, calls - 1):  # in a pass that gathers, and in the last
        model.given.clear()

        def failing(*words: Any, at: int = bursts) -> Tensor:
            assert all(norm.moments not in (None, own) for norm in norms)
            if len(model.given) == at:
                raise RuntimeError("burst")
            return inner(*words)

        monkeypatch.setattr(model, "translate", failing)
        with pytest.raises(RuntimeError, match="burst"):
            translate(model, images, tile=64, overlap=40)
        assert len(model.given) == bursts
        assert [norm.moments for norm in norms] == [None, own, None]


def test_a_network_without_statistics_takes_one_pass() -> None:
    model = local()
    translate(model, noise(1, 2, 100, 100), tile=64, overlap=24, passes=5)
    assert len(model.given) == 4


# Files


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def stored(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def through(data: bytes, suffix: str = ".png", channels: int = 1, after: int | None = None) -> tuple[Exact, list[str]]:
    """A file through a model that changes nothing, read again."""
    made, notes = translate_file(same(channels, after), data, suffix)
    return read_exact(made), notes


def values(exact: Exact) -> np.ndarray:
    return np.rint(exact.pixels * (2**exact.bits - 1)).astype(int)


BYTES = np.random.default_rng(0).integers(0, 256, (7, 11, 4), dtype=np.uint8)
WORDS = np.random.default_rng(1).integers(0, 65536, (7, 11), dtype=np.uint16)
OPAQUE = BYTES.copy()
OPAQUE[:, :, 3] = 255


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("LA", 2), ("RGB", 3), ("RGBA", 4)])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".tga", ".jp2", ".npy"])
def test_pixels_come_through_unchanged(mode: str, channels: int, suffix: str) -> None:
    image = Image.fromarray(OPAQUE).convert(mode)  # pixels under no alpha are nobody's
    found, notes = through(saved(image), suffix, channels)
    assert notes == []
    assert found.bits == 8
    assert found.pixels.dtype == np.float32
    array = np.asarray(image).reshape(7, 11, -1).transpose(2, 0, 1).astype(int)
    colours = array[: 1 if channels < 3 else 3]
    assert np.array_equal(values(found), colours.repeat(3, 0) if suffix == ".webp" and channels < 3 else colours)


@pytest.mark.parametrize("source", ["PNG", "TIFF", "PPM", "npy"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".jp2", ".pgm", ".npy"])
def test_sixteen_bits_of_grey_are_kept(source: str, suffix: str) -> None:
    data = stored(WORDS) if source == "npy" else saved(Image.fromarray(WORDS), source)
    found, notes = through(data, suffix)
    assert (found.bits, notes) == (16, [])
    assert np.array_equal(values(found)[0], WORDS)


def test_sixteen_bits_that_cannot_be_kept_are_told() -> None:
    data = saved(Image.fromarray(WORDS))
    for suffix, channels, after in ((".jpg", 1, 1), (".jp2", 3, 3), (".ppm", 1, 3), (".webp", 1, 1)):
        found, notes = through(data, suffix, channels, after)
        assert found.bits == 8
        assert [note[:18] for note in notes] == ["16 bits became 8: "]
        assert np.abs(found.pixels[:1] - WORDS / 65535).max() < (0.1 if suffix == ".jpg" else 0.003)
    found, notes = through(data, ".npy", 3)  # an array has any depth
    assert (found.bits, notes) == (16, [])


@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_sixteen_bits_of_colour_are_kept(suffix: str) -> None:
    colour = np.random.default_rng(2).integers(0, 65536, (7, 11, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour)
    data = png(11, 7, 2, rows)
    assert (read_exact(data).bits, read_exact(data).notes) == (16, ())
    found, notes = through(data, suffix, 3, 3)
    assert (found.bits, notes) == (16, [])
    assert np.array_equal(values(found), colour.transpose(2, 0, 1))


def test_sixteen_bits_of_colour_are_translated() -> None:
    colour = np.random.default_rng(2).integers(0, 65536, (7, 11, 3), dtype=np.uint16)
    data = png(11, 7, 2, b"".join(b"\0" + row.astype(">u2").tobytes() for row in colour))
    model = tiny("pix2pix", ImageSpec(6, 8, 8, sides=(3, 3))).eval()
    found, notes = translate_file(model, data, ".png")
    assert notes == []
    images = torch.from_numpy(colour.astype(np.float32)).permute(2, 0, 1)[None] / 65535 * 2 - 1
    wanted = (translate(model, images)[0].numpy() + 1) / 2 * 65535
    assert np.abs(values(read_exact(found)).astype(np.float64) - wanted).max() < 1
    assert len(np.unique(values(read_exact(found)) % 256)) > 100


def test_values_of_a_run_are_read_and_written() -> None:
    """What was black and white to the model is so in new files, and in those that are made."""
    band = Scale(16, "integer", 30000, 30200)
    depths = np.linspace(30000, 30200, 77).round().astype(np.uint16).reshape(7, 11)
    exact = read_exact(saved(Image.fromarray(depths)), 1, band)
    assert exact.pixels[0] == pytest.approx((depths - 30000.0) / 200, abs=1e-6)
    for suffix in (".png", ".tif", ".npy"):
        data, notes = write_exact(exact.pixels, None, exact.bits, suffix, None, band)
        assert notes == []
        assert np.array_equal(values(read_exact(data))[0], depths)
    mask = (depths > 30100).astype(np.uint8)
    exact = read_exact(saved(Image.fromarray(mask)), 1, Scale(8, "byte", 0, 1))
    assert np.array_equal(exact.pixels[0], mask)
    data, _ = write_exact(exact.pixels, None, exact.bits, ".png", None, Scale(8, "byte", 0, 1))
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), mask)
    data, notes = write_exact(exact.pixels, None, 16, ".png", None, Scale(32, "float", -5, 5))
    assert np.array_equal(values(read_exact(data))[0], mask * 65535.0)
    assert notes == ["values from -5 to 5 are written as 0 to 65535"]


def png(width: int, height: int, colour: int, rows: bytes) -> bytes:
    """A PNG of 16 bits, as Pillow itself can't write it."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("channels", "mode"), [(1, "LA"), (3, "RGBA")])
def test_alpha_is_kept_beside_a_model_without(channels: int, mode: str) -> None:
    image = Image.fromarray(BYTES).convert(mode)
    for suffix in (".png", ".webp", ".tif", ".npy"):
        found, notes = through(saved(image), suffix, channels)
        assert notes == []
        assert found.alpha is not None
        assert np.array_equal(np.rint(found.alpha[0] * 255), BYTES[:, :, 3])
    clear = np.where(BYTES[:, :, 3:] < 128, 0, BYTES)
    found, _ = through(saved(Image.fromarray(clear)), ".tif", 3)
    assert np.all(found.pixels[:, clear[:, :, 3] == 0] == 1)  # what nobody saw is white for the model, as in training


def test_alpha_that_a_format_has_no_place_for_is_told() -> None:
    for suffix in (".jpg", ".bmp", ".ppm"):
        found, notes = through(saved(Image.fromarray(BYTES)), suffix, 3)
        assert found.alpha is None
        assert [note.split()[1:4] for note in notes] == [["keeps", "no", "alpha:"]]
    with pytest.raises(ReverieError, match=r"4 channels can't be written as '\.jpg'; choose \.png"):
        through(saved(Image.fromarray(BYTES)), ".jpg", 4)


def test_alpha_of_the_models_own_is_written() -> None:
    found, notes = through(saved(Image.fromarray(BYTES).convert("RGB")), ".png", 4)
    assert notes == []
    assert found.alpha is not None
    assert found.alpha.min() == 1
    image = Image.fromarray(OPAQUE)
    found, _ = through(saved(image), ".png", 3, 4)  # side B has alpha: the model's counts, not the file's
    assert found.alpha is not None
    assert np.array_equal(np.rint(found.alpha[0] * 255), OPAQUE[:, :, 0])


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY = PROFILE[:16] + b"GRAY" + PROFILE[20:]


def profile(data: bytes) -> bytes | None:
    with Image.open(io.BytesIO(data)) as image:
        found: bytes | None = image.info.get("icc_profile")
        return found


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "JPEG", "WEBP"])
def test_colour_profiles_are_kept(kind: str) -> None:
    data = saved(Image.fromarray(BYTES[:, :, :3]), kind, icc_profile=PROFILE)
    for suffix in (".png", ".tif", ".jpg", ".webp"):
        made, notes = translate_file(same(3), data, suffix)
        assert (profile(made), notes) == (PROFILE, [])
    made, notes = translate_file(same(3, 4), data, ".png")
    assert (profile(made), notes) == (PROFILE, [])
    if kind == "WEBP":  # has no grey
        return
    for array in (BYTES[:, :, 0], *([] if kind == "JPEG" else [WORDS])):
        data = saved(Image.fromarray(array), kind, icc_profile=GREY)
        for suffix in (".png", ".tif", ".jpg"):
            made, notes = translate_file(same(), data, suffix)
            assert profile(made) == GREY
            assert not any("profile" in note for note in notes)


def test_colour_profiles_that_are_not_kept_are_told() -> None:
    colour = saved(Image.fromarray(BYTES[:, :, :3]), icc_profile=PROFILE)
    grey = saved(Image.fromarray(WORDS), icc_profile=GREY)
    broken = saved(Image.fromarray(BYTES), icc_profile=b"short")
    unfit = "the colour profile was left out: it is none for the channels of the result"
    cases = (
        (colour, same(3, 1), ".png", unfit),
        (grey, same(1, 3), ".png", unfit),
        (grey, same(1, 6), ".npy", unfit),
        (broken, same(3), ".png", unfit),
        (
            saved(Image.new("CMYK", (6, 4)), "TIFF", icc_profile=PROFILE.replace(b"RGB ", b"CMYK")),
            same(3),
            ".tif",
            unfit,
        ),
        (colour, same(3), ".bmp", "the colour profile was left out: BMP keeps none for such pictures"),
        (colour, same(3), ".npy", "the colour profile was left out: .npy keeps none for such pictures"),
        (grey, same(), ".webp", "the colour profile was left out: WEBP keeps none for such pictures"),
    )
    for data, model, suffix, note in cases:
        made, notes = translate_file(model, data, suffix)
        assert note in notes
        assert suffix == ".npy" or profile(made) is None


def test_odd_modes_become_what_the_model_takes() -> None:
    bits = np.eye(9, 5, dtype=bool)
    assert np.array_equal(values(through(saved(Image.fromarray(bits)))[0])[0], bits * 255)
    grey = Image.fromarray(BYTES[:, :, 0])
    found, notes = through(saved(grey.convert("RGB")))
    assert notes == []  # nothing was lost
    assert np.array_equal(values(found)[0], BYTES[:, :, 0])
    colour = Image.fromarray(BYTES[:, :, :3])
    found, notes = through(saved(colour))
    assert notes == ["colour became grey, which the model takes"]
    assert np.abs(values(found)[0] - np.asarray(colour.convert("L"), int)).max() <= 1
    palette = colour.quantize(16)
    assert np.array_equal(
        values(through(saved(palette), channels=3)[0]), np.asarray(palette.convert("RGB")).transpose(2, 0, 1)
    )
    clear = palette.getpixel((0, 0))
    found, _ = through(saved(palette, transparency=clear), channels=3)
    assert found.alpha is not None
    assert np.array_equal(found.alpha[0] == 0, np.asarray(palette) == clear)
    red = Image.new("CMYK", (6, 4), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        found, _ = through(saved(red, kind), channels=3)
        assert found.pixels.shape == (3, 4, 6)
        assert np.abs(values(found)[:, 2, 2] - (255, 0, 0)).max() < 12
    shade = read_exact(saved(Image.fromarray(WORDS), transparency=int(WORDS[2, 3])))
    assert shade.alpha is not None
    assert shade.alpha[0, 2, 3] == 0
    assert shade.bits == 16
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    found, _ = through(saved(Image.fromarray(unit), "TIFF"), ".tif")
    assert found.bits == 16
    assert np.abs(found.pixels[0] - unit).max() < 1e-5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(orientation: int) -> None:
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
    exif = Image.Exif()
    exif[0x0112] = orientation
    for array in (WORDS, BYTES):
        image = Image.fromarray(array)
        turned = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
        found = read_exact(saved(turned, exif=exif))
        assert np.array_equal(values(found)[0], array.reshape(7, 11, -1)[:, :, 0])


def test_of_an_animation_the_first_picture_is_taken() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    found = read_exact(saved(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert tuple(values(found)[:, 0, 0]) == (255, 0, 0)
    assert found.notes == ("of several pictures in one file the first was taken",)


@pytest.mark.parametrize("kind", ["uint8", "uint16", ">u2", "bool", "float16", "float64"])
@pytest.mark.parametrize("shape", [(6, 9, 20), (20, 9, 6), (20, 9), (1, 9, 20), (9, 20, 3), (2, 9, 20), (16, 20, 20)])
def test_arrays_of_any_depth_and_layout(kind: str, shape: tuple[int, ...]) -> None:
    top = {"uint8": 255, "uint16": 65535, ">u2": 65535}.get(kind, 1)
    array = np.random.default_rng(3).random(shape) * top
    array = (array if kind.startswith("float") else array.round()).astype(kind)
    planes = array[None] if array.ndim == 2 else array if shape[0] <= 16 and shape[0] != 9 else array.transpose(2, 0, 1)
    count = len(planes)
    found, notes = through(stored(array), ".npy", count)
    assert notes == []
    assert found.bits == (8 if kind in ("uint8", "bool") else 16)
    pixels = found.pixels if found.alpha is None else np.concatenate([found.pixels, found.alpha])
    assert np.abs(pixels - planes.astype(float) / top).max() < 1e-5 + (kind.startswith("float")) / 65535


def test_an_array_of_many_channels_may_be_a_pixel_wide() -> None:
    for shape in ((6, 37, 1), (6, 1, 1), (1, 37, 6), (37, 1, 6)):
        made, _ = translate_file(same(6), stored(np.zeros(shape, np.uint8)), ".npy")
        assert read_exact(made, 6).pixels.shape == (6, *sorted(shape, key=lambda side: side == 6)[:2])


def test_arrays_that_are_no_pictures() -> None:
    wrong = {
        "expected is": np.zeros(5, np.uint8),
        "of shape": np.zeros((0, 5), np.uint8),
        "no axis holds": np.zeros((20, 20, 20), np.uint8),
        "type int64": np.zeros((5, 5), np.int64),
        r"only \[0, 1\]": np.full((5, 5), 7.0),
        "type complex": np.zeros((5, 5), complex),
    }
    for said, array in wrong.items():
        with pytest.raises(Unreadable, match=said):
            read_exact(stored(array))
    for data in (b"", b"text", b"\x93NUMPY", stored(WORDS)[:-9], saved(Image.fromarray(BYTES))[:60]):
        with pytest.raises(Unreadable):
            read_exact(data)


def test_other_channels_than_the_model_takes() -> None:
    six = stored(np.zeros((6, 9, 20), np.uint8))
    with pytest.raises(Unreadable, match="6 channels, where the model takes 3"):
        translate_file(same(3), six, ".png")
    with pytest.raises(Unreadable, match="3 channels, where the model takes 6"):
        translate_file(same(6), saved(Image.fromarray(BYTES).convert("RGB")), ".npy")
    with pytest.raises(ReverieError, match=r"6 channels can't be written as '\.png'; choose \.npy"):
        translate_file(same(6), six, ".png")


SAMPLES = [saved(Image.fromarray(BYTES)), stored(WORDS), saved(Image.fromarray(WORDS), "TIFF")]


@given(
    data=st.binary(max_size=200)
    | st.builds(
        lambda sample, at, junk: sample[: at % len(sample)] + junk + sample[at % len(sample) + len(junk) :],
        st.sampled_from(SAMPLES),
        st.integers(0, 10_000),
        st.binary(max_size=12),
    )
)
@settings(max_examples=200, deadline=None)
@pytest.mark.filterwarnings("ignore")
def test_any_bytes_are_a_picture_or_unreadable(data: bytes) -> None:
    try:
        exact = to_channels(read_exact(data), 1)
    except Unreadable:
        return
    assert exact.pixels.min() >= 0
    assert exact.pixels.max() <= 1


@pytest.mark.filterwarnings("error")
def test_numbers_that_are_none_are_black_and_others_are_clamped() -> None:
    picture = np.array([[[np.nan, -3, 0.5, 9]]], np.float32)
    data, notes = write_exact(picture, None, 8, ".png")
    assert notes == []
    assert values(read_exact(data)).ravel().tolist() == [0, 0, 128, 255]


def test_pictures_may_be_larger_than_pillow_s_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.fromarray(BYTES))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(Unreadable, match="more than twice as many pixels as the limit of 20"):
        decode(data, TargetFormat(3, 7, 11, "crop"))
    found, notes = through(data, channels=3)
    assert (found.pixels.shape, notes) == ((3, 7, 11), [])
    assert Image.MAX_IMAGE_PIXELS == 20
    header = data.index(b"IHDR") + 4
    for width, said in ((40_000, "40000 x 30000 pixels are more than the limit"), (90_000, "more than twice as many")):
        sides = width.to_bytes(4, "big") + (30_000).to_bytes(4, "big")
        chunk = b"IHDR" + sides + data[header + 8 : header + 13]
        bomb = data[: header - 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[header + 17 :]
        with pytest.raises(Unreadable, match=rf"{said}.* of 1000000000$"):
            translate_file(same(3), bomb, ".png")
    assert Image.MAX_IMAGE_PIXELS == 20


def test_a_picture_that_is_larger_than_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def burst(*_: object) -> None:
        raise MemoryError

    data = saved(Image.fromarray(WORDS))
    for where in ("reverie.data.full_resolution.deep_values", "reverie.tasks.translate_files.write_exact"):
        with monkeypatch.context() as patched:
            patched.setattr(where, burst)
            with pytest.raises(Unreadable, match=r"^larger than the memory$"):
                translate_file(same(), data, ".png")


def test_what_a_format_or_pillow_cannot_do(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ReverieError, match=r"20000 x 1 pixels can't be written as WEBP .*; choose a \.png\.$"):
        write_exact(np.zeros((1, 1, 20000), np.float32), None, 8, ".webp")
    with pytest.raises(ReverieError, match="can't be written as TGA"):
        write_exact(np.zeros((1, 1, 70000), np.float32), None, 8, ".tga")
    Image.init()
    monkeypatch.delitem(Image.SAVE, "WEBP")
    with pytest.raises(ReverieError, match="can't be written as WEBP"):
        write_exact(np.zeros((1, 1, 20), np.float32), None, 8, ".webp")


# The command


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Toy:
    """What every run holds in the tests that ask for it."""
    toy = Toy(Same(4), Same(4), (3, 3))
    run = Run(Path("run"), "toy", toy, toy.image_spec, {})
    monkeypatch.setattr("reverie.run.load", lambda path, device: run)
    return toy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures, one of them in a folder within; the working directory lies beside."""
    (tmp_path / "in" / "deep").mkdir(parents=True)
    Image.fromarray(BYTES).save(tmp_path / "in" / "a.PNG", "PNG")
    Image.fromarray(BYTES[:, :, :3]).save(tmp_path / "in" / "deep" / "b.gif", "GIF")
    (tmp_path / "in" / "notes.txt").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def test_a_run_on_disk_translates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "run", "pix2pix", ImageSpec(4, 8, 8, sides=(1, 3)))
    Image.fromarray(BYTES[:, :, 0]).save(tmp_path / "a.png")
    said = succeeds(capsys, "translate", tmp_path / "run", tmp_path / "a.png", "--out", tmp_path / "b.png")
    assert said == f"1 pictures in {tmp_path / 'b.png'}\n"
    with Image.open(tmp_path / "b.png") as out:
        assert (out.mode, out.size) == ("RGB", (11, 7))
    said = fails(
        capsys, "translate", tmp_path / "run", tmp_path / "a.png", "--direction", "ba", "--out", tmp_path / "c"
    )
    assert "only in ab" in said
    assert not (tmp_path / "c").exists()


def test_a_folder_keeps_its_names(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert succeeds(capsys, "translate", "run", "in") == "2 pictures in translated\n"
    assert visible(Path("translated")) == ["a.PNG", "deep/b.png"]
    with Image.open("translated/a.PNG") as out:
        assert np.array_equal(np.asarray(out)[:, :, 3], BYTES[:, :, 3])
    # A second time from above: what the first left is no input, and is replaced.
    assert "would lie in a folder that is read" in fails(capsys, "translate", "run", ".")
    assert succeeds(capsys, "translate", "run", ".", "--out", "translated") == "2 pictures in translated\n"
    assert visible(Path("translated")) == ["a.PNG", "deep/b.png", "in/a.PNG", "in/deep/b.png"]


def test_files_are_told_apart(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert succeeds(capsys, "translate", "run", "in/a.PNG", "in/deep/b.gif", "--out", "x.d") == "2 pictures in x.d\n"
    assert visible(Path("x.d")) == ["a.PNG", "b.png"]
    Image.fromarray(BYTES).save("in/deep/b.png")
    assert "in/deep/b.gif and in/deep/b.png would both become y/" in fails(
        capsys, "translate", "run", "in", "--out", "y"
    )
    assert not Path("y").exists()


def test_a_broken_file_is_named_and_the_others_are_written(
    model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bad\x1b.png").write_bytes(b"no picture")
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "six.npy").write_bytes(stored(np.zeros((6, 9, 20), np.uint8)))
    with pytest.raises(SystemExit) as stopped:
        main(["translate", "run", "in", "missing.png"])
    said = capsys.readouterr()
    assert (stopped.value.code, said.out) == (1, "")
    assert said.err.splitlines() == [
        "reverie: in/bad .png: not a picture, or of a format that cannot be read",
        "reverie: in/gone.png: no such file or directory",
        "reverie: in/pipe.jpg: not a regular file",
        "reverie: in/six.npy: a picture of 6 channels, where the model takes 3",
        "reverie: missing.png: no such file or directory",
        "reverie: 5 of 7 pictures failed; 2 were translated.",
    ]
    assert visible(Path("translated")) == ["a.PNG", "deep/b.png"]


def test_notes_are_given_once_for_each_kind(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("c.jp2", "d.jp2"):
        Image.fromarray(WORDS).save(folder / name)
    assert succeeds(capsys, "translate", "run", "in/c.jp2", "in/d.jp2", "in/a.PNG") == "3 pictures in translated\n"
    main_words = ["translate", "run", "in/c.jp2", "in/d.jp2", "in/a.PNG"]
    with pytest.raises(SystemExit):
        main(main_words)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert err.startswith("reverie: 16 bits became 8: ")
    assert err.endswith(" (pictures: 2)\n")


def test_from_stdin_to_stdout(
    model: Toy, folder: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = (folder / "a.PNG").read_bytes()
    for words, kind in ((["-"], "PNG"), (["in/a.PNG"], "PNG"), (["in/deep/b.gif"], "PNG")):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        with pytest.raises(SystemExit) as stopped:
            main(["translate", "run", *words, "--out", "-"])
        said = capsysbinary.readouterr()
        assert not stopped.value.code
        assert said.err == b"1 pictures in -\n"
        with Image.open(io.BytesIO(said.out)) as out:
            assert (out.format, out.size) == (kind, (11, 7))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    with pytest.raises(SystemExit):
        main(["translate", "run", "-"])
    assert visible(Path("translated")) == ["stdin.png"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(SystemExit) as stopped:
        main(["translate", "run", "-", "--out", "-"])
    said = capsysbinary.readouterr()
    assert stopped.value.code == 1
    assert said.out.replace(b"1 pictures in translated\n", b"") == b""
    assert b"standard input: the file is empty" in said.err


def test_one_picture_into_one_file(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, "translate", "run", "in/a.PNG", "--direction", "ba", "--out", "new/x.jpeg")
    with Image.open("new/x.jpeg") as out:
        assert (out.format, out.size) == ("JPEG", (11, 7))
    succeeds(capsys, "translate", "run", "in/deep", "--out", "x.npy")
    assert np.load("x.npy").shape == (3, 7, 11)
    assert "x.png takes one picture, and there are 2" in fails(capsys, "translate", "run", "in", "--out", "x.png")
    assert "Standard output takes one picture" in fails(capsys, "translate", "run", "in", "--out", "-")
    assert "let it end in .png" in fails(capsys, "translate", "run", "in/a.PNG", "--out", "x.gif")


def test_no_picture_that_is_given_is_replaced(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {name: (folder / name).read_bytes() for name in visible(folder)}
    Path("link").symlink_to(folder)
    words = (["in", "--out", "in"], ["in/a.PNG", "--out", "in"], ["in/a.PNG", "--out", "link/a.PNG"])
    for more in (*words, ["in/deep/b.gif", "in/a.PNG", "--out", "link"]):
        assert "stays as it is" in fails(capsys, "translate", "run", *more)
    assert {name: (folder / name).read_bytes() for name in visible(folder)} == before


def test_words_of_the_command_that_are_wrong(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = {
        "IMAGES requires an argument": [],
        "--tile must be at least 0, not -1": ["in", "--tile", "-1"],
        "--overlap must be at least 0": ["in", "--overlap", "-1"],
        "Unknown option --nois": ["in", "--nois", "3"],
        "Unknown option --tile": ["in", "--out", "--tile"],
        "--noise takes a whole number": ["in", "--noise", "x"],
        "too small for an overlap of 384": ["in", "--tile", "128"],
        "--direction": ["in", "--direction", "up"],
        "no pictures in the folder empty": ["empty"],
        "a file is in the way": ["in", "--out", "in/notes.txt/x"],
    }  # fmt: skip
    Path("empty").mkdir()
    for sentence, words in said.items():
        assert sentence in fails(capsys, "translate", "run", *words)
    assert not Path("translated").exists()


def test_the_overlap_is_the_task_s_own_unless_told(
    model: Toy, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.tasks.translate.OVERLAP", 20)
    Image.new("L", (200, 90)).save("large.png")
    succeeds(capsys, "translate", "run", "large.png", "--tile", 64)
    assert len(model.given) == 2 * 5


def test_large_pictures_go_through_in_tiles(model: Toy, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 200), np.uint8)).save("large.png")
    succeeds(capsys, "translate", "run", "large.png", "--tile", 64, "--overlap", 20)
    assert len(model.given) == 2 * 5
    assert max(max(shape[2:]) for shape in model.given) == 64
    with Image.open("large.png") as one, Image.open("translated/large.png") as other:
        assert np.array_equal(np.asarray(one.convert("RGB")), np.asarray(other))
    model.given.clear()
    succeeds(capsys, "translate", "run", "large.png", "--tile", 0)
    assert model.given == [(1, 3, 90, 200)]
