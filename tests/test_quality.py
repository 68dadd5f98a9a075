"""Distances between sets of features, and what of one set lies among the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.kid import poly_mmd

from reverie.metrics import prdc as neighbours
from reverie.metrics.distances import frechet, kid, mmd2
from reverie.metrics.prdc import prdc


def features(count: int, size: int, seed: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    mixed = random.standard_normal((count, size)) @ np.random.default_rng(99).standard_normal((size, size))
    return torch.from_numpy((scale * mixed + shift).astype(np.float32))


def test_frechet_agrees_with_scipy() -> None:
    a, b = features(300, 20, 0), features(400, 20, 1, shift=0.5, scale=1.3)
    x, y = a.double().numpy(), b.double().numpy()
    s, t = np.cov(x.T), np.cov(y.T)
    wanted = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t) - 2 * np.trace(linalg.sqrtm(s @ t)).real
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-6)


def test_frechet_of_deficient_covariances() -> None:
    # Points on a line in 50 dimensions: the distance of two Gaussians in one dimension.
    line = torch.zeros(50, dtype=torch.float64)
    line[:3] = torch.tensor([0.6, 0.0, 0.8])
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(9))
    a, b = x[:, None] * line, (3 * x + 1)[:, None] * line
    wanted = (2 * x.mean() + 1) ** 2 + 4 * x.var()
    assert frechet(a, b) == pytest.approx(float(wanted), rel=1e-6)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)


def test_kid_agrees_with_torchmetrics_and_knows_its_error() -> None:
    a, b = features(60, 8, 0).double(), features(60, 8, 1, shift=0.3).double()
    assert float(mmd2(a, b)) == pytest.approx(float(poly_mmd(a, b, 3, None, 1.0)), rel=1e-9)
    values = [kid(features(200, 4, 2 * s), features(200, 4, 2 * s + 1)) for s in range(60)]
    z = np.array([v.value / v.standard_error for v in values])
    assert abs(z.mean()) < 0.6  # unbiased
    assert 0.6 < z.std() < 1.8  # and as uncertain as it says


def reference(real: np.ndarray, fake: np.ndarray) -> list[float]:
    """Precision, recall, density and coverage from whole matrices."""

    def radius(x: np.ndarray, k: int) -> np.ndarray:
        return NearestNeighbors(n_neighbors=k + 1).fit(x).kneighbors(x)[0][:, k]

    d = np.linalg.norm(real[:, None] - fake[None], axis=2)
    inside = d <= radius(real, 5)[:, None]
    return [
        (d <= radius(real, 3)[:, None]).any(0).mean(),
        (d <= radius(fake, 3)).any(1).mean(),
        inside.sum() / (5 * len(fake)),
        inside.any(1).mean(),
    ]


@pytest.mark.parametrize("numbers", [2**25, 700])
def test_overlap_agrees_with_whole_matrices(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "NUMBERS", numbers)
    real, fake = features(150, 5, 0).double(), features(110, 5, 1, shift=0.7, scale=0.8).double()
    found = prdc(real, fake)
    wanted = reference(real.numpy(), fake.numpy())
    assert [found.precision, found.recall, found.density, found.coverage] == pytest.approx(wanted, abs=1e-12)


def test_precision_is_of_the_generated_and_recall_of_the_real() -> None:
    left, right = features(100, 3, 0, scale=0.1), features(100, 3, 1, shift=50, scale=0.1)
    one_kind = prdc(torch.cat([left, right]), features(200, 3, 2, scale=0.1))
    assert one_kind.precision > 0.9
    assert one_kind.recall < 0.6
    assert one_kind.coverage < 0.6
    more_than_there_is = prdc(left, torch.cat([features(100, 3, 2, scale=0.1), right]))
    assert more_than_there_is.precision < 0.6
    assert more_than_there_is.recall > 0.9


def test_too_few_pictures_is_said() -> None:
    with pytest.raises(ValueError, match="at least 6 pictures"):
        prdc(features(5, 2, 0), features(9, 2, 1))
    with pytest.raises(ValueError, match="at least 4 pictures"):
        kid(features(3, 2, 0), features(9, 2, 1))
    with pytest.raises(ValueError, match="at least 2 pictures"):
        frechet(features(1, 2, 0), features(9, 2, 1))
