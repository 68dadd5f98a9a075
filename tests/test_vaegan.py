"""What the bridge between VAE and GAN adds to both."""

from __future__ import annotations

import pytest
import torch

from cases import SPEC, plan, tiny
from reverie.engine.loop import Loop
from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import Draw
from reverie.models.vaegan import balance
from reverie.networks.patchgan import PatchDiscriminator
from toys import Pictures


def batch(progress: float) -> Batch:
    images, labels = Pictures(SPEC).take(0, 6)
    return Batch(images, labels, Draw(0, "test", count=6), progress)


def test_both_parts_weigh_alike_at_the_last_layer() -> None:
    w = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    recon, fooled = (w * torch.tensor([30.0, 40.0])).sum(), (w * torch.tensor([0.6, 0.8])).sum()
    assert float(balance(recon, fooled, w)) == pytest.approx(50, rel=1e-3)
    assert float(balance(recon, 1e-9 * fooled, w)) == 1e4
    assert not balance(recon, fooled, w).requires_grad


def test_nobody_listens_while_the_discriminator_plays_alone() -> None:
    model = tiny("vaegan", network="mlp", alone=0.5)
    (first, logs), (second, later) = (model.autoencoder_loss(batch(p), {}) for p in (0.49, 0.5))  # type: ignore[operator]
    assert "loss_g" not in logs
    assert second.item() == pytest.approx(first.item() + (later["weight_g"] * later["loss_g"]).item(), rel=1e-5)
    # L_G at the last layer has half of the likelihood's gradient: adversarial is 0.5.
    layer = model.last_layer()  # type: ignore[operator]
    whole, plain = (torch.autograd.grad(loss, layer)[0] for loss in (second, first))
    assert float((whole - plain).norm() / plain.norm()) == pytest.approx(0.5, rel=0.1)


def test_the_scale_is_learned() -> None:
    model = tiny("vaegan", network="mlp")
    before = model.scale.log.item()  # type: ignore[union-attr, operator]
    loop = Loop(model, Pictures(SPEC), plan(steps=8), torch.device("cpu"))
    for _ in range(8):
        loop.advance()
    assert abs(model.scale.log.item() - before) > 1e-3  # type: ignore[union-attr, operator]


@pytest.mark.parametrize(("strided", "field"), [(1, 16), (2, 34), (3, 70)])
def test_a_logit_sees_its_patch_and_no_more(strided: int, field: int) -> None:
    network = PatchDiscriminator(1, 8, strided).double()
    for i, layer in enumerate(network.body):
        if isinstance(layer, torch.nn.GroupNorm):
            network.body[i] = torch.nn.Identity()  # a norm looks at the whole picture
    images = torch.randn(1, 1, 160, 160, dtype=torch.float64, requires_grad=True)
    logits = network(images)
    side = 160 // 2**strided
    assert logits.shape == (1, side, side)
    (gradient,) = torch.autograd.grad(logits[0, side // 2, side // 2], images)
    seen = gradient[0, 0].nonzero()
    assert (seen.max(0).values - seen.min(0).values + 1).tolist() == [field, field]


@pytest.mark.parametrize("size", [(1, 1), (7, 5), (8, 13)])
def test_patches_of_any_size(size: tuple[int, int]) -> None:
    logits = PatchDiscriminator(2, 4, 2)(torch.randn(3, 2, *size))
    assert logits.shape == (3, -(-size[0] // 4), -(-size[1] // 4))
    assert ImageSpec(2, *size).shape == (2, *size)
