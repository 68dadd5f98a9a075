"""How folders and tables are read, and that nothing is guessed or left out in silence."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pictures import Opener, everything, fill, opener, png
from reverie.data.layouts import ALSO_TEST, LAYOUTS, arrange
from reverie.errors import ReverieError
from reverie.provenance import mark_file, mark_folder


@pytest.fixture
def opened(tmp_path: Path) -> Opener:
    return opener(tmp_path / "cache")


MVTEC = [
    "train/good/0.png", "train/good/1.png", "test/good/0.png", "test/cut/0.png",
    "ground_truth/cut/0_mask.png",
]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "splits", "labels", "said"),
    [
        (
            ["a/1.png", "a/2.png", "b/1.png", "cover.png"],
            [-1, -1, -1, None], ["a", "a", "b", None],
            "2 classes from folders; 1 picture outside any class left out",
        ),
        (
            ["train/1.png", "train/2.png", "test/1.png", "logo.png"],
            [0, 0, 2, None], [None] * 4,
            "train, test from folders; 1 picture outside train, validation and test left out",
        ),
        (
            ["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/2.png", "test/odd.png"],
            [0, 0, 2, 2, None], ["a", "b", "a", "b", None],
            "2 classes from folders; train, test from folders; 1 picture outside any class left out",
        ),
        (MVTEC, [0, 0, 2, 2, None], ["good", "good", "good", "cut", None],
         "2 classes from folders; train, test from folders; 1 picture of masks left out"),
        (
            ["good/1.png", "good/2.png", "hole/3.png", "masks/3.png"],
            [-1, -1, ALSO_TEST, None], ["good", "good", "hole", None],
            "2 classes from folders; only normal pictures are for training; 1 picture of masks left out",
        ),
        (
            ["tiles/good/1.png", "tiles/hole/2.png", "tiles-masks/hole/2.png"],
            [-1, ALSO_TEST, None], ["good", "hole", None],
            "2 classes from folders; only normal pictures are for training; 1 picture of masks left out",
        ),
        (["train2017/1.png", "val2017/2.png"], [0, 1], [None] * 2, "train, validation from folders"),
        (["with_mask/1.png", "without_mask/2.png"], [-1, -1], ["with_mask", "without_mask"], "2 classes from folders"),
        (["masks/1.png", "hats/2.png"], [-1, -1], ["masks", "hats"], "2 classes from folders"),
        (["train/1.png", "car/2.png", "bus/3.png"], [-1] * 3, ["train", "car", "bus"], "3 classes from folders"),
        (
            ["train_A/1.png", "train_B/1.png", "test_A/2.png", "test_B/2.png"],
            [0, 0, 2, 2], ["A", "B", "A", "B"],
            "classes A and B; train, test from folders; data.pair=folders or data.pair=unpaired pairs them",
        ),
    ],
)  # fmt: skip
def test_what_folders_say_in_words(
    names: list[str], splits: list[int | None], labels: list[str | None], said: str
) -> None:
    found = arrange(names)
    assert [None if i in found.left else split for i, split in enumerate(found.splits)] == splits
    assert [None if i in found.left else label for i, label in enumerate(found.labels)] == labels
    assert found.said == said


@pytest.mark.parametrize(
    ("names", "layouts"),
    [
        (["a/1.png", "b/1.png", "1.png", "2.png"], ("classes", "flat")),
        (["train/1.png", "test/1.png", "1.png", "2.png", "3.png"], ("splits", "flat")),
    ],
)
def test_what_could_mean_two_things_is_refused_with_both_ways(names: list[str], layouts: tuple[str, str]) -> None:
    with pytest.raises(ReverieError, match=rf"two things.*data.layout={layouts[0]} .*data.layout={layouts[1]} "):
        arrange(names)
    assert len(arrange(names, layouts[0]).left) == len(names) - 2
    assert not arrange(names, "flat").left


FOLDERS = st.sampled_from(["", "a", "b", "train", "test", "val", "good", "ground_truth", "trainA", "x-masks", "x"])


@given(
    st.lists(st.tuples(FOLDERS, FOLDERS, st.sampled_from("123")), min_size=1, max_size=12, unique=True),
    st.sampled_from(["auto", *LAYOUTS]),
)
@settings(max_examples=300, deadline=None)
def test_every_picture_is_used_or_told(files: list[tuple[str, str, str]], layout: str) -> None:
    names = ["/".join(part for part in path if part) + ".png" for path in files]
    try:
        found = arrange(names, layout)
    except ReverieError:
        assert layout != "flat"
        return
    assert len(found.splits) == len(found.labels) == len(names)
    assert len(found.left) < len(names)
    used = [label for i, label in enumerate(found.labels) if i not in found.left]
    assert all(used) or not any(used)
    counts = [int(part.split()[0]) for part in found.said.split("; ") if part.endswith("left out")]
    assert sum(counts) == len(found.left)
    if layout == "flat":
        assert not found.left


def test_a_forced_layout_that_does_not_fit_is_refused() -> None:
    for layout in ("classes", "splits", "splits-classes", "sides", "defects"):
        with pytest.raises(ReverieError, match=f"does not lie as data.layout={layout} says"):
            arrange(["1.png", "2.png"], layout)


def test_a_model_of_normal_pictures_learns_from_no_defect_and_no_mask(opened: Opener, tmp_path: Path) -> None:
    dataset = opened(fill(tmp_path / "in", *MVTEC))
    assert dataset.split("train").names == ["train/good/0.png", "train/good/1.png"]
    assert dataset.split("test").names == ["test/cut/0.png", "test/good/0.png"]
    assert dataset.image_spec.classes == ("cut", "good")
    names = [f"good/{i}.png" for i in range(40)] + ["hole/1.png", "hole/2.png", "masks/1.png", "masks/2.png"]
    tiles = opened(fill(tmp_path / "tiles", *names), test=0.3)
    assert all(name.startswith("good") for name in tiles.split("train").names)
    held = tiles.split("test").names
    assert {"hole/1.png", "hole/2.png"} < set(held)
    assert len(held) > 4  # and normal ones beside them
    assert len(tiles) == 42


def test_classes_in_the_order_of_numbers(opened: Opener, tmp_path: Path) -> None:
    dataset = opened(fill(tmp_path / "in", *(f"{number}/0.png" for number in (1, 2, 10, 20))))
    assert dataset.image_spec.classes == ("1", "2", "10", "20")
    chosen = opened(tmp_path / "in", classes="20, 1")
    assert chosen.image_spec.classes == ("20", "1")
    assert chosen.names == ["1/0.png", "20/0.png"]
    assert chosen.labels is not None
    assert chosen.labels.tolist() == [1, 0]
    assert "2 pictures of other classes left out" in chosen.found["read as"]
    with pytest.raises(ReverieError, match="has no class '3'"):
        opened(tmp_path / "in", classes="3")


def test_chosen_classes_of_arrays(opened: Opener, tmp_path: Path) -> None:
    images = np.arange(6, dtype=np.uint8)[:, None, None].repeat(20, 1).repeat(20, 2) * 10
    np.savez(tmp_path / "x.npz", images=images, labels=np.array([5, 7, 9, 5, 7, 9]))
    dataset = opened(tmp_path / "x.npz", classes="9,5")
    assert dataset.image_spec.classes == ("9", "5")
    assert dataset.labels is not None
    assert list(zip(everything(dataset)[:, 0, 0, 0].tolist(), dataset.labels.tolist(), strict=True)) == [
        (0, 1), (20, 0), (30, 1), (50, 0),
    ]  # fmt: skip
    for wrong in ({"layout": "classes"}, {"labels": "x.csv"}, {"split": "x.csv"}):
        with pytest.raises(ReverieError, match="is of picture files"):
            opened(tmp_path / "x.npz", **wrong)


def test_empty_and_unreadable_classes_are_told(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.png", "b/1.png")
    (folder / "none").mkdir()
    (folder / "torn").mkdir()
    (folder / "torn" / "1.png").write_bytes(png()[:60])
    notes = opened(folder).found["notes"]
    assert "the folder none is empty" in notes
    assert "no picture of the class torn can be read" in notes


# Built-in names


@pytest.mark.parametrize("name", ["digits", "faces"])
def test_a_folder_of_a_built_in_name_is_never_passed_over(
    opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fill(tmp_path / name, "1.png")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReverieError, match=rf"'{name}' is both built-in .*builtin:{name} or \./{name}"):
        opened(name)
    assert len(opened(f"./{name}")) == 1
    assert len(opened(f"builtin:{name}", count=40)) in (40, 1797)
    with pytest.raises(ReverieError, match="no built-in data called 'digit'; did you mean 'digits'"):
        opened("builtin:digit")


# Sides


@pytest.mark.parametrize("spelling", ["{s}{w}", "{s}_{w}", "{s}-{w}", "{w}_{s}", "{s}/{w}", "{w}/{s}"])
@pytest.mark.parametrize("pair", ["folders", "unpaired"])
def test_sides_in_all_usual_spellings(opened: Opener, tmp_path: Path, spelling: str, pair: str) -> None:
    names = [f"{spelling.format(s=s, w=w)}/{n}.png" for s in ("train", "test") for w in "AB" for n in (1, 2)]
    dataset = opened(fill(tmp_path / "in", *names), pair=pair)
    assert dataset.image_spec.sides == (3, 3)
    assert [len(dataset.split(split)) for split in ("train", "test")] == [2, 2]
    assert "A is A, B is B" in dataset.found["read as"]


def test_sides_are_told_and_can_be_chosen(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "clean/1.png", "noisy/1.png")
    usual = opened(folder, pair="folders")
    assert "A is clean, B is noisy (in their usual order; data.sides=noisy,clean exchanges" in usual.found["read as"]
    chosen = opened(folder, pair="folders", sides="noisy,clean")
    assert "A is noisy, B is clean" in chosen.found["read as"]
    assert np.array_equal(everything(chosen)[:, :3], everything(usual)[:, 3:])
    fill(folder, "masks/1.png")
    assert len(opened(folder, pair="folders", sides="noisy,clean")) == 1
    with pytest.raises(ReverieError, match="has no side 'dirty'"):
        opened(fill(tmp_path / "two", "clean/1.png", "noisy/1.png"), pair="folders", sides="dirty,clean")


def test_partners_of_other_proportions_are_never_cut_apart(opened: Opener, tmp_path: Path) -> None:
    from PIL import Image

    def save(name: str, height: int, width: int) -> None:
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        columns = np.linspace(0, 255, width).astype(np.uint8)
        Image.fromarray(np.broadcast_to(columns, (height, width)).copy()).save(path)

    save("A/1.png", 32, 64)
    save("B/1.png", 32, 32)
    with pytest.raises(ReverieError, match=r"A/1.png is 32x64, B/1.png 32x32 .*data.fit=stretch"):
        opened(tmp_path / "in", pair="folders")
    squeezed = everything(opened(tmp_path / "in", pair="folders", fit="stretch"))[0].astype(int)
    assert np.abs(squeezed[0] - squeezed[1]).max() < 12  # a column lies where its partner's does
    save("A/2.png", 31, 63)  # as a rounded half of the other
    save("B/2.png", 63, 126)
    dataset = opened(tmp_path / "in", pair="folders")
    assert dataset.names == ["A/2.png and B/2.png"]
    assert {name for name, why in dataset.unreadable if "proportions" in why} == {"A/1.png", "B/1.png"}


def test_partners_in_two_unicode_forms_match(opened: Opener, tmp_path: Path) -> None:
    name = "é.png"
    folder = fill(tmp_path / "in", f"A/{unicodedata.normalize('NFC', name)}", f"B/{unicodedata.normalize('NFD', name)}")
    assert len(opened(folder, pair="folders")) == 1


# Tables


def test_classes_and_attributes_from_a_table(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "x/1.png", "x/2.png", "x/3.png", "x/4.png")
    (folder / "labels.csv").write_text(
        "file,class,age,smile\nx/1.png,cat,3,1\n2.png,dog,4,0\n3,cat,5.5,1\nno.png,dog,1,1\n"
    )
    dataset = opened(folder, labels="labels.csv")
    assert dataset.names == ["x/1.png", "x/2.png", "x/3.png"]
    assert dataset.image_spec.classes == ("cat", "dog")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 1, 0]
    assert dataset.factors is not None
    assert dataset.factors["age"].tolist() == [3, 4, 5.5]
    assert set(dataset.factors) == {"age", "smile"}
    assert "1 picture that the table does not name left out" in dataset.found["read as"]
    assert any("1 row of the table name no picture" in note for note in dataset.found["notes"])
    elsewhere = tmp_path / "two.csv"
    elsewhere.write_text("1.png;a\n2.png;b\n")
    assert opened(folder, labels=str(elsewhere)).names == ["x/1.png", "x/2.png"]
    elsewhere.write_text("1.png;a\n2.png;b\n4.png;b\n")  # a table that changed is another
    assert len(opened(folder, labels=str(elsewhere))) == 3
    parts = tmp_path / "split.csv"
    parts.write_text("file,split\n1,train\n2,test\n3,val\n")
    divided = opened(folder, labels="labels.csv", split=str(parts))
    assert [divided.split(which).names for which in ("train", "validation", "test")] == [
        ["x/1.png"], ["x/3.png"], ["x/2.png"],
    ]  # fmt: skip


def test_the_table_of_stylegan_is_found(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "00000/img0.png", "00000/img1.png", "00001/img2.png")
    labels = [["00000/img0.png", 10], ["00000/img1.png", 2], ["00001/img2.png", 10]]
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    dataset = opened(folder)
    assert dataset.image_spec.classes == ("2", "10")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [1, 0, 1]
    (folder / "dataset.json").write_text(json.dumps({"labels": None}))
    assert opened(folder).image_spec.classes == ("00000", "00001")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("file,class\nz.png,a\n", "names none of the pictures; the first that it names is z.png"),
        ("file,class\n1.png,a\n1.png,b\n", "says two things of 1.png"),
        ("file,class\n1.png,a,b\n", "has 2 columns, and 3 in the row of 1.png"),
        ("file\n1.png\n", "needs two columns"),
        ("file,when,where\n1.png,now,here\n", "no column of classes"),
    ],
)
def test_tables_that_are_refused(opened: Opener, tmp_path: Path, text: str, sentence: str) -> None:
    folder = fill(tmp_path / "in", "1.png", "2.png")
    (folder / "t.csv").write_text(text)
    with pytest.raises(ReverieError, match=sentence):
        opened(folder, labels="t.csv")
    with pytest.raises(ReverieError, match=r"no table missing\.csv"):
        opened(folder, labels="missing.csv")


def test_tables_say_no_more_than_they_say(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.png", "a/2.png", "b/3.png")
    table = folder / "t.csv"
    table.write_text("file,class\nc/1.png,dog\na/2.png,cat\nb/3.png,dog\n")  # c/1.png is not there
    assert opened(folder, labels="t.csv").names == ["a/2.png", "b/3.png"]
    table.write_text("file,class\n/x/in/a/1.png,dog\n2.png,\n3,cat\n")  # by its end; no class; by its stem
    assert opened(folder, labels="t.csv").names == ["a/1.png", "b/3.png"]
    table.write_text("file,age,eyes\n1,2,blue\n2,3,\n3,4,1\n")
    kept = opened(folder, labels="t.csv", layout="classes")
    assert kept.image_spec.classes == ("a", "b")  # the folders' still
    assert set(kept.factors or {}) == {"age"}
    assert any("do not hold a number in each row: eyes" in note for note in kept.found["notes"])


def test_a_table_at_home_is_known_by_its_bytes(opened: Opener, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = fill(tmp_path / "in", "1.png", "2.png")
    for classes in ("ab", "cd"):
        (tmp_path / "t.csv").write_text("".join(f"{i}.png,{name}\n" for i, name in enumerate(classes, 1)))
        assert opened(folder, labels="~/t.csv").image_spec.classes == tuple(classes)


def test_what_two_folders_of_pairs_cannot_use_is_refused(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "A/1.png", "B/1.png")
    for pair in ("folders", "unpaired"):
        for wrong in ({"split": "s.csv"}, {"labels": "l.csv"}, {"layout": "flat"}, {"classes": "A"}):
            with pytest.raises(ReverieError, match="says nothing of two folders"):
                opened(folder, pair=pair, **wrong)


def test_a_class_called_mask_is_not_dropped_in_silence() -> None:
    names = [f"{folder}/{i}.png" for folder in ("mask", "nomask") for i in range(3)]
    with pytest.raises(ReverieError, match="mask may be a class or hold masks of nomask"):
        arrange(names)
    assert arrange(names, "classes").labels == ["mask"] * 3 + ["nomask"] * 3
    plain = arrange([name.replace("nomask", "images") for name in names])
    assert plain.said == "no classes; 3 pictures of masks left out"


# What files hold beside their pixels


def test_what_is_passed_over_in_a_file_is_told(opened: Opener, tmp_path: Path) -> None:
    from PIL import Image, ImageCms, TiffImagePlugin

    def notes(name: str) -> str:
        return " ".join(opened(tmp_path / name).found["notes"])

    fill(tmp_path / "plain", "1.png")
    frames = [Image.new("RGB", (8, 8), (i * 60, 90, 0)) for i in range(3)]
    (tmp_path / "gif").mkdir()
    frames[0].save(tmp_path / "gif" / "1.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "icc").mkdir()
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    frames[0].save(tmp_path / "icc" / "1.png", icc_profile=srgb)
    assert "animated" not in notes("plain")
    assert "pictures animated: of each the first picture is taken (1)" in notes("gif")
    assert "profile" not in notes("icc")
    frames[0].save(tmp_path / "icc" / "1.png", icc_profile=srgb.replace(b"sRGB", b"mine").replace(b"\0s\0R", b"\0m\0i"))
    assert "pictures with a colour profile other than sRGB: their numbers are taken as they are (1)" in notes("icc")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[262] = 0  # 0 is white
    (tmp_path / "tif").mkdir()
    values = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    Image.fromarray(values).save(tmp_path / "tif" / "1.tif", tiffinfo=tags)
    assert np.array_equal(everything(opened(tmp_path / "tif", range="full"))[0, 0], 65535 - values)


# What reverie wrote


def test_what_reverie_wrote_is_left_out_and_told(opened: Opener, tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a/1.png", "b/1.png")
    before = opened(folder)
    fill(folder, "contact-sheet.png", "drawn/0.png", "drawn/1.png", "runs/vae/samples/1.png", "old/samples/1.png")
    for name in ("contact-sheet.png", "drawn/0.png", "drawn/1.png"):
        mark_file(folder / name, folder / name)
    mark_folder(folder / "runs" / "vae", "run")
    for name in ("config.json", "model.safetensors"):  # a run of before there were marks
        (folder / "old" / name).write_text("{}")
    after = opened(folder)
    assert after.names == before.names
    assert after.image_spec == before.image_spec
    assert after.fingerprint == before.fingerprint
    assert "2 runs and 3 pictures that reverie wrote left out" in after.found["notes"]
    assert opened(folder / "drawn").names == ["0.png", "1.png"]  # what is asked for by its own name is meant
    with pytest.raises(ReverieError, match="is a run of reverie and no data"):
        opened(folder / "runs" / "vae")
    content = bytearray((folder / "drawn" / "0.png").read_bytes())
    content[-1] ^= 1  # somebody else wrote it since, at the same size
    (folder / "drawn" / "0.png").write_bytes(content)
    assert "drawn/0.png" in opened(folder, layout="flat").names


def test_runs_in_an_archive_are_left_out(opened: Opener, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for name in ("d/a/1.png", "d/b/1.png", "d/runs/vae/samples/1.png"):
            archive.writestr(name, png(len(name)))
        for name in ("config.json", "model.safetensors"):
            archive.writestr(f"d/runs/vae/{name}", "{}")
    dataset = opened(tmp_path / "x.zip")
    assert dataset.names == ["d/a/1.png", "d/b/1.png"]
    assert "1 run and 1 picture that reverie wrote left out" in dataset.found["notes"]


@given(st.binary(min_size=1, max_size=60).filter(lambda name: not set(name) & set(b"\0/\\") and name[0] != ord(".")))
@settings(max_examples=60, deadline=None)
def test_any_name_is_a_name(tmp_path_factory: pytest.TempPathFactory, name: bytes) -> None:
    folder = tmp_path_factory.mktemp("names")
    os.mkdir(folder / "in")
    for i, end in enumerate((b".png", b"x.png")):
        with open(os.path.join(os.fsencode(folder / "in"), name + end), "wb") as file:
            file.write(png(i))
    opened = opener(folder / "cache")
    for _ in range(2):
        dataset = opened(folder / "in")
        assert not dataset.unreadable
        assert sorted(os.fsencode(one) for one in dataset.names) == sorted((name + b".png", name + b"x.png"))
