"""Pairs of pictures: two sides that a source has, or that an operator makes of single pictures."""

from __future__ import annotations

import math
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage  # type: ignore[import-untyped]

from commands import fails, succeeds
from pictures import Opener, everything, fill, opener, picture
from reverie.data import DataOptions, Dataset, Pairs, contact_sheet, faces, open_dataset, pack, pair_operators
from reverie.data.decode import look
from reverie.data.loader import BatchLoader
from reverie.data.options import OPERATORS, SOURCES
from reverie.data.splits import SPLITS
from reverie.errors import ReverieError
from reverie.features.reference import fingerprint


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


def put(pixels: np.ndarray, path: Path, **options: Any) -> np.ndarray:
    """Save (H, W), (H, W, C) as a picture file; returns it as (C, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def sides(dataset: Dataset) -> tuple[Dataset, Dataset]:
    assert isinstance(dataset, Pairs)
    return dataset.side("a"), dataset.side("b")


def levels(dataset: Dataset) -> list[int]:
    """The first value of each picture: in these tests, pictures of one colour say so who they are."""
    return [int(value) for value in everything(dataset)[:, 0, 0, 0]]


def flat(folder: Path, **files: int) -> Path:
    """Grey 6 x 6 PNG files of one level each; ``__`` in a name stands for /."""
    for name, level in files.items():
        put(np.full((6, 6), level, np.uint8), folder / f"{name.replace('__', '/')}.png")
    return folder


def two_folders(folder: Path, count: int) -> Path:
    """Sides of ``count`` pictures called alike: grey 6 x 8 ones in A, RGB ones in B."""
    for i in range(count):
        put(picture(i, 6, 8), folder / "A" / f"{i:03}.png")
        put(picture(1000 + i, 6, 8, 3), folder / "B" / f"{i:03}.png")
    return folder


# Halves


def test_the_left_half_is_side_a_and_the_right_half_side_b(opened: Opener, tmp_path: Path) -> None:
    whole = [put(picture(i, 6, 10, 3), tmp_path / "in" / f"{i}.png") for i in range(3)]
    dataset = opened(tmp_path / "in", pair="halves")
    assert isinstance(dataset, Pairs)
    assert dataset.paired
    assert (dataset.image_spec.shape, dataset.image_spec.sides) == ((6, 6, 5), (3, 3))
    assert list(dataset.names) == ["0.png", "1.png", "2.png"]
    wanted = np.stack([np.concatenate([image[:, :, :5], image[:, :, 5:]]) for image in whole])
    assert np.array_equal(everything(dataset), wanted)
    assert np.array_equal(dataset.batch(np.array([2, 0, 2])), wanted[[2, 0, 2]])
    a, b = sides(dataset)
    assert (a.image_spec.shape, a.image_spec.sides, len(a)) == ((3, 6, 5), (), 3)
    assert np.array_equal(everything(b), wanted[:, 3:])


@pytest.mark.parametrize("size", ["16", "40x20", "12x30"])
@pytest.mark.parametrize("kind", ["png", "jpg", "large.jpg", "16.png", "16.tif", "palette.png", "clear.png", "1.png"])
def test_nothing_bleeds_over_the_seam(opened: Opener, tmp_path: Path, kind: str, size: str) -> None:
    """Each half of one colour stays so, however it is resized; the seam lies inside the blocks of a JPEG."""
    height, width = (300, 600) if kind == "large.jpg" else (20, 44)
    image: np.ndarray = np.zeros((height, width), np.uint8)
    image[:, width // 2 :] = 255
    options: dict[str, Any] = {}
    if "16" in kind:
        stored = Image.fromarray(image.astype(np.uint16) * 257)
    elif kind == "1.png":
        stored = Image.fromarray(image > 0)
    elif kind in ("palette.png", "clear.png"):
        stored = Image.fromarray(image.repeat(3).reshape(height, width, 3)).quantize(2)
        options = {"transparency": stored.getpixel((0, 0))} if kind == "clear.png" else {}
    else:
        stored = Image.fromarray(image)
        options = {"quality": 100} if kind.endswith("jpg") else {}
    (tmp_path / "in").mkdir()
    stored.save(tmp_path / "in" / f"a.{kind}", **options)
    dataset = opened(tmp_path / "in", pair="halves", size=size, fit="stretch")
    a, b = (everything(side)[0].astype(int) for side in sides(dataset))
    slack = 12 if kind.endswith("jpg") else 0
    if kind == "clear.png":
        assert (a[3].max(), b[3].min()) == (0, 255)
    else:
        assert a.max() <= slack
    assert b.min() >= 255 - slack
    assert dataset.found["bits of A"] == {"16" if "16" in kind else "1" if kind == "1.png" else "8": 1}


def test_halves_of_sixteen_bits_keep_their_values(opened: Opener, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 96).astype(np.uint16).reshape(8, 12)
    for kind in ("png", "tif"):
        put(ramp, tmp_path / kind / f"a.{kind}")
        a, b = sides(opened(tmp_path / kind, pair="halves", range="full"))
        assert np.array_equal(everything(a)[0, 0], ramp[:, :6])
        assert np.array_equal(everything(b)[0, 0], ramp[:, 6:])


def test_a_shade_of_grey_that_is_declared_clear_is_alpha(opened: Opener, tmp_path: Path) -> None:
    """Of 16 bits as of 8, in each half; over white where alpha is not wanted."""
    for deep in (False, True):
        ramp = np.arange(8).repeat(2).reshape(2, 8).astype(np.uint16 if deep else np.uint8) * (8000 if deep else 30)
        folder = tmp_path / str(deep)
        put(ramp, folder / "a.png", transparency=int(ramp[1, 3]))
        white = 65535 if deep else 255
        a, b = sides(opened(folder, pair="halves"))
        assert a.image_spec.channels == 2
        whole = np.concatenate([everything(a)[0], everything(b)[0]], 2)
        assert np.array_equal(whole, [ramp, (ramp != ramp[1, 3]) * white])
        grey, _ = sides(opened(folder, pair="halves", channels="grey"))
        assert np.array_equal(everything(grey)[0, 0], np.where(ramp == ramp[1, 3], white, ramp)[:, :4])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_halves_are_those_of_the_upright_picture(opened: Opener, tmp_path: Path, orientation: int) -> None:
    upright = picture(0, 6, 10, 3)
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # what stores it such that the orientation restores it
    image = Image.fromarray(upright)
    stored = image.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else image
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "in").mkdir()
    stored.save(tmp_path / "in" / "a.png", exif=exif)
    seen = look((tmp_path / "in" / "a.png").read_bytes(), "left")
    assert (seen.height, seen.width) == (6, 5)
    a, b = sides(opened(tmp_path / "in", pair="halves"))
    assert np.array_equal(everything(a)[0], upright[:, :5].transpose(2, 0, 1))
    assert np.array_equal(everything(b)[0], upright[:, 5:].transpose(2, 0, 1))


def test_odd_widths_have_no_halves(opened: Opener, tmp_path: Path) -> None:
    put(picture(0, 6, 9, 3), tmp_path / "in" / "odd.png")
    with pytest.raises(ReverieError, match=r"odd\.png .9 pixels wide, and only an even width has two halves"):
        opened(tmp_path / "in", pair="halves")
    put(picture(1, 6, 10, 3), tmp_path / "in" / "even.png")
    dataset = opened(tmp_path / "in", pair="halves")
    assert list(dataset.names) == ["even.png"]
    assert dataset.image_spec.shape == (6, 6, 5)  # the odd one has no say
    assert dataset.unreadable == [("odd.png", "9 pixels wide, and only an even width has two halves")]
    assert dataset.found["unreadable"] == 1
    assert opened(tmp_path / "in", pair="halves").unreadable == dataset.unreadable  # from the cache too


@pytest.mark.parametrize(
    ("shapes", "size"), [([(70, 140), (90, 180)], (64, 64)), ([(40, 140)], (40, 70)), ([(300, 90)] * 2, (300, 45))]
)
def test_the_automatic_size_is_that_of_the_halves(
    opened: Opener, tmp_path: Path, shapes: list[tuple[int, int]], size: tuple[int, int]
) -> None:
    for i, shape in enumerate(shapes):
        put(picture(i, *shape), tmp_path / "in" / f"{i}.png")
    assert opened(tmp_path / "in", pair="halves").image_spec.shape == (2, *size)


def test_halves_keep_the_classes_and_splits_of_their_folders(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "train/x/1.png", "train/y/2.png", "val/x/3.png", "test/y/4.png")
    dataset = opened(folder, pair="halves")
    assert dataset.image_spec.classes == ("x", "y")
    assert dataset.labels is not None
    assert dict(zip(dataset.names, dataset.labels, strict=True)) == {
        "test/y/4.png": 1,
        "train/x/1.png": 0,
        "train/y/2.png": 1,
        "val/x/3.png": 0,
    }
    assert list(dataset.split("validation").names) == ["val/x/3.png"]
    assert dataset.split("test").labels is not None
    assert [len(side) for side in sides(dataset.split("test"))] == [1, 1]
    assert dataset.found["splits"] == {"train": 2, "validation": 1, "test": 1}


def test_a_pair_needs_both_halves(opened: Opener, tmp_path: Path) -> None:
    for i, (left, right) in enumerate([(0.2, 0.4), (0.6, math.nan), (0.8, 1.0), (math.inf, 0.0)]):
        image = np.full((6, 12), left, np.float32)
        image[:, 6:] = right
        put(image, tmp_path / "in" / f"{i}.tif")
    dataset = opened(tmp_path / "in", pair="halves")
    assert list(dataset.names) == ["0.tif", "2.tif"]
    assert everything(dataset)[:, :, 0, 0] == pytest.approx(np.array([[0.2, 0.4], [0.8, 1]]))
    assert [len(side) for side in sides(dataset)] == [2, 2]
    assert [name for name, _ in dataset.unreadable] == ["1.tif", "3.tif"]
    assert dataset.found["pictures"] == 2
    Path(tmp_path / "in" / "0.tif").unlink()
    Path(tmp_path / "in" / "2.tif").unlink()
    with pytest.raises(ReverieError, match=r"No pair in .* can be read on both sides; .* 3.tif .values from inf"):
        opened(tmp_path / "in", pair="halves")


def test_halves_of_arrays(opened: Opener, tmp_path: Path) -> None:
    images = picture(0, 20, 6, 40, 3)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(20) % 3)
    dataset = opened(tmp_path / "a.npz", pair="halves")
    assert dataset.image_spec.shape == (6, 6, 20)
    assert dataset.image_spec.classes == ("0", "1", "2")
    wanted = images.transpose(0, 3, 1, 2)
    assert np.array_equal(everything(dataset), np.concatenate([wanted[..., :20], wanted[..., 20:]], 1))
    assert len({side.fingerprint for side in sides(dataset)}) == 2
    np.savez(tmp_path / "odd.npz", images=picture(0, 5, 20, 21))
    with pytest.raises(ReverieError, match="21 pixels wide; halves need an even width"):
        opened(tmp_path / "odd.npz", pair="halves")


def test_halves_too_large_for_raw_pixels_are_kept_encoded(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        put(picture(i, 40, 60, 3), tmp_path / "in" / f"{i}.png")
    raw = opened(tmp_path / "in", pair="halves", size="80")  # larger than the files, which must not be kept whole
    monkeypatch.setattr(pack, "RAW_LIMIT", 1000)
    stored = open_dataset(str(tmp_path / "in"), DataOptions(pair="halves", size="80"), cache=tmp_path / "other")
    assert np.array_equal(everything(stored), everything(raw))
    assert stored.fingerprint == raw.fingerprint


# Two folders


@pytest.mark.parametrize(
    ("folders", "own"),
    [
        (("A/{}", "B/{}"), False),
        (("data/photos/{}", "data/sketches/{}"), False),
        (("trainA/{}", "trainB/{}", "valA/{}", "valB/{}", "testA/{}", "testB/{}"), True),
        (("wrap/A/train/{}", "wrap/B/train/{}", "wrap/A/val/{}", "wrap/B/val/{}", "wrap/A/test/{}", "wrap/B/test/{}"),
         True),
        (("train/day/{}", "train/night/{}", "val/day/{}", "val/night/{}", "test/day/{}", "test/night/{}"), True),
    ],
)  # fmt: skip
def test_folders_for_each_side(opened: Opener, tmp_path: Path, folders: tuple[str, ...], own: bool) -> None:
    """Above or below the split's folder, or one with it; equal names in several splits do not mix."""
    for i, folder in enumerate(folders):
        for j, name in enumerate(("deep/one", "two", "three")):
            put(np.full((6, 6), 20 * i + j, np.uint8), tmp_path / "in" / f"{folder.format(name)}.png")
    dataset = opened(tmp_path / "in", pair="folders", range="full")
    assert isinstance(dataset, Pairs)
    assert dataset.paired
    assert len(dataset) == 3 * len(folders) // 2
    assert not dataset.unreadable
    for a, b in everything(dataset)[:, :, 0, 0].astype(int):
        assert b - a == 20
        assert a // 20 % 2 == 0
    if own:
        for i, split in enumerate(SPLITS):
            assert sorted(levels(dataset.split(split))) == [40 * i, 40 * i + 1, 40 * i + 2]


