"""Bayes' rule with trained models - classify, condition - and encoders put to use, on toys whose answers are known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from cases import tiny
from commands import visible
from pictures import Held
from reverie.capabilities import Bounds, Code, Conditions, Encodes, Samples
from reverie.data.image_io import to_tensor
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.evaluation.likelihood import SampleDraw
from reverie.inference.pictures import Read
from reverie.networks.mixture import Mixture
from reverie.tasks import classify as classifying
from reverie.tasks.classify import Classified, calibrate, classify, log_joint
from reverie.tasks.condition import condition
from reverie.tasks.transfer import CONFIG, WEIGHTS, curve, load_classifier, stratified, transfer


class Set(Held):
    """Pictures of 1 x 1 x 2 pixels, or others, given as (N, C, H, W) in [-1, 1]."""

    def __init__(self, images: NDArray[np.float64], labels: NDArray[np.int64] | None = None, *classes: str) -> None:
        super().__init__(np.clip((images + 1) * 127.5, 0, 255).round().astype(np.uint8), labels, classes)


# Classify


class Three(nn.Module, Bounds, Conditions):
    """z ~ N(0, 1) and x = m_y + w z + s noise, so that p(x|y) = N(m_y, w w' + s^2 I).

    q(z|x, y) is the exact posterior with its variance times ``stretch``; at 1 every single weight is exact.
    """

    classes: tuple[str, ...] = ("ant", "bee", "cow")
    MEANS = torch.tensor([[-0.4, 0.0], [0.4, 0.0], [0.0, 0.5]])
    W, SIGMA = torch.tensor([0.2, 0.1]), 0.15

    def __init__(self, stretch: float = 1.0) -> None:
        super().__init__()
        self.stretch = stretch
        self.mixture = Mixture(1)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        precision = 1 + self.W.square().sum() / self.SIGMA**2
        mean = (images.flatten(1) - self.MEANS[self.known(labels)]) @ self.W / self.SIGMA**2 / precision
        return Code(mean[:, None], (self.stretch / precision).log().expand(len(images), 1))

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return (self.MEANS[self.known(labels)] + z * self.W).view(-1, 1, 1, 2)

    def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
        code = self.encode(images, labels)
        assert code.logvar is not None
        noise = draw.normal(samples, 1).squeeze(2)
        z = code.mean + (0.5 * code.logvar).exp() * noise
        ratio = 0.5 * (noise.square() + code.logvar - z.square())
        error = images.flatten(1)[:, None] - self.MEANS[self.known(labels)][:, None] - z[:, :, None] * self.W
        normal = -0.5 * (error / self.SIGMA).square().sum(2) - 2 * math.log(self.SIGMA) - math.log(2 * math.pi)
        return ratio + normal


def exact(images: Tensor, prior: Sequence[float]) -> NDArray[np.float64]:
    """log p(x|y) + log p(y), from the density of a Gaussian."""
    covariance = torch.outer(Three.W, Three.W) + Three.SIGMA**2 * torch.eye(2)
    columns = [
        torch.distributions.MultivariateNormal(mean.double(), covariance.double()).log_prob(images.flatten(1).double())
        for mean in Three.MEANS
    ]
    return (torch.stack(columns, 1) + torch.tensor(prior).double().log()).numpy()


def three(count: int, seed: int = 0) -> tuple[Set, NDArray[np.int64]]:
    """Pictures from the model itself, without labels, and the classes they were made from."""
    random = np.random.default_rng(seed)
    numbers = random.integers(0, 3, count)
    z, noise = random.standard_normal((count, 1)), random.standard_normal((count, 2))
    images = Three.MEANS.numpy()[numbers] + z * Three.W.numpy() + Three.SIGMA * noise
    return Set(images.reshape(-1, 1, 1, 2)), numbers


def images_of(pictures: Set) -> Tensor:
    return to_tensor(pictures.pixels)


def test_the_posterior_is_the_exact_one() -> None:
    pictures, numbers = three(300)
    prior = [0.5, 0.3, 0.2]
    wanted = exact(images_of(pictures), prior)
    found = classify(Three(), pictures, samples=1, prior=prior)
    np.testing.assert_allclose(found.log_joint, wanted, atol=1e-4)
    evidence = np.log(np.exp(wanted).sum(1))
    np.testing.assert_allclose(found.log_evidence, evidence, atol=1e-4)
    np.testing.assert_allclose(found.posterior, np.exp(wanted - evidence[:, None]), atol=1e-4)
    np.testing.assert_array_equal(found.predicted, wanted.argmax(1))
    assert (found.predicted == numbers).mean() > 0.9
    assert found.classes == ("ant", "bee", "cow")
    assert not found.rejected.any()
    uniform = classify(Three(), pictures, samples=1)
    np.testing.assert_allclose(uniform.log_joint, exact(images_of(pictures), [1 / 3] * 3), atol=1e-4)


def test_more_samples_come_nearer_to_the_exact_answer_from_below() -> None:
    images = images_of(three(300)[0])
    wanted = exact(images, [1 / 3] * 3)
    few, many = (
        np.mean([log_joint(Three(3.0), images, count, seed).numpy() - wanted for seed in range(50)], 0)
        for count in (2, 200)
    )
    assert few.mean() < -0.05  # not below the answer each time, but in the mean over seeds
    assert abs(many.mean()) < 0.02


def test_classes_see_the_same_random_numbers() -> None:
    images = images_of(three(40)[0])
    model = Three(stretch=3.0)
    found = torch.stack([log_joint(model, images, samples=5, seed=seed) for seed in range(200)])
    alone, difference = found[:, :, 0].std(0), (found[:, :, 0] - found[:, :, 1]).std(0)
    assert alone.mean() > 0.05
    assert difference.mean() < 0.1 * alone.mean()  # 2^0.5 times as much, were they independent

    class Noise(Three):
        def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
            return draw.normal(samples) + 0 * draw.uniform(samples)

    noise = log_joint(Noise(), images, samples=5)
    assert torch.equal(noise, noise[:1, :1].expand_as(noise))
    assert not torch.equal(noise, log_joint(Noise(), images, samples=5, seed=1))


def test_a_picture_depends_on_nothing_else_in_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures, _ = three(30)
    images, model = images_of(pictures), Three(stretch=2.0)
    whole = log_joint(model, images, samples=20)
    torch.testing.assert_close(log_joint(model, images.flip(0), samples=20).flip(0), whole, atol=1e-5, rtol=0)
    torch.testing.assert_close(log_joint(model, images[17:18], samples=20), whole[17:18], atol=1e-5, rtol=0)
    monkeypatch.setattr(classifying, "CHUNK", 7)  # fewer decoder evaluations than one picture takes
    torch.testing.assert_close(log_joint(model, images, samples=20), whole, atol=1e-5, rtol=0)
    np.testing.assert_allclose(classify(model, pictures, samples=20).log_joint, whole.numpy(), atol=1e-5)
    assert log_joint(model, images[:0]).shape == (0, 3)
    assert classify(model, three(0)[0]).posterior.shape == (0, 3)


def test_the_promised_share_of_normal_pictures_is_refused() -> None:
    new = classify(Three(), three(2000, seed=1)[0], samples=1)
    shares = []
    for seed in range(100):
        rejection = calibrate(Three(), three(39, seed=seed + 2)[0], 0.1, samples=1)
        shares.append(replace(new, threshold=rejection.threshold).rejected.mean())
    assert np.mean(shares) == pytest.approx(4 / 40, abs=0.015)


def test_the_threshold_is_the_conformal_quantile() -> None:
    pictures, _ = three(19)
    rejection = calibrate(Three(), pictures, 0.05, samples=1)
    evidence = np.sort(classify(Three(), pictures, samples=1).log_evidence)
    assert rejection.threshold == evidence[0]
    assert calibrate(Three(), pictures, 0.26, samples=1).threshold == evidence[4]
    many, _ = three(99)
    evidence = np.sort(classify(Three(), many, samples=1).log_evidence)
    assert calibrate(Three(), many, 0.29, samples=1).threshold == evidence[28]  # as floats 100 x 0.29 < 29
    assert (rejection.rate, rejection.pictures, rejection.samples) == (0.05, 19, 1)
    assert classify(Three(), pictures, samples=1, reject=rejection).rejected.sum() == 0  # at it is not below it
    with pytest.raises(
        ReverieError, match=r"rate of 0.05 needs at least 19 normal pictures to calibrate on, and .* 18"
    ):
        calibrate(Three(), three(18)[0], 0.05)


def test_pictures_of_something_else_are_of_none_of_the_classes() -> None:
    rejection = calibrate(Three(), three(400)[0], 0.05, samples=1)
    random = np.random.default_rng(0)
    strange = Set(np.array([0.0, -0.8]) + 0.1 * random.standard_normal((100, 1, 1, 2)))
    found = classify(Three(), strange, samples=1, reject=rejection)
    assert found.rejected.all()
    np.testing.assert_allclose(found.posterior.sum(1), 1)
    assert not classify(Three(), strange, samples=1).rejected.any()


def test_what_cannot_be_has_no_probability() -> None:
    pictures, _ = three(50)
    found = classify(Three(), pictures, samples=1, prior=[2, 0, 1])
    assert not found.posterior[:, 1].any()
    np.testing.assert_allclose(found.posterior.sum(1), 1)
    np.testing.assert_allclose(np.exp(found.log_prior), [2 / 3, 0, 1 / 3])

    class Diverged(Three):
        def log_weights(self, images: Tensor, samples: int, draw: Draw, labels: Tensor | None = None) -> Tensor:
            return torch.full((len(images), samples), math.nan)

    lost = classify(Diverged(), pictures, samples=2, prior=[2, 0, 1])
    np.testing.assert_allclose(lost.posterior, np.tile([2 / 3, 0, 1 / 3], (50, 1)))
    assert replace(lost, threshold=-1e9).rejected.all()
    with pytest.raises(ReverieError, match="model has diverged"):
        calibrate(Diverged(), pictures)


def test_classify_says_what_is_wrong() -> None:
    pictures, _ = three(30)
    for name in ("vae", "cgan"):
        kind = {"vae": "VAE", "cgan": "CGAN"}[name]
        with pytest.raises(ReverieError, match=rf"^{kind} cannot classify by Bayes' rule: .* which cvae has\.$"):
            classify(tiny(name), pictures)
    with pytest.raises(ReverieError, match="samples must be at least 1, not 0"):
        log_joint(Three(), images_of(pictures), samples=0)
    with pytest.raises(ReverieError, match="number for each of the 3 classes, not 2"):
        classify(Three(), pictures, prior=[0.5, 0.5])
    for prior in ([1, -1, 1], [0, 0, 0], [math.nan, 1, 1]):
        with pytest.raises(ReverieError, match="numbers of at least 0, one of them above 0"):
            classify(Three(), pictures, prior=prior)
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(ReverieError, match=r"false refusals must be (more|less) than [01], not"):
            calibrate(Three(), pictures, rate)
    rejection = calibrate(Three(), pictures, 0.1, samples=3)
    for options in ({"samples": 4}, {"samples": 3, "seed": 1}):
        with pytest.raises(ReverieError, match="calibrated with 3 samples and seed 0; classify with the same"):
            classify(Three(), pictures, reject=rejection, **options)
    with pytest.raises(ReverieError, match="another prior"):
        classify(Three(), pictures, samples=3, prior=[1, 2, 3], reject=rejection)


def test_a_registered_model_classifies() -> None:
    model = tiny("cvae").eval()
    random = np.random.default_rng(0)
    pictures = Set(random.uniform(-1, 1, (5, 1, 8, 8)))
    found = classify(model, pictures, samples=3)
    assert isinstance(found, Classified)
    assert found.posterior.shape == (5, 3)
    assert np.isfinite(found.log_joint).all()
    labels = torch.full((5,), 2)
    draw = SampleDraw(0, Read(np.zeros(5, np.int64), images_of(pictures), labels))
    bound = model.log_weights(images_of(pictures), 3, draw, labels).double().logsumexp(1) - math.log(3)
    np.testing.assert_allclose(found.log_joint[:, 2], bound.detach().numpy() - math.log(3), atol=1e-4)


# Condition


class Plane(nn.Module, Samples):
    """The picture is the latent: two standard normal numbers, whether they fit in [-1, 1] or not."""

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(2)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 1, 2)


class Islands(Plane):
    """The first number from a mixture around -2 and 2, drawn as autoencoders draw; the second uniform."""

    def __init__(self) -> None:
        super().__init__()
        self.mixture = Mixture(1)
        self.mixture.load(torch.tensor([0.7, 0.3]), torch.tensor([[-2.0], [2.0]]), torch.full((2, 1, 1), 0.5))

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return torch.cat([self.mixture.sample(draw.uniform(), draw.normal(1)), draw.uniform(1)], 1)


class Slope:
    """p(1|x) = sigmoid(steep x_0 + shift)."""

    def __init__(self, steep: float, shift: float) -> None:
        self.steep, self.shift = steep, shift

    def __call__(self, images: Tensor) -> Tensor:
        logit = self.steep * images[:, 0, 0, 0] + self.shift
        return torch.stack([torch.zeros_like(logit), logit], 1)

    def moments(self, density: Any, strength: float = 1.0) -> tuple[float, float, float]:
        """The mean of p(1|x)^strength, and mean and variance of x_0 so weighted, by a fine sum over the line."""
        x = np.linspace(-8, 8, 20001)
        weight = density(x) / (1 + np.exp(-self.steep * x - self.shift)) ** strength
        total = weight.sum()
        mean = (weight * x).sum() / total
        return total * (x[1] - x[0]), mean, (weight * (x - mean) ** 2).sum() / total


def normal(x: NDArray[np.float64], mean: float = 0.0, sigma: float = 1.0) -> NDArray[np.float64]:
    return np.exp(-0.5 * ((x - mean) / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


@pytest.mark.parametrize("slope", [Slope(2.0, -2.0), Slope(60.0, -60.0)], ids=["soft", "nearly a truncation at 1"])
@pytest.mark.parametrize(("how", "draws", "steps"), [("resample", 40_000, 1), ("langevin", 40, 80)])
def test_pictures_of_a_class_come_from_the_exact_posterior(slope: Slope, how: Any, draws: int, steps: int) -> None:
    share, mean, variance = slope.moments(normal)
    found = condition(Plane(), slope, 1, 4000, how=how, draws=draws, steps=steps)
    first, second = found.pictures.view(-1, 2).double().T
    assert first.mean().item() == pytest.approx(mean, abs=0.06)
    assert first.var().item() == pytest.approx(variance, rel=0.12)
    assert second.mean().item() == pytest.approx(0, abs=0.06)
    assert second.var().item() == pytest.approx(1, abs=0.08)
    assert torch.corrcoef(torch.stack([first, second]))[0, 1].item() == pytest.approx(0, abs=0.06)
    torch.testing.assert_close(found.probability, slope(found.pictures).softmax(1)[:, 1])
    if how == "resample":
        assert found.share == pytest.approx(share, rel=0.05)
        assert found.acceptance is None
    else:
        assert found.acceptance == pytest.approx(0.574, abs=0.15)
        assert len(found.pictures.unique(dim=0)) > 3900  # 40 draws made as many different pictures
    if slope.steep > 10:
        assert (found.probability > 0.5).float().mean() > 0.97


@pytest.mark.parametrize(("how", "draws", "steps"), [("resample", 40_000, 1), ("langevin", 400, 80)])
def test_strength_is_the_power_of_the_classifier(how: Any, draws: int, steps: int) -> None:
    slope = Slope(2.0, -2.0)
    share, plain, _ = slope.moments(normal)
    _, mean, variance = slope.moments(normal, 3.0)
    found = condition(Plane(), slope, 1, 4000, how=how, draws=draws, steps=steps, strength=3.0)
    first = found.pictures[:, 0, 0, 0].double()
    assert mean > plain + 0.4
    assert first.mean().item() == pytest.approx(mean, abs=0.06)
    assert first.var().item() == pytest.approx(variance, rel=0.12)
    assert found.share == pytest.approx(share, rel=0.05 if how == "resample" else 0.3)  # of p(1|x), whatever the power


def test_the_effective_size_is_that_of_the_weights() -> None:
    every = condition(Plane(), lambda images: torch.zeros(len(images), 2), 1, 50, draws=1000)
    assert every.effective == pytest.approx(1000)
    assert every.share == pytest.approx(0.5)

    def halved(images: Tensor) -> Tensor:  # weight 1 on one half of the plane and 1/2 on the other
        return torch.stack([torch.zeros(len(images)), 1e3 * (images[:, 0, 0, 0] > 0)], 1)

    found = condition(Plane(), halved, 1, 50, draws=1000)
    assert found.effective == pytest.approx(1000 * 0.75**2 / 0.625, rel=0.02)
    assert found.share == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize("how", ["resample", "langevin"])
def test_a_prior_that_is_not_normal_is_kept(how: Any) -> None:
    slope = Slope(1.0, 0.5)
    share, mean, variance = slope.moments(lambda x: 0.7 * normal(x, -2, 0.5) + 0.3 * normal(x, 2, 0.5))
    found = condition(Islands(), slope, 1, 4000, how=how, draws=20_000, steps=30)
    first, second = found.pictures.view(-1, 2).double().T
    assert found.share == pytest.approx(share, rel=0.05)
    assert first.mean().item() == pytest.approx(mean, abs=0.1)
    assert first.var().item() == pytest.approx(variance, rel=0.05)
    left = first[first < 0]  # the island that the classifier leaves least of, and pulls at
    pulled = slope.moments(lambda x: normal(x, -2, 0.5) * (x < 0))
    assert left.mean().item() == pytest.approx(pulled[1], abs=0.05)
    assert second.min().item() >= 0
    assert second.mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("how", ["resample", "langevin"])
def test_conditioning_is_a_function_of_the_seed(how: Any) -> None:
    def drawn(**options: Any) -> Tensor:
        return condition(Islands(), Slope(1.0, 0.0), 0, 20, how=how, draws=50, steps=6, **options).pictures

    torch.testing.assert_close(drawn(batch=7), drawn())
    assert torch.equal(drawn(), drawn())
    assert not torch.equal(drawn(seed=1), drawn())


def test_the_model_and_the_classifier_keep_no_gradient() -> None:
    model, network = tiny("gan"), nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found = condition(model, network, 2, 5, how="langevin", draws=20, steps=4)
    assert found.pictures.shape == (5, 1, 8, 8)
    assert not found.pictures.requires_grad
    assert all(weight.grad is None for part in (model, network) for weight in part.parameters())


def test_condition_says_what_is_wrong() -> None:
    class Uniform(Plane):
        def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
            return draw.uniform(2)

    slope = Slope(1.0, 0.0)
    assert condition(Uniform(), slope, 1, 3, draws=10).pictures.min() >= 0
    with pytest.raises(ReverieError, match=r"Uniform makes its latents of no normal numbers.*take 'resample'"):
        condition(Uniform(), slope, 1, 3, how="langevin", draws=10)
    with pytest.raises(ReverieError, match="gives no gradient, which 'langevin' needs"):
        condition(Plane(), lambda images: slope(images).detach(), 1, 3, how="langevin", draws=10)
    with pytest.raises(ReverieError, match="CGAN takes class labels itself; sample with labels"):
        condition(tiny("cgan"), slope, 1, 3)
    with pytest.raises(ReverieError, match="Eye cannot draw"):
        condition(Eye(), slope, 1, 3)
    with pytest.raises(ReverieError, match="There is no class 2: the classifier's are 0 to 1"):
        condition(Plane(), slope, 2, 3)
    with pytest.raises(ReverieError, match="no class -1"):
        condition(Plane(), slope, -1, 3)
    with pytest.raises(ReverieError, match="for 10 pictures this one gives 10 numbers"):
        condition(Plane(), lambda images: images[:, 0, 0, 0], 1, 3, draws=10)
    with pytest.raises(ReverieError, match="logits are not finite"):
        condition(Plane(), lambda images: slope(images) * math.nan, 1, 3)
    with pytest.raises(ReverieError, match="conditioned by 'langevine'; did you mean 'langevin'"):
        condition(Plane(), slope, 1, 3, how="langevine")  # type: ignore[arg-type]
    for strength in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ReverieError, match=r"classifier must be (more than 0|a finite number), not"):
            condition(Plane(), slope, 1, 3, strength=strength)
    for options in ({"count": 0}, {"draws": 0}, {"steps": 0}):
        with pytest.raises(ReverieError, match=f"number of {next(iter(options)).replace('count', 'pictures')} must be"):
            condition(Plane(), slope, 1, **({"count": 2} | options))  # type: ignore[arg-type]


# Transfer


class Eye(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1))


class Blinkered(nn.Module, Encodes):
    """Looks at the second pixel, though the first tells the class; it can learn better."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.layer.load_state_dict({"weight": torch.tensor([[0.0, 1.0]]), "bias": torch.zeros(1)})
        self.dropout = nn.Dropout(0.1)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(self.dropout(self.layer(images.flatten(1))))


def two(count: int, seed: int = 0, *classes: str) -> Set:
    """Two classes on either side of zero in the first pixel; the second is noise."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    first = (2 * labels - 1) * random.uniform(0.2, 0.8, count)
    return Set(np.stack([first, random.uniform(-1, 1, count)], 1).reshape(-1, 1, 1, 2), labels, *(classes or "ab"))


def stripes(count: int, seed: int = 0) -> Set:
    """Three classes of 8 x 8 pictures: noise, horizontal and vertical stripes, at random strength."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    wave = np.sin(np.arange(8) * np.pi / 2 + 0.3)
    kinds = np.stack([np.zeros((8, 8)), np.tile(wave[:, None], 8), np.tile(wave, (8, 1))])
    images = kinds[labels] * random.uniform(0.4, 0.8, (count, 1, 1)) + random.uniform(-0.2, 0.2, (count, 8, 8))
    return Set(images[:, None], labels, "cat", "dog", "owl")


def test_a_linear_head_reads_separable_codes() -> None:
    found = transfer(Eye(), two(60), two(200, seed=1), labels=40)
    assert found.accuracy == 1
    assert (found.labels, found.tested, found.how) == (40, 200, "frozen")
    assert found.classifier.classes == ("a", "b")
    images = images_of(two(10, seed=2))
    assert found.classifier(images).argmax(1).tolist() == [0, 1] * 5


def test_the_head_is_that_of_logistic_regression() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 90)
    images = 0.2 * random.standard_normal((90, 1, 1, 4)) * [1, 3, 0.5, 0] + 0.1 * labels.reshape(-1, 1, 1, 1)
    pictures = Set(images * [1, 1, 1, 0] + [0, 0, 0, 0.2], labels, "a", "b", "c")
    found = transfer(Eye(), pictures, pictures, labels=90).classifier
    codes = images_of(pictures).flatten(1).double().numpy()
    white = (codes - codes.mean(0)) / np.maximum(codes.std(0), 1e-3 * codes.std(0).max())
    known = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(white, labels)
    logits = found(images_of(pictures)).double()
    np.testing.assert_allclose(logits.softmax(1).numpy(), known.predict_proba(white), atol=1e-4)


