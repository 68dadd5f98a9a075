"""Quality of samples: extractors, the classifier, the judge, and what training does with them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

import reverie
from cases import SMALL
from reverie.capabilities import Conditions, Samples
from reverie.data import DataOptions, Dataset
from reverie.data.image_io import to_tensor
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.evaluation import evaluate
from reverie.evaluation.generation import generation_figures, quality, set_metrics
from reverie.features import classifier as classifiers
from reverie.features.classifier import accuracy, classifier
from reverie.features.extractors import extractor, textures
from reverie.metrics.distances import frechet, kid
from reverie.training import train


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return reverie.open_dataset("digits")


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A classifier of digits of 8 x 8 needs little."""
    monkeypatch.setattr(classifiers, "SEEN", 15_000)


class Copies(nn.Module, Samples):
    """Draws pictures of a set, so that its quality is known; ``only`` restricts the classes."""

    def __init__(self, dataset: Dataset, only: tuple[int, ...] = tuple(range(10)), noise: float = 0.0) -> None:
        super().__init__()
        assert dataset.labels is not None
        self.members = [np.flatnonzero(dataset.labels == number) for number in range(10)]
        self.pool = to_tensor(dataset.batch(np.flatnonzero(np.isin(dataset.labels, only))))
        self.dataset, self.noise = dataset, noise

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return torch.cat([draw.uniform(1), draw.normal(64)], 1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        picture = self.pool[(z[:, 0] * len(self.pool)).long()]
        return (picture + self.noise * z[:, 1:].view(-1, 1, 8, 8)).clamp(-1, 1)


class Ordered(Copies, Conditions):
    """Draws the class it is told, or, confused, the next one."""

    classes = tuple("0123456789")

    def __init__(self, dataset: Dataset, shift: int = 0) -> None:
        super().__init__(dataset)
        self.shift = shift

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        picks = [self.members[(int(y) + self.shift) % 10] for y in labels]
        rows = [pick[int(float(u) * len(pick))] for pick, u in zip(picks, z[:, 0], strict=True)]
        return to_tensor(self.dataset.batch(np.array(rows)))


def test_the_classifier_reads_held_out_digits_and_is_kept(digits: Dataset, tmp_path: Path) -> None:
    network = classifier(digits.split("train"), cache=tmp_path)
    assert (accuracy(network, digits.split("test")) or 0) > 0.9
    (file,) = tmp_path.iterdir()
    before = file.read_bytes()
    again = classifier(digits.split("train"), cache=tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True)
    )
    file.write_bytes(before[: len(before) // 2])  # damaged: made anew, to the same weights
    classifier(digits.split("train"), cache=tmp_path)
    assert file.read_bytes() == before
    other = reverie.open_dataset("digits", DataOptions(limit=300)).split("train")
    classifier(other, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_textures_see_blur_where_it_is_and_pixels_hardly_do() -> None:
    random = torch.Generator().manual_seed(0)
    images = torch.rand(3, 2, 24, 32, generator=random) * 2 - 1
    features = textures(images)
    octaves = 24 // 8  # 24, 12 and 6 pixels: the last is too small
    assert features.shape == (3, 2 * 16 * octaves) == (3, 96)
    detail = features.unflatten(1, (3, 2, 4, 4))
    # By hand: the finest octave of one cell.
    coarse = images[1, 0].unflatten(1, (16, 2)).unflatten(0, (12, 2)).mean((1, 3))
    again = torch.nn.functional.interpolate(coarse[None, None], (24, 32), mode="bilinear")[0, 0]
    cell = (images[1, 0] - again)[6:12, 24:32]
    torch.testing.assert_close(detail[1, 0, 0, 1, 3], cell.square().mean().sqrt())
    # What is blurred in the right half loses detail there, keeps it on the left, and keeps its mean.
    blurred = images.clone()
    blurred[..., 16:] = torch.nn.functional.avg_pool2d(images, 3, 1, 1)[..., 16:]
    change = textures(blurred).unflatten(1, (3, 2, 4, 4)) / detail
    assert change[:, 0, :, :, 2:].max() < 0.6
    torch.testing.assert_close(change[:, 0, :, :, 0], torch.ones(3, 2, 4))


def test_pixels_are_principal_components(digits: Dataset) -> None:
    training = digits.split("train")
    chosen = extractor("pixels", training)
    everything = np.arange(len(training))
    flat = to_tensor(training.batch(everything)).flatten(1).double().numpy()
    wanted = PCA(chosen.description["components"], svd_solver="full").fit_transform(flat)
    found = chosen.of(training, everything).double().numpy()
    assert np.allclose(np.abs(found[:, :20]), np.abs(wanted[:, :20]), atol=1e-3)
    assert chosen.description["hash"] == extractor("pixels", training).description["hash"]
    assert chosen.description["hash"] != extractor("pixels", digits.split("test")).description["hash"]


def test_figures_rank_generators_and_tell_fidelity_from_diversity(digits: Dataset) -> None:
    training, test = digits.split("train"), digits.split("test")
    judged = set_metrics(training, test, count=1000)
    good, noisy, partial = (
        quality(model, judged, 1000)
        for model in (Copies(training), Copies(training, noise=0.6), Copies(training, (3, 7)))
    )
    assert good["frechet"] < 0.2 * min(noisy["frechet"], partial["frechet"])
    assert good["kid"] < min(noisy["kid"], partial["kid"])
    assert noisy["precision"] < 0.8 < partial["precision"]
    assert partial["recall"] < 0.5 < good["recall"]
    assert partial["coverage"] < 0.5 < good["coverage"]
    assert good["class_entropy"] > 2.25
    assert partial["class_entropy"] < 1
    assert sum(partial["class_counts"].values()) == 1000
    assert partial["class_counts"]["3"] + partial["class_counts"]["7"] > 950
    assert "label_accuracy" not in good
    floor = generation_figures(Copies(training), judged, test, 1000)["floor"]
    assert floor["pictures"] == min(1000, len(test))
    assert floor["frechet"] == pytest.approx(
        frechet(judged.real, judged.extractor.of(test, np.arange(len(test)))), rel=1e-3
    )


def test_labels_asked_for_are_compared_with_labels_read(digits: Dataset) -> None:
    training = digits.split("train")
    judged = set_metrics(training, count=500)
    assert quality(Ordered(training), judged, 500)["label_accuracy"] > 0.95
    assert quality(Ordered(training, shift=1), judged, 500)["label_accuracy"] < 0.05


def test_pictures_that_have_no_figures_are_refused(digits: Dataset) -> None:
    judged = set_metrics(digits.split("train"), features="pixels", count=40)
    images = to_tensor(digits.batch(np.arange(9)))
    with pytest.raises(ReverieError, match="at least 6 of each kind"):
        judged.figures([judged.extract(images[:5])])
    images[4, 0, 3, 3] = torch.nan
    with pytest.raises(ReverieError, match="not finite"):
        judged.figures([judged.extract(images)])


def test_the_kernel_distance_is_of_pictures_in_random_order(digits: Dataset) -> None:
    training = digits.split("train")
    judged = set_metrics(training, features="pixels", count=300)
    seen = judged.extract_from(training, np.argsort(training.labels, kind="stable")[:300])
    mixed = judged.figures(seen)
    features = torch.cat([part.features for part in seen])
    assert kid(judged.real, features).value > 2 * mixed["kid"]  # a block of one class is far from all classes


def test_evaluate_reports_quality_with_its_protocol(digits: Dataset) -> None:
    training, test = digits.split("train"), digits.split("test")
    words: dict[str, Any] = {"metrics": ["quality"], "training": training, "generated": 200}
    found = evaluate(Copies(training), test, **words)["quality"]
    assert found.keys() == {"samples", "floor", "protocol"}
    protocol = found["protocol"]
    assert (protocol["generated"], protocol["reference"], protocol["reference_split"]) == (200, 200, "train")
    assert protocol["features"]["name"] == "classifier"
    assert protocol["features"]["test_accuracy"] > 0.9
    assert evaluate(Copies(training), test, **words)["quality"] == found
    plain = evaluate(Copies(training), test, features="pixels", **words)["quality"]
    assert plain["protocol"]["features"]["name"] == "pixels"
    assert json.loads(json.dumps(plain)) == plain


def test_an_encoder_gives_features(tmp_path: Path, digits: Dataset) -> None:
    run = _run("ae", tmp_path / "ae")
    chosen = extractor(f"encoder:{run.path}", digits.split("train"))
    images = to_tensor(digits.batch(np.arange(7)))
    with torch.no_grad():
        assert torch.equal(chosen(images), run.model.encode(images).mean)  # type: ignore[operator, union-attr]
    labelled = _run("cvae", tmp_path / "cvae")
    with pytest.raises(ReverieError, match="needs labels"):
        extractor(f"encoder:{labelled.path}", digits.split("train"))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("pixel", "did you mean 'pixels'"),
        ("pixels:3", "nothing after a colon"),
        ("encoder", "Say which run"),
        ("encoder:nowhere", "nowhere"),
        ("inception:nowhere.pth", "There is no file"),
    ],
)
def test_features_that_cannot_be_had(word: str, said: str, digits: Dataset) -> None:
    with pytest.raises(ReverieError, match=said):
        extractor(word, digits)


def test_inceptions_weights_are_checked_by_their_hash(tmp_path: Path, digits: Dataset) -> None:
    file = tmp_path / "weights.pth"
    file.write_bytes(b"not these")
    begins = hashlib.sha256(b"not these").hexdigest()[:8]
    with pytest.raises(ReverieError, match=f"begins with {begins}, not with 6726825d"):
        extractor(f"inception:{file}", digits)
    with pytest.raises(ReverieError, match=r"need an extra: pip install 'reverie\[eval-ref\]'"):
        extractor("inception", digits)


def _run(name: str, out: Path, **more: Any) -> reverie.Run:
    settings = {
        "model": SMALL | ({"network": "mlp"} if name in ("ae", "vae", "cvae") else {}),
        "train": {"steps": 12, "batch_size": 16, "log_every": 4} | more,
        "data": {"limit": 400},
    }
    return train(name, "digits", out, settings=settings, quiet=True, device="cpu")


def test_training_measures_quality_and_keeps_the_best(tmp_path: Path) -> None:
    run = _run("gan", tmp_path / "run", evaluate_every=64, features="pixels")
    lines = [json.loads(line) for line in (run.path / "quality.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"]) for line in lines] == [(4, 64), (8, 128), (12, 192)]
    best = reverie.load(run.path / "best")
    number = int(np.argmin([line["frechet"] for line in lines]))
    data = reverie.open_dataset("digits", DataOptions(limit=400))
    judged = set_metrics(data.split("train"), features="pixels", count=5000)
    measured = quality(best.model, judged, 5000)  # type: ignore[arg-type]
    assert measured["frechet"] == pytest.approx(lines[number]["frechet"], rel=1e-4)
    card = (run.path / "README.md").read_text()
    assert f"| figure | best, step {lines[number]['step']} | last, step 12 |" in card
    assert "<h2>Quality</h2>" in (run.path / "report.html").read_text()


