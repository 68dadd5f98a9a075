"""Data that a program holds: arrays, tensors and PIL pictures, used in place or packed by what they show."""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import reverie
from commands import fails
from pictures import everything, picture
from reverie import run_folder, training_data
from reverie.artifact import write_config
from reverie.data import DataOptions, Dataset, Pairs, open_dataset, to_tensor
from reverie.data.sources import find
from reverie.data.splits import SPLITS
from reverie.errors import ReverieError
from reverie.scale import Scale
from runs import config_of, written

MEMORY = "memory:array"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def bytes_of(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def images(dataset: Dataset) -> np.ndarray:
    """(N, C, H, W) in [-1, 1]."""
    return to_tensor(everything(dataset)).numpy()


def packs(cache: Path) -> list[Path]:
    return sorted(cache.glob("*")) if cache.exists() else []


# Arrays and tensors, in place

VALUES = {
    "bool": lambda unit: unit > 0.5,
    "uint8": lambda unit: np.rint(unit * 255).astype(np.uint8),
    "uint16": lambda unit: np.rint(unit * 65535).astype(np.uint16),
    "big-endian": lambda unit: np.rint(unit * 65535).astype(">u2"),
    "float32": lambda unit: unit.astype(np.float32),
    "float64": lambda unit: unit,
    "signed": lambda unit: (2 * unit - 1).astype(np.float32),
}
BACK = {"bool": 1, "uint8": 255, "uint16": 65535, "big-endian": 65535}


@given(
    kind=st.sampled_from(sorted(VALUES)),
    layout=st.sampled_from(["nhw", "nhwc", "nchw"]),
    channels=st.sampled_from([1, 2, 3, 5]),
    tensor=st.booleans(),
    strided=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(deadline=None, max_examples=80)
def test_arrays_are_what_they_hold_and_what_the_file_of_them_is(
    tmp_path_factory: pytest.TempPathFactory,
    kind: str,
    layout: str,
    channels: int,
    tensor: bool,
    strided: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.mktemp("memory")
    unit = np.random.default_rng(seed).random((12, 1 if layout == "nhw" else channels, 20, 18))
    unit[0, 0, 0, :2] = 0, 1  # so that also "auto" of a file finds these for black and white
    values = VALUES[kind](unit)
    held = {"nhw": values[:, 0], "nhwc": values.transpose(0, 2, 3, 1), "nchw": values}[layout]
    if not strided:
        held = np.ascontiguousarray(held)
    given_data: Any = held
    if tensor and kind != "big-endian" and torch.__version__ >= "2.3":
        given_data = torch.from_numpy(held)
    dataset = open_dataset(given_data, cache=folder / "cache")
    assert packs(folder / "cache") == []
    wanted = values if kind == "signed" else values.astype(np.float64) / BACK.get(kind, 1) * 2 - 1
    assert np.abs(images(dataset) - wanted).max() < 1e-6
    rows = np.array([3, 3, -1, 0])
    assert np.array_equal(dataset.batch(rows), everything(dataset)[rows])
    np.save(folder / "same.npy", held)
    file = open_dataset(folder / "same.npy", cache=folder / "cache")
    assert np.array_equal(everything(file), everything(dataset))
    assert file.image_spec == dataset.image_spec
    for which in (*SPLITS, "all"):
        assert file.split(which).fingerprint == dataset.split(which).fingerprint
        assert list(file.split(which).names) == list(dataset.split(which).names)
        assert list(file.split(which).digests) == list(dataset.split(which).digests)


def test_labels_are_those_of_an_npz(tmp_path: Path, cache: Path) -> None:
    x, y = bytes_of(40, 9, 8), np.arange(40) % 3
    np.savez(tmp_path / "in.npz", images=x, labels=y)
    file = open_dataset(tmp_path / "in.npz", cache=cache)
    for labels in (y, y.tolist(), torch.from_numpy(y), y[:, None]):
        dataset = open_dataset((x, labels), cache=cache)
        assert dataset.fingerprint == file.fingerprint
        assert dataset.image_spec.classes == ("0", "1", "2")
    named = open_dataset((torch.from_numpy(x), ["dog" if number else "cat" for number in y]), cache=cache)
    assert named.image_spec.classes == ("cat", "dog")
    assert named.labels is not None
    assert named.labels.tolist() == np.minimum(y, 1).tolist()
    chosen = open_dataset((x, y), DataOptions(classes="2,0", limit=20), cache=cache)
    assert chosen.image_spec.classes == ("2", "0")
    assert len(chosen) == 20
    assert chosen.fingerprint == open_dataset(tmp_path / "in.npz", chosen.options, cache=cache).fingerprint
    assert len(packs(cache)) == 3  # two of the file, and its ledger


def test_nothing_is_copied_but_the_batch(cache: Path) -> None:
    x = bytes_of(30, 8, 9, 3)
    dataset = open_dataset(x, cache=cache)
    x[7] = 9
    assert (dataset.batch(np.array([7])) == 9).all()
    batch = dataset.batch(np.array([6]))
    batch[:] = 0
    assert x[6].any()
    t = torch.zeros(5, 3, 17, 18, dtype=torch.uint8)
    dataset = open_dataset(t, cache=cache)
    t[2] = 5
    assert (dataset.batch(np.array([2])) == 5).all()


def test_tensors_of_every_kind(cache: Path) -> None:
    unit = torch.rand(6, 3, 17, 18)
    whole = images(open_dataset(unit, cache=cache))
    learned = unit.clone().requires_grad_()
    assert np.array_equal(images(open_dataset(learned, cache=cache)), whole)
    for kind, error in ((torch.bfloat16, 0.02), (torch.float16, 0.002), (torch.float64, 1e-6)):
        assert np.abs(images(open_dataset(unit.to(kind), cache=cache)) - whole).max() < error


def test_what_must_be_fitted_is_packed_once(cache: Path) -> None:
    x = bytes_of(20, 12, 12, 3)
    small = open_dataset(x, DataOptions(size="6", channels="grey"), cache=cache)
    assert small.image_spec.shape == (1, 6, 6)
    (pack,) = packs(cache)
    stamp = pack.stat().st_mtime_ns
    again = open_dataset(x.copy(), DataOptions(size="6", channels="grey"), cache=cache)
    assert packs(cache) == [pack]
    assert pack.stat().st_mtime_ns == stamp
    assert np.array_equal(everything(again), everything(small))
    other = open_dataset(x[::-1], DataOptions(size="6", channels="grey"), cache=cache)
    assert np.array_equal(everything(other), everything(small)[::-1])
    labelled = open_dataset((x, np.arange(20) % 2), DataOptions(size="6", channels="grey"), cache=cache)
    assert labelled.labels is not None
    assert len(packs(cache)) == 3
    open_dataset(x, DataOptions(depth="float"), cache=cache)  # changes no shape
    assert len(packs(cache)) == 3


@pytest.mark.parametrize("pair", ["halves", "edges"])
def test_pairs_of_an_array_are_those_of_its_file(tmp_path: Path, cache: Path, pair: str) -> None:
    x = bytes_of(40, 8, 16, 3)
    np.save(tmp_path / "in.npy", x)
    held = open_dataset(x, DataOptions(pair=pair), cache=cache)
    assert packs(cache) == []
    file = open_dataset(tmp_path / "in.npy", DataOptions(pair=pair), cache=cache)
    assert isinstance(held, Pairs)
    assert held.fingerprint == file.fingerprint
    assert held.image_spec == file.image_spec
    assert np.array_equal(everything(held), everything(file))
    if pair == "halves":
        assert np.array_equal(everything(held.side("b")), x[:, :, 8:].transpose(0, 3, 1, 2))


def test_two_classes_of_an_array_are_sides(cache: Path) -> None:
    x, y = bytes_of(30, 9, 9), np.arange(30) % 3 > 0
    held = open_dataset((x / 255, np.where(y, "day", "night")), DataOptions(pair="unpaired"), cache=cache)
    assert isinstance(held, Pairs)
    assert np.abs(images(held.side("a"))[:, 0] - (x[y] / 127.5 - 1)).max() < 1e-6
    assert len(held.side("b")) == 10


# Layouts


def test_a_layout_is_said_where_shapes_do_not_say_it(tmp_path: Path, cache: Path) -> None:
    x = bytes_of(10, 4, 8, 3)
    with pytest.raises(ReverieError, match=r"unclear which axis .*say data.layout=nhwc or nchw"):
        open_dataset(x, cache=cache)
    last = open_dataset(x, layout="NHWC", cache=cache)
    first = open_dataset(x, DataOptions(layout="nchw"), cache=cache)
    assert (last.image_spec.shape, first.image_spec.shape) == ((3, 4, 8), (4, 8, 3))
    assert np.array_equal(everything(last), x.transpose(0, 3, 1, 2))
    assert np.array_equal(everything(first), x)
    np.save(tmp_path / "in.npy", x)
    np.savez(tmp_path / "in.npz", train_images=x[:6], test_images=x[6:])
    for name in ("in.npy", "in.npz"):
        assert np.array_equal(everything(open_dataset(tmp_path / name, layout="nhwc", cache=cache)), everything(last))
    with pytest.raises(ReverieError, match=r"which is not \(N, H, W\) .*data.layout=nhw says"):
        open_dataset(x, layout="nhw", cache=cache)
    with pytest.raises(ReverieError, match="at most 16 channels"):
        open_dataset(bytes_of(2, 5, 5, 17), layout="nhwc", cache=cache)
    Image.fromarray(picture()).save(tmp_path / "a.png")
    with pytest.raises(ReverieError, match="holds pictures; leave it out"):
        open_dataset(tmp_path / "a.png", layout="nhwc", cache=cache)
    with pytest.raises(ReverieError, match="digits is built-in data"):
        open_dataset("digits", layout="nhw", cache=cache)
    with pytest.raises(ReverieError, match=r"data\.layout cannot be 'HWCN'"):
        open_dataset(x, layout="HWCN", cache=cache)


def test_one_picture_is_not_taken_for_many(cache: Path) -> None:
    with pytest.raises(ReverieError, match=r"may be one picture.*pictures\[None\]"):
        open_dataset(bytes_of(20, 20, 3), cache=cache)
    assert len(open_dataset(bytes_of(20, 20, 3), layout="nhw", cache=cache)) == 20


# What floats mean


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-0.1, 1), (-0.4, 1), (-1, 1.1), (-3, 3), (0, 2), (-1.2, -1)])
def test_floats_that_could_mean_several_things_are_refused(cache: Path, low: float, high: float) -> None:
    x = np.linspace(low, high, 5 * 9 * 9).reshape(5, 9, 9)
    with pytest.raises(ReverieError, match=rf"floats from {low:g} to {high:g}.*data.range=LOW-HIGH.*or give uint8"):
        open_dataset(x, cache=cache)
    said = open_dataset(x, DataOptions(range=f"{low}-{high}"), cache=cache)
    assert np.allclose(images(said)[:, 0], (x - low) / (high - low) * 2 - 1, atol=1e-6)


