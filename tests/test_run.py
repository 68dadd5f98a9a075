"""A run as people hold it: what it opens, what it has not learned from, its tasks as methods, how it shows itself."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

import commands
import reverie
from commands import succeeds, words_for
from pictures import Held
from reverie.data import DataOptions, Dataset
from reverie.engine.model import ImageSpec
from reverie.errors import ReverieError
from reverie.evaluation import METRICS, moved
from reverie.inference.pictures import Subset, images_of, pictures_of, pixel_digests_of
from reverie.models.vae import CVAE, VAEConfig
from reverie.run import Run
from reverie.training_data import LISTING, learned_digests
from runs import written

Trained = Callable[[str], Path]
LIMIT = DataOptions(limit=80, validation=0.2, test=0.3)  # as the runs of `trained`


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run of each model that is asked for, on data that holds pictures out; not to be changed."""

    @cache
    def get(model: str) -> Path:
        folder = tmp_path_factory.mktemp("runs") / model
        commands.run(*words_for(folder, "data.validation=0.2", "data.test=0.3", model=model, steps=3))
        return folder

    return get


def folder(path: Path, count: int = 6, size: tuple[int, int] = (13, 10), seed: int = 0) -> Path:
    random = np.random.default_rng(seed)
    path.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(random.integers(0, 256, size, np.uint8)).save(path / f"{number}.png")
    return path


def exported(dataset: reverie.Dataset | Subset, path: Path) -> Path:
    """The pictures of a set as files of a folder."""
    path.mkdir()
    for number, picture in enumerate(dataset.batch(np.arange(len(dataset)))):
        Image.fromarray(picture[0]).save(path / f"{number:04d}.png")
    return path


@pytest.fixture
def vae(trained: Trained) -> Run:
    return reverie.load(trained("vae"))


# Data


def test_a_run_opens_pictures_of_other_sizes_as_its_own(vae: Run, tmp_path: Path) -> None:
    opened = vae.open(str(folder(tmp_path / "new", 90)))  # more than the limit of its own
    assert opened.image_spec.shape == vae.image_spec.shape == (1, 8, 8)
    assert len(opened) == 90
    assert len(vae.open(tmp_path / "new", "test")) > 0  # a path serves as well
    Image.new("RGB", (9, 9)).save(tmp_path / "rgb.png")
    with pytest.raises(ReverieError, match=r"rgb.png has pictures of \(3, 8, 8\)"):
        vae.open(str(tmp_path / "rgb.png"))
    assert vae.open(str(tmp_path / "rgb.png"), channels="grey").image_spec.shape == (1, 8, 8)


def test_by_default_it_opens_its_own_test_pictures(vae: Run, tmp_path: Path) -> None:
    own = reverie.open_dataset("digits", LIMIT)
    assert vae.open().names == vae.open("digits").names == own.split("test").names
    assert vae.open(split="train").fingerprint == own.split("train").fingerprint
    assert vae.open("digits", "all").fingerprint == own.fingerprint
    shutil.copytree(vae.path, tmp_path / "lost")
    config = json.loads((tmp_path / "lost" / "config.json").read_text())
    config["data"]["spec"] = str(tmp_path / "gone")
    (tmp_path / "lost" / "config.json").write_text(json.dumps(config))
    with pytest.raises(ReverieError, match="which is not there; give the data"):
        reverie.load(tmp_path / "lost").open()


def test_options_are_over_those_of_the_run(vae: Run, tmp_path: Path) -> None:
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 2).save(tmp_path / "0.png")
    plain = vae.open(str(tmp_path)).batch(np.arange(1))
    assert plain.max() == 126
    assert vae.open(str(tmp_path), range="0-126").batch(np.arange(1)).max() == 255
    with pytest.raises(ReverieError, match="rnage"):
        vae.open(str(tmp_path), rnage="0-126")


def test_a_dataset_is_taken_as_it_is(vae: Run) -> None:
    test = reverie.open_dataset("digits", LIMIT).split("validation")
    assert vae.open(test) is test
    with pytest.raises(ReverieError, match="the run was trained on"):
        vae.open(reverie.open_dataset("digits", DataOptions(size="9x9", limit=20)))


