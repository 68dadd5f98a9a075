"""Pictures of a class from a model that knows no classes, beside one that does: label accuracy and coverage.

python benchmarks/conditioning.py --run RUN --conditional RUN --data mnist.npz --name mnist [--each 200]
    [--how resample langevin] [--strength 1] [--draws 4096] [--seed 0] [--threads 2]
    [--picture docs/conditioning-NAME.png]

The classifier that conditions learns from one half of the training pictures, the judge (classifier and features) from
the other: what fools the first need not fool the second. Coverage is of the judge's training pictures; there are
``each`` pictures a class of every way. The picture: a column a class, two rows a way, resampled, by Langevin steps,
conditional. Leaves benchmarks/results/conditioning_NAME.json.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import alike, parsed, parser_for
from results import save
from torch import Tensor

import reverie
from reverie.evaluation.generation import set_metrics
from reverie.features.classifier import classifier
from reverie.inference.pictures import Subset, sample_indices
from reverie.inference.sample import sample
from reverie.tasks.condition import condition


def main() -> None:
    parser = parser_for(__doc__, "run", "conditional", "data", "name")
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--how", nargs="+", default=["resample", "langevin"])
    parser.add_argument("--draws", type=int, default=4096)
    parser.add_argument("--strength", type=float, nargs="+", default=[1.0])
    parser.add_argument("--picture", type=Path)
    given = parsed(parser)
    run, other = reverie.load(given.run), reverie.load(given.conditional)
    whole = alike(run, given.data)
    training, test = whole.split("train"), whole.split("test")
    rows = np.random.default_rng(given.seed).permutation(len(training))
    taught, kept = (Subset(training, np.sort(part)) for part in np.array_split(rows, 2))
    guide = classifier(taught)
    judged = set_metrics(kept, features="classifier", seed=given.seed)
    classes = training.image_spec.classes
    wanted = torch.arange(len(classes)).repeat_interleave(given.each)
    figures: dict[str, Any] = {"model": run.name, "conditional": other.name, "each": given.each}
    shown: list[Tensor] = []

    def add(name: str, pictures: Tensor, **more: Any) -> None:
        found = judged.figures([judged.extract(part) for part in pictures.split(512)], wanted)
        keys = ("label_accuracy", "coverage", "density", "precision", "recall", "frechet")
        figures[name] = {key: found[key] for key in keys} | more
        print(name, figures[name], flush=True)
        shown.extend(pictures.unflatten(0, (len(classes), -1))[:, k] for k in range(2))

    ways = [(how, strength) for how in given.how for strength in given.strength]
    for how, strength in ways:
        began = time.perf_counter()
        found = [
            condition(
                run.model,
                lambda x: guide.head(guide(x)),
                number,
                given.each,
                how=how,
                draws=given.draws,
                strength=strength,
                seed=given.seed + number,
            )
            for number in range(len(classes))
        ]
        more = {
            "effective": [part.effective for part in found],
            "acceptance": [part.acceptance for part in found],
            "seconds_a_class": (time.perf_counter() - began) / len(classes),
        }
        add(f"{how}, strength {strength:g}", torch.cat([part.pictures for part in found]), **more)
    labels = [int(number) for number in wanted]
    add("conditional", sample(other.model, len(labels), seed=given.seed, labels=labels))
    add("unconditional, its labels by chance", sample(run.model, len(labels), seed=given.seed))
    floor = judged.figures(judged.extract_from(test, sample_indices(test, len(labels), given.seed)))
    figures["test pictures"] = {key: floor[key] for key in ("coverage", "density", "precision", "recall", "frechet")}
    picture = given.picture or Path(f"docs/conditioning-{given.name}.png")
    reverie.save_grid(torch.cat(shown[: 2 * (len(ways) + 1)]), picture, len(classes))
    figures |= {"settings": run.config["settings"], "conditional_settings": other.config["settings"]}
    save(f"conditioning_{given.name}", figures, seed=given.seed, data=Path(given.data).name)


if __name__ == "__main__":
    main()
