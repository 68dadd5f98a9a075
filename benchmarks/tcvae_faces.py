"""beta-TCVAE on faces: traversals in which single factors move, and how well each latent tells each factor.

python benchmarks/tcvae_faces.py [--minutes 4] [--picture docs/tcvae-traversals.png]

Each row of the picture moves one latent. The JSON has, for the informative latents, the factor whose squared
correlation (of the factor, over held-out faces) with that latent is largest, and that of the runner-up.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from results import save

import reverie


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4)
    parser.add_argument("--beta", type=float, default=60)
    parser.add_argument("--latent", type=int, default=12)
    parser.add_argument("--picture", type=Path, default=Path("docs/tcvae-traversals.png"))
    given = parser.parse_args()
    settings = {
        "model": {"beta": given.beta, "latent": given.latent},
        "train": {"minutes": given.minutes},
    }
    with tempfile.TemporaryDirectory() as folder:
        run = reverie.train("beta-tcvae", "faces:32", Path(folder) / "run", settings=settings)
    test = reverie.open_dataset("faces:32").split("test")
    found = reverie.embed(run.model, test)
    image = reverie.to_tensor(test.batch(np.array([0])))[0]
    grid = reverie.traverse(run.model, image, found, rows=10, columns=11)
    reverie.save_grid(grid.pictures, given.picture, columns=11)
    assert test.factors is not None
    rows = {}
    for dimension in grid.dimensions:
        each = {k: float(np.corrcoef(found.codes[:, dimension], v)[0, 1] ** 2) for k, v in test.factors.items()}
        first, second = sorted(each, key=lambda k: -each[k])[:2]
        rows[dimension] = {first: round(each[first], 3), second: round(each[second], 3)}
    figures = {"latents": rows, "kl_nats": None if found.kl is None else np.round(found.kl, 2).tolist()}
    save("tcvae_faces", figures | {"settings": settings}, seed=0, data="faces:32")


if __name__ == "__main__":
    main()
