"""The commands that walk, mix and compare what a run draws, and the figures of its samples."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import reverie
from commands import fails, run, succeeds, words_for
from reverie.features import classifier as classifiers
from reverie.inference.pictures import without

Trained = Callable[[str], Path]


def test_interpolate_writes_strips_and_animations(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gan, cgan = trained("gan"), trained("cgan")
    said = json.loads(succeeds(capsys, "interpolate", gan, "--stops", 3, "--between", 4, "--out", tmp_path / "a.png"))
    assert said["pictures"] == 9
    assert said["largest_over_median"] >= 1
    assert 0 < said["step"] < 1
    with Image.open(tmp_path / "a.png") as strip:
        assert strip.size == (5 * 10 - 2, 2 * 10 - 2)  # 8 pixels a picture, 2 between
    succeeds(capsys, "interpolate", gan, "--stops", 2, "--between", 4, "--even", "--out", tmp_path / "e.png")
    model = reverie.load(gan).model
    wanted, plain = (reverie.to_uint8(reverie.interpolate(model, 2, 4, even=even)) for even in (True, False))
    with Image.open(tmp_path / "e.png") as strip:
        second = np.asarray(strip)[:8, 10:18]
    assert np.array_equal(second, wanted[1, 0])
    assert not np.array_equal(second, plain[1, 0])
    words = ["interpolate", cgan, "--stops", 2, "--between", 5, "--loop", "--label", "7", "--scale", 3]
    succeeds(capsys, *words, "--out", tmp_path / "b.gif")
    with Image.open(tmp_path / "b.gif") as gif:
        assert gif.size == (24, 24)
        assert 2 <= gif.n_frames <= 10  # equal pictures in a row become one


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
def test_interpolate_writes_mp4(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, "interpolate", trained("gan"), "--between", 2, "--out", tmp_path / "a.mp4")
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"


def test_mp4_without_ffmpeg_is_one_sentence(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "a.mp4"
    assert "save a .gif instead" in fails(capsys, "interpolate", trained("gan"), "--out", out)
    assert not list(tmp_path.iterdir())


def test_mix_and_truncation(trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    styled, gan = trained("stylegan2"), trained("gan")
    succeeds(capsys, "mix", styled, "--rows", 2, "--columns", 3, "--layers", "0-1", "--out", tmp_path / "mix.png")
    with Image.open(tmp_path / "mix.png") as table:
        assert table.size == (4 * 10 - 2, 3 * 10 - 2)
    succeeds(capsys, "sample", styled, "--count", 4, "--truncation", 0, "--out", tmp_path / "t.png")
    with Image.open(tmp_path / "t.png") as grid:
        cells = [np.asarray(grid)[:8, 10 * i : 10 * i + 8] for i in range(4)]
    assert all(np.array_equal(cell, cells[0]) for cell in cells)
    assert "cannot mix styles" in fails(capsys, "mix", gan, "--out", tmp_path / "no.png")
    assert "cannot truncate" in fails(capsys, "sample", gan, "--truncation", 0.5, "--out", tmp_path / "no.png")
    assert "FIRST-LAST" in fails(capsys, "mix", styled, "--layers", "x", "--out", tmp_path / "no.png")
    assert "between 0 and" in fails(capsys, "mix", styled, "--layers", "3-99", "--out", tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()


def test_neighbours_shows_training_pictures(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "n.png"
    whole = reverie.open_dataset("digits", reverie.DataOptions(limit=80))
    training = whole.split("train")
    figures = json.loads(succeeds(capsys, "neighbours", trained("gan"), "--count", 3, "--nearest", 2, "--out", out))
    assert np.shape(figures["distances"]) == np.shape(figures["nearest"]) == (3, 2)
    assert figures["distance"] == pytest.approx(np.mean(figures["distances"], 0)[0], abs=1e-5)
    assert ("distance_of_held_out" in figures) == bool(len(without(whole.split("test"), training)))
    assert figures.get("distance_of_held_out", 1) > 0
    known = {picture.tobytes() for picture in training.batch(np.arange(len(training)))[:, 0]}
    with Image.open(out) as sheet:
        pixels = np.asarray(sheet)
    for row in range(3):
        for column in (1, 2):
            assert pixels[10 * row : 10 * row + 8, 10 * column : 10 * column + 8].tobytes() in known
    assert "neighbours must be at most" in fails(capsys, "neighbours", trained("gan"), "--nearest", 1000, "--out", out)


def test_evaluate_measures_samples(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifiers, "SEEN", 500)
    words = ["--metrics", "quality", "--generated", 50]
    found = json.loads(succeeds(capsys, "evaluate", trained("cgan"), *words))["quality"]
    assert 0 <= found["samples"]["label_accuracy"] <= 1
    assert sum(found["samples"]["class_counts"].values()) == 50
    assert found["floor"]["frechet"] < found["samples"]["frechet"]
    vae = json.loads(succeeds(capsys, "evaluate", trained("vae"), *words, "--features", "pixels"))["quality"]
    assert vae["mixture"].keys() == vae["samples"].keys()
    assert "did you mean 'classifier'" in fails(capsys, "evaluate", trained("gan"), *words, "--features", "clasifier")
    assert "--generated must be at least 6" in fails(capsys, "evaluate", trained("gan"), "--generated", 2)


def test_training_says_how_good_its_samples_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_for(tmp_path / "run", "--evaluate-every", 16, "--set", "train.features=pixels", model="gan", steps=4)
    run(*[word for word in words if word != "--quiet"])
    assert "frechet" in capsys.readouterr().err
    assert succeeds(capsys, "sample", tmp_path / "run" / "best", "--count", 2, "--out", tmp_path / "s.png")
    words = words_for(tmp_path / "ae", "--during-training", 16, model="vae", steps=2)
    monkey = [*words, "--set", "train.features=nothing"]
    assert "no features 'nothing'" in fails(capsys, *monkey)
    assert not (tmp_path / "ae").exists()