def test_floats_are_0_to_1_or_signed(cache: Path) -> None:
    dark = np.full((3, 9, 9), 0.1)
    assert np.allclose(images(open_dataset(dark, cache=cache)), -0.8)
    low = np.linspace(-0.5, 0.2, 3 * 81).reshape(3, 9, 9)
    assert np.allclose(images(open_dataset(low, cache=cache))[:, 0], low, atol=1e-6)
    rounded = np.linspace(0, 1 + 1e-7, 3 * 81).reshape(3, 9, 9)
    assert images(open_dataset(rounded, cache=cache)).max() == 1
    for odd in (np.nan, np.inf):
        with pytest.raises(ReverieError, match="only finite numbers"):
            open_dataset(np.full((3, 9, 9), odd), cache=cache)


def test_a_range_that_is_said_wins(cache: Path) -> None:
    unit = np.linspace(0, 1, 3 * 81).reshape(3, 9, 9)
    assert np.allclose(images(open_dataset(unit, DataOptions(range="-1-1"), cache=cache))[:, 0], unit, atol=1e-6)
    signed = 2 * unit - 1
    full = images(open_dataset(signed, DataOptions(range="full"), cache=cache))[:, 0]
    assert np.allclose(full, np.maximum(signed, 0) * 2 - 1, atol=1e-6)


