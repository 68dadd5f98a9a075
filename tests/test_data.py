"""Reading pictures of every kind into one shape."""

from __future__ import annotations

import io
import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import Opener, opener
from reverie.data import DataOptions, Dataset
from reverie.data.decode import decode, look, refit
from reverie.data.formats import Unreadable
from reverie.data.pack import encode
from reverie.data.target_format import TargetFormat
from reverie.errors import ReverieError
from reverie.scale import Scale


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


def noise(height: int = 8, width: int = 8, channels: int = 3, seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)


def put(image: Image.Image, path: Path, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def only(dataset: Dataset) -> np.ndarray:
    """The single picture, (C, H, W)."""
    assert len(dataset) == 1
    return dataset.batch(np.array([0]))[0]


def upright(image: Image.Image) -> np.ndarray:
    array = np.asarray(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    wanted = np.zeros((6, 10, 3), np.uint8)
    wanted[:3, :5] = 255  # a white quarter at the top left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what stores it such that the orientation restores it
    stored = Image.fromarray(wanted)
    if orientation > 1:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encoded(stored, kind, exif=exif, **lossless)
    seen = look(data)
    assert (seen.height, seen.width) == (6, 10)
    picture, seen = decode(data, TargetFormat(3, 6, 10, "crop"))
    assert (seen.height, seen.width) == (6, 10)
    assert np.abs(picture.astype(int) - wanted.transpose(2, 0, 1)).max() < 40


def test_a_large_turned_photo_is_drafted_and_upright() -> None:
    wanted = np.zeros((600, 900, 3), np.uint8)
    wanted[:300, :450] = 255
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.fromarray(wanted).transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    picture, seen = decode(data, TargetFormat(3, 16, 24, "crop"))
    assert (seen.height, seen.width) == (600, 900)
    assert picture[:, :6, :10].min() > 230
    assert picture[:, 10:].max() < 25
    assert picture[:, :, 14:].max() < 25


def test_sixteen_bit_grey_is_scaled_not_cut() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(ramp), kind)
        assert look(data).bits == 16
        picture, _ = decode(data, TargetFormat(1, 8, 8, "crop"))
        assert np.array_equal(picture[0], np.rint(ramp / 257).astype(np.uint8))


def test_thirty_two_bit_grey_is_read_as_sixteen_where_it_fits() -> None:
    ramp = np.linspace(0, 65535, 64).astype(np.int32).reshape(8, 8)
    picture, seen = decode(encoded(Image.fromarray(ramp), "TIFF"), TargetFormat(1, 8, 8, "crop"))
    assert np.array_equal(picture[0], np.rint(ramp / 257).astype(np.uint8))
    assert seen.span == (0, 65535)
    wide = Scale(32, "integer", 0, 131070)
    picture, _ = decode(encoded(Image.fromarray(ramp * 2), "TIFF"), TargetFormat(1, 8, 8, "crop", wide))
    assert picture.dtype == np.float32
    assert picture[0] == pytest.approx(ramp / 65535)


def test_float_pictures_are_read_and_what_is_no_number_refused() -> None:
    ramp = np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)
    picture, _ = decode(encoded(Image.fromarray(ramp), "TIFF"), TargetFormat(1, 8, 8, "crop"))
    assert np.array_equal(picture[0], np.rint(ramp * 255).astype(np.uint8))
    for wrong in (np.nan, np.inf, -np.inf):
        ramp[3, 3] = wrong
        with pytest.raises(Unreadable, match="only finite numbers"):
            decode(encoded(Image.fromarray(ramp), "TIFF"), TargetFormat(1, 8, 8, "crop"))


def test_bitmaps_are_black_and_white() -> None:
    bits = np.eye(8, dtype=bool)
    data = encoded(Image.fromarray(bits))
    assert look(data).channels == 1
    picture, seen = decode(data, TargetFormat(1, 8, 8, "crop"))
    assert np.array_equal(picture[0], bits * np.uint8(255))
    assert seen.bits == 1


def test_palettes_become_rgb_or_rgba() -> None:
    colours = np.zeros((8, 8, 3), np.uint8)
    colours[:, 4:] = (255, 0, 0)
    palette = Image.fromarray(colours).quantize(2)
    assert look(encoded(palette)).channels == 3
    assert np.array_equal(decode(encoded(palette), TargetFormat(3, 8, 8, "crop"))[0], colours.transpose(2, 0, 1))
    clear = palette.getpixel((0, 0))
    data = encoded(palette, transparency=clear)
    assert look(data).channels == 4
    picture, _ = decode(data, TargetFormat(4, 8, 8, "crop"))
    assert picture[3, 0, 0] == 0
    assert tuple(picture[:, 0, 7]) == (255, 0, 0, 255)
    assert tuple(decode(data, TargetFormat(3, 8, 8, "crop"))[0][:, 0, 0]) == (255, 255, 255)


