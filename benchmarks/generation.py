"""How good the pictures of a model are after some minutes: distances, fidelity, diversity, classes; best and last.

python benchmarks/generation.py MODEL --data SPEC --name mnist [--minutes 15] [--threads 1] [--seed 0]
    [--measurements 6] [--generated 10000] [--set model.width=32 ...] [--picture docs/NAME.png]

Trains by `reverie.train`, which measures quality along the way and keeps the best weights; then measures the best and
the last on more samples, by `reverie.evaluate`, beside the floor: real test pictures against real training pictures.
``minutes`` is the time the budget was reckoned for, ``wall_seconds`` what all of it took, measurements included.
``ratio_of_last_to_best`` is that of the Frechet distances along the training. Leaves
benchmarks/results/generation_MODEL_NAME.json, and a grid of unselected samples, each class a column where there are
classes.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from results import save

import reverie
from reverie.capabilities import Conditions, Samples
from reverie.config import configure, parse_settings
from reverie.data import DataOptions
from reverie.engine.events import read_metrics, read_quality

SHOWN = 80


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", required=True, help="of the data, in the file's name")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measurements", type=int, default=6)
    parser.add_argument("--generated", type=int, default=10_000)
    parser.add_argument("--features", default="auto")
    parser.add_argument("--set", nargs="+", default=[], help="section.key=value, as reverie train takes it")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the run in this folder")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    settings: dict[str, dict[str, Any]] = {k: dict(v) for k, v in parse_settings(given.set).items()}
    dataset = reverie.open_dataset(given.data, configure(DataOptions, settings["data"], "data"))
    training, test = dataset.split("train"), dataset.split("test")
    settings["train"] |= {"minutes": given.minutes, "seed": given.seed, "features": given.features}
    measure: dict[str, Any] = {
        "metrics": ["quality"], "training": training, "features": given.features, "generated": given.generated
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary) / "run"
        # How many pictures will be seen is known only once training has begun: one step says how many fit the minutes.
        trial = reverie.train(given.model, given.data, Path(temporary) / "trial", settings=_pace(settings), quiet=True)
        seen = trial.config["settings"]["train"]["steps"] * trial.config["settings"]["train"]["batch_size"]
        settings["train"]["evaluate_every"] = max(1, int(seen * given.minutes / PACED / given.measurements))
        run = reverie.train(given.model, given.data, folder, settings=settings)
        lines, best = read_quality(folder)
        assert best is not None
        figures: dict[str, Any] = {
            "last": reverie.evaluate(run.model, test, **measure)["quality"],
            "best": reverie.evaluate(reverie.load(folder / "best").model, test, **measure)["quality"]["samples"],
            "best_at_step": best["step"],
            "last_at_step": lines[-1]["step"],
            "ratio_of_last_to_best": lines[-1]["frechet"] / best["frechet"],
            "along_the_way": [
                {k: line[k] for k in ("step", "frechet", "precision", "recall", "class_entropy") if k in line}
                for line in lines
            ],
            "images_seen": read_metrics(folder)[-1]["images"],
            "minutes": given.minutes,
            "threads": given.threads,
            "settings": run.config["settings"],
        }
        assert isinstance(run.model, Samples)
        columns = len(run.model.classes) if isinstance(run.model, Conditions) else 16
        picture = given.picture or Path(f"docs/{given.model}-{given.name}.png")
        reverie.save_grid(reverie.sample(run.model, SHOWN, seed=1), picture, columns)
    data = Path(given.data).name if "/" in given.data else given.data
    save(f"generation_{given.model}_{given.name}", figures, seed=given.seed, data=data)


PACED = 0.3  # minutes of the trial


def _pace(settings: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return settings | {"train": settings["train"] | {"minutes": PACED, "evaluate_every": 0}}


if __name__ == "__main__":
    main()