def test_each_folder_has_its_own_channels_and_files(opened: Opener, tmp_path: Path) -> None:
    grey = put(picture(0, 40, 50), tmp_path / "in" / "A" / "x.png")
    colour = put(picture(1, 24, 30, 3), tmp_path / "in" / "B" / "x.tif")
    dataset = opened(tmp_path / "in", pair="folders")
    assert (dataset.image_spec.shape, dataset.image_spec.sides) == ((4, 24, 30), (1, 3))  # at the size of side B
    assert list(dataset.names) == ["A/x.png and B/x.tif"]
    a, b = sides(dataset)
    assert (a.image_spec.shape, b.image_spec.shape) == ((1, 24, 30), (3, 24, 30))
    assert np.array_equal(everything(b)[0], colour)
    swapped = opened(tmp_path / "in", pair="folders", swap=True)
    assert (swapped.image_spec.shape, swapped.image_spec.sides) == ((4, 24, 30), (3, 1))
    exact = opened(tmp_path / "in", pair="folders", size="40x50", channels="grey")
    assert exact.image_spec.sides == (1, 1)
    assert np.array_equal(everything(exact)[0, :1], grey)


def test_files_without_a_partner_are_listed(opened: Opener, tmp_path: Path) -> None:
    folder = flat(tmp_path / "in", A__1=1, A__2=2, A__x=3, B__1=11, B__X=13, B__3=14, B__c__1=15)
    put(picture(), folder / "A" / "1.tif")
    (folder / "B" / "2.png").write_text("no picture")
    dataset = opened(folder, pair="folders", range="full")
    assert everything(dataset)[:, :, 0, 0].tolist() == [[1, 11]]
    why = dict(dataset.unreadable)
    assert why.pop("B/2.png") == "not a picture, or of a format that cannot be read"
    assert why.pop("A/1.tif") == "differs from A/1.png in its extension alone"
    assert why == dict.fromkeys(
        ("A/2.png", "A/x.png", "B/X.png", "B/3.png", "B/c/1.png"), "has no partner on the other side"
    )
    assert dataset.found["unreadable"] == 7
    assert opened(folder, pair="folders").unreadable == dataset.unreadable


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (("A/1", "B/2"), "No picture in A has the name of one in B, as .* there are A/1.png and B/2.png"),
        (("a/1", "b/1", "c/1"), "exactly two folders, one for each side; .* has 3: a, b, c"),
        (("A/1", "A/2"), "exactly two folders, one for each side; those in .*, such as A/1.png, lie in no such two"),
        (("1", "2"), "exactly two folders, .* such as 1.png, lie in no such two"),
        (("train/A/1", "test/A/2"), "exactly two folders, .* such as test/A/2.png, lie in no such two"),
        (("train/1", "test/1"), "exactly two folders, .* such as test/1.png, lie in no such two"),
        (("A/1", "B/1", "cover"), "exactly two folders, .*; cover.png in .* lies in neither"),
        ((), "There are no pictures in .*, only other files .1 .txt"),
    ],
)
def test_folders_that_make_no_pairs(opened: Opener, tmp_path: Path, files: tuple[str, ...], sentence: str) -> None:
    fill(tmp_path / "in", *(f"{name}.png" for name in files))
    (tmp_path / "in" / "B").mkdir(parents=True, exist_ok=True)
    (tmp_path / "in" / "B" / "notes.txt").write_text("an empty side")
    with pytest.raises(ReverieError, match=sentence):
        opened(tmp_path / "in", pair="folders")
    assert not list((tmp_path / "cache").glob("*[!r]"))  # but for the ledger