def test_tuning_moves_the_encoder_and_leaves_the_model_alone() -> None:
    model = Blinkered().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    frozen, tuned = (
        transfer(model, two(60), two(200, seed=1), labels=40, how=how, steps=1500) for how in ("frozen", "tuned")
    )
    assert frozen.accuracy < 0.65
    assert tuned.accuracy > 0.98
    assert torch.equal(frozen.classifier.body.layer.weight, before["layer.weight"])
    assert not torch.equal(tuned.classifier.body.layer.weight, before["layer.weight"])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert not tuned.classifier.training
    assert not any(weight.requires_grad for weight in tuned.classifier.parameters())


@pytest.mark.parametrize("how", ["frozen", "tuned", "scratch"])
def test_a_classifier_is_a_function_of_the_seed(how: Any) -> None:
    model = tiny("vae", ImageSpec(1, 8, 8))

    def state(seed: int) -> dict[str, Tensor]:
        return transfer(model, stripes(60), stripes(9), labels=30, how=how, steps=3, seed=seed).classifier.state_dict()

    torch.manual_seed(1)
    first = state(0)
    torch.manual_seed(2)
    beforehand = torch.get_rng_state()
    second = state(0)
    assert torch.equal(torch.get_rng_state(), beforehand)
    assert all(torch.equal(value, second[name]) for name, value in first.items())
    other = state(1)
    assert any(not torch.equal(value, other[name]) for name, value in first.items())


