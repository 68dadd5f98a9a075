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
from reverie.deprecated import FUNCTIONS
from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import Draw
from reverie.models.gan import GAN


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


RENAMED = {  # what models were told to override, and what was called, before
    ("GAN", "tell_apart"): "discriminator_loss", ("GAN", "fool"): "generator_loss", ("GAN", "judge"): "discriminate",
    ("GAN", "told"): "conditioning_classes", ("StyleGAN", "even_paths"): "path_length_loss",
    ("ProGAN", "tell_apart"): "discriminator_loss", ("StyleGAN", "fool"): "generator_loss",
    ("Pix2Pix", "paint"): "generator_loss", ("Pix2Pix", "tell_apart"): "discriminator_loss",
    ("CycleGAN", "paint"): "generator_loss", ("CycleGAN", "tell_apart"): "discriminator_loss",
    ("VAEGAN", "rebuild"): "autoencoder_loss", ("VAEGAN", "tell_apart"): "discriminator_loss",
    ("VAEGAN", "paint"): "decode_mean",
}  # fmt: skip


@pytest.mark.parametrize(("family", "old"), RENAMED)
def test_methods_of_models(family: str, old: str) -> None:
    new, kind = RENAMED[family, old], getattr(reverie, family)
    model: Any = tiny(family.lower())
    with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
        assert getattr(model, old) == getattr(model, new)
    mine: Any = lambda self, *args: "mine"  # noqa: E731
    with pytest.warns(DeprecationWarning, match=f"Own.{old} is called {new} now"):
        own = type("Own", (kind,), {old: mine})
    assert getattr(own, new) is mine
    mixin = type("Mixin", (), {old: mine})
    with pytest.warns(DeprecationWarning, match=f"Own.{old} is called {new} now"):
        assert getattr(type("Own", (mixin, kind), {}), new) is mine
    if old != "told":
        with pytest.warns(DeprecationWarning, match=f"{old} is called {new} now"):
            setattr(model, old, 7)
        assert getattr(model, new) == 7


def test_names_of_one_s_own_are_left_alone() -> None:
    first = type("First", (reverie.VAE,), {"judge": lambda self: "first"})
    second: Any = type("Second", (first,), {"discriminate": lambda self: "second"})
    model = second(None, tiny("vae").image_spec)
    assert (model.judge(), model.discriminate()) == ("first", "second")


def test_a_model_without_a_family_is_told_facts() -> None:
    class Own(reverie.Model):
        def __init__(self, config: Any = None, facts: Any = None) -> None:
            super().__init__(config, facts=facts)

    spec = reverie.ImageSpec(1, 8, 8)
    with pytest.warns(DeprecationWarning, match="facts is called image_spec"):
        model = Own(facts=spec)  # type: ignore[abstract]
    assert model.image_spec == spec
    with pytest.warns(DeprecationWarning, match="facts is called image_spec"):
        model.facts = reverie.ImageSpec(3, 8, 8)
    assert model.image_spec.channels == 3


def test_a_data_set_of_before() -> None:
    with pytest.warns(DeprecationWarning, match="Own.facts is called image_spec"):
        own: Any = type("Own", (reverie.Dataset,), {"facts": property(lambda self: reverie.ImageSpec(1, 8, 8))})
    assert "image_spec" not in own.__abstractmethods__


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
