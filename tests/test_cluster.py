"""Clusters of codes against scikit-learn and against groups that are there, and what a sheet of them shows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics
from sklearn.cluster import KMeans
from torch import Tensor, nn

from pictures import Held
from reverie.capabilities import Code, Conditions, Encodes, Reconstructs
from reverie.engine.randomness import Draw
from reverie.errors import ReverieError
from reverie.inference.codes import decode
from reverie.inference.embed import Embedding, embed
from reverie.networks.mixture import Mixture
from reverie.tasks.cluster import Clusters, cluster, contact_sheet

SIZES = (60, 30, 10)
CENTRES = np.array([[4.0, 0.0, 1.0], [-3.0, 2.0, 1.0], [0.0, -5.0, 1.0]])


class Halves(nn.Module, Reconstructs):
    """The code is half the picture (1 x 1 x 3), as a latent of 3 x 1; decoded, the class number is taken off."""

    def __init__(self) -> None:
        super().__init__()
        self.mixture = Mixture(3)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1).unsqueeze(2) / 2)

    def draw_latent(self, draw: Draw, labels: Tensor | None = None) -> Tensor:
        return draw.normal(3, 1)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert z.shape[1:] == (3, 1)
        return 2 * z.view(-1, 1, 1, 3)


class Told(Halves, Conditions):
    classes = ("bee", "cow", "ant")

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        return super().decode(z) * 0 + labels.view(-1, 1, 1, 1) / 4


class Eye(nn.Module, Encodes):
    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        return Code(images.flatten(1))


class Set(Held):
    """Pictures 1 x 1 x 3 with the given pixels."""

    def __init__(self, pixels: NDArray[np.uint8], labels: NDArray[np.int64] | None = None) -> None:
        super().__init__(pixels.reshape(-1, 1, 1, 3), labels, () if labels is None else ("ant", "bee", "cow"))


def blobs(deviation: float = 0.4, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Codes about `CENTRES`, so many of each as `SIZES` says, in random order, and which each belongs to."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(3), SIZES))
    return (CENTRES[labels] + random.normal(0, deviation, (len(labels), 3))).astype(np.float32), labels


def embedding(codes: NDArray[np.float32], labels: NDArray[np.int64] | None) -> Embedding:
    return Embedding(codes, None, [""] * len(codes), labels, ("x", "y", "z"))


@pytest.mark.parametrize("how", ["kmeans", "mixture"])
def test_groups_that_are_there_are_found_the_largest_first(how: str) -> None:
    codes, labels = blobs()
    found = cluster(codes, 3, how)
    np.testing.assert_array_equal(found.assignments, labels)  # numbered by size, as the labels are
    assert found.sizes.tolist() == list(SIZES)
    means = [codes[labels == k].mean(0) for k in range(3)]
    np.testing.assert_allclose(found.centres, means, atol=1e-4)
    np.testing.assert_allclose(found.distances, np.linalg.norm(codes - found.centres[labels], axis=1), atol=1e-5)
    assert found.silhouette == pytest.approx(metrics.silhouette_score(codes, labels), abs=1e-6)
    assert (found.purity, found.nmi, found.ari) == (None, None, None)
    one = cluster(codes, 1, how)
    assert one.silhouette is None
    np.testing.assert_allclose(one.centres[0], codes.mean(0), atol=1e-5)


def test_kmeans_is_as_good_as_any() -> None:
    codes = np.random.default_rng(1).normal(size=(400, 5)).astype(np.float32)
    best = KMeans(6, n_init=20, random_state=0).fit(codes).inertia_
    found = cluster(codes, 6)
    assert np.square(found.distances).sum() <= 1.02 * best
    nearest = metrics.pairwise_distances(codes, found.centres).argmin(1)
    np.testing.assert_array_equal(found.assignments, nearest)


def test_a_mixture_tells_a_sharp_cluster_inside_a_wide_one() -> None:
    random = np.random.default_rng(0)
    wide, sharp = random.normal(0, 3, (600, 2)), random.normal(0, 0.1, (300, 2))
    found = cluster(np.concatenate([wide, sharp]), 2, "mixture")
    assert found.assignments[600:].mean() > 0.98  # the smaller one is number 1
    assert found.assignments[:600].mean() < 0.05
    by_distance = cluster(np.concatenate([wide, sharp]), 2).assignments
    assert (by_distance[:600] == by_distance[600]).mean() > 0.3  # k-means cannot


def test_codes_are_taken_as_they_are() -> None:
    """A dimension of noise that is small beside the others must not decide; standardised, it would as much as they."""
    codes, labels = blobs()
    dead = np.random.default_rng(1).choice([-1e-3, 1e-3], (len(codes), 40))
    found = cluster(np.concatenate([codes, dead], 1), 3)
    np.testing.assert_array_equal(found.assignments, labels)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**20), st.integers(2, 5), st.integers(1, 4))
def test_figures_against_classes(seed: int, count: int, classes: int) -> None:
    random = np.random.default_rng(seed)
    codes = random.normal(size=(40, 2)).astype(np.float32)
    labels = random.integers(classes, size=40)
    found = cluster(embedding(codes, labels), count, seed=seed)
    groups = [labels[found.assignments == k] for k in range(count)]
    assert found.purity == pytest.approx(sum(np.bincount(g).max() for g in groups) / 40)
    assert found.nmi == pytest.approx(metrics.normalized_mutual_info_score(labels, found.assignments))
    assert found.ari == pytest.approx(metrics.adjusted_rand_score(labels, found.assignments))
    assert (np.diff(found.sizes) <= 0).all()


def test_purity_is_by_cluster_not_by_class() -> None:
    codes, labels = blobs()
    merged = cluster(embedding(codes, np.minimum(labels, 1)), 3)  # two clusters of one class
    assert merged.purity == 1
    assert merged.ari is not None
    assert merged.ari < 1
    assert cluster(embedding(codes, labels), 1).purity == 0.6


@pytest.mark.parametrize("how", ["kmeans", "mixture"])
def test_the_same_of_the_same_seed(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reverie.tasks.cluster.MOST_FITTED", 100)
    monkeypatch.setattr("reverie.tasks.cluster.MOST_COMPARED", 50)
    codes = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    first, again, other = (cluster(codes, 5, how, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.assignments, again.assignments)
    np.testing.assert_array_equal(first.centres, again.centres)
    assert first.silhouette == again.silhouette
    assert not np.array_equal(first.centres, other.centres)
    assert len(first.assignments) == 300  # all are assigned, those that nothing was fitted on too


@pytest.mark.parametrize("how", ["kmeans", "mixture"])
def test_another_start_of_another_seed(how: str) -> None:
    codes = np.random.default_rng(0).normal(size=(200, 4))
    assert not np.array_equal(cluster(codes, 20, how, seed=0).centres, cluster(codes, 20, how, seed=1).centres)


def test_mixtures_of_few_codes_and_hard_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    wide = np.concatenate([random.normal(0, 1, (12, 30)), random.normal(9, 1, (9, 30))])  # fewer codes than numbers
    np.testing.assert_array_equal(cluster(wide, 2, "mixture").assignments, np.repeat([0, 1], [12, 9]))
    with monkeypatch.context() as patch:  # full covariances of so few codes know no other code
        patch.setattr("reverie.tasks.cluster.MOST_FITTED", 30)
        many = np.concatenate([random.normal(0, 1, (150, 30)), random.normal(3, 1, (90, 30))])
        np.testing.assert_array_equal(cluster(many, 2, "mixture").assignments, np.repeat([0, 1], [150, 90]))
    flat = random.normal(size=(200, 1)) * [1, -2, 0]
    assert cluster(flat * 1e-6, 3, "mixture").sizes.min() > 0
    twins = np.repeat(np.eye(3), [5, 4, 3], 0)
    np.testing.assert_array_equal(cluster(twins, 3, "mixture").assignments, np.repeat([0, 1, 2], [5, 4, 3]))
    assert cluster(np.eye(3), 3).silhouette is None  # every cluster is one code


def test_what_cannot_be_clustered() -> None:
    codes, _ = blobs()
    with pytest.raises(ReverieError, match="clusters of 100 distinct codes must be at most 100, not 101"):
        cluster(codes, 101)
    with pytest.raises(ReverieError, match="clusters of 2 distinct codes must be at most 2, not 3"):
        cluster(np.repeat(np.eye(2), 9, 0), 3, "mixture")
    with pytest.raises(ReverieError, match="not 0"):
        cluster(codes, 0)
    with pytest.raises(ReverieError, match="by 'kmean'; did you mean 'kmeans'"):
        cluster(codes, 2, "kmean")
    with pytest.raises(ReverieError, match="diverged"):
        cluster(np.full((3, 2), np.nan), 1)
    for shape in ((0, 2), (2, 0), (3,)):
        with pytest.raises(ReverieError, match="table of N pictures by d numbers"):
            cluster(np.zeros(shape), 1)


# Sheets

PIXELS = np.array([[0, 0, 0], [20, 0, 0], [30, 0, 0], [250, 240, 250], [250, 250, 250], [8, 0, 0]], np.uint8)
LABELS = np.array([0, 2, 2, 1, 1, 2])


def first_pixels(sheet: Tensor, columns: int) -> list[list[int]]:
    return ((sheet[:, 0, 0, 0] + 1) * 127.5).round().int().view(-1, columns).tolist()


def test_a_sheet_has_a_row_a_cluster_nearest_first() -> None:
    data = Set(PIXELS)
    found = cluster(embed(Halves(), data), 2)
    assert found.nearest(0, 3).tolist() == [1, 5, 0]  # the mean is 14.5: off by 5.5, 6.5, 14.5 and 15.5
    assert found.nearest(1, 9).tolist() == [3, 4]
    sheet = contact_sheet(found, data, 3)
    assert sheet.shape == (6, 1, 1, 3)
    assert sheet.dtype == torch.float32
    assert first_pixels(sheet, 3) == [[20, 8, 0], [250, 250, 255]]
    assert torch.equal(contact_sheet(found, data, 3, Eye()), sheet)  # nothing to decode with
    decoded = contact_sheet(found, data, 3, Halves())
    assert first_pixels(decoded, 3) == [[14, 20, 8], [250, 250, 250]]
    assert ((decoded[3] + 1) * 127.5).flatten().tolist() == pytest.approx([250, 245, 250], abs=1e-3)


def test_a_centre_is_decoded_as_the_commonest_class_in_the_models_numbering() -> None:
    data = Set(PIXELS, LABELS)
    found = cluster(embed(Told(), data), 2)
    sheet = contact_sheet(found, data, 2, Told())
    assert sheet[[0, 2], 0, 0, 0].tolist() == [0.25, 0]  # cow is number 1 of the model, bee number 0


def test_codes_are_decoded_each_as_its_class() -> None:
    decoded = decode(Told(), np.zeros((5, 3)), torch.tensor([0, 2, 1, 1, 0]), batch=2)
    assert decoded[:, 0, 0, 0].tolist() == [0, 0.5, 0.25, 0.25, 0]


def test_an_empty_cluster_has_a_white_row() -> None:
    found = Clusters(np.zeros(6, np.int64), np.zeros((2, 3), np.float32), np.arange(6.0), None)
    assert first_pixels(contact_sheet(found, Set(PIXELS), 2), 2) == [[0, 20], [255, 255]]
    assert first_pixels(contact_sheet(found, Set(PIXELS), 2, Halves()), 2) == [[128, 0], [128, 255]]


def test_what_has_no_sheet() -> None:
    data = Set(PIXELS)
    found = cluster(embed(Halves(), data), 2)
    with pytest.raises(ReverieError, match="6 codes were clustered, and there are 5 pictures"):
        contact_sheet(found, Set(PIXELS[:5]), 3)
    with pytest.raises(ReverieError, match="columns must be at least 2, not 1"):
        contact_sheet(found, data, 1, Halves())
    with pytest.raises(ReverieError, match="columns must be at least 1, not 0"):
        contact_sheet(found, data, 0)
    with pytest.raises(ReverieError, match="have 2 numbers each, and the latent of Halves 3"):
        contact_sheet(cluster(embed(Eye(), data).codes[:, :2], 2), data, 3, Halves())
    with pytest.raises(ReverieError, match="needs class labels, and this data has none"):
        contact_sheet(found, data, 3, Told())