def test_how_data_was_read_is_told_to_whoever_listens(vae: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "reverie"):
        vae.open()
    assert caplog.messages == [vae.open().said]


# Held out


def test_what_was_learned_from_is_not_held_out(vae: Run) -> None:
    own = reverie.open_dataset("digits", LIMIT)
    held = {split: set(own.split(split).names) for split in ("train", "validation", "test")}
    assert set(vae.held_out().names) == (held["validation"] | held["test"]) - held["train"]
    assert set(vae.held_out(judged=vae.open()).names) == held["validation"] - held["train"]
    assert set(vae.held_out(own, own.split("test")).names) == held["validation"] - held["train"]


def test_training_pictures_are_told_by_their_content_under_other_names(trained: Trained, tmp_path: Path) -> None:
    own = reverie.open_dataset("digits", LIMIT)
    training, new = own.split("train"), vae_new(own)
    run = reverie.load(trained("vae"))
    mixed = Subset(own, np.flatnonzero([n in {*training.names[:5], *new.names} for n in own.names]))
    assert len(run.held_out(mixed)) == len(new)  # a set in memory, whatever its pictures are called
    files = reverie.open_dataset(str(exported(mixed, tmp_path / "files")))
    assert len(run.held_out(files)) == len(new)  # others bytes, the same pixels
    with pytest.raises(ReverieError, match="neither learned from nor are to be judged; judge other pictures"):
        run.held_out(Subset(own, np.flatnonzero([n in set(training.names) for n in own.names])))
    assert len(run.held_out(files, judged=Subset(files, np.arange(len(files) - 1)))) <= 1


def vae_new(own: Dataset) -> Subset:
    train = set(own.split("train").names)
    return Subset(own, np.flatnonzero([name not in train for name in own.names]))


def test_a_copy_of_the_training_folder_is_told_by_its_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = folder(tmp_path / "data", 30, (8, 8))
    run = reverie.train(
        "ae", str(data), tmp_path / "run", quiet=True, device="cpu",
        settings={"train": {"steps": 1, "batch_size": 4}, "model": {"network": "mlp", "width": 4, "latent": 3}},
    )  # fmt: skip
    copy = tmp_path / "copy"
    copy.mkdir()
    for number, file in enumerate(sorted(data.glob("*.png"))):
        shutil.copy(file, copy / f"another-{number}.png")
    training = set(run.open(split="train").digests)
    assert learned_digests(run.path) == training
    held_out = run.held_out(str(copy))
    assert set(held_out.digests or ()) == set(run.open(split="all").digests) - training
    shutil.rmtree(data)
    assert len(run.held_out(reverie.open_dataset(str(copy)))) == len(held_out)  # its own data is gone
    (run.path / LISTING).write_text("{")
    assert len(run.held_out(str(copy))) == 30  # nothing is known any more
    capsys.readouterr()


# Methods


def test_methods_are_the_functions(vae: Run) -> None:
    model, test = vae.model, vae.open()
    images = images_of(model, test)
    assert torch.equal(vae.sample(5, seed=3), reverie.sample(model, 5, seed=3))
    assert torch.equal(vae.reconstruct(images), reverie.reconstruct(model, images))
    assert torch.equal(vae.reconstruct(test), reverie.reconstruct(model, images))
    codes = reverie.embed(model, test).codes
    assert np.array_equal(vae.encode(test).numpy(), codes)
    assert torch.equal(vae.encode(images), reverie.latents_of(model, images))
    assert vae.embed().names == test.names
    assert np.allclose(vae.embed(images).codes, codes, atol=1e-5)
    found, wanted = vae.project(images[:2], steps=3, starts=1), reverie.project(model, images[:2], steps=3, starts=1)
    assert torch.equal(found.latents, wanted.latents)
    path = reverie.interpolate(model, between=2, ends=reverie.latents_of(model, images[:3]))
    assert torch.equal(vae.interpolate(test, stops=3, between=2), path)
    assert torch.equal(vae.interpolate(images, stops=3, between=2), path)
    assert torch.equal(vae.interpolate(stops=3, between=2), reverie.interpolate(model, 3, 2))
    turned = reverie.traverse(model, images[0], vae.spread(), rows=2, columns=3)
    assert torch.equal(vae.traverse(rows=2, columns=3).pictures, turned.pictures)
    assert torch.equal(vae.traverse(images, rows=2, columns=3).pictures, turned.pictures)
    training = vae.open(split="train")
    beside = vae.neighbours(test, count=3, nearest=2)
    assert np.array_equal(beside.found.indices, reverie.neighbours(beside.images, training, 2).indices)
    assert beside.sheet().shape == (9, 1, 8, 8)


