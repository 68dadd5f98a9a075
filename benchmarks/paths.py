"""Paths between held-out pictures through the latent spaces of an autoencoder and of a VAE, on labelled pictures.

python benchmarks/paths.py --runs AE VAE ... --data mnist.npz [--paths 200] [--between 16] [--even] [--seed 0]
    [--picture docs/paths.png] [--threads 2]

The same pairs of test pictures, of different classes, for every run with an encoder; straight lines between their
codes, and for a run without one great circles between draws; with ``--even`` in steps of equal change of the picture. A
classifier, trained on pictures alone, reads every picture on the way. ``confidence``: its mean largest probability at
each step; where a path crosses a gap between the clusters of an autoencoder, the picture is no digit and the confidence
should fall. Classifiers are sure of much that is no digit, so ``strangeness`` is measured too: the mean distance, in
its features, to the nearest of 5,000 training pictures, over that of test pictures. ``largest_jump``: the mean over
paths of the largest step over the median one, steps being distances of features (``pixels``: of pixels).
``path_length``: mean squared distance of features of pictures a hundredth of the path apart, over that hundredth
squared (Karras et al. 2019, section 4.1, with this classifier in place of VGG). ``real``: the confidence of test
pictures. The picture: one path a run, two rows each, the first two pairs; the charts beside it are of confidence and of
strangeness. Leaves benchmarks/results/paths.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from measured import alike, parsed, parser_for
from results import save
from torch import Tensor

import reverie
from reverie.capabilities import Encodes
from reverie.data.image_io import to_tensor
from reverie.features.classifier import Classifier, classifier
from reverie.inference.pictures import sample_indices
from reverie.reporting import charts
from reverie.reporting.charts import Spot
from reverie.tasks.interpolate import interpolate
from reverie.tasks.project import latents_of

APART = 0.01  # of a path
COMPARED = 5000  # training pictures


def seen(judge: Classifier, images: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, d) and the largest probability (N,) of pictures (N, C, H, W)."""
    with torch.no_grad():
        features = torch.cat([judge(part) for part in images.split(512)])
        return features, judge.head(features).softmax(1).amax(1)


def main() -> None:
    parser = parser_for(__doc__, "data")
    parser.add_argument("--runs", nargs="+", required=True)
    parser.add_argument("--paths", type=int, default=200)
    parser.add_argument("--between", type=int, default=16)
    parser.add_argument("--even", action="store_true")
    parser.add_argument("--picture", type=Path, default=Path("docs/paths.png"))
    given = parsed(parser)
    figures: dict[str, Any] = {}
    strips: list[Tensor] = []
    lines: dict[str, dict[str, list[float]]] = {"confidence": {}, "strangeness": {}}
    for where in given.runs:
        run = reverie.load(where)
        whole = alike(run, given.data)
        training, test = whole.split("train"), whole.split("test")
        judge = classifier(training)
        known, _ = seen(judge, to_tensor(training.batch(sample_indices(training, COMPARED, given.seed))))
        assert test.labels is not None
        pairs = np.random.default_rng(given.seed).permutation(len(test))[: 4 * given.paths].reshape(-1, 2)
        pairs = pairs[test.labels[pairs[:, 0]] != test.labels[pairs[:, 1]]][: given.paths]
        ends: Tensor | None = None
        if isinstance(run.model, Encodes):
            ends = latents_of(run.model, to_tensor(test.batch(pairs.ravel()))).unflatten(0, (-1, 2))
        paths, jumps, pixels, lengths = [], [], [], []
        for number in range(len(pairs)):

            def walked(
                between: int, even: bool = False, number: int = number, ends: Tensor | None = ends, run: Any = run
            ) -> Tensor:
                if ends is None:
                    return interpolate(run.model, 2, between, given.seed + number, even=even)
                return interpolate(run.model, 2, between, how="lerp", ends=ends[number], even=even)

            path = walked(given.between, given.even)
            paths.append(path)
            features, _ = seen(judge, path)
            steps = features.diff(dim=0).norm(dim=1)
            jumps.append(float(steps.max() / steps.median().clamp_min(1e-6)))
            flat = path.flatten(1).diff(dim=0).norm(dim=1)
            pixels.append(float(flat.max() / flat.median().clamp_min(1e-6)))
            fine, _ = seen(judge, walked(round(1 / APART)))
            lengths.append(float(fine.diff(dim=0).square().sum(1).mean() / APART**2))
        features, confidence = seen(judge, torch.cat(paths))
        real, sure = seen(judge, to_tensor(test.batch(pairs.ravel())))
        strange = torch.cdist(features, known).amin(1) / torch.cdist(real, known).amin(1).mean()
        line, far = (values.view(len(pairs), -1).mean(0) for values in (confidence, strange))
        lines["confidence"][run.name], lines["strangeness"][run.name] = line.tolist(), far.tolist()
        strips += paths[:2]
        figures[run.name] = {
            "confidence": line.tolist(),
            "least_confidence": float(line.min()),
            "strangeness": far.tolist(),
            "most_strangeness": float(far.max()),
            "largest_jump": float(np.mean(jumps)),
            "share_of_paths_with_a_jump_above_3": float(np.mean(np.array(jumps) > 3)),
            "largest_jump_in_pixels": float(np.mean(pixels)),
            "share_of_paths_with_a_jump_above_3_in_pixels": float(np.mean(np.array(pixels) > 3)),
            "path_length": float(np.mean(lengths)),
            "from": "draws" if ends is None else "held-out pictures",
            "real": float(sure.mean()),
            "settings": run.config["settings"]["model"],
        }
    reverie.save_grid(torch.cat(strips), given.picture, given.between + 1)
    places = np.linspace(0, 1, given.between + 1).tolist()
    for name, ending in (("confidence", ".svg"), ("strangeness", "-strangeness.svg")):
        title = f"{name.capitalize()} along paths between digits"
        curves = {
            f"{label} {line[-1]:.3g}": [Spot(x, y) for x, y in zip(places, line, strict=True)]
            for label, line in lines[name].items()
        }
        chart = charts.lines(title, "place on the path", name, curves, zero=True)
        given.picture.with_name(given.picture.stem + ending).write_text(chart, encoding="utf-8")
    figures["paths"] = given.paths
    save("paths", figures, seed=given.seed, data=Path(given.data).name)


if __name__ == "__main__":
    main()