BLACK_TO_WHITE = np.linspace(0, 1, 6 * 81).reshape(6, 9, 9)
FORMS = {
    "uint8": np.rint(BLACK_TO_WHITE * 255).astype(np.uint8),
    "uint16": np.rint(BLACK_TO_WHITE * 65535).astype(np.uint16),
    "unit": BLACK_TO_WHITE,
    "signed": 2 * BLACK_TO_WHITE - 1,
}


@pytest.mark.parametrize("learned", [*FORMS, "255"])
@pytest.mark.parametrize("asked", list(FORMS))
def test_a_run_reads_black_as_black(cache: Path, learned: str, asked: str) -> None:
    options = DataOptions(range="0-255" if learned == "255" else "auto")
    run = open_dataset(FORMS["unit"] * 255 if learned == "255" else FORMS[learned], options, cache=cache)
    scales = run.image_spec.scales
    if learned == "255" and asked in ("unit", "signed"):  # its floats go from 0 to 255, and so do all that it is given
        shades = images(open_dataset(FORMS["unit"] * 255, options, cache=cache, scales=scales))
    else:
        shades = images(open_dataset(FORMS[asked], options, cache=cache, scales=scales))
    assert np.allclose(shades[:, 0], 2 * BLACK_TO_WHITE - 1, atol=0.005)


