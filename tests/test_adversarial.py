"""Adversarial losses and gradient penalties, in float64 against references and closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reverie.losses.adversarial import OBJECTIVES
from reverie.losses.penalties import path_lengths, squared_gradient, unit_gradient

ONES = torch.ones(5, dtype=torch.float64)


def logits(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(5, generator=generator, dtype=torch.float64)


def bce(x: Tensor, target: float) -> Tensor:
    return F.binary_cross_entropy(torch.sigmoid(x), target * ONES, reduction="none")


REFERENCES = {
    "minimax": (lambda r, f: bce(r, 1) + bce(f, 0), lambda f, r: -bce(f, 0)),
    "non-saturating": (lambda r, f: bce(r, 1) + bce(f, 0), lambda f, r: bce(f, 1)),
    "lsgan": (lambda r, f: ((r - 1) ** 2 + f**2) / 2, lambda f, r: (f - 1) ** 2 / 2),
    "hinge": (
        lambda r, f: torch.maximum(0 * r, 1 - r) + torch.maximum(0 * f, 1 + f),
        lambda f, r: -f,
    ),
    "wgan-gp": (lambda r, f: f - r, lambda f, r: -f),
    "relativistic": (lambda r, f: bce(r - f, 1), lambda f, r: bce(f - r, 1)),
}


def test_every_objective_has_a_reference() -> None:
    assert REFERENCES.keys() == OBJECTIVES.keys()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_equal_their_references(name: str) -> None:
    real, fake = logits(1), logits(2)
    discriminator, generator = REFERENCES[name]
    torch.testing.assert_close(OBJECTIVES[name].discriminator(real, fake), discriminator(real, fake))
    torch.testing.assert_close(OBJECTIVES[name].generator(fake, real), generator(fake, real))


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_of_objectives(name: str) -> None:
    pair = (logits(1).requires_grad_(), logits(2).requires_grad_())
    for loss in (OBJECTIVES[name].discriminator, OBJECTIVES[name].generator):
        assert torch.autograd.gradcheck(loss, pair)
        assert torch.autograd.gradgradcheck(loss, pair)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_players_want_what_they_should(name: str) -> None:
    """D raises D(x) and lowers D(G(z)), G raises D(G(z)); only a relativistic generator looks at D(x)."""
    real = torch.tensor([0.2], dtype=torch.float64, requires_grad=True)
    fake = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)
    on_real, on_fake = torch.autograd.grad(OBJECTIVES[name].discriminator(real, fake).sum(), (real, fake))
    assert on_real < 0 < on_fake
    loss = OBJECTIVES[name].generator(fake, real).sum()
    of_fake, of_real = torch.autograd.grad(loss, (fake, real), allow_unused=True)
    assert of_fake < 0
    assert (of_real is not None) == OBJECTIVES[name].pairs


def test_the_minimax_generator_starves_where_the_other_does_not() -> None:
    """At a fake that D is sure of, the saturating gradient vanishes; where D is fooled, the other one does."""
    slopes = {}
    for name in ("minimax", "non-saturating"):
        for where in (-8.0, 8.0):
            fake = torch.tensor([where], dtype=torch.float64, requires_grad=True)
            (slope,) = torch.autograd.grad(OBJECTIVES[name].generator(fake, fake.detach()).sum(), fake)
            slopes[name, where] = float(slope)
    assert abs(slopes["minimax", -8.0]) < 1e-3
    assert slopes["non-saturating", -8.0] == pytest.approx(-1, abs=1e-3)
    assert slopes["minimax", 8.0] == pytest.approx(-1, abs=1e-3)
    assert abs(slopes["non-saturating", 8.0]) < 1e-3


def test_penalties_of_linear_and_quadratic_discriminators() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 2, 3, 3, generator=generator, dtype=torch.float64).requires_grad_()
    a = torch.randn(18, generator=generator, dtype=torch.float64)
    m = torch.randn(18, 18, generator=generator, dtype=torch.float64)
    linear = x.flatten(1) @ a
    torch.testing.assert_close(squared_gradient(linear, x), a.square().sum().expand(4))
    torch.testing.assert_close(unit_gradient(linear, x), (a.norm() - 1).square().expand(4))
    flat = x.flatten(1)
    quadratic = 0.5 * ((flat @ (m + m.T)) * flat).sum(1)
    torch.testing.assert_close(squared_gradient(quadratic, x), (flat @ (m + m.T)).square().sum(1))
    # Summed over pixels: a picture of twice the size has twice the penalty.
    assert float(squared_gradient(x.sum((1, 2, 3)), x)[0]) == 18


def test_the_unit_gradient_penalty_is_finite_where_the_gradient_vanishes() -> None:
    x = torch.zeros(2, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    scale = torch.ones((), dtype=torch.float64, requires_grad=True)
    penalty = unit_gradient(scale * x.square().flatten(1).sum(1), x)
    (slope,) = torch.autograd.grad(penalty.sum(), scale)
    torch.testing.assert_close(penalty, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-5)
    assert bool(slope.isfinite())


@pytest.mark.parametrize("penalty", [squared_gradient, unit_gradient])
def test_gradients_of_penalties_reach_the_discriminator(penalty: Callable[[Tensor, Tensor], Tensor]) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 1, 2, 2, generator=generator, dtype=torch.float64)
    weight = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)

    def of(weight: Tensor, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_() if not x.requires_grad else x
        return penalty(torch.tanh(x.flatten(1) @ weight).sum(1), x)

    assert torch.autograd.gradcheck(of, (weight, x.requires_grad_()))
    assert torch.autograd.gradgradcheck(of, (weight, x.requires_grad_()))


def test_path_lengths_of_a_linear_generator() -> None:
    """For pictures J w the length is ||J^T y|| / sqrt(H W); over layers, the root of the mean of squares."""
    generator = torch.Generator().manual_seed(0)
    jacobian = torch.randn(2, 3, 2 * 3 * 4, generator=generator, dtype=torch.float64)  # L, size, C H W
    w = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64).requires_grad_()
    noise = torch.randn(5, 2, 3, 4, generator=generator, dtype=torch.float64)
    images = torch.einsum("nls,lsp->np", w, jacobian).view(5, 2, 3, 4)
    back = torch.einsum("np,lsp->nls", noise.flatten(1), jacobian) / math.sqrt(12)
    expected = back.square().sum(2).mean(1).sqrt()
    torch.testing.assert_close(path_lengths(images, w, noise), expected)

    def of(w: Tensor) -> Tensor:
        curved = torch.tanh(torch.einsum("nls,lsp->np", w, jacobian)).view(5, 2, 3, 4)
        return path_lengths(curved, w, noise)

    assert torch.autograd.gradcheck(of, (w,))