def test_arrays_have_no_folders(opened: Opener) -> None:
    with pytest.raises(ReverieError, match="digits has no folders to pair"):
        opened("digits", pair="folders")


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_archives_of_two_folders(opened: Opener, tmp_path: Path, kind: str) -> None:
    """In any order of their members."""
    folder = two_folders(tmp_path / "in", 6)
    names = [f"{side}/{i:03}.png" for i, side in [(3, "B"), (0, "A"), (1, "B"), (3, "A"), (0, "B"), (1, "A")]]
    if kind == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for name in names:
                archive.write(folder / name, f"wrap/{name}")
    else:
        with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as tar:
            for name in names:
                tar.add(folder / name, f"wrap/{name}")
    dataset = opened(tmp_path / f"a.{kind}", pair="folders")
    found = {name[-7:-4]: pixels for name, pixels in zip(dataset.names, everything(dataset), strict=True)}
    assert set(found) == {"000", "001", "003"}
    wanted = everything(opened(folder, pair="folders"))
    assert all(np.array_equal(pixels, wanted[int(name)]) for name, pixels in found.items())


@pytest.mark.parametrize("pair", ["folders", "halves", "unpaired", "invert"])
def test_a_limit_bounds_the_pairs_and_parts_none(opened: Opener, tmp_path: Path, pair: str) -> None:
    folder = two_folders(tmp_path / "in", 20)
    channels = "rgb" if pair in ("halves", "invert") else "auto"
    everyone = opened(folder, pair=pair, channels=channels)
    some = opened(folder, pair=pair, channels=channels, limit=7)
    assert len(some) == 7
    assert max(len(side) for side in sides(some)) == 7
    known = {pixels.tobytes() for pixels in everything(everyone)}
    if pair != "unpaired":
        assert {pixels.tobytes() for pixels in everything(some)} <= known


def test_pairs_stay_together_and_more_files_move_none(opened: Opener, tmp_path: Path) -> None:
    folder = two_folders(tmp_path / "in", 120)
    options = {"pair": "folders", "validation": 0.3, "test": 0.3}

    def split_of(dataset: Dataset) -> dict[bytes, str]:
        return {pixels.tobytes(): which for which in SPLITS for pixels in everything(dataset.split(which))}

    few = opened(folder, **options)
    before = split_of(few)
    assert set(before) == {pixels.tobytes() for pixels in everything(few)}
    assert len(before) == 120
    assert min(list(before.values()).count(which) for which in SPLITS) > 15
    two_folders(folder, 200)
    after = split_of(opened(folder, **options))
    assert len(after) == 200
    assert {pixels: after[pixels] for pixels in before} == before
    swapped = opened(folder, swap=True, **options)
    turned = {pixels[-48:] + pixels[:-48]: which for pixels, which in split_of(swapped).items()}
    assert turned == after  # swapping moves none either


