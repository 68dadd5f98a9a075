"""Pix2Pix, CycleGAN and what they are made of."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from cases import plan, spec_for, tiny
from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import Draw, DrawEach
from reverie.errors import ReverieError
from reverie.networks.norm import InstanceNorm, PixelNorm
from reverie.networks.padding import mirrored
from reverie.networks.pool import Pool
from reverie.networks.translators import _Block as RBlock
from reverie.networks.translators import translator
from reverie.networks.unet import Block as UBlock
from reverie.registry import load_class, preset

NETS = ("unet", "resnet")


def net(network: str = "unet", kind: str = "pixel", size: int = 16, **settings: Any) -> torch.nn.Module:
    torch.manual_seed(0)
    chosen = {"width": 4, "depth": 2, "blocks": 1} | settings
    built = translator(network, 2, 3, (size, size), kind=kind, **chosen).double()
    for parameter in built.parameters():  # biases and gains too: nothing may hide behind zeros and ones
        parameter.data.add_(0.1 * torch.randn_like(parameter))
    return built


# Networks


@pytest.mark.parametrize("kind", ["instance", "pixel"])
@pytest.mark.parametrize("network", NETS)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (23, 1), (16, 16), (7, 31)])
def test_any_size_and_each_picture_alone(network: str, kind: str, size: tuple[int, int]) -> None:
    built = net(network, kind)
    images = torch.rand(3, 2, *size, dtype=torch.float64) * 2 - 1
    with torch.no_grad():
        together = built(images)
        assert together.shape == (3, 3, *size)
        assert together.abs().max() <= 1
        torch.testing.assert_close(built(images[1:2]), together[1:2], rtol=0, atol=1e-12)
    if max(size) > 1:
        assert together.std() > 1e-3


@pytest.mark.parametrize("network", NETS)
def test_a_part_gives_what_the_whole_gives_where_all_is_local(network: str) -> None:
    images = torch.rand(1, 2, 96, 96, dtype=torch.float64)
    changed = images.clone()
    changed[:, :, :8, :8] = 0
    for kind, same in (("pixel", True), ("instance", False)):
        built = net(network, kind, size=96)
        with torch.no_grad():
            difference = (built(images) - built(changed)).abs()
        assert difference[:, :, :8, :8].max() > 1e-3
        assert (difference[:, :, 64:, 64:].max() == 0) == same


def test_the_unet_halves_as_far_as_the_pictures_allow() -> None:
    assert [net(size=s, depth=0).grain for s in (1, 2, 9, 128, 256, 2000)] == [2, 2, 8, 128, 256, 256]
    assert net(size=64, depth=3).grain == 8
    assert net(size=4, depth=3).grain == 4


def test_dropout_is_noise_that_is_asked_for() -> None:
    built = net(dropout=0.5, depth=3, size=32)
    built.train()
    image = torch.rand(2, 2, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        plain = built(image)
        assert torch.equal(plain, built(image))
        noisy = [built(image, DrawEach("noise", samples=[s, s + 1])) for s in (0, 1, 0)]
        assert torch.equal(noisy[0], noisy[2])
        assert not torch.allclose(noisy[0], plain)
        # Each picture has its own noise, whatever stands beside it.
        alone = built(image[1:], DrawEach("noise", samples=[1]))
    torch.testing.assert_close(alone, noisy[0][1:], rtol=0, atol=1e-12)
    assert not torch.allclose(noisy[0][1], noisy[1][1])


def test_instance_norm_is_torch_s() -> None:
    layer, theirs = InstanceNorm(3).double(), torch.nn.InstanceNorm2d(3, affine=True).double()
    for ours, other in zip(layer.parameters(), theirs.parameters(), strict=True):
        other.data = ours.data = torch.randn(3, dtype=torch.float64)
    x = 3 * torch.randn(2, 3, 5, 4, dtype=torch.float64) + 1
    torch.testing.assert_close(layer(x), theirs(x))
    moments = x.mean((2, 3), keepdim=True), x.var((2, 3), keepdim=True, correction=0)
    layer.moments = lambda module, given: moments
    torch.testing.assert_close(layer(x), theirs(x))
    layer.moments = None
    assert layer(x[:, :, :1, :1]).isfinite().all()


def test_pixel_norm_leaves_mean_square_one_at_every_pixel() -> None:
    x = 5 * torch.randn(2, 6, 3, 4, dtype=torch.float64)
    y = PixelNorm(6).double()(x)
    torch.testing.assert_close(y.square().mean(1), torch.ones(2, 3, 4, dtype=torch.float64), rtol=1e-3, atol=0)
    torch.testing.assert_close(y / x, (y / x)[:, :1].expand_as(x))


@given(height=st.integers(1, 20), width=st.integers(1, 20), grain=st.integers(1, 16), least=st.integers(1, 16))
@settings(max_examples=60, deadline=None)
def test_mirrored_pictures(height: int, width: int, grain: int, least: int) -> None:
    x = torch.arange(float(height * width)).view(1, 1, height, width)
    grown = mirrored(x, grain, least)
    assert torch.equal(grown[:, :, :height, :width], x)
    for side, was in zip(grown.shape[2:], (height, width), strict=True):
        assert side % grain == 0
        assert side >= least
        assert side < max(was, least) + grain
    rows = grown[0, 0, :, 0].div(width).long().tolist()
    assert all(abs(a - b) == (height > 1) for a, b in itertools.pairwise(rows))  # back and forth, no jump


# The pool


def old_or_new(pool: list[list[Tensor]], image: Tensor, held: int, coin: float, pick: int) -> Tensor:
    """The paper's pool, for one place in the batch."""
    if len(pool) < held:
        pool.append(image)
        return image
    if coin < 0.5:
        old, pool[pick] = pool[pick], image
        return old
    return image


