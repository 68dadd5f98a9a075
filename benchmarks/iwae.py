"""IWAE beside VAE: the same network, data, seed and number of steps; the importance-weighted test bound of each.

python benchmarks/iwae.py --data mnist.npz [--steps 6000] [--k 5] [--seeds 1]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from results import save

import reverie


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    test = reverie.open_dataset(given.data).split("test")
    rows = []
    for seed in range(given.seeds):
        row: dict[str, Any] = {"seed": seed}
        for name, more in (("vae", {}), ("iwae", {"samples": given.k})):
            settings = {
                "model": {"likelihood": "bernoulli", "network": "mlp", "depth": 2, "warmup": 0.1} | more,
                "train": {"steps": given.steps, "seed": seed},
            }
            with tempfile.TemporaryDirectory() as folder:
                run = reverie.train(name, given.data, Path(folder) / "run", settings=settings, quiet=True)
            figures = reverie.evaluate(run.model, test, ["likelihood"], samples=500, limit=2000)["likelihood"]
            row[name] = {key: figures[key] for key in ("elbo", "iw_bound", "iw_bound_standard_error")}
        rows.append(row)
    save("iwae", {"k": given.k, "steps": given.steps, "rows": rows}, seed=0, data=Path(given.data).name)


if __name__ == "__main__":
    main()
