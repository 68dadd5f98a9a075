"""Networks of one's own in every family: they are used, nothing else is built, and what does not fit is told."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import reverie
from cases import SPEC, plan, settings_for, spec_for
from reverie import registry
from reverie.config import configure
from reverie.engine.loop import Loop
from reverie.engine.model import Batch, ImageSpec, Logs, Model
from reverie.errors import ReverieError
from reverie.models import cyclegan, pix2pix, vaegan
from reverie.models.cyclegan import CycleGAN
from reverie.models.dcgan import DCGAN
from reverie.models.gan import GAN, GANConfig
from reverie.models.pix2pix import Pix2Pix
from reverie.models.progan import ProGAN
from reverie.models.vae import VAE
from reverie.networks import coders
from reverie.networks.equalized import stages
from toys import Pictures

SHAPE = SPEC.shape
PIXELS, LATENT, CLASSES = math.prod(SHAPE), 3, 3


def dense(pixels: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, out))


def painter(latent: int, shape: tuple[int, ...] = SHAPE) -> nn.Module:
    return nn.Sequential(nn.Linear(latent, math.prod(shape)), nn.Unflatten(1, shape))


class Told(nn.Module):
    """A network that is told the class too."""

    def __init__(self, body: nn.Module, size: int) -> None:
        super().__init__()
        self.body, self.embedding = body, nn.Embedding(CLASSES, size)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        shift = self.embedding(labels).view(len(x), -1, *[1] * (x.dim() - 2))
        y: Tensor = self.body(x + shift)
        return y.squeeze(1) if y.dim() == 2 else y


class Judge(nn.Module):
    """Logits (N,)."""

    def __init__(self, shape: tuple[int, ...] = SHAPE) -> None:
        super().__init__()
        self.layer = nn.Linear(math.prod(shape), 1)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layer(images.flatten(1)).squeeze(1)
        return logits


class Growing(nn.Module):
    """A ProGAN generator of one's own: one picture of the finest level, made smaller."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = stages(SHAPE, 4)[::-1]
        self.body = painter(LATENT)

    def forward(self, z: Tensor, level: int, alpha: float) -> Tensor:
        size = self.stages[level - 1].outer if level else self.stages[0].inner
        return nn.functional.adaptive_avg_pool2d(self.body(z), size)


class Levelled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)

    def forward(self, images: Tensor, level: int, alpha: float) -> Tensor:
        logits: Tensor = self.layer(images.mean((1, 2, 3), keepdim=True)).view(-1)
        return logits


class Styled(nn.Module):
    """A StyleGAN generator of one's own."""

    def __init__(self, told: bool = False) -> None:
        super().__init__()
        self.mapping = Mapped(told)
        self.synthesis = Synthesis()