def test_measuring_changes_nothing_and_survives_a_resume(tmp_path: Path) -> None:
    plain = _run("dcgan", tmp_path / "plain", lr_schedule="constant")
    watched = _run("dcgan", tmp_path / "watched", evaluate_every=64, features="pixels", lr_schedule="constant")
    weights = {p: (p / "model.safetensors").read_bytes() for p in (plain.path, watched.path)}
    assert len(set(weights.values())) == 1
    whole = (watched.path / "quality.jsonl").read_text()
    again = tmp_path / "again"
    settings: dict[str, Any] = {
        "model": SMALL,
        "train": {"steps": 6, "batch_size": 16, "log_every": 4, "evaluate_every": 64, "features": "pixels"}
        | {"lr_schedule": "constant"},
        "data": {"limit": 400},
    }
    train("dcgan", "digits", again, settings=settings, quiet=True, device="cpu")
    (again / "quality.jsonl").open("a").write('{"step": 9, "images": 144, "frechet": 0.0}\n{"step"')  # killed there
    train("dcgan", "digits", again, resume=True, settings={"train": {"steps": 12}}, quiet=True, device="cpu")
    lines = (again / "quality.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [4, 6, 8, 12]  # 6 was an end
    assert [lines[0], *lines[2:]] == whole.splitlines()


def test_only_what_draws_pictures_is_measured_in_training(tmp_path: Path) -> None:
    with pytest.raises(ReverieError, match="evaluate_every must be at least 0"):
        _run("gan", tmp_path / "run", evaluate_every=-1)
