"""What `train` leaves behind, beyond being resumable."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reverie
from cases import SMALL
from reverie.engine.checkpoint import CheckpointFolder
from reverie.engine.loop import Diverged, Loop
from reverie.run_folder import default_folders, newest_default
from reverie.training import train


def settings(**train_: Any) -> dict[str, dict[str, Any]]:
    chosen = {"steps": 12, "batch_size": 16, "log_every": 4, "sample_every": 6} | train_
    return {"model": SMALL | {"network": "mlp"}, "train": chosen, "data": {"limit": 120}}


def test_a_run_leaves_everything_it_promises(tmp_path: Path) -> None:
    run = train("vae", "digits", tmp_path / "run", settings=settings(), quiet=True)
    names = {p.name for p in run.path.iterdir()}
    assert names == {
        "config.json", "model.safetensors", "README.md", "metrics.jsonl", "events.jsonl", "report.html", "samples",
        "state", ".lock", ".reverie",
    }  # fmt: skip
    lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["images"]) for line in lines] == [(4, 64), (8, 128), (12, 192)]
    assert all(len(line["kl_dims"]) == 3 for line in lines)
    assert sorted(p.name for p in (run.path / "samples").iterdir()) == [
        "000000006-reconstructions.png", "000000006.png",
        "000000012-mixture.png", "000000012-reconstructions.png", "000000012.png",
    ]  # fmt: skip
    with Image.open(run.path / "samples" / "000000012.png") as grid:
        assert len(np.unique(np.asarray(grid))) > 10
    assert (run.path / "config.json").stat().st_mode & 0o777 == (run.path / "model.safetensors").stat().st_mode & 0o777


def test_the_saved_weights_are_the_averaged_ones(tmp_path: Path) -> None:
    run = train("ae", "digits", tmp_path / "run", settings=settings(ema=0.9), quiet=True)
    state = CheckpointFolder(run.path / "state").newest()
    assert state is not None
    weights = dict(run.model.named_parameters())
    assert weights
    for key, value in weights.items():
        assert torch.equal(value, state[0][f"ema.{key}"])
    assert any(not torch.equal(value, state[0][f"model.{key}"]) for key, value in weights.items())


def test_the_mixture_is_fitted_and_saved(tmp_path: Path) -> None:
    run = train("ae", "digits", tmp_path / "run", settings=settings(), quiet=True)
    data = reverie.open_dataset("digits", reverie.DataOptions(limit=120)).split("train")
    codes = torch.from_numpy(reverie.embed(run.model, data).codes)
    mixture = reverie.load(run.path).model.get_submodule("mixture")
    fresh = type(mixture)(3)
    assert float(mixture.log_prob(codes).mean()) > float(fresh.log_prob(codes).mean()) + 0.5


def test_divergence_stops_and_keeps_the_last_good_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advance = Loop.advance

    def spoil(self: Loop) -> None:
        if self.step == 9:
            with torch.no_grad():
                next(self.model.parameters()).fill_(math.inf)
        advance(self)

    monkeypatch.setattr(Loop, "advance", spoil)
    with pytest.raises(Diverged, match=r"phase 'reconstruction' became .* at step 10; the last good state is kept"):
        train("ae", "digits", tmp_path / "run", settings=settings(checkpoint_every=4), quiet=True)
    state = CheckpointFolder(tmp_path / "run" / "state").newest()
    assert state is not None
    assert state[1]["step"] == 8
    assert all(v.isfinite().all() for v in state[0].values())
    assert '"diverged"' in (tmp_path / "run" / "events.jsonl").read_text()
    monkeypatch.setattr(Loop, "advance", advance)
    train("ae", "digits", tmp_path / "run", resume=True, quiet=True)  # goes on from there


def test_a_collapsed_posterior_is_told_once_with_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = settings(steps=60, lr=3e-2)
    chosen["model"] |= {"beta": 1e4, "warmup": 0.0}
    train("vae", "digits", tmp_path / "run", settings=chosen)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning")]
    assert len(said) == 1
    assert "collapsed" in said[0]
    assert "model.beta" in said[0]


def test_tensorboard_is_a_sink_where_asked(tmp_path: Path) -> None:
    run = train("ae", "digits", tmp_path / "run", settings=settings(tensorboard=True), quiet=True)
    found = list((run.path / "tensorboard").iterdir())
    assert len(found) == 1
    assert b"loss" in found[0].read_bytes()


def test_folders_are_numbered_and_resume_takes_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert next(default_folders("vae", "a/digits.zip")) == Path("runs/vae-digits")
    assert newest_default("ae", "digits") is None
    for name in ("ae-digits", "ae-digits-2"):
        assert train("ae", "digits", settings=settings(steps=1), quiet=True).path == Path("runs") / name
        assert newest_default("ae", "digits") == Path("runs") / name
    resumed = train("ae", "digits", resume=True, settings={"train": {"steps": 2}}, quiet=True)
    assert resumed.path == Path("runs/ae-digits-2")


def test_the_api_s_names_are_functions_however_often_they_are_asked_for() -> None:
    for _ in range(2):
        for name in reverie.__all__:
            assert callable(getattr(reverie, name)), name
    with pytest.raises(AttributeError, match="nonsense"):
        _ = reverie.nonsense
