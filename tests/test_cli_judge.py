"""The commands that judge pictures, and the one that draws by a judge: anomaly, classify, transfer, condition."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reverie
from cases import tiny
from commands import fails, run, succeeds, visible, words_for
from reverie import registry
from reverie.capabilities import Bounds, Conditions, Encodes, Samples, Translates
from reverie.data import DataOptions
from reverie.engine.model import ImageSpec
from reverie.errors import ReverieError, either
from reverie.features import classifier as classifiers
from reverie.inference.pictures import Subset, without
from runs import written

Trained = Callable[[str], Path]
Capture = pytest.CaptureFixture[str]
DIGITS = DataOptions(limit=80, validation=0.2, test=0.3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Runs as conftest's, with more pictures held out."""
    done: dict[str, Path] = {}

    def get(model: str) -> Path:
        if model not in done:
            done[model] = tmp_path_factory.mktemp("runs") / model
            run(*words_for(done[model], "--set", "data.validation=0.2", "data.test=0.3", model=model))
        return done[model]

    return get


def digits(split: Any) -> reverie.Dataset:
    return reverie.open_dataset("digits", DIGITS).split(split)


def folder(path: Path, **counts: int) -> Path:
    """Pictures of noise, 8 x 8 and grey, so many of each class; those of the class "flat" are of one brightness."""
    random = np.random.default_rng(0)
    for name, count in counts.items():
        (path / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (8, 8), np.uint8)
            pixels = np.full_like(pixels, 110 + number) if name == "flat" else pixels
            Image.fromarray(pixels).save(path / name / f"{number}.png")
    return path


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def opened(spec: Path) -> reverie.Dataset:
    return reverie.open_dataset(str(spec), DataOptions(size="8x8"))


# Anomaly


def test_anomaly_says_what_the_detector_says(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    normal, images = folder(tmp_path / "normal", flat=25), folder(tmp_path / "images", flat=6, noise=9)
    words = ["anomaly", trained("vae"), images, "--normal", normal, "--rate", 0.1, "--good", "flat"]
    figures = json.loads(succeeds(capsys, *words, "--out", tmp_path / "out"))
    assert visible(tmp_path / "out") == ["figures.json", "odd.png", "scores.csv", "sheet.html"]
    assert json.loads((tmp_path / "out" / "figures.json").read_text()) == figures

    model, pictures = reverie.load(trained("vae")).model, opened(images)
    finder = reverie.detector(model, opened(normal), rate=0.1)
    scores = finder.scores(pictures)
    rows = table(tmp_path / "out" / "scores.csv")
    assert [row["name"] for row in rows] == list(pictures.names)
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores, rtol=1e-5)
    assert [row["odd"] for row in rows] == [str(odd).lower() for odd in finder.odd(scores).tolist()]
    good = np.array([name.startswith("flat") for name in pictures.names])
    assert (figures["score"], figures["rate"], figures["calibrated_on"]) == ("reconstruction", 0.1, 25)
    assert figures["threshold"] == pytest.approx(finder.threshold)
    assert figures["odd"] == finder.odd(scores).sum()
    assert figures["auroc"] == pytest.approx(reverie.auroc(scores[good], scores[~good]))
    assert figures["aupr"] == pytest.approx(reverie.aupr(scores[good], scores[~good]))
    assert figures["found"] == finder.odd(scores)[~good].mean() == 1  # noise is nothing like grey
    assert figures["false_alarms"] == finder.odd(scores)[good].mean() < 1

    page = (tmp_path / "out" / "sheet.html").read_text(encoding="utf-8")
    assert page.count("<img") == len(pictures)
    oddest = np.argsort(-scores, kind="stable")
    assert page.index(pictures.names[oddest[0]]) < page.index(pictures.names[oddest[1]])
    with Image.open(tmp_path / "out" / "odd.png") as image:
        assert image.size == (8 * 10 - 2, 4 * 10 - 2)  # 15 pictures, each beside its heat map
        shown = np.asarray(image)
    first = reverie.to_tensor(pictures.batch(oddest[:1]))
    np.testing.assert_array_equal(shown[:8, :8, 0], pictures.batch(oddest[:1])[0, 0])
    marked = reverie.to_uint8(reverie.overlay(first, reverie.heat_map(model, first)))[0].transpose(1, 2, 0)
    np.testing.assert_allclose(shown[:8, 10:18].astype(int), marked, atol=1)