# Unpaired


def test_unpaired_faces_by_class(opened: Opener) -> None:
    dataset, plain = opened("faces:16", pair="unpaired", count=300), opened("faces:16", count=300)
    assert isinstance(dataset, Pairs)
    assert not dataset.paired
    assert dataset.labels is None
    assert dataset.factors is None
    assert dataset.image_spec.sides == (3, 3)
    assert dataset.image_spec.classes == ()
    a, b = sides(dataset)
    assert plain.labels is not None
    pixels = everything(plain)
    assert np.array_equal(everything(a), pixels[plain.labels == 0])
    assert np.array_equal(everything(b), pixels[plain.labels == 1])
    assert a.factors is not None
    assert a.factors["glasses"].max() == 0
    assert list(b.names) == [str(i) for i in np.flatnonzero(plain.labels == 1)]
    assert len(a) != len(b)
    assert len(dataset) == max(len(a), len(b))
    last = len(dataset) - 1
    pair = dataset.batch(np.array([last]))[0]
    assert np.array_equal(pair[:3], a.batch(np.array([last % len(a)]))[0])
    assert np.array_equal(pair[3:], b.batch(np.array([last % len(b)]))[0])
    assert dataset.names[last] == f"{a.names[last % len(a)]} and {b.names[last % len(b)]}"
    for which in SPLITS:
        part = dataset.split(which)
        assert [len(side) for side in sides(part)] == [len(side.split(which)) for side in (a, b)]


def test_unpaired_folders_need_no_partners(opened: Opener, tmp_path: Path) -> None:
    folder = flat(
        tmp_path / "in", trainA__1=1, trainA__2=2, trainA__3=3, trainB__9=9, testA__5=5, testB__6=6, testB__7=7
    )
    put(np.full((20, 20, 3), 9, np.uint8), folder / "trainB" / "9.png")
    dataset = opened(folder, pair="unpaired", size="6", channels="grey", range="full")
    train, test = dataset.split("train"), dataset.split("test")
    assert everything(train)[:, :, 0, 0].tolist() == [[1, 9], [2, 9], [3, 9]]
    assert everything(test)[:, :, 0, 0].tolist() == [[5, 6], [5, 7]]
    assert [levels(side) for side in sides(train)] == [[1, 2, 3], [9]]
    assert not dataset.unreadable
    assert dataset.found["splits"] == {"train": 3, "validation": 3, "test": 2}
    with pytest.raises(ReverieError, match="differ in their channels"):
        opened(folder, pair="unpaired")


def test_unpaired_sides_are_divided_each_for_itself(opened: Opener, tmp_path: Path) -> None:
    folder = two_folders(tmp_path / "in", 60)
    options = {"pair": "unpaired", "validation": 0.3, "test": 0.3}
    before = [everything(side.split("test")) for side in sides(opened(folder, **options))]
    for i in range(60, 90):
        put(picture(i, 6, 8), folder / "A" / f"{i:03}.png")
    dataset = opened(folder, **options)
    a, b = sides(dataset)
    assert np.array_equal(everything(b.split("test")), before[1])
    assert len(a.split("test")) > len(before[0])
    assert len(dataset) == 90
    assert dataset.image_spec.sides == (1, 3)


def test_unpaired_classes_of_arrays(opened: Opener, tmp_path: Path) -> None:
    names = np.array(["dog", "cat", "dog"])[np.arange(30) % 3]
    images = picture(1, 30, 8, 9)
    np.savez(tmp_path / "a.npz", train_images=images[:20], train_labels=names[:20], test_images=images[20:],
             test_labels=names[20:])  # fmt: skip
    dataset = opened(tmp_path / "a.npz", pair="unpaired")
    a, b = sides(dataset)
    assert [list(side.names) for side in sides(dataset.split("test"))] == [
        [str(i) for i in range(20, 30) if names[i] == name] for name in ("cat", "dog")
    ]
    assert np.array_equal(everything(a)[:, 0], images[names == "cat"])
    assert np.array_equal(everything(b)[:, 0], images[names == "dog"])
    assert [len(side) for side in sides(opened(tmp_path / "a.npz", pair="unpaired", limit=6))] == [6, 6]


def test_unpaired_classes_of_the_hub(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ant"])})
    folder = flat(tmp_path / "in", **{f"l{i}": 10 * i for i in range(9)})
    (tmp_path / "repo").mkdir()
    for split, numbers in (("train", range(6)), ("test", range(6, 9))):
        rows = [{"img": {"bytes": (folder / f"l{i}.png").read_bytes(), "path": None}, "label": i % 2} for i in numbers]
        datasets.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "repo" / f"{split}.parquet")
    dataset = opened(f"hf:{tmp_path / 'repo'}", pair="unpaired")
    assert [levels(side) for side in sides(dataset.split("test"))] == [[60, 80], [70]]  # zebra comes first
    assert [levels(side) for side in sides(dataset.split("all"))] == [[0, 20, 40, 60, 80], [10, 30, 50, 70]]


@pytest.mark.parametrize(
    ("spec", "options", "sentence"),
    [
        ("digits", {}, "takes two folders or exactly two classes, one for each side; digits has 10 classes"),
        ("faces:8", {"count": 1}, "faces:8 has 1 class"),
        ("three", {}, "three has 3 classes"),
        ("none", {}, "none has no classes"),
    ],
)
def test_unpaired_needs_two_kinds(
    opened: Opener, tmp_path: Path, spec: str, options: dict[str, Any], sentence: str
) -> None:
    fill(tmp_path / "three", "a/1.png", "b/1.png", "c/1.png")
    fill(tmp_path / "none", "1.png", "2.png")
    with pytest.raises(ReverieError, match=sentence):
        opened(tmp_path / spec if (tmp_path / spec).exists() else spec, pair="unpaired", **options)


# Operators

MAKERS = {
    f"{side}-{name}": maker for side in "ab" for name, maker in getattr(pair_operators, f"SIDE_{side.upper()}").items()
}
SMALLER = {"edges": 1, "grey": 1, "colour": 1}  # channels of side A, where not the picture's
CHANNELS = st.sampled_from([1, 2, 3, 4, 5, 6, 16])


