"""A VAE on MNIST: importance-weighted test bound and samples.

python benchmarks/mnist_vae.py --data mnist.npz [--minutes 15 | --run RUN] [--samples 500]

Trains on dynamically binarised pictures (Bernoulli likelihood), measures the bound on the whole test set, and counts
the classes of 1,000 samples by their five nearest training pictures. --run takes a run that was trained before.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from results import save
from sklearn.neighbors import KNeighborsClassifier

import reverie

SETTINGS = {
    "model": {"likelihood": "bernoulli", "warmup": 0.1},
    "train": {"batch_size": 64, "lr": 2e-3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--picture", type=Path, default=Path("docs/mnist-samples.png"))
    given = parser.parse_args()
    if given.run:
        run = reverie.load(given.run)
    else:
        settings = {**SETTINGS, "train": SETTINGS["train"] | {"minutes": given.minutes}}
        run = reverie.train("vae", given.data, "runs/mnist-vae", settings=settings)
    data = reverie.open_dataset(given.data)
    figures = reverie.evaluate(run.model, data.split("test"), samples=given.samples)
    pictures = reverie.sample(run.model, 1000)
    reverie.save_grid(pictures[:100], given.picture, columns=20)
    train = data.split("train")
    assert train.labels is not None
    known = KNeighborsClassifier(5).fit(train.batch(np.arange(len(train))).reshape(len(train), -1), train.labels)
    classes = np.bincount(known.predict(reverie.to_uint8(pictures).reshape(1000, -1)), minlength=10)
    logged = [json.loads(line) for line in (run.path / "events.jsonl").read_text().splitlines()]
    finished = [line["time"] for line in logged if line.get("finished")]
    figures |= {
        "classes_of_1000_samples": classes.tolist(),
        "settings": run.config["settings"],
        "training_minutes": round((finished[0] - logged[0]["time"]) / 60, 1),
    }
    save("mnist_vae", figures, seed=0, data=Path(given.data).name)


if __name__ == "__main__":
    main()