def test_a_run_of_signed_floats_reads_a_part_of_them(cache: Path) -> None:
    scales = open_dataset(FORMS["signed"], cache=cache).image_spec.scales
    part = FORMS["signed"][2:]  # from -0.33
    assert np.allclose(images(open_dataset(part, cache=cache, scales=scales))[:, 0], part, atol=1e-6)
    with pytest.raises(ReverieError, match=r"floats from -0\.3"):
        open_dataset(part, cache=cache, scales=open_dataset(FORMS["unit"], cache=cache).image_spec.scales)


def test_a_run_of_other_floats_reads_floats_as_its_own(cache: Path) -> None:
    scales = (Scale(32, "float", 0, 300),)  # as found in files
    for values in (FORMS["unit"] * 300, FORMS["unit"] * 20):
        shades = images(open_dataset(values, cache=cache, scales=scales))
        assert np.allclose(shades[:, 0], values / 150 - 1, atol=1e-6)


def test_a_range_of_the_run_s_files_is_not_that_of_floats(cache: Path) -> None:
    options = DataOptions(range="0-4095")
    shades = images(open_dataset(FORMS["unit"], options, cache=cache, scales=(Scale(16, "integer", 0, 4095),)))
    assert np.allclose(shades[:, 0], 2 * BLACK_TO_WHITE - 1, atol=1e-4)


# A data set of torch


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_takes_a_data_set(cache: Path, workers: int) -> None:
    x, y = bytes_of(21, 8, 9, 3), np.arange(21) % 4
    dataset = open_dataset((x, y), cache=cache)
    loader = torch.utils.data.DataLoader(dataset, batch_size=8, num_workers=workers)  # type: ignore[arg-type]
    pictures, labels = (torch.cat(parts) for parts in zip(*loader, strict=True))
    assert torch.equal(pictures, to_tensor(everything(dataset)))
    assert labels.tolist() == y.tolist()


def test_items_are_pictures_and_labels(cache: Path) -> None:
    x, y = bytes_of(5, 8, 9, 3), [3, 1, 3, 0, 1]
    dataset = open_dataset((x, y), cache=cache)
    first, label = dataset[0]
    assert (first.dtype, tuple(first.shape), label, type(label)) == (torch.float32, (3, 8, 9), 2, int)
    assert torch.equal(dataset[-1][0], dataset[4][0])
    assert dataset[np.int64(1)][1] == dataset[torch.tensor(1)][1] == 1  # type: ignore[index]
    plain = open_dataset(x, cache=cache)
    assert torch.equal(torch.stack(list(plain)), to_tensor(everything(plain)))  # type: ignore[call-overload]
    assert len(plain.__getitems__([4, -5])) == 2
    for beyond in (5, -6):
        with pytest.raises(IndexError):
            plain[beyond]
    for odd in (slice(2), "0", 1.0, None):
        with pytest.raises(TypeError):
            plain[odd]  # type: ignore[index]