def test_every_operator_that_can_be_asked_for_is_there() -> None:
    assert {*pair_operators.SIDE_A, "labels"} == set(OPERATORS)


@given(
    channels=CHANNELS,
    height=st.integers(1, 11),
    width=st.integers(1, 11),
    count=st.integers(0, 5),
    name=st.sampled_from(sorted(MAKERS)),
    seed=st.integers(0, 2**30),
)
@settings(max_examples=300, deadline=None)
def test_an_operator_knows_one_picture_at_a_time(
    channels: int, height: int, width: int, count: int, name: str, seed: int
) -> None:
    pictures, numbers = picture(seed, count, channels, height, width), np.arange(seed, seed + count)
    given = pictures.copy()
    made = MAKERS[name](pictures, numbers)
    assert np.array_equal(given, pictures)
    assert made.dtype == np.uint8
    side, _, kind = name.partition("-")
    assert made.shape == (count, 3 if side == "b" else SMALLER.get(kind, channels), height, width)
    order = np.random.default_rng(seed).permutation(count)
    assert np.array_equal(MAKERS[name](pictures[order], numbers[order]), made[order])
    for i in range(count):
        assert np.array_equal(MAKERS[name](pictures[i : i + 1], numbers[i : i + 1])[0], made[i])


def whitened(pictures: np.ndarray) -> np.ndarray:
    """The colours over white, unrounded: (n, c, H, W)."""
    if pictures.shape[1] not in (2, 4):
        return pictures.astype(np.float64)
    alpha = pictures[:, -1:] / 255
    return pictures[:, :-1] * alpha + 255 * (1 - alpha)


@given(channels=CHANNELS, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_grey_is_luminance(channels: int, seed: int) -> None:
    pictures = picture(seed, 2, channels, 7, 5)
    made = pair_operators.grey(pictures, np.arange(2))
    colours = whitened(pictures)
    weights = np.array([0.299, 0.587, 0.114]) if channels in (3, 4) else np.full(colours.shape[1], 1 / colours.shape[1])
    assert np.abs(made[:, 0] - np.einsum("c,nchw->nhw", weights, colours)).max() <= (
        1.01 if channels in (2, 4) else 0.51
    )
    if channels == 1:
        assert np.array_equal(made, pictures)


def test_grey_is_that_of_pillow_to_the_bit() -> None:
    colours = picture(0, 1000, 1000, 3)
    made = pair_operators.grey(colours.transpose(2, 0, 1)[None], np.arange(1))
    assert np.array_equal(made[0, 0], np.asarray(Image.fromarray(colours).convert("L")))


@given(height=st.integers(1, 12), width=st.integers(1, 12), seed=st.integers(0, 99), channels=CHANNELS)
@settings(max_examples=40, deadline=None)
def test_edges_are_the_gradient_of_sobel(height: int, width: int, seed: int, channels: int) -> None:
    pictures = picture(seed, 2, channels, height, width)
    made = pair_operators.edges(pictures, np.arange(2))
    light = pair_operators.grey(pictures, np.arange(2))[:, 0].astype(np.float64)
    gradient = [np.hypot(*(ndimage.sobel(one, axis, mode="nearest") for axis in (0, 1))) for one in light]
    assert np.abs(made[:, 0] - (255 - np.array(gradient) / 2).clip(0)).max() <= 0.51


def test_edges_are_dark_lines_on_white() -> None:
    step = np.zeros((1, 3, 9, 8), np.uint8)
    step[:, :, :, 5:] = 128
    made = pair_operators.edges(step, np.arange(1))[0, 0]
    assert (made[:, 4:6] == 0).all()
    assert (np.delete(made, [4, 5], 1) == 255).all()


@given(height=st.integers(1, 70), width=st.integers(1, 70), channels=CHANNELS)
@settings(max_examples=30, deadline=None)
def test_blur_is_gaussian(height: int, width: int, channels: int) -> None:
    pictures = picture(height, 1, channels, height, width)
    sigma = min(height, width) / 32
    reach = int(np.ceil(3 * sigma))
    wanted = ndimage.gaussian_filter(pictures.astype(np.float64), (0, 0, sigma, sigma), mode="nearest", radius=reach)
    assert np.abs(pair_operators.blur(pictures, np.arange(1)) - wanted).max() <= 0.51


@given(height=st.integers(1, 40), width=st.integers(1, 40), channels=CHANNELS, number=st.integers(0, 10**9))
@settings(max_examples=80, deadline=None)
def test_the_mask_is_a_square_of_a_quarter_of_the_area(height: int, width: int, channels: int, number: int) -> None:
    white = np.full((1, channels, height, width), 255, np.uint8)
    made = pair_operators.mask(white, np.array([number]))[0]
    hole = made[0] == 128
    rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
    side = len(rows)
    assert hole.sum() == side * len(columns) == side**2
    assert rows[-1] - rows[0] + 1 == columns[-1] - columns[0] + 1 == side
    if max(height, width) <= 4 * min(height, width):
        assert abs(side - np.sqrt(height * width) / 2) <= 0.5
    else:
        assert side == min(height, width)
    assert (made[:, ~hole] == 255).all()
    last = 255 if channels in (2, 4) else 128  # the hole is opaque
    assert (made[-1][hole] == last).all()


def test_the_mask_goes_everywhere() -> None:
    black = np.zeros((400, 1, 8, 12), np.uint8)
    holes = pair_operators.mask(black, np.arange(400))[:, 0] == 128
    tops, lefts = holes.any(2).argmax(1), holes.any(1).argmax(1)
    places = {(int(top), int(left)) for top, left in zip(tops, lefts, strict=True)}
    side = int(np.sqrt(holes[0].sum()))
    assert places == {(top, left) for top in range(8 - side + 1) for left in range(12 - side + 1)}
    cleared = pair_operators.mask(np.zeros((1, 4, 8, 8), np.uint8), np.arange(1))
    assert (cleared[0, 3] == 255).sum() == 16


@given(height=st.integers(1, 14), width=st.integers(1, 14), channels=CHANNELS)
@settings(max_examples=40, deadline=None)
def test_downscale_is_the_mean_of_blocks(height: int, width: int, channels: int) -> None:
    pictures = picture(width, 1, channels, height, width)
    made = pair_operators.downscale(pictures, np.arange(1))
    for top in range(0, height, 4):
        for left in range(0, width, 4):
            block = (..., slice(top, top + 4), slice(left, left + 4))
            assert np.abs(made[block] - pictures[block].mean((2, 3), keepdims=True)).max() <= 0.5


def test_night_is_darker_bluer_and_dark_in_the_corners() -> None:
    grey = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None, None], (256, 4, 9, 15))
    made = pair_operators.night(grey, np.arange(256))
    assert np.array_equal(made[:, 3], grey[:, 3])  # alpha stays
    day, dark = grey[:, 0, 4, 7].astype(int), made[:, :3, 4, 7].astype(int)
    assert (np.diff(dark, axis=0) >= 0).all()
    assert (dark <= 0.85 * day[:, None] + 0.5).all()
    assert (dark[50:, 0] < dark[50:, 1]).all()
    assert (dark[50:, 1] < dark[50:, 2]).all()
    assert dark[255].tolist() == [102, 128, 217]
    assert made[255, 2, 0, 0] < 0.6 * 217
    assert np.array_equal(made, made[:, :, ::-1])
    assert np.array_equal(made, made[..., ::-1])
    single = pair_operators.night(grey[:, :1, :1, :1], np.arange(256))[:, 0, 0, 0]
    assert (single[0], single[255]) == (0, 140)