def test_methods_of_a_conditional_model_take_the_labels_of_the_data(trained: Trained) -> None:
    run = reverie.load(trained("cvae"))
    test = run.open()
    assert test.labels is not None
    images, names = images_of(None, test), [test.image_spec.classes[i] for i in test.labels]
    wanted = reverie.reconstruct(run.model, images, names)
    assert torch.equal(run.reconstruct(test), wanted)
    assert torch.equal(reverie.reconstruct(run.model, test), wanted)
    assert torch.equal(run.reconstruct(images, names), wanted)
    with pytest.raises(ReverieError, match="needs the class label of each picture"):
        run.reconstruct(images)
    found = run.classify(samples=2)
    assert np.array_equal(found.log_joint, reverie.classify(run.model, test, samples=2).log_joint)
    assert run.classify(reject=0.4, samples=2).threshold is not None


def test_scores_are_those_of_a_detector_of_held_out_pictures(vae: Run, tmp_path: Path) -> None:
    new = folder(tmp_path / "new")
    finder = reverie.detector(vae.model, vae.held_out(), rate=0.3)
    found = vae.score(str(new), rate=0.3)
    scores = finder.scores(vae.open(str(new)))
    assert np.array_equal(found.scores, scores)
    assert np.array_equal(found.p_values, finder.p_values(scores))
    assert np.array_equal(found.odd, finder.odd(scores))
    assert vae.detector(rate=0.3) is vae.detector(rate=0.3)  # calibrated once
    assert vae.detector(rate=0.3) is not vae.detector(rate=0.4)
    own = vae.score(rate=0.4)  # its own test pictures: these are not calibrated on
    assert len(own.scores) == len(vae.open())
    wanted = reverie.detector(vae.model, vae.held_out(judged=vae.open()), rate=0.4).scores(vae.open())
    assert np.array_equal(own.scores, wanted)


def test_a_run_evaluates_itself(vae: Run) -> None:
    own = reverie.open_dataset("digits", LIMIT)
    chosen: dict[str, Any] = {"metrics": ["reconstruction", "quality"], "generated": 12, "features": "pixels"}
    wanted = reverie.evaluate(vae.model, own.split("test"), training=own.split("train"), **chosen)
    assert vae.evaluate(**chosen) == wanted
    without = reverie.evaluate(vae.model, own.split("test"), ["reconstruction"])
    assert vae.evaluate(own.split("test"), metrics=["reconstruction"]) == without


