"""Values of files: read as they are, kept at their depth, and nobody's pictures darkened."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import Opener, everything, opener, picture
from reverie.data import DataOptions, to_tensor
from reverie.data.decode import decode, look
from reverie.data.image_io import save_grid, save_picture, suffix_of
from reverie.data.loader import scaled
from reverie.data.pack import encode, unpacked
from reverie.data.pairs import Pairs
from reverie.data.png import png16
from reverie.data.target_format import TargetFormat
from reverie.errors import ReverieError
from reverie.scale import FULL, Scale, choose_scale, kind_of, parse_range, used

DEEP = TargetFormat(3, 7, 11, "crop", Scale(16, "integer", 0, 65535))


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


def words(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 65536, shape, dtype=np.uint16)


def put(array: np.ndarray, path: Path) -> None:
    """(H, W) or (H, W, C) as a file of that ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".png" and array.ndim == 3 and array.dtype == np.uint16:
        path.write_bytes(png16(array.transpose(2, 0, 1)))
    elif path.suffix == ".tif" and (array.ndim == 3 or array.dtype == np.int32):
        tifffile.imwrite(path, array, photometric="rgb" if array.shape[-1] == 3 else "minisblack")
    else:
        Image.fromarray(array).save(path)


def scale_of(dataset: Any) -> Scale:
    (scale,) = dataset.image_spec.scales
    assert isinstance(scale, Scale)
    return scale


def as_in_files(dataset: Any) -> np.ndarray:
    """(N, C, H, W): the values of the files, from those of the pack."""
    images = to_tensor(everything(dataset)).double().numpy()
    return scale_of(dataset).values((images + 1) / 2)


# What is kept

CONTAINERS = {
    "png8": (".png", np.uint8), "png16": (".png", np.uint16), "tif16": (".tif", np.uint16), "tif32": (".tif", np.int32),
    "tif float": (".tif", np.float32), "npy": (".npy", np.int16), "npz": (".npz", np.uint16),
    "npz int": (".npz", np.int32), "npz float": (".npz", np.float32), "npz byte": (".npz", np.uint8),
}  # fmt: skip