def test_cmyk_becomes_rgb() -> None:
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        data = encoded(red, kind)
        assert look(data).channels == 3
        picture = decode(data, TargetFormat(3, 8, 8, "crop"))[0][:, 4, 4].astype(int)
        assert np.abs(picture - (255, 0, 0)).max() < 12


def test_grey_with_alpha_keeps_both() -> None:
    image = noise(channels=2)
    assert image.mode == "LA"
    assert look(encoded(image)).channels == 2
    assert np.array_equal(decode(encoded(image), TargetFormat(2, 8, 8, "crop"))[0], upright(image))


def test_declared_transparent_colours_count_as_alpha() -> None:
    image = Image.new("RGB", (4, 4), (9, 9, 9))
    image.putpixel((0, 0), (200, 0, 0))
    data = encoded(image, transparency=(9, 9, 9))
    assert look(data).channels == 4
    picture, _ = decode(data, TargetFormat(4, 4, 4, "crop"))
    assert picture[3, 0, 0] == 255
    assert picture[3, 1, 1] == 0
    assert tuple(decode(data, TargetFormat(3, 4, 4, "crop"))[0][:, 1, 1]) == (255, 255, 255)


def test_animations_give_their_first_picture() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True)
        assert np.abs(decode(data, TargetFormat(3, 8, 8, "crop"))[0][:, 0, 0].astype(int) - (255, 0, 0)).max() < 3


@pytest.mark.parametrize(("asked", "channels"), [("grey", 1), ("2", 2), ("rgb", 3), ("rgba", 4)])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_what_is_asked(opened: Opener, tmp_path: Path, mode: str, asked: str, channels: int) -> None:
    image = (
        Image.fromarray(np.full((8, 8), 40000, np.uint16))
        if mode == "I;16"
        else noise(channels=3 if mode == "P" else 4).convert(mode)
    )
    put(image, tmp_path / "in" / ("a.tif" if mode == "CMYK" else "a.png"))
    dataset = opened(tmp_path / "in", channels=asked)
    assert dataset.image_spec.shape == (channels, 8, 8)
    if channels in (2, 4) and mode not in ("LA", "RGBA"):
        assert only(dataset)[-1].min() == (65535 if mode == "I;16" else 255)


def test_fits() -> None:
    image = np.zeros((8, 16, 3), np.uint8)
    image[:, 4:12] = 200  # the centre square
    data = encoded(Image.fromarray(image))
    assert decode(data, TargetFormat(3, 4, 4, "crop"))[0].min() > 185
    padded, _ = decode(data, TargetFormat(3, 16, 16, "pad"))
    assert np.array_equal(padded[:, 4:12], image.transpose(2, 0, 1))
    assert padded[:, :4].max() == padded[:, 12:].max() == 0
    stretched, _ = decode(data, TargetFormat(3, 8, 8, "stretch"))
    assert stretched[:, :, 3:5].min() > 180
    assert stretched[:, :, [0, 7]].max() < 10


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    fit=st.sampled_from(["crop", "pad", "stretch"]),
    channels=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_any_size_fits_any_other(shape: tuple[int, int], target: tuple[int, int], fit: str, channels: int) -> None:
    flat = np.full((channels, *shape), 77, np.uint8)
    out = refit(flat, TargetFormat(channels, *target, fit))
    assert out.shape == (channels, *target)
    if fit != "pad":
        assert np.abs(out.astype(int) - 77).max() <= (3 if channels in (2, 4) else 0)  # alpha is multiplied in and out


@given(channels=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_png_round_trip(channels: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (channels, 5, 7), dtype=np.uint8)
    assert np.array_equal(decode(encode(picture), TargetFormat(channels, 5, 7, "crop"))[0], picture)


SAMPLES = [
    encoded(noise(), kind)
    for kind in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "TGA", "ICO", "PPM", "PCX", "JPEG2000")
]


