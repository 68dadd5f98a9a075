"""Augmentation of what a discriminator sees, and the controller of how much of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck

from reverie.engine.randomness import Draw
from reverie.losses.penalties import squared_gradient
from reverie.networks.augmentation import POLICIES, Adaptive, Augmentation

SHAPES = [(1, 8, 8), (3, 6, 9), (4, 16, 5), (2, 1, 1)]
ALL = ",".join(POLICIES)


class Fixed:
    """Gives the same numbers for every picture."""

    def __init__(self, *values: float, count: int = 1) -> None:
        self.values = torch.tensor(values).expand(count, -1)

    def uniform(self, *shape: int) -> Tensor:
        assert shape == self.values.shape[1:]
        return self.values


def draw(count: int, seed: int = 0) -> Draw:
    return Draw(seed, "augmentation", count=count)


def pictures(count: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


@pytest.mark.parametrize("policy", [*POLICIES, ALL])
@pytest.mark.parametrize("shape", [(3, 6, 5), (1, 5, 7)])
def test_each_operation_can_be_differentiated_twice(policy: str, shape: tuple[int, ...]) -> None:
    augment = Augmentation(policy)
    images = pictures(3, *shape, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda x: augment(x, draw(3)), images)
    # Everything here is linear in the pictures: without a square there would be no second derivative to get wrong.
    assert gradgradcheck(lambda x: augment(x.square(), draw(3)), images)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_penalty_before_augmentation_reaches_the_discriminator(policy: str) -> None:
    augment, judge = Augmentation(policy), nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.Tanh(), nn.Linear(8, 1))
    images = pictures(4, 3, 4, 4).requires_grad_()
    squared_gradient(judge(augment(images, draw(4))), images).mean().backward()
    for weight in (judge[1].weight, judge[3].weight):
        assert weight.grad is not None
        assert float(weight.grad.abs().sum()) > 0


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("policy", ["", *POLICIES, ALL])
def test_any_shape_and_type(policy: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    images = pictures(5, *shape, dtype=dtype)
    shown = Augmentation(policy)(images, draw(5))
    assert shown.shape == images.shape
    assert shown.dtype == dtype
    assert bool(shown.isfinite().all())


@pytest.mark.parametrize("policy", POLICIES)
def test_the_largest_draw_stays_within_range_in_low_precision(policy: str) -> None:
    most = 1 - 2**-24  # which bfloat16 would round to 1
    images = pictures(2, 3, 16, 8)
    augment, numbers = Augmentation(policy), Fixed(most, most, most, 0.0, count=2)
    low = augment(images.bfloat16(), numbers).float()
    torch.testing.assert_close(low, augment(images, numbers), atol=0.05, rtol=0.05)


def test_nothing_happens_without_a_policy_or_with_probability_zero() -> None:
    images = pictures(6, 3, 8, 8)
    assert torch.equal(Augmentation("")(images, draw(6)), images)
    assert torch.equal(Augmentation(ALL)(images, draw(6), 0.0), images)
    assert torch.equal(Augmentation(ALL)(images, draw(6), torch.zeros(())), images)


def test_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="blur"):
        Augmentation("colour,blur")


@pytest.mark.parametrize("p", [0.25, 0.8, 1.0])
def test_each_picture_is_changed_with_probability_p(p: float) -> None:
    images = pictures(4000, 1, 2, 3)
    shown = Augmentation("flip")(images, draw(4000), torch.tensor(p))
    mirrored, untouched = ((shown == other).flatten(1).all(1) for other in (images.flip(3), images))
    assert bool((mirrored ^ untouched).all())
    assert float(mirrored.float().mean()) == pytest.approx(p, abs=4 * (p * (1 - p) / 4000) ** 0.5 + 1e-9)


def test_the_operations_are_chosen_independently() -> None:
    images = torch.tensor([-0.5, 0.5]).expand(4000, 1, 1, 2)
    shown = Augmentation("flip,colour")(images, draw(4000), 0.5).flatten(1)
    mirrored, coloured = shown[:, 0] > shown[:, 1], shown.mean(1).abs() > 1e-6
    assert float((mirrored & coloured).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert float((mirrored | coloured).float().mean()) == pytest.approx(0.75, abs=0.03)


def test_whether_says_nothing_of_how() -> None:
    images = torch.zeros(6000, 1, 16, 16)
    images[:, :, 8, 8] = 1.0
    row = Augmentation("translation")(images, draw(6000), 0.5).nonzero()[:, 2] - 8
    # Half stay; the others move by -2 .. 2, each as often.
    counts = torch.bincount(row + 2, minlength=5) / 6000
    torch.testing.assert_close(counts, torch.tensor([0.1, 0.1, 0.6, 0.1, 0.1]), atol=0.025, rtol=0)


def test_it_is_a_function_of_the_draw_which_moves_on_alike_for_any_p() -> None:
    images, augment = pictures(8, 3, 8, 8), Augmentation(ALL)
    assert torch.equal(augment(images, draw(8)), augment(images, draw(8)))
    assert not torch.equal(augment(images, draw(8)), augment(images, draw(8, seed=1)))
    next_numbers = []
    for p in (0.0, 0.5, 1.0):
        numbers = draw(8)
        augment(images, numbers, p)
        next_numbers.append(numbers.uniform(3))
    assert torch.equal(next_numbers[0], next_numbers[1])
    assert torch.equal(next_numbers[0], next_numbers[2])


def test_a_shard_is_augmented_as_in_the_whole_batch() -> None:
    images, augment = pictures(8, 3, 8, 8), Augmentation(ALL)
    whole = augment(images, draw(8), 0.6)
    shard = augment(images[4:6], Draw(0, "augmentation", count=2, first=4, total=8), 0.6)
    torch.testing.assert_close(shard, whole[4:6])


def test_translation_reaches_an_eighth_each_way_and_all_places_alike() -> None:
    count, height, width = 6000, 16, 24
    images = torch.zeros(count, 1, height, width)
    images[:, :, 8, 12] = 1.0
    shown = Augmentation("translation")(images, draw(count))
    _, _, rows, columns = shown.nonzero(as_tuple=True)
    assert len(rows) == count  # the dot never leaves, and is never blurred
    for places, start, most in ((rows, 8, 2), (columns, 12, 3)):
        found, counts = (places - start).unique(return_counts=True)
        assert found.tolist() == list(range(-most, most + 1))
        share = count / len(found)
        assert bool(((counts - share).abs() < 5 * share**0.5).all())
    assert abs(float(np.corrcoef(rows, columns)[0, 1])) < 0.05


def test_translation_pads_with_zero() -> None:
    images = torch.full((200, 2, 16, 16), -1.0)
    shown = Augmentation("translation")(images, draw(200))
    assert sorted(shown.unique().tolist()) == [-1.0, 0.0]
    missing = (shown[:, 0] == 0).sum((1, 2))
    assert int(missing.max()) == 16 * 16 - 14 * 14


def test_cutout_takes_half_of_each_side_where_it_fits() -> None:
    count, height, width = 4000, 8, 12
    shown = Augmentation("cutout")(torch.ones(count, 2, height, width), draw(count))
    hole = shown == 0
    assert torch.equal(hole[:, 0], hole[:, 1])
    tall, wide = hole[:, 0].any(2).sum(1), hole[:, 0].any(1).sum(1)
    assert torch.equal(hole[:, 0].sum((1, 2)), tall * wide)  # a rectangle
    # The centre may lie anywhere, so that as little as half of a hole's side lies within the picture.
    assert (int(tall.min()), int(tall.max())) == (2, 4)
    assert (int(wide.min()), int(wide.max())) == (3, 6)
    centres = torch.arange(height + 1)
    inside = (torch.minimum(centres + 2, torch.tensor(height)) - (centres - 2).clamp_min(0)).double().mean()
    assert float(tall.double().mean()) == pytest.approx(float(inside), abs=0.05)


def test_colour_against_the_formula() -> None:
    images, u = pictures(5, 3, 4, 6), draw(5).uniform(4)
    shown = Augmentation("colour")(images, draw(5)).double().numpy()
    for i in range(5):
        brightness, saturation, contrast = u[i, :3].double().tolist()
        x = images[i].double().numpy() + (brightness - 0.5)
        x = x.mean(0) + (x - x.mean(0)) * (2 * saturation)
        x = x.mean() + (x - x.mean()) * (0.5 + contrast)
        np.testing.assert_allclose(shown[i], x, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_colour_has_no_saturation_but_of_three_channels(channels: int) -> None:
    images = pictures(1, channels, 4, 4)
    torch.testing.assert_close(Augmentation("colour")(images, Fixed(0.5, 0.9, 0.5, 0.0)), images)


@pytest.mark.parametrize("shape", [(2, 9, 9), (1, 7, 12), (3, 14, 6)])
def test_geometry_against_scipy(shape: tuple[int, int, int]) -> None:
    images, u = pictures(6, *shape, dtype=torch.float64), draw(6).uniform(4)
    shown = Augmentation("geometry")(images, draw(6)).numpy()
    _, height, width = shape
    middle = np.array([(height - 1) / 2, (width - 1) / 2])
    for i in range(6):
        angle = np.radians((2 * float(u[i, 0]) - 1) * 15)
        across, down = (1.2 ** (2 * float(u[i, k]) - 1) for k in (1, 2))
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # (row, column)
        matrix = np.diag([down, across]) @ turn
        for channel in range(shape[0]):
            expected = ndimage.affine_transform(
                images[i, channel].numpy(), matrix, middle - matrix @ middle, order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(shown[i, channel], expected, atol=2e-3)


# The controller


def same(signs: Tensor) -> Tensor:
    return signs


def test_probability_rises_while_the_discriminator_overfits_and_falls_after() -> None:
    control = Adaptive(kimg=1)
    seen = 0
    for _ in range(8):  # two adjustments
        control.observe(torch.full((10,), 5.0))
        seen += 10
        control.adjust(seen, same)
    assert float(control.p) == pytest.approx(80 / 1000)
    for _ in range(4):
        control.observe(torch.tensor([1.0, 1.0, -1.0, -1.0]))
        seen += 10
        control.adjust(seen, same)
    assert float(control.p) == pytest.approx(40 / 1000)


def test_probability_is_adjusted_every_four_steps_only() -> None:
    control, path = Adaptive(kimg=1), []
    for step in range(1, 10):
        control.observe(torch.ones(8))
        control.adjust(8 * step, same)
        path.append(round(float(control.p), 6))
    assert path == [0, 0, 0, 0.032, 0.032, 0.032, 0.032, 0.064, 0.064]
    assert control.signs.tolist() == [8, 8]  # of the ninth step


@pytest.mark.parametrize(("positive", "up"), [(79, False), (81, True)])
def test_target_is_a_mean_sign_of_six_tenths(positive: int, up: bool) -> None:
    control = Adaptive(start=0.5, kimg=1)
    # Only the signs count, not how large the logits are; and the mean is over microbatches of any size.
    logits = torch.cat([torch.full((positive,), 1e-3), torch.full((100 - positive,), -100.0)])
    control.observe(logits[:30])
    control.observe(logits[30:])
    for _ in range(4):
        control.adjust(100, same)
    assert (float(control.p) > 0.5) == up


@pytest.mark.parametrize(("start", "sign"), [(0.9, 1.0), (0.1, -1.0)])
def test_probability_stays_between_zero_and_one(start: float, sign: float) -> None:
    control = Adaptive(start=start, kimg=1)
    control.observe(sign * torch.ones(8))
    for _ in range(4):
        control.adjust(5000, same)
    assert float(control.p) == (1.0 if sign > 0 else 0.0)


def test_the_mean_is_over_all_ranks() -> None:
    control = Adaptive(start=0.5, kimg=1)
    control.observe(torch.ones(8))  # overfits here, but the other rank has three times as many, all below zero
    for _ in range(4):
        control.adjust(8, lambda signs: signs + torch.tensor([-24.0, 24.0]))
    assert float(control.p) < 0.5


def test_probability_stays_where_nothing_was_observed() -> None:
    control = Adaptive(start=0.5, kimg=1)
    for _ in range(4):
        control.adjust(400, same)
    assert float(control.p) == 0.5


def test_the_controller_goes_on_from_its_state() -> None:
    def drive(control: Adaptive, steps: range) -> None:
        for step in steps:
            control.observe(torch.linspace(-1, 1 + step, 8))
            control.adjust(8 * (step + 1), same)

    whole, first, second = (Adaptive(start=0.3, kimg=1) for _ in range(3))
    drive(whole, range(11))
    drive(first, range(6))
    second.load_state_dict(first.state_dict())
    drive(second, range(6, 11))
    assert whole.state_dict().keys() == {"p", "signs", "since", "images"}
    for key, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[key]), key
