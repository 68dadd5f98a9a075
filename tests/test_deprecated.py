"""Names of before go on working, and warn with the name of now."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import reverie
from cases import tiny
from reverie.deprecated import FUNCTIONS, METHODS
from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import Draw
from reverie.models.gan import GAN
from reverie.registry import MODELS, load_class


def batch(image_spec: ImageSpec) -> Batch:
    images = torch.rand(4, *image_spec.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images, None, Draw(0, count=4), progress=0.5)


@pytest.mark.parametrize("old", FUNCTIONS)
def test_functions(old: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"reverie\.{old} is called reverie\.{FUNCTIONS[old]} now"):
        found = getattr(reverie, old)
    assert found is getattr(reverie, FUNCTIONS[old])
    assert old not in reverie.__all__


def test_a_warning_points_to_the_line_that_is_to_be_changed() -> None:
    data = reverie.open_dataset(np.zeros((4, 8, 8), np.uint8))
    uses: list[Callable[[], Any]] = [
        lambda: reverie.Facts(1, 8, 8),
        lambda: data.facts,
        lambda: reverie.VAE(facts=data.image_spec),
        lambda: tiny("gan").told,
        lambda: type("Own", (GAN,), {"fool": lambda self, batch, carry: None}),
    ]
    for use in uses:
        with pytest.warns(DeprecationWarning, match="is called") as seen:
            use()
        assert [Path(one.filename).name for one in seen] == [Path(__file__).name]


def test_facts_of_models_data_and_runs(tmp_path: Path) -> None:
    run = reverie.train("ae", np.zeros((8, 8, 8), np.uint8), tmp_path / "run", settings={"train": {"steps": 1}})
    for holder in (run, run.open(), run.model):
        with pytest.warns(DeprecationWarning, match=r"\.facts is called image_spec now"):
            assert holder.facts == run.image_spec
    with pytest.warns(DeprecationWarning, match="facts is called image_spec"):
        model = reverie.VAE(facts=run.image_spec)
    assert model.image_spec == run.image_spec


def test_methods_of_models() -> None:
    known = {old for old in METHODS for name in MODELS if old in dir(load_class(name))}
    assert known == set(METHODS)
    model: Any = tiny("gan")
    images, draw = torch.zeros(2, *model.image_spec.shape), Draw(0, count=2)
    with pytest.warns(DeprecationWarning, match="judge is called discriminate"):
        assert torch.equal(model.judge(images, None, draw), model.discriminate(images, None, draw))


def test_what_overrides_a_method_of_before_is_called() -> None:
    with pytest.warns(DeprecationWarning, match="Own.fool is called generator_loss"):

        class Own(GAN):
            def fool(self, batch: Any, carry: Any) -> Any:
                loss, logs = super().fool(batch, carry)
                return 2 * loss, logs

    plain: Any = tiny("gan")
    own: Any = Own(plain.config, plain.image_spec)
    own.load_state_dict(plain.state_dict())
    with pytest.warns(DeprecationWarning, match="fool is called generator_loss"):
        loss = next(phase.loss for phase in own.phases() if phase.name == "generator")(batch(plain.image_spec), {})[0]
    assert torch.equal(loss, 2 * plain.generator_loss(batch(plain.image_spec), {})[0])