MAGICS = st.sampled_from(
    [
        b"\x1f\x8b",
        b"\x1f\x8b\x08\0\0\0\0\0\0\x03",
        b"BZh9",
        b"\xfd7zXZ\0",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\0v\0{",
        b"\0\0\x08\x03",
    ]
)


@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda sample, at, junk: sample[: at % len(sample)] + junk + sample[at % len(sample) + len(junk) :],
            st.sampled_from(SAMPLES),
            st.integers(0, 10_000),
            st.binary(max_size=12),
        ),
        st.builds(lambda sample, at: sample[: at % len(sample)], st.sampled_from(SAMPLES), st.integers(0, 10_000)),
    )
)
@settings(max_examples=400, deadline=None)
def test_any_bytes_are_a_picture_or_unreadable(data: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for read in (look, lambda d: decode(d, TargetFormat(3, 8, 8, "crop"))):
            reason = "none"
            try:
                read(data)
            except Unreadable as why:
                reason = str(why)
            assert reason
            assert "object at 0x" not in reason


@given(
    data=st.one_of(st.binary(max_size=200), st.builds(bytes.__add__, MAGICS, st.binary(max_size=99))),
    suffix=st.sampled_from(["png", "zip", "npz", "npy", "gz", "tar", "tar.gz", "bin"]),
)
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_as_a_source_end_in_one_sentence(opened: Opener, tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"source.{suffix}"
    path.write_bytes(data)
    with pytest.raises(ReverieError) as caught:
        opened(path)
    assert "\n" not in str(caught.value)


def test_what_cannot_be_read_is_listed_with_its_reason(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    put(noise(), folder / "good.png")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("I am a text.")
    whole = encoded(noise(64, 64), "JPEG")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    put(Image.new("1", (400, 400)), folder / "bomb.png")
    (folder / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\nshowpage\n")
    (folder / "broken.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "README").write_text("no picture")
    (folder / ".hidden.png").write_bytes(b"")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "a.png").write_bytes(b"")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)
    dataset = opened(folder)
    assert list(dataset.names) == ["good.png"]
    why = dict(dataset.unreadable)
    assert set(why) == {
        f"{n}" for n in ("empty.png", "text.jpg", "cut.jpg", "bomb.png", "script.png", "broken.png", "pipe.png")
    }
    assert why["empty.png"] == "the file is empty"
    assert "not a picture" in why["text.jpg"]
    assert "not a picture" in why["script.png"]  # never handed to Ghostscript
    assert "truncated" in why["cut.jpg"]
    assert "400 x 400 pixels" in why["bomb.png"]
    assert why["broken.png"] == "a broken link"
    assert why["pipe.png"] == "not a regular file"
    assert dataset.found["unreadable"] == 7
    assert dataset.found["not pictures"] == {".txt": 1, "without extension": 1}
    assert opened(folder).unreadable == dataset.unreadable  # from the cache too


def test_a_file_broken_behind_its_header_does_not_sway_the_size(opened: Opener, tmp_path: Path) -> None:
    put(noise(20, 20), tmp_path / "in" / "a.png")
    put(noise(20, 20, seed=1), tmp_path / "in" / "b.png")
    whole = encoded(noise(64, 48), "JPEG")
    (tmp_path / "in" / "0.jpg").write_bytes(whole[: len(whole) // 2])
    dataset = opened(tmp_path / "in")
    assert dataset.image_spec.shape == (3, 20, 20)
    assert np.array_equal(dataset.batch(np.array([1]))[0], upright(noise(20, 20, seed=1)))


@pytest.mark.parametrize(
    ("sizes", "wanted"),
    [
        ([(20, 30)], (20, 30)),
        ([(20, 30), (20, 30)], (20, 30)),
        ([(20, 30), (20, 31)], (32, 32)),
        ([(70, 90), (64, 300), (10, 10)], (64, 64)),
        ([(300, 200), (200, 400)], (128, 128)),
    ],
)
def test_auto_size(opened: Opener, tmp_path: Path, sizes: list[tuple[int, int]], wanted: tuple[int, int]) -> None:
    for i, size in enumerate(sizes):
        put(noise(*size), tmp_path / "in" / f"{i}.png")
    assert opened(tmp_path / "in").image_spec.shape == (3, *wanted)


def test_mixed_channels_are_refused_until_one_is_asked_for(opened: Opener, tmp_path: Path) -> None:
    put(noise(), tmp_path / "in" / "a.png")
    put(noise(channels=1), tmp_path / "in" / "b.png")
    put(noise(channels=1), tmp_path / "in" / "c.png")
    with pytest.raises(ReverieError, match=r"2 grey, 1 rgb.*data\.channels=rgb"):
        opened(tmp_path / "in")
    assert opened(tmp_path / "in", channels="rgb").image_spec.channels == 3
    with pytest.raises(ReverieError, match="cannot become 5 channels"):
        opened(tmp_path / "in", channels="5")


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "big"},
        {"size": "0"},
        {"size": "64x"},
        {"size": "99999"},
        {"fit": "crp"},
        {"channels": "rbg"},
        {"channels": "0"},
        {"channels": "17"},
        {"shift": -1},
        {"count": 0},
        {"limit": -1},
        {"validation": 0.6, "test": 0.5},
        {"validation": -0.1},
        {"test": float("nan")},
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(wrong: dict[str, Any]) -> None:
    with pytest.raises(ReverieError, match=f"data.{next(iter(wrong))}"):
        DataOptions(**wrong)


def test_importing_the_data_is_cheap() -> None:
    import subprocess

    code = "import sys, reverie.data; print([m for m in ('torch', 'PIL', 'sklearn', 'datasets') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
