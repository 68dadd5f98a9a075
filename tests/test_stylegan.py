"""Style-based networks: modulation against its formula, mixing, noise, truncation, and the models that train them."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cases import plan
from reverie.artifact import build_model
from reverie.capabilities import Conditions, Styles
from reverie.engine.loop import Loop
from reverie.engine.model import Batch, ImageSpec, Model
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.losses.penalties import path_lengths, squared_gradient
from reverie.models.stylegan import ConditionalStyleGAN, RunningMean, StyleGAN, StyleGANConfig
from reverie.networks.stylegan import AdaIN, AdaINSynthesis, Mapping, StyleDiscriminator, StyleGenerator
from reverie.networks.stylegan2 import SkipSynthesis, modulated
from toys import Pictures

SPEC = ImageSpec(2, 8, 12, ("cat", "dog", "owl"))
SHAPES = [(1, 28, 28), (3, 32, 32), (2, 8, 12), (3, 17, 9), (16, 5, 3), (1, 3, 4)]
Synthesis = type[AdaINSynthesis] | type[SkipSynthesis]
BOTH = pytest.mark.parametrize("kind", [AdaINSynthesis, SkipSynthesis])


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def synthesis(kind: Synthesis, shape: tuple[int, int, int] = (2, 8, 12)) -> nn.Module:
    torch.manual_seed(0)
    network = kind(shape, 4, 5).double()
    for name, parameter in network.named_parameters():
        if name.endswith("strength"):
            nn.init.constant_(parameter, 0.3)
    return network


@BOTH
@pytest.mark.parametrize("shape", SHAPES)
def test_any_shape_gets_gradients_everywhere(kind: Synthesis, shape: tuple[int, int, int]) -> None:
    g = synthesis(kind, shape)
    d = StyleDiscriminator(shape, 4, residual=kind is SkipSynthesis).double()
    images = g(randn(4, g.count, 5), Draw("noise", count=4))
    assert images.shape == (4, *shape)
    logits = d(images)
    assert logits.shape == (4,)
    logits.square().sum().backward()
    for name, parameter in [*g.named_parameters(), *d.named_parameters()]:
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("demodulate", [True, False])
@pytest.mark.parametrize("kernel", [1, 3])
def test_modulation_is_its_formula_fused_or_not(demodulate: bool, kernel: int) -> None:
    x, weight, style = randn(3, 4, 6, 5), randn(7, 4, kernel, kernel, seed=1), randn(3, 4, seed=2)
    expected = []
    for picture, scales in zip(x, style, strict=True):
        own = weight * scales.view(1, -1, 1, 1)
        if demodulate:
            own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        expected.append(F.conv2d(picture[None], own, padding=kernel // 2)[0])
    for fused in (True, False):
        found = modulated(x, weight, style, demodulate, fused)
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-10, atol=1e-10)
        single = modulated(x.float(), weight.float(), style.float(), demodulate, fused)
        torch.testing.assert_close(single.double(), torch.stack(expected), rtol=1e-5, atol=1e-5)


def test_fused_and_unfused_have_the_same_gradients() -> None:
    inputs = [randn(3, 4, 6, 5), randn(7, 4, 3, 3, seed=1), randn(3, 4, seed=2)]
    found = []
    for fused in (True, False):
        leaves = [tensor.clone().requires_grad_() for tensor in inputs]
        found.append(torch.autograd.grad(modulated(*leaves, True, fused).sin().sum(), leaves))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_demodulated_features_keep_unit_deviation_whatever_the_style() -> None:
    x, weight = randn(4, 64, 16, 16), randn(64, 64, 3, 3, seed=1)
    style = 10 ** randn(4, 64, seed=2).clamp(-1, 1)
    inside = modulated(x, weight, style)[:, :, 1:-1, 1:-1]
    assert inside.std((0, 2, 3)).mean().item() == pytest.approx(1, rel=0.05)


def test_adain_sets_the_mean_and_the_deviation_of_each_feature_map() -> None:
    torch.manual_seed(0)
    layer = AdaIN(3, 5).double()
    w = randn(2, 5)
    deviation, mean = layer.affine(w).chunk(2, 1)
    found = layer(7 + 3 * randn(2, 3, 9, 8), w)
    torch.testing.assert_close(found.mean((2, 3)), mean)
    torch.testing.assert_close(found.std((2, 3), correction=0), deviation.abs())
    zero = layer.affine(torch.zeros(1, 5, dtype=torch.float64))
    torch.testing.assert_close(zero, torch.tensor([[1.0] * 3 + [0.0] * 3], dtype=torch.float64))


@BOTH
def test_the_style_of_a_layer_touches_nothing_before_it(kind: Synthesis) -> None:
    """Styles that are mixed from layer k on leave the features before k equal to the bit, and change those after."""
    g = synthesis(kind)
    features: list[Tensor] = []
    first = [g.noisy] if isinstance(g, AdaINSynthesis) else []  # before its style, so nothing changes it
    for layer in [*first, *g.layers]:
        layer.register_forward_hook(lambda module, inputs, output: features.append(output))

    def run(w: Tensor) -> tuple[list[Tensor], Tensor]:
        features.clear()
        picture = g(w)
        return list(features), picture

    one, other = randn(2, g.count, 5), randn(2, g.count, 5, seed=1)
    before, picture = run(one)
    for k in range(g.count):
        mixed = torch.cat([one[:, :k], other[:, k:]], 1)
        after, changed = run(mixed)
        for i, (a, b) in enumerate(zip(before, after, strict=True)):
            assert torch.equal(a, b) == (i < k or (i == 0 and bool(first))), (k, i)
        assert not torch.equal(picture, changed)


@BOTH
def test_noise_is_fresh_when_drawn_and_else_fixed(kind: Synthesis) -> None:
    g = synthesis(kind)
    w = randn(3, g.count, 5)
    fixed = g(w)
    assert torch.equal(fixed, g(w))
    torch.testing.assert_close(g(w[1:2]), fixed[1:2])  # a row depends on its own styles alone
    noisy = g(w, Draw("a", count=3))
    assert torch.equal(noisy, g(w, Draw("a", count=3)))
    assert not torch.allclose(noisy, fixed)
    same = g(w[:1].expand(3, -1, -1), Draw("a", count=3))
    assert not torch.allclose(same[0], same[1])
    for parameter in (p for name, p in g.named_parameters() if name.endswith("strength")):
        nn.init.zeros_(parameter)
    torch.testing.assert_close(g(w), g(w, Draw("a", count=3)))


def test_mapping_looks_at_directions_and_learns_slowly() -> None:
    torch.manual_seed(0)
    mapping = Mapping(64, 256, 3).double()
    z = randn(50, 64)
    torch.testing.assert_close(mapping(3 * z), mapping(z))
    assert mapping(z).square().mean().item() == pytest.approx(1, rel=0.3)
    assert mapping.layers[0].weight.std().item() == pytest.approx(100, rel=0.05)
    told = Mapping(6, 5, 2, classes=3).double()
    labels = torch.tensor([0, 1, 1])
    w = told(z[:1, :6].expand(3, -1), labels)
    torch.testing.assert_close(w[1], w[2])
    assert not torch.allclose(w[0], w[1])


def test_the_projection_is_an_inner_product_with_the_label() -> None:
    torch.manual_seed(0)
    d = StyleDiscriminator((1, 8, 8), 4, residual=True, classes=3).double()
    images = randn(4, 1, 8, 8)
    with torch.no_grad():
        d.embedding.weight[2] = -d.embedding.weight[0]
    zero, one, two = (d(images, torch.full((4,), label)) for label in range(3))
    torch.testing.assert_close(zero, -two)
    assert not torch.allclose(zero, one)


def second_order(run: Callable[[], Tensor], *parameters: Tensor) -> None:
    """The gradient of a penalty, against the difference it makes to move each parameter a little."""
    loss = run()
    gradients = torch.autograd.grad(loss, parameters)
    step = 1e-6
    for parameter, gradient in zip(parameters, gradients, strict=True):
        assert gradient.abs().max() > 0
        direction = randn(*parameter.shape, seed=7)
        with torch.no_grad():
            parameter += step * direction
            more = run().item()
            parameter -= 2 * step * direction
            less = run().item()
            parameter += step * direction
        assert (more - less) / (2 * step) == pytest.approx((gradient * direction).sum().item(), rel=1e-3)


@pytest.mark.parametrize("residual", [True, False])
def test_r1_can_be_trained_on(residual: bool) -> None:
    torch.manual_seed(0)
    d = StyleDiscriminator((1, 9, 12), 4, residual).double()
    images = randn(4, 1, 9, 12).requires_grad_()

    def run() -> Tensor:
        with torch.enable_grad():
            return squared_gradient(d(images), images).mean()

    second_order(run, d.from_picture.weight, d.body[0].first.weight, d.verdict.out.weight)


@BOTH
def test_path_lengths_can_be_trained_on(kind: Synthesis) -> None:
    g = synthesis(kind, (1, 9, 12))
    w = randn(2, g.count, 5).requires_grad_()
    noise = randn(2, 1, 9, 12, seed=3)

    def run() -> Tensor:
        with torch.enable_grad():
            return path_lengths(g(w), w, noise).square().mean()

    second_order(run, g.constant, g.layers[1].noisy.bias)


@BOTH
def test_memory_format_does_not_matter(kind: Synthesis) -> None:
    shape = (3, 20, 28)
    g = StyleGenerator(Mapping(3, 5, 2), synthesis(kind, shape)).double()
    d = StyleDiscriminator(shape, 4, residual=True).double()
    z = randn(4, 3)
    before = d(g(z))
    g.to(memory_format=torch.channels_last)
    d.to(memory_format=torch.channels_last)
    torch.testing.assert_close(d(g(z).contiguous(memory_format=torch.channels_last)), before)


@BOTH
def test_features_start_at_unit_scale(kind: Synthesis) -> None:
    torch.manual_seed(0)
    g = StyleGenerator(Mapping(16, 16, 2), kind((3, 32, 32), 16, 16))
    pictures = g(torch.randn(16, 16))
    assert 0.2 < pictures.std().item() < 5
    assert math.isfinite(pictures.abs().max().item())


# The model


def model(name: str = "stylegan2", **settings: object) -> StyleGAN:
    built = build_model(name, {"width": 4, "latent": 3, "style": 5, **settings}, SPEC)
    assert isinstance(built, StyleGAN)
    return built


def loop_of(built: Model, **values: object) -> Loop:
    return Loop(built, Pictures(SPEC), plan(**{"ema": 0.0, "clip": 0, **values}), torch.device("cpu"))


def some_noise(built: StyleGAN) -> StyleGAN:
    for name, parameter in built.named_parameters():
        if name.endswith("strength"):
            nn.init.constant_(parameter, 0.3)
    return built


@pytest.mark.parametrize("name", ["stylegan", "stylegan2"])
def test_a_picture_is_a_function_of_its_latent_through_its_styles(name: str) -> None:
    built = some_noise(model(name))
    assert isinstance(built, Styles)
    z = torch.randn(4, 3)
    with torch.no_grad():
        w = built.map(z)
        assert w.shape == (4, built.layers, 5)
        assert torch.equal(w[:, 0], w[:, -1])
        pictures = built.decode(z)
        assert torch.equal(pictures, built.synthesise(w))
        torch.testing.assert_close(built.decode(z[2:3]), pictures[2:3])
        assert pictures.shape == (4, *SPEC.shape)
        assert built.decode(z).abs().max() <= 1


def test_truncation_pulls_towards_one_picture() -> None:
    built = model()
    built.w_mean.mean.copy_(torch.randn(5))
    with torch.no_grad():
        w = built.map(torch.randn(4, 3))
        assert torch.equal(built.truncate(w, 1.0), w)
        one = built.synthesise(built.truncate(w, 0.0))
        for row in one:
            torch.testing.assert_close(row, one[0])
        half = built.truncate(w, 0.5, layers=2)
        torch.testing.assert_close(half[:, :2], 0.5 * (w[:, :2] + built.w_mean.mean))
        assert torch.equal(half[:, 2:], w[:, 2:])
        assert torch.equal(built.truncate(w, 0.0, layers=0), w)


@pytest.mark.parametrize("mixing", [0.0, 0.5, 1.0])
def test_that_share_of_pictures_has_two_styles_cut_at_every_layer_alike(mixing: float) -> None:
    built, seen = model(mixing=mixing), []
    built.generator.synthesis.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        built.generate(Draw("mix", count=2000), None)
    cuts = (seen[0][:, 1:] != seen[0][:, :-1]).any(2)  # (N, L - 1)
    assert cuts.sum(1).max() <= 1
    assert cuts.float().mean().item() * (built.layers - 1) == pytest.approx(mixing, abs=0.05)
    shares = cuts.float().mean(0) * (built.layers - 1)
    torch.testing.assert_close(shares, torch.full_like(shares, mixing), atol=0.15, rtol=0)


def test_training_sees_fresh_noise_and_sampling_does_not() -> None:
    built = some_noise(model(mixing=0.0))
    with torch.no_grad():
        assert not torch.equal(built.generate(Draw(1, count=3), None), built.generator(Draw(1, count=3).normal(3)))


def test_lazy_phases_are_due_and_their_optimizers_corrected() -> None:
    built = model(lr=1e-2, beta1=0.5, beta2=0.99, penalty_every=16)
    specs = built.optimizers()
    assert specs["d"].lr == pytest.approx(1e-2 * 16 / 17)
    assert specs["d"].betas == pytest.approx((0.5 ** (16 / 17), 0.99 ** (16 / 17)))
    assert specs["g"].lr == pytest.approx(1e-2 * 4 / 5)
    assert specs["g"].betas == pytest.approx((0.5 ** (4 / 5), 0.99 ** (4 / 5)))
    plain = model(lr=1e-2, r1=0.0, path=0.0)
    assert all(spec.lr == 1e-2 for spec in plain.optimizers().values())
    assert [p.name for p in plain.phases()] == ["discriminator", "generator"]
    assert [(p.name, p.every) for p in built.phases()] == [
        ("discriminator", 1), ("penalty", 16), ("generator", 1), ("path", 4),
    ]  # fmt: skip
    every = model(r1=1.0, penalty_every=1).optimizers()["d"]
    assert every.lr == StyleGANConfig().lr
    first = model("stylegan")
    assert "path" not in [p.name for p in first.phases()]
    assert first.generator.synthesis.__class__ is AdaINSynthesis


class Given:
    """Noise that was drawn before."""

    def __init__(self, drawn: list[Tensor]) -> None:
        self.drawn = iter(drawn)

    def normal(self, *shape: int) -> Tensor:
        return next(self.drawn)


def test_the_path_penalty_is_its_formula() -> None:
    built = model(mixing=0.0, path=2.0)
    built.path_mean.mean.fill_(0.7)
    batch = Batch(torch.zeros(6, *SPEC.shape), None, Draw("path", count=6), 0.0)
    loss, logs = built.path_length_loss(batch, {})
    draw = Draw("path", count=6)
    z = draw.normal(3)[::2]
    half = [draw.normal(*layer.noisy.fixed.shape)[::2] for layer in built.generator.synthesis.layers]
    y = draw.normal(*SPEC.shape)[::2]
    lengths = []
    for i in range(3):  # J^T y by one full Jacobian a picture
        given = Given([each[i : i + 1] for each in half])
        w = built.map(z[i : i + 1]).detach()
        jacobian = torch.autograd.functional.jacobian(partial(built.generator.synthesis, noise=given), w)
        rows = torch.einsum("chw,chwls->ls", y[i], jacobian[0, :, :, :, 0]) / math.sqrt(8 * 12)
        lengths.append(rows.square().sum(1).mean().sqrt())
    expected = torch.stack(lengths)
    torch.testing.assert_close(logs["path_length"], expected.mean())
    torch.testing.assert_close(loss.detach(), 2 * (expected - 0.7).square().mean())
    built.on_progress(6)
    torch.testing.assert_close(built.path_mean.mean, expected.mean()[None])


def test_a_running_mean_weighs_a_short_training_alike_and_a_long_one_by_its_horizon() -> None:
    mean = RunningMean(2, horizon=10)
    mean.fold()
    assert mean.mean.tolist() == [0, 0]
    expected = torch.zeros(2)
    for step in range(1, 40):
        values = torch.randn(2, 2)
        for value in values:  # two microbatches
            mean.add(value)
        mean.fold()
        mean.fold()  # a step that added nothing
        expected += (values.mean(0) - expected) / min(step, 10)
        torch.testing.assert_close(mean.mean, expected)


def test_the_mean_style_is_that_of_the_mapping() -> None:
    built = model()
    loop = loop_of(built, steps=200)
    built.generator.mapping.requires_grad_(False)
    for _ in range(40):
        loop.advance()
    with torch.no_grad():
        w = built.generator.mapping(torch.randn(5000, 3))
    error = (built.w_mean.mean - w.mean(0)).norm() / w.std(0).norm()
    assert error < 0.2  # 40 batches of 8, while the mapping learns slowly
    assert not built.w_mean.pending.any()


def test_noise_strength_and_every_part_of_both_networks_learn() -> None:
    built = model()
    loop = loop_of(built, lr_schedule="constant")
    before = {name: p.detach().clone() for name, p in built.named_parameters()}
    for _ in range(3):
        loop.advance()
    for name, parameter in built.named_parameters():
        assert not torch.equal(before[name], parameter), name


def test_a_conditional_one_is_told_the_class() -> None:
    config = StyleGANConfig(width=4, latent=3, style=5)
    torch.manual_seed(0)
    built = ConditionalStyleGAN(config, SPEC)
    assert isinstance(built, Conditions)
    loop = loop_of(built)
    for _ in range(3):
        loop.advance()
    assert all(math.isfinite(v) for v in loop.means().values() if isinstance(v, float))
    z, labels = torch.randn(1, 3).expand(3, -1), torch.arange(3)
    with torch.no_grad():
        pictures = built.decode(z, labels)
    assert not torch.allclose(pictures[0], pictures[1])
    with pytest.raises(ReverieError, match="needs a label"):
        built.decode(z)
    with pytest.raises(ReverieError, match="needs labels"):
        ConditionalStyleGAN(config, ImageSpec(1, 8, 8))


def test_settings_out_of_range_are_refused() -> None:
    for wrong in ({"version": 3}, {"depth": 0}, {"mixing": 1.5}, {"path": -1}, {"style": 0}):
        with pytest.raises(ReverieError, match=f"model.{next(iter(wrong))}"):
            model(**wrong)