@given(channels=CHANNELS, seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_invert_turns_colours_and_leaves_alpha(channels: int, seed: int) -> None:
    pictures = picture(seed, 3, channels, 4, 5)
    made = pair_operators.invert(pictures, np.arange(3))
    colours = channels - (channels in (2, 4))
    assert np.array_equal(made[:, :colours], 255 - pictures[:, :colours])
    assert np.array_equal(made[:, colours:], pictures[:, colours:])


def test_tint_is_bright_ink_on_black() -> None:
    levels = np.tile(np.arange(256, dtype=np.uint8), (300, 1, 1, 1))
    made = pair_operators.tint(levels, np.arange(300))
    assert (made[..., 0] == 0).all()
    hues = made[:, :, 0, 255].astype(int)
    assert (hues.max(1) == 255).all()
    assert (hues.min(1) == 0).all()
    assert np.abs(made[:, :, 0] - hues[:, :, None] * np.arange(256) / 255).max() <= 1
    assert len(np.unique(hues, axis=0)) == 300
    strongest = np.bincount(hues.argmax(1), minlength=3)
    assert strongest.min() > 90  # no hue is favoured


def test_pairs_made_of_single_pictures(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "x/1.png", "x/2.png", "y/3.png", "y/4.png")
    plain = opened(folder)
    pixels = everything(plain)
    for name in pair_operators.SIDE_A:
        dataset = opened(folder, pair=name)
        assert isinstance(dataset, Pairs)
        a, b = sides(dataset)
        wanted = getattr(pair_operators, "grey" if name == "colour" else name)(pixels, np.arange(4))
        assert np.array_equal(everything(a), wanted)
        wanted_b = pair_operators.tint(pixels, np.arange(4)) if name == "colour" else pixels
        assert np.array_equal(everything(dataset), np.concatenate([wanted, wanted_b], 1))
        assert dataset.image_spec.sides == (wanted.shape[1], 3)
        assert a.image_spec.shape == wanted.shape[1:]
        assert np.array_equal(everything(b), wanted_b)
        for one in (dataset, a, b):
            assert list(one.names) == list(plain.names)
            assert one.image_spec.classes == ("x", "y")
            assert one.labels is not None
            assert one.labels.tolist() == [0, 0, 1, 1]
            assert one.unreadable == []
    (path,) = (tmp_path / "cache").glob("*.pack")  # they all share the pack of the single pictures
    assert path.suffix == ".pack"


@pytest.mark.parametrize("pair", ["mask", "colour", "labels"])
def test_what_hangs_on_a_number_is_the_same_in_every_split(opened: Opener, pair: str) -> None:
    dataset = opened("faces:12", pair=pair, count=80, limit=60, validation=0.2, test=0.2)
    pixels = dict(zip(dataset.names, everything(dataset), strict=True))
    for which in SPLITS:
        part = dataset.split(which)
        assert len(part) < 60
        for name, one in zip(part.names, everything(part), strict=True):
            assert np.array_equal(one, pixels[name])
    assert dataset.factors is not None
    assert dataset.factors["smile"].shape == (60,)


def test_large_batches_go_through_in_portions(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = everything(opened("digits", pair="mask", limit=40))
    monkeypatch.setattr("reverie.data.pairs.PORTION", 7)
    assert np.array_equal(everything(opened("digits", pair="mask", limit=40)), whole)


def test_digits_and_coloured_digits(opened: Opener) -> None:
    dataset = opened("digits", pair="colour", limit=50)
    assert dataset.image_spec.sides == (1, 3)
    pixels = everything(dataset).astype(int)
    assert np.array_equal(pixels[:, 1:].max(1), pixels[:, 0])
    assert len(dataset.image_spec.classes) == 10


# Label maps


def row(**values: float) -> np.ndarray:
    """One neutral face with some factors set: (1, len(FACTORS))."""
    neutral = {"hair_style": 1, "eye_open": 0.8} | values
    middle = {f.name: 0 if f.values else (f.low + f.high) / 2 for f in faces.FACTORS}
    return np.array([list((middle | neutral).values())], np.float32)


def parts(rows: np.ndarray, height: int = 64, width: int = 64) -> np.ndarray:
    """The number of the part at each pixel: (N, height, width)."""
    maps = faces.render_labels(rows, height, width)
    matches = (maps[:, None] == faces.PART_COLOURS[None, :, :, None, None]).all(2)
    assert (matches.sum(1) == 1).all()  # every pixel is of exactly one of the colours
    return np.asarray(matches.argmax(1))


PART = {name: number for number, name in enumerate(faces.PARTS)}


@pytest.mark.parametrize(("height", "width"), [(8, 8), (64, 64), (31, 50)])
def test_label_maps_hold_nothing_but_their_colours(height: int, width: int) -> None:
    rows = faces.draw_factors(np.arange(60))
    found = parts(rows, height, width)
    order = np.random.default_rng(0).permutation(60)
    assert np.array_equal(parts(rows[order], height, width), found[order])
    assert np.array_equal(parts(rows[7:8], height, width)[0], found[7])
    distances = np.abs(faces.PART_COLOURS[:, None].astype(int) - faces.PART_COLOURS[None]).max(2)
    assert distances[~np.eye(len(PART), dtype=bool)].min() >= 127
    with pytest.raises(ReverieError, match="at least 8 pixels"):
        faces.render_labels(rows, 7, 64)


def test_a_part_covers_as_much_at_every_size() -> None:
    """It owns the pixels that it covers by half, no more and no fewer."""
    rows = faces.draw_factors(np.arange(100))
    shares = [np.bincount(parts(rows, size, size).ravel(), minlength=len(PART)) / size**2 for size in (32, 128)]
    assert np.abs(shares[0] - shares[1]).max() / len(rows) < 0.005


def test_what_is_labelled_background_is_what_the_background_colours() -> None:
    rows = faces.draw_factors(np.arange(40))
    backdrops = [rows.copy(), rows.copy()]
    for value, each in enumerate(backdrops):
        each[:, [f.name for f in faces.FACTORS].index("background")] = value
    changed = np.abs(np.subtract(*(faces.render(each, 64, 64).astype(int) for each in backdrops))).max(1) > 4
    background = parts(rows) == PART["background"]
    assert np.array_equal(parts(backdrops[0]), parts(backdrops[1]))
    assert changed[background].all()
    inside = ~np.stack([ndimage.binary_dilation(each, np.ones((3, 3))) for each in background])
    assert changed[inside].mean() < 1e-3  # it shines through a seam between two parts, here and there
    assert 0.2 < background.mean() < 0.8


def test_only_who_wears_glasses_has_the_part() -> None:
    rows = faces.draw_factors(np.arange(200))
    worn = (parts(rows) == PART["glasses"]).sum((1, 2))
    wears = faces.labels(rows) == 1
    assert (worn[wears] > 20).all()
    assert (worn[~wears] == 0).all()


def test_every_part_is_where_its_picture_shows_it() -> None:
    """Where a factor moves its own parts and no others, the picture changes."""
    steps = {"smile": (-1, 1), "eye_open": (0, 1), "hair_style": (0, 4), "glasses": (0, 1)}
    own = {"smile": {"mouth", "brows"}, "eye_open": {"eyes"}, "hair_style": {"hair"}, "glasses": {"glasses"}}
    for name, values in steps.items():
        before, after = (parts(row(**{name: value}))[0] for value in values)
        moved = before != after
        assert moved.any()
        numbers = [PART[part] for part in own[name]]
        assert (np.isin(before, numbers) | np.isin(after, numbers))[moved].all()
        drawn = np.subtract(*(faces.render(row(**{name: value}), 64, 64)[0].astype(int) for value in values))
        assert (np.abs(drawn).max(0)[moved] > 8).mean() > 0.9
    everyone = parts(faces.draw_factors(np.arange(200)))
    assert (np.bincount(everyone.ravel(), minlength=len(PART)) > 0).all()
    for number in (PART[name] for name in ("body", "face", "nose", "mouth", "eyes")):
        assert (everyone == number).any((1, 2)).all()
    bald = faces.draw_factors(np.arange(200))[:, [f.name for f in faces.FACTORS].index("hair_style")] == 0
    assert not (everyone[bald] == PART["hair"]).any()
    assert (everyone[~bald] == PART["hair"]).any((1, 2)).all()


def test_label_maps_are_those_of_the_faces_beside_them(opened: Opener) -> None:
    dataset = opened("faces:24", pair="labels", count=40, limit=30, size="24x16")
    a, b = sides(dataset)
    assert (dataset.image_spec.shape, dataset.image_spec.sides) == ((6, 24, 16), (3, 3))
    rows = faces.draw_factors(np.array([int(name) for name in dataset.names]))
    assert np.array_equal(everything(a), faces.render_labels(rows, 24, 16))
    assert np.array_equal(everything(b), faces.render(rows, 24, 16))
    assert np.array_equal(a.batch(np.array([5, 2])), everything(a)[[5, 2]])
    assert opened("faces:24", pair="labels", count=10, channels="grey").image_spec.sides == (3, 1)
    with pytest.raises(ReverieError, match="labels is of the built-in faces, not of digits"):
        opened("digits", pair="labels")


# All kinds

FACES = {"unpaired", "labels", "blur"}  # made of faces: the small pictures of the folders are not blurred


def some_pairs(opened: Opener, tmp_path: Path, pair: str, **options: Any) -> Pairs:
    """Pairs of that kind whose sides differ; A is grey where the kind allows it."""
    folder = tmp_path / "pairs"
    if not folder.exists():
        two_folders(folder, 12)
    options = {"count": 40, "channels": "rgb" if pair not in ("folders", "unpaired") else "auto"} | options
    dataset = opened("faces:32" if pair in FACES else folder, pair=pair, **options)
    assert isinstance(dataset, Pairs)
    return dataset


@pytest.mark.parametrize("pair", [*SOURCES, *OPERATORS])
def test_swap_exchanges_the_sides(opened: Opener, tmp_path: Path, pair: str) -> None:
    dataset, swapped = (some_pairs(opened, tmp_path, pair, swap=swap) for swap in (False, True))
    a, b = sides(dataset)
    assert not np.array_equal(everything(a)[:, :1], everything(b)[: len(a), :1])
    assert swapped.image_spec.sides == dataset.image_spec.sides[::-1]
    pixels, channels = everything(dataset), dataset.image_spec.sides[0]
    assert np.array_equal(everything(swapped), np.concatenate([pixels[:, channels:], pixels[:, :channels]], 1))
    assert np.array_equal(everything(swapped.side("b")), everything(a))
    assert np.array_equal(everything(swapped.side("a")), everything(b))
    assert swapped.paired == dataset.paired == (pair != "unpaired")
    assert {len(side.split("test")) for side in (a, b)} == {len(side.split("test")) for side in sides(swapped)}


def test_fingerprints_tell_kinds_swaps_splits_and_sides_apart(opened: Opener, tmp_path: Path) -> None:
    found: dict[tuple[str, object], str] = {}
    folder = two_folders(tmp_path / "in", 12)
    put(picture(99, 6, 8), folder / "A" / "alone.png")
    for pair in (*SOURCES, *(name for name in OPERATORS if name != "labels")):
        for swap in (False, True):
            dataset = opened(folder, pair=pair, swap=swap, channels="rgb")
            assert isinstance(dataset, Pairs)
            assert opened(folder, pair=pair, swap=swap, channels="rgb").fingerprint == dataset.fingerprint
            found[pair, swap] = dataset.fingerprint
            assert dataset.image_spec.width == (4 if pair == "halves" else 8)
            assert len(dataset) == {"folders": 12, "unpaired": 13}.get(pair, 25)  # no kind opens another's packs
            if not swap:
                found[pair, "a"] = dataset.side("a").fingerprint
                found[pair, "train"] = dataset.split("train").fingerprint
                if pair in SOURCES:
                    found[pair, "b"] = dataset.side("b").fingerprint
            assert fingerprint(dataset.side("a")) == dataset.side("a").fingerprint
    assert len(set(found.values())) == len(found)
    plain = opened(folder, channels="rgb")
    edges = opened(folder, pair="edges", channels="rgb")
    assert isinstance(edges, Pairs)
    assert edges.side("b").fingerprint == plain.fingerprint  # the same pictures


def test_a_fingerprint_changes_with_the_partners(opened: Opener, tmp_path: Path) -> None:
    """Equal files that are paired otherwise are other pairs."""
    folder = flat(tmp_path / "in", A__1=1, A__2=2, A__3=3, B__1=11, B__2=12, B__3=13)
    (folder / "A" / "2.png").write_text("broken")
    before = opened(folder, pair="folders", range="full")
    (folder / "A" / "2.png").unlink()
    (folder / "A" / "3.png").rename(folder / "A" / "2.png")
    (folder / "A" / "3.png").write_text("broken")
    after = opened(folder, pair="folders", range="full")
    assert everything(before)[:, :, 0, 0].tolist() == [[1, 11], [3, 13]]
    assert everything(after)[:, :, 0, 0].tolist() == [[1, 11], [3, 12]]
    assert after.fingerprint != before.fingerprint
    assert after.split("train").fingerprint != before.split("train").fingerprint


@pytest.mark.parametrize("pair", [*SOURCES, "edges"])
def test_the_second_opening_reads_no_pictures(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pair: str
) -> None:
    dataset = some_pairs(opened, tmp_path, pair)
    packs = sorted((tmp_path / "cache").glob("*.pack"))
    assert len(packs) == (2 if pair in SOURCES else 1)
    for place in ("build.look", "build.decode", "faces.render"):
        monkeypatch.setattr(f"reverie.data.{place}", None)
    again = some_pairs(opened, tmp_path, pair)
    assert np.array_equal(everything(again), everything(dataset))
    assert again.fingerprint == dataset.fingerprint
    assert again.found == dataset.found
    assert sorted((tmp_path / "cache").glob("*.pack")) == packs


def test_flips_and_shifts_move_both_sides_alike(opened: Opener) -> None:
    dataset = opened("faces:16", pair="grey", count=60, flip=True, shift=3)
    feed = BatchLoader(dataset, 0, torch.device("cpu"))
    images, labels = feed.take(0, 60)
    assert images.shape == (60, 4, 16, 16)
    assert labels is not None
    pixels = ((images + 1) * 127.5).round().byte().numpy()
    assert np.array_equal(pair_operators.grey(pixels[:, 1:], np.arange(60)), pixels[:, :1])
    moved = ~(pixels[:, None] == everything(dataset)[None]).all((2, 3, 4)).any(1)
    assert moved.sum() > 40
    assert dataset.labels is not None
    assert sorted(labels.tolist()) == sorted(dataset.labels.tolist())


def test_a_feed_of_unpaired_pictures_meets_every_one(opened: Opener) -> None:
    dataset = opened("faces:8", pair="unpaired", count=50)
    feed = BatchLoader(dataset, 0, torch.device("cpu"), workers=2)
    batches = [feed.take(i * 8, 8)[0] for i in range(-(-len(dataset) // 8))]
    feed.close()
    seen = ((torch.cat(batches) + 1) * 127.5).round().byte().numpy()
    for side, channels in zip(sides(dataset), (slice(0, 3), slice(3, 6)), strict=True):
        met = (seen[:, None, channels] == everything(side)[None]).all((2, 3, 4)).any(0)
        assert met.all()


def test_contact_sheets_show_side_a_beside_side_b(opened: Opener, tmp_path: Path) -> None:
    folder = flat(tmp_path / "in", A__1=10, A__2=20, A__3=30)
    for i in (1, 2, 3):
        put(np.full((6, 6, 3), (200, 100 + i, 50), np.uint8), folder / "B" / f"{i}.png")
    sheet = contact_sheet(opened(folder, pair="folders", range="full"), rows=2, columns=5)
    assert sheet.mode == "RGB"
    assert sheet.size == (4 * 8 - 2, 2 * 8 - 2)
    shown = np.asarray(sheet)[1::8, 1::8].tolist()
    assert shown == [
        [[10, 10, 10], [200, 101, 50], [20, 20, 20], [200, 102, 50]],
        [[30, 30, 30], [200, 103, 50], [0, 0, 0], [0, 0, 0]],
    ]
    assert contact_sheet(opened(folder, pair="folders"), rows=1, columns=1).size == (14, 6)
    labelled = opened("digits", pair="edges", limit=30)
    assert contact_sheet(labelled, rows=2, columns=4).size == (4 * 10 - 2, 2 * 10 - 2)


def test_the_command_line_tells_of_both_sides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, sheet = two_folders(tmp_path / "in", 4), tmp_path / "sheet.png"
    put(picture(9, 6, 8), folder / "A" / "alone.png")
    said = succeeds(capsys, "data", folder, "--sheet", sheet, "--set", "data.pair=folders")
    assert "4 pictures, 4 x 6 x 8 (channels x height x width)" in said
    assert "modes of A: L: 4" in said
    assert "modes of B: RGB: 4" in said
    assert "A/alone.png: has no partner on the other side" in said
    with Image.open(sheet) as image:
        assert image.size == (8 * 10 - 2, 6)
    for words, sentence in {
        ("data.pair=edge",): "data.pair cannot be 'edge'; did you mean 'edges'?",
        ("data.swap=true",): "say with data.pair how they are made",
        ("data.pair=unpaired", "data.swap=2"): "data.swap takes true or false",
    }.items():
        assert sentence in fails(capsys, "data", folder, "--sheet", sheet, "--set", *words)


def test_there_are_two_sides_only(opened: Opener) -> None:
    dataset = opened("digits", pair="blur", limit=20)
    assert isinstance(dataset, Pairs)
    with pytest.raises(ReverieError, match="There is no side 'c'"):
        dataset.side("c")
    with pytest.raises(ReverieError, match="did you mean 'test'"):
        dataset.split("tests")  # type: ignore[arg-type]
    assert not isinstance(opened("digits", limit=20), Pairs)
    assert opened("digits", limit=20).image_spec.sides == ()
