"""Where pictures come from: folders, archives, arrays, the hub."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pictures import Opener, everything, fill, opener, picture, png
from reverie.data.layouts import arrange
from reverie.errors import ReverieError


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


# Folders and archives


def test_a_folder_of_classes(opened: Opener, tmp_path: Path) -> None:
    dataset = opened(fill(tmp_path / "in", "b/1.png", "a/deep/2.png", "a/3.png", "b/4.png"))
    assert list(dataset.names) == ["a/3.png", "a/deep/2.png", "b/1.png", "b/4.png"]
    assert dataset.labels is not None
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.tolist() == [0, 0, 1, 1]
    assert dataset.image_spec.classes == ("a", "b")
    assert dataset.found["classes"] == {"a": 2, "b": 2}
    wanted = np.stack([picture(i).transpose(2, 0, 1) for i in (2, 1, 0, 3)])
    assert np.array_equal(everything(dataset), wanted)  # pixel for pixel
    assert np.array_equal(dataset.batch(np.array([3, 3, 0])), wanted[[3, 3, 0]])


@pytest.mark.parametrize(
    ("names", "splits", "labels"),
    [
        (["a.png", "b.png"], [-1, -1], [None, None]),
        (["x/a.png", "b.png"], [-1, -1], [None, None]),
        (["x/a.png", "x/b.png"], [-1, -1], [None, None]),
        (["x/a.png", "y/b.png"], [-1, -1], ["x", "y"]),
        (["wrap/x/a.png", "wrap/y/z/b.png"], [-1, -1], ["x", "y"]),
        (["train/a.png", "val/b.png", "test/c.png"], [0, 1, 2], [None] * 3),
        (["w/Train/x/a.png", "w/train/y/b.png", "w/validation/y/c.png"], [0, 0, 1], ["x", "y", "y"]),
        (["train/a.png", "extra/b.png"], [-1, -1], ["train", "extra"]),
        (["train/x/a.png", "train/y/a.png"], [-1, -1], ["x", "y"]),
        ([], [], []),
    ],
)
def test_what_folders_say(names: list[str], splits: list[int], labels: list[str | None]) -> None:
    found = arrange(names)
    assert (found.splits, found.labels, found.left) == (splits, labels, {})


def test_splits_of_the_source_are_kept(opened: Opener, tmp_path: Path) -> None:
    dataset = opened(fill(tmp_path / "in", "train/x/1.png", "train/y/2.png", "val/x/3.png", "test/y/4.png"))
    assert [list(dataset.split(which).names) for which in ("validation", "test")] == [["val/x/3.png"], ["test/y/4.png"]]
    assert dataset.split("train").labels is not None
    assert dataset.split("train").labels.tolist() == [0, 1]
    assert dataset.split("test").labels.tolist() == [1]
    assert len(dataset.split("test").split("all")) == 4
    with pytest.raises(ReverieError, match="did you mean 'validation'"):
        dataset.split("valid")


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "tgz"])
def test_archives_hold_what_the_folder_holds(opened: Opener, tmp_path: Path, kind: str) -> None:
    names = ["a/1.png", "a/2.png", "b/3.png"]
    folder = fill(tmp_path / "in", *names)
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name in [*names, "__MACOSX/a/._1.png", "notes.txt"]:
                archive.writestr(f"wrap/{name}", (folder / name).read_bytes() if name in names else b"")
    else:
        with tarfile.open(path, f"w:{ {'tar': '', 'tgz': 'gz'}.get(kind, kind[4:]) }") as tar:
            tar.add(folder, "wrap")
    dataset = opened(path)
    assert list(dataset.names) == [f"wrap/{name}" for name in names]
    assert np.array_equal(everything(dataset), everything(opened(folder)))
    assert dataset.image_spec == opened(folder).image_spec
    assert dataset.fingerprint == opened(folder).fingerprint


def test_names_in_archives_are_only_names(opened: Opener, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "evil.zip", "w") as archive:
        for name in ("../../up.png", "/root.png", "C:\\windows\\back.png"):
            archive.writestr(name, png())
    assert len(opened(tmp_path / "evil.zip")) == 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["cache", "evil.zip"]
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        for name, kind in (
            ("../up.png", tarfile.REGTYPE),
            ("link.png", tarfile.SYMTYPE),
            ("fifo.png", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            member.size = len(png()) if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(png()))
    assert list(opened(tmp_path / "evil.tar").names) == ["up.png"]


def test_members_that_declare_too_much_are_not_read(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reverie.data.files.MEMBER_LIMIT", 10_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.png", bytes(20_000))
        archive.writestr("good.png", png())
    dataset = opened(tmp_path / "bomb.zip")
    assert list(dataset.names) == ["good.png"]
    assert dataset.unreadable[0][0] == "bomb.png"
    assert "more than the limit" in dataset.unreadable[0][1]


def test_damaged_zip_members_are_listed(opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad.png", png(0))
        archive.writestr("good.png", png(1))
    data = bytearray(path.read_bytes())
    data[60] ^= 255
    path.write_bytes(data)
    dataset = opened(path)
    assert list(dataset.names) == ["good.png"]
    assert "CRC" in dict(dataset.unreadable)["bad.png"]


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar"])
def test_archives_that_were_cut_short(opened: Opener, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.png", png())
    else:
        with tarfile.open(path, f"w:{kind[4:]}") as tar:
            tar.add(fill(tmp_path / "in", "a.png", "b.png"), "in")
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ReverieError, match=r"fetch it again|can be read"):
        opened(path)


def test_links_are_followed_and_never_into_themselves(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.png")
    (folder / "a" / "loop").symlink_to(folder)
    (folder / "b").symlink_to(fill(tmp_path / "elsewhere", "2.png"))
    assert list(opened(folder).names) == ["a/1.png", "b/2.png"]
    (folder / "c").symlink_to(folder / "b")  # the same folder at two places is there twice
    assert list(opened(folder).names) == ["a/1.png", "b/2.png", "c/2.png"]


def test_a_folder_that_changed_is_read_again(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "1.png")
    before = opened(folder).fingerprint
    (folder / "2.png").write_bytes(png(5))
    assert len(opened(folder)) == 2
    assert opened(folder).fingerprint != before


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("empty", "There are no pictures in .*give a folder"),
        ("texts", "only other files .2 .txt, 1 .json"),
        ("broken", "None of the 2 picture files in .* can be read; the first is a.png .the file is empty"),
        ("nowhere/at/all", "There is no .*nor its folder"),
        ("textz.zip", "There is no .*textz.zip; did you mean 'texts.zip'"),
        ("texts.zip", "only other files"),
        ("notes.txt", "of no known kind"),
        ("", "is empty"),
    ],
)
def test_nothing_to_read_is_one_sentence(opened: Opener, tmp_path: Path, spec: str, sentence: str) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("texts/a.txt", "texts/b.txt", "texts/c.json", "broken/a.png", "broken/b.png", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "texts.zip", "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(ReverieError, match=sentence) as caught:
        opened(tmp_path / spec if spec else spec)
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").glob("*[!r]"))  # no half pack, no temporary file: the ledger alone


def test_unknown_names_get_the_nearest(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fill(tmp_path / "in", "flowers/1.png"))
    for wrong, near in (("digit", "digits"), ("facse", "faces"), ("flower", "flowers")):
        with pytest.raises(ReverieError, match=f"did you mean '{near}'"):
            opened(wrong)
    with pytest.raises(ReverieError, match="give a path"):
        opened("zzzzzz")


def test_one_picture_file_is_enough(opened: Opener, tmp_path: Path) -> None:
    fill(tmp_path, "one.png")
    dataset = opened(tmp_path / "one.png")
    assert [len(dataset.split(which)) for which in ("train", "validation", "test")] == [1, 1, 1]
    assert any("stand in" in note for note in dataset.found["notes"])


def test_a_limit_takes_from_every_class(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", *[f"{c}/{i}.png" for c in "ab" for i in range(20)])
    dataset = opened(folder, limit=12)
    assert len(dataset) == 12
    assert set(dataset.labels.tolist()) == {0, 1}
    assert list(dataset.names) == sorted(dataset.names)
    assert len(opened("digits", limit=7)) == 7


# Arrays


@pytest.mark.parametrize(
    ("shape", "image_spec"),
    [
        ((5, 20, 24), (1, 20, 24)),
        ((5, 20, 24, 3), (3, 20, 24)),
        ((5, 3, 20, 24), (3, 20, 24)),
        ((5, 20, 24, 16), (16, 20, 24)),
        ((5, 7, 20, 24), (7, 20, 24)),
        ((5, 8, 8, 3), (3, 8, 8)),
        ((5, 1, 8, 8), (1, 8, 8)),
    ],
)
def test_single_arrays(
    opened: Opener, tmp_path: Path, shape: tuple[int, ...], image_spec: tuple[int, int, int]
) -> None:
    values = picture(0, *shape)
    np.savez(tmp_path / "a.npz", stuff=values)
    dataset = opened(tmp_path / "a.npz")
    assert dataset.image_spec.shape == image_spec
    wanted = (
        values[:, None] if values.ndim == 3 else values.transpose(0, 3, 1, 2) if shape[3] == image_spec[0] else values
    )
    assert np.array_equal(everything(dataset), wanted)
    assert dataset.labels is None
    assert opened(tmp_path / "a.npz", size="16x12", fit="pad").image_spec.shape == (image_spec[0], 16, 12)


@given(
    shape=st.lists(st.integers(0, 20), min_size=0, max_size=5),
    dtype=st.sampled_from(["u1", "u2", "f4", "?", "i8", "c8", "U3"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_array_opens_or_is_refused(opened: Opener, tmp_path: Path, shape: list[int], dtype: str) -> None:
    np.savez(tmp_path / "a.npz", np.zeros(shape, dtype))
    try:
        dataset = opened(tmp_path / "a.npz")
    except ReverieError as why:
        refused = str(why)
    else:
        refused = ""
        channels, height, width = dataset.image_spec.shape
        assert len(dataset) == shape[0]
        assert sorted([channels, height, width]) == sorted(shape[1:] if len(shape) == 4 else [1, *shape[1:]])
    assert "\n" not in refused


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([0, 257, 65535], np.uint16), [0, 257, 65535]),
        (np.array([0, 257, 65535], ">u2"), [0, 257, 65535]),
        (np.array([0, 255, 4095], np.uint16), [0, 4081, 65535]),
        (np.array([0, 254, 255], np.uint16), [0, 254, 255]),
        (np.array([30000, 30100, 30200], np.int32), [0, 32768, 65535]),
        (np.array([-1000, 0, 3000], np.int16), [0, 16384, 65535]),
        (np.array([0, 50_000, 100_000]), [0, 0.5, 1]),
        (np.array([0, 0.5, 1], np.float32), [0, 0.5, 1]),
        (np.array([0, 0.5, 1], np.float64), [0, 0.5, 1]),
        (np.array([-1, 0.5, 3], np.float16), [0, 0.375, 1]),
        (np.array([0, 1, 1], np.uint8), [0, 255, 255]),
        (np.array([False, True, True]), [0, 255, 255]),
        (np.array([0, 2, 1], np.uint8), [0, 170, 85]),
        (np.array([0, 32, 1], np.uint8), [0, 32, 1]),
        (np.array([1, 1, 1], np.uint8), [1, 1, 1]),
    ],
)
def test_values_of_every_depth(opened: Opener, tmp_path: Path, values: np.ndarray, wanted: list[int]) -> None:
    np.save(tmp_path / "a.npy", np.broadcast_to(values, (1, 17, 3)).repeat(6, 2))
    assert everything(opened(tmp_path / "a.npy"))[0, 0, 0, ::6].tolist() == wanted


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": np.zeros((5, 4, 8, 3), np.uint8)}, "unclear which axis"),
        ({"x": np.zeros((5, 40, 40, 40), np.uint8)}, "unclear which axis"),
        ({"x": np.zeros((5, 40), np.uint8)}, "expected is .N, H, W"),
        ({"x": np.full((5, 20, 20), "a")}, "values of type <U1"),
        ({"x": np.full((5, 20, 20), np.nan)}, "values from nan to nan; only finite"),
        ({"x": np.zeros((0, 20, 20), np.uint8)}, "holds no pictures"),
        ({"x": np.array([None, {}])}, "object arrays are never loaded"),
        ({"a": np.zeros((5, 20, 20)), "b": np.zeros((5, 20, 20))}, "holds a, b; expected is a single array"),
        ({"images": np.zeros((5, 20, 20)), "labels": np.zeros(4, int)}, "labels of shape .4,. .* for 5 pictures"),
        ({"images": np.zeros((5, 20, 20)), "labels": np.zeros(5)}, "expected is one integer"),
        ({"labels": np.zeros(5, int)}, "holds labels; expected is"),
        ({"train_images": np.zeros((5, 20, 20)), "test_images": np.zeros((5, 20, 21))}, "splits of different shapes"),
    ],
)
def test_arrays_that_are_refused(opened: Opener, tmp_path: Path, arrays: dict[str, np.ndarray], sentence: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ReverieError, match=sentence):
        opened(tmp_path / "a.npz")


def test_npz_with_splits_and_labels(opened: Opener, tmp_path: Path) -> None:
    images = picture(1, 300, 8, 8)
    names = np.array(["dog", "cat", "dog"])[np.arange(300) % 3]
    np.savez(
        tmp_path / "a.npz",
        train_images=images[:200],
        train_labels=names[:200],
        test_images=images[200:],
        test_labels=names[200:, None],
    )
    dataset = opened(tmp_path / "a.npz", validation=0.2)
    assert dataset.image_spec.classes == ("cat", "dog")
    assert list(dataset.split("test").names) == [str(i) for i in range(200, 300)]
    assert 15 < len(dataset.split("validation")) < 70
    assert len(dataset.split("train")) + len(dataset.split("validation")) == 200
    assert np.array_equal(everything(dataset)[:, 0], images)
    assert dataset.labels.tolist() == [int(name == "dog") for name in names]


def idx(values: np.ndarray) -> bytes:
    kind = {"uint8": 8, "int32": 12}[values.dtype.name]
    head = bytes([0, 0, kind, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(values.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("packed", [True, False])
def test_idx_finds_its_siblings(opened: Opener, tmp_path: Path, packed: bool) -> None:
    images, labels = picture(2, 30, 8, 9), (np.arange(30) % 3).astype(np.int32)
    for name, values in (
        ("train-images-idx3-ubyte", images[:20]),
        ("train-labels-idx1-ubyte", labels[:20]),
        ("t10k-images-idx3-ubyte", images[20:]),
        ("t10k-labels-idx1-ubyte", labels[20:]),
    ):
        (tmp_path / f"{name}{'.gz' * packed}").write_bytes(gzip.compress(idx(values)) if packed else idx(values))
    dataset = opened(tmp_path / f"train-images-idx3-ubyte{'.gz' * packed}")
    assert dataset.image_spec.shape == (1, 8, 9)
    assert dataset.image_spec.classes == ("0", "1", "2")
    assert np.array_equal(everything(dataset.split("test"))[:, 0], images[20:])
    assert dataset.split("test").labels.tolist() == labels[20:].tolist()


def test_idx_that_lies_about_its_size(opened: Opener, tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(picture(0, 3, 8, 8))[:-1]))
    with pytest.raises(ReverieError, match="incomplete"):
        opened(tmp_path / "a.gz")
    (tmp_path / "b").write_bytes(bytes([0, 0, 8, 3]) + b"\xff" * 12)
    with pytest.raises(ReverieError, match="GiB of data"):
        opened(tmp_path / "b")


def test_digits(opened: Opener) -> None:
    dataset = opened("digits")
    assert dataset.image_spec.shape == (1, 8, 8)
    assert len(dataset.image_spec.classes) == 10
    assert everything(dataset).max() == 255
    assert opened("digits", size="16", channels="rgb").image_spec.shape == (3, 16, 16)


def test_faces(opened: Opener) -> None:
    from reverie.data import faces

    dataset = opened("faces:32", count=60)
    assert dataset.image_spec.shape == (3, 32, 32)
    factors = faces.draw_factors(np.arange(60))
    assert np.array_equal(everything(dataset), faces.render(factors, 32, 32))
    assert np.array_equal(dataset.labels, faces.labels(factors))
    test = dataset.split("test")
    numbers = [int(name) for name in test.names]
    assert np.array_equal(test.factors["smile"], factors[numbers, [f.name for f in faces.FACTORS].index("smile")])
    assert opened("faces", count=60, size="24x16").split("test").names == test.names  # at any size
    assert opened("digits").factors is None
    with pytest.raises(ReverieError, match="Faces of size abc"):
        opened("faces:abc")


# The hub


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()
    return datasets


def test_hub_parquet(opened: Opener, tmp_path: Path, hub: Any) -> None:
    features = hub.Features(
        {"img": hub.Image(), "label": hub.ClassLabel(names=["zebra", "ant"]), "note": hub.Value("string")}
    )
    (tmp_path / "repo").mkdir()
    for split, start, count in (("train", 0, 6), ("test", 6, 3)):
        rows = [{"img": {"bytes": png(start + i), "path": None}, "label": i % 2, "note": "x"} for i in range(count)]
        hub.Dataset.from_list(rows, features=features).to_parquet(tmp_path / "repo" / f"{split}.parquet")
    dataset = opened(f"hf:{tmp_path / 'repo'}")
    assert dataset.image_spec.classes == ("zebra", "ant")
    assert dataset.labels.tolist() == [0, 1, 0, 1, 0, 1, 0, 1, 0]
    assert np.array_equal(everything(dataset), np.stack([picture(i).transpose(2, 0, 1) for i in range(9)]))
    assert list(dataset.split("test").names) == ["test/0", "test/1", "test/2"]


def test_hub_folder_of_pictures(opened: Opener, tmp_path: Path, hub: Any) -> None:
    folder = fill(tmp_path / "repo", "train/b/1.png", "train/a/2.png", "test/a/3.png", "test/b/4.png")
    dataset = opened(f"hf:{folder}")
    assert dataset.image_spec.classes == ("a", "b")
    assert len(dataset.split("test")) == 2


def test_hub_folder_is_known_by_its_pictures(opened: Opener, tmp_path: Path, hub: Any) -> None:
    folder = fill(tmp_path / "repo", "train/b/1.png", "train/a/2.png")
    before = everything(opened(f"hf:{folder}"))
    for i, name in enumerate(("train/b/1.png", "train/a/2.png")):
        (folder / name).write_bytes(png(70 + i))
    after = everything(opened(f"hf:{folder}"))
    assert not np.array_equal(before, after)


def test_hub_says_what_is_missing(opened: Opener, tmp_path: Path, hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "repo").mkdir()
    hub.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "repo" / "train.parquet")
    with pytest.raises(ReverieError, match=r"no column of pictures .its columns: text"):
        opened(f"hf:{tmp_path / 'repo'}")
    with pytest.raises(ReverieError, match="Cannot load"):
        opened(f"hf:{tmp_path / 'nowhere'}")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ReverieError, match=r"pip install 'reverie\[hub\]'"):
        opened("hf:owner/name")