def test_dropout_is_drawn_by_the_seed() -> None:
    def weight() -> Tensor:
        found = transfer(Blinkered(), two(60), two(10), labels=40, how="tuned", steps=20).classifier.body.layer.weight
        assert isinstance(found, Tensor)
        return found

    torch.manual_seed(1)
    first = weight()
    torch.manual_seed(2)
    assert torch.equal(weight(), first)


def test_scratch_starts_from_weights_of_its_own() -> None:
    model = tiny("vae", ImageSpec(1, 8, 8), width=8)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()  # an encoder that sees nothing, and can learn nothing from it
    found = {
        how: transfer(model, stripes(90), stripes(90, seed=1), labels=60, how=how, steps=150)
        for how in ("frozen", "scratch")
    }
    assert found["frozen"].accuracy == pytest.approx(1 / 3, abs=0.02)
    assert found["scratch"].accuracy > 0.9
    assert found["scratch"].classifier.body.config == model.config


@pytest.mark.parametrize("name", ["ae", "vae", "vaegan"])
@pytest.mark.parametrize("how", ["frozen", "tuned"])
def test_an_exported_classifier_comes_back_without_a_decoder(name: str, how: Any, tmp_path: Path) -> None:
    model = tiny(name, ImageSpec(1, 8, 8, ("x", "y")), width=5)
    found = transfer(model, stripes(60), stripes(30, seed=1), how=how, labels=45, steps=5).classifier
    found.save(tmp_path / "new")
    assert visible(tmp_path / "new") == [CONFIG, WEIGHTS]
    back = load_classifier(tmp_path / "new")
    images = images_of(stripes(12, seed=2))
    assert torch.equal(back(images), found(images))
    assert back.classes == ("cat", "dog", "owl")
    assert not back.training
    stored = load_file(tmp_path / "new" / WEIGHTS)
    assert not [key for key in stored if "decoder" in key or "discriminator" in key or "mixture" in key]
    assert [key for key in stored if key.startswith("body.encoder")]
    assert hasattr(model, "decoder")  # the model's own is still there
    assert not hasattr(back.body, "decoder")


