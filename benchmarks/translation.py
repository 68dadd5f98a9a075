"""How good translations are after some minutes: against the truth, as a set, there and back; best and last.

python benchmarks/translation.py MODEL --data SPEC --name facades [--minutes 30] [--threads 2] [--seed 0]
    [--measurements 6] [--features pixels] [--set data.pair=halves ...] [--picture docs/NAME.png] [--keep DIR]

Trains by `reverie.train`, which measures held-out translations along the way and keeps the best weights; then measures
the best and the last by `reverie.evaluate`, beside the floor: held-out pictures of each side against training pictures
of that side. Leaves benchmarks/results/translation_MODEL_NAME.json; a picture of each direction, unselected held-out
pictures in groups of rows (input, translation, back again where the model goes both ways, truth where there is one);
and one of the first direction after about a tenth, a half and all of the training, beside each other.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from results import save

import reverie
from reverie.capabilities import Translates
from reverie.config import configure, parse_settings
from reverie.data import DataOptions
from reverie.data.pictures import GAP
from reverie.engine.events import read_metrics, read_quality
from reverie.tasks.translations import translations

PACED = 0.3  # minutes of the trial that says how many pictures fit the budget
COLUMNS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--data", required=True)
    parser.add_argument("--name", required=True, help="of the task, in the file's name")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measurements", type=int, default=6)
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
    measure: dict[str, Any] = {"metrics": ["translation"], "training": training, "features": given.features}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary) / "run"
        paced = settings | {"train": settings["train"] | {"minutes": PACED, "evaluate_every": 0}}
        trial = reverie.train(given.model, given.data, Path(temporary) / "trial", settings=paced, quiet=True)
        seen = trial.config["settings"]["train"]["steps"] * trial.config["settings"]["train"]["batch_size"]
        settings["train"]["evaluate_every"] = max(1, int(seen * given.minutes / PACED / given.measurements))
        run = reverie.train(given.model, given.data, folder, settings=settings)
        lines, best = read_quality(folder)
        assert best is not None
        kept = reverie.load(folder / "best").model
        figures: dict[str, Any] = {
            "last": reverie.evaluate(run.model, test, **measure)["translation"],
            "best": reverie.evaluate(kept, test, **measure)["translation"],
            "best_at_step": best["step"],
            "last_at_step": lines[-1]["step"],
            "along_the_way": [
                {k: v for k, v in line.items() if k == "step" or k.startswith(("frechet", "l1", "ssim", "cycle_l1"))}
                for line in lines
            ],
            "images_seen": read_metrics(folder)[-1]["images"],
            "minutes": given.minutes,
            "threads": given.threads,
            "settings": run.config["settings"],
        }
        model = run.model
        assert isinstance(model, Translates)
        picture = given.picture or Path(f"docs/{given.model}-{given.name}.png")
        for way in model.directions:
            out = picture.with_stem(f"{picture.stem}-{way}") if len(model.directions) > 1 else picture
            reverie.save_grid(translations(model, test, way, COLUMNS), out, COLUMNS)
        over_time(folder, model, dataset, picture.with_stem(f"{picture.stem}-over-time"))
    data = Path(given.data).name if "/" in given.data else given.data
    save(f"translation_{given.model}_{given.name}", figures, seed=given.seed, data=data)


def over_time(folder: Path, model: Translates, dataset: Any, path: Path) -> None:
    """The first four columns of the first group of rows after about a tenth, a half and all of the training."""
    found = sorted((folder / "samples").glob("*-ab.png"))
    rows = 2 + (len(model.directions) == 2) + dataset.paired
    height, width = (side + GAP for side in dataset.facts.shape[1:])
    parts = []
    for file in (found[0], found[len(found) // 2], found[-1]):
        with Image.open(file) as opened:
            parts.append(opened.convert("RGB").crop((0, 0, 4 * width - GAP, rows * height - GAP)))
    sheet = Image.new("RGB", (sum(p.width for p in parts) + 8 * GAP * (len(parts) - 1), parts[0].height))
    for number, part in enumerate(parts):
        sheet.paste(part, (number * (part.width + 8 * GAP), 0))
    sheet.save(path)


if __name__ == "__main__":
    main()
