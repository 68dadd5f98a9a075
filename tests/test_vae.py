"""The VAE family against closed forms, and against what each of its papers promises."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from reverie.engine.model import Batch, ImageSpec
from reverie.engine.randomness import Draw, DrawEach
from reverie.errors import ReverieError
from reverie.losses.divergence import importance_bound
from reverie.models.vae import CVAE, VAE, VAEConfig, binarise
from reverie.registry import preset

SMALL = VAEConfig(latent=4, width=4)
GREY = ImageSpec(1, 8, 8, ("a", "b", "c"))
FAMILY = ["vae", "beta-vae", "beta-tcvae", "infovae", "iwae"]


def pictures(count: int, image_spec: ImageSpec = GREY) -> Tensor:
    """Smooth random pictures on the 256 levels of [-1, 1]."""
    generator = torch.Generator().manual_seed(count)
    coarse = torch.rand(count, image_spec.channels, 3, 3, generator=generator)
    smooth = nn.functional.interpolate(coarse, (image_spec.height, image_spec.width), mode="bilinear")
    return (smooth * 255).round() / 127.5 - 1


def batch(images: Tensor, step: int = 0, progress: float = 0.9, labels: Tensor | None = None) -> Batch:
    return Batch(images, labels, Draw("test", step, count=len(images)), progress)


def build(config: VAEConfig, image_spec: ImageSpec = GREY, seed: int = 0) -> VAE:
    torch.manual_seed(seed)
    return VAE(config, image_spec)


def train(model: VAE, images: Tensor, steps: int, labels: Tensor | None = None) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for step in range(steps):
        loss, _ = model.loss(batch(images, step, step / steps, labels), {})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def linear_gaussian(sigma: float = 0.5, error: float = 0.0) -> tuple[VAE, Tensor, Tensor]:
    """Probabilistic PCA as a VAE with its exact posterior (plus an ``error``), pictures, and their true log p(x)."""
    config = VAEConfig(latent=2, network="mlp", depth=0, likelihood="gaussian", sigma=sigma, warmup=0.0)
    model = build(config, ImageSpec(1, 3, 4)).double()
    generator = torch.Generator().manual_seed(1)
    basis = torch.linalg.qr(torch.randn(12, 12, dtype=torch.float64, generator=generator))[0][:, :2]
    w = basis * torch.tensor([1.5, 0.7])  # orthogonal columns, so that the posterior is diagonal
    b = 0.3 * torch.randn(12, dtype=torch.float64, generator=generator)
    variance = 1 / (1 + w.square().sum(0) / sigma**2)
    to_mean = variance[:, None] * w.T / sigma**2
    encoder, decoder = model.encoder[1], model.decoder[0]
    with torch.no_grad():
        decoder.weight.copy_(w)
        decoder.bias.copy_(b)
        encoder.weight.zero_()[:2].copy_(to_mean)
        encoder.bias[:2].copy_(error - to_mean @ b)
        encoder.bias[2:].copy_(variance.log() + error)
    x = torch.randn(6, 12, dtype=torch.float64, generator=generator)
    covariance = w @ w.T + sigma**2 * torch.eye(12)
    truth = torch.distributions.MultivariateNormal(b, covariance).log_prob(x)
    return model, x.view(6, 1, 3, 4), truth


def test_exact_posterior_gives_the_exact_log_likelihood() -> None:
    model, x, truth = linear_gaussian()
    weights = model.log_weights(x, 5, Draw("w", count=6))
    torch.testing.assert_close(weights, truth.unsqueeze(1).expand(6, 5), atol=1e-5, rtol=0)  # the noise is float32


def test_importance_bound_tightens_to_the_true_log_likelihood() -> None:
    model, x, truth = linear_gaussian(error=0.4)
    with torch.no_grad():
        weights = model.log_weights(x, 20000, Draw("w", count=6))
    gaps = []
    for k in (1, 5, 50, 20000):
        bounds = importance_bound(weights.reshape(-1, k)).view(6, -1).mean(1)  # each picture's, mean over groups of k
        gaps.append((truth - bounds).mean().item())
    assert gaps[0] > gaps[1] > gaps[2] > abs(gaps[3])
    assert abs(gaps[3]) < 0.02


def test_training_loss_is_the_exact_negative_elbo_of_the_linear_model() -> None:
    """At the exact posterior the ELBO is log p(x); only the sampled reconstruction is noisy."""
    model, x, truth = linear_gaussian()
    with torch.no_grad():
        losses = torch.stack([model.loss(batch(x, step), {})[0] for step in range(2000)])
    error = losses.std().item() / math.sqrt(len(losses))
    assert losses.mean().item() == pytest.approx(-truth.mean().item(), abs=4 * error)


def test_reconstruction_is_summed_over_pixels() -> None:
    """With a silent decoder the Bernoulli reconstruction costs log 2 a pixel."""
    model = build(replace(SMALL, likelihood="bernoulli"))
    for parameter in model.decoder.parameters():
        nn.init.zeros_(parameter)
    _, logs = model.loss(batch(pictures(5)), {})
    assert logs["recon"].item() == pytest.approx(64 * math.log(2), rel=1e-5)


def test_kl_is_summed_over_latents_and_averaged_over_the_batch() -> None:
    model, x = build(SMALL), pictures(5)
    loss, logs = model.loss(batch(x), {})
    code = model.encode(x)
    assert code.logvar is not None
    q = torch.distributions.Normal(code.mean, (0.5 * code.logvar).exp())
    kl = torch.distributions.kl_divergence(q, torch.distributions.Normal(torch.zeros(5, 4), 1.0))
    assert logs["kl"].item() == pytest.approx(kl.sum().item() / 5, rel=1e-5)
    torch.testing.assert_close(logs["kl_dims"], kl.mean(0).detach())
    assert loss.item() == pytest.approx((logs["recon"] + logs["kl"]).item(), rel=1e-5)


def test_the_kl_warms_up() -> None:
    model, x = build(replace(SMALL, warmup=0.4, beta=3.0)), pictures(5)
    for progress, weight in [(0.0, 0.0), (0.2, 1.5), (0.4, 3.0), (0.9, 3.0)]:
        loss, logs = model.loss(batch(x, progress=progress), {})
        assert loss.item() == pytest.approx((logs["recon"] + weight * logs["kl"]).item(), rel=1e-5)


def test_iwae_with_one_sample_is_the_elbo_in_expectation() -> None:
    x = pictures(64)
    elbo, one = build(SMALL), build(replace(SMALL, bound="iwae", samples=1))
    with torch.no_grad():
        difference = torch.stack([elbo.loss(batch(x, s), {})[0] - one.loss(batch(x, s), {})[0] for s in range(300)])
    assert abs(difference.mean().item()) < 4 * difference.std().item() / math.sqrt(300)


def test_iwae_with_more_samples_is_tighter() -> None:
    x = pictures(32)
    losses = []
    for samples in (1, 5, 50):
        model = build(replace(SMALL, bound="iwae", samples=samples, likelihood="gaussian", sigma=0.3))
        with torch.no_grad():
            losses.append(torch.stack([model.loss(batch(x, s), {})[0] for s in range(50)]).mean().item())
    assert losses[0] > losses[1] > losses[2]


def test_tcvae_at_beta_one_is_the_elbo() -> None:
    x = pictures(5)
    elbo, _ = build(SMALL).loss(batch(x), {})
    tc, logs = build(replace(SMALL, bound="tc", beta=1.0)).loss(batch(x), {})
    assert tc.item() == pytest.approx(elbo.item(), rel=1e-6)
    heavy, _ = build(replace(SMALL, bound="tc", beta=6.0)).loss(batch(x), {})
    assert heavy.item() == pytest.approx((elbo + 5 * logs["tc"]).item(), rel=1e-5)


def test_infovae_adds_the_mmd() -> None:
    x = pictures(5)
    elbo, _ = build(SMALL).loss(batch(x), {})
    info, logs = build(replace(SMALL, bound="mmd", mmd=10.0)).loss(batch(x), {})
    assert info.item() == pytest.approx((elbo + 10 * logs["mmd"]).item(), rel=1e-5)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "logistic"])
def test_log_weights_do_not_depend_on_the_chunks(likelihood: str) -> None:
    model, x = build(replace(SMALL, likelihood=likelihood)).eval(), pictures(6)
    with torch.no_grad():
        whole = model.log_weights(x, 7, DrawEach("w", samples=range(6)))
        parts = [model.log_weights(x[a:b], 7, DrawEach("w", samples=range(a, b))) for a, b in [(0, 1), (1, 4), (4, 6)]]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "logistic"])
def test_log_weights_estimate_the_training_bound(likelihood: str) -> None:
    """The two are written apart; they must be the same ELBO."""
    model, x = build(replace(SMALL, likelihood=likelihood, sigma=0.7)).eval(), pictures(4)
    with torch.no_grad():
        losses = torch.stack([-model.loss(batch(x, s), {})[0] for s in range(400)])
        weights = torch.stack([model.log_weights(x, 20, Draw("w", s, count=4)).mean() for s in range(100)])
    error = math.hypot(losses.std().item() / 20, weights.std().item() / 10)
    assert abs(losses.mean().item() - weights.mean().item()) < 4 * error + 1e-3


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (4, 12, 5)])
def test_every_preset_learns(name: str, shape: tuple[int, int, int]) -> None:
    image_spec = ImageSpec(*shape)
    model = build(VAEConfig(**({"latent": 4, "width": 4, "warmup": 0.0} | preset(name))), image_spec)
    losses = train(model, pictures(32, image_spec), 60)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert model.draw_latent(Draw("s", count=3)).shape == (3, 4)


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "logistic"])
@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
def test_every_likelihood_and_network_learns(likelihood: str, network: str) -> None:
    model = build(VAEConfig(latent=4, width=4, likelihood=likelihood, network=network, warmup=0.0))
    losses = train(model, pictures(32), 60)
    assert sum(losses[-5:]) < sum(losses[:5])
    decoded = model.decode(torch.randn(3, 4))
    assert decoded.shape == (3, 1, 8, 8)
    assert decoded.abs().max() <= 1


@pytest.mark.parametrize("network", ["mlp", "conv", "resnet"])
def test_coding_is_deterministic_and_blind_to_the_batch(network: str) -> None:
    model, x = build(replace(SMALL, network=network)).double().eval(), pictures(5).double()
    code = model.encode(x)
    torch.testing.assert_close(model.encode(x).mean, code.mean, rtol=0, atol=0)
    torch.testing.assert_close(model.encode(x[3:4]).mean, code.mean[3:4])
    torch.testing.assert_close(model.decode(code.mean[3:4]), model.decode(code.mean)[3:4])
    torch.testing.assert_close(model.reconstruct(x), model.decode(code.mean))


def test_binarising_keeps_the_mean() -> None:
    images = torch.tensor([-1.0, -0.5, 0.0, 1.0]).view(1, 1, 2, 2).expand(4000, 1, 2, 2)
    binary = binarise(images, Draw("b", count=4000))
    assert set(binary.unique().tolist()) == {-1.0, 1.0}
    torch.testing.assert_close(binary.mean(0).flatten(), torch.tensor([-1.0, -0.5, 0.0, 1.0]), atol=0.06, rtol=0)


def test_sigma_is_remembered_for_evaluation() -> None:
    model, x = build(SMALL), pictures(32)
    logs = [model.loss(batch(x, step), {})[1]["sigma"].log() for step in range(20)]
    torch.testing.assert_close(model.log_sigma, torch.stack(logs).mean())
    assert build(replace(SMALL, sigma=0.2)).log_sigma.exp().item() == pytest.approx(0.2)
    other = build(SMALL, seed=1)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other.log_sigma, model.log_sigma)


def test_logs_are_detached() -> None:
    for name in FAMILY:
        _, logs = build(VAEConfig(**({"latent": 4, "width": 4} | preset(name)))).loss(batch(pictures(5)), {})
        assert {"loss", "recon", "kl", "kl_dims"} <= set(logs)
        assert not any(value.requires_grad for value in logs.values())


def test_advice_on_collapse() -> None:
    model = build(replace(SMALL, latent=20))
    dead: dict[str, Any] = {"kl_dims": [1e-4] * 19 + [0.5]}
    assert "free_bits" in (model.advice(dead, 0.9) or "")
    assert model.advice(dead, 0.05) is None
    assert model.advice({"kl_dims": [0.3] * 20}, 0.9) is None


def test_cvae_uses_its_labels() -> None:
    torch.manual_seed(0)
    model = CVAE(VAEConfig(latent=2, network="mlp", width=8, sigma=0.3, warmup=0.0), GREY)
    x = torch.tensor([-0.8, 0.0, 0.8]).view(3, 1, 1, 1).expand(3, 1, 8, 8).repeat(10, 1, 1, 1)
    labels = torch.arange(3).repeat(10)
    train(model, x, 500, labels)
    model.eval()
    z = model.draw_latent(Draw("s", count=3))
    drawn = model.decode(z, torch.arange(3)).mean((1, 2, 3))
    torch.testing.assert_close(drawn, torch.tensor([-0.8, 0.0, 0.8]), atol=0.1, rtol=0)
    assert model.log_weights(x[:3], 6, Draw("w", count=3), labels[:3]).shape == (3, 6)
    assert model.classes == ("a", "b", "c")
    with pytest.raises(ReverieError, match="label"):
        model.decode(z)
    with pytest.raises(ReverieError, match="labels"):
        CVAE(SMALL, ImageSpec(1, 8, 8))


def test_unknown_choices_are_named() -> None:
    for change in ({"network": "cnov"}, {"likelihood": "bernouli"}, {"bound": "ibwae"}):
        with pytest.raises(ReverieError, match="did you mean"):
            build(replace(SMALL, **change))
