"""Encoders and decoders: any size, any channels, no traffic between the rows of a batch."""

from __future__ import annotations

import pytest
import torch

from reverie.networks.coders import NETWORKS, decoder, encoder
from reverie.networks.conv import plan_stages
from reverie.networks.mixture import Mixture

SHAPES = [(1, 28, 28), (3, 32, 32), (4, 17, 23), (2, 8, 8), (3, 64, 12), (16, 9, 40), (1, 5, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("depth", [1, 2])
def test_shapes_and_gradients(network: str, shape: tuple[int, int, int], depth: int) -> None:
    encode = encoder(network, shape, 6, width=4, depth=depth)
    decode = decoder(network, 3, shape, width=4, depth=depth)
    x = torch.randn(2, *shape)
    code = encode(x)
    assert code.shape == (2, 6)
    out = decode(code[:, :3])
    assert out.shape == x.shape
    (out.square().sum() + code.square().sum()).backward()
    for parameter in [*encode.parameters(), *decode.parameters()]:
        assert parameter.grad is not None
        assert torch.isfinite(parameter.grad).all()


@pytest.mark.parametrize("network", NETWORKS)
def test_large_pictures(network: str) -> None:
    shape = (3, 256, 256)
    code = encoder(network, shape, 4, width=2, depth=1)(torch.randn(1, *shape))
    assert decoder(network, 4, shape, width=2, depth=1)(code).shape == (1, *shape)


@pytest.mark.parametrize("network", NETWORKS)
def test_rows_are_independent(network: str) -> None:
    shape = (3, 17, 23)
    encode, decode = encoder(network, shape, 5, 4, 1).double(), decoder(network, 5, shape, 4, 1).double()
    x = torch.randn(6, *shape, dtype=torch.float64)
    torch.testing.assert_close(encode(x)[2:3], encode(x[2:3]))
    torch.testing.assert_close(decode(encode(x))[2:3], decode(encode(x[2:3])))


@pytest.mark.parametrize("network", NETWORKS)
def test_memory_format_does_not_matter(network: str) -> None:
    shape = (3, 20, 28)
    encode, decode = encoder(network, shape, 5, 4, 1).double(), decoder(network, 5, shape, 4, 1).double()
    x = torch.randn(2, *shape, dtype=torch.float64)
    before = decode(encode(x))
    encode.to(memory_format=torch.channels_last)
    decode.to(memory_format=torch.channels_last)
    torch.testing.assert_close(decode(encode(x.contiguous(memory_format=torch.channels_last))), before)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 64, 64)])
def test_signals_start_at_a_sensible_scale(network: str, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    x = torch.randn(16, *shape)
    z = torch.randn(16, 32)
    assert 0.05 < encoder(network, shape, 64, 16, 2)(x).std().item() < 3
    assert 0.05 < decoder(network, 32, shape, 16, 2)(z).std().item() < 3


def test_plan_halves_to_seven_or_less() -> None:
    assert [s.inner for s in plan_stages((1, 28, 28), 8)] == [(14, 14), (7, 7)]
    assert [s.inner for s in plan_stages((3, 64, 12), 8)] == [(32, 6), (16, 6), (8, 6), (4, 6)]
    assert [s.deep for s in plan_stages((3, 256, 256), 8)] == [8, 16, 32, 64, 64, 64]
    assert len(plan_stages((1, 4, 4), 8)) == 1


def test_mixture_starts_standard_normal_and_has_its_density() -> None:
    mixture = Mixture(2, components=3)
    z = torch.randn(5, 2)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(mixture.log_prob(z), expected)
    means, scale = torch.tensor([[0.0, 5.0], [1.0, -2.0]]), torch.tensor([[1.0, 0.0], [0.5, 0.2]])
    mixture.load(torch.tensor([0.25, 0.75]), means, scale.repeat(2, 1, 1))
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.tensor([0.25, 0.75])),
        torch.distributions.MultivariateNormal(means, scale_tril=scale.repeat(2, 1, 1)),
    )
    torch.testing.assert_close(mixture.log_prob(z), reference.log_prob(z), rtol=1e-4, atol=1e-4)
    torch.manual_seed(0)
    drawn = mixture.sample(torch.rand(20000), torch.randn(20000, 2))
    torch.testing.assert_close(drawn.mean(0), torch.tensor([0.75, -0.25]), atol=0.1, rtol=0)
