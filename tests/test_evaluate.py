"""Evaluation against closed forms and independent implementations, on toy models."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import correlate1d
from torch import Tensor, nn
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from reverie.capabilities import Bounds, Code, Conditions, Encodes, Reconstructs, Samples
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.evaluation import evaluate, metrics_of
from reverie.evaluation.latent import latent_use
from reverie.evaluation.likelihood import likelihood
from reverie.evaluation.reconstruction import reconstruction
from reverie.inference.embed import Embedding, embed
from reverie.inference.pictures import sample_indices
from reverie.metrics.images import mse, psnr, ssim, window_side
from reverie.metrics.likelihood import bits_per_level, nats_to_bits_per_dim, standard_error
from reverie.networks.mixture import Mixture


class Set:
    """Random pictures; labelled where class names are given."""

    def __init__(self, count: int, shape: tuple[int, int, int], classes: Sequence[str] = (), seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.pixels = random.integers(0, 256, (count, *shape), np.uint8)
        self.labels = random.integers(0, len(classes), count) if classes else None
        self.names = [f"{i}.png" for i in range(count)]
        self.image_spec = ImageSpec(*shape, tuple(classes))

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


class Linear(nn.Module, Bounds):
    """p(z) = N(0, I), p(x|z) = N(W z + b, s^2 I), whose log p(x) is known.

    q(z|x) has the exact posterior's mean moved by ``shift`` and its covariance, made diagonal by the choice of W, times
    ``stretch``.
    """

    SIGMA = 0.4

    def __init__(self, shape: tuple[int, int, int], latent: int, shift: float = 0.0, stretch: float = 1.0) -> None:
        super().__init__()
        random = np.random.default_rng(5)
        self.shape, self.latent, self.shift, self.stretch = shape, latent, shift, stretch
        basis = np.linalg.qr(random.standard_normal((math.prod(shape), latent)))[0]
        self.register_buffer("w", torch.from_numpy(basis * np.linspace(0.5, 2.0, latent)).float())
        self.register_buffer("b", torch.from_numpy(0.1 * random.standard_normal(math.prod(shape))).float())
        self.mixture = Mixture(latent)
        self.asked: list[int] = []  # decoder evaluations in each call of log_weights

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        precision = 1 + self.w.square().sum(0) / self.SIGMA**2
        mean = (images.flatten(1) - self.b) @ self.w / self.SIGMA**2 / precision
        logvar = (self.stretch / precision).log().expand_as(mean)
        return Code(mean + self.shift * (0.5 * logvar).exp(), logvar)

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(self.latent)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z @ self.w.T + self.b).unflatten(-1, self.shape)

    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        self.asked.append(len(images) * samples)
        code = self.encode(images)
        assert code.logvar is not None
        noise = draw.normal(samples, self.latent)
        z = code.mean[:, None] + (0.5 * code.logvar).exp()[:, None] * noise
        ratio = 0.5 * (noise.square() + code.logvar[:, None] - z.square()).sum(2)
        error = (images[:, None] - self.decode(z)).flatten(2).square().sum(2) / self.SIGMA**2
        return ratio - 0.5 * (error + math.prod(self.shape) * math.log(2 * math.pi * self.SIGMA**2))

    def log_p(self, images: Tensor) -> Tensor:
        """log N(x; b, W W^T + s^2 I), float64."""
        w = self.w.double()
        covariance = w @ w.T + self.SIGMA**2 * torch.eye(len(w), dtype=torch.float64)
        exact = torch.distributions.MultivariateNormal(self.b.double(), covariance, validate_args=False)
        return exact.log_prob(images.double().flatten(1))


class Coin(nn.Module, Bounds):
    """A Bernoulli likelihood that does not look at z: log p(x) of a binarised picture is exact with any one sample.

    It binarises each picture with its first call of ``draw`` and then takes noise, as models here do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mixture = Mixture(1)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.new_zeros(len(images), 1), images.new_zeros(len(images), 1))

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.new_zeros(len(z), 1, 4, 4)

    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        ones = (draw.uniform(*images.shape[1:]) < (images + 1) / 2).flatten(1).sum(1)
        noise = draw.normal(samples, 1)[..., 0]
        return (ones * math.log(0.8) + (16 - ones) * math.log(0.2))[:, None] + 0 * noise