def test_translations(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    run = reverie.load(trained("pix2pix"))
    pairs = run.open()
    side = images_of(None, pairs.side("a"))
    assert torch.equal(run.translate(pairs), reverie.translate(run.model, side))
    assert torch.equal(run.translate(side), reverie.translate(run.model, side))
    digits = run.translate("digits")  # single pictures
    assert digits.shape[1:] == side.shape[1:]
    colours = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    grey = [np.asarray(Image.fromarray(each).convert("L")) for each in colours]
    assert torch.equal(run.translate(list(colours)), run.translate(np.stack(grey)))
    for same in (colours, [Image.fromarray(each) for each in colours]):
        with caplog.at_level("INFO", "reverie"):
            assert torch.equal(run.translate(same), run.translate(np.stack(grey)))
        assert re.search("pictures that are (rgb|RGB) are read as 1", caplog.text)  # not made grey in silence
        caplog.clear()
    with pytest.raises(ReverieError, match="several sizes, such as 8x8 and 12x8"):
        run.translate([Image.new("L", (8, 8)), Image.new("L", (8, 12))])  # nor cut
    with pytest.raises(ReverieError, match="cannot translate"):
        reverie.load(trained("vae")).translate(side)


def test_what_a_model_cannot_do_is_said(trained: Trained) -> None:
    run = reverie.load(trained("gan"))
    with pytest.raises(ReverieError, match="cannot embed"):
        run.encode(torch.zeros(1, 1, 8, 8) - 1)
    with pytest.raises(ReverieError, match="leave digits out"):
        run.traverse("digits")
    assert run.traverse(rows=1, columns=3).pictures.shape == (3, 1, 8, 8)


def test_a_tensor_of_floats_must_say_what_is_black(vae: Run) -> None:
    unit = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ReverieError, match='range="0-1" or range="-1-1"'):
        vae.reconstruct(unit)
    assert torch.equal(vae.reconstruct(unit, range="-1-1"), reverie.reconstruct(vae.model, unit))
    assert torch.equal(reverie.reconstruct(vae.model, unit), vae.reconstruct(unit, range="-1-1"))
    for function in (vae.reconstruct, lambda images: reverie.reconstruct(vae.model, images)):
        with pytest.raises(ReverieError, match=r"pictures in \[-1, 1\], and this one reaches from 0 to 255"):
            function(torch.linspace(0, 255, 64).view(1, 1, 8, 8))


