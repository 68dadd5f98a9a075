"""The command line: what it makes of good words, and the one sentence it has for bad ones."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from safetensors import SafetensorError

import reverie
from commands import fails, succeeds, visible, words_for
from reverie import capabilities, files, registry
from reverie.artifact import weights
from reverie.cli import app, main
from reverie.config import coerce, configure, parse_settings
from reverie.data import DataOptions
from reverie.engine import checkpoint
from reverie.engine.plan import Plan
from reverie.errors import ReverieError


def leftovers(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.partial")) + sorted(folder.rglob("*.tmp"))


def pictures(folder: Path, count: int = 6, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(count)
    for i in range(count):
        pixels = random.integers(0, 256, (*size[::-1], len(mode)), np.uint8)
        Image.fromarray(pixels.squeeze(2) if mode == "L" else pixels).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def vae(trained: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> Path:
    return trained("vae")


@pytest.fixture
def cvae(trained: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> Path:
    return trained("cvae")


@pytest.fixture
def copied(vae: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(vae, tmp_path / "copied"))


# Bad words


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bogus"], 'Unknown command "bogus"'),
        (["sampel", "x"], 'Did you mean "sample"?'),
        (["--nope"], "--nope"),
        (["train"], "MODEL requires an argument"),
        (["train", "vae"], "--data requires an argument"),
        (["train", "--data", "digits"], "MODEL requires an argument"),
        (["train", "vae", "--data", "digits", "--bogus", "1"], "--bogus"),
        (["train", "vae", "--data", "digits", "--stps", "1"], "--steps"),
        (["train", "vae", "--data", "digits", "--steps", "x"], "--steps"),
        (["train", "vae", "--data", "digits", "--steps", "1.5"], "--steps takes a whole number, not '1.5'"),
        (["train", "vae", "--data", "digits", "--seed", ""], "--seed takes a whole number, not ''"),
        (["sample", "x", "--count", "2.5"], "--count takes a whole number, not '2.5'"),
        (["train", "vae", "--data", "digits", "--lr", "abc"], "--lr"),
        (["train", "vae", "more", "--data", "digits"], "more"),
        (["sample"], "RUN requires an argument"),
        (["reconstruct", "x"], "IMAGES requires an argument"),
        (["embed", "x", "digits", "--split", "tset"], "test"),
        (["evaluate", "x", "--samples", "many"], "--samples"),
        (["sample", "x", "--prior", "normal"], "mixture"),
        (["data"], "SPEC requires an argument"),
        (["models", "vea"], "did you mean 'vae'?"),
        (["models", "vae", "ae"], "ae"),
    ],
)
def test_words_that_are_wrong(
    words: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in fails(capsys, *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "train.lr=abc"], "train.lr takes a number, not 'abc'"),
        (["--set", "train.lr=nan"], "train.lr takes a number, not 'nan'"),
        (["--set", "train.lr=inf"], "train.lr takes a number, not 'inf'"),
        (["--set", "train.lr=-1"], "train.lr must be more than 0"),
        (["--set", "train.lr=0"], "train.lr must be more than 0"),
        (["--lr", "-1"], "train.lr must be more than 0"),
        (["--set", "model.lr=-1"], "model.lr must be at least"),
        (["--set", "model.lr=0"], "model.lr must be at least"),
        (["--set", "model.latent=1.5"], "model.latent takes a whole number, not '1.5'"),
        (["--set", "model.latent="], "model.latent takes a whole number, not ''"),
        (["--set", "model.latent=0"], "model.latent must be at least 1, not 0"),
        (["--set", "model.latent=-3"], "model.latent must be at least 1, not -3"),
        (["--set", "model.latent=1e300"], "model.latent takes a smaller number"),
        (["--set", "model.latent=1000000000"], "model.latent must be at most"),
        (["--set", "model.width=0"], "model.width must be at least 1"),
        (["--set", "model.width=65536", "model.network=conv"], "choose a smaller model"),
        (["--set", "model.depth=-1"], "model.depth must be at least 0"),
        (["--set", "model.depth=60000"], "model.depth must be at most"),
        (["--set", "model.sigma=-1"], "model.sigma must be at least 0"),
        (["--set", "model.warmup=2"], "model.warmup must be at most 1"),
        (["--set", "model.bound=iwae", "model.samples=0"], "model.samples must be at least 1"),
        (["--set", "model.likelihood=logistic", "model.components=0"], "model.components must be at least 1"),
        (["--set", "model.network=cnn"], "did you mean 'conv'?"),
        (["--set", "model.likelihood=gausian"], "did you mean 'gaussian'?"),
        (["--set", "model.latnet=3"], "Unknown setting 'model.latnet'; did you mean 'latent'?"),
        (["--set", "train.stpes=3"], "did you mean 'steps'?"),
        (["--set", "data.sise=8"], "did you mean 'size'?"),
        (["--set", "modle.latent=3"], "Unknown section 'modle'"),
        (["--set", "modle.latent=3"], "did you mean 'model'?"),
        (["--set", "latent=3"], "--set takes section.key=value"),
        (["--set", "model.latent"], "--set takes section.key=value"),
        (["--set", "model=3"], "--set takes section.key=value"),
        (["--set", "train.batch_size=0"], "train.batch_size must be at least 1"),
        (["--set", "train.batch_size=-8"], "train.batch_size must be at least 1"),
        (["--set", "train.microbatches=3"], "set train.batch_size to a multiple of 3"),
        (["--set", "train.log_every=0"], "train.log_every must be at least 1"),
        (["--set", "train.workers=-1"], "train.workers must be at least 0"),
        (["--set", "train.workers=100000"], "train.workers must be at most"),
        (["--set", "train.ema=1"], "train.ema must be less than 1, not 1"),
        (["--set", "train.lr_schedule=cosin"], "train.lr_schedule cannot be 'cosin'; did you mean 'cosine'?"),
        (["--set", "train.tensorboard=maybe"], "train.tensorboard takes true or false"),
        (["--set", "train.epochs=3"], "only one of --steps, --epochs and --minutes"),
        (["--epochs", "3"], "only one of --steps, --epochs and --minutes"),
        (["--minutes", "3"], "only one of --steps, --epochs and --minutes"),
        (["--set", "train.steps=none", "train.epochs=-1"], "train.epochs must be more than 0"),
        (["--seed", "-1"], "train.seed must be at least 0"),
        (["--set", "data.shift=8"], "data.shift=8 must be smaller than the pictures, 8x8"),
        (["--set", "data.size=0"], "data.size=0"),
        (["--set", "data.fit=corp"], "did you mean 'crop'?"),
        (["--set", "data.limit=-1"], "data.limit must be at least 0, not -1"),
        (["--set", "data.validation=1.5"], "data.validation must be less than 1, not 1.5"),
        (["--set", "data.validation=0.5", "data.test=0.5"], "must be fractions, together below 1"),
        (["--set", "data.channels=gray"], "data.channels cannot be 'gray'; did you mean 'grey'?"),
        (["--config", "there/is/none.json"], "There is no file there/is/none.json"),
    ],
)
def test_settings_that_are_wrong(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in fails(capsys, *words_for(tmp_path / "run", *words))
    assert not (tmp_path / "run").exists()


BUDGETS = {"--epochs": ["nan", "1e308", "-1"], "--minutes": ["0", "inf"], "--steps": ["0", "-5"]}


@pytest.mark.parametrize(("flag", "value"), [(flag, value) for flag, values in BUDGETS.items() for value in values])
def test_budgets_that_are_none(flag: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"train.{flag[2:]}" in fails(capsys, *words_for(tmp_path / "run", flag, value, steps=None))
    assert not (tmp_path / "run").exists()


def test_an_unknown_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "There is no model 'vea'; did you mean 'vae'?" in fails(capsys, *words_for(tmp_path / "run", model="vea"))
    assert "known are: ae, " in fails(capsys, *words_for(tmp_path / "run", model="qqqqq"))


def test_a_device_that_is_not_there(
    tmp_path: Path, vae: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = ["train", "vae", "--data", "digits", "--steps", 1, "--out", tmp_path / "run"]
    assert "no cuda device" in fails(capsys, *words, "--device", "cuda")
    assert "--device is one of auto, cpu, cuda, mps, not 'tpu'" in fails(capsys, *words, "--device", "tpu")
    assert "no cuda device" in fails(capsys, "sample", vae, "--device", "cuda", "--out", tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "can't be read as JSON"),
        (b"\xff\xfe", "can't be read as JSON"),
        (b"[" * 100_000, "can't be read as JSON"),
        (b"[1]", "must hold the sections model, train and data"),
        (b'{"model": 3}', "must hold the sections model, train and data"),
        (b'{"settings": 3}', "must hold the sections model, train and data"),
        (b'{"modle": {}}', "Unknown section 'modle'"),
        (b'{"modle": {}}', "did you mean 'model'?"),
        (b'{"model": {"latnet": 3}}', "did you mean 'latent'?"),
        (b'{"train": {"lr": "abc"}}', "train.lr takes a number"),
        (b'{"train": {"lr": NaN}}', "train.lr takes a number"),
        (b'{"train": {"lr": [1]}}', "train.lr takes a number"),
        (b'{"train": {"seed": 1' + b"0" * 400 + b"}}", "train.seed takes a whole number"),
        (b'{"data": {"flip": 3}}', "data.flip takes true or false"),
        (b'{"data": {"fit": true}}', "data.fit takes a word"),
    ],
)
def test_config_files_that_are_wrong(
    content: bytes, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "given.json").write_bytes(content)
    assert said in fails(capsys, *words_for(tmp_path / "run", "--config", tmp_path / "given.json"))
    assert not (tmp_path / "run").exists()


def test_a_folder_for_a_config_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words_for(tmp_path / "run", "--config", tmp_path))
    assert "can't be read as JSON" in capsys.readouterr().err


# Bad data


def test_data_that_cannot_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("no picture")
    pictures(tmp_path / "cut", 1)
    Image.open(tmp_path / "cut" / "0.png").resize((64, 64)).save(tmp_path / "cut" / "a.jpg")
    (tmp_path / "cut" / "0.png").unlink()
    (tmp_path / "cut" / "a.jpg").write_bytes((tmp_path / "cut" / "a.jpg").read_bytes()[:300])
    (tmp_path / "odd.xyz").write_text("no picture")
    said = {
        tmp_path / "empty": "There are no pictures in",
        tmp_path / "text": "only other files (1 .txt)",
        tmp_path / "cut": "the first is a.jpg (damaged",
        tmp_path / "odd.xyz": "of no known kind",
        tmp_path / "nothing": "check the path",
        tmp_path / "text" / "deep" / "er": "nor its folder",
        "digit": "did you mean 'digits'?",
        "x" * 300: "no folder or data called",
        "hf:": "hf:owner/name",
        "": "The name of the data is empty",
    }
    for data, sentence in said.items():
        assert sentence in fails(capsys, *words_for(tmp_path / "run", data=data))
        assert sentence in fails(capsys, "data", data, "--sheet", tmp_path / "run" / "sheet.png")
    assert not (tmp_path / "run").exists()


def test_a_conditional_model_needs_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "data")
    assert "cvae needs labels" in fails(capsys, *words_for(tmp_path / "run", model="cvae", data=data))
    assert not (tmp_path / "run").exists()


def test_one_picture_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, *words_for(tmp_path / "run", data=pictures(tmp_path / "data", 1)))
    assert reverie.load(tmp_path / "run").image_spec.shape == (3, 8, 8)


def test_pictures_of_many_sizes_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "data", 3, size=(9, 20))
    pictures(data / "more", 2, size=(33, 8))
    succeeds(capsys, *words_for(tmp_path / "run", data=data))
    assert reverie.load(tmp_path / "run").image_spec.shape == (3, 32, 32)


def test_a_batch_larger_than_the_data_trains(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    succeeds(capsys, *words_for(tmp_path / "run", "--set", "train.batch_size=50", data=pictures(tmp_path / "data", 3)))
    assert reverie.load(tmp_path / "run").config["settings"]["train"]["batch_size"] == 50


# Bad places to write to


def test_outputs_that_cannot_be_written(tmp_path: Path, vae: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.png").mkdir()
    way = "a file is in the way"
    assert way in fails(capsys, *words_for(tmp_path / "file"))
    assert way in fails(capsys, *words_for(tmp_path / "file" / "sub"))
    assert way in fails(capsys, "sample", vae, "--out", tmp_path / "file" / "x.png")
    assert way in fails(capsys, "sample", vae, "--count", 2, "--out", tmp_path / "file")
    assert way in fails(capsys, "embed", vae, "digits", "--out", tmp_path / "file" / "x.npz")
    assert way in fails(capsys, "reconstruct", vae, "digits", "--out", tmp_path / "file" / "x.png")
    with pytest.raises(SystemExit, match="2"):
        main(["data", "digits", "--sheet", str(tmp_path / "file" / "x.png")])
    assert way in capsys.readouterr().err
    assert "folder.png: " in fails(capsys, "sample", vae, "--out", tmp_path / "folder.png")
    assert "too long" in fails(capsys, "sample", vae, "--out", tmp_path / f"{'x' * 300}.png")
    assert "too long" in fails(capsys, *words_for(tmp_path / ("y" * 260)))
    assert (tmp_path / "file").read_text() == "mine"
    assert leftovers(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.png"]


@pytest.mark.parametrize("command", ["sample", "reconstruct", "embed"])
def test_suffixes_that_are_wrong_are_told_before_the_work(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = [] if command == "sample" else ["digits"]
    assert "--out takes a" in fails(capsys, command, tmp_path / "no run", *images, "--out", tmp_path / "out.jpg")


NO_SPACE = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Full:
    """A disk that is full from the call with this number on."""

    def __init__(self, original: Callable[..., Any], good: int, error: Exception = NO_SPACE) -> None:
        self.original, self.good, self.error = original, good, error

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.good -= 1
        if self.good < 0:
            raise self.error
        return self.original(*args, **kwargs)


@pytest.mark.parametrize(
    ("place", "name", "good", "error"),
    [
        (checkpoint, "save_file", 1, NO_SPACE),
        (checkpoint, "save_file", 1, SafetensorError("Error while serializing: I/O error: No space left on device")),
        (weights, "save_file", 1, NO_SPACE),
        (files.os, "replace", 4, NO_SPACE),  # config.json, the listing, the first state, its weights; the second state
        (files.os, "replace", 5, NO_SPACE),  # ... its weights
        (files.os, "fsync", 8, NO_SPACE),  # each file and its folder
    ],
    ids=["state", "state inside safetensors", "weights", "rename of state", "rename of weights", "sync"],
)
def test_a_full_disk_costs_nothing_that_was_saved(
    place: Any, name: str, good: int, error: Exception, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = ["--set", "train.checkpoint_every=2", "train.sample_every=100"]
    succeeds(capsys, *words_for(tmp_path / "whole", *many, steps=6))
    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(place, name, Full(getattr(place, name), good, error))
        assert "the disk is full; free some space" in fails(capsys, *words_for(out, *many, steps=6))
    states = sorted(path.name for path in (out / "state").iterdir())
    assert states[0] == "000000002.safetensors"
    assert leftovers(out) == []
    reverie.load(out)
    words = ["train", "vae", "--data", "digits", "--out", out, "--quiet", "--device", "cpu"]
    assert "add --resume" in fails(capsys, *words)
    succeeds(capsys, *words, "--resume")
    for file in ("model.safetensors", "metrics.jsonl", "config.json"):
        assert (out / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file


def test_a_disk_that_is_really_full(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "events.jsonl").symlink_to("/dev/full")
    assert "the disk is full" in fails(capsys, *words_for(tmp_path / "run", "--force"))


# Runs, and going on with them


def test_runs_that_are_none(tmp_path: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (copied / "model.safetensors").unlink()
    for command, *more in (["sample"], ["reconstruct", "digits"], ["embed", "digits"], ["evaluate"]):
        for run in (tmp_path / "empty", tmp_path / "none", "x" * 300):
            assert "is no run" in fails(capsys, command, run, *more)
        assert "its training has saved nothing yet" in fails(capsys, command, copied, *more)


def test_damage_is_told_without_steering_the_terminal(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps(config | {"model": "\x1b[2J\nvae\r"}))
    said = fails(capsys, "sample", copied)
    assert said.rstrip("\n").isprintable()
    assert "'model' is no name of a model" in said


def test_a_run_is_not_overwritten(vae: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds a run already; add --resume" in fails(capsys, *words_for(copied))
    assert (copied / "model.safetensors").read_bytes() == (vae / "model.safetensors").read_bytes()


def test_going_on_with_something_else(tmp_path: Path, copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", "digits", "--out", copied, "--quiet", "--resume"]
    assert "is a run of vae, not of ae" in fails(capsys, "train", "ae", *words)
    assert "have changed since" in fails(capsys, "train", "vae", "--data", "faces", *words[2:])
    for setting in ("model.latent=4", "data.limit=9", "train.lr=1"):
        said = fails(capsys, "train", "vae", *words, "--set", setting)
        assert f"{setting.partition('=')[0]} can't change on --resume" in said
    assert "train.seed can't change" in fails(capsys, "train", "vae", *words, "--seed", 3)
    succeeds(capsys, "train", "vae", *words)  # it is finished: nothing left to do
    succeeds(capsys, "train", "vae", *words, "--steps", 5)
    assert reverie.load(copied).config["settings"]["train"]["steps"] == 5


def test_going_on_with_other_pictures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "data", 5)
    succeeds(capsys, *words_for(tmp_path / "run", data=data))
    pictures(tmp_path / "data", 9)
    words = ["train", "vae", "--data", data, "--out", tmp_path / "run", "--quiet", "--resume"]
    assert "have changed since" in fails(capsys, *words)


# Bad use of a run


def test_what_a_run_cannot_do(
    tmp_path: Path, vae: Path, cvae: Path, trained: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out" / "x.png"
    colour, grey = pictures(tmp_path / "colour"), pictures(tmp_path / "grey", mode="L")
    assert "takes no class labels" in fails(capsys, "sample", vae, "--labels", 3, "--out", out)
    assert "There is no class 'sevn'" in fails(capsys, "sample", cvae, "--labels", "sevn", "--out", out)
    assert "There is no class 10" in fails(capsys, "sample", cvae, "--labels", 10, "--out", out)
    assert "--count must be at least 1, not 0" in fails(capsys, "sample", vae, "--count", 0, "--out", out)
    assert "--count must be at least 1, not -1" in fails(capsys, "sample", vae, "--count", -1, "--out", out)
    assert "--count must be at least 1" in fails(capsys, "reconstruct", vae, grey, "--count", 0, "--out", out)
    said = fails(capsys, "reconstruct", vae, colour, "--out", out)
    assert "(3, 8, 8)" in said
    assert "(1, 8, 8)" in said
    assert "(3, 8, 8)" in fails(capsys, "embed", vae, colour, "--out", tmp_path / "out" / "x.npz")
    assert "needs the class label of each picture" in fails(capsys, "reconstruct", cvae, grey, "--out", out)
    assert "needs class labels, and this data has none" in fails(capsys, "evaluate", cvae, "--data", grey)
    assert "did you mean 'likelihood'?" in fails(capsys, "evaluate", vae, "--metrics", "likelihod")
    assert "has none" in fails(capsys, "evaluate", trained("ae"), "--metrics", "likelihood")
    assert "--samples must be at least 1" in fails(capsys, "evaluate", vae, "--samples", 0)
    assert "--limit must be at least 0" in fails(capsys, "evaluate", vae, "--limit", -1)
    assert not (tmp_path / "out").exists()


def test_a_class_with_a_name_has_a_nearest_match(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cat", "dog", "mouse"):
        pictures(tmp_path / "data" / name, 4)
    succeeds(capsys, *words_for(tmp_path / "run", model="cvae", data=tmp_path / "data"))
    said = fails(capsys, "sample", tmp_path / "run", "--labels", "mose", "--out", tmp_path / "x.png")
    assert "There is no class 'mose'; did you mean 'mouse'?" in said


# Settings


@dataclass(frozen=True)
class Settings:
    whole: int = 1
    real: float = 1.0
    flag: bool = False
    word: str = "a"
    betas: tuple[float, float] = (0.9, 0.999)
    sizes: tuple[int, ...] = ()
    maybe: int | None = None
    perhaps: float | None = None


INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=10).map(str.strip)
SETTINGS = st.builds(
    Settings, INTEGERS, FLOATS, st.booleans(), WORDS, st.tuples(FLOATS, FLOATS),
    st.lists(INTEGERS, min_size=1).map(tuple), st.none() | INTEGERS, st.none() | FLOATS,
)  # fmt: skip


def spelled(value: Any) -> str:
    return ",".join(map(spelled, value)) if isinstance(value, tuple) else str(value)


def kinds(value: Any) -> Any:
    return [type(v) for v in value] if isinstance(value, tuple) else type(value)


def assert_exactly(found: Settings, wanted: Settings) -> None:
    assert found == wanted
    for field in dataclasses.fields(Settings):
        assert kinds(getattr(found, field.name)) == kinds(getattr(wanted, field.name)), field.name


@settings(deadline=None)
@given(SETTINGS)
def test_settings_survive_the_command_line_and_json(wanted: Settings) -> None:
    values = dataclasses.asdict(wanted)
    words = parse_settings([f"model.{key}={spelled(value)}" for key, value in values.items()])
    assert_exactly(configure(Settings, words["model"], "model"), wanted)
    assert_exactly(configure(Settings, json.loads(json.dumps(values)), "model"), wanted)
    assert words["train"] == words["data"] == {}


@given(st.integers(-(2**53), 2**53))
def test_a_whole_number_for_a_float_becomes_a_float(value: int) -> None:
    for given_value in (value, str(value)):
        found = configure(Settings, {"real": given_value, "betas": [given_value, 0], "perhaps": given_value}, "model")
        assert (found.real, found.betas, found.perhaps) == (value, (value, 0), value)
        assert {type(v) for v in (found.real, *found.betas, found.perhaps)} == {float}
    assert type(configure(Plan, {"lr": 1}, "train").lr) is float


@given(st.integers(-(2**53), 2**53))
def test_a_float_that_is_whole_becomes_an_int(value: int) -> None:
    found = configure(Settings, {"whole": float(value), "maybe": f"{value}.0"}, "model")
    assert (found.whole, found.maybe) == (value, value)
    assert type(found.whole) is type(found.maybe) is int


@pytest.mark.parametrize("word", ["true", "True", "YES", "on", "1", "false", "False", "No", "off", "0"])
def test_words_for_yes_and_no(word: str) -> None:
    assert configure(Settings, {"flag": word}, "model").flag == (word.lower() in ("true", "yes", "on", "1"))


@given(
    st.sampled_from(["whole", "real", "flag", "betas", "sizes", "maybe", "perhaps"]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just(10**400),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
        max_leaves=4,
    ),
)
def test_any_value_is_coerced_or_refused_by_name(key: str, value: Any) -> None:
    try:
        found = getattr(configure(Settings, {key: value}, "model"), key)
    except ReverieError as error:
        sentence = str(error)
    else:
        sentence = f"model.{key} takes nothing"
        assert configure(Settings, {key: found}, "model") == configure(Settings, {key: value}, "model")
    assert sentence.startswith(f"model.{key} takes ")
    assert len(sentence) < 500


@given(st.sampled_from([f.name for f in dataclasses.fields(Plan)] + [f.name for f in dataclasses.fields(DataOptions)]))
def test_an_unknown_key_names_the_nearest(name: str) -> None:
    kind = Plan if name in Plan.__annotations__ else DataOptions
    with pytest.raises(ReverieError, match=rf"^Unknown setting 'x\.{name}x'; did you mean '{name}'\?$"):
        configure(kind, {f"{name}x": 1}, "x")
    with pytest.raises(ReverieError, match=r"; known are: .*\.$"):
        configure(kind, {"qqqqqqqq": 1}, "x")


def test_later_words_win_and_values_may_hold_anything() -> None:
    found = parse_settings(["model.a=1", "model.a=2", "data.b= x=y.z ", "train.c="])
    assert found == {"model": {"a": "2"}, "train": {"c": ""}, "data": {"b": "x=y.z"}}


def test_a_list_of_another_length_is_refused() -> None:
    with pytest.raises(ReverieError, match="takes 2 values, not 3"):
        coerce("1,2,3", tuple[float, float], "model.betas")


# Help


def python(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", "-m", "reverie", *words]
    return subprocess.run(command, check=check, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", [["--help"], ["train", "vae", "--help"], ["--version"], ["train", "vea", "--data=x"]])
def test_help_does_not_wait_for_torch(words: list[str]) -> None:
    done = python(*words, check=False)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert "reverie.cli" in imported
    assert not imported & {"torch", "numpy", "sklearn", "PIL", "scipy"}
    assert done.returncode == (2 if "vea" in words else 0)


def test_every_command_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [name for name in app if not name.startswith("-")]
    assert {"train", "sample", "reconstruct", "embed", "evaluate", "models", "data"} <= set(commands)
    overview = succeeds(capsys, "--help")
    for command in commands:
        assert command in overview
        assert f"reverie {command}" in succeeds(capsys, command, "--help")
    assert "Usage: reverie" in succeeds(capsys)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeeds(capsys, "--version").strip() == reverie.__version__


def test_models_are_listed_in_eighty_columns(capsys: pytest.CaptureFixture[str]) -> None:
    lines = succeeds(capsys, "models").splitlines()
    assert max(map(len, lines)) <= 80
    about, _, table = "\n".join(lines).partition("\n\n")
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["density", "draws", "codes", "bounds", "labels", "pairs", "judges"]
    assert [row[0] for row in rows[1:]] == registry.names()
    for row, (name, entry) in zip(rows[1:], registry.MODELS.items(), strict=True):
        kind = registry.load_class(name)
        assert " ".join(row[1:-6]) == kind.taxonomy
        words = ("Samples", "Encodes", "Bounds", "Conditions", "Translates", "Discriminates")
        promised = [getattr(capabilities, word) for word in words]
        assert row[-6:] == ["yes" if issubclass(kind, capability) else "-" for capability in promised]
        assert f"{name} {entry.summary} ({entry.paper})" in " ".join(about.split())


@pytest.mark.parametrize("name", registry.names())
def test_the_settings_of_a_model_are_listed_as_set_takes_them(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [line.split("  ")[0] for line in succeeds(capsys, "models", name).splitlines()]
    listed = parse_settings(words)
    kind = registry.load_class(name)
    assert configure(kind.Config, listed["model"], "model") == configure(kind.Config, registry.preset(name), "model")
    assert configure(Plan, listed["train"], "train") == Plan(**dataclasses.asdict(kind.defaults))
    assert configure(DataOptions, listed["data"], "data") == DataOptions()
    for section, settings_class in (("model", kind.Config), ("train", Plan), ("data", DataOptions)):
        assert listed[section].keys() == {field.name for field in dataclasses.fields(settings_class)}


# Good words: from data to figures


def cells(path: Path, rows: int, columns: int) -> np.ndarray:
    """The 8 x 8 pictures of a grid, row by row: (rows * columns, 8, 8)."""
    image = Image.open(path)
    assert (image.format, image.mode, image.size) == ("PNG", "L", (columns * 10 - 2, rows * 10 - 2))
    pixels = np.asarray(image)
    return np.stack([pixels[y : y + 8, x : x + 8] for y in range(0, rows * 10, 10) for x in range(0, columns * 10, 10)])


def test_train_leaves_a_run_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "runs" / "first"
    said = succeeds(capsys, *words_for(out, steps=3))
    assert said.startswith(f"Done: {out}.")
    assert said.count("\n") == 1
    expected = {"README.md", "config.json", "events.jsonl", "metrics.jsonl", "model.safetensors", "report.html"}
    assert {path.name for path in out.iterdir()} == expected | {"samples", "state", ".lock", ".reverie"}
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [3]
    assert {path.name for path in (out / "samples").iterdir()} >= {"000000003.png", "000000003-reconstructions.png"}
    assert leftovers(tmp_path) == []


def test_training_is_a_function_of_its_words(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, more in {"same": [], "other": ["--seed", "1"]}.items():
        succeeds(capsys, *words_for(tmp_path / name, *more, steps=3))
        same = (tmp_path / name / "model.safetensors").read_bytes() == (vae / "model.safetensors").read_bytes()
        assert same == (name == "same")


def test_the_config_of_a_run_makes_the_same_run(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "vae", "--data", "digits", "--quiet", "--device", "cpu", "--config", vae / "config.json"]
    succeeds(capsys, *words, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (vae / "model.safetensors").read_bytes()
    succeeds(capsys, *words, "--out", tmp_path / "longer", "--steps", 4, "--set", "model.latent=2")
    longer = reverie.load(tmp_path / "longer").config["settings"]
    assert (longer["train"]["steps"], longer["model"]["latent"], longer["model"]["width"]) == (4, 2, 4)
    succeeds(capsys, *words, "--out", tmp_path / "epoch", "--epochs", 0.5)
    assert reverie.load(tmp_path / "epoch").config["settings"]["train"]["steps"] in range(2, 6)


def test_words_beat_the_config_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given_file = {"model": {"latent": 9, "depth": 0}, "train": {"seed": 5, "log_every": 7}, "data": {"size": 8}}
    (tmp_path / "given.json").write_text(json.dumps(given_file))
    succeeds(capsys, *words_for(tmp_path / "run", "--config", tmp_path / "given.json", "--seed", 6))
    found = reverie.load(tmp_path / "run").config["settings"]
    assert (found["model"]["latent"], found["model"]["depth"]) == (3, 0)
    assert (found["train"]["seed"], found["train"]["log_every"], found["data"]["size"]) == (6, 7, "8")


def test_sample_draws_a_grid(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def draw(name: str, *more: object) -> Path:
        out = tmp_path / name
        count = more[more.index("--count") + 1] if "--count" in more else 64
        assert succeeds(capsys, "sample", vae, "--out", out, *more) == f"{count} pictures in {out}\n"
        return out

    ten = draw("deep/ten.png", "--count", 10)
    wanted = reverie.to_uint8(reverie.sample(reverie.load(vae).model, 10))
    np.testing.assert_array_equal(cells(ten, 2, 8)[:10], wanted[:, 0])
    assert not cells(ten, 2, 8)[10:].any()
    assert draw("again.png", "--count", 10).read_bytes() == ten.read_bytes()
    assert draw("seed.png", "--count", 10, "--seed", 1).read_bytes() != ten.read_bytes()
    assert draw("mixture.png", "--count", 10, "--prior", "mixture").read_bytes() != ten.read_bytes()
    np.testing.assert_array_equal(cells(draw("three.png", "--count", 3), 1, 3), wanted[:3, 0])
    assert Image.open(draw("many.PNG")).size == (78, 78)
    folder = draw("single", "--count", 3)
    assert visible(folder) == ["000000.png", "000001.png", "000002.png"]
    for i, picture in enumerate(wanted[:3]):
        np.testing.assert_array_equal(np.asarray(Image.open(folder / f"{i:06d}.png")), picture[0])


def test_a_new_process_draws_the_same(vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    python("sample", str(vae), "--count", "9", "--out", str(tmp_path / "other.png"), "--device", "cpu")
    succeeds(capsys, "sample", vae, "--count", 9, "--out", tmp_path / "here.png", "--device", "cpu")
    assert (tmp_path / "other.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_bad_input_ends_a_process_with_code_two(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "reverie", *words_for(tmp_path / "run", "--set", "model.latnet=3")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "reverie: Unknown setting 'model.latnet'; did you mean 'latent'?\n"
    assert list(tmp_path.iterdir()) == []


def test_sample_takes_labels_in_turn(cvae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = reverie.load(cvae).model
    for name, labels in {"two": ["3", "7"], "one": ["5"], "all": []}.items():
        more: Sequence[object] = ["--labels", *labels] if labels else []
        succeeds(capsys, "sample", cvae, "--count", 8, "--out", tmp_path / f"{name}.png", *more)
        wanted = reverie.to_uint8(reverie.sample(model, 8, labels=labels or list(range(10))))
        np.testing.assert_array_equal(cells(tmp_path / f"{name}.png", 1, 8), wanted[:, 0])
    assert (tmp_path / "two.png").read_bytes() != (tmp_path / "one.png").read_bytes()
    repeated = ["--labels", "3", "--labels", "7"]
    succeeds(capsys, "sample", cvae, "--count", 8, "--out", tmp_path / "repeated.png", *repeated)
    assert (tmp_path / "repeated.png").read_bytes() == (tmp_path / "two.png").read_bytes()


@pytest.mark.parametrize("name", ["vae", "cvae"])
def test_reconstruct_shows_inputs_above_outputs(
    name: str, trained: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = trained(name), tmp_path / "pairs.png"
    said = succeeds(capsys, "reconstruct", run, "digits", "--count", 12, "--split", "test", "--out", out)
    digits = reverie.open_dataset("digits", DataOptions(limit=80)).split("test")
    count = min(12, len(digits))
    assert f"{count} pictures and their reconstructions in {out}" in said
    given_pictures = digits.batch(np.arange(count))
    labels = None if name == "vae" or digits.labels is None else [int(i) for i in digits.labels[:count]]
    rebuilt = reverie.reconstruct(reverie.load(run).model, reverie.to_tensor(given_pictures), labels)
    columns = min(8, count)
    shown = cells(out, 2 * -(-count // columns), columns).reshape(-1, 2, columns, 8, 8)
    np.testing.assert_array_equal(shown[:, 0].reshape(-1, 8, 8)[:count], given_pictures[:, 0])
    np.testing.assert_array_equal(shown[:, 1].reshape(-1, 8, 8)[:count], reverie.to_uint8(rebuilt)[:, 0])


def test_embed_writes_codes_with_names_and_labels(
    vae: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    for name in ("cat", "dog"):
        pictures(data / name, 45, mode="L", size=(10, 9))  # more than the run's own data.limit
    said = succeeds(capsys, "embed", vae, data, "--out", tmp_path / "codes.npz")
    assert f"90 codes of 3 numbers in {tmp_path / 'codes.npz'}" in said
    dataset = reverie.open_dataset(str(data), DataOptions(size="8x8"))
    wanted = reverie.embed(reverie.load(vae).model, dataset)
    with np.load(tmp_path / "codes.npz", allow_pickle=False) as found:
        assert set(found.files) == {"codes", "logvar", "names", "labels", "classes"}
        np.testing.assert_array_equal(found["codes"], wanted.codes)
        np.testing.assert_array_equal(found["logvar"], wanted.logvar)
        assert found["codes"].shape == (90, 3)
        assert sorted(found["names"]) == sorted(f"{c}/{i}.png" for c in ("cat", "dog") for i in range(45))
        named = zip(found["names"], found["classes"][found["labels"]], strict=True)
        assert all(name.startswith(kind) for name, kind in named)
    succeeds(capsys, "embed", vae, "digits", "--split", "train", "--out", tmp_path / "codes.parquet")
    assert (tmp_path / "codes.parquet").read_bytes()[:4] == b"PAR1"


@pytest.mark.parametrize("name", ["vae", "cvae", "ae"])
def test_evaluate_prints_figures_as_json(
    name: str, trained: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", trained(name), "--limit", 4, "--samples", 5, "--split", "train", "--out", tmp_path / "f.json"]
    text = succeeds(capsys, *words)
    figures = json.loads(text)
    assert json.loads((tmp_path / "f.json").read_text()) == figures
    assert figures["protocol"] == {"pictures": 4, "of": len(reverie_digits().split("train")), "samples": 5, "seed": 0}
    bounded = {"likelihood"} if name != "ae" else set()
    assert figures.keys() == {"reconstruction", "latent", "protocol"} | bounded
    if bounded:
        assert figures["likelihood"]["samples"] == 5
        assert figures["likelihood"]["iw_bound"] >= figures["likelihood"]["elbo"]
    assert succeeds(capsys, *words) == text
    chosen = succeeds(capsys, *words, "--metrics", "latent", "reconstruction")
    assert json.loads(chosen).keys() == {"reconstruction", "latent", "protocol"}


def reverie_digits() -> reverie.Dataset:
    return reverie.open_dataset("digits", DataOptions(limit=80))


def test_data_says_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = succeeds(capsys, "data", "digits", "--sheet", tmp_path / "deep" / "sheet.png")
    assert said.startswith("1,797 pictures, 1 x 8 x 8 (channels x height x width)\n")
    assert f"contact sheet: {tmp_path / 'deep' / 'sheet.png'}" in said
    assert cells(tmp_path / "deep" / "sheet.png", 8, 12).any(axis=(1, 2)).all()
    said = succeeds(capsys, "data", "digits", "--sheet", tmp_path / "s.png", "--set", "data.limit=5", "data.size=16")
    assert said.startswith("5 pictures, 1 x 16 x 16")


def test_data_names_what_it_cannot_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = pictures(tmp_path / "data", 3)
    (data / "broken.png").write_bytes(b"\x89PNG but not really")
    said = succeeds(capsys, "data", data, "--sheet", tmp_path / "sheet.png")
    assert "3 pictures, 3 x 8 x 8" in said
    assert "  broken.png: " in said
    assert Image.open(tmp_path / "sheet.png").size == (28, 8)


def test_threads_that_wait_do_not_spin_unless_they_are_told_to() -> None:
    code = "import atexit, os; from reverie.cli import main; "
    code += "atexit.register(lambda: print(os.environ['OMP_WAIT_POLICY'])); main(['models'])"
    for set_before, wanted in ((None, "PASSIVE"), ("ACTIVE", "ACTIVE")):
        environment = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"}
        environment |= {"OMP_WAIT_POLICY": set_before} if set_before else {}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
        assert done.stdout.splitlines()[-1] == wanted
