"""Batches of one picture: a model learns from them, or says in one sentence that it can't."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path

import pytest

from cases import loop_for, tiny
from commands import fails, run, words_for
from reverie import registry
from reverie.engine.events import METRICS, Record, last_step, read_metrics
from reverie.engine.model import ImageSpec

NEED_TWO = ("infovae",)


@pytest.mark.parametrize("name", [name for name in registry.names() if name not in NEED_TWO])
def test_a_batch_of_one_picture_trains_without_a_warning(name: str) -> None:
    assert tiny(name).least_batch == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loop = loop_for(name, batch_size=1)
        for _ in range(2):
            loop.advance()
        json.dumps(loop.means(), allow_nan=False)


@pytest.mark.parametrize("name", NEED_TWO)
def test_what_compares_pictures_asks_for_two(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = words_for(tmp_path / "run", "--set", "train.batch_size=1", model=name)
    assert f"{registry.load_class(name).__name__} needs 2 pictures at a time or more, not 1" in fails(capsys, *words)
    words[words.index("train.batch_size=1") :] = ["train.batch_size=2", "train.microbatches=2"]
    assert "not 1" in fails(capsys, *words)
    assert not (tmp_path / "run").exists()
    words[-1] = "train.microbatches=1"
    run(*words)


def test_batch_normalisation_of_single_numbers_asks_for_two() -> None:
    one = ImageSpec(1, 1, 1, ("cat", "dog", "owl"))
    assert [tiny(name, one).least_batch for name in ("dcgan", "cgan")] == [2, 2]
    for name in ("dcgan", "cgan"):
        with pytest.raises(ValueError, match="more than 1 value per channel"):
            loop_for(name, image_spec=one, batch_size=1).advance()
        loop_for(name, image_spec=one, batch_size=2).advance()


def test_metrics_are_json_whatever_the_numbers_are(tmp_path: Path) -> None:
    with Record(tmp_path, 1, quiet=True) as record:
        record.log(1, 8, {"loss": math.nan, "kl_dims": [1.0, math.inf], "fine": 2.0})
    text = (tmp_path / METRICS).read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert read_metrics(tmp_path) == [{"step": 1, "images": 8, "loss": None, "kl_dims": [1.0, None], "fine": 2.0}]


def test_the_last_step_is_read_off_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert last_step(tmp_path) is None
    (tmp_path / METRICS).write_bytes(b"")
    assert last_step(tmp_path) is None
    lines = [json.dumps({"step": step, "loss": 1.0, "kl_dims": [0.5] * (step % 7)}) for step in range(1, 200)]
    monkeypatch.setattr("reverie.engine.events.TAIL", 16)
    for end in ("\n", "", '\n{"step": 201, "loss', "\n\xff\n"):
        (tmp_path / METRICS).write_bytes(("\n".join(lines) + end).encode("latin-1"))
        assert last_step(tmp_path) == 199
    (tmp_path / METRICS).write_bytes(b"no line at all" * 20)
    assert last_step(tmp_path) is None
