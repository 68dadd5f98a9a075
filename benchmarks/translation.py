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

from pathlib import Path
from typing import Any

from measured import arguments, measured, parsed
from PIL import Image

import reverie
from reverie.capabilities import Translates
from reverie.data import Pairs
from reverie.data.image_io import GAP
from reverie.tasks.translation_grid import translation_grid

COLUMNS = 8
ALONG = ("frechet", "l1", "ssim", "cycle_l1")


def main() -> None:
    given = parsed(arguments(__doc__, minutes=30))
    with measured(given) as found:
        figures = found.figures("translation", lambda key: key.startswith(ALONG))
        model, test = found.run.model, found.dataset.split("test")
        assert isinstance(model, Translates)
        assert isinstance(test, Pairs)
        picture = given.picture or Path(f"docs/{given.model}-{given.name}.png")
        for way in model.directions:
            out = picture.with_stem(f"{picture.stem}-{way}") if len(model.directions) > 1 else picture
            reverie.save_grid(translation_grid(model, test, way, COLUMNS), out, COLUMNS)
        over_time(found.run.path, model, found.dataset, picture.with_stem(f"{picture.stem}-over-time"))
        found.save("translation", figures)


def over_time(folder: Path, model: Translates, dataset: Any, path: Path) -> None:
    """The first four columns of the first group of rows after about a tenth, a half and all of the training."""
    found = sorted((folder / "samples").glob("*-ab.png"))
    rows = 2 + (len(model.directions) == 2) + dataset.paired
    height, width = (side + GAP for side in dataset.image_spec.shape[1:])
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
