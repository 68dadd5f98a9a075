"""A conditional VAE as a classifier that was never trained as one: its accuracy by Bayes' rule, and what it refuses.

python benchmarks/bayes.py --run RUN --data mnist.npz [--outliers SPEC ...] [--pictures 2000] [--samples 50]
    [--rate 0.05] [--seed 0] [--threads 2]

RUN is a trained cvae. Of the test pictures, ``--pictures`` calibrate the threshold that refuses a share ``--rate`` of
normal pictures at most, and as many others are classified: ``refused`` is the share of those below it, ``accuracy``
counts all, ``accuracy_kept`` those that are not refused. ``calibration`` is the mean probability of the predicted
class, which a calibrated posterior has equal to the accuracy. As many test pictures of each set of ``--outliers``,
brought to the shape of the run's pictures, are to be refused. Leaves benchmarks/results/bayes_DATA.json.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from measured import alike, parsed, parser_for
from results import save

import reverie
from reverie.inference.pictures import Subset, model_labels, sample_indices
from reverie.tasks.classify import calibrate, classify


def main() -> None:
    parser = parser_for(__doc__, "run", "data")
    parser.add_argument("--outliers", nargs="+", default=[], help="other data sets, whose pictures are to be refused")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=50)
    parser.add_argument("--rate", type=float, default=0.05, help="of false refusals that is promised")
    given = parsed(parser)
    run = reverie.load(given.run)
    test = alike(run, given.data).split("test")
    rows = np.random.default_rng(given.seed).permutation(len(test))
    held_out, shown = Subset(test, rows[: given.pictures]), Subset(test, rows[given.pictures : 2 * given.pictures])
    bounds = {"samples": given.samples, "seed": given.seed}
    rejection = calibrate(run.model, held_out, given.rate, **bounds)
    found = classify(run.model, shown, reject=rejection, **bounds)
    right = found.predicted == model_labels(run.model, shown)
    outliers = {}
    for spec in given.outliers:
        others = alike(run, spec).split("test")
        strange = Subset(others, sample_indices(others, given.pictures, given.seed))
        outliers[Path(spec).name] = {
            "refused": float(classify(run.model, strange, reject=rejection, **bounds).rejected.mean()),
            "pictures": len(strange),
        }
    figures = {
        "model": run.name,
        "settings": run.config["settings"],
        "samples": given.samples,
        "pictures": len(shown),
        "calibrated_on": rejection.pictures,
        "accuracy": float(right.mean()),
        "accuracy_kept": float(right[~found.rejected].mean()),
        "calibration": float(found.posterior.max(1).mean()),
        "rate": given.rate,
        "refused": float(found.rejected.mean()),
        "threshold": rejection.threshold,
        "outliers": outliers,
    }
    name = Path(given.data).stem if "/" in given.data else given.data.partition(".")[0]
    save(f"bayes_{name}", figures, seed=given.seed, data=Path(given.data).name)


if __name__ == "__main__":
    main()
