"""Progressive growing: the fades' identities, layers against plain formulas, and the growing model."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from cases import loop_for, plan, tiny
from reverie.artifact import build_model
from reverie.engine.distributed import World
from reverie.engine.loop import Loop
from reverie.engine.model import ImageSpec
from reverie.engine.plan import Plan
from reverie.models.progan import ProGAN
from reverie.networks.equalized import EqualConv, EqualLinear, Resample, minibatch_std, pixel_norm, stages
from reverie.networks.progan import ProGANDiscriminator, ProGANGenerator, down, up
from reverie.training.budget import seconds_per_step
from toys import Pictures

SPEC = ImageSpec(1, 16, 12)
SHAPES = [(1, 28, 28), (3, 32, 32), (2, 8, 12), (3, 17, 9), (16, 5, 3), (1, 3, 4)]


def networks(shape: tuple[int, int, int]) -> tuple[ProGANGenerator, ProGANDiscriminator]:
    torch.manual_seed(0)
    return ProGANGenerator(3, shape, 4).double(), ProGANDiscriminator(shape, 4).double()


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_level_has_its_own_size_and_the_last_the_pictures(shape: tuple[int, int, int]) -> None:
    g, d = networks(shape)
    sizes = [g.stages[0].inner, *(s.outer for s in g.stages)]
    assert max(sizes[0]) <= 4
    assert sizes[-1] == shape[1:]
    for level, size in enumerate(sizes):
        fake = g(randn(3, 3), level, 0.4)
        assert fake.shape == (3, shape[0], *size)
        assert d(fake, level, 0.4).shape == (3,)


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 17, 9)])
def test_a_fade_starts_as_the_level_before_and_ends_as_the_new_one(shape: tuple[int, int, int]) -> None:
    g, d = networks(shape)
    z = randn(4, 3)
    for level in range(1, len(g.stages) + 1):
        stage = g.stages[level - 1]
        before, after = g(z, level - 1, 1.0), g(z, level, 1.0)
        torch.testing.assert_close(g(z, level, 0.0), up(before, stage))
        torch.testing.assert_close(g(z, level, 1 - 1e-12), after)
        torch.testing.assert_close(g(z, level, 0.25), 0.75 * up(before, stage) + 0.25 * after)
        assert (up(before, stage) - after).abs().max() > 0.1
        images = randn(4, shape[0], *stage.outer)
        torch.testing.assert_close(d(images, level, 0.0), d(down(images, stage), level - 1, 1.0))
        torch.testing.assert_close(d(images, level, 1 - 1e-12), d(images, level, 1.0))
        assert (d(images, level, 0.0) - d(images, level, 1.0)).abs().max() > 1e-3


@pytest.mark.parametrize("size", [(8, 8), (7, 13)])
def test_boxes_and_neighbours(size: tuple[int, int]) -> None:
    stage = stages((1, *size), 4)[0]
    x = randn(2, 3, *size)
    small = down(x, stage)
    for i, j in ((0, 0), (1, 2), (stage.inner[0] - 1, stage.inner[1] - 1)):
        box = x[:, :, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2].mean((2, 3))
        torch.testing.assert_close(small[:, :, i, j], box)
    torch.testing.assert_close(down(up(small, stage), stage), small)


def test_equalised_layers_use_unit_weights_scaled_by_their_fan_in() -> None:
    torch.manual_seed(0)
    conv, dense = EqualConv(64, 32, 3).double(), EqualLinear(400, 100, gain=0.25, rate=0.01, bias=1.0).double()
    assert conv.weight.std().item() == pytest.approx(1, rel=0.05)
    x = randn(2, 64, 5, 6)
    torch.testing.assert_close(conv(x), F.conv2d(x, conv.weight / math.sqrt(64 * 9), padding=1))
    y = dense(randn(500, 400))
    assert y.std().item() == pytest.approx(0.25, rel=0.05)
    assert y.mean().item() == pytest.approx(1, abs=0.05)
    # A step of the weights moves the output a hundredth as far as without the rate.
    moved = dense(x := randn(1, 400))
    with torch.no_grad():
        dense.weight += 1
        dense.bias += 1
    torch.testing.assert_close(dense(x) - moved, (0.01 * (0.25 * x.sum() / 20 + 1)).expand(1, 100))


def test_pixel_norm_and_minibatch_std_against_their_formulas() -> None:
    x = randn(8, 5, 3, 4)
    torch.testing.assert_close(pixel_norm(x).square().mean(1), torch.ones(8, 3, 4, dtype=torch.float64))
    found = minibatch_std(x)
    torch.testing.assert_close(found[:, :5], x)
    for first in (0, 4):
        expected = x[first : first + 4].std(0, correction=0).mean()
        torch.testing.assert_close(found[first : first + 4, 5], expected.expand(4, 3, 4))
    halves = torch.cat([minibatch_std(x[:4]), minibatch_std(x[4:])])
    assert torch.equal(found, halves)
    for count, group in ((6, 3), (5, 1), (3, 3), (2, 2), (1, 1)):
        planes = minibatch_std(x[:count])[:, 5, 0, 0]
        expected = x[:count].unflatten(0, (-1, group)).std(1, correction=0).mean((1, 2, 3))
        torch.testing.assert_close(planes[::group], expected, atol=1e-4, rtol=0)  # a deviation of 0 is 1e-4


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (4, 9)])
def test_resampling_is_the_written_filter(size: tuple[int, int]) -> None:
    stage = stages((1, *size), 4)[0]
    taps, halved = (1 / 8, 3 / 8, 3 / 8, 1 / 8), [side > 4 for side in size]

    def matrix(side: int, inner: int, twice: bool) -> Tensor:
        if not twice:
            return torch.eye(side, dtype=torch.float64)
        rows = torch.zeros(inner, side, dtype=torch.float64)
        for i in range(inner):
            for k, tap in enumerate(taps):
                if 0 <= 2 * i + k - 1 < side:
                    rows[i, 2 * i + k - 1] = tap
        return rows

    rows, columns = (matrix(*each) for each in zip(size, stage.inner, halved, strict=True))
    x = randn(2, 3, *size)
    torch.testing.assert_close(Resample(stage, up=False).double()(x), rows @ x @ columns.T)
    y = randn(2, 3, *stage.inner)
    gain = 2 ** sum(halved)
    torch.testing.assert_close(Resample(stage, up=True).double()(y), gain * rows.T @ y @ columns)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_the_discriminator_can_be_differentiated_twice(level: int) -> None:
    _, d = networks((1, 9, 12))
    size = [d.stages[0].inner, *(s.outer for s in d.stages)][level]
    x = randn(2, 1, *size).requires_grad_()
    # Leaky ReLU has kinks, at which a finite difference errs; this seed has none within reach.
    assert torch.autograd.gradcheck(lambda x: d(x, level, 0.3), x)
    assert torch.autograd.gradgradcheck(lambda x: d(x, level, 0.3), x)


def test_memory_format_does_not_matter() -> None:
    g, d = networks((3, 20, 28))
    z = randn(4, 3)
    before = d(g(z, 3, 0.5), 3, 0.5)
    g.to(memory_format=torch.channels_last)
    d.to(memory_format=torch.channels_last)
    torch.testing.assert_close(d(g(z, 3, 0.5).contiguous(memory_format=torch.channels_last), 3, 0.5), before)


# The model


def model(**settings: object) -> ProGAN:
    built = build_model("progan", {"width": 4, "latent": 3, "objective": "non-saturating", **settings}, SPEC)
    assert isinstance(built, ProGAN)
    return built


def schedule(grown: ProGAN, steps: range, size: int = 8) -> list[tuple[int, float]]:
    found = []
    for step in steps:
        grown.on_progress(size * step)
        found.append(grown.now)
    return found


def test_growth_counts_pictures() -> None:
    grown = model(grow=32)
    found = schedule(grown, range(1, 24))
    # 32 pictures of level 0, 32 that fade level 1 in, 32 to settle; FACTS has levels 0, 1, 2.
    expected = [(0, 1.0)] * 3 + [(1, 0.0), (1, 0.25), (1, 0.5), (1, 0.75)] + [(1, 1.0)] * 4
    expected += [(2, 0.0), (2, 0.25), (2, 0.5), (2, 0.75)] + [(2, 1.0)] * 8
    assert found == expected
    assert schedule(grown, range(1, 3)) == [(2, 1.0)] * 2  # never back


def test_growth_fills_its_part_of_the_training() -> None:
    loop = Loop(model(), Pictures(SPEC), plan(steps=20), torch.device("cpu"))
    assert isinstance(loop.model, ProGAN)
    found, shown = [], []
    real = loop.model.real
    loop.model.real = lambda images: (shown.append(real(images).shape[2:]), real(images))[1]
    for _ in range(20):
        loop.advance()
        found.append(loop.model.now)
    assert found == sorted(found, key=lambda now: (now[0], now[0] and now[1]))
    assert found[2] == (0, 1.0)
    assert found[-1] == (2, 1.0)
    assert {level for level, _ in found} == {0, 1, 2}
    assert 10 <= found.index((2, 1.0)) <= 13  # 60% of 20 steps
    assert shown[0] == (4, 3)
    assert shown[-1] == (16, 12)
    # A state taken on the way knows the level.
    tensors, _ = loop.state()
    assert int(tensors["model.level"]) == 2


def test_real_pictures_fade_with_the_networks() -> None:
    grown = model()
    images = randn(3, 1, 16, 12).float()
    fine = F.avg_pool2d(images, 2)
    coarse = F.avg_pool2d(fine, 2)
    grown.level.fill_(1)
    for alpha in (0.0, 0.25, 1.0):
        grown.alpha.fill_(alpha)
        blurred = F.interpolate(coarse, scale_factor=2)
        torch.testing.assert_close(grown.real(images), (1 - alpha) * blurred + alpha * fine)
    grown.level.fill_(2)
    assert torch.equal(grown.real(images), images)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_pictures_of_any_level_have_full_size(level: int) -> None:
    grown = model()
    grown.level.fill_(level)
    grown.alpha.fill_(0.5)
    with torch.no_grad():
        pictures = grown.decode(3 * torch.randn(5, 3))
        torch.testing.assert_close(grown.fake(torch.ones(1, 3), None), grown.fake(torch.ones(2, 3), None)[:1])
    assert pictures.shape == (5, *SPEC.shape)
    assert pictures.abs().max() <= 1
    block = 2 ** (2 - level)
    torch.testing.assert_close(pictures, F.interpolate(F.avg_pool2d(pictures, block), scale_factor=block))


def test_layers_that_have_not_come_are_not_trained() -> None:
    loop = Loop(model(grow=16), Pictures(SPEC), plan(steps=20, clip=0, ema=0.0), torch.device("cpu"))
    assert isinstance(loop.model, ProGAN)
    g = loop.model.generator
    fine = [p.detach().clone() for p in g.levels[1].parameters()]
    while loop.model.now < (2, 0.1):
        assert all(torch.equal(a, b) for a, b in zip(fine, g.levels[1].parameters(), strict=True))
        loop.advance()
    loop.advance()
    assert all(not torch.equal(a, b) for a, b in zip(fine, g.levels[1].parameters(), strict=True))


@pytest.mark.parametrize("objective", ["wgan-gp", "hinge", "relativistic"])
def test_any_game_can_be_played_with_augmentation(objective: str) -> None:
    settings = {"objective": objective, "augment": "translation,colour", "ada": 0.6, "grow": 8, "r1": 1.0}
    loop = Loop(model(**settings), Pictures(SPEC), plan(steps=20), torch.device("cpu"))
    for _ in range(6):
        loop.advance()
    assert all(math.isfinite(v) for v in loop.means().values() if isinstance(v, float))


def test_minutes_are_reckoned_with_grown_networks() -> None:
    loop = loop_for("progan")
    model = loop.model
    assert isinstance(model, ProGAN)
    levels = len(model.generator.stages)
    seen = []
    for progress in (0.0, 0.9):
        model.rehearse(progress)
        seen.append(int(model.level))
    assert seen == [0, levels]
    fresh = tiny("progan", SPEC)
    before = {k: v.clone() for k, v in fresh.state_dict().items()}
    settings = Plan(batch_size=8).with_defaults(fresh.defaults)
    assert seconds_per_step(fresh, Pictures(SPEC), settings, torch.device("cpu"), World(), 0.001) > 0
    after = fresh.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert int(fresh.level) == 0  # type: ignore[arg-type]
