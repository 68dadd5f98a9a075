"""Reconstruction error of the autoencoder against the size of its latent, beside PCA with as many components.

    python benchmarks/ae_curve.py --data mnist.npz [--steps 3000] [--latents 2 5 16 32 64] [--docs docs]

Trains one ``ae`` a size, and writes ae_curve.json and docs/ae-curve.svg: MSE on the test pictures, pixels in [0, 1],
outputs clamped; and docs/ae-reconstructions.png: test pictures above what latents of 2, 5 and 16 make of them. PCA
(Hinton and Salakhutdinov 2006 compare with it) is fitted on the same training pictures.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from results import save

import reverie
from reverie.capabilities import Reconstructs
from reverie.evaluation.reconstruction import reconstruction
from reverie.metrics.pca import pca
from reverie.reporting import charts
from reverie.reporting.charts import Spot

COLUMNS = 16
PICTURED = (2, 5, 16)


def pca_errors(train: NDArray[np.uint8], test: NDArray[np.uint8], sizes: list[int]) -> list[float]:
    """Test MSE of the best linear code of each size."""
    known, new = (a.reshape(len(a), -1).astype(np.float32) / 255 for a in (train, test))
    found = pca(torch.from_numpy(known).double())
    mean, axes = found.mean.numpy(), found.axes.numpy()
    errors = []
    for size in sizes:
        rebuilt = (new - mean) @ axes[:, :size] @ axes[:, :size].T + mean
        errors.append(float(np.mean((rebuilt.clip(0, 1) - new) ** 2, dtype=np.float64)))
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--latents", type=int, nargs="+", default=[2, 5, 16, 32, 64])
    parser.add_argument("--steps", type=int, default=3000, help="of training for each size")
    parser.add_argument("--docs", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    data = reverie.open_dataset(arguments.data)
    train, test = data.split("train"), data.split("test")
    errors = []
    shown = reverie.to_tensor(test.batch(np.arange(COLUMNS)))
    rows = [shown]
    for size in arguments.latents:
        with tempfile.TemporaryDirectory() as folder:
            settings = {"model": {"latent": size}, "train": {"steps": arguments.steps, "lr": 2e-3}}
            run = reverie.train("ae", arguments.data, Path(folder) / "run", settings=settings, quiet=True)
        assert isinstance(run.model, Reconstructs)
        errors.append(float(reconstruction(run.model, test).mse.mean()))
        if size in PICTURED:
            rows.append(reverie.reconstruct(run.model, shown))
    reverie.save_grid(torch.cat(rows), arguments.docs / "ae-reconstructions.png", columns=COLUMNS)
    linear = pca_errors(train.batch(np.arange(len(train))), test.batch(np.arange(len(test))), arguments.latents)
    result = {
        "train_pictures": len(train),
        "test_pictures": len(test),
        "steps": arguments.steps,
        "latent": arguments.latents,
        "ae_mse": errors,
        "pca_mse": linear,
    }
    name = Path(arguments.data).name
    title = f"Autoencoder and PCA on {name}"
    curves = {
        f"{label} {line[-1]:.3g}": [Spot(x, y) for x, y in zip(arguments.latents, line, strict=True)]
        for label, line in (("PCA", linear), ("ae", errors))
    }
    chart = charts.lines(title, "size of the latent", "test MSE", curves, zero=True)
    (arguments.docs / "ae-curve.svg").write_text(chart)
    save("ae_curve", result, seed=0, data=name)


if __name__ == "__main__":
    main()
