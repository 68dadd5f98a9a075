"""Whether a translator between faces with and without glasses changes the glasses, and nothing else.

python benchmarks/glasses.py --run RUN [--faces 500] [--seed 0] [--threads 2]

RUN is a translator of the built-in faces with data.pair=unpaired: side A plain, side B with glasses. Held-out faces of
either side are translated; a reader of factors (features/factors.py), which learned from faces of the built-in set
and never saw a translation, reads them before and after. ``changed``: the share whose glasses came or went. ``drift``:
of every other factor the mean absolute change in standard deviations of the data; of hair, which is no number, the
share of faces that changed. ``reader``: the mean absolute error (or share of errors) of the reader on the faces before,
in the same units. Leaves benchmarks/results/glasses.json.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from measured import parsed, parser_for
from results import save

import reverie
from reverie.capabilities import Translates
from reverie.config import configure
from reverie.data import DataOptions, Pairs
from reverie.data.faces import FACTORS
from reverie.data.image_io import to_tensor
from reverie.features.factors import factor_reader
from reverie.inference.pictures import sample_indices
from reverie.tasks.translate import translate

BATCH = 50


def main() -> None:
    parser = parser_for(__doc__, "run")
    parser.add_argument("--faces", type=int, default=500)
    given = parsed(parser)
    run = reverie.load(given.run)
    options = configure(DataOptions, run.config["settings"]["data"], "data")
    test = reverie.open_dataset("faces", options).split("test")
    assert isinstance(test, Pairs)
    assert isinstance(run.model, Translates)
    single = reverie.open_dataset("faces", replace(options, pair="", swap=False)).split("train")
    assert single.factors is not None
    spread = {factor.name: float(np.std(single.factors[factor.name])) for factor in FACTORS}
    reader = factor_reader(single)
    figures: dict[str, Any] = {"model": run.name, "settings": run.config["settings"]}
    for way in run.model.directions:
        side = test.side(way[0])
        rows = sample_indices(side, given.faces, given.seed)
        faces, factors = to_tensor(side.batch(rows)), side.factors
        assert factors is not None
        made = torch.cat([translate(run.model, part, way) for part in faces.split(BATCH)])
        before, after = reader.read(faces), reader.read(made)
        drift, error = {}, {}
        for factor in FACTORS:
            truth = factors[factor.name][rows]
            for found, new, old in ((drift, after, before), (error, before, {factor.name: truth})):
                change = np.abs(new[factor.name] - old[factor.name])
                found[factor.name] = float(
                    (change > 0).mean() if factor.values else change.mean() / spread[factor.name]
                )
        changed = drift.pop("glasses")
        figures[way] = {"changed": changed, "drift": drift, "reader": error, "faces": len(rows)}
    save("glasses", figures, seed=given.seed, data="faces")


if __name__ == "__main__":
    main()
