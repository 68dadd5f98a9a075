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

from pathlib import Path

from measured import arguments, measured, parsed

import reverie
from reverie.capabilities import Conditions, Samples

SHOWN = 80
ALONG = ("frechet", "precision", "recall", "class_entropy")


def main() -> None:
    parser = arguments(__doc__, minutes=15)
    parser.add_argument("--generated", type=int, default=10_000)
    given = parsed(parser)
    with measured(given) as found:
        figures = found.figures("quality", ALONG.__contains__, generated=given.generated)
        figures["best"] = figures["best"]["samples"]
        model = found.run.model
        assert isinstance(model, Samples)
        columns = len(model.classes) if isinstance(model, Conditions) else 16
        picture = given.picture or Path(f"docs/{given.model}-{given.name}.png")
        reverie.save_grid(reverie.sample(model, SHOWN, seed=1), picture, columns)
        found.save("generation", figures)


if __name__ == "__main__":
    main()