def test_anomaly_shows_the_oddest_of_many(
    trained: Trained, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reverie.reporting import anomaly

    monkeypatch.setattr(anomaly, "MOST_SHOWN", 3)
    images = folder(tmp_path / "images", flat=6, noise=9)
    words = ["anomaly", trained("vae"), images, "--normal", folder(tmp_path / "normal", flat=25), "--out"]
    succeeds(capsys, *words, tmp_path / "out")
    rows = table(tmp_path / "out" / "scores.csv")
    assert len(rows) == 15
    page = (tmp_path / "out" / "sheet.html").read_text(encoding="utf-8")
    odd = sum(row["odd"] == "true" for row in rows)
    assert f"{odd} of 15 pictures are odd" in page
    assert page.count("<img") == 3
    for place, row in enumerate(sorted(rows, key=lambda row: -float(row["score"]))):
        assert (f"<p>{row['name']}</p>" in page) == (place < 3)


def test_nothing_learned_from_or_judged_is_calibrated_on(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    loaded = reverie.load(trained("vae"))
    held_out = loaded.held_out
    judged = loaded.open("digits")
    assert judged.names == digits("test").names
    held = {split: set(digits(split).names) for split in ("train", "validation", "test")}
    assert set(held_out(None, judged).names) == held["validation"] - held["train"] - held["test"]
    other = reverie.open_dataset(str(folder(tmp_path / "other", flat=4)), DIGITS)
    assert set(held_out(None, other).names) == (held["validation"] | held["test"]) - held["train"]
    assert set(held_out("digits", other).names) == (held["validation"] | held["test"]) - held["train"]
    assert len(held_out(str(tmp_path / "other"), judged)) == 4
    with pytest.raises(ReverieError, match="holds no pictures to calibrate on"):
        held_out(os.path.join(tmp_path, "other", ""), other)  # the same, written otherwise

    words = ["anomaly", trained("vae"), "digits", "--rate", 0.4, "--out", tmp_path / "out"]
    figures = json.loads(succeeds(capsys, *words))
    assert figures["calibrated_on"] == len(held["validation"])
    assert [row["name"] for row in table(tmp_path / "out" / "scores.csv")] == list(digits("test").names)
    assert "judge another --split, or give others by --normal" in fails(capsys, *words, "--split", "all")


def test_heat_maps_of_a_conditional_model_know_the_classes(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    words = ["anomaly", trained("cvae"), "digits", "--rate", 0.4, "--out", tmp_path]
    succeeds(capsys, *words)
    model, test = reverie.load(trained("cvae")).model, digits("test")
    assert test.labels is not None
    place = test.names.index(max(table(tmp_path / "scores.csv"), key=lambda row: float(row["score"]))["name"])
    picture = reverie.to_tensor(test.batch(np.array([place])))
    with Image.open(tmp_path / "odd.png") as image:
        shown = np.asarray(image)[:8, 10:18].astype(int)
    distances = [
        np.abs(
            reverie.to_uint8(reverie.overlay(picture, reverie.heat_map(model, picture, [label])))[0]
            - shown.transpose(2, 0, 1)
        ).max()
        for label in range(10)
    ]
    assert distances[test.labels[place]] <= 1
    assert min(np.delete(distances, test.labels[place])) > 1


def test_a_subset_without_others() -> None:
    everything, test = digits("all"), digits("test")
    rest = without(everything, test, Subset(everything, np.array([0, 1])))
    assert len(rest) == len(set(everything.names) - set(test.names) - set(everything.names[:2]))
    assert not set(rest.names) & set(test.names)
    assert without(everything, everything).batch(np.arange(0)).shape == (0, 1, 8, 8)


def test_anomaly_compares_with_a_background(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    vae, images = trained("vae"), folder(tmp_path / "images", noise=4)
    words = ["anomaly", vae, images, "--rate", 0.3, "--out", tmp_path / "out", "--background"]
    figures = json.loads(succeeds(capsys, *words, vae))
    assert figures["score"] == "likelihood-ratio"
    assert [float(row["score"]) for row in table(tmp_path / "out" / "scores.csv")] == [0] * 4  # it is the model itself
    written(tmp_path / "wide", "vae", ImageSpec(1, 8, 9))
    said = fails(capsys, *words[:-2], tmp_path / "no", "--background", tmp_path / "wide")
    assert "(1, 8, 9)" in said
    assert "(1, 8, 8)" in said
    assert not (tmp_path / "no").exists()


def test_what_anomaly_cannot_do(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    vae, images, out = trained("vae"), folder(tmp_path / "images", flat=4, noise=4), tmp_path / "out"
    plain = tmp_path / "images" / "flat"
    said = fails(capsys, "anomaly", trained("pix2pix"), images, "--out", out)  # of whichever shape the pictures are
    assert "cannot tell odd pictures: it has no encoder and no discriminator" in said
    assert "needs an encoder with a decoder; GAN has none" in fails(
        capsys, "anomaly", trained("gan"), images, "--score", "reconstruction", "--out", out
    )
    words = ["anomaly", vae, images, "--out", out]
    assert "did you mean 'peak'?" in fails(capsys, *words, "--score", "peek")
    assert "needs a background model" in fails(capsys, *words, "--score", "likelihood-ratio")
    assert "must be less than 1, not 1" in fails(capsys, *words, "--rate", 1)
    assert "needs at least 99 normal pictures" in fails(capsys, *words, "--rate", 0.01)
    assert "did you mean 'flat'?" in fails(capsys, *words, "--good", "flit")
    assert "--good names classes, and" in fails(capsys, "anomaly", vae, plain, "--good", "flat", "--out", out)
    every = fails(capsys, *words, "--rate", 0.3, "--good", "flat", "noise")
    assert "at least one score each" in every
    assert not out.exists()
    out.write_text("mine")
    assert "a file is in the way" in fails(capsys, *words)


# Classify


def test_classify_says_what_bayes_rule_says(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    out, sheet = tmp_path / "found" / "classes.csv", tmp_path / "found" / "sheet.png"
    words = ["classify", trained("cvae"), "digits", "--samples", 4, "--split", "train", "--out", out]
    figures = json.loads(succeeds(capsys, *words, "--sheet", sheet))
    model, pictures = reverie.load(trained("cvae")).model, digits("train")
    wanted = reverie.classify(model, pictures, samples=4)
    rows = table(out)
    assert [row["name"] for row in rows] == list(pictures.names)
    assert [row["predicted"] for row in rows] == [wanted.classes[number] for number in wanted.predicted]
    probabilities = [[float(row[f"p({name})"]) for name in wanted.classes] for row in rows]
    np.testing.assert_allclose(probabilities, wanted.posterior, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose([float(row["log p(x)"]) for row in rows], wanted.log_evidence, rtol=1e-5)
    assert {row["rejected"] for row in rows} == {"false"}
    assert pictures.labels is not None
    assert figures["accuracy"] == (wanted.predicted == pictures.labels).mean()
    assert figures["pictures"] == figures["of_known_classes"] == len(pictures)
    assert figures["rejected"] == 0
    assert "rate" not in figures
    with Image.open(sheet) as image:
        assert image.size == (12 * 10 - 2, 10 * 10 - 2)
        first = np.asarray(image)[:8, :8]
    members = np.flatnonzero(wanted.predicted == 0)
    surest = members[wanted.posterior[members].max(1).argsort(kind="stable")[::-1][:1]]
    if len(surest):
        np.testing.assert_array_equal(first, pictures.batch(surest)[0, 0])
    else:
        assert (first == 255).all()


def test_classify_refuses_and_matches_classes_by_name(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    images, normal = folder(tmp_path / "images", **{"7": 5, "flat": 6}), folder(tmp_path / "normal", flat=20)
    words = ["classify", trained("cvae"), images, "--samples", 4, "--reject", 0.1, "--normal", normal]
    sheet = ["--sheet", tmp_path / "sheet.png"]
    figures = json.loads(succeeds(capsys, *words, "--out", tmp_path / "classes.csv", *sheet))
    model, pictures = reverie.load(trained("cvae")).model, opened(images)
    threshold = reverie.calibrate(model, opened(normal), 0.1, samples=4)
    wanted = reverie.classify(model, pictures, samples=4, reject=threshold)
    assert [row["rejected"] == "true" for row in table(tmp_path / "classes.csv")] == wanted.rejected.tolist()
    seven = np.array([name.startswith("7") for name in pictures.names])
    assert figures["of_known_classes"] == 5
    assert figures["accuracy"] == (wanted.predicted[seven] == 7).mean()
    assert figures["rejected"] == wanted.rejected.mean()
    assert figures["rejected_of_other_classes"] == wanted.rejected[~seven].mean()
    assert (figures["rate"], figures["calibrated_on"]) == (0.1, 20)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.size == (12 * 10 - 2, 11 * 10 - 2)  # and a row of what is refused


def test_unlabelled_pictures_have_no_accuracy(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    images = folder(tmp_path, noise=3) / "noise"
    words = ["classify", trained("cvae"), images, "--samples", 2, "--out", tmp_path / "classes.csv"]
    assert "accuracy" not in json.loads(succeeds(capsys, *words))


def test_what_classify_cannot_do(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "classes.csv"
    for model in ("gan", "vae", "pix2pix"):
        said = fails(capsys, "classify", trained(model), "digits", "--out", out)
        assert "cannot classify by Bayes' rule: that takes labels and a bound on log p(x|y), which cvae has." in said
    words = ["classify", trained("cvae"), "digits", "--out", out]
    assert "--samples must be at least 1, not 0" in fails(capsys, *words, "--samples", 0)
    assert "must be less than 1, not 2" in fails(capsys, *words, "--reject", 2)
    assert "needs at least 99 normal pictures" in fails(capsys, *words, "--reject", 0.01)
    assert "--out takes a .csv file" in fails(capsys, *words[:-1], tmp_path / "classes.txt")
    assert "--sheet takes a .png file" in fails(capsys, *words, "--sheet", tmp_path / "sheet.jpg")
    assert not list(tmp_path.iterdir())


# Transfer, and conditioning by what it made


@pytest.fixture(scope="module")
def judge(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of digits made of the trained vae."""
    made = tmp_path_factory.mktemp("judge") / "classifier"
    run("transfer", trained("vae"), "--count", 20, 40, "--out", made)
    return made


def test_transfer_measures_and_exports(trained: Trained, judge: Path, tmp_path: Path, capsys: Capture) -> None:
    assert visible(judge) == ["classifier.json", "classifier.safetensors", "figures.json"]
    figures = json.loads((judge / "figures.json").read_text())
    model, training, test = reverie.load(trained("vae")).model, digits("train"), digits("test")
    wanted = {count: reverie.transfer(model, training, test, labels=count) for count in (20, 40)}
    assert figures["accuracies"] == {str(count): found.accuracy for count, found in wanted.items()}
    assert (figures["labels"], figures["accuracy"]) == (40, wanted[40].accuracy)
    assert (figures["how"], figures["tested"], figures["data"]) == ("frozen", len(test), "digits")
    images = reverie.to_tensor(test.batch(np.arange(3)))
    logits = reverie.load_classifier(judge)(images)
    np.testing.assert_allclose(logits.numpy(), wanted[40].classifier(images).numpy(), rtol=1e-4, atol=1e-5)

    data = folder(tmp_path / "data", flat=40, noise=40)
    words = ["transfer", trained("vae"), "--labels", data, "--count", 10, "--how", "tuned", "--steps", 3]
    found = json.loads(succeeds(capsys, *words, "--out", tmp_path / "tuned"))
    assert (found["classes"], found["steps"], list(found["accuracies"])) == (["flat", "noise"], 3, ["10"])
    assert found == json.loads((tmp_path / "tuned" / "figures.json").read_text())


def test_what_transfer_cannot_do(trained: Trained, tmp_path: Path, capsys: Capture) -> None:
    out, vae = tmp_path / "out", trained("vae")
    plain = folder(tmp_path / "data", noise=20) / "noise"
    said = fails(capsys, "transfer", trained("gan"), "--out", out)
    assert "has no encoder that a classifier could be made of; ae, vae, vaegan or outside has one." in said
    said = fails(capsys, "transfer", trained("cvae"), "--out", out)
    assert "take a model without labels: ae, vae, vaegan or outside." in said
    assert "with labels" in fails(capsys, "transfer", vae, "--labels", plain, "--out", out)
    assert "--count must be at least 1, not 0" in fails(capsys, "transfer", vae, "--count", 0, "--out", out)
    assert "--count takes a whole number" in fails(capsys, "transfer", vae, "--count", 10, "x", "--out", out)
    assert "in 51 pictures, must be at least 10, not 5" in fails(capsys, "transfer", vae, "--count", 5, "--out", out)
    assert "--steps must be at least 1" in fails(capsys, "transfer", vae, "--steps", 0, "--out", out)
    assert not out.exists()


@pytest.mark.parametrize("how", ["resample", "langevin"])
def test_condition_draws_a_class(how: Any, trained: Trained, judge: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "three.png"
    words = ["condition", trained("gan"), "--classifier", judge, "--label", "3", "--count", 10, "--draws", 40]
    figures = json.loads(succeeds(capsys, *words, "--steps", 2, "--strength", 2, "--how", how, "--out", out))
    model, network = reverie.load(trained("gan")).model, reverie.load_classifier(judge)
    wanted = reverie.condition(model, network, 3, 10, how=how, draws=40, steps=2, strength=2)
    assert figures["probability"] == pytest.approx(float(wanted.probability.mean()), rel=1e-4)
    assert figures["effective_draws"] == pytest.approx(wanted.effective, rel=1e-4)
    assert figures["share_of_draws"] == pytest.approx(wanted.share, rel=1e-4)
    assert figures["acceptance"] == wanted.acceptance
    assert (figures["class"], figures["how"]) == ("3", how)
    pixels = reverie.to_uint8(wanted.pictures)
    with Image.open(out) as grid:
        assert grid.size == (8 * 10 - 2, 2 * 10 - 2)
        cells = [np.asarray(grid)[:8, 10 * i : 10 * i + 8] for i in range(8)]
    np.testing.assert_allclose(np.stack(cells).astype(int), pixels[:8, 0], atol=1)


def test_condition_says_when_pictures_repeat(trained: Trained, judge: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ["condition", trained("gan"), "--classifier", judge, "--label", "3", "--out", tmp_path / "a.png"]
    run(*words, "--count", 9, "--draws", 4)
    assert "some are repeated; give more --draws" in capsys.readouterr().err
    run(*words, "--count", 1, "--draws", 4)
    assert capsys.readouterr().err == ""


def test_condition_learns_a_classifier_of_its_own(
    trained: Trained, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "SEEN", 600)
    words = ["condition", trained("gan"), "--label", "3", "--count", 4, "--draws", 30, "--out", tmp_path / "a.png"]
    figures = json.loads(succeeds(capsys, *words))
    network = classifiers.classifier(digits("train"))
    wanted = reverie.condition(
        reverie.load(trained("gan")).model, lambda images: network.head(network(images)), 3, 4, draws=30
    )
    assert figures["probability"] == pytest.approx(float(wanted.probability.mean()), rel=1e-3)


def test_what_condition_cannot_do(trained: Trained, judge: Path, tmp_path: Path, capsys: Capture) -> None:
    gan, out = trained("gan"), ["--out", tmp_path / "a.png"]
    words = ["condition", gan, "--classifier", judge, *out]
    said = fails(capsys, "condition", trained("cvae"), "--label", 3, *out)
    assert "takes class labels itself; sample with labels instead" in said
    said = fails(capsys, "condition", trained("pix2pix"), "--label", 3, *out)
    assert "cannot draw new pictures" in said
    assert "ae, vae, gan, dcgan, progan, stylegan, r3gan, vaegan or outside can." in said
    assert "There is no class 10" in fails(capsys, *words, "--label", 10)
    assert "There is no class 'three'" in fails(capsys, *words, "--label", "three")
    assert "resample" in fails(capsys, *words, "--label", 3, "--how", "resampel")
    for flag in ("--count", "--draws", "--steps"):
        assert f"{flag} must be at least 1, not 0" in fails(capsys, *words, "--label", 3, flag, 0)
    assert "--out takes a .png" in fails(capsys, *words[:-1], tmp_path / "a.gif", "--label", 3)
    said = fails(capsys, "condition", gan, "--classifier", tmp_path / "none", "--label", 3, *out)
    assert "holds no classifier that can be read (No such file or directory)" in said
    written(tmp_path / "wide", "gan", ImageSpec(1, 8, 9))
    said = fails(capsys, "condition", tmp_path / "wide", "--classifier", judge, "--label", 3, *out)
    assert "takes pictures of (1, 8, 8)" in said
    assert "draws (1, 8, 9)" in said
    plain = folder(tmp_path / "data", noise=20) / "noise"
    run(*words_for(tmp_path / "plain", model="gan", data=plain))
    said = fails(capsys, "condition", tmp_path / "plain", "--label", 3, *out)
    assert "has no classes to learn a classifier from; give one that `reverie transfer` made by --classifier" in said
    assert not (tmp_path / "a.png").exists()


# Who can


def test_models_are_found_by_what_they_promise() -> None:
    assert registry.able(Bounds, Conditions) == ["cvae"]
    assert registry.able(Translates) == ["pix2pix", "cyclegan"]
    found = registry.able(Samples, never=(Conditions, Encodes))
    assert found == ["gan", "dcgan", "progan", "stylegan", "r3gan"]
    assert all(not isinstance(tiny(name), Conditions) for name in found)
    kinds = [registry.load_class(name) for name in registry.able()]
    assert len(kinds) == len(set(kinds)) == len({registry.load_class(name) for name in registry.names()})


def test_names_in_words() -> None:
    assert [either(words.split()) for words in ("a", "a b", "a b c")] == ["a", "a or b", "a, b or c"]


def test_what_is_exported_is_there() -> None:
    exported = reverie.__all__
    assert len(set(exported)) == len(exported)
    assert {"calibrate", "classify", "condition", "detector", "heat_map", "load_classifier", "transfer"} <= {*exported}
    assert all(callable(getattr(reverie, name)) for name in exported)
