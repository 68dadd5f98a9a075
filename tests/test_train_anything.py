"""`reverie.train` on data in memory, of models that are named, of a class, or built by hand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_digits

import reverie
from cases import SMALL
from reverie import registry
from reverie.errors import Interrupted, ReverieError

TRAIN: dict[str, Any] = {"steps": 8, "batch_size": 16, "log_every": 4}
SETTINGS: dict[str, Any] = {"model": SMALL | {"network": "mlp"}, "train": TRAIN}


class StopAt:
    """Ends a training in the middle, so that there is something to go on with."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, trainer: reverie.Trainer) -> None:
        if trainer.step == self.step:
            trainer.stop()


class Unnamed(reverie.VAE):
    """A VAE that nobody has registered."""


@pytest.fixture(scope="module")
def bytes_() -> NDArray[np.uint8]:
    return (load_digits().images[:200] * 15).astype(np.uint8)


def built(data: Any, latent: int = 3) -> reverie.VAE:
    image_spec = reverie.open_dataset(data).image_spec
    torch.manual_seed(0)
    encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2 * latent))
    return reverie.VAE(reverie.VAE.Config(latent=latent, network="mlp", width=4), image_spec, encoder=encoder)


def test_the_run_of_an_array_knows_its_data(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    run = reverie.train("vae", bytes_, tmp_path / "run", settings=SETTINGS, quiet=True)
    assert run.config["data"]["spec"] == "memory:array"
    assert run.data is not None
    assert len(run.open()) + len(run.open(split="validation")) + len(run.open(split="train")) == 200
    figures = run.evaluate(metrics=["reconstruction"])
    assert run.traverse(rows=2, columns=3).pictures.shape == (6, 1, 8, 8)
    later = reverie.load(run.path)
    for needs_it in (later.evaluate, later.traverse, later.open, later.held_out):
        with pytest.raises(ReverieError, match=r"was trained on data in memory \('memory:array'\); "):
            needs_it()
    with pytest.raises(ReverieError, match="was trained on other pictures than these"):
        reverie.load(run.path, data=bytes_[1:])
    assert reverie.load(run.path, data=bytes_).evaluate(metrics=["reconstruction"]) == figures
    assert len(later.held_out(bytes_)) == 200 - len(run.open(split="train"))  # by what was noted when it was trained


def test_training_pictures_of_an_array_are_told_in_files(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    run = reverie.train("vae", bytes_, tmp_path / "run", settings=SETTINGS, quiet=True)
    (tmp_path / "files").mkdir()
    for number, picture in enumerate(bytes_):
        Image.fromarray(picture).save(tmp_path / "files" / f"{number:03d}.png")
    rest = 200 - len(run.open(split="train"))
    pictures = [Image.fromarray(picture) for picture in bytes_]
    for known in (run, reverie.load(run.path)):  # the second without its data
        for normal in (bytes_, str(tmp_path / "files"), pictures):
            assert len(known.held_out(normal)) == rest


def test_numbers_of_streamed_items_say_nothing_of_them(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    streamed = {**SETTINGS, "data": {"stream": True}}
    run = reverie.train("vae", list(bytes_), tmp_path / "run", settings=streamed, quiet=True)
    other = reverie.open_dataset(list(255 - bytes_), reverie.DataOptions(stream=True))
    assert len(run.held_out(other)) == 200
    one, two = (run.detector(normal=normal, rate=0.1) for normal in (other, list(bytes_)[::-1]))
    assert one is not two


def test_other_pictures_are_evaluated_on_whole(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    run = reverie.train("vae", bytes_, tmp_path / "run", settings=SETTINGS, quiet=True)
    new = 255 - bytes_[:50]
    chosen: Any = {"metrics": ["reconstruction", "quality"], "features": "pixels", "generated": 12}
    figures = run.evaluate(new, **chosen)
    assert figures["protocol"]["pictures"] == 50
    assert figures == reverie.evaluate(run.model, run.open(new), training=run.open(split="train"), **chosen)
    later = reverie.load(run.path).evaluate(new, **chosen)
    assert later == reverie.evaluate(run.model, run.open(new), **chosen)
    test = run.open(new).split("test")
    assert run.evaluate(new, "test", metrics=["reconstruction"])["protocol"]["pictures"] == len(test)
    assert run.evaluate(metrics=["reconstruction"])["protocol"]["pictures"] == len(run.open())


def test_where_runs_of_arrays_go_and_how_they_go_on(
    bytes_: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words: dict[str, Any] = {"settings": SETTINGS, "quiet": True}
    parts = [reverie.train("ae", bytes_, callbacks=[StopAt(5)], **words).path for _ in range(2)]
    assert [str(path) for path in parts] == ["runs/ae-array", "runs/ae-array-2"]
    whole = reverie.train("ae", bytes_, "whole", **words)
    np.save("same.npy", bytes_)
    from_file = reverie.train("ae", "same.npy", parts[0], resume=True, quiet=True)  # the same pictures
    again = reverie.train("ae", bytes_, parts[1], resume=True, **words)  # the same command, with all that it says
    for run in (from_file, again):
        weights = dict(run.model.named_parameters())
        assert all(torch.equal(value, weights[name]) for name, value in whole.model.named_parameters())
    changed = SETTINGS | {"model": SETTINGS["model"] | {"latent": 4}}
    with pytest.raises(ReverieError, match=r"model\.latent can't change on --resume"):
        reverie.train("ae", bytes_, "whole", resume=True, settings=changed)
    with pytest.raises(ReverieError, match=r"have changed since whole was trained on them: 200 changed"):
        reverie.train("ae", bytes_[::-1], "whole", resume=True)


def test_a_model_built_by_hand(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    out, model = tmp_path / "run", built(bytes_)
    words: dict[str, Any] = {"settings": {"train": TRAIN}, "quiet": True}
    run = reverie.train(model, bytes_, out, callbacks=[StopAt(5)], **words)
    assert all(value.requires_grad for value in model.parameters())  # it is still the caller's
    assert run.config["outside"] is True
    samples = run.sample(3)
    for refused, said in (
        (lambda: reverie.load(out), r"give it to reverie.load\(path, model=...\)"),
        (lambda: reverie.load(out, model=built(bytes_, 4)), "its latent is 4, not 3; build it as for the training"),
        (lambda: reverie.train("vae", bytes_, out, resume=True), "was built by hand"),
        (lambda: reverie.train(model, bytes_, tmp_path / "b", settings=SETTINGS), "is built already"),
        (lambda: reverie.train(model, bytes_[:, :7], tmp_path / "c", settings={"train": TRAIN}), "height=7"),
    ):
        with pytest.raises(ReverieError, match=said):
            refused()
    assert torch.equal(reverie.load(out, model=built(bytes_)).sample(3), samples)
    whole = reverie.train(built(bytes_), bytes_, tmp_path / "d", **words)
    more = reverie.train(built(bytes_), bytes_, out, resume=True, **words)
    weights = dict(more.model.named_parameters())
    assert all(torch.equal(value, weights[name]) for name, value in whole.model.named_parameters())


def test_a_class_that_nobody_has_registered(
    bytes_: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    run = reverie.train(Unnamed, bytes_, out, settings=SETTINGS, quiet=True)
    assert run.name == "unnamed"
    with pytest.raises(ReverieError, match="'unnamed', which is not part of reverie and which no imported code has"):
        reverie.load(out)
    assert torch.equal(reverie.load(out, model=Unnamed).sample(2), run.sample(2))
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    reverie.register_model("unnamed")(Unnamed)
    assert torch.equal(reverie.load(out).sample(2), run.sample(2))


def test_labels_beside_an_array(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    names = np.array(["even", "odd"])[load_digits().target[:200] % 2]
    settings = {"model": SMALL, "train": TRAIN}
    run = reverie.train("cgan", (bytes_, names), tmp_path / "run", settings=settings, quiet=True)
    assert run.image_spec.classes == ("even", "odd")
    assert run.sample(4, labels=["odd"]).shape == (4, 1, 8, 8)


def test_an_interrupted_training_in_memory_says_how_to_go_on(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    import os
    import signal

    class Signal:
        def on_step(self, trainer: reverie.Trainer) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(
        Interrupted, match=r"Stopped at step 1 of 8; .*reverie\.train\(model, data, '.*', resume=True\)"
    ):
        reverie.train("ae", bytes_, tmp_path / "run", settings=SETTINGS, callbacks=[Signal()], quiet=True)


@pytest.mark.parametrize("kind", ["spec", "memory", "by hand", "pairs"])
def test_the_python_of_a_card_runs(kind: str, bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    out = tmp_path / "run"
    model: Any = {"by hand": built(bytes_), "pairs": "pix2pix"}.get(kind, "vae")
    data: Any = "digits" if kind in ("spec", "pairs") else bytes_
    settings = {"vae": SETTINGS, "pix2pix": {"train": TRAIN, "data": {"pair": "invert"}}}
    reverie.train(model, data, out, settings={"train": TRAIN} if kind == "by hand" else settings[model], quiet=True)
    card = (out / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    names: dict[str, Any] = {"data": data, "model": model}
    exec(code, names)
    assert names["run"].path == out
    assert ("codes" in names) == (kind != "pairs")
    assert ("translated" in names) == (kind == "pairs")
    assert ("```bash" in card) == (kind != "by hand")
    assert "memory:array" not in "".join(re.findall(r"```\w+\n.*?```", card, re.DOTALL))


class VAE(reverie.VAE):
    """A class whose name in small letters is that of another model."""


def test_a_class_goes_on_whatever_it_is_called(
    bytes_: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words: dict[str, Any] = {"settings": SETTINGS, "quiet": True, "resume": True}
    whole = reverie.train(VAE, bytes_, tmp_path / "whole", **words)
    reverie.train(VAE, bytes_, tmp_path / "run", callbacks=[StopAt(5)], **words)
    assert torch.equal(reverie.train(VAE, bytes_, tmp_path / "run", **words).sample(2), whole.sample(2))
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    reverie.train(Unnamed, bytes_, tmp_path / "late", callbacks=[StopAt(5)], **words)
    reverie.register_model("named-late")(Unnamed)
    assert reverie.train(Unnamed, bytes_, tmp_path / "late", **words).name == "named-late"
    assert torch.equal(reverie.load(tmp_path / "late").sample(2), whole.sample(2))  # the same settings and seed


def test_what_cannot_be_gone_on_with(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    words: dict[str, Any] = {"settings": {"train": TRAIN}, "quiet": True}
    run = reverie.train(built(bytes_), bytes_, tmp_path / "run", **words)
    other = built(bytes_)
    other.config = reverie.VAE.Config(latent=3, network="mlp", width=4, beta=5.0)
    with pytest.raises(ReverieError, match=r"its beta is 5\.0, not 1\.0"):
        reverie.train(other, bytes_, run.path, resume=True)
    with pytest.raises(ReverieError, match=r"its beta is 5\.0, not 1\.0"):
        reverie.load(run.path, model=other)
    named = reverie.train("vae", bytes_, tmp_path / "named", settings=SETTINGS, quiet=True)
    with pytest.raises(ReverieError, match="is a run of the model 'vae'; resume it with that name"):
        reverie.train(built(bytes_), bytes_, named.path, resume=True)
    moved = reverie.open_dataset(bytes_, reverie.DataOptions(shift=1))
    with pytest.raises(ReverieError, match=r"data\.shift can't change on --resume: it was 0"):
        reverie.train("vae", moved, named.path, resume=True)
    for wrong in ("vae", 3, torch.nn.Linear(2, 2)):
        with pytest.raises(ReverieError, match=r"must be a reverie\.Model or a class of one"):
            reverie.load(run.path, model=wrong)  # type: ignore[arg-type]
    with pytest.raises(ReverieError, match="Say what the model is to be called"):
        reverie.register_model(Unnamed)  # type: ignore[arg-type]


def test_a_loaded_model_can_be_trained_further(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    first = reverie.train("vae", bytes_, tmp_path / "first", settings=SETTINGS, quiet=True)
    further = reverie.train(first.model, bytes_, tmp_path / "further", settings={"train": TRAIN}, quiet=True)
    assert not torch.equal(next(further.model.parameters()), next(reverie.load(first.path).model.parameters()))


def test_tensorboard_without_its_package_leaves_nothing(
    bytes_: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    settings = SETTINGS | {"train": TRAIN | {"tensorboard": True}}
    with pytest.raises(ReverieError, match=r"pip install 'reverie\[tensorboard\]'"):
        reverie.train("vae", bytes_, tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_cards_of_classes_from_elsewhere_run(
    bytes_: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))
    for number in range(2):  # not registered, and then registered
        out = tmp_path / str(number)
        reverie.train(Unnamed, bytes_, out, settings=SETTINGS, quiet=True)
        card = (out / "README.md").read_text()
        (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
        names: dict[str, Any] = {"data": bytes_}
        exec(code, names)
        assert names["run"].sample(1).shape == (1, 1, 8, 8)
        assert (f"reverie sample {out} --count 64 --import {__name__}" in card) == bool(number)
        reverie.register_model("called")(Unnamed)


def test_a_detector_belongs_to_its_normal_pictures(bytes_: NDArray[np.uint8], tmp_path: Path) -> None:
    run = reverie.train("vae", bytes_[:100], tmp_path / "run", settings=SETTINGS, quiet=True)
    found = [run.detector(normal=run.held_out(bytes_[first : first + 50])) for first in (100, 120, 140)]
    assert len({id(each) for each in found}) == 3
    assert run.detector(normal=run.held_out(bytes_[140:190])) is found[2]