@pytest.mark.parametrize(("slots", "total"), [(12, 4), (13, 4), (4, 4), (3, 4)])
def test_the_pool_is_the_paper_s_for_each_place(slots: int, total: int) -> None:
    ours, theirs = Pool(slots, (1, 2, 2)), [[] for _ in range(total)]
    held, olds = max(1, slots // total), 0
    for step in range(40):
        images = torch.full((total, 1, 2, 2), step / 127.5 - 1) + torch.arange(total)[:, None, None, None] * 40 / 127.5
        shown = ours.exchange(images, Draw(0, step, count=total))
        draw = Draw(0, step, count=total)
        coins, picks = draw.uniform().tolist(), draw.integers(held).tolist()
        for place in range(total):
            wanted = images[place]
            if place < slots:
                wanted = old_or_new(theirs[place], images[place], held, coins[place], picks[place])
            torch.testing.assert_close(shown[place], wanted, rtol=0, atol=1e-6)
            olds += not torch.equal(wanted, images[place])
    assert 0.35 < olds / (40 * min(slots, total)) < 0.6


def test_parts_of_a_batch_see_what_the_whole_sees() -> None:
    whole, parts = Pool(9, (1, 3, 2)), [Pool(9, (1, 3, 2)) for _ in range(2)]
    for step in range(30):
        images = torch.rand(4, 1, 3, 2, generator=torch.Generator().manual_seed(step)) * 2 - 1
        shown = whole.exchange(images, Draw(1, step, count=4))
        for rank, pool in enumerate(parts):
            part = slice(2 * rank, 2 * rank + 2)
            mine = pool.exchange(images[part], Draw(1, step, first=2 * rank, count=2, total=4))
            assert torch.equal(mine, shown[part])


# The games


def batch(image_spec: ImageSpec, count: int = 4) -> Batch:
    images = torch.rand(count, *image_spec.shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Batch(images, None, Draw(0, "test", count=count), 0.5)


def test_pix2pix_loses_by_the_paper_s_formula() -> None:
    model: Any = tiny("pix2pix", l1=7.0, adversarial=0.3, objective="lsgan")
    given = batch(model.image_spec)
    a, b = given.images.split(model.image_spec.sides, 1)
    carry: dict[str, Any] = {}
    loss, logs = model.generator_loss(given, carry)
    fake = model.generator(a)
    logits = model.discriminator(torch.cat([a, fake], 1))
    expected = 7 * (fake - b).abs().mean() + 0.3 * (0.5 * (logits - 1) ** 2).mean()
    torch.testing.assert_close(loss, expected)
    assert torch.equal(carry["fake"], fake)
    assert not carry["fake"].requires_grad
    loss, _ = model.discriminator_loss(given, carry)
    real = model.discriminator(torch.cat([a, b], 1))
    torch.testing.assert_close(loss, (0.5 * (real - 1) ** 2).mean() + (0.5 * logits**2).mean())
    assert set(logs) == {"l1", "loss_g"}


def test_the_discriminator_sees_the_input_beside_the_output() -> None:
    model: Any = tiny("pix2pix")
    images = batch(model.image_spec).images
    other = torch.cat([-images[:, :1], images[:, 1:]], 1)
    assert not torch.allclose(model.discriminator(images), model.discriminator(other))


def test_without_a_game_the_discriminator_has_no_turn() -> None:
    assert [phase.name for phase in tiny("pix2pix").phases()] == ["generator", "discriminator"]
    alone: Any = tiny("pix2pix", adversarial=0.0)
    assert [phase.name for phase in alone.phases()] == ["generator"]
    loss, logs = alone.generator_loss(batch(alone.image_spec), {})
    torch.testing.assert_close(loss, 100 * logs["l1"])
    with pytest.raises(ReverieError, match="nothing to learn from"):
        tiny("pix2pix", adversarial=0.0, l1=0.0)


@pytest.mark.parametrize(("sides", "identity"), [((2, 2), 0.5), ((2, 2), 0.0), ((1, 3), 0.5)])
def test_cyclegan_loses_by_the_paper_s_formula(sides: tuple[int, int], identity: float) -> None:
    image_spec = ImageSpec(sum(sides), 8, 8, sides=sides)
    model: Any = tiny("cyclegan", image_spec, identity=identity, cycle=3.0, network="resnet")
    given = batch(image_spec)
    a, b = given.images.split(sides, 1)
    carry: dict[str, Any] = {}
    loss, logs = model.generator_loss(given, carry)
    fake_b, fake_a = model.ab(a), model.ba(b)
    expected = sum((0.5 * (d - 1) ** 2).mean() for d in (model.discriminator_b(fake_b), model.discriminator_a(fake_a)))
    expected = expected + 3 * ((model.ba(fake_b) - a).abs().mean() + (model.ab(fake_a) - b).abs().mean())
    same = identity > 0 and sides[0] == sides[1]
    if same:
        expected = expected + 1.5 * ((model.ab(b) - b).abs().mean() + (model.ba(a) - a).abs().mean())
    torch.testing.assert_close(loss, expected)
    assert ("identity" in logs) == same
    loss, logs = model.discriminator_loss(given, carry)  # the pools are empty: what is shown is what is new
    expected = sum(
        (0.5 * (d(real) - 1) ** 2).mean() + (0.5 * d(fake) ** 2).mean()
        for d, real, fake in ((model.discriminator_a, a, fake_a), (model.discriminator_b, b, fake_b))
    )
    torch.testing.assert_close(loss, expected)
    assert bool(model.pool_a.used[:4].all())


def test_directions_lead_from_side_to_side() -> None:
    model: Any = tiny("cyclegan", ImageSpec(4, 8, 8, sides=(1, 3)))
    grey, colour = torch.rand(2, 1, 8, 8), torch.rand(2, 3, 8, 8)
    assert model.translate(grey, "ab").shape == (2, 3, 8, 8)
    assert model.translate(colour, "ba").shape == (2, 1, 8, 8)
    assert model.translator("ab") is model.ab


def test_directions_are_told_apart_where_the_sides_are_alike() -> None:
    model: Any = tiny("cyclegan", ImageSpec(4, 8, 8, sides=(2, 2)))
    images = torch.rand(2, 2, 8, 8)
    assert torch.equal(model.translate(images, "ba"), model.ba(images))
    assert torch.equal(model.translate(images, "ab"), model.ab(images))
    assert not torch.equal(model.ab(images), model.ba(images))


def test_pix2pix_learns_with_dropout_and_translates_without() -> None:
    model: Any = tiny("pix2pix", dropout=0.4, depth=3)
    given = batch(model.image_spec)
    other = Batch(given.images, None, Draw(1, "test", count=4), 0.5)
    losses = [float(model.generator_loss(b, {})[0].detach()) for b in (given, batch(model.image_spec), other)]
    assert losses[0] == losses[1] != losses[2]
    a = given.images[:, :1]
    plain = model.translate(a)
    assert torch.equal(plain, model.translate(a))
    assert not torch.equal(plain, model.translate(a, draw=DrawEach("noise", samples=range(4))))
    with pytest.raises(ReverieError, match=r"dropout is the unet's; leave it out"):
        tiny("pix2pix", dropout=0.4, network="resnet")


def test_the_presets_are_the_papers_networks() -> None:
    """As many numbers as the reference implementations have, to within their biases and normalisations."""
    image_spec = ImageSpec(6, 256, 256, sides=(3, 3))
    for name, part, millions in (("pix2pix-256", "generator", 54.41), ("cyclegan-256", "ab", 11.38)):
        with torch.device("meta"):
            kind = load_class(name)
            model = kind(kind.Config(**preset(name)), image_spec)
        count = sum(p.numel() for p in model.get_submodule(part).parameters())
        assert count / 1e6 == pytest.approx(millions, abs=0.02), name


def test_blocks_and_skips_pass_their_input_on() -> None:
    for block in (UBlock(3, "pixel"), RBlock(3, "pixel")):
        for layer in block.body:
            if isinstance(layer, (PixelNorm,)):
                torch.nn.init.zeros_(layer.gain)
        x = torch.rand(1, 3, 4, 4)
        torch.testing.assert_close(block(x), x)
    built: Any = net(depth=2, size=16, kind="pixel", blocks=0)
    for parameter in built.down[-1].parameters():
        torch.nn.init.zeros_(parameter)  # nothing passes through the middle; the skip is all there is
    x = torch.rand(1, 2, 16, 16, dtype=torch.float64)
    assert float((built(x) - built(-x)).abs().max().detach()) > 1e-3


def test_dropout_keeps_the_mean() -> None:
    built: Any = net(dropout=0.2, depth=2, size=8, blocks=0)
    seen: list[Tensor] = []
    built.up[-1].register_forward_hook(lambda module, args, out: seen.append(args[0]))
    x = torch.rand(1, 2, 8, 8, dtype=torch.float64).expand(4000, -1, -1, -1)
    with torch.no_grad():
        built(x[:1])
        built(x, Draw(0, "noise", count=4000))
    plain, noisy = seen[0][0], seen[1].mean(0)
    assert float(plain.abs().max()) > 0.05
    torch.testing.assert_close(noisy, plain, rtol=0.1, atol=0.02)
    dropped = (seen[1][:, : built.up[0][1].out_channels] == 0).double().mean()
    assert float(dropped) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("name", ["pix2pix", "cyclegan"])
def test_single_pictures_are_refused(name: str) -> None:
    from reverie.artifact import build_model

    with pytest.raises(ReverieError, match=r"learns from two sides; .* --set data\.pair=halves"):
        build_model(name, {}, ImageSpec(3, 8, 8))
    assert spec_for(name).sides == (1, 2)


def test_the_learning_rate_stays_for_half_of_training_then_falls_to_zero() -> None:
    resolved = plan(steps=100, lr_schedule="late-linear", warmup=0.0)
    factors = [resolved.lr_factor(step) for step in (0, 25, 50, 75, 99)]
    assert factors == pytest.approx([1, 1, 1, 0.5, 0.02])
    assert math.isclose(plan(steps=100, lr_schedule="late-linear", warmup=0.2).lr_factor(60), 1)