def test_a_data_set_can_be_sent_to_another_process(tmp_path: Path, cache: Path) -> None:
    x = bytes_of(12, 8, 12, 3)
    np.save(tmp_path / "in.npy", x)
    for data, options in (
        (x, DataOptions(limit=7)),
        (x, DataOptions(pair="halves")),
        (tmp_path / "in.npy", DataOptions()),
    ):
        dataset = open_dataset(data, options, cache=cache)
        assert np.array_equal(everything(pickle.loads(pickle.dumps(dataset))), everything(dataset))
    large = open_dataset(tmp_path / "in.npy", DataOptions(size="200"), cache=cache)
    assert len(pickle.dumps(large)) < 50_000 < everything(large).nbytes  # its file is mapped anew


# PIL pictures


def opened_files(folder: Path) -> list[Image.Image]:
    return [Image.open(path) for path in sorted(folder.iterdir())]


def test_pil_pictures_are_read_as_their_files_are(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    colour = Image.fromarray(picture(1, 40, 30, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    made = {
        "a.png": colour,
        "b.png": colour.convert("P", palette=Image.Palette.ADAPTIVE),
        "c.png": Image.fromarray(picture(2, 33, 50, 4)),
        "d.png": Image.fromarray(picture(3, 36, 36)),
        "e.png": Image.fromarray(picture(3, 36, 36)).convert("1"),
        "f.tif": colour.convert("CMYK"),
    }
    for name, image in made.items():
        image.save(folder / name)
    colour.save(folder / "g.png", exif=exif)
    for options in (DataOptions(channels="rgb"), DataOptions(channels="grey", size="20x31", fit="pad")):
        files = open_dataset(folder, options, cache=cache)
        held = open_dataset(opened_files(folder), options, cache=cache)
        assert np.array_equal(everything(held), everything(files))
        assert held.image_spec == files.image_spec
        assert held.found["sizes"] == files.found["sizes"]
    halves = DataOptions(channels="rgb", size="16x8", pair="halves", fit="stretch")
    even = [image for image in opened_files(folder) if image.width % 2 == 0]
    assert len(open_dataset(even, halves, cache=cache)) == len(even)


@pytest.mark.parametrize("mode", ["I;16", "F", "I"])
def test_deep_pil_pictures_keep_their_depth(cache: Path, mode: str) -> None:
    kinds = {"I;16": np.uint16, "F": np.float32, "I": np.int32}
    values = [(np.linspace(0, 60000, 81).reshape(9, 9) + i).astype(kinds[mode]) for i in range(3)]
    pil = [Image.fromarray(one) for one in values]
    assert {image.mode for image in pil} == {mode}
    dataset = open_dataset(pil, cache=cache)
    (scale,) = dataset.image_spec.scales
    assert isinstance(scale, Scale)
    back = scale.values((images(dataset).astype(np.float64) + 1) / 2)
    assert np.abs(back[:, 0] - np.stack(values)).max() < 0.51


def test_pil_pictures_are_known_by_what_they_show(cache: Path) -> None:
    def opened(*arrays: np.ndarray, labels: list[str] | None = None) -> Dataset:
        pil = [Image.fromarray(array) for array in arrays]
        return open_dataset((pil, labels) if labels else pil, cache=cache)

    one, two = picture(1), picture(2)
    first = opened(one, two)
    buffer = io.BytesIO()
    Image.fromarray(one).save(buffer, "PNG")
    with Image.open(buffer) as read:
        again = open_dataset([read, Image.fromarray(two)], cache=cache)
    assert again.fingerprint == first.fingerprint
    assert len(list(cache.glob("*.pack"))) == 1
    assert opened(two, one).fingerprint != first.fingerprint
    assert np.array_equal(everything(opened(two, one)), everything(first)[::-1])
    labelled = opened(one, two, labels=["b", "a"])
    assert labelled.image_spec.classes == ("a", "b")
    assert labelled.labels is not None
    assert labelled.labels.tolist() == [1, 0]
    palette = Image.new("P", (4, 4))
    palette.putpalette([255, 0, 0] * 256)
    red = open_dataset([palette], cache=cache)
    blue = palette.copy()
    blue.putpalette([0, 0, 255] * 256)
    assert not np.array_equal(everything(red), everything(open_dataset([blue], cache=cache)))


def test_a_pil_picture_that_cannot_be_read_is_named(tmp_path: Path, cache: Path) -> None:
    Image.fromarray(picture(1, 64, 64, 3)).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:3000])
    dataset = open_dataset([Image.fromarray(picture(0, 64, 64, 3)), Image.open(tmp_path / "cut.png")], cache=cache)
    assert [name for name, _ in dataset.unreadable] == ["1"]
    assert len(dataset) == 1


# What is refused


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (np.empty((0, 8, 8)), "no pictures"),
        (np.empty((0, 8, 8, 3)), "no pictures"),
        ([], "no pictures"),
        (np.zeros((4, 4)), r"shape \(4, 4\), as one picture has"),
        (np.zeros((4, 0, 8)), "no pixels"),
        (np.array([None, 1]), "type object; only numbers"),
        (np.zeros((4, 9, 9), complex), "type complex128; only numbers"),
        ((bytes_of(4, 9, 9), [1, 2]), "one integer or name for each picture"),
        ((bytes_of(4, 9, 9), np.zeros(4)), "one integer or name for each picture"),
        (([Image.new("L", (4, 4))], [1, 2]), "one integer or name for each picture"),
        ([Image.new("L", (4, 4)), 3], "PIL pictures, and also a int"),
        (["a.png", "b.png"], "give the folder of the pictures"),
        ([Path("a.png")], "give the folder of the pictures"),
        ({"images": bytes_of(4, 9, 9)}, "can't be given as dict"),
        (3, "can't be given as int"),
        (None, "can't be given as NoneType"),
        (iter([1]), "give a map-style data set"),
    ],
)
def test_what_is_no_data_is_refused_in_a_sentence(cache: Path, data: Any, match: str) -> None:
    with pytest.raises(ReverieError, match=match) as raised:
        open_dataset(data, cache=cache)
    assert "\n" not in str(raised.value)
    assert packs(cache) == []