def test_a_damaged_classifier_is_refused(tmp_path: Path) -> None:
    found = transfer(tiny("ae", ImageSpec(1, 8, 8)), stripes(60), stripes(30), labels=30).classifier
    found.save(tmp_path)
    good = json.loads((tmp_path / CONFIG).read_text())
    weights = (tmp_path / WEIGHTS).read_bytes()

    def refused(match: str) -> None:
        with pytest.raises(ReverieError, match=match) as caught:
            load_classifier(tmp_path)
        assert "\n" not in str(caught.value)

    for bad in ([], {}, good | {"facts": {}}, good | {"classes": ["a"]}, good | {"settings": 3}, good | {"model": []}):
        (tmp_path / CONFIG).write_text(json.dumps(bad))
        refused("holds no classifier that can be read")
    (tmp_path / CONFIG).write_text(json.dumps(good | {"format": 9}))
    refused("format 9; this reverie reads 1")
    (tmp_path / CONFIG).write_text(json.dumps(good | {"settings": good["settings"] | {"width": 7}}))
    refused("holds no classifier that can be read")
    (tmp_path / CONFIG).write_text(json.dumps(good | {"model": "aee"}))
    refused("no model 'aee'")
    (tmp_path / CONFIG).write_text(json.dumps(good))
    (tmp_path / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    refused("holds no classifier that can be read")
    (tmp_path / WEIGHTS).unlink()
    refused("holds no classifier that can be read")


def test_labelled_pictures_are_balanced_and_nested() -> None:
    random = np.random.default_rng(0)
    labels = random.choice(4, 500, p=[0.02, 0.5, 0.4, 0.08])
    rare = int((labels == 0).sum())
    chosen = stratified(labels, 30)
    counts = np.bincount(labels[chosen])
    assert counts.max() - counts.min() <= 1
    assert len(set(chosen.tolist())) == 30
    np.testing.assert_array_equal(stratified(labels, 200)[:30], chosen)
    many = np.bincount(labels[stratified(labels, 200)])
    assert many[0] == min(rare, 50)
    assert not np.array_equal(np.sort(stratified(labels, 30, seed=1)), np.sort(chosen))
    assert sorted(stratified(labels, 500).tolist()) == list(range(500))


def test_a_curve_is_a_transfer_for_each_number_of_labels() -> None:
    found = curve(Eye(), two(60), two(50, seed=1), counts=(2, 20, 60))
    assert [each.labels for each in found] == [2, 20, 60]
    alone = transfer(Eye(), two(60), two(50, seed=1), labels=20)
    assert torch.equal(alone.classifier.head.weight, found[1].classifier.head.weight)
    assert found[2].accuracy == 1


def test_classes_are_matched_by_name() -> None:
    mirrored = Set(-images_of(two(100, seed=1)).numpy(), two(100).labels, "b", "a")
    assert transfer(Eye(), two(60), mirrored, labels=40).accuracy == 1
    with pytest.raises(ReverieError, match="no class 'c'"):
        transfer(Eye(), two(60), two(10, 0, "a", "c"), labels=40)


def test_transfer_says_what_is_wrong() -> None:
    unlabelled = Set(np.zeros((5, 1, 1, 2)))
    with pytest.raises(ReverieError, match="Plane has no encoder that a classifier"):
        transfer(Plane(), two(10), two(10))
    with pytest.raises(ReverieError, match="encoder of CVAE is told the class"):
        transfer(tiny("cvae"), stripes(30), stripes(30))
    with pytest.raises(ReverieError, match="two classes or more, with labels"):
        transfer(Eye(), unlabelled, two(10))
    with pytest.raises(ReverieError, match="two classes or more, with labels"):
        transfer(Eye(), two(10), unlabelled, labels=4)
    for labels in (1, 11):
        with pytest.raises(ReverieError, match=f"of 2 classes in 10 pictures, must be at .*, not {labels}"):
            transfer(Eye(), two(10), two(10), labels=labels)
    with pytest.raises(ReverieError, match="no test pictures"):
        transfer(Eye(), two(10), two(0), labels=4)
    with pytest.raises(ReverieError, match="steps must be at least 1, not 0"):
        transfer(Eye(), two(10), two(10), labels=4, steps=0)
    with pytest.raises(ReverieError, match="made 'tune'; did you mean 'tuned'"):
        transfer(Eye(), two(10), two(10), labels=4, how="tune")  # type: ignore[arg-type]
    for act in (
        lambda: transfer(Eye(), two(10), two(10), labels=4, how="scratch"),
        lambda: transfer(Eye(), two(10), two(10), labels=4).classifier.save("nowhere"),
    ):
        with pytest.raises(ReverieError, match="Eye is no registered model"):
            act()
    blown = Blinkered()
    nn.init.constant_(blown.layer.weight, math.inf)
    with pytest.raises(ReverieError, match="codes are not finite"):
        transfer(blown, two(10), two(10), labels=4)
