"""How pictures are split, packed, shown and augmented; and real ones, where they are there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from commands import visible
from pictures import Opener, everything, fill, opener, picture, png
from reverie.data import DataOptions, augment, contact_sheet, open_dataset, pack, save_grid, to_tensor, to_uint8
from reverie.data.splits import divide
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError

REAL = Path(os.environ.get("REVERIE_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


# Splits


@given(
    draws=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=60),
    more=st.lists(st.integers(0, 2**32 - 1), max_size=60),
    validation=st.sampled_from([0.0, 0.05, 0.3]),
    test=st.sampled_from([0.0, 0.05, 0.3]),
)
@settings(max_examples=100, deadline=None)
def test_splits_cover_everything_and_never_overlap(
    draws: list[int], more: list[int], validation: float, test: float
) -> None:
    options = DataOptions(validation=validation, test=test)

    def parts(numbers: list[int]) -> tuple[dict[str, set[int]], list[str]]:
        rows, notes = divide({"splits": [-1] * len(numbers), "draws": numbers}, options)
        return {name: set(members.tolist()) for name, members in rows.items()}, notes

    rows, notes = parts(draws)
    assert all(rows.values())
    if not notes:
        assert sum(map(len, rows.values())) == len(set.union(*rows.values())) == len(draws)
        later, _ = parts(draws + more)
        old = set(range(len(draws)))
        assert all(later[name] & old == rows[name] for name in rows)


def test_duplicates_stay_together_and_names_do_not_matter(opened: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(60):
        for copy in "ab":
            (folder / f"{i:02}{copy}.png").write_bytes(png(i))
    dataset = opened(folder, validation=0.3, test=0.3)
    places = {name: which for which in ("train", "validation", "test") for name in dataset.split(which).names}
    assert len(places) == 120
    assert all(places[f"{i:02}a.png"] == places[f"{i:02}b.png"] for i in range(60))
    assert len({dataset.split(w).fingerprint for w in ("train", "validation", "test", "all")}) == 4
    for path in sorted(folder.iterdir()):
        path.rename(folder / f"z{path.name}")
    again = opened(folder, validation=0.3, test=0.3, size="5")
    assert {name: w for w in ("train", "validation", "test") for name in again.split(w).names} == {
        f"z{name}": which for name, which in places.items()
    }


# The pack


def the_pack(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "cache").glob("*.pack")
    return path


@pytest.mark.parametrize("keep", [0, 1, 10, 200, -1, -30])
def test_a_pack_that_was_cut_short_is_built_again(opened: Opener, tmp_path: Path, keep: int) -> None:
    folder = fill(tmp_path / "in", "a/1.png", "b/2.png")
    before = everything(opened(folder))
    path = the_pack(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    assert np.array_equal(everything(opened(folder)), before)
    assert the_pack(tmp_path).read_bytes() == whole


def test_a_pack_is_used_again_without_the_pictures_being_read(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "in", "1.png", "2.png")
    before = everything(opened(folder))
    monkeypatch.setattr("reverie.data.build.look", None)
    assert np.array_equal(everything(opened(folder)), before)


def test_data_too_large_for_raw_pixels_is_kept_encoded(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "in", *[f"{i}.png" for i in range(7)])
    Image.fromarray(picture(9, 80, 120, 3)).save(folder / "8.jpg")
    raw = opened(folder, size="32")
    monkeypatch.setattr(pack, "RAW_LIMIT", 1000)
    blob = open_dataset(str(folder), DataOptions(size="32"), cache=tmp_path / "other")
    assert np.array_equal(everything(blob), everything(raw))
    assert np.array_equal(blob.batch(np.array([7, 0, 7])), raw.batch(np.array([7, 0, 7])))
    assert blob.fingerprint == raw.fingerprint
    assert next((tmp_path / "other").glob("*.pack")).stat().st_size < the_pack(tmp_path).stat().st_size


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "1.png")
    (tmp_path / "file").write_text("")
    with pytest.raises(ReverieError, match=r"Cannot write the cache .*REVERIE_CACHE"):
        open_dataset(str(folder), cache=tmp_path / "file" / "cache")


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys, reverie.data as d; from reverie.errors import ReverieError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
        "try: d.open_dataset('digits')\n"
        "except ReverieError as why: print(why)\n"
    )
    environment = {**os.environ, "REVERIE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert "Cannot write the cache" in done.stdout, done.stderr
    assert not list((tmp_path / "cache").iterdir())


def test_builders_that_race_agree(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", *[f"{c}/{i}.png" for c in "ab" for i in range(40)])
    code = f"import reverie.data as d; print(d.open_dataset({str(folder)!r}).fingerprint)"
    environment = {**os.environ, "REVERIE_CACHE": str(tmp_path / "cache")}
    racers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) for _ in range(3)]
    prints = {racer.communicate()[0] for racer in racers}
    assert len(prints) == 1
    assert prints.pop().strip()
    assert the_pack(tmp_path).suffix == ".pack"


def test_progress_counts_up_to_the_total(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    folder = fill(tmp_path / "in", "1.png", "2.png")
    open_dataset(str(folder), cache=tmp_path / "cache", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]


# Showing and augmenting


def test_tensors_and_back() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    tensor = to_tensor(pixels)
    assert tensor.dtype == torch.float32
    assert (tensor.min(), tensor.max()) == (-1, 1)
    assert np.array_equal(to_uint8(tensor), pixels)
    assert to_uint8(torch.tensor([-9.0, 9.0, float("nan"), float("inf")])).tolist() == [0, 255, 0, 255]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "L"), (3, "RGB"), (4, "RGBA"), (7, "RGB")])
def test_grids(tmp_path: Path, channels: int, mode: str) -> None:
    pixels = picture(0, 5, channels, 6, 8)
    save_grid(pixels, tmp_path / "new" / "grid.png", columns=3)
    with Image.open(tmp_path / "new" / "grid.png") as image:
        assert image.mode == mode
        assert image.size == (3 * 8 + 2 * 2, 2 * 6 + 2)
        shown = np.asarray(image).reshape(14, 28, -1)
    assert np.array_equal(shown[8:, 10:18].transpose(2, 0, 1), pixels[4, : len(image.getbands())])
    save_grid(to_tensor(pixels), tmp_path / "tensor.png", columns=3)
    assert (tmp_path / "tensor.png").read_bytes() == (tmp_path / "new" / "grid.png").read_bytes()
    assert visible(tmp_path) == ["new/grid.png", "tensor.png"]


def test_contact_sheets_show_every_class(opened: Opener, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name, count, level in (("many", 50, 60), ("few", 2, 250)):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("L", (4, 4), level + i % 3).save(folder / name / f"{i}.png")
    sheet = np.asarray(contact_sheet(opened(folder), rows=2, columns=3))
    assert (sheet > 200).sum() == 2 * 16
    assert ((sheet > 50) & (sheet < 70)).sum() == 4 * 16
    assert contact_sheet(opened("digits", limit=3), 10, 10).size == (3 * 8 + 4, 8)


def augmented(images: torch.Tensor, first: int = 0, count: int | None = None, **options: Any) -> torch.Tensor:
    count = len(images) if count is None else count
    draw = Draw(0, "augment", count=count, first=first, total=len(images))
    return augment(images[first : first + count], DataOptions(**options), draw)


def test_flips_are_mirrors_of_about_half() -> None:
    images = torch.rand(200, 2, 5, 7)
    out = augmented(images, flip=True)
    same = (out == images).flatten(1).all(1)
    mirrored = (out == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 60 < mirrored.sum() < 140
    assert augmented(images) is images or torch.equal(augmented(images), images)


def test_shifts_reflect_at_the_border() -> None:
    images = torch.rand(100, 3, 6, 8)
    out = augmented(images, shift=2)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2), mode="reflect")
    seen = set()
    for i in range(100):
        fits = [(y, x) for y in range(5) for x in range(5) if torch.equal(out[i], padded[i, :, y : y + 6, x : x + 8])]
        assert len(fits) == 1
        seen.add(fits[0])
    assert len(seen) > 20
    with pytest.raises(ReverieError, match=r"data\.shift=6"):
        augmented(images, shift=6)


def test_augmentation_of_a_shard_is_the_shard_of_the_augmentation() -> None:
    images = torch.rand(10, 1, 6, 6)
    whole = augmented(images, flip=True, shift=2)
    assert torch.equal(augmented(images, first=4, count=3, flip=True, shift=2), whole[4:7])


# Real data, where it is there


def real(name: str) -> Path:
    if not (REAL / name).exists():
        pytest.skip(f"{name} is not here")
    return REAL / name


def test_real_mnist(opened: Opener) -> None:
    dataset = opened(real("mnist.npz"))
    assert dataset.image_spec.shape == (1, 28, 28)
    assert len(dataset.image_spec.classes) == 10
    assert [len(dataset), len(dataset.split("test"))] == [70000, 10000]
    assert 2500 < len(dataset.split("validation")) < 3500
    start = time.perf_counter()
    opened(real("mnist.npz"))
    assert time.perf_counter() - start < 1


def test_real_cifar(opened: Opener) -> None:
    dataset = opened(real("cifar10-train.zip"), limit=2000)
    assert dataset.image_spec.shape == (3, 32, 32)
    assert " ".join(dataset.image_spec.classes) == "airplane automobile bird cat deer dog frog horse ship truck"
    assert min(dataset.found["classes"].values()) > 100
    assert not dataset.unreadable


def test_real_emoji(opened: Opener) -> None:
    dataset = opened(real("emoji.zip"), limit=100)
    assert dataset.image_spec.shape == (4, 128, 128)
    assert opened(real("emoji.zip"), limit=20, channels="rgb", size="16").image_spec.shape == (3, 16, 16)


def test_real_facades(opened: Opener) -> None:
    dataset = opened(real("facades.zip"), size="32x64")
    assert dataset.image_spec.shape == (3, 32, 64)
    assert len(dataset.split("validation")) == 100
    assert json.dumps(dataset.found)
