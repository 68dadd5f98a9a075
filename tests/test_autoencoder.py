"""Autoencoders: what is corrupted, what is penalised, and that codes belong to one picture alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.models.autoencoder import Autoencoder, AutoencoderConfig, corrupt
from reverie.registry import preset

SMALL = AutoencoderConfig(latent=4, width=4)
GREY = ImageSpec(1, 8, 8)


def pictures(count: int, image_spec: ImageSpec = GREY) -> Tensor:
    coarse = torch.rand(count, image_spec.channels, 3, 3, generator=torch.Generator().manual_seed(count))
    return 2 * nn.functional.interpolate(coarse, (image_spec.height, image_spec.width), mode="bilinear") - 1


def build(config: AutoencoderConfig, image_spec: ImageSpec = GREY) -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(config, image_spec)


def batch(images: Tensor, step: int = 0) -> Batch:
    return Batch(images, None, Draw("test", step, count=len(images)), 0.5)


@pytest.mark.parametrize("name", ["ae", "dae", "rae"])
@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (4, 12, 5)])
def test_every_preset_learns(name: str, network: str, shape: tuple[int, int, int]) -> None:
    image_spec = ImageSpec(*shape)
    model = build(AutoencoderConfig(**({"latent": 4, "width": 4, "network": network} | preset(name))), image_spec)
    x = pictures(32, image_spec)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(40):
        loss, logs = model.loss(batch(x, step), {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.95 * sum(losses[:5])
    assert not any(value.requires_grad for value in logs.values())
    assert model.reconstruct(x).shape == x.shape
    assert model.decode(model.draw_latent(Draw("s", count=3))).abs().max() <= 1


def test_error_is_summed_over_pixels_and_averaged_over_the_batch() -> None:
    model, x = build(SMALL), pictures(5)
    for parameter in model.decoder.parameters():
        nn.init.zeros_(parameter)
    loss, _ = model.loss(batch(x), {})
    assert loss.item() == pytest.approx(x.square().sum().item() / 5, rel=1e-5)


def test_penalties() -> None:
    x = pictures(5)
    plain, logs = build(SMALL).loss(batch(x), {})
    coded, _ = build(replace(SMALL, code=2.0)).loss(batch(x), {})
    assert coded.item() == pytest.approx((plain + logs["code"]).item(), rel=1e-5)
    model = build(replace(SMALL, penalty="weights", smoothness=3.0))
    heavy, _ = model.loss(batch(x), {})
    weights = sum(w.square().sum() for w in model.decoder.parameters())
    assert heavy.item() == pytest.approx((plain + 3 * weights).item(), rel=1e-5)


def test_gradient_penalty_estimates_the_jacobian() -> None:
    """For a linear decoder the Jacobian is its weight, whatever the code."""
    model = build(replace(SMALL, network="mlp", depth=0, penalty="gradient", smoothness=1.0))
    logs = [model.loss(batch(pictures(500), step), {})[1] for step in range(10)]
    penalty = torch.stack([log["penalty"] for log in logs]).mean().item()
    assert penalty == pytest.approx(model.decoder[0].weight.square().sum().item(), rel=0.05)


def test_corruptions() -> None:
    x = torch.full((200, 3, 8, 8), 0.5)
    noise = corrupt(x, "gaussian", 0.3, Draw("c", count=200)) - x
    assert noise.std().item() == pytest.approx(0.3, rel=0.05)
    masked = corrupt(x, "mask", 0.3, Draw("c", count=200))
    assert (masked == 0).float().mean().item() == pytest.approx(0.3, abs=0.02)
    assert ((masked == 0).float().mean(1) % 1 == 0).all()  # all channels of a pixel go together
    salted = corrupt(x, "salt-pepper", 0.3, Draw("c", count=200))
    assert (salted == 1).float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert (salted == -1).float().mean().item() == pytest.approx(0.15, abs=0.02)
    assert torch.equal(corrupt(x, "none", 0.3, Draw("c", count=200)), x)


def test_coding_is_deterministic_and_blind_to_the_batch() -> None:
    model, x = build(SMALL).double().eval(), pictures(5).double()
    code = model.encode(x).mean
    torch.testing.assert_close(model.encode(x[3:4]).mean, code[3:4])
    torch.testing.assert_close(model.decode(code[3:4]), model.decode(code)[3:4])
    assert torch.equal(model.reconstruct(x), model.reconstruct(x))


def test_unknown_choices_are_named() -> None:
    with pytest.raises(ReverieError, match="did you mean 'mask'"):
        build(replace(SMALL, corruption="masks"))