@given(
    container=st.sampled_from(sorted(CONTAINERS)),
    colours=st.sampled_from([1, 3]),
    bits=st.integers(1, 16),
    low=st.integers(-2000, 40_000),
    seed=st.integers(0, 2**16),
)
@settings(deadline=None, max_examples=120)
def test_values_come_back_and_nothing_is_darkened(
    tmp_path_factory: pytest.TempPathFactory, container: str, colours: int, bits: int, low: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("depth")
    suffix, kind = CONTAINERS[container]
    least, most = (-1e9, 1e9) if np.dtype(kind).kind == "f" else (np.iinfo(kind).min, np.iinfo(kind).max)
    random = np.random.default_rng(seed)
    raw = (random.integers(0, 2**bits, (3, 6, 5, colours)) + low).clip(max(least, -(2**31)), most)
    files = (raw + random.random(raw.shape) if np.dtype(kind).kind == "f" else raw).astype(kind)
    if colours == 1:
        files = files[..., 0]
    if suffix == ".npz":
        np.savez(folder / "in.npz", files)
        source = folder / "in.npz"
    else:
        source = folder / "in"
        for i, one in enumerate(files):
            put(one, source / f"{i}{suffix}")
    dataset = opener(folder / "cache")(source)
    scale, batch = scale_of(dataset), everything(dataset)
    wanted = files.reshape(3, 6, 5, colours).transpose(0, 3, 1, 2).astype(np.float64)
    step = 1e-6 * (scale.high - scale.low) + 1e-6 * abs(wanted).max() if scale.depth == 32 else 0.505  # and float32's
    assert np.abs(as_in_files(dataset) - wanted).max() <= step
    # Of a set that is not constant the lightest is at least half as light as white, where the range was found.
    if not scale.full and wanted.min() < wanted.max():
        assert batch.max() >= (0.5 if scale.depth == 32 else 2 ** (scale.depth - 1) - 1)
    spread = wanted.max() - wanted.min()
    if kind_of(files) != "byte" and spread > 0:
        assert np.ptp(to_tensor(batch).numpy()) >= 0.25 * (1 - 1e-6)  # of 2
    fixed = opener(folder / "cache")(source, range=f"{scale.low!r}-{scale.high!r}")
    assert np.array_equal(everything(fixed), batch)


@pytest.mark.parametrize(
    ("kind", "span", "wanted"),
    [
        ("integer", (0, 3071), (0, 4095)),
        ("integer", (0, 4095), (0, 4095)),
        ("integer", (0, 4096), (0, 8191)),
        ("integer", (0, 16383), (0, 16383)),
        ("integer", (0, 16384), (0, 65535)),
        ("integer", (0, 255), (0, 255)),
        ("integer", (0, 1), (0, 1)),
        ("integer", (7, 7), (0, 255)),
        ("integer", (700, 700), (0, 65535)),
        ("integer", (30000, 30200), (30000, 30200)),
        ("integer", (40000, 65535), (0, 65535)),
        ("integer", (-1000, 3000), (-1000, 3000)),
        ("integer", (0, 65536), (0, 65536)),
        ("byte", (0, 255), (0, 255)),
        ("byte", (0, 32), (0, 255)),
        ("byte", (0, 31), (0, 31)),
        ("byte", (0, 20), (0, 31)),
        ("byte", (0, 1), (0, 1)),
        ("byte", (1, 1), (0, 255)),
        ("byte", (0, 0), (0, 255)),
        ("float", (0, 1), (0, 1)),
        ("float", (0.2, 0.3), (0, 1)),
        ("float", (-1, 1), (-1, 1)),
        ("float", (0, 300.5), (0, 300.5)),
        ("float", (3, 3), (0, 1)),
    ],
)
def test_what_is_black_and_white(kind: Any, span: tuple[float, float], wanted: tuple[float, float]) -> None:
    assert used(kind, *span) == wanted


def test_twelve_bits_are_not_darkened_and_that_is_said(opened: Opener, tmp_path: Path) -> None:
    ramp = np.linspace(0, 3071, 64).astype(np.uint16).reshape(8, 8)
    put(ramp, tmp_path / "in" / "a.png")
    dataset = opened(tmp_path / "in")
    assert dataset.image_spec.depth == 16
    assert np.array_equal(everything(dataset)[0, 0], np.rint(ramp / 4095 * 65535))
    assert dataset.found["notes"][0] == "values from 0 to 3071: 0 is black and 4095 white; data.range sets others"
    assert everything(opened(tmp_path / "in", range="full")).max() == 3071
    assert everything(opened(tmp_path / "in", range="1000-2000")).max() == 65535  # what lies outside is clipped
    shallow = opened(tmp_path / "in", depth="8")
    assert np.array_equal(everything(shallow)[0, 0], np.rint(ramp / 4095 * 255))
    floats = opened(tmp_path / "in", depth="float")
    assert everything(floats)[0, 0] == pytest.approx(ramp / 4095)


def test_masks_of_zero_and_one_are_black_and_white(opened: Opener, tmp_path: Path) -> None:
    mask = np.eye(8, dtype=np.uint8)
    put(mask, tmp_path / "in" / "a.png")
    put(mask[::-1], tmp_path / "in" / "b.png")
    assert np.array_equal(everything(opened(tmp_path / "in"))[0, 0], mask * 255)
    larger = everything(opened(tmp_path / "in", size="16"))  # enlarged after it is stretched: with shades between
    assert larger.max() == 255
    assert len(np.unique(larger)) > 8


def test_eight_bits_beside_sixteen(opened: Opener, tmp_path: Path) -> None:
    deep, shallow = words(1, 8, 8), picture(2, 8, 8)
    put(deep, tmp_path / "in" / "a.png")
    put(shallow, tmp_path / "in" / "b.png")
    found = everything(opened(tmp_path / "in"))
    assert found.dtype == np.uint16
    assert np.array_equal(found[:, 0], [deep, shallow.astype(np.uint16) * 257])


@pytest.mark.parametrize("options", [{}, {"size": "4"}, {"size": "5x9", "fit": "pad"}, {"size": "6", "fit": "stretch"}])
@pytest.mark.parametrize("channels", ["auto", "grey", "rgba"])
def test_deep_pictures_lie_where_shallow_ones_do(
    opened: Opener, tmp_path: Path, options: dict[str, str], channels: str
) -> None:
    shallow = picture(3, 16, 12, 3)
    put(shallow, tmp_path / "8" / "a.png")
    put(shallow.astype(np.uint16) * 257, tmp_path / "16" / "a.png")
    first, second = (everything(opened(tmp_path / name, channels=channels, **options)) for name in ("8", "16"))
    assert second.dtype == np.uint16
    assert np.abs(second / 257 - first).max() < 2  # rounding: of the first twice, where it is grey


@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bits_of_colour_are_read_whole(channels: int) -> None:
    colour = words(4, 7, 11, channels)
    plan = TargetFormat(channels, 7, 11, "crop", DEEP.scale)
    buffer = {name: io.BytesIO() for name in ("<", ">", "zlib")}
    for order in "<>":
        tifffile.imwrite(buffer[order], colour, photometric="rgb", byteorder=order)
    tifffile.imwrite(buffer["zlib"], colour, photometric="rgb", compression="zlib")
    for data in (png16(colour.transpose(2, 0, 1)), *(one.getvalue() for one in buffer.values())):
        made, seen = decode(data, plan)
        assert np.array_equal(made, colour.transpose(2, 0, 1))
        assert (seen.kind, seen.bits, look(data).kind) == ("integer", 16, "integer")


def test_tiff_of_many_bands_and_of_floats(opened: Opener, tmp_path: Path) -> None:
    bands, floats = words(5, 6, 8, 7), np.random.default_rng(6).normal(0, 9, (6, 8, 3)).astype(np.float32)
    (tmp_path / "bands").mkdir()
    tifffile.imwrite(tmp_path / "bands" / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(everything(opened(tmp_path / "bands"))[0], bands.transpose(2, 0, 1))
    put(floats, tmp_path / "floats" / "a.tif")
    dataset = opened(tmp_path / "floats")
    assert as_in_files(dataset)[0] == pytest.approx(floats.transpose(2, 0, 1), abs=1e-5)
    assert scale_of(dataset).high == floats.max()


def test_what_needs_a_package_says_so(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(picture(0, 8, 8), tmp_path / "in" / "a.png")
    tifffile.imwrite(tmp_path / "in" / "b.tif", words(5, 6, 8, 7), photometric="minisblack", planarconfig="contig")
    (tmp_path / "in" / "c.dcm").write_bytes(b"\0" * 128 + b"DICM")
    monkeypatch.setattr("reverie.data.formats.find_spec", lambda name: None)
    assert opened(tmp_path / "in").unreadable == [
        ("b.tif", "needs tifffile: pip install 'reverie[formats]'"),
        ("c.dcm", "needs pydicom: pip install 'reverie[formats]'"),
    ]


def test_pages_of_a_tiff_are_pictures(opened: Opener, tmp_path: Path) -> None:
    pages = [Image.fromarray(words(i, 8, 8)) for i in range(3)]
    (tmp_path / "in").mkdir()
    pages[0].save(tmp_path / "in" / "a.tif", save_all=True, append_images=pages[1:])
    put(words(9, 8, 8), tmp_path / "in" / "b.png")
    dataset = opened(tmp_path / "in")
    assert list(dataset.names) == ["a.tif#0", "a.tif#1", "a.tif#2", "b.png"]
    assert np.array_equal(everything(dataset)[:, 0], [words(i, 8, 8) for i in (0, 1, 2, 9)])
    assert len(set(dataset.pack.index["draws"])) == 4  # type: ignore[attr-defined]
    assert len(opened(tmp_path / "in", limit=2)) == 2
    bands = np.stack([words(i, 6, 8, 7) for i in range(2)])
    (tmp_path / "bands").mkdir()
    tifffile.imwrite(tmp_path / "bands" / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    assert np.array_equal(everything(opened(tmp_path / "bands")), bands.transpose(0, 3, 1, 2))


def test_a_folder_of_arrays(opened: Opener, tmp_path: Path) -> None:
    arrays = np.random.default_rng(0).normal(0, 100, (4, 5, 20, 24)).astype(np.float32)
    for i, one in enumerate(arrays):
        put(one, tmp_path / "in" / "ab"[i % 2] / f"{i}.npy")
    dataset = opened(tmp_path / "in")
    assert dataset.image_spec.shape == (5, 20, 24)
    assert dataset.image_spec.classes == ("a", "b")
    assert as_in_files(dataset) == pytest.approx(arrays[[0, 2, 1, 3]], abs=1e-4)
    put(picture(1, 20, 24), tmp_path / "in" / "a" / "x.png")  # beside pictures they are no pictures
    mixed = opened(tmp_path / "in")
    assert (len(mixed), mixed.found["not pictures"]) == (1, {".npy": 4})


def test_dicom_is_rescaled(opened: Opener, tmp_path: Path) -> None:
    from pydicom.dataset import Dataset as Dicom
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    stored = words(1, 8, 8) % 4096
    (tmp_path / "in").mkdir()
    for kind in ("MONOCHROME2", "MONOCHROME1"):
        file = Dicom()
        file.file_meta = FileMetaDataset()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.file_meta.MediaStorageSOPClassUID, file.file_meta.MediaStorageSOPInstanceUID = "1.2.3", "1.2.4"
        file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 8, 8, 1, kind
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
        file.RescaleSlope, file.RescaleIntercept = "1", "-1024"
        file.PixelData = stored.tobytes()
        file.save_as(tmp_path / "in" / f"{kind}.dcm", enforce_file_format=True)
    dataset = opened(tmp_path / "in", range="-1000-3000")
    hounsfield = np.stack([4095 - stored.astype(int), stored]) - 1024.0
    assert as_in_files(dataset)[:, 0] == pytest.approx(hounsfield.clip(-1000, 3000), abs=0.5)


def test_heic_is_read(opened: Opener, tmp_path: Path) -> None:
    import pillow_heif

    (tmp_path / "in").mkdir()
    flat = np.full((64, 64, 3), (200, 100, 50), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(flat)).save(tmp_path / "in" / "a.heic", quality=95)
    found = everything(opened(tmp_path / "in"))
    assert np.abs(found[0, :, 32, 32].astype(int) - (200, 100, 50)).max() < 8


# Packs and tensors


@pytest.mark.parametrize("depth", [16, 32])
def test_encoded_pictures_of_any_depth_come_back(depth: int) -> None:
    plan = TargetFormat(3, 7, 11, "crop", Scale(depth, "integer", 3, 70))
    made = plan.scale.stored(np.random.default_rng(1).random((3, 7, 11), np.float32))
    assert made.dtype == plan.scale.dtype
    assert np.array_equal(unpacked(encode(made), plan), made)


def test_deep_data_too_large_for_raw_pixels_is_kept_encoded(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(3):
        put(words(i, 9, 8) % 1000, tmp_path / "in" / f"{i}.png")
        put(np.eye(8, dtype=np.uint8) * 3, tmp_path / "masks" / f"{i}.png")
    pages = [Image.fromarray(picture(i, 8, 8)) for i in range(3)]
    (tmp_path / "pages").mkdir()
    pages[0].save(tmp_path / "pages" / "a.tif", save_all=True, append_images=pages[1:])
    raw = {name: everything(opened(tmp_path / name)) for name in ("in", "masks", "pages")}
    monkeypatch.setattr("reverie.data.pack.RAW_LIMIT", 0)
    for name, wanted in raw.items():
        dataset = opener(tmp_path / "other")(tmp_path / name)
        assert dataset.pack.index["offsets"] is not None  # type: ignore[attr-defined]
        assert np.array_equal(everything(dataset), wanted)


def test_tensors_of_every_depth() -> None:
    for dtype, middle, top in ((np.uint8, 51, 255), (np.uint16, 13107, 65535), (np.float32, 0.2, 1)):
        pixels = np.array([[[[0, middle, top]]]], dtype)
        wanted = torch.tensor([-1, -0.6, 1])
        assert torch.allclose(to_tensor(pixels).flatten(), wanted)
        assert torch.equal(scaled(torch.from_numpy(pixels)), to_tensor(pixels))  # as data on a GPU is
    old = torch.from_numpy(np.arange(256, dtype=np.uint8).astype(np.float32) / np.float32(127.5) - 1)
    assert torch.equal(to_tensor(np.arange(256, dtype=np.uint8)), old)


def test_ordinary_pictures_are_what_they_were(opened: Opener, tmp_path: Path) -> None:
    """Fingerprints and pixels from before there was any depth: such runs can be resumed."""
    import hashlib

    for i in range(12):
        noise = np.random.default_rng(i).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        put(noise, tmp_path / "in" / "ab"[i % 2] / f"{i}.png")
    known = [
        ("digits", {}, "ae6b61c7797d83df4196b7450ac27052", "9ccc8dc90cb769e8"),
        (tmp_path / "in", {}, "1bff93a162aaee738110bec58c61b39a", "ed1b85df066a2083"),
        (tmp_path / "in", {"size": "8", "channels": "grey"}, "40e5782630584834e5b3ec8cc30517c1", "1cd943f725ad30ce"),
        ("digits", {"pair": "edges"}, "5ba7400e5a8469b8a2a07f956858d1d0", "fdf188b5fb427f6b"),
    ]
    for spec, options, fingerprint, pixels in known:
        dataset = opened(spec, **options)
        assert dataset.fingerprint == fingerprint
        if "size" not in options or int(PIL.__version__.split(".")[0]) >= 13:  # before, Pillow resized otherwise
            assert hashlib.blake2b(everything(dataset).tobytes(), digest_size=8).hexdigest() == pixels
        assert set(dataset.image_spec.scales) == {Scale()}
        assert not any("black" in note for note in dataset.found["notes"])


def test_other_scales_are_other_data(opened: Opener, tmp_path: Path) -> None:
    put(words(1, 8, 8), tmp_path / "in" / "a.png")
    kinds: list[dict[str, str]] = [{}, {"depth": "8"}, {"depth": "float"}, {"range": "0-4095"}]
    assert len({opened(tmp_path / "in", **kind).fingerprint for kind in kinds}) == 4


# Settings


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("0-4095", (0, 4095)),
        ("-1000-3000", (-1000, 3000)),
        ("-2--1", (-2, -1)),
        ("0.5-1e3", (0.5, 1000)),
        ("auto", None),
    ],
)
def test_ranges(text: str, wanted: tuple[float, float] | None) -> None:
    assert parse_range(text) == wanted


@pytest.mark.parametrize("wrong", ["", "5", "5-5", "9-1", "0-inf", "nan-1", "a-b", "0-1-2", "0-1e99", "autos"])
def test_ranges_that_make_no_sense(wrong: str) -> None:
    with pytest.raises(ReverieError, match=r"data\.range="):
        DataOptions(range=wrong)
    with pytest.raises(ReverieError, match=r"data\.depth cannot be '12'"):
        DataOptions(depth="12")


@given(
    st.sampled_from(sorted(FULL)),
    st.tuples(st.floats(-1e5, 1e5), st.floats(0.01, 1e5)),
    st.sampled_from([8, 16, 32]),
    st.lists(st.floats(0, 1), min_size=1, max_size=8),
)
def test_scales_lead_there_and_back(kind: Any, band: tuple[float, float], depth: int, units: list[float]) -> None:
    scale = Scale(depth, kind, band[0], band[0] + band[1])
    unit = np.array(units, np.float32)
    stored = scale.stored(unit)
    assert to_tensor(stored.reshape(1, 1, 1, -1)).flatten().numpy() == pytest.approx(
        unit * 2.0 - 1, abs=1e-6 if depth == 32 else 1.01 / (2**depth - 1)
    )
    if kind == "float":
        assert scale.unit(scale.values(unit)) == pytest.approx(unit, abs=1e-6)


# A run's scale


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 255), (0, 0.1), (-0.3, 0.7), (-1000, 3095), (5, 6)])
def test_float32_is_read_as_by_float64(low: float, high: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(low - 0.1, high + 0.1, 200_000).astype(np.float32)
    values[:7] = [low, high, 0, 1e-30, -1e-30, 1e-45, np.nan]
    wanted = ((values.astype(np.float64) - low) / (high - low)).clip(0, 1).astype(np.float32)
    assert np.array_equal(Scale(32, "float", low, high).unit(values), wanted, equal_nan=True)


def test_new_pictures_are_read_as_those_of_a_run() -> None:
    learned = Scale(16, "integer", 0, 4095)
    assert choose_scale({"integer": (0, 100)}, "auto", "auto", learned) == learned  # not stretched anew
    assert choose_scale({"integer": (0, 9), "byte": (0, 9)}, "8", "full", learned) == learned
    assert choose_scale({"byte": (0, 20)}, "auto", "auto", learned) == Scale(16, "byte", 0, 255)
    plain = Scale()
    assert choose_scale({"byte": (0, 20)}, "auto", "auto", plain) == plain  # a dark picture stays dark
    assert choose_scale({"integer": (0, 4000)}, "auto", "auto", plain) == Scale(8, "integer", 0, 4095)


def test_sides_have_their_own_black_and_white(opened: Opener, tmp_path: Path) -> None:
    mask, depths = np.eye(8, dtype=np.uint8), words(1, 8, 8) % 4096
    depths[0, :2] = 0, 4095
    for name in ("1", "2"):
        put(mask, tmp_path / "in" / "A" / f"{name}.png")
        put(depths, tmp_path / "in" / "B" / f"{name}.png")
    dataset = opened(tmp_path / "in", pair="folders")
    assert isinstance(dataset, Pairs)
    assert dataset.image_spec.scales == (Scale(16, "byte", 0, 1), Scale(16, "integer", 0, 4095))
    found = everything(dataset)
    assert found.dtype == np.uint16
    assert np.array_equal(found[0, 0], mask * np.uint16(65535))
    assert np.array_equal(found[0, 1], np.rint(depths / 4095 * 65535))
    swapped = opened(tmp_path / "in", pair="folders", swap=True)
    assert swapped.image_spec.scales == dataset.image_spec.scales[::-1]
    with pytest.raises(ReverieError, match=r"data.pair=edges makes pictures of 8 bits; leave out data.depth=16"):
        opened(tmp_path / "in", pair="edges", depth="16")
    assert everything(opened(tmp_path / "in" / "B", pair="edges")).dtype == np.uint8


# What is written


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngs_of_sixteen_bits(channels: int) -> None:
    array = words(channels, channels, 9, 6)
    image = Image.open(io.BytesIO(png16(array)))
    image.load()
    found = np.asarray(image)
    if channels == 1:
        assert np.array_equal(found, array[0])
    elif channels == 2:  # Pillow shows the upper byte
        assert np.array_equal(np.asarray(image.convert("LA")).transpose(2, 0, 1), array >> 8)
    else:
        made, _ = decode(png16(array), TargetFormat(channels, 9, 6, "crop", DEEP.scale))
        assert np.array_equal(made, array)


@given(low=st.integers(0, 60_000), span=st.integers(1, 5_535), seed=st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_results_are_written_in_the_values_of_the_files(
    tmp_path_factory: pytest.TempPathFactory, low: int, span: int, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("written")
    files = np.random.default_rng(seed).integers(low, low + span + 1, (1, 1, 6, 5)).astype(np.uint16)
    scale = Scale(16, "integer", low, low + span)
    images = torch.from_numpy(scale.unit(files)) * 2 - 1
    assert save_grid(images, folder / "grid.png", 1, scale) == []
    assert np.array_equal(np.asarray(Image.open(folder / "grid.png")), files[0, 0])
    assert suffix_of(scale, 1) == ".png"
    save_picture(images[0], folder / "one.png", scale)
    assert np.array_equal(np.asarray(Image.open(folder / "one.png")), files[0, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_floats_are_written_as_floats(tmp_path: Path, channels: int) -> None:
    scale = Scale(32, "float", -5, 15)
    unit = np.random.default_rng(1).random((channels, 6, 5), np.float32)
    images = torch.from_numpy(unit) * 2 - 1
    path = tmp_path / f"a{suffix_of(scale, channels)}"
    save_picture(images, path, scale)
    found = np.asarray(Image.open(path))[None] if channels == 1 else np.load(path)
    assert found.dtype == np.float32
    assert found == pytest.approx(unit * 20.0 - 5, abs=1e-5)
    notes = save_grid(images[None], tmp_path / "grid.png", 1, scale)
    assert notes == ["values from -5 to 15 are written as 0 to 65535"]
    grid, _ = decode((tmp_path / "grid.png").read_bytes(), TargetFormat(channels, 6, 5, "crop", DEEP.scale))
    assert grid == pytest.approx(unit * 65535, abs=1)


def test_a_range_that_was_asked_for_is_that_of_the_run_s_own_files() -> None:
    given = Scale(16, "integer", 0, 4095)
    read = choose_scale({"byte": (0.0, 255.0)}, "auto", "0-4095", given)
    assert (read.depth, read.low, read.high) == (16, 0, 255)


def test_grids_of_eight_bits_are_as_they_were(tmp_path: Path) -> None:
    images = to_tensor(picture(1, 2, 1, 6, 5))
    save_grid(images, tmp_path / "a.png", 2)
    save_grid(images, tmp_path / "b.png", 2, Scale(8, "byte", 0, 1))  # for people: not as dark as the file
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    deep = (picture(1, 2, 1, 6, 5).astype(np.uint16)) * 257
    save_grid(deep, tmp_path / "c.png", 2)  # contact sheets
    assert (tmp_path / "c.png").read_bytes() == (tmp_path / "a.png").read_bytes()
