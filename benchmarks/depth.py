"""A VAE on pictures that live in 200 of 65,536 levels: how well it rebuilds them, and what its commands write.

python benchmarks/depth.py [--steps 1500] [--pictures 2000] [--folder FOLDER]

Makes 16-bit PNGs of soft discs over gradients with values from 30,000 to 30,200, trains ``vae`` on them, and measures
the RMS error of held-out pictures in levels of the file, beside that of each picture's own mean and of the mean picture
of the training set. Then `reverie reconstruct` and `reverie sample` write PNGs, whose levels are counted.
"""

from __future__ import annotations

import argparse
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from results import save

import reverie
from reverie.cli import main as command

LOW, HIGH, SIDE = 30000, 30200, 24


def draw(count: int, seed: int) -> NDArray[np.uint16]:
    """(N, H, W): a soft disc of any place, size and shade over a gradient of any direction."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / (SIDE - 1)
    pictures = np.empty((count, SIDE, SIDE))
    for i in range(count):
        angle, y, x = random.uniform(0, 2 * np.pi), *random.uniform(0.25, 0.75, 2)
        slope = (np.cos(angle) * (rows - 0.5) + np.sin(angle) * (columns - 0.5)) / np.sqrt(2)
        disc = 1 / (1 + np.exp((np.hypot(rows - y, columns - x) - random.uniform(0.15, 0.3)) * 25))
        shade = random.uniform(0, 1)
        pictures[i] = (0.5 + 0.8 * slope) * (1 - disc) + shade * disc
    return np.rint(LOW + (HIGH - LOW) * pictures.clip(0, 1)).astype(np.uint16)


def rms(output: NDArray[Any], wanted: NDArray[Any]) -> float:
    """In percent of the range that the pictures use."""
    return float(100 * np.sqrt(np.square(output - wanted).mean()) / (HIGH - LOW))


def ask(*words: str) -> None:
    """A command, as one types it."""
    with suppress(SystemExit):
        command(words)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp())
    pictures = folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    for i, picture in enumerate(draw(given.pictures, 0)):
        Image.fromarray(picture).save(pictures / f"{i:05}.png")
    settings = {
        "model": {"latent": 8, "warmup": 0.1, "lr": 2e-3},
        "train": {"steps": given.steps, "batch_size": 64, "sample_every": given.steps},
    }
    run = reverie.train("vae", str(pictures), folder / "run", settings=settings, quiet=True)
    data = reverie.open_dataset(str(pictures))
    test, train = data.split("test"), data.split("train")
    images = reverie.to_tensor(test.batch(np.arange(len(test))))
    (scale,) = run.image_spec.scales

    def in_files(tensor: Any) -> NDArray[np.float64]:
        return scale.values((tensor.double().numpy() + 1) / 2)

    wanted = in_files(images)
    rebuilt = in_files(reverie.reconstruct(run.model, images))
    mean = in_files(reverie.to_tensor(train.batch(np.arange(len(train))))).mean(0, keepdims=True)
    ask("reconstruct", str(folder / "run"), str(pictures), "--out", str(folder / "rebuilt.png"), "--count", "8")
    ask("sample", str(folder / "run"), "--out", str(folder / "drawn.png"), "--count", "8")
    written = {}
    for name in ("rebuilt", "drawn"):
        image = Image.open(folder / f"{name}.png")
        levels = np.unique(np.asarray(image))
        inside = levels[levels > 0]  # zero is what lies between the pictures
        if name == "rebuilt":  # its lower half alone is the model's
            below = np.unique(np.asarray(image)[SIDE + 2 :])
            inside = below[below > 0]
        written[name] = {
            "mode": image.mode,
            "levels": len(inside),
            "least": int(inside.min()),
            "greatest": int(inside.max()),
        }
    save(
        "depth",
        {
            "range_of_the_run": [scale.low, scale.high],
            "depth": scale.depth,
            "notes": data.found["notes"],
            "test_pictures": len(test),
            "rms_percent_of_range": {
                "vae": rms(rebuilt, wanted),
                "own_mean": rms(wanted.mean((1, 2, 3), keepdims=True), wanted),
                "mean_picture": rms(mean, wanted),
            },
            "written": written,
            "steps": given.steps,
            "settings": run.config["settings"],
        },
        seed=0,
        data=f"{given.pictures} discs of {SIDE}x{SIDE} in values {LOW} to {HIGH}, 16-bit PNG",
    )


if __name__ == "__main__":
    main()
