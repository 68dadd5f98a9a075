"""Pure functions on arrays, against other programs or by hand; distances of sets are in test_quality.py."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from sklearn.decomposition import PCA
from torchmetrics.classification import MulticlassJaccardIndex

from reverie.metrics.clustering import agreement, contingency
from reverie.metrics.distances import kid, mmd2, unbiased_mmd
from reverie.metrics.images import l1, mse
from reverie.metrics.pca import pca, signed
from reverie.metrics.ranking import auprc, auroc
from reverie.metrics.segmentation import mean_iou, overlaps, pixel_accuracy


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("levels", [3, 1000])
def test_areas_under_curves(levels: int) -> None:
    random = np.random.default_rng(levels)
    scores, positive = random.integers(0, levels, 90).astype(float), random.random(90) < 0.3
    scores[positive] += 0.3 * levels
    scores[scores > scores.max() - 1] = np.inf
    yes, no = scores[positive], scores[~positive]
    assert auroc(scores, positive) == pytest.approx(mannwhitneyu(yes, no).statistic / (len(yes) * len(no)), abs=1e-12)
    precision = [(yes >= at).sum() / (scores >= at).sum() for at in yes]
    assert auprc(scores, positive) == pytest.approx(np.mean(precision), abs=1e-12)


def test_what_has_no_area() -> None:
    for area in (auroc, auprc):
        for kinds in ([True, True], [False, False]):
            with pytest.raises(ValueError, match="positives and negatives"):
                area(np.array([0.0, 1.0]), np.array(kinds))
        with pytest.raises(ValueError, match="not numbers"):
            area(np.array([0.0, np.nan]), np.array([True, False]))


def test_scores_that_float32_cannot_tell_apart_are_told_apart() -> None:
    assert auroc(np.array([1e9, 1e9 + 1]), np.array([False, True])) == 1


@pytest.mark.parametrize("shape", [(40, 6), (7, 12)])
def test_principal_components_are_those_of_scikit_learn(shape: tuple[int, int]) -> None:
    points = numbers(*shape) * torch.linspace(1, 4, shape[1]) + 3
    found, count = pca(points), min(shape[0] - 1, shape[1])
    wanted = PCA(count, svd_solver="full").fit(points.numpy())
    assert found.rank == count
    np.testing.assert_allclose(found.mean, wanted.mean_)
    np.testing.assert_allclose(found.variance[:count], wanted.explained_variance_)
    axes, other = signed(found.axes[:, :count]), signed(torch.from_numpy(wanted.components_.T.copy()))
    np.testing.assert_allclose(axes, other, atol=1e-9)
    assert (axes.gather(0, axes.abs().argmax(0, keepdim=True)) > 0).all()


def test_rank_counts_the_directions_in_which_points_vary() -> None:
    assert pca(numbers(30, 2) @ numbers(2, 5, seed=1)).rank == 2
    assert pca(numbers(2, 9)).rank == 1
    assert pca(torch.ones(4, 3)).rank == 0
    assert pca(torch.ones(1, 3)).rank == 0


def test_unbiased_mmd_leaves_out_points_with_themselves() -> None:
    x, y = numbers(5, 3), numbers(4, 3, seed=1) + 1
    pairs = [float(x[i] @ x[j]) for i in range(5) for j in range(5) if i != j]
    others = [float(y[i] @ y[j]) for i in range(4) for j in range(4) if i != j]
    wanted = np.mean(pairs) + np.mean(others) - 2 * float((x @ y.T).mean())
    assert float(unbiased_mmd(x, y, lambda a, b: a @ b.T)) == pytest.approx(wanted)


def test_blocks_of_the_kernel_distance_follow_each_other() -> None:
    a, b = numbers(31, 4), numbers(50, 4, seed=1) + 0.5
    found = kid(a, b)
    assert (found.block, found.blocks) == (3, 10)
    values = [float(mmd2(a[3 * i : 3 * i + 3], b[3 * i : 3 * i + 3])) for i in range(10)]
    assert found.value == pytest.approx(np.mean(values))
    assert found.standard_error == pytest.approx(np.std(values, ddof=1) / np.sqrt(10))


def test_errors_of_pictures_are_of_what_is_shown() -> None:
    output, target = torch.full((1, 2, 3, 3), 5.0), torch.zeros(1, 2, 3, 3)
    target[0, 0] = -1
    assert l1(output, target).tolist() == [0.75]
    assert mse(output, target).tolist() == [0.625]


def test_maps_of_labels() -> None:
    random = torch.Generator().manual_seed(0)
    output, target = torch.randint(4, (2, 3, 6, 5), generator=random)
    shares = [(output[i] == target[i]).double().mean() for i in range(3)]
    assert pixel_accuracy(output, target).tolist() == shares
    counts = overlaps(output, target, 5)  # of the fifth there is nothing
    assert counts.shape == (3, 5, 2)
    wanted = MulticlassJaccardIndex(4, average="macro")(output, target)
    assert mean_iou(counts) == pytest.approx(float(wanted), rel=1e-6)
    assert mean_iou(overlaps(target, target, 5)) == 1


def test_agreement_of_clusters_and_classes() -> None:
    assignments, labels = np.array([0, 0, 0, 2, 2, 2]), np.array([1, 1, 0, 0, 0, 0])
    assert contingency(assignments, labels, 4).tolist() == [[1, 2], [0, 0], [3, 0], [0, 0]]
    found = agreement(assignments, labels)
    assert found.purity == pytest.approx(5 / 6)
    # By hand: 4 pairs are together in both, 6 by clusters, 7 by classes, of 15.
    assert found.ari == pytest.approx((4 - 6 * 7 / 15) / ((6 + 7) / 2 - 6 * 7 / 15))
    assert agreement(labels, labels).nmi == pytest.approx(1)