def test_a_tensor_of_floats_means_one_thing_everywhere(vae: Run) -> None:
    images = torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(0))  # in [0, 1], a part of [-1, 1]
    model = vae.model
    codes = reverie.latents_of(model, images)
    torch.testing.assert_close(torch.from_numpy(reverie.embed(model, images).codes), codes, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(images_of(None, pictures_of(None, images)), images, atol=1e-6, rtol=0)
    finder = reverie.detector(model, images, rate=0.1)
    assert np.allclose(finder.normal, np.sort(finder.scores(images)))
    signed = images * 2 - 1
    kept = vae.open(signed[:, :, :, :7])
    assert kept.image_spec.shape == (1, 8, 8)
    torch.testing.assert_close(images_of(None, vae.open(signed / 2)), signed / 2, atol=1e-6, rtol=0)
    for use in (vae.open, vae.evaluate, vae.held_out, lambda x: vae.score(signed, normal=x)):
        with pytest.raises(ReverieError, match='range="0-1" or range="-1-1"'):
            use(images)  # type: ignore[operator]
    torch.testing.assert_close(images_of(None, vae.open(images, range="0-1")), signed, atol=1e-6, rtol=0)
    with pytest.raises(ReverieError, match=r"this one has the shape \(30, 8, 8\)"):
        reverie.embed(model, images[:, 0])


# Tasks take anything


def test_functions_take_what_can_be_opened(vae: Run, tmp_path: Path) -> None:
    spec = str(folder(tmp_path / "new", 30))
    model, opened = vae.model, vae.open(spec)
    assert pixel_digests_of(pictures_of(model, spec)) == pixel_digests_of(opened)
    images = images_of(model, spec)
    assert torch.equal(images, images_of(model, opened))
    assert np.array_equal(reverie.embed(model, spec).codes, reverie.embed(model, opened).codes)
    assert torch.equal(reverie.reconstruct(model, spec), reverie.reconstruct(model, images))
    assert torch.equal(reverie.latents_of(model, spec), reverie.latents_of(model, images))
    assert torch.equal(reverie.heat_map(model, spec), reverie.heat_map(model, images))
    finder = reverie.detector(model, spec, rate=0.1)
    assert np.array_equal(finder.scores(spec), finder.scores(opened))
    assert np.array_equal(finder.normal, reverie.detector(model, opened, rate=0.1).normal)
    figures = reverie.evaluate(model, spec, ["reconstruction"])
    assert figures == reverie.evaluate(model, opened, ["reconstruction"])
    nearest = reverie.neighbours(spec, opened, 1)
    assert nearest.indices[:, 0].tolist() == list(range(30))


class Squares(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """Pictures that are computed."""

    def __len__(self) -> int:
        return 30

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        picture = torch.zeros(1, 8, 8)
        picture[:, : 1 + number % 8, : 1 + number // 8] = 1
        return picture, number % 3


def kinds_of(pixels: NDArray[np.uint8]) -> dict[str, Any]:
    """The same pictures (N, 1, 8, 8) in many ways."""
    unit = pixels.astype(np.float32) / 255
    return {
        "bytes": pixels,
        "grey": pixels[:, 0],
        "channels last": pixels.transpose(0, 2, 3, 1),
        "floats": unit,
        "signed": unit * 2 - 1,
        "tensor of bytes": torch.from_numpy(pixels),
        "PIL": [Image.fromarray(picture[0]) for picture in pixels],
        "pairs": [(torch.from_numpy(picture), 0) for picture in unit],
    }


@pytest.mark.parametrize("kind", kinds_of(np.zeros((2, 1, 8, 8), np.uint8)))
def test_pictures_in_memory_are_as_good_as_files(kind: str, vae: Run) -> None:
    own = vae.open(split="all")
    pixels = np.asarray(own.batch(np.arange(len(own))), np.uint8)
    pixels[:, :, 0, :2] = 0, 255  # so that every kind of floats can be told
    data, wanted = kinds_of(pixels)[kind], images_of(None, Held(pixels))
    close: dict[str, Any] = {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(images_of(vae.model, data), wanted, **close)
    codes = reverie.latents_of(vae.model, wanted)
    torch.testing.assert_close(vae.encode(data), codes, **close)
    torch.testing.assert_close(torch.from_numpy(reverie.embed(vae.model, data).codes), codes, **close)
    torch.testing.assert_close(vae.reconstruct(data), reverie.reconstruct(vae.model, wanted), **close)
    figures = vae.evaluate(data, "all", metrics=["reconstruction"])
    assert figures["reconstruction"]["mse"] == pytest.approx(
        reverie.evaluate(vae.model, Held(pixels), ["reconstruction"])["reconstruction"]["mse"], rel=1e-4
    )
    assert vae.score(data, rate=0.4).scores.shape == (len(own),)
    assert reverie.neighbours(data, data, 1).indices[:, 0].tolist() == list(range(len(own)))


def test_training_pictures_in_an_array_are_not_calibrated_on(vae: Run) -> None:
    own = vae.open(split="all")
    new = set(vae.held_out().names)
    pixels = np.asarray(own.batch(np.arange(len(own))), np.uint8)
    for data in (pixels, pixels.astype(np.float32) / 255, [Image.fromarray(picture[0]) for picture in pixels]):
        assert {own.names[row] for row in vae.held_out(data).rows} == new
    judged = pixels[vae.held_out(pixels).rows[:3]]
    assert len(vae.held_out(pixels, judged)) == len(new) - 3


def test_labels_of_data_in_memory_are_matched_by_name(trained: Trained) -> None:
    run = reverie.load(trained("cvae"))
    test = run.open()
    assert test.labels is not None
    pixels, names = test.batch(np.arange(len(test))), [test.image_spec.classes[i] for i in test.labels]
    assert torch.equal(run.reconstruct((pixels, names)), run.reconstruct(test))
    assert torch.equal(reverie.reconstruct(run.model, (pixels, names)), run.reconstruct(test))


def conditional(*classes: str) -> CVAE:
    return CVAE(VAEConfig(latent=2, network="mlp", width=8), ImageSpec(1, 8, 8, classes)).eval()


def test_a_whole_number_is_the_name_of_a_class_that_is_called_by_it() -> None:
    one, named = conditional("1", "2", "3"), ["3", "1"]
    images = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    for labels in ([3, 1], np.array([3, 1]), torch.tensor([3, 1])):
        assert torch.equal(reverie.reconstruct(one, images, labels), reverie.reconstruct(one, images, named))
    assert torch.equal(reverie.sample(one, 2, labels=[3, 1]), reverie.sample(one, 2, labels=named))
    with pytest.raises(ReverieError, match="no class 0; classes are called by numbers: 1, 2, 3"):
        reverie.sample(one, 2, labels=[0])
    data = (images.mul(255).byte(), [3, 1])  # of the data's own classes, 1 and 3
    assert torch.equal(reverie.reconstruct(one, data), reverie.reconstruct(one, images_of(one, data), named))
    usual = conditional("0", "1", "2")
    assert torch.equal(reverie.sample(usual, 2, labels=[2, 0]), reverie.sample(usual, 2, labels=["2", "0"]))
    words = conditional("ant", "bee", "cat")
    assert torch.equal(reverie.sample(words, 2, labels=[2, 0]), reverie.sample(words, 2, labels=["cat", "ant"]))
    with pytest.raises(ReverieError, match=r"called by numbers \(1, 3\).*by names \(ant, bee, cat\); give"):
        reverie.reconstruct(words, data)


def test_a_run_of_data_in_memory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8), np.uint8)
    settings = {"train": {"steps": 1, "batch_size": 4}, "model": {"network": "mlp", "width": 4, "latent": 3}}
    np.save(tmp_path / "same.npy", pixels)
    where = str(tmp_path / "same.npy")
    path = reverie.train("ae", where, tmp_path / "run", quiet=True, device="cpu", settings=settings).path
    config = json.loads((path / "config.json").read_text())
    config["data"] |= {"spec": "memory:array", "place": None}  # as if it had been trained on the array
    (path / "config.json").write_text(json.dumps(config))
    run = reverie.load(path)
    with pytest.raises(ReverieError, match="in memory"):
        run.open()
    training = run.open(pixels).split("train")
    held_out = run.held_out(pixels)
    assert 0 < len(held_out) == 40 - len(training)
    assert not set(held_out.names) & set(training.names)
    assert run.score(pixels[:5], normal=pixels, rate=0.4).scores.shape == (5,)
    assert "memory:array" in repr(run)
    assert run.encode(Squares()).shape == (30, 3)
    capsys.readouterr()


def test_pairs_are_not_guessed(trained: Trained) -> None:
    run = reverie.load(trained("pix2pix"))
    with pytest.raises(ReverieError, match=r"learns pairs; open them by Run\.open"):
        reverie.evaluate(run.model, "digits")
    assert "translation" in run.evaluate(limit=8, generated=8)


def test_a_mixture_is_fitted_on_pictures_or_on_codes(vae: Run, trained: Trained) -> None:
    training = vae.open(split="train")
    codes = reverie.embed(vae.model, training)
    mixtures = []
    for model, data in ((vae.model, training), (vae.model, codes), (vae.model, codes.codes), (vae, training)):
        vae.model.mixture.means.zero_()
        assert reverie.fit_mixture(model, data, 2, seed=1) == 2
        mixtures.append(vae.model.mixture.means.clone())
    assert mixtures[0].any()
    assert all(torch.equal(mixture, mixtures[0]) for mixture in mixtures)
    with pytest.raises(ReverieError, match="cannot reconstruct"):
        reverie.fit_mixture(reverie.load(trained("gan")), training)


@pytest.mark.parametrize("model", ["vae", "cvae"])
def test_arithmetic_is_what_the_command_does(
    model: str, trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = reverie.load(trained(model))
    words = ["--terms", 4, "--to", "digits", "--count", 2, "--out", tmp_path / "cli.png"]
    told = json.loads(succeeds(capsys, "arithmetic", run.path, "thickness - slant:low", *words))
    found = reverie.arithmetic(run, "thickness - slant:low", run.open(), "digits", count=2, terms=4)
    assert found.figures == told
    reverie.save_grid(found.pictures, tmp_path / "api.png", found.columns)
    assert (tmp_path / "api.png").read_bytes() == (tmp_path / "cli.png").read_bytes()
    near = reverie.arithmetic(
        run.model, "thickness - slant:low", run.open(), run.open("digits"), count=2, terms=4, near=3
    )
    assert len(near.change) == 2
    assert not torch.equal(near.change[0], near.change[1])
    with pytest.raises(ReverieError, match="give these as `to`"):
        reverie.arithmetic(run, "3", run.open(), near=3)


def test_directions_are_what_the_command_shows(vae: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--count", 2, "--columns", 3, "--out", tmp_path / "cli.png"]
    told = json.loads(succeeds(capsys, "directions", vae.path, *words))
    found = reverie.directions(vae, vae.open(split="train"), count=2, columns=3)
    assert list(told) == found.directions.names
    reverie.save_grid(found.pictures.flatten(0, 1), tmp_path / "api.png", 3)
    assert (tmp_path / "api.png").read_bytes() == (tmp_path / "cli.png").read_bytes()


# Device


class Moving(nn.Linear):
    """Notes where it is told to go; this machine may have one device only."""

    def __init__(self) -> None:
        super().__init__(1, 1)
        self.told: list[torch.device] = []

    def to(self, device: Any, *more: Any, **named: Any) -> Moving:  # type: ignore[override]
        self.told.append(torch.device(device))
        return self


def test_a_model_is_measured_where_it_is_asked_to_and_put_back() -> None:
    model, there = Moving(), torch.device("meta")
    with moved(model, None):
        assert model.told == []
    assert model.told == []
    with moved(model, there):
        assert model.told == [there]
    assert model.told == [there, torch.device("cpu")]
    with pytest.raises(KeyError), moved(model, there):
        raise KeyError
    assert model.told == [there, torch.device("cpu")] * 2


def test_evaluate_puts_a_model_back_also_when_it_fails(vae: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(vae.model, "to", told.append)
    reverie.evaluate(vae.model, vae.open(), ["reconstruction"])
    assert told == []
    reverie.evaluate(vae.model, vae.open(), ["reconstruction"], device="cpu")
    assert [torch.device(place) for place in told] == [torch.device("cpu")] * 2

    def fail(*_: object) -> None:
        raise ReverieError("no")

    monkeypatch.setitem(METRICS, "latent", METRICS["latent"].__class__(nn.Module, "", fail))
    with pytest.raises(ReverieError, match="no"):
        reverie.evaluate(vae.model, vae.open(), ["latent"], device="cpu")
    assert len(told) == 4


def test_to_moves_the_model_and_returns_the_run(tmp_path: Path) -> None:
    written(tmp_path / "run")
    run = reverie.load(tmp_path / "run")
    assert run.to("cpu") is run
    assert run.device == torch.device("cpu")
    assert run.to("meta").device.type == "meta"


# Showing


def test_a_run_shows_itself(vae: Run) -> None:
    parameters = sum(parameter.numel() for parameter in vae.model.parameters())
    line = repr(vae)
    assert line.count("\n") == 0
    for part in ("vae on digits", "1 x 8 x 8 pictures", f"{parameters:,} parameters", "3 steps", str(vae.path)):
        assert part in line
    page = vae._repr_html_()
    assert page.count("<svg") == 1
    assert page.count("data:image/png;base64,") == 1
    assert vae.report.exists()
    assert vae.card.exists()


def test_what_is_not_finished_or_broken_is_left_out_and_names_are_escaped(tmp_path: Path) -> None:
    written(tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["data"]["spec"] = "<script>alert(1)</script>\x1b[2J"
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    run = reverie.load(tmp_path / "run")
    page = run._repr_html_()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<svg" not in page
    assert "<img" not in page
    assert "\x1b" not in repr(run)
    (run.path / "samples").mkdir()
    (run.path / "samples" / "000000001.png").write_bytes(b"no picture")
    (run.path / "metrics.jsonl").write_bytes(b'{"step": 1, "loss": null}\n{"step": 2, "lo\xff')
    assert run._repr_html_().startswith("<div")
    assert repr(run).startswith("<Run ")
