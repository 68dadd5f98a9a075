"""The game of every GAN, and the networks of DCGAN and R3GAN."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cases import SPEC, plan, tiny
from reverie.engine.loop import Loop
from reverie.engine.model import Anneal, Batch, ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.losses.adversarial import OBJECTIVES
from reverie.models.gan import GAN
from reverie.networks.conv import plan_stages as stages
from reverie.networks.r3gan import Block, Resample
from toys import Pictures


def game(name: str = "gan", steps: int = 12, **settings: Any) -> Loop:
    return Loop(tiny(name, **settings), Pictures(SPEC), plan(steps=steps, clip=0.0), torch.device("cpu"))


def batch(images: torch.Tensor | None = None, progress: float = 0.0) -> Batch:
    if images is None:
        images = Pictures(SPEC).images[:8]
    labels = torch.arange(len(images)) % 3
    return Batch(images, labels, Draw(0, "test", count=len(images)), progress)


def model(name: str, **settings: Any) -> GAN:
    found = tiny(name, **settings)
    assert isinstance(found, GAN)
    return found


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_every_objective_trains(objective: str) -> None:
    loop = game(objective=objective)
    before = {k: p.detach().clone() for k, p in loop.model.named_parameters() if k.endswith("weight")}
    for _ in range(3):
        loop.advance()
    assert all(bool(p.isfinite().all()) for p in loop.model.parameters())
    assert all(not torch.equal(value, loop.model.get_parameter(key)) for key, value in before.items())
    means = loop.means()
    assert ("gp" in means) == (objective == "wgan-gp")
    assert {"loss_d", "loss_g", "d_real", "d_fake", "grad_norm_discriminator", "grad_norm_generator"} <= means.keys()


def test_the_discriminator_loss_is_the_objective_plus_half_gamma_of_each_penalty() -> None:
    plain, penalised = model("gan"), model("gan", r1=2.0, r2=6.0)
    without, _ = plain.discriminator_loss(batch(), {})
    loss, logs = penalised.discriminator_loss(batch(), {})
    assert float(logs["r1"]) > 0
    assert float(logs["r2"]) > 0
    torch.testing.assert_close(loss, without + 1.0 * logs["r1"] + 3.0 * logs["r2"])


def test_a_lazy_penalty_is_the_same_penalty_in_a_phase_of_its_own() -> None:
    every, lazy = model("gan", r1=2.0), model("gan", r1=2.0, penalty_every=4)
    assert [p.name for p in every.phases()] == ["discriminator", "generator"]
    assert [(p.name, p.every) for p in lazy.phases()] == [("discriminator", 1), ("penalty", 4), ("generator", 1)]
    loss, _ = every.discriminator_loss(batch(), {})
    without, logs = lazy.discriminator_loss(batch(), {})
    assert "r1" not in logs
    alone, _ = lazy.penalty(batch(), {})
    torch.testing.assert_close(without + alone, loss)


def test_a_critic_takes_fresh_pictures_for_each_of_its_turns() -> None:
    loop = game(critics=3)
    loop.advance()
    assert [p.name for p in loop.phases] == ["discriminator", "discriminator1", "discriminator2", "generator"]
    assert loop.drawn == 3 * 8
    assert loop.images == 8


def test_a_relativistic_generator_sees_pictures_of_its_own() -> None:
    loop = game(objective="relativistic")
    loop.advance()
    assert loop.drawn == 2 * 8
    other = model("gan", objective="relativistic")
    one, _ = other.generator_loss(batch(), {})
    two, _ = other.generator_loss(batch(-Pictures(SPEC).images[:8]), {})
    assert not torch.equal(one, two)


def test_settings_are_checked() -> None:
    for settings, sentence in (
        ({"objective": "hing"}, "did you mean 'hinge'"),
        ({"augment": "translation,culour"}, "did you mean 'colour'"),
        ({"r1": -1}, "model.r1 must be at least 0"),
        ({"critics": 0}, "model.critics must be at least 1"),
    ):
        with pytest.raises(ReverieError, match=sentence):
            tiny("gan", **settings)


@pytest.mark.parametrize("name", ["cgan", "cr3gan"])
def test_both_players_hear_the_label(name: str) -> None:
    found = model(name)
    if name == "cr3gan":  # its blocks start at zero, but what is told does not pass through them alone
        assert float(found.generator.get_parameter("embedding.weight").detach().abs().sum()) > 0
    found.eval()
    z = found.draw_latent(Draw(0, count=4))
    images = Pictures(SPEC).images[:4]
    with torch.no_grad():
        ones, twos = (torch.full((4,), k) for k in (1, 2))
        assert not torch.allclose(found.decode(z, ones), found.decode(z, twos), atol=1e-6)
        assert not torch.allclose(found.discriminator(images, ones), found.discriminator(images, twos), atol=1e-6)


@pytest.mark.parametrize("condition", ["projection", "concatenation"])
def test_conditions_of_cgan_train(condition: str) -> None:
    loop = game("cgan", condition=condition)
    loop.advance()
    table = "projection" if condition == "projection" else "plane"
    assert loop.model.get_parameter(f"discriminator.{table}.weight").grad is not None


@pytest.mark.parametrize("name", ["cgan", "cr3gan"])
def test_a_conditional_gan_asks_for_labels(name: str) -> None:
    with pytest.raises(ReverieError, match=f"{name} needs labels"):
        tiny(name, image_spec=ImageSpec(1, 8, 8))


def test_annealed_settings_reach_adam() -> None:
    anneal = Anneal(over=0.5, lr=0.25, beta2=0.99)
    assert anneal.at(0.0, 0.9) == (1.0, 0.9)
    assert anneal.at(0.25, 0.9) == pytest.approx((0.625, 0.945))
    assert anneal.at(0.5, 0.9) == anneal.at(1.0, 0.9) == pytest.approx((0.25, 0.99))
    settings = plan(lr_schedule="constant", warmup=0, steps=8)
    told = {"lr": 1e-3, "lr_end": 0.25, "beta2": 0.9, "burn_in": 0.5}
    loop = Loop(tiny("r3gan", **told), Pictures(SPEC), settings, torch.device("cpu"))
    seen = []
    for _ in range(8):
        loop.advance()
        group = loop.optimizers["g"].param_groups[0]
        seen.append((group["lr"] / 1e-3, group["betas"][1]))
    assert seen[0] == pytest.approx((1.0, 0.9))
    assert seen[2] == pytest.approx((0.625, 0.945))
    assert seen[7] == pytest.approx((0.25, 0.99))


def test_gamma_settles_with_burn_in() -> None:
    found = model("r3gan", calm=0.1, burn_in=0.5, r1=1.0, r2=1.0)
    assert [found.strength(t) for t in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([1.0, 0.55, 0.1, 0.1])
    early, late = (found.discriminator_loss(batch(progress=t), {}) for t in (0.0, 0.9))
    torch.testing.assert_close(early[1]["r1"], late[1]["r1"])
    gradients = float(early[1]["r1"] + early[1]["r2"])
    assert (early[0] - late[0]).item() == pytest.approx(0.9 * 0.5 * gradients, rel=1e-4)


def test_residual_blocks_start_as_the_identity() -> None:
    x = torch.randn(2, 8, 5, 5)
    assert torch.equal(Block(8, 4)(x), x)


@pytest.mark.parametrize("size", [(8, 8), (9, 5), (28, 28), (7, 12)])
def test_resampling_keeps_constants_and_reaches_every_size(size: tuple[int, int]) -> None:
    for stage in stages((1, *size), 1, 4):
        low, high = torch.ones(1, 3, *stage.inner), torch.ones(1, 3, *stage.outer)
        up, down = Resample(stage, up=True)(low), Resample(stage, up=False)(high)
        assert up.shape[2:] == stage.outer
        assert down.shape[2:] == stage.inner
        inside = [slice(0, side - step + 1) for side, step in zip(stage.outer, stage.stride, strict=True)]
        torch.testing.assert_close(up[..., inside[0], inside[1]], torch.ones_like(up[..., inside[0], inside[1]]))
        torch.testing.assert_close(down[..., 1:, 1:][..., :-1, :-1], torch.ones_like(down[..., 1:, 1:][..., :-1, :-1]))


def test_resampling_up_is_the_adjoint_of_down() -> None:
    """<up(a), b> = <a, down(b)> times the factor that keeps constants, as for every interpolation."""
    (stage,) = stages((1, 8, 7), 1, 4)
    a, b = torch.randn(1, 2, *stage.inner), torch.randn(1, 2, *stage.outer)
    factor = stage.stride[0] * stage.stride[1]
    left = (Resample(stage, up=True)(a) * b).sum()
    torch.testing.assert_close(left, factor * (a * Resample(stage, up=False)(b)).sum())


def test_advice_names_collapse_and_a_discriminator_that_wins() -> None:
    found = model("gan")
    fine: dict[str, float | list[float]] = {"diversity": 0.9, "d_real": 0.4, "d_fake": -0.5}
    assert found.advice(fine, 0.5) is None
    assert "collapsed" in str(found.advice(fine | {"diversity": 0.05}, 0.5))
    assert "discriminator wins" in str(found.advice(fine | {"d_real": 9.0, "d_fake": -9.0}, 0.5))
    assert found.advice(fine | {"diversity": 0.05}, 0.0) is None  # the start is always like that


def test_diversity_is_one_for_the_data_and_zero_for_one_picture() -> None:
    found = model("gan")
    images = Pictures(SPEC).images[:8]
    found.fake = lambda z, labels: images.flip(0)
    assert float(found.discriminator_loss(batch(), {})[1]["diversity"]) == pytest.approx(1)
    found.fake = lambda z, labels: images[:1].expand(8, -1, -1, -1)
    assert float(found.discriminator_loss(batch(), {})[1]["diversity"]) == pytest.approx(0, abs=1e-6)


def test_decoded_pictures_lie_in_range() -> None:
    for name in ("gan", "dcgan", "r3gan"):
        found = model(name).eval()
        with torch.no_grad():
            pictures = found.decode(50 * found.draw_latent(Draw(0, count=16)))
        assert math.isfinite(float(pictures.sum()))
        assert float(pictures.abs().max()) <= 1
