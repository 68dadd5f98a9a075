"""Ex-post density estimation (Ghosh et al. 2020, "From variational to deterministic autoencoders", section 4).

A Gaussian mixture fitted on codes after training turns any autoencoder into a sampler.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from reverie.capabilities import Reconstructs
from reverie.engine.randomness import derive
from reverie.errors import ReverieError
from reverie.inference.embed import Embedding, embed
from reverie.inference.pictures import Data, model_of, pictures_of, sample_indices
from reverie.tasks.reconstruct import check_reconstructs

MOST_CODES = 10_000  # more codes improve the fit of ten Gaussians too little to be worth the time
ROUNDS = 40  # iterations of EM from k-means; the likelihood of held-out codes stops rising long before
FLOOR = 1e-6  # variance added to every direction, in units of that dimension's variance


def fit_mixture(model: object, data: Data, components: int = 10, seed: int = 0) -> int:
    """Fit ``components`` full-covariance Gaussians on codes by EM and store them in the model's ``mixture``.

    ``data`` are pictures, which are embedded, or codes: an `Embedding`, or its array (N, d). ``model`` may be a run,
    which then opens the pictures. Returns the number of components, which is smaller where there are fewer than d + 1
    codes for each, or fewer distinct codes. Constant dimensions get a very narrow density. At most `MOST_CODES` codes
    are used, sampled by ``seed``.
    """
    coder = check_reconstructs(model_of(model))
    codes = _codes(model, coder, data, seed)
    if len(codes) == 0:
        raise ReverieError("A mixture needs at least one code.")
    if not np.isfinite(codes).all():
        raise ReverieError("Some codes are not finite numbers, so no mixture can be fitted; the encoder has diverged.")
    if len(codes) > MOST_CODES:
        rows = np.random.default_rng(derive(seed, "mixture")).choice(len(codes), MOST_CODES, replace=False)
        codes = codes[np.sort(rows)]
    center, scale = codes.mean(0), codes.std(0)
    scale = np.maximum(scale, max(1e-3 * scale.max(), 1e-6))  # a dead dimension must not be scaled to unit variance
    white = (codes - center) / scale
    room = len(coder.mixture.weights)
    distinct = len(np.unique(codes, axis=0))
    count: int = max(1, min(components, room, len(codes) // (codes.shape[1] + 1), distinct))
    weights, means, covariances = _expectation_maximisation(white, count, seed)
    tril = np.linalg.cholesky(covariances) * scale[:, None]
    loaded = [torch.from_numpy(a.astype(np.float32)) for a in (weights, means * scale + center, tril)]
    coder.mixture.load(*loaded)
    return count


def _codes(model: object, coder: Reconstructs, data: Data, seed: int) -> NDArray[np.float64]:
    """The codes (N, d) of the data; no more pictures are embedded than are used."""
    if isinstance(data, np.ndarray) and data.ndim == 2:
        return np.asarray(data, np.float64)
    if not isinstance(data, Embedding):
        pictures = pictures_of(model, data)
        data = embed(coder, pictures, indices=sample_indices(pictures, MOST_CODES, seed))
    return np.asarray(data.codes, np.float64)


def _expectation_maximisation(
    codes: NDArray[np.float64], components: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Weights (K,), means (K, d) and positive definite covariances (K, d, d)."""
    if components == 1:
        covariance = np.cov(codes, rowvar=False, bias=True).reshape(codes.shape[1], codes.shape[1])
        return np.ones(1), codes.mean(0, keepdims=True), (covariance + FLOOR * np.eye(codes.shape[1]))[None]

    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    for floor in (FLOOR, 1e-4, 1e-2):  # EM can fail on clumped codes unless the Gaussians are kept wide
        fit = GaussianMixture(
            components, max_iter=ROUNDS, reg_covar=floor, random_state=derive(seed, "mixture") % 2**32
        )
        # EM makes many small products, for which synchronising BLAS threads costs far more than they save.
        with warnings.catch_warnings(), threadpool_limits(1):
            warnings.simplefilter("ignore")  # an unconverged mixture is still a density
            try:
                fit.fit(codes)
                np.linalg.cholesky(fit.covariances_)
            except (ValueError, np.linalg.LinAlgError):
                continue
        return fit.weights_, fit.means_, fit.covariances_
    return _expectation_maximisation(codes, 1, seed)