def test_a_data_set_is_handed_through(cache: Path) -> None:
    dataset = reverie.open_dataset(bytes_of(9, 8, 8), DataOptions(flip=True), cache=cache)
    assert open_dataset(dataset) is dataset
    assert open_dataset(dataset, DataOptions(flip=True)) is dataset
    with pytest.raises(ReverieError, match="opened already, with options of its own"):
        open_dataset(dataset, DataOptions(limit=3))


def test_a_path_is_no_word(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ReverieError, match=r"no \./digits"):
        open_dataset(Path("digits"), cache=cache)
    (tmp_path / "digits").mkdir()
    Image.fromarray(picture()).save(tmp_path / "digits" / "a.png")
    assert len(open_dataset(Path("digits"), cache=cache)) == 1


# The word for data in memory, and a run that was trained on it


def test_a_word_for_data_in_memory_means_no_place(tmp_path: Path, cache: Path) -> None:
    assert open_dataset(bytes_of(9, 8, 8), cache=cache).spec == MEMORY
    assert open_dataset(torch.zeros(9, 8, 8), cache=cache).spec == "memory:tensor"
    assert open_dataset([Image.new("L", (8, 8))], cache=cache).spec == "memory:pictures"
    assert training_data.place_of(MEMORY) is None
    assert not training_data.is_path(MEMORY)
    assert not training_data.holds(tmp_path, MEMORY)
    assert not training_data.inside(tmp_path, MEMORY)
    assert not training_data.same_place(MEMORY, MEMORY)
    assert not training_data.same_place(MEMORY, "digits")
    assert training_data.find_own({"spec": MEMORY, "place": None}) is None
    assert next(run_folder.default_folders("vae", MEMORY)) == Path("runs/vae-array")
    for ask in (lambda: find(MEMORY, DataOptions(), cache), lambda: open_dataset(MEMORY, cache=cache)):
        with pytest.raises(ReverieError, match="can't be opened by its name; give the data itself"):
            ask()


