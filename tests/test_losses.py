"""Every loss in float64, against scipy, torch.distributions or an identity; and that it sums where it must."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor
from torch.autograd import gradcheck

from reverie.losses.divergence import (
    free_bits,
    gaussian_kl,
    gaussian_log_density,
    importance_bound,
    mmd,
    stratified_weights,
    total_correlation,
)
from reverie.losses.reconstruction import (
    bernoulli,
    gaussian,
    laplace,
    logistic_mixture,
    mixture_mean,
    mixture_parameters,
    optimal_log_sigma,
    squared_error,
)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def grads(*shape: int, seed: int = 0) -> Tensor:
    return normal(*shape, seed=seed).requires_grad_()


def test_bernoulli_is_torchs() -> None:
    logits, x = normal(3, 2, 4, 5), (normal(3, 2, 4, 5, seed=1) > 0).double()
    expected = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli(logits, x), expected)


def test_bernoulli_survives_extreme_logits() -> None:
    x = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    torch.testing.assert_close(bernoulli(torch.tensor([[1e4, 1e4, -1e4, -1e4]]), x), torch.tensor([-2e4]))


@pytest.mark.parametrize("sigma", [0.1, 1.0, 3.0])
def test_gaussian_is_scipys(sigma: float) -> None:
    mean, x = normal(3, 2, 4), normal(3, 2, 4, seed=1)
    expected = scipy.stats.norm(mean.numpy(), sigma).logpdf(x.numpy()).sum((1, 2))
    np.testing.assert_allclose(gaussian(mean, x, torch.tensor(sigma).double().log()), expected)


@pytest.mark.parametrize("scale", [0.1, 2.0])
def test_laplace_is_scipys(scale: float) -> None:
    median, x = normal(6, 2, 4), normal(3, 2, 4, seed=1)  # two rows a target
    wanted = scipy.stats.laplace(median.numpy(), scale).logpdf(x.repeat_interleave(2, 0).numpy()).sum((1, 2))
    log_scale = torch.tensor(scale).double().log().requires_grad_()
    np.testing.assert_allclose(laplace(median, x, log_scale).detach(), wanted)
    assert torch.autograd.gradcheck(lambda m, s: laplace(m, x, s), (median.requires_grad_(), log_scale))


def test_optimal_sigma_is_where_the_likelihood_is_highest() -> None:
    mean, x = normal(5, 3, 4), normal(5, 3, 4, seed=1)
    best = optimal_log_sigma(mean, x, floor=-60.0).requires_grad_()
    (slope,) = torch.autograd.grad(gaussian(mean, x, best).sum(), best)
    assert abs(slope.item()) < 1e-9
    assert optimal_log_sigma(x, x).item() == pytest.approx(-6.0)


def levels(channels: int = 1) -> Tensor:
    """Every grey level once, as 256 one-pixel pictures."""
    return torch.linspace(-1, 1, 256, dtype=torch.float64).view(256, 1, 1, 1).repeat(1, channels, 1, 1)


@pytest.mark.parametrize("scale", [0.3, 3.0, 10.0])
def test_logistic_mixture_sums_to_one(scale: float) -> None:
    outputs = scale * normal(1, 12, 1, 1)
    total = logistic_mixture(outputs.repeat(256, 1, 1, 1), levels()).exp().sum()
    assert total.item() == pytest.approx(1.0, abs=1e-9)


def test_logistic_mixture_is_a_difference_of_scipys_cdfs() -> None:
    outputs = normal(1, 6, 1, 1)
    log_weights, means, log_scales = (p.flatten().numpy() for p in mixture_parameters(outputs, 1))
    edges = np.linspace(-1, 1, 256)[:-1] + 1 / 255
    cdf = np.stack([scipy.stats.logistic(m, np.exp(s)).cdf(edges) for m, s in zip(means, log_scales, strict=True)])
    mass = np.diff(np.concatenate([np.zeros((2, 1)), cdf, np.ones((2, 1))], 1), axis=1)
    expected = np.log(np.exp(log_weights) @ mass)
    found = logistic_mixture(outputs.repeat(256, 1, 1, 1), levels()).numpy()
    sound = expected > -20  # beyond, the reference is a difference of two numbers near one
    assert sound.sum() > 50
    np.testing.assert_allclose(found[sound], expected[sound], rtol=1e-5)


def test_logistic_mixture_treats_channels_alone() -> None:
    outputs, x = normal(2, 2 * 9, 3, 4).view(2, 3, 3, 2, 3, 4), levels(2)[[3, 200]].expand(2, 2, 3, 4)
    whole = logistic_mixture(outputs.flatten(1, 3), x)
    parts = sum(logistic_mixture(outputs[:, :, :, c].flatten(1, 2), x[:, c : c + 1]) for c in range(2))
    torch.testing.assert_close(whole, parts)


def test_logistic_mixture_mean() -> None:
    outputs = torch.zeros(1, 6, 1, 1).double()
    outputs[0, 2:4, 0, 0] = torch.tensor([0.1, 0.5])
    outputs[0, 4:, 0, 0] = -3.0
    mass = logistic_mixture(outputs.repeat(256, 1, 1, 1), levels()).exp()
    assert mixture_mean(outputs, 1).item() == pytest.approx((mass * levels().flatten()).sum().item(), abs=1e-4)


def test_gaussian_kl_is_torchs() -> None:
    mean, logvar = normal(4, 3), normal(4, 3, seed=1)
    q = torch.distributions.Normal(mean, (0.5 * logvar).exp())
    p = torch.distributions.Normal(torch.zeros_like(mean), 1.0)
    torch.testing.assert_close(gaussian_kl(mean, logvar), torch.distributions.kl_divergence(q, p))
    z = normal(4, 3, seed=2)
    torch.testing.assert_close(gaussian_log_density(z, mean, logvar), q.log_prob(z))


def test_nothing_is_averaged_over_pixels_or_latents() -> None:
    """The same content twice must cost twice as much; with a mean it would cost the same."""

    def twice(t: Tensor) -> Tensor:
        return torch.cat([t, t], 1)

    a, b = normal(3, 2, 4, 5), normal(3, 2, 4, 5, seed=1).tanh()
    log_sigma = torch.zeros(()).double()
    torch.testing.assert_close(squared_error(twice(a), twice(b)), 2 * squared_error(a, b))
    torch.testing.assert_close(gaussian(twice(a), twice(b), log_sigma), 2 * gaussian(a, b, log_sigma))
    torch.testing.assert_close(bernoulli(twice(a), twice(b)), 2 * bernoulli(a, b))
    outputs = normal(3, 18, 4, 5)
    doubled = outputs.unflatten(1, (9, 2)).repeat(1, 1, 2, 1, 1).flatten(1, 2)
    torch.testing.assert_close(logistic_mixture(doubled, twice(b)), 2 * logistic_mixture(outputs, b))
    kl = gaussian_kl(normal(3, 4), normal(3, 4))
    torch.testing.assert_close(free_bits(twice(kl), 0.1), 2 * free_bits(kl, 0.1))


def test_free_bits() -> None:
    kl = torch.tensor([[0.0, 1.0], [0.1, 3.0]], requires_grad=True)
    cost = free_bits(kl, 0.5)
    assert cost.item() == pytest.approx(0.5 + 2.0)
    cost.backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0, 0.5], [0.0, 0.5]]


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_total_correlation_of_a_correlated_gaussian(stratified: bool, correlation: float) -> None:
    """Codes N(0, S - v I) plus noise N(0, v I) are N(0, S), whose total correlation is -log(1 - r^2) / 2."""
    count, noise = 2000, 0.1
    between = torch.tensor([[1.0, correlation], [correlation, 1.0]]).double() - noise * torch.eye(2)
    mean = normal(count, 2) @ torch.linalg.cholesky(between).T
    z = mean + noise**0.5 * normal(count, 2, seed=1)
    logvar = torch.full_like(mean, math.log(noise))
    estimate = total_correlation(z, mean, logvar, population=count, stratified=stratified).mean().item()
    if not stratified:
        estimate -= math.log(count)  # what the weighted estimator adds: log(N M) once a dimension, less the joint's
    assert estimate == pytest.approx(-0.5 * math.log(1 - correlation**2), abs=0.06)


def test_weighted_total_correlation_has_a_gradient_free_of_the_population() -> None:
    z, mean, logvar = normal(6, 3), grads(6, 3, seed=1), normal(6, 3, seed=2)
    one, other = (
        torch.autograd.grad(total_correlation(z, mean, logvar, population=n).sum(), mean)[0] for n in (6, 60000)
    )
    torch.testing.assert_close(one, other)


def test_stratified_weights() -> None:
    weights = stratified_weights(4, 100)
    torch.testing.assert_close(weights.sum(1), torch.ones(4).double())
    torch.testing.assert_close(weights.diagonal(), torch.full((4,), 0.01).double())
    torch.testing.assert_close(stratified_weights(4, 4), torch.full((4, 4), 0.25).double())


def test_mmd_is_zero_for_one_distribution_and_not_for_two() -> None:
    same = torch.stack([mmd(normal(100, 3, seed=2 * s), normal(100, 3, seed=2 * s + 1)) for s in range(40)])
    assert abs(same.mean().item()) < 3 * same.std().item() / math.sqrt(len(same))
    assert mmd(normal(100, 3), normal(100, 3, seed=1) + 1).item() > 10 * same.std().item()
    assert mmd(normal(100, 3), 2 * normal(100, 3, seed=1)).item() > 5 * same.std().item()


def test_mmd_against_plain_loops() -> None:
    x, y = normal(4, 2), normal(3, 2, seed=1)

    def kernel(a: Tensor, b: Tensor) -> float:
        square = ((a - b) ** 2).sum().item()
        return sum(4 * s / (4 * s + square) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    within_x = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    within_y = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    across = np.mean([kernel(a, b) for a in x for b in y])
    assert mmd(x, y).item() == pytest.approx(within_x + within_y - 2 * across)


def test_importance_bound() -> None:
    log_w = normal(5, 7)
    torch.testing.assert_close(importance_bound(log_w), log_w.exp().mean(1).log())
    torch.testing.assert_close(importance_bound(log_w[:, :1]), log_w[:, 0])
    assert (importance_bound(log_w) >= log_w.mean(1)).all()


def test_gradients() -> None:
    x = (normal(2, 2, 2, 3, seed=9) > 0).double()
    pixels = ((x + normal(2, 2, 2, 3).tanh()) / 2).detach()
    scalar = torch.tensor(-0.3).double().requires_grad_()
    assert gradcheck(lambda a: bernoulli(a, x), grads(2, 2, 2, 3))
    assert gradcheck(lambda a, s: gaussian(a, pixels, s), (grads(2, 2, 2, 3), scalar))
    assert gradcheck(lambda a: logistic_mixture(a, pixels), grads(2, 12, 2, 3))
    assert gradcheck(lambda a: logistic_mixture(a, 2 * x - 1), grads(2, 12, 2, 3))
    assert gradcheck(gaussian_kl, (grads(3, 2), grads(3, 2, seed=1)))
    assert gradcheck(gaussian_log_density, (grads(3, 2), grads(3, 2, seed=1), grads(3, 2, seed=2)))
    assert gradcheck(lambda a: free_bits(a, 0.01), normal(3, 2).abs().requires_grad_())
    three = (grads(3, 2), grads(3, 2, seed=1), grads(3, 2, seed=2))
    assert gradcheck(lambda z, m, v: total_correlation(z, m, v, 10), three)
    assert gradcheck(lambda z, m, v: total_correlation(z, m, v, 10, stratified=True), three)
    assert gradcheck(mmd, (grads(3, 2), grads(4, 2, seed=1)))
    assert gradcheck(importance_bound, grads(3, 4))
