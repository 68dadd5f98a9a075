"""The trainer and its callbacks: who is told what, who may stop, and what a state holds."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import reverie
from cases import SMALL
from reverie.artifact import build_model
from reverie.data import Dataset
from reverie.engine.checkpoint import CheckpointFolder as States
from reverie.engine.model import Model
from reverie.errors import Interrupted, ReverieError
from reverie.training.callbacks import Checkpoints

SETTINGS: dict[str, Any] = SMALL | {"network": "mlp"}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return reverie.open_dataset("digits", reverie.DataOptions(limit=120))


def plan(**values: Any) -> reverie.Plan:
    return reverie.Plan(**({"steps": 12, "batch_size": 16, "log_every": 4, "ema": 0.9} | values))


def fresh(data: Dataset, name: str = "ae") -> Model:
    return build_model(name, SETTINGS, data.image_spec)


class Told:
    """Notes every call, and how the seed of the world stands."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int]] = []
        self.means: list[dict[str, Any]] = []
        self.image_spec: list[dict[str, Any]] = []

    def on_start(self, trainer: reverie.Trainer) -> None:
        self.calls.append(("start", trainer.step))

    def on_step(self, trainer: reverie.Trainer) -> None:
        self.calls.append(("step", trainer.step))

    def on_log(self, trainer: reverie.Trainer, means: dict[str, Any]) -> None:
        self.calls.append(("log", trainer.step))
        self.means.append(means)

    def on_checkpoint(self, trainer: reverie.Trainer, state: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        self.calls.append(("checkpoint", trainer.step))
        self.image_spec.append(state[1])

    def on_end(self, trainer: reverie.Trainer) -> None:
        self.calls.append(("end", trainer.step))


class StopAt:
    """Stops at a step; has none of the other methods."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: reverie.Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


class Smoothed:
    """A mean that follows the loss: what it is depends on all steps so far, and it changes what is trained."""

    def __init__(self) -> None:
        self.mean, self.trace, self.names = 0.1, torch.zeros(3), ["a"]

    def on_log(self, trainer: reverie.Trainer, means: dict[str, Any]) -> None:
        self.mean = 0.7 * self.mean + 0.3 * means["loss"]
        self.trace = torch.cat([self.trace[1:], torch.tensor([means["loss"]])])
        self.names.append(str(trainer.step))
        with torch.no_grad():
            next(trainer.loop.model.parameters()).add_(1e-3 * self.mean)

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean, "trace": self.trace, "names": self.names}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.mean, self.trace, self.names = state["mean"], state["trace"], state["names"]


def test_callbacks_are_told_in_order(digits: Dataset) -> None:
    told = Told()
    trainer = reverie.Trainer(fresh(digits), digits, plan(steps=5, log_every=2, checkpoint_every=3), [told])
    model = trainer.run()
    assert told.calls == [
        *(("start", 0), ("step", 1), ("step", 2), ("log", 2), ("step", 3), ("checkpoint", 3), ("step", 4), ("log", 4)),
        *(("step", 5), ("log", 5), ("checkpoint", 5), ("end", 5)),
    ]
    assert all(means["loss"] > 0 for means in told.means)
    assert "callbacks" not in told.image_spec[0]  # it has no state
    assert model is trainer.weights
    assert not model.training


def test_the_trainer_is_the_recipe_s(digits: Dataset, tmp_path: Path) -> None:
    model = reverie.Trainer(fresh(digits), digits, plan()).run()
    settings = {"model": SETTINGS, "train": {"steps": 12, "batch_size": 16, "log_every": 4, "ema": 0.9}}
    run = reverie.train("ae", "digits", tmp_path / "run", settings=settings | {"data": {"limit": 120}}, quiet=True)
    found = dict(run.model.named_parameters())
    assert len(found) > 2
    for name, value in model.named_parameters():
        assert torch.equal(value, found[name]), name


def test_a_budget_is_resolved_before_the_loop_is_there(digits: Dataset) -> None:
    trainer = reverie.Trainer(fresh(digits), digits, plan(steps=None, epochs=2.0))
    assert trainer.steps == round(2 * len(digits.split("train")) / 16) == trainer.loop.plan.steps
    assert dict(trainer.asked) == {"epochs": 2.0}
    model = fresh(digits)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    trainer = reverie.Trainer(model, digits, plan(steps=None, minutes=0.01))
    assert 1 <= trainer.steps == trainer.loop.plan.steps < 1e6
    assert trainer.step == 0
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_callback_may_stop_and_the_run_is_whole(digits: Dataset, tmp_path: Path) -> None:
    told = Told()
    settings = {"model": SETTINGS, "train": {"steps": 12, "batch_size": 16, "log_every": 4}}
    words: dict[str, Any] = {"settings": settings, "quiet": True}
    run = reverie.train("ae", digits, tmp_path / "run", callbacks=[StopAt(6), told], **words)
    assert told.calls[-2:] == [("checkpoint", 6), ("end", 6)]
    assert (run.path / "report.html").exists()
    assert '"finished"' in (run.path / "events.jsonl").read_text()
    assert States(run.path / "state").newest()[1]["step"] == 6  # type: ignore[index]
    whole = reverie.train("ae", digits, tmp_path / "whole", **words)
    resumed = reverie.train("ae", digits, tmp_path / "run", resume=True, quiet=True)
    assert (run.path / "metrics.jsonl").read_bytes() == (whole.path / "metrics.jsonl").read_bytes()
    weights = dict(resumed.model.named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in whole.model.named_parameters())


@pytest.mark.parametrize("stop", [3, 6, 8])
def test_a_callback_s_state_goes_on_to_the_bit(digits: Dataset, tmp_path: Path, stop: int) -> None:
    def trained(callbacks: list[object], folder: str) -> reverie.Trainer:
        trainer = reverie.Trainer(fresh(digits), digits, plan(), [Checkpoints(tmp_path / folder), *callbacks])
        trainer.run()
        return trainer

    one, other, again = Smoothed(), Smoothed(), Smoothed()
    whole = trained([one], "whole")
    trained([other, StopAt(stop)], "parts")
    resumed = trained([again], "parts")
    assert resumed.step == 12
    assert again.names == one.names == ["a", "4", "8", "12"]
    assert again.mean == one.mean
    assert torch.equal(again.trace, one.trace)
    for name, value in whole.weights.state_dict().items():
        assert torch.equal(value, resumed.weights.state_dict()[name]), name
    plain = reverie.Trainer(fresh(digits), digits, plan())
    plain.run()  # what the callback does can be seen
    pairs = zip(plain.weights.parameters(), whole.weights.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in pairs)


def test_two_callbacks_of_one_class_keep_their_own_state(digits: Dataset, tmp_path: Path) -> None:
    left, right = Smoothed(), Smoothed()
    right.mean = 5.0
    reverie.Trainer(fresh(digits), digits, plan(), [Checkpoints(tmp_path), left, right]).run()
    assert left.mean != right.mean
    new = [Smoothed(), Smoothed()]
    reverie.Trainer(fresh(digits), digits, plan(), [Checkpoints(tmp_path), *new]).run()
    assert [each.mean for each in new] == [left.mean, right.mean]


def test_a_state_that_cannot_be_kept_is_told(digits: Dataset) -> None:
    class Odd(Smoothed):
        def state_dict(self) -> dict[str, Any]:
            return {"mean": np.float32(1.0)}

    with pytest.raises(ReverieError, match=r"The state of Odd can't be kept: 'mean' is a float32, .* tensors, numbers"):
        reverie.Trainer(fresh(digits), digits, plan(steps=1), [Odd()]).run()


def test_a_state_without_its_callback_is_warned_of(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words: dict[str, Any] = {"settings": {"model": SETTINGS, "train": {"steps": 4, "batch_size": 16, "log_every": 2}}}
    reverie.train("ae", digits, tmp_path / "run", callbacks=[Smoothed()], quiet=True, **words)
    reverie.train("ae", digits, tmp_path / "run", resume=True, quiet=True)
    assert "The state holds that of a callback Smoothed, which is not given now." in capsys.readouterr().err


def test_a_signal_ends_a_bare_training_too(digits: Dataset, tmp_path: Path) -> None:
    class Signal:
        def on_step(self, trainer: reverie.Trainer) -> None:
            if trainer.step == 5:
                os.kill(os.getpid(), signal.SIGTERM)

    told = Told()
    with pytest.raises(Interrupted, match=r"Stopped at step 5 of 12\."):
        reverie.Trainer(fresh(digits), digits, plan(), [Signal(), told, Checkpoints(tmp_path)]).run()
    assert told.calls[-1] == ("checkpoint", 5)
    assert States(tmp_path / "state").newest()[1]["step"] == 5  # type: ignore[index]


def test_training_leaves_the_global_randomness_alone(digits: Dataset) -> None:
    trainer = reverie.Trainer(fresh(digits), digits, plan(steps=3))
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    trainer.run()
    assert torch.equal(torch.rand(3), wanted)


def test_what_does_not_go_together_is_told_at_once(digits: Dataset) -> None:
    other = reverie.open_dataset("digits", reverie.DataOptions(size="6"))
    with pytest.raises(ReverieError, match=r"built for .*height=8.*height=6.*build it with the image_spec of the data"):
        reverie.Trainer(fresh(digits), other, plan())
    with pytest.raises(ReverieError, match="Linear is no model to train"):
        reverie.train(torch.nn.Linear(2, 2), digits)  # type: ignore[arg-type]
    with pytest.raises(ReverieError, match="Give only one of"):
        reverie.Trainer(fresh(digits), digits, plan(epochs=1.0))


def test_callbacks_run_on_the_first_rank_unless_they_ask(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    from reverie.engine.distributed import World

    class Everywhere(Told):
        every_rank = True

    world = World()
    world.rank = 1
    here, there = Told(), Everywhere()
    reverie.Trainer(fresh(digits), digits, plan(steps=2), [here, there], world=world).run()
    assert here.calls == []
    assert there.calls[-1] == ("end", 2)


class Late:
    """Stops in the method that is named."""

    def __init__(self, method: str) -> None:
        setattr(self, method, self.stop)

    def stop(self, trainer: reverie.Trainer, *_: object) -> None:
        trainer.stop()

    def on_end(self, trainer: reverie.Trainer) -> None:
        pass


@pytest.mark.parametrize(("method", "step"), [("on_start", 0), ("on_step", 1), ("on_log", 4), ("on_checkpoint", 3)])
def test_wherever_a_callback_stops_the_run_goes_on(digits: Dataset, tmp_path: Path, method: str, step: int) -> None:
    train: dict[str, Any] = {"steps": 12, "batch_size": 16, "log_every": 4, "checkpoint_every": 3, "ema": 0.9}
    words: dict[str, Any] = {"settings": {"model": SETTINGS, "train": train}, "quiet": True, "resume": True}
    told = Told()
    reverie.train("ae", digits, tmp_path / "run", callbacks=[Late(method), told], **words)
    assert told.calls[-2:] == [("checkpoint", step), ("end", step)]
    resumed = reverie.train("ae", digits, tmp_path / "run", **words)
    whole = reverie.train("ae", digits, tmp_path / "whole", **words)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name


def test_what_is_no_callback_is_told(digits: Dataset) -> None:
    class Half(Told):
        def state_dict(self) -> dict[str, Any]:
            return {}

    class Misspelt:
        def on_stepp(self, trainer: reverie.Trainer) -> None: ...

    for callbacks, said in (
        ([Told], r"Told is a class, and a callback is an object of it: callbacks=\[Told\(\)\]"),
        ([Misspelt()], "Misspelt is no callback: it has none of the methods on_start, on_step"),
        ([print], "is no callback"),
        (Told(), r"as a list: callbacks=\[...\]"),
        ([Half()], "Half has one of state_dict and load_state_dict"),
    ):
        with pytest.raises(ReverieError, match=said):
            reverie.Trainer(fresh(digits), digits, plan(), callbacks)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [(1, 2), {1: 2}, [(1, 2)], {"a": {2: 3}}, float])
def test_a_state_that_would_come_back_changed_is_refused(digits: Dataset, value: Any) -> None:
    class Odd(Smoothed):
        def state_dict(self) -> dict[str, Any]:
            return {"mean": value}

    with pytest.raises(ReverieError, match="The state of Odd can't be kept: 'mean'"):
        reverie.Trainer(fresh(digits), digits, plan(steps=1), [Odd()]).run()


def test_a_trainer_runs_once(digits: Dataset) -> None:
    trainer = reverie.Trainer(fresh(digits), digits, plan(steps=2, workers=1))
    trainer.run()
    with pytest.raises(ReverieError, match="has run already"):
        trainer.run()


def test_splits_are_taken_for_what_they_are(digits: Dataset) -> None:
    whole = reverie.Trainer(fresh(digits), digits, plan(steps=3))
    part = reverie.Trainer(fresh(digits), digits.split("train"), plan(steps=3))
    assert part.data.fingerprint == whole.data.fingerprint
    assert len(part.pictures) == len(digits.split("train"))
    with pytest.raises(ReverieError, match=r"This is the test split of digits, .* give the whole data set"):
        reverie.Trainer(fresh(digits), digits.split("test"), plan())


def test_what_is_frozen_stays_frozen_and_what_was_loaded_learns(digits: Dataset) -> None:
    model = fresh(digits, "vaegan")
    kept = model.get_submodule("encoder")
    kept.requires_grad_(False)
    before = {name: value.clone() for name, value in model.named_parameters()}
    flags = {name: value.requires_grad for name, value in model.named_parameters()}
    reverie.Trainer(model, digits, plan(steps=4, ema=0.0)).run()
    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    assert {name.partition(".")[0] for name in moved} == {"decoder", "discriminator", "scale"}
    assert {name: value.requires_grad for name, value in model.named_parameters()} == flags
    loaded = fresh(digits).requires_grad_(False)
    first = next(loaded.parameters()).clone()
    reverie.Trainer(loaded, digits, plan(steps=4, ema=0.0)).run()
    assert not torch.equal(next(loaded.parameters()), first)


def test_a_bare_state_that_is_damaged_is_told(
    digits: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reverie.Trainer(fresh(digits), digits, plan(checkpoint_every=4), [Checkpoints(tmp_path)]).run()
    newest = max((tmp_path / "state").glob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-9])
    trainer = reverie.Trainer(fresh(digits), digits, plan(), [Checkpoints(tmp_path)])
    trainer.run()
    assert "is damaged; the one before it is used" in caplog.text


def test_threads_are_those_of_the_plan_while_it_trains(tmp_path: Path) -> None:
    before, seen = torch.get_num_threads(), []

    class Watch:
        def on_step(self, trainer: Any) -> None:
            seen.append(torch.get_num_threads())

    for count in (before + 1, None):
        settings = {"train": {"steps": 1, "threads": count}}
        reverie.train(
            "ae", np.zeros((8, 8, 8), np.uint8), tmp_path / str(count), settings=settings, callbacks=[Watch()]
        )
    assert seen == [before + 1, before]
    assert torch.get_num_threads() == before