def test_commands_say_that_a_run_learned_from_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of("vae", written(tmp_path / "run"))
    config["data"] |= {"spec": MEMORY, "place": None}
    write_config(tmp_path / "run", config)
    said = fails(capsys, "evaluate", tmp_path / "run")
    assert "was trained on data in memory ('memory:array'); give --data" in said


# Read for a run


def test_integers_mean_the_same_in_every_company(cache: Path) -> None:
    x = bytes_of(8, 9, 9)
    scales = open_dataset(x, cache=cache).image_spec.scales
    dark = x // 4
    for wide in (dark.astype(np.int64), dark.astype(np.uint16) * 257):
        read = images(open_dataset(wide, cache=cache, scales=scales))
        assert np.allclose(read, images(open_dataset(dark, cache=cache, scales=scales)), atol=1e-6)
    few = open_dataset(x // 16, cache=cache)  # 0 to 15, of which the last is white
    assert few.image_spec.scales[0].high == 15
    again = open_dataset((x[:2] // 64).astype(np.int32), cache=cache, scales=few.image_spec.scales)
    assert np.array_equal(images(again), images(open_dataset(x[:2] // 64, cache=cache, scales=few.image_spec.scales)))
    with pytest.raises(ReverieError, match=r"whole numbers from -1 to .*data\.range=LOW-HIGH"):
        open_dataset(x.astype(np.int64) - 1 - x.min(), cache=cache, scales=scales)


def test_floats_that_may_be_of_another_range_than_the_run_s_are_refused(cache: Path) -> None:
    x = bytes_of(8, 9, 9).astype(np.float32)
    scales = open_dataset(x, DataOptions(range="0-255"), cache=cache).image_spec.scales
    assert np.allclose(images(open_dataset(x[:2], cache=cache, scales=scales))[:, 0], x[:2] / 127.5 - 1, atol=1e-6)
    for options in (DataOptions(), DataOptions(range="0-255")):  # the second as the run's own settings say
        with pytest.raises(ReverieError, match=r"the run's go from 0 to 255.*say what is black and white"):
            open_dataset(x / 255, options, cache=cache, scales=scales)


def test_one_class_is_a_class_where_a_model_is_given_it(cache: Path) -> None:
    x, y = bytes_of(6, 9, 9), np.full(6, 3)
    scales = open_dataset(x, cache=cache).image_spec.scales
    pil = [Image.fromarray(one) for one in x]
    items = [(one, 3) for one in x]
    for data in ((x, y), (pil, y), items):
        assert open_dataset(data, cache=cache).labels is None  # there is nothing to learn of it
        for options in (DataOptions(), DataOptions(size="6")):
            one = open_dataset(data, options, cache=cache, scales=scales)
            assert one.image_spec.classes == ("3",)
            assert one.labels is not None
            assert one.labels.tolist() == [0] * 6
        assert open_dataset(data, cache=cache).labels is None


def test_labels_of_other_types(cache: Path) -> None:
    x, names = bytes_of(4, 9, 9), ["cat", "dog", "cat", "dog"]
    for labels, classes in (
        (np.array([True, False, True, False]), ("0", "1")),
        (np.array(names, object), ("cat", "dog")),
        (np.array([4, 7, 4, 7], object), ("4", "7")),
        (torch.tensor([True, False, True, False]), ("0", "1")),
    ):
        assert open_dataset((x, labels), cache=cache).image_spec.classes == classes
    for labels in (np.array([0.5, 1, 2, 3], object), np.array(["cat", 1, "cat", None], object)):
        with pytest.raises(ReverieError, match="one integer or name for each picture"):
            open_dataset((x, labels), cache=cache)


@pytest.mark.parametrize("one", [np.zeros((20, 20, 1)), torch.zeros(3, 20, 20), torch.zeros(20, 20, 1)])
def test_one_picture_with_channels_is_not_taken_for_many(cache: Path, one: Any) -> None:
    with pytest.raises(ReverieError, match=r"may be one picture, .*give pictures\[None\]"):
        open_dataset(one, cache=cache)
    assert len(open_dataset(one, layout="NHW", cache=cache)) == len(one)
    assert len(open_dataset(one[None], cache=cache)) == 1