class Half(nn.Module, Reconstructs, Conditions):
    """Gives back half of each picture's brightness, and asks for labels."""

    def __init__(self, classes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.classes = classes
        self.seen: list[int] = []
        self.mixture = Mixture(3)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        self.seen += [] if labels is None else labels.tolist()
        return Code(images.flatten(1))

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(3)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (z / 2).view(-1, 1, 6, 9)


class Noise(nn.Module, Samples):
    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(2)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 1, 2).tanh()


class Blank(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.new_zeros(len(images), 2))


# Reconstruction


def noisy(shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(shape, generator=generator) * 2 - 1
    return (target + 0.3 * torch.randn(shape, generator=generator)).clamp(-1, 1), target


@pytest.mark.parametrize("shape", [(3, 3, 32, 40), (2, 1, 28, 28), (2, 5, 11, 64), (2, 2, 6, 7)])
def test_ssim_and_psnr_agree_with_torchmetrics(shape: tuple[int, ...]) -> None:
    output, target = noisy(shape)
    unit = [(t + 1) / 2 for t in (output, target)]
    torch.testing.assert_close(
        ssim(output, target),
        structural_similarity_index_measure(*unit, data_range=1.0, reduction="none"),
        atol=2e-6,
        rtol=0,
    )
    torch.testing.assert_close(
        psnr(output, target),
        peak_signal_noise_ratio(*unit, data_range=1.0, dim=(1, 2, 3), reduction="none"),
        atol=1e-4,
        rtol=0,
    )


@pytest.mark.parametrize("size", [(28, 28), (12, 31), (4, 9), (1, 1)])
def test_figures_agree_with_float64(size: tuple[int, int]) -> None:
    output, target = noisy((2, 3, *size), seed=1)
    x, y = ((t.double().numpy() + 1) / 2 for t in (output, target))
    side = window_side(*size)
    assert side == {28: 11, 12: 11, 4: 7, 1: 1}[size[0]]
    kernel = np.exp(-0.5 * ((np.arange(side) - side // 2) / 1.5) ** 2)
    kernel /= kernel.sum()

    def local(a: NDArray[np.float64]) -> NDArray[np.float64]:
        return correlate1d(correlate1d(a, kernel, 2, mode="mirror"), kernel, 3, mode="mirror")

    mx, my = local(x), local(y)
    vx, vy, cov = local(x * x) - mx**2, local(y * y) - my**2, local(x * y) - mx * my
    c1, c2 = 1e-4, 9e-4
    exact = (2 * mx * my + c1) * (2 * cov + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    np.testing.assert_allclose(ssim(output, target), exact.mean((1, 2, 3)), atol=5e-6)
    error = ((x - y) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(mse(output, target), error, rtol=1e-5)
    np.testing.assert_allclose(psnr(output, target), -10 * np.log10(error), atol=1e-4)


def test_figures_of_equal_and_overshooting_pictures() -> None:
    _, picture = noisy((2, 3, 16, 16))
    assert psnr(picture, picture).tolist() == [100.0, 100.0]
    assert ssim(picture, picture).tolist() == pytest.approx([1.0, 1.0], abs=1e-6)
    white = torch.ones(1, 1, 8, 8)
    assert mse(1.7 * white, white).item() == 0.0
    assert mse(-white, white).item() == 1.0  # black for white: the whole range, squared


def test_reconstruction_is_per_picture_and_independent_of_batching() -> None:
    data = Set(7, (1, 6, 9))
    whole, split = reconstruction(Half(), data), reconstruction(Half(), data, batch=3)
    x = data.pixels.astype(np.float64) / 127.5 - 1
    np.testing.assert_allclose(whole.mse, ((x / 4) ** 2).mean((1, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(whole.ssim, split.ssim, atol=1e-6)
    some = reconstruction(Half(), data, np.array([5, 2]))
    np.testing.assert_allclose(some.psnr, whole.psnr[[5, 2]], rtol=1e-6)


def test_labels_reach_the_model_by_class_name() -> None:
    data = Set(9, (1, 6, 9), ("cat", "dog"))
    model = Half(("ant", "dog", "cat"))
    reconstruction(model, data, batch=4)
    assert data.labels is not None
    assert model.seen == [{0: 2, 1: 1}[i] for i in data.labels.tolist()]
    with pytest.raises(ReverieError, match="no class 'cat'"):
        reconstruction(Half(("dog", "bird")), data)
    with pytest.raises(ReverieError, match="needs class labels"):
        reconstruction(model, Set(9, (1, 6, 9)))


# Likelihood


def test_exact_posterior_gives_log_p_with_one_sample() -> None:
    data, model = Set(6, (1, 3, 5)), Linear((1, 3, 5), 4)
    found = likelihood(model, data, samples=1)
    exact = model.log_p(torch.from_numpy(data.pixels) / 127.5 - 1).numpy()
    np.testing.assert_allclose(found.bound, exact, atol=1e-3)
    np.testing.assert_allclose(found.elbo, exact, atol=1e-3)


def test_imperfect_posterior_approaches_log_p_and_its_elbo_is_short_by_the_kl() -> None:
    data, model = Set(12, (1, 3, 5)), Linear((1, 3, 5), 4, shift=0.5, stretch=1.5)
    found = likelihood(model, data, samples=20_000, chunk=4096)
    exact = model.log_p(torch.from_numpy(data.pixels) / 127.5 - 1).numpy()
    np.testing.assert_allclose(found.bound, exact, atol=0.1)
    assert abs(found.bound.mean() - exact.mean()) < 0.02
    # KL(q || posterior), per dimension with variance ratio r and a shift of d standard deviations of q
    kl = 4 * 0.5 * (1.5 * (1 + 0.5**2) - 1 - math.log(1.5))
    np.testing.assert_allclose(found.elbo, exact - kl, atol=0.1)
    assert abs(found.elbo.mean() - (exact.mean() - kl)) < 0.02


def test_more_samples_tighten_the_bound() -> None:
    data, model = Set(20, (1, 3, 5)), Linear((1, 3, 5), 4, shift=0.5, stretch=1.5)
    bounds = [likelihood(model, data, samples=s).bound.mean() for s in (1, 10, 200)]
    assert bounds[0] < bounds[1] < bounds[2] < model.log_p(torch.from_numpy(data.pixels) / 127.5 - 1).mean() + 0.05


@pytest.mark.parametrize("chunk", [1, 7, 24, 60, 1000])
def test_figures_do_not_depend_on_chunks_and_memory_is_bounded(chunk: int) -> None:
    data, model = Set(5, (1, 3, 5)), Linear((1, 3, 5), 4, shift=0.5)
    whole = likelihood(model, data, samples=24, chunk=10_000)
    model.asked.clear()
    found = likelihood(model, data, samples=24, chunk=chunk)
    assert max(model.asked) <= chunk
    assert sum(model.asked) == 5 * 24
    np.testing.assert_allclose(found.bound, whole.bound, atol=1e-3)
    np.testing.assert_allclose(found.elbo, whole.elbo, atol=1e-3)


def test_draws_belong_to_the_picture() -> None:
    data, model = Set(9, (1, 3, 5)), Linear((1, 3, 5), 4, shift=0.5)
    whole = likelihood(model, data, samples=3)
    some = likelihood(model, data, samples=3, indices=np.array([7, 1]))
    np.testing.assert_allclose(some.bound, whole.bound[[7, 1]], atol=1e-3)
    other = likelihood(model, data, samples=3, seed=1)
    assert np.abs(other.bound - whole.bound).max() > 1e-2


@pytest.mark.parametrize("chunk", [3, 12, 100])
def test_a_picture_is_binarised_once_however_many_calls_it_takes(chunk: int) -> None:
    found = likelihood(Coin(), Set(8, (1, 4, 4)), samples=12, chunk=chunk)
    np.testing.assert_allclose(found.bound, found.elbo, atol=1e-4)  # all weights of a picture are equal
    again = likelihood(Coin(), Set(8, (1, 4, 4)), samples=12, chunk=5)
    np.testing.assert_allclose(found.bound, again.bound, atol=1e-4)


def test_bits_per_dim() -> None:
    assert nats_to_bits_per_dim(-10 * math.log(2), 5) == pytest.approx(2.0)
    # a uniform density over [-1, 1] is log2(255) bits a pixel over 255 steps
    assert nats_to_bits_per_dim(-4 * math.log(2), 4) + bits_per_level(8) == pytest.approx(math.log2(255))


def test_standard_error() -> None:
    assert standard_error(np.array([1.0, 2.0, 4.0, 5.0])) == pytest.approx(math.sqrt(10 / 3) / 2)
    assert standard_error(np.array([3.0])) is None


# Latent


def test_active_units_and_kl() -> None:
    random = np.random.default_rng(0)
    codes = (random.standard_normal((5000, 4)) * [1.0, 0.2, 0.09, 0.0] + [0, 0, 7, 1]).astype(np.float32)
    use = latent_use(Embedding(codes, np.full((5000, 4), -1.0, np.float32), ["x"] * 5000, None))
    assert use.active == 2  # 0.09^2 < 0.01, and a mean far from zero is not activity
    assert use.kl is not None
    normal = torch.distributions.Normal
    wide = torch.full((5000, 4), -0.5).exp().double()
    exact = torch.distributions.kl_divergence(normal(torch.from_numpy(codes).double(), wide), normal(0.0, 1.0))
    np.testing.assert_allclose(use.kl, exact.mean(0), rtol=1e-5)
    assert latent_use(Embedding(codes, None, ["x"] * 5000, None)).kl is None


# All of it


def test_evaluate_runs_what_the_model_permits() -> None:
    data = Set(10, (1, 3, 5))
    figures = evaluate(Linear((1, 3, 5), 4), data, samples=5, generated=20)
    assert set(figures) == {"reconstruction", "likelihood", "latent", "quality", "protocol"}
    assert json.loads(json.dumps(figures, allow_nan=False)) == figures
    assert figures["protocol"] == {"pictures": 10, "of": 10, "samples": 5, "seed": 0}
    found = likelihood(Linear((1, 3, 5), 4), data, samples=5)
    assert figures["likelihood"]["iw_bound"] == pytest.approx(found.bound.mean())
    assert figures["likelihood"]["nll"] == -figures["likelihood"]["iw_bound"]
    assert figures["latent"]["kl"] == pytest.approx(sum(figures["latent"]["kl_per_dimension"]))
    assert metrics_of(Half()) == ["reconstruction", "latent", "quality"]
    assert metrics_of(Blank()) == ["latent"]
    assert evaluate(Blank(), data)["latent"]["active_units"] == 0


def test_evaluate_with_a_limit_draws_from_the_whole_set() -> None:
    data = Set(10, (1, 6, 9))
    found = evaluate(Half(), data, ["reconstruction"], limit=3)
    assert found["protocol"]["pictures"] == 3
    drawn = sample_indices(data, 3)
    assert found["reconstruction"]["mse"] == pytest.approx(reconstruction(Half(), data).mse[drawn].mean())
    assert len({*drawn}) == 3
    assert drawn.tolist() == sorted(drawn)
    # Whichever way the classes lie, in turns or in runs, each gets its share.
    many = sample_indices(Set(1000, (1, 2, 2)), 500, seed=1)
    for label in (many % 10, many // 100):
        assert 25 < np.bincount(label, minlength=10).min() <= np.bincount(label).max() < 75
    assert evaluate(Half(), data, ["latent"], limit=50)["protocol"]["pictures"] == 10
    assert "quality" not in evaluate(Half(), data, limit=5)


def test_evaluate_says_what_is_missing() -> None:
    data = Set(3, (1, 6, 9))
    with pytest.raises(ReverieError, match="no metric 'likelyhood'; did you mean 'likelihood'"):
        evaluate(Half(), data, ["likelyhood"])
    with pytest.raises(ReverieError, match="'likelihood' needs a bound on log p"):
        evaluate(Half(), data, ["likelihood"])
    with pytest.raises(ReverieError, match="No metric applies to Noise"):
        evaluate(Noise(), data)  # but three pictures are too few to compare
    with pytest.raises(ReverieError, match="at least 6 of each kind"):
        evaluate(Noise(), data, ["quality"])
    with pytest.raises(ReverieError, match="no pictures"):
        evaluate(Half(), Set(0, (1, 6, 9)))
    with pytest.raises(ReverieError, match="samples must be at least 1"):
        evaluate(Linear((1, 6, 9), 2), data, samples=0)


def test_embedding_keeps_the_order_it_is_asked_for() -> None:
    data = Set(5, (1, 6, 9), ("a", "b"))
    found = embed(Half(), data, batch=2, indices=np.array([4, 0, 3]))
    assert found.names == ["4.png", "0.png", "3.png"]
    assert data.labels is not None
    assert found.labels is not None
    assert found.labels.tolist() == data.labels[[4, 0, 3]].tolist()
    np.testing.assert_allclose(found.codes, data.pixels[[4, 0, 3]].reshape(3, -1) / 127.5 - 1, atol=1e-6)