class Mapped(nn.Module):
    def __init__(self, told: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(LATENT, 5)
        self.embedding = nn.Embedding(CLASSES, 5) if told else None

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        w: Tensor = self.layer(z)
        return w if self.embedding is None else w + self.embedding(labels)


class Synthesis(nn.Module):
    count = 2

    def __init__(self) -> None:
        super().__init__()
        self.body = painter(10)

    def forward(self, w: Tensor, noise: Any = None) -> Tensor:
        picture: Tensor = self.body(w.flatten(1))
        return picture if noise is None else picture + 0.01 * noise.normal(*SHAPE)


class Translator(nn.Module):
    grain, dropout = 1, 0.0

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(before, after, 3, padding=1)

    def forward(self, x: Tensor, draw: Any = None) -> Tensor:
        y: Tensor = self.layer(x).tanh()
        return y


def networks(name: str) -> dict[str, nn.Module]:
    """Networks of one's own for the family, small ones."""
    match name:
        case "ae":
            return {"encoder": dense(PIXELS, LATENT), "decoder": painter(LATENT)}
        case "vae" | "vaegan":
            coder = {"encoder": dense(PIXELS, 2 * LATENT), "decoder": painter(LATENT)}
            return coder | ({"discriminator": nn.Conv2d(1, 1, 3)} if name == "vaegan" else {})
        case "cvae":
            return {"encoder": dense(2 * PIXELS, 2 * LATENT), "decoder": painter(LATENT + CLASSES)}
        case "gan" | "dcgan" | "r3gan":
            return {"generator": painter(LATENT), "discriminator": Judge()}
        case "cgan" | "cr3gan":
            return {"generator": Told(painter(LATENT), LATENT), "discriminator": Told(dense(PIXELS, 1), 1)}
        case "progan":
            return {"generator": Growing(), "discriminator": Levelled()}
        case "stylegan" | "stylegan2":
            return {"generator": Styled(), "discriminator": Judge()}
        case "cstylegan2":
            return {"generator": Styled(told=True), "discriminator": Told(dense(PIXELS, 1), 1)}
        case "pix2pix":
            return {"generator": Translator(1, 2), "discriminator": nn.Conv2d(3, 1, 3)}
        case "cyclegan":
            made: dict[str, nn.Module] = {"ab": Translator(1, 2), "ba": Translator(2, 1)}
            return made | {"discriminator_a": Judge((1, 8, 8)), "discriminator_b": nn.Conv2d(2, 1, 3)}
    raise AssertionError(name)


FAMILIES = (
    *("ae", "vae", "cvae", "vaegan", "gan", "dcgan", "cgan", "r3gan", "cr3gan", "progan"),
    *("stylegan", "stylegan2", "cstylegan2", "pix2pix", "cyclegan"),
)


def build(name: str, **given: nn.Module) -> Model:
    kind: Any = registry.load_class(name)
    settings = registry.preset(name) | settings_for(name, style=5)
    model: Model = kind(configure(kind.Config, settings, "model"), spec_for(name), **given)
    return model


def test_every_class_is_among_the_families() -> None:
    kinds = {registry.load_class(name) for name in registry.names() if name != "outside"}
    assert kinds == {registry.load_class(name) for name in FAMILIES}


@pytest.mark.parametrize("name", FAMILIES)
def test_they_learn_and_nothing_else_is_built(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object, **__: object) -> None:
        raise AssertionError("a default network was built")

    for where, what in ((coders, "encoder"), (coders, "decoder"), (pix2pix, "translator"), (cyclegan, "translator")):
        monkeypatch.setattr(where, what, built)
    for where in (pix2pix, cyclegan, vaegan):
        monkeypatch.setattr(where, "PatchDiscriminator", built)
    for what in ("default_generator", "default_discriminator"):
        monkeypatch.setattr(GAN, what, built)
        if issubclass(kind := registry.load_class(name), GAN):
            monkeypatch.setattr(kind, what, built)
    torch.manual_seed(0)
    given = networks(name)
    model = build(name, **given)
    assert all(getattr(model, key) is network for key, network in given.items())
    assert all(network.training for network in given.values())
    before = {key: [weight.clone() for weight in network.parameters()] for key, network in given.items()}
    loop = Loop(model, Pictures(model.image_spec), plan(ema=0.0), torch.device("cpu"))
    for _ in range(3):
        loop.advance()
    for key, network in given.items():
        moved = [not torch.equal(*each) for each in zip(before[key], network.parameters(), strict=True)]
        assert any(moved), key


@pytest.mark.parametrize("name", FAMILIES)
def test_one_of_them_may_be_given_alone(name: str) -> None:
    for key, network in networks(name).items():
        if name == "progan" and key == "generator":
            continue  # its levels are the discriminator's
        model = build(name, **{key: network})
        assert getattr(model, key) is network
        others = [child for child in networks(name) if child != key]
        defaults = build(name).state_dict()
        for prefix in others:
            assert {k for k in model.state_dict() if k.startswith(f"{prefix}.")} == {
                k for k in defaults if k.startswith(f"{prefix}.")
            }


@pytest.mark.parametrize("name", FAMILIES)
def test_networks_that_do_not_fit_are_one_sentence(name: str) -> None:
    wrong = nn.Sequential(nn.Flatten(), nn.Linear(7, 7))
    wrong.grain, wrong.dropout = 1, 0.0  # type: ignore[assignment]
    for key in networks(name):
        with pytest.raises(ReverieError, match=rf"^The {key} that was given (fails on|turns) one row.*\.$"):
            build(name, **{key: wrong})


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (VAE, {"encoder": dense(PIXELS, 32)}, r"encoder .* turns one row into \(1, 32\), and must give \(1, 64\)"),
        (VAE, {"decoder": painter(32, (1, 8, 7))}, r"into \(1, 1, 8, 7\), and must give \(1, 1, 8, 8\)"),
        (GAN, {"discriminator": dense(PIXELS, 1)}, r"into \(1, 1\), and must give \(1,\)"),
        (GAN, {"generator": lambda z: z}, "generator must be a torch.nn.Module, not function"),
        (ProGAN, {"generator": painter(64)}, "fails on one row of zeros: .* no attribute 'stages'"),
        (DCGAN, {"discriminator": nn.Flatten(0)}, r"into \(64,\), and must give \(1,\)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(kind: type[Model], given: dict[str, Any], said: str) -> None:
    with pytest.raises(ReverieError, match=said):
        kind(None, ImageSpec(*SHAPE), **given)


def test_translators_need_a_grain() -> None:
    image_spec = spec_for("pix2pix")
    with pytest.raises(ReverieError, match="The generator that was given has no attribute 'grain'"):
        Pix2Pix(None, image_spec, generator=nn.Conv2d(1, 2, 3, padding=1))
    with pytest.raises(ReverieError, match="The ba that was given has no attribute 'grain'"):
        CycleGAN(None, image_spec, ba=nn.Conv2d(2, 1, 3, padding=1))


def test_asking_changes_no_weight_and_no_statistic_and_sizes_lazy_layers() -> None:
    normed = nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 64))
    statistics = {key: value.clone() for key, value in normed[2].state_dict().items()}
    torch.manual_seed(1)
    model = VAE(image_spec=SPEC, encoder=normed)
    assert normed[1].in_features == PIXELS
    assert all(torch.equal(value, statistics[key]) for key, value in normed[2].state_dict().items())
    assert normed.training
    assert model.encoder is normed


def test_settings_and_facts_may_be_left_out_or_must_not() -> None:
    image_spec = reverie.open_dataset("digits").image_spec
    assert VAE(image_spec=image_spec).config == VAE.Config()
    assert GAN(None, image_spec).config == GANConfig()
    for kind in {registry.load_class(name) for name in FAMILIES}:
        with pytest.raises(ReverieError, match="needs the specification of its pictures"):
            kind()


def test_a_loss_is_one_method() -> None:
    class Rough(VAE):
        def loss(self, batch: Batch, carry: dict[str, Any]) -> tuple[Tensor, Logs]:
            loss = (self.decode(self.encode(batch.images).mean) - batch.images).abs().mean()
            return loss, {"rough": loss.detach()}

    model = Rough(dataclasses.replace(VAE.Config(), latent=LATENT), SPEC, **networks("vae"))
    loop = Loop(model, Pictures(SPEC), plan(lr=0.01), torch.device("cpu"))
    loop.advance()
    first = loop.means()["rough"]
    for _ in range(11):
        loop.advance()
    assert loop.means()["rough"] < first
