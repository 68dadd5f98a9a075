"""What an encoder that learned without labels is worth where there are few: frozen, tuned, and from scratch.

python benchmarks/transfer.py --run RUN --data mnist.npz --name mnist [--counts 10 100 1000 10000] [--seeds 0 1 2]
    [--threads 2]

Leaves benchmarks/results/transfer_NAME.json: mean accuracy on the test pictures over the seeds, each of which draws its
own labelled pictures, with the least and the most of them.
"""

from __future__ import annotations

from pathlib import Path

from measured import alike, parsed, parser_for
from results import save

import reverie
from reverie.reporting import charts
from reverie.reporting.charts import Spot
from reverie.tasks.transfer import HOW, transfer


def main() -> None:
    parser = parser_for(__doc__, "run", "data", "name", seed=False)
    parser.add_argument("--counts", type=int, nargs="+", default=[10, 30, 100, 300, 1000, 3000, 10000])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=600)
    given = parsed(parser)
    run = reverie.load(given.run)
    whole = alike(run, given.data)
    training, test = whole.split("train"), whole.split("test")
    found: dict[str, dict[str, dict[str, float]]] = {how: {} for how in HOW}
    for how in HOW:
        for count in given.counts:
            each = [
                transfer(run.model, training, test, labels=count, how=how, steps=given.steps, seed=seed).accuracy
                for seed in given.seeds
            ]
            found[how][str(count)] = {"mean": sum(each) / len(each), "least": min(each), "most": max(each)}
            print(how, count, found[how][str(count)], flush=True)
    curves = {
        how: [Spot(int(count), row["mean"], f"{row['mean']:.3f}") for count, row in rows.items()]
        for how, rows in found.items()
    }
    chart = charts.lines("Accuracy by labels", "labelled pictures", "accuracy", curves, logarithmic=True, zero=True)
    Path(f"docs/transfer-{given.name}.svg").write_text(chart, encoding="utf-8")
    figures = {"model": run.name, "settings": run.config["settings"], "steps": given.steps, "accuracy": found}
    save(f"transfer_{given.name}", figures, seed=given.seeds[0], data=Path(given.data).name)


if __name__ == "__main__":
    main()
