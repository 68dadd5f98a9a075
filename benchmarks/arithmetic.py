"""Whether adding "smile - neutral" to neutral faces makes them smile, and leaves everything else as it was.

python benchmarks/arithmetic.py --run RUN [--name faces-vae] [--faces 100] [--terms 500] [--near 0]
    [--device cpu] [--picture ...]

RUN learned from the built-in faces. Terms are training faces: those whose smile is in the upper fifth, and neutral ones
(within a tenth of the factor's range of its middle). Latents are codes, or projections where there is no encoder.
Held-out neutral faces get the change; a reader of factors (features/factors.py), which never saw a drawn face, reads
the picture of their latent before and after. ``changed``: the smile moved up by at least half of what it should have,
which is how far apart the terms are. ``moved``: mean absolute change of each other factor in standard deviations of the
data; of hair and glasses, which are no numbers, the share of faces that changed. The same for the effect by multiple
regression, which holds the other factors fixed, at equal length of step; with ``--near`` also for the means of so many
faces of each term that are most like the one to change. Leaves benchmarks/results/arithmetic_NAME.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import alike, parsed, parser_for
from numpy.typing import NDArray
from results import save
from torch import Tensor

import reverie
from reverie.data import Dataset
from reverie.data.faces import FACTORS
from reverie.data.image_io import to_tensor
from reverie.features.factors import FactorReader, factor_reader
from reverie.tasks.arithmetic import edited, nearby, total
from reverie.tasks.directions import effects
from reverie.tasks.project import latents_of
from reverie.tasks.reconstruct import grid_rows

NEUTRAL = 0.2  # of -1 .. 1


def changes(
    reader: FactorReader, before: Tensor, after: Tensor, wanted: float, deviations: dict[str, float]
) -> dict[str, Any]:
    """What was changed and moved; see above."""
    old, new = reader.read(before), reader.read(after)
    smile = new["smile"] - old["smile"]
    moved = {}
    for factor in FACTORS:
        if factor.name == "smile":
            continue
        if factor.values:
            moved[factor.name] = float((new[factor.name] != old[factor.name]).mean())
        else:
            moved[factor.name] = float(np.abs(new[factor.name] - old[factor.name]).mean() / deviations[factor.name])
    return {
        "changed": float((smile >= wanted / 2).mean()),
        "mean_change_of_smile": float(smile.mean()),
        "moved": moved,
        "most_moved": max(moved.values()),
    }


def main() -> None:
    parser = parser_for(__doc__, "run", "name")
    parser.add_argument("--faces", type=int, default=100)
    parser.add_argument("--terms", type=int, default=500)
    parser.add_argument("--near", type=int, default=0)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", type=Path)
    given = parsed(parser)
    run = reverie.load(given.run, given.device)
    whole = alike(run, "faces")
    reader = factor_reader(whole.split("train"), given.device)
    training, test = whole.split("train"), whole.split("test")
    factors, held_out = training.factors, test.factors
    assert factors is not None
    assert held_out is not None
    smile = factors["smile"]
    random = np.random.default_rng(given.seed)
    neutral = random.permutation(np.flatnonzero(np.abs(smile) <= NEUTRAL))[: given.terms]
    smiling = random.permutation(np.flatnonzero(smile >= np.quantile(smile, 0.8)))[: given.terms]
    shown = random.permutation(np.flatnonzero(np.abs(held_out["smile"]) <= NEUTRAL))[: given.faces]

    def codes(dataset: Dataset, rows: NDArray[np.int64]) -> Tensor:
        return latents_of(run.model, to_tensor(dataset.batch(rows)), seed=given.seed)

    latents = {"smiling": codes(training, smiling), "neutral": codes(training, neutral), "faces": codes(test, shown)}
    change = total([(1, latents["smiling"]), (-1, latents["neutral"])])
    wanted = float(smile[smiling].mean() - smile[neutral].mean())
    rows = np.concatenate([smiling, neutral])
    values: dict[str, NDArray[np.float64]] = {}
    for factor in FACTORS:
        column = factors[factor.name][rows].astype(np.float64)
        for value in range(1, factor.values) if factor.values else ():
            values[f"{factor.name} {value}"] = (column == value).astype(np.float64)
        if not factor.values:
            values[factor.name] = column
    found = effects(torch.cat([latents["smiling"], latents["neutral"]]), values)
    effect = found.vectors[0] * (wanted / float(values["smile"].std(ddof=1)))
    deviations = {factor.name: float(np.std(factors[factor.name])) for factor in FACTORS}
    before = edited(run.model, latents["faces"], change, 0.0)
    vectors = {"smile - neutral": change, "effect": effect}
    if given.near:
        terms = [(1, latents["smiling"]), (-1, latents["neutral"])]
        vectors[f"smile - neutral, nearest {given.near}"] = nearby(terms, latents["faces"], given.near)
    after = {name: edited(run.model, latents["faces"], vector, given.strength) for name, vector in vectors.items()}
    read = reader.read(to_tensor(test.batch(shown)))
    images = [to_tensor(test.batch(shown[:12])), *(part[:12] for part in (before, *after.values()))]
    reverie.save_grid(grid_rows(images, 12), given.picture or Path(f"docs/arithmetic-{given.name}.png"), 12)
    figures = {
        "model": run.name,
        "settings": run.config["settings"],
        "wanted_change_of_smile": wanted,
        "strength": given.strength,
        **{name: changes(reader, before, part, wanted, deviations) for name, part in after.items()},
        "reader": {  # on these faces themselves: correlation, or for classes accuracy
            factor.name: float((read[factor.name] == held_out[factor.name][shown]).mean())
            if factor.values
            else float(np.corrcoef(read[factor.name], held_out[factor.name][shown])[0, 1])
            for factor in FACTORS
        },
        "faces": len(shown),
        "pictures_in_terms": [len(smiling), len(neutral)],
    }
    save(f"arithmetic_{given.name}", figures, seed=given.seed, data="faces")


if __name__ == "__main__":
    main()
