"""Map-style data sets of torch and of Hugging Face: read once, or as a stream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pictures import everything, picture, png
from reverie.data import DataOptions, Dataset, Pairs, items, open_dataset, to_tensor
from reverie.data.loader import BatchLoader
from reverie.errors import ReverieError
from reverie.features.reference import fingerprint

X = np.random.default_rng(0).integers(0, 256, (60, 3, 18, 17), dtype=np.uint8)
Y = np.arange(60) % 3


class Computed(torch.utils.data.Dataset[Any]):
    """Items by a function of their number; counts how often each is read."""

    def __init__(self, item: Callable[[int], Any], count: int = len(X), **attributes: Any) -> None:
        self.item, self.count, self.read = item, count, [0] * count
        self.__dict__ |= attributes

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> Any:
        if number >= self.count:
            raise IndexError(number)
        self.read[number] += 1
        return self.item(number)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


FORMS: dict[str, Callable[[int], Any]] = {
    "tensor": lambda i: torch.from_numpy(X[i]),
    "channels first": lambda i: X[i],
    "channels last": lambda i: X[i].transpose(1, 2, 0),
    "pil": lambda i: Image.fromarray(X[i].transpose(1, 2, 0)),
    "one": lambda i: (torch.from_numpy(X[i]),),
    "dict": lambda i: {"pixel_values": X[i], "id": i},
}
LABELLED: dict[str, Callable[[int], Any]] = {
    "pair": lambda i: (X[i], int(Y[i])),
    "tensors": lambda i: (torch.from_numpy(X[i]), torch.tensor(Y[i])),
    "list": lambda i: [X[i], Y[i]],
    "dict": lambda i: {"image": X[i], "label": Y[i]},
    "labels": lambda i: {"img": X[i], "labels": str(Y[i])},
}


@pytest.mark.parametrize("form", [*FORMS, *(f"labelled {form}" for form in LABELLED)])
def test_items_of_every_form_are_the_array_of_them(cache: Path, form: str) -> None:
    labelled = form.removeprefix("labelled ") if form.startswith("labelled ") else ""
    data = Computed(LABELLED[labelled] if labelled else FORMS[form])
    dataset = open_dataset(data, cache=cache)
    whole = open_dataset((X, Y) if labelled else X, cache=cache)
    assert dataset.spec == "memory:Computed"
    assert np.array_equal(everything(dataset), X)
    assert (dataset.fingerprint, dataset.image_spec) == (whole.fingerprint, whole.image_spec)
    assert not any("differ" in note for note in dataset.found["notes"])
    assert set(data.read) == {1, 2}  # a few a second time
    assert data.read.count(2) == items.PROBES
    assert not cache.exists()


def test_what_torch_has_itself(cache: Path) -> None:
    tensors = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    dataset = open_dataset(tensors, cache=cache)
    assert dataset.fingerprint == open_dataset((X, Y), cache=cache).fingerprint
    some = open_dataset(torch.utils.data.Subset(tensors, range(10, 25)), cache=cache)
    assert np.array_equal(everything(some), X[10:25])
    assert np.array_equal(everything(open_dataset(list(X), cache=cache)), X)
    again = open_dataset(torch.utils.data.Subset(dataset, range(5)), cache=cache)  # type: ignore[arg-type]
    assert np.allclose(to_tensor(everything(again)).numpy(), X[:5] / 127.5 - 1, atol=1e-6)


def test_floats_of_items_are_told_apart(cache: Path) -> None:
    signed = open_dataset(Computed(lambda i: torch.from_numpy(X[i] / np.float32(127.5) - 1)), cache=cache)
    assert np.allclose(to_tensor(everything(signed)).numpy(), X / 127.5 - 1, atol=1e-6)
    half = open_dataset(Computed(lambda i: torch.from_numpy(X[i] / np.float32(255)).half()), cache=cache)
    assert np.allclose(to_tensor(everything(half)).numpy(), X / 127.5 - 1, atol=0.002)
    with pytest.raises(ReverieError, match="floats from 0 to 255"):
        open_dataset(Computed(lambda i: X[i].astype(np.float32)), cache=cache)
    grey = open_dataset(Computed(lambda i: X[i, 0] > 99), cache=cache)
    assert np.array_equal(everything(grey), np.where(X[:, :1] > 99, 255, 0))


def test_classes_have_the_names_that_the_data_set_gives(cache: Path) -> None:
    named = Computed(LABELLED["pair"], classes=["cat", "dog", "bird", "fish"])
    for options in (DataOptions(), DataOptions(stream=True)):
        dataset = open_dataset(named, options, cache=cache)
        assert dataset.image_spec.classes == ("cat", "dog", "bird")
        assert dataset.labels is not None
        assert dataset.labels.tolist() == Y.tolist()
    other = open_dataset(Computed(LABELLED["pair"], classes=["cat", "dog"]), cache=cache)  # they are of something else
    assert other.image_spec.classes == ("0", "1", "2")


def test_parts_and_sums_of_torch_keep_the_names_of_classes(cache: Path) -> None:
    names = ["cat", "dog", "bird"]
    named = Computed(LABELLED["pair"], classes=names)
    part = torch.utils.data.random_split(named, [40, 20], torch.Generator().manual_seed(0))[0]
    both = torch.utils.data.ConcatDataset([part, torch.utils.data.Subset(named, range(9))])
    own: Any = open_dataset((X, np.array(names)[Y]), cache=cache)
    for data in (part, both):
        assert open_dataset(data, cache=cache).image_spec.classes == tuple(names)
    assert open_dataset(torch.utils.data.Subset(own, range(30)), cache=cache).image_spec.classes == (
        "bird",
        "cat",
        "dog",
    )
    other = Computed(LABELLED["pair"], classes=["dog", "cat", "bird"])
    mixed = torch.utils.data.ConcatDataset([named, other])
    assert open_dataset(mixed, cache=cache).image_spec.classes == ("0", "1", "2")


def test_an_item_that_fails_is_named(cache: Path) -> None:
    broken = Computed(lambda i: X[i] if i != 37 else {}["lost"])
    with pytest.raises(ReverieError, match=r"Item 37 of memory:Computed cannot be read \(KeyError: 'lost'\)"):
        open_dataset(broken, cache=cache)


def test_options_hold_for_items(cache: Path) -> None:
    data = Computed(LABELLED["pair"])
    some = open_dataset(data, DataOptions(limit=20), cache=cache)
    assert len(some) == 20
    assert sum(count > 0 for count in data.read) == 20
    assert some.fingerprint == open_dataset((X, Y), DataOptions(limit=20), cache=cache).fingerprint
    chosen = DataOptions(classes="2,1")
    assert open_dataset(data, chosen, cache=cache).fingerprint == open_dataset((X, Y), chosen, cache=cache).fingerprint
    edges = DataOptions(pair="edges", limit=30)
    pairs = open_dataset(Computed(FORMS["pil"]), edges, cache=cache)
    assert isinstance(pairs, Pairs)
    assert pairs.fingerprint == open_dataset(X, edges, cache=cache).fingerprint
    assert not cache.exists()
    for fitted in (DataOptions(size="9x8"), DataOptions(size="9x8", channels="grey", fit="pad")):
        mine, theirs = (open_dataset(given, fitted, cache=cache) for given in (data, (X, Y)))
        assert np.array_equal(everything(mine), everything(theirs))


def test_large_sets_go_to_a_file_that_is_gone_afterwards(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(items, "HELD_BYTES", 1000)
    dataset = open_dataset(Computed(LABELLED["pair"]), cache=cache)
    assert np.array_equal(everything(dataset), X)
    assert dataset.fingerprint == open_dataset((X, Y), cache=cache).fingerprint
    assert list(cache.iterdir()) == []


def shaded(i: int) -> np.ndarray:
    """(20 to 22, 30, 3): smooth, so that how it is made smaller matters little."""
    y, x = np.mgrid[: 20 + i % 3, :30]
    return np.stack([8 * x, 10 * y, 4 * x + 5 * y + i], 2).astype(np.uint8)


def sized(kind: str) -> Callable[[int], Any]:
    if kind == "pil":
        return lambda i: Image.fromarray(shaded(i))
    if kind == "bytes":
        return lambda i: torch.from_numpy(shaded(i).transpose(2, 0, 1))
    return lambda i: torch.from_numpy(shaded(i).transpose(2, 0, 1) / np.float32(255))


@pytest.mark.parametrize("kind", ["pil", "bytes", "floats"])
@pytest.mark.parametrize("stream", [False, True])
def test_items_of_several_sizes_take_a_size(cache: Path, kind: str, stream: bool) -> None:
    with pytest.raises(ReverieError, match=r"different shapes.*\(3, 20, 30\) and \(3, 21, 30\).*data.size"):
        everything(open_dataset(Computed(sized(kind), 12), DataOptions(stream=stream), cache=cache))
    dataset = open_dataset(Computed(sized(kind), 12), DataOptions(size="10x15", stream=stream), cache=cache)
    assert dataset.image_spec.shape == (3, 10, 15)
    wanted = [Image.fromarray(shaded(i)) for i in range(12)]
    held = to_tensor(everything(open_dataset(wanted, DataOptions(size="10x15"), cache=cache)))
    assert (to_tensor(everything(dataset)) - held).abs().max() < (0.02 if kind == "floats" else 1e-6)


def test_values_stay_within_their_range_when_items_are_made_smaller(cache: Path) -> None:
    edges = np.zeros((1, 40, 40), np.float32)
    edges[:, 10:30, 10:30] = 1
    dataset = open_dataset(Computed(lambda i: edges, 3), DataOptions(size="16"), cache=cache)
    batch = everything(dataset)
    assert (batch.min(), batch.max()) == (0, 1)
    assert batch.mean() == pytest.approx(0.25, abs=0.02)
    words = Computed(lambda i: (edges * 65535).astype(np.uint16), 3)
    assert everything(open_dataset(words, DataOptions(size="16"), cache=cache)).max() == 65535


def test_items_of_several_kinds_are_refused(cache: Path) -> None:
    mixed = Computed(lambda i: X[i] if i != 7 else X[i] / 255)
    with pytest.raises(ReverieError, match=r"different types, uint8 and float64 .item 7"):
        open_dataset(mixed, cache=cache)
    modes = Computed(lambda i: Image.fromarray(picture(i)).convert("L" if i == 4 else "RGB"), 9)
    with pytest.raises(ReverieError, match=r"\(3, 8, 8\) and \(1, 8, 8\) .item 4.*data.channels"):
        open_dataset(modes, cache=cache)
    assert open_dataset(modes, DataOptions(channels="grey"), cache=cache).image_spec.shape == (1, 8, 8)


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (Computed(lambda i: X[i], 0), "no pictures"),
        (Computed(lambda i: "a.png"), "Item 0 of memory:Computed is of type str, which is no picture"),
        (Computed(lambda i: {"x": X[i]}), "Item 0 .*holds x, and not one of image, img, pixel_values"),
        (Computed(lambda i: (X[i], 0, i)), "is of 3 parts"),
        (Computed(lambda i: (X[i], 0.5)), "label of type float"),
        (Computed(lambda i: (X[i], {"boxes": []})), "label of type dict"),
        (Computed(lambda i: {"img": X[i], **({"label": 1} if i else {})}), "labels for some items alone"),
        (Computed(lambda i: np.zeros((4, 8, 3))), "unclear which axis"),
        (Computed(lambda i: np.zeros(4)), "expected is"),
        (torch.utils.data.DataLoader(Computed(FORMS["pil"])), "DataLoader has no items by number"),
        (torch.utils.data.ChainDataset([]), "ChainDataset has no items by number.*map-style"),
    ],
)
def test_what_is_no_item_is_refused_in_a_sentence(cache: Path, data: Any, match: str) -> None:
    with pytest.raises(ReverieError, match=match):
        open_dataset(data, cache=cache)


def test_a_set_that_says_it_is_longer_is_refused(cache: Path) -> None:
    longer = type("Longer", (Computed,), {"__len__": lambda self: self.count + 1})(FORMS["tensor"])
    with pytest.raises(ReverieError, match="says that it holds 61 items, and has no 60"):
        open_dataset(longer, cache=cache)


# Items that differ from one read to the next


def noisy(seed: int = 0) -> Computed:
    random = np.random.default_rng(seed)
    return Computed(lambda i: (np.clip(X[i] + random.integers(0, 9, X[i].shape), 0, 255).astype(np.uint8), Y[i]))


def test_random_items_are_used_as_they_were_read_first_and_that_is_said(cache: Path) -> None:
    dataset = open_dataset(noisy(), cache=cache)
    assert items.ONCE in dataset.found["notes"]
    assert "differ from one read to the next" in dataset.said
    assert np.array_equal(everything(dataset), everything(dataset))
    assert np.array_equal(everything(dataset), everything(open_dataset(noisy(), cache=cache)))
    assert dataset.fingerprint != open_dataset(noisy(1), cache=cache).fingerprint


def test_a_stream_reads_items_anew(cache: Path) -> None:
    data = noisy()
    dataset = open_dataset(data, DataOptions(stream=True), cache=cache)
    assert items.ANEW in dataset.found["notes"]
    assert "a resumed training cannot be exact" in dataset.said
    assert dataset.streamed
    assert not open_dataset(X, cache=cache).streamed
    assert dataset.image_spec.classes == ("0", "1", "2")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == Y.tolist()
    one, two = everything(dataset), everything(dataset)
    assert not np.array_equal(one, two)
    assert np.abs(one.astype(int) - X).max() <= 8
    other = open_dataset(noisy(1), DataOptions(stream=True), cache=cache)
    assert dataset.fingerprint == other.fingerprint
    assert dataset.fingerprint.startswith("streamed 60 of 3x18x17")
    assert dataset.split("train").fingerprint != dataset.split("test").fingerprint
    assert fingerprint(dataset) != fingerprint(other)  # a ruler of one is not that of the other
    parts = [set(dataset.split(which).names) for which in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 60
    assert [sorted(other.split(which).names) for which in ("test",)] == [sorted(parts[2])]
    assert not cache.exists()


def test_a_stream_asks_the_data_set_for_its_labels(cache: Path) -> None:
    for listed in (Y.tolist(), Y, torch.from_numpy(Y)):
        data = Computed(LABELLED["pair"], targets=listed)
        dataset = open_dataset(data, DataOptions(stream=True, classes="1,0", limit=30), cache=cache)
        assert sum(data.read) == items.PROBES
        rows = [int(name) for name in dataset.names]
        assert dataset.labels is not None
        assert dataset.labels.tolist() == (1 - Y[rows]).tolist()
        assert np.array_equal(everything(dataset), X[rows])
    wrong = Computed(LABELLED["pair"], targets=[0, 1])  # of something else
    labels = open_dataset(wrong, DataOptions(stream=True), cache=cache).labels
    assert labels is not None
    assert labels.tolist() == Y.tolist()


def test_labels_that_a_stream_lists_are_those_of_its_items(cache: Path) -> None:
    data = Computed(lambda i: (X[i], Y[i] % 2), targets=Y)  # it has made other labels of those that it lists
    labels = open_dataset(data, DataOptions(stream=True), cache=cache).labels
    assert labels is not None
    assert labels.tolist() == (Y % 2).tolist()


def test_a_stream_can_be_fed_and_loaded(cache: Path) -> None:
    dataset = open_dataset(noisy(), DataOptions(stream=True, size="9"), cache=cache)
    feed = BatchLoader(dataset, 0, torch.device("cpu"), workers=2)
    assert all(feed.take(8 * i, 8)[0].shape == (8, 3, 9, 9) for i in range(4))
    feed.close()
    loader = torch.utils.data.DataLoader(dataset, batch_size=20, num_workers=1)  # type: ignore[arg-type]
    assert torch.cat([labels for _, labels in loader]).tolist() == Y.tolist()
    assert len(dataset.batch(np.empty(0, np.int64))) == 0


def test_a_stream_of_floats_keeps_to_its_range(cache: Path) -> None:
    signed = Computed(lambda i: torch.from_numpy(X[i] / np.float32(127.5) - 1))
    dataset = open_dataset(signed, DataOptions(stream=True), cache=cache)
    assert np.allclose(to_tensor(everything(dataset)).numpy(), X / 127.5 - 1, atol=1e-6)
    odd = Computed(lambda i: X[i] / np.float32(255) - (i == 7))
    dataset = open_dataset(odd, DataOptions(stream=True), cache=cache)
    with pytest.raises(ReverieError, match=r"Item 7 of memory:Computed holds values from -1 to 0.*by data.range"):
        everything(dataset)
    with pytest.raises(ReverieError, match="floats from 0 to 255"):
        open_dataset(Computed(lambda i: X[i].astype(np.float32)), DataOptions(stream=True), cache=cache)
    masks = open_dataset(Computed(lambda i: X[i] % 2 * (1 + 98 * (i == 7))), DataOptions(stream=True), cache=cache)
    assert set(np.unique(masks.batch(np.arange(5)))) == {0, 255}
    with pytest.raises(ReverieError, match=r"Item 7 .*holds values from 0 to 99"):
        everything(masks)


def test_where_streams_are_refused(cache: Path) -> None:
    for data in (X, "digits", [Image.new("L", (8, 8))]):
        with pytest.raises(ReverieError, match=r"data\.stream reads the items of a torch .* is none"):
            open_dataset(data, DataOptions(stream=True), cache=cache)
    scales = open_dataset(X, cache=cache).image_spec.scales
    assert len(open_dataset(X, DataOptions(stream=True), cache=cache, scales=scales)) == 60  # said of the run's own
    with pytest.raises(ReverieError, match=r"leave out data\.pair=halves or"):
        DataOptions(stream=True, pair="halves")
    two = Computed(lambda i: (X[i], int(Y[i] > 0)))
    pairs = open_dataset(two, DataOptions(stream=True, pair="unpaired"), cache=cache)
    assert isinstance(pairs, Pairs)
    assert pairs.streamed
    assert np.array_equal(everything(pairs.side("a")), X[Y == 0])


# Hugging Face


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()
    return datasets


def hugging(hub: Any, start: int = 0, count: int = 9) -> Any:
    features = hub.Features({"picture": hub.Image(), "label": hub.ClassLabel(names=["zebra", "ant"])})
    rows = range(start, start + count)
    data = {"picture": [{"bytes": png(i), "path": None} for i in rows], "label": [i % 2 for i in rows]}
    return hub.Dataset.from_dict(data, features=features)


def held(dataset: Dataset) -> list[int]:
    known = {picture(i).tobytes(): i for i in range(40)}
    return [known[np.ascontiguousarray(one.transpose(1, 2, 0)).tobytes()] for one in everything(dataset)]


def test_a_hugging_face_data_set(cache: Path, hub: Any) -> None:
    dataset = open_dataset(hugging(hub), cache=cache)
    assert dataset.spec == "memory:huggingface"
    assert dataset.image_spec.classes == ("zebra", "ant")
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [i % 2 for i in range(9)]
    assert held(dataset) == list(range(9))
    again = open_dataset(hugging(hub), cache=cache)
    assert again.fingerprint == dataset.fingerprint
    assert len(list(cache.glob("*.pack"))) == 1
    plain = open_dataset(hugging(hub).remove_columns("label"), cache=cache)
    assert plain.labels is None


def test_parts_of_a_hugging_face_data_set_are_not_confused(cache: Path, hub: Any, tmp_path: Path) -> None:
    hugging(hub, 0, 20).to_parquet(tmp_path / "in.parquet")
    whole = hub.load_dataset("parquet", data_files=str(tmp_path / "in.parquet"), cache_dir=str(tmp_path / "hf"))
    for rows in (range(5), range(5, 10), [3, 1, 12]):
        assert held(open_dataset(whole["train"].select(rows), cache=cache)) == list(rows)
    assert held(open_dataset(whole["train"].with_format("torch"), cache=cache)) == list(range(20))
    turned = whole["train"].with_transform(
        lambda batch: {"image": [np.zeros((9, 20, 3), np.uint8)] * len(batch["label"])}
    )
    assert open_dataset(turned, cache=cache).image_spec.shape == (3, 9, 20)
    numbers = hugging(hub).cast_column("label", hub.Value("int64")).with_format("torch")
    assert open_dataset(numbers, cache=cache).image_spec.classes == ("0", "1")


def test_splits_of_a_hugging_face_data_set(cache: Path, hub: Any) -> None:
    both = hub.DatasetDict({"train": hugging(hub, 0, 12), "test": hugging(hub, 12, 5)})
    dataset = open_dataset(both, cache=cache)
    assert held(dataset.split("test")) == list(range(12, 17))
    assert len(dataset) == 17


def test_a_hugging_face_data_set_without_pictures_is_refused(cache: Path, hub: Any) -> None:
    with pytest.raises(ReverieError, match="memory:huggingface has no column of pictures"):
        open_dataset(hub.Dataset.from_dict({"text": ["a"]}), cache=cache)
    with pytest.raises(ReverieError, match="no pictures in memory:huggingface"):
        open_dataset(hugging(hub).select([]), cache=cache)


def test_labels_of_a_hugging_face_data_set(cache: Path, hub: Any) -> None:
    pictures = hugging(hub).remove_columns("label")
    for label in ([0.5] * 9, [[1, 0]] * 9):
        with pytest.raises(ReverieError, match=r"labels of type (float|list); give whole numbers or names"):
            open_dataset(pictures.add_column("label", label), cache=cache)
    some = open_dataset(pictures.add_column("label", [0, 1, None, *[0] * 6]), cache=cache)
    assert some.labels is None
    assert "without a label are 1 of 9 pictures" in some.said
