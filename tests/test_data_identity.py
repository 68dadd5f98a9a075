"""A pack is known by the bytes of its files: no two data sets are confused, and what was known is not decoded again."""

from __future__ import annotations

import os
import shutil
import time
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pictures import Opener, everything, fill, opener, png
from reverie.data import build, open_dataset
from reverie.data import fingerprint as identity

OLD = 1_500_000_000 * 10**9  # ns: long ago


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


def put(folder: Path, levels: dict[str, int], stamp: int = OLD) -> Path:
    """Grey pictures of one level each, of equal bytes in size and equal times."""
    for name, level in levels.items():
        path = folder / f"{name}.pgm"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"P5 4 4 255\n" + bytes([100 + level]) * 16)
        os.utime(path, ns=(stamp, stamp))
    return folder


def levels(dataset: object) -> list[int]:
    return [level - 100 for level in everything(dataset)[:, 0, 0, 0].tolist()]  # type: ignore[arg-type]


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if nothing had changed within the last two seconds: files of a test are younger."""
    monkeypatch.setattr(identity, "SETTLED_NS", -(10**12))


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    seen: list[int] = []
    true = build.decode
    monkeypatch.setattr(build, "decode", lambda *words: seen.append(1) or true(*words))
    return seen


def test_equal_names_sizes_and_times_are_not_equal_data(opened: Opener, tmp_path: Path) -> None:
    assert levels(opened(put(tmp_path / "s0", {"0": 10, "1": 11}))) == [10, 11]
    assert levels(opened(put(tmp_path / "s1", {"0": 20, "1": 21}))) == [20, 21]


def test_a_file_overwritten_in_place_with_its_times_put_back_is_read_again(opened: Opener, tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {"0": 10})
    assert levels(opened(folder)) == [10]
    put(tmp_path / "in", {"0": 20})  # at once: within two seconds of the reading
    assert levels(opened(folder)) == [20]


def test_a_folder_put_in_the_place_of_another_is_read_again(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    folder = put(tmp_path / "in", {"0": 10})
    assert levels(opened(folder)) == [10]
    folder.rename(tmp_path / "old")
    put(tmp_path / "in", {"0": 20})
    assert levels(opened(folder)) == [20]


def test_a_copied_data_set_is_not_decoded_again(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = opened(fill(tmp_path / "in", "a/1.png", "a/2.png", "b/3.png"))
    shutil.copytree(tmp_path / "in", tmp_path / "copy")
    seen = count_decoded(monkeypatch)
    copied = opened(tmp_path / "copy")
    assert not seen
    assert np.array_equal(everything(copied), everything(dataset))
    assert copied.fingerprint == dataset.fingerprint
    (tmp_path / "copy" / "a" / "1.png").write_bytes(png(9))
    changed = opened(tmp_path / "copy")
    assert len(seen) == 3
    assert changed.fingerprint != dataset.fingerprint


def test_known_files_are_not_even_read(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    folder = fill(tmp_path / "in", "1.png", "2.png")
    wanted = everything(opened(folder))
    read: list[str] = []
    true = identity._content
    monkeypatch.setattr(identity, "_content", lambda path: read.append(path) or true(path))
    assert np.array_equal(everything(opened(folder)), wanted)
    assert not read
    (folder / "2.png").write_bytes(png(7))
    opened(folder)
    assert [Path(path).name for path in read] == ["2.png"]


def test_a_damaged_ledger_is_as_none(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    wanted = everything(opened(fill(tmp_path / "in", "1.png")))
    for path in (tmp_path / "cache").glob("*.ledger"):
        for content in (b"", b"{}", b"\xff\xfe", b'{"signature": 1, "key": 2}\n[1]', path.read_bytes()[:40]):
            path.write_bytes(content)
            assert np.array_equal(everything(opened(tmp_path / "in")), wanted)


def test_failures_are_not_remembered(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "in", "1.png", "2.png")
    Image.fromarray(np.zeros((30, 30, 3), np.uint8)).save(folder / "large.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert [name for name, _ in opened(folder).unreadable] == ["large.png"]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10_000)
    dataset = opened(folder)
    assert not dataset.unreadable
    assert len(dataset) == 3
    assert "cannot be read" not in str(dataset.found)


def test_a_file_that_could_not_be_opened_is_read_later(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    folder = fill(tmp_path / "in", "1.png", "2.png")
    true = Path.read_bytes, identity._content

    def refused(path: Path) -> bytes:
        if path.name == "2.png":
            raise PermissionError(13, "Permission denied")
        return true[0](path)

    with monkeypatch.context() as locked:
        locked.setattr(Path, "read_bytes", refused)
        locked.setattr(identity, "_content", lambda path: None if path.endswith("2.png") else true[1](path))
        assert opened(folder).unreadable == [("2.png", "cannot be read: Permission denied")]
    assert not opened(folder).unreadable


def test_check_reads_everything_again(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    folder = put(tmp_path / "in", {"0": 10, "1": 11})
    opened(folder)

    def checked() -> str:
        return " ".join(open_dataset(str(folder), cache=tmp_path / "cache", check=True).found["notes"])

    assert "byte for byte" in checked()
    (pack,) = (tmp_path / "cache").glob("*.pack")
    damaged = bytearray(pack.read_bytes())
    damaged[0] ^= 1
    pack.write_bytes(damaged)
    assert levels(opened(folder)) == [11, 11]  # a pack's checksum is of its index alone
    assert "did not hold what the files hold" in checked()
    assert levels(opened(folder)) == [10, 11]
    assert "byte for byte" in checked()


def test_what_has_just_changed_is_not_known_by_its_times(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where clocks are coarse: the second writing falls into the same tick.
    monkeypatch.setattr(identity, "STAMP", attrgetter("st_size", "st_mtime_ns", "st_mtime_ns", "st_size", "st_mode"))
    now = time.time_ns()
    assert levels(opened(put(tmp_path / "in", {"0": 10}, now))) == [10]
    assert levels(opened(put(tmp_path / "in", {"0": 20}, now))) == [20]


def test_check_names_what_changed_behind_its_times(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    # As on a disk whose times of change cannot be trusted.
    monkeypatch.setattr(identity, "STAMP", attrgetter("st_size", "st_mtime_ns", "st_size", "st_size", "st_mode"))
    folder = put(tmp_path / "in", {"0": 10, "1": 11})
    opened(folder)
    put(folder, {"1": 20})
    assert levels(opened(folder)) == [10, 11]  # nothing tells it
    notes = open_dataset(str(folder), cache=tmp_path / "cache", check=True).found["notes"]
    assert any("1 files have changed though their times have not, such as 1.pgm" in note for note in notes)
    assert levels(opened(folder)) == [10, 20]


def test_a_file_that_changes_while_it_is_read_is_no_picture_of_this_set(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = fill(tmp_path / "in", "1.png", "2.png")
    true = identity._content
    with monkeypatch.context() as raced:
        raced.setattr(identity, "_content", lambda path: ("0" * 32, None) if path.endswith("2.png") else true(path))
        assert opened(folder).unreadable == [("2.png", "changed while it was read; look again")]
    assert not opened(folder).unreadable


@given(
    first=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), min_size=1),
    second=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 3), min_size=1),
)
@settings(max_examples=25, deadline=None)
def test_one_place_holds_what_it_holds_now(
    tmp_path_factory: pytest.TempPathFactory, first: dict[str, int], second: dict[str, int]
) -> None:
    folder = tmp_path_factory.mktemp("data")
    opened = opener(folder / "cache")
    for content in (first, second, first):
        shutil.rmtree(folder / "in", ignore_errors=True)
        put(folder / "in", content)
        assert levels(opened(folder / "in")) == [content[name] for name in sorted(content)]


def test_single_files_are_known_by_their_bytes(opened: Opener, tmp_path: Path) -> None:
    for level in (10, 20):
        np.save(tmp_path / "x.npy", np.full((3, 20, 20), 100 + level, np.uint8))
        os.utime(tmp_path / "x.npy", ns=(OLD, OLD))
        assert levels(opened(tmp_path / "x.npy")) == [level] * 3


def test_pictures_that_are_also_learned_are_told(opened: Opener, tmp_path: Path) -> None:
    fill(tmp_path / "in", "train/1.png", "train/2.png", "test/3.png")
    shutil.copy(tmp_path / "in" / "train" / "1.png", tmp_path / "in" / "test" / "copy.png")
    told = "1 picture of the test split is also in the training split, pixel for pixel"
    assert told in opened(tmp_path / "in").found["notes"]
    with Image.open(tmp_path / "in" / "test" / "copy.png") as image:  # other bytes, equal pixels
        image.save(tmp_path / "in" / "test" / "copy.bmp")
    (tmp_path / "in" / "test" / "copy.png").unlink()
    assert told in opened(tmp_path / "in").found["notes"]
    (tmp_path / "in" / "test" / "copy.bmp").unlink()
    assert not any("also" in note for note in opened(tmp_path / "in").found["notes"])
