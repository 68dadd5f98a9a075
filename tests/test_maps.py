"""Manifolds, maps of thumbnails and gaps, on models whose pictures are their latents."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor, nn

from reverie.capabilities import Code, Conditions, Encodes, Samples
from reverie.engine.model import ImageSpec
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.inference.embed import Embedding
from reverie.inference.latent_map import latent_map
from reverie.tasks import maps
from reverie.tasks.maps import gaps, manifold, thumbnails


class Plain(nn.Module, Samples):
    """The picture (1 x 1 x size) is a tenth of the latent, a latent that is N(mean, deviation^2)."""

    def __init__(self, size: int = 2, mean: float = 0.0, deviation: float = 1.0) -> None:
        super().__init__()
        self.size, self.mean, self.deviation = size, mean, deviation

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return self.mean + self.deviation * draw.normal(self.size, 1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return z.view(-1, 1, 1, self.size) / 10


class Told(Plain, Conditions):
    """The prior of class number k has its mean at 3 k; the class is added to the picture."""

    classes = ("ant", "bee")

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return super().draw_latent(draw) + 3 * labels.view(-1, 1, 1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        assert len(labels) == len(z)
        return super().decode(z) + labels.view(-1, 1, 1, 1) / 2


class Eye(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1))


class Set:
    """Pictures of one colour each."""

    def __init__(self, colours: NDArray[np.uint8], height: int = 4, width: int = 4) -> None:
        self.colours, self.labels = colours, None
        self.names = [str(i) for i in range(len(colours))]
        self.image_spec = ImageSpec(colours.shape[1], height, width)
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.colours)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        self.read += indices.tolist()
        return np.tile(self.colours[indices][:, :, None, None], (1, 1, self.image_spec.height, self.image_spec.width))


def embedding(codes: NDArray[np.floating], logvar: NDArray[np.float32] | None = None) -> Embedding:
    return Embedding(codes.astype(np.float32), logvar, [""] * len(codes), None)


def latents_of(pictures: Tensor, side: int) -> NDArray[np.float64]:
    """(side, side, d), the latents that pictures of `Plain` were decoded from, as a grid."""
    return (pictures.double() * 10).view(side, side, -1).numpy()


QUANTILES = [NormalDist().inv_cdf((i + 0.5) / 4) for i in range(4)]


# Manifolds


def test_a_latent_of_two_dimensions_is_decoded_at_quantiles_of_its_prior() -> None:
    pictures = manifold(Plain(), 4, batch=3)
    assert pictures.shape == (16, 1, 1, 2)
    assert pictures.dtype == torch.float32
    grid = latents_of(pictures, 4)
    np.testing.assert_allclose(grid[..., 0], np.tile(QUANTILES, (4, 1)), atol=0.02)  # grows to the right
    np.testing.assert_allclose(grid[..., 1], np.tile(QUANTILES[::-1], (4, 1)).T, atol=0.02)  # and upwards
    other = latents_of(manifold(Plain(mean=2.0, deviation=0.5), 4), 4)
    np.testing.assert_allclose(other[0, :, 0], 2 + 0.5 * np.array(QUANTILES), atol=0.02)
    np.testing.assert_allclose(manifold(Plain(), 1), 0, atol=1e-3)


def test_codes_say_where_a_latent_of_two_dimensions_is_decoded() -> None:
    codes = np.random.default_rng(0).normal(size=(100, 2)) * [1, 3] + [1, -2]
    grid = latents_of(manifold(Plain(), 4, embedding(codes)), 4)
    mean, deviation = codes.mean(0), codes.std(0)
    np.testing.assert_allclose(grid[2, :, 0], mean[0] + deviation[0] * np.array(QUANTILES), atol=1e-4)
    np.testing.assert_allclose(grid[::-1, 3, 1], mean[1] + deviation[1] * np.array(QUANTILES), atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**20), st.integers(3, 6))
def test_a_larger_latent_is_decoded_on_the_plane_of_the_map(seed: int, size: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.normal(size=(60, size)) * 0.5 ** np.arange(size) @ random.normal(size=(size, size)) + 0.5
    grid = latents_of(manifold(Plain(size), 4, embedding(codes)), 4).clip(-10, 10)
    reference = PCA(2).fit(codes)
    signs = np.sign(reference.components_[[0, 1], np.abs(reference.components_).argmax(1)])
    axes = reference.components_ * signs[:, None] * np.sqrt(reference.explained_variance_ * 59 / 60)[:, None]
    for row, up in enumerate(QUANTILES[::-1]):
        for column, right in enumerate(QUANTILES):
            expected = codes.mean(0) + right * axes[0] + up * axes[1]
            np.testing.assert_allclose(grid[row, column], expected.clip(-10, 10), atol=2e-3 * np.abs(codes).max())


def test_the_manifold_lies_where_the_map_says() -> None:
    codes = np.random.default_rng(0).normal(size=(80, 5)) * [0.1, 0.5, 2, 0.3, 1]
    grid = latents_of(manifold(Plain(5), 3, embedding(codes)), 3)
    both = latent_map(np.concatenate([codes, grid.reshape(-1, 5) @ np.eye(5)]).astype(np.float32))
    assert (np.diff(both[80:].reshape(3, 3, 2)[..., 0], axis=1) > 0).all()
    assert (np.diff(both[80:].reshape(3, 3, 2)[..., 1], axis=0) < 0).all()
    line = np.outer(np.arange(9.0), [1, 2, -2]) / 8  # has no second component
    flat = latents_of(manifold(Plain(3), 2, embedding(line)), 2)
    np.testing.assert_allclose(flat[0], flat[1], atol=1e-4)
    assert np.abs(flat[0, 0] - flat[0, 1]).max() > 0.1


def test_a_manifold_of_one_class() -> None:
    bees = manifold(Told(), 3, labels=["bee"], batch=2)
    assert float(bees[4].mean()) == pytest.approx(0.5 + 0.3, abs=1e-3)  # the middle
    np.testing.assert_allclose(manifold(Told(), 3), manifold(Plain(), 3), atol=1e-6)
    with pytest.raises(ReverieError, match="one class, not 2"):
        manifold(Told(), labels=[0, 1])
    with pytest.raises(ReverieError, match="no class labels"):
        manifold(Plain(), labels=[0])


def test_what_has_no_manifold() -> None:
    with pytest.raises(ReverieError, match="Eye has no latent manifold"):
        manifold(Eye())
    with pytest.raises(ReverieError, match=r"has 3 dimensions, not 2; a plane of it needs the embedding"):
        manifold(Plain(3))
    with pytest.raises(ReverieError, match=r"has 1 dimension, not 2"):
        manifold(Plain(1))
    with pytest.raises(ReverieError, match="one dimension has no plane"):
        manifold(Plain(1), 3, embedding(np.zeros((4, 1))))
    with pytest.raises(ReverieError, match="have 4 numbers each, and the latent of Plain 3"):
        manifold(Plain(3), 3, embedding(np.eye(4)))
    with pytest.raises(ReverieError, match="pictures along a side must be at least 1, not 0"):
        manifold(Plain(), 0)
    with pytest.raises(ReverieError, match="diverged"):
        manifold(Plain(3), 2, embedding(np.full((4, 3), np.inf)))


# Thumbnails


def test_each_cell_shows_the_picture_nearest_its_middle() -> None:
    # A map from 0 to 3 both ways, of 3 x 3 cells; the fourth code is nearer to the middle of the third's cell.
    places = np.array([[0, 0], [3, 0], [1.1, 2.1], [1.4, 2.4], [0, 3]])
    data = Set(np.array([[10], [20], [30], [40], [50]], np.uint8))
    image = thumbnails(embedding(places), data, side=3, size=2)
    assert (image.mode, image.size) == ("RGB", (6, 6))
    shown = np.asarray(image)[::2, ::2, 0].tolist()
    assert shown == [[50, 40, 255], [255, 255, 255], [10, 255, 20]]
    assert np.array_equal(np.asarray(image)[1::2, 1::2], np.asarray(image)[::2, ::2])
    assert sorted(data.read) == [0, 1, 3, 4]  # what is not shown is not read


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**20), st.integers(1, 6), st.sampled_from([(1, 7.0), (3, 1.0), (1, 0.0)]))
def test_thumbnails_are_where_an_independent_count_puts_them(seed: int, side: int, scales: tuple[int, float]) -> None:
    random = np.random.default_rng(seed)
    places = (random.normal(size=(25, 2)) * scales).astype(np.float32)
    image = np.asarray(thumbnails(embedding(places), Set(np.arange(25, dtype=np.uint8)[:, None]), side, 1))[..., 0]
    best: dict[tuple[int, int], tuple[float, int]] = {}
    middle = (places.min(0).astype(float) + places.max(0)) / 2
    unit = float((places.max(0).astype(float) - places.min(0)).max()) / side
    for index, (right, up) in enumerate((places - middle) / unit):
        x, y = right + side / 2, side / 2 - up
        cell = min(int(y), side - 1), min(int(x), side - 1)
        off = (y - cell[0] - 0.5) ** 2 + (x - cell[1] - 0.5) ** 2
        best[cell] = min(best.get(cell, (9.0, 0)), (off, index))
    expected = np.full((side, side), 255)
    for cell, (_, index) in best.items():
        expected[cell] = index
    np.testing.assert_array_equal(image, expected)


def test_thumbnails_keep_their_proportions_and_colours() -> None:
    wide = Set(np.array([[255, 0, 0]], np.uint8), height=2, width=8)
    image = np.asarray(thumbnails(embedding(np.zeros((1, 2))), wide, side=1, size=4))
    red, white = [255, 0, 0], [255, 255, 255]
    assert image.tolist() == [[white] * 4, [red] * 4, [white] * 4, [white] * 4]
    ring = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32)
    assert thumbnails(embedding(ring), Set(np.zeros((50, 6), np.uint8), 5, 3), side=4, size=8).size == (32, 32)


def test_what_has_no_thumbnails() -> None:
    data = Set(np.zeros((3, 1), np.uint8))
    with pytest.raises(ReverieError, match="of 2 pictures, and there are 3"):
        thumbnails(embedding(np.zeros((2, 2))), data)
    with pytest.raises(ReverieError, match="cells along a side must be at least 1, not 0"):
        thumbnails(embedding(np.zeros((3, 2))), data, side=0, size=5)
    with pytest.raises(ReverieError, match="pixels along a cell must be at least 1, not -1"):
        thumbnails(embedding(np.zeros((3, 2))), data, side=5, size=-1)
    with pytest.raises(ReverieError, match="diverged"):
        thumbnails(embedding(np.full((3, 2), np.nan)), data)


# Gaps


def clusters(distance: float, size: int = 2, count: int = 4000) -> NDArray[np.float64]:
    """Half of the codes in each of two round clusters of deviation 1."""
    random = np.random.default_rng(0)
    codes = random.normal(size=(count, size))
    codes[: count // 2, 0] += distance
    return codes


@pytest.mark.parametrize("size", [2, 16])
def test_gaussian_codes_have_no_gaps(size: int) -> None:
    random = np.random.default_rng(1)
    codes = random.normal(size=(8000, size)) @ random.normal(size=(size, size)) + 5
    assert gaps(codes) == pytest.approx(0.01, abs=0.006)
    assert gaps(codes, "segments") < 0.012


def test_gaps_between_clusters() -> None:
    # Far apart, half of all pairs are of both clusters, and nearly all of what lies between them is empty; the Gaussian
    # fitted to both, 200 wide, hardly ever hits one of them.
    assert gaps(clusters(400), "segments") == pytest.approx(0.5, abs=0.03)
    assert gaps(clusters(400)) > 0.9
    for where in ("gaussian", "segments"):
        shares = [gaps(clusters(distance, 2, 2000), where, points=4000) for distance in (0, 6, 12, 24)]
        assert shares == sorted(shares)
        assert shares[0] < 0.02
        assert shares[2] > 0.2


def test_a_ring_is_empty_inside_and_a_square_is_not() -> None:
    random = np.random.default_rng(0)
    angles = random.uniform(0, 2 * np.pi, 4000)
    ring = np.stack([np.cos(angles), np.sin(angles)], 1)
    assert gaps(ring, "segments") > 0.85
    assert gaps(ring) > 0.9
    assert gaps(random.uniform(size=(4000, 2)), "segments") < 0.02


def test_gaps_do_not_depend_on_place_turn_and_scale_but_on_the_seed() -> None:
    codes = clusters(6, 3, 600)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))[0]
    # By the Gaussian the draws themselves turn, and then only the expectation stays.
    assert gaps(100 * codes @ turn + 7, "segments") == pytest.approx(gaps(codes, "segments"), abs=3e-4)
    assert gaps(100 * codes @ turn + 7) == pytest.approx(gaps(codes), abs=0.03)
    assert gaps(codes, seed=1) == gaps(codes, seed=1)
    assert gaps(codes, seed=1) != gaps(codes, seed=2)


def test_gaps_of_an_embedding_are_those_of_its_aggregate_posterior() -> None:
    means = np.repeat(clusters(0, 2, 40) * 10, 50, 0)  # 40 points, each 50 times
    points = embedding(means)
    assert gaps(points) > 0.9
    wide = embedding(means, np.full(means.shape, 2 * np.log(10.0), np.float32))
    assert gaps(wide) < 0.03
    narrow = embedding(means, np.full(means.shape, 2 * np.log(0.5), np.float32))
    drawn = means + np.random.default_rng(5).normal(0, 0.5, means.shape)
    assert 0.5 < gaps(drawn) < 0.9
    assert gaps(narrow) == pytest.approx(gaps(drawn), abs=0.05)


def test_gaps_among_many_codes_are_measured_among_some(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    def spy(points: NDArray[np.float64], codes: NDArray[np.float64]) -> NDArray[np.float64]:
        asked.append((len(points), len(codes)))
        return measure(points, codes)

    measure = maps._to_nearest
    monkeypatch.setattr(maps, "_to_nearest", spy)
    monkeypatch.setattr(maps, "MOST_COMPARED", 1000)
    assert 0.2 < gaps(clusters(12), points=700) < 0.9  # the codes stand cluster by cluster: both must be drawn from
    assert sorted(asked) == [(500, 500), (700, 500)]


def test_what_has_no_gaps() -> None:
    assert gaps(np.ones((300, 3))) == 0
    with pytest.raises(ReverieError, match="at least 200 codes, and there are 199"):
        gaps(clusters(0)[:199])
    with pytest.raises(ReverieError, match="by 'segment'; did you mean 'segments'"):
        gaps(clusters(0), "segment")
    with pytest.raises(ReverieError, match="at least 1, not 0"):
        gaps(clusters(0), points=0)
    with pytest.raises(ReverieError, match="diverged"):
        gaps(np.full((300, 2), np.nan))
