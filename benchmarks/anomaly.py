"""How well `reverie.tasks.anomaly_scores` tell odd pictures: by AUROC, AUPR and the promised rate of alarms.

python benchmarks/anomaly.py --data mnist.npz --name mnist [--model vae] [--minutes 2 | --steps 500]
    [--set model.latent=16 ...] [--classes 0 1] [--seeds 0 1 2] [--outliers SPEC] [--odd 2000]
    [--background] [--scores NAME ...] [--device cpu] [--jobs 1] [--threads 2]

One against the rest: for each class a model learns from training pictures of that class only; the test pictures of that
class are normal, those of the others odd. With --outliers the model learns from all training pictures, test pictures
are normal, and the test pictures of the other data set, in the same shape, are odd. A fifth of the training pictures is
held out to calibrate on. With --background a model with a bound gets a background model, trained as long on the same
pictures with a fifth of the pixels replaced by noise, for the likelihood ratio (Ren et al. 2019). ``alarms`` is the
share of normal test pictures above the threshold, ``found`` that of odd ones. --minutes are those of each training;
--odd bounds the odd test pictures, drawn anew for each seed; --jobs is how many are trained side by side.
Leaves benchmarks/results/anomaly_MODEL_NAME.json.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measured import parsed, parser_for
from numpy.typing import NDArray
from results import save

import reverie
from reverie.capabilities import Bounds
from reverie.config import configure, parse_settings
from reverie.data import DataOptions, Dataset
from reverie.inference.pictures import Pictures, Subset, sample_indices
from reverie.tasks.anomaly import aupr, auroc, detector
from reverie.tasks.anomaly_scores import SCORES, scores_of

HELD_OUT = 0.2  # of the training pictures
MUTATED = 0.2  # of the pixels that a background model learns from
RATE = 0.1  # of false alarms that is promised

Pixels = NDArray[np.uint8]
Figures = dict[str, dict[str, float]]  # score -> figure -> value


def trained(given: argparse.Namespace, learned: Pixels, held_out: Pixels, seed: int) -> tuple[object, Dataset]:
    """A model that learned from pictures (N, C, H, W), and the held-out pictures as a data set."""
    settings = parse_settings(given.set)
    budget = {"minutes": given.minutes} if given.steps is None else {"steps": given.steps}
    train = settings["train"] | {"seed": seed} | budget
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "pictures.npz"
        arrays = {"train_images": learned, "test_images": held_out}
        np.savez(file, allow_pickle=False, **{key: pixels.transpose(0, 2, 3, 1) for key, pixels in arrays.items()})
        run = reverie.train(
            given.model,
            str(file),
            Path(folder) / "run",
            settings={"model": settings["model"], "train": train, "data": {"validation": 0}},
            device=given.device,
            quiet=True,
        )
        return run.model, reverie.open_dataset(str(file)).split("test")


def measured(given: argparse.Namespace, pixels: Pixels, normal: Pictures, odd: Pictures, seed: int) -> Figures:
    """Every possible score of a model that learned from ``pixels``, on normal and odd test pictures."""
    random = np.random.default_rng(seed)
    pixels = pixels[random.permutation(len(pixels))]
    learned, held_out = np.split(pixels, [len(pixels) - round(HELD_OUT * len(pixels))])
    model, calibration = trained(given, learned, held_out, seed)
    background = None
    if given.background and isinstance(model, Bounds):
        noise = random.integers(0, 256, learned.shape, np.uint8)
        background, _ = trained(given, np.where(random.random(learned.shape) < MUTATED, noise, learned), held_out, seed)
    figures = {}
    for name in given.scores or scores_of(model, background):
        finder = detector(
            model, calibration, name, RATE, background if name == "likelihood-ratio" else None, given.samples, seed
        )
        usual, strange = finder.scores(normal), finder.scores(odd)
        figures[name] = {
            "auroc": auroc(usual, strange),
            "aupr": aupr(usual, strange),
            "alarms": float(finder.odd(usual).mean()),
            "found": float(finder.odd(strange).mean()),
        }
    return figures


def mean(rows: list[Figures]) -> Figures:
    """Of every figure over the rows."""
    return {name: {key: float(np.mean([row[name][key] for row in rows])) for key in rows[0][name]} for name in rows[0]}


def main() -> None:
    parser = parser_for(__doc__, "data", "name", seed=False)
    parser.add_argument("--model", default="vae")
    parser.add_argument("--minutes", type=float, default=2)
    parser.add_argument("--steps", type=int, help="of each training, in place of --minutes")
    parser.add_argument("--set", nargs="+", default=[], help="section.key=value, as reverie train takes it")
    parser.add_argument("--classes", nargs="+", help="names of those that are normal in turn; all by default")
    parser.add_argument("--outliers", help="another data set, whose pictures are odd")
    parser.add_argument("--background", action="store_true")
    parser.add_argument("--odd", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--scores", nargs="+", choices=list(SCORES), help="by default all that the model permits")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--jobs", type=int, default=1)
    given = parsed(parser)
    options = configure(DataOptions, parse_settings(given.set)["data"], "data")
    dataset = reverie.open_dataset(given.data, options)
    training, test = dataset.split("train"), dataset.split("test")
    everything, shown = np.arange(len(training)), np.arange(len(test))
    cases: dict[str, tuple[NDArray[np.int64], Pictures, Pictures]] = {}
    if given.outliers:
        channels, height, width = dataset.image_spec.shape
        alike = replace(options, size=f"{height}x{width}", channels=str(channels))
        others = reverie.open_dataset(given.outliers, alike).split("test")
        cases["all"] = everything, Subset(test, shown), others
    else:
        if training.labels is None or test.labels is None:
            raise SystemExit("One against the rest needs labelled pictures; give --outliers.")
        for number, name in enumerate(dataset.image_spec.classes):
            if name in (given.classes or dataset.image_spec.classes):
                own = test.labels == number
                sides = (Subset(test, shown[own]), Subset(test, shown[~own]))
                cases[name] = everything[training.labels == number], *sides
    if not cases:
        raise SystemExit(f"The classes are {', '.join(dataset.image_spec.classes)}.")
    figures: dict[str, Figures] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["REVERIE_CACHE"] = cache  # for the subsets, which nobody will open again
        spawned = multiprocessing.get_context("spawn")  # CUDA does not survive a fork
        with ProcessPoolExecutor(given.jobs, spawned, torch.set_num_threads, (given.threads,)) as jobs:
            waiting = {
                f"{name}, seed {seed}": jobs.submit(
                    measured,
                    given,
                    training.batch(rows),
                    normal,
                    Subset(odd, sample_indices(odd, given.odd, seed)),
                    seed,
                )
                for seed in given.seeds
                for name, (rows, normal, odd) in cases.items()
            }
            for name, job in waiting.items():
                figures[name] = job.result()
                print(name, {score: round(row["auroc"], 4) for score, row in figures[name].items()}, flush=True)
    result = {
        "mean": mean(list(figures.values())),  # over classes and seeds
        "each": figures,
        "minutes": given.minutes if given.steps is None else None,
        "steps": given.steps,
        "samples": given.samples,
        "rate": RATE,
        "held_out": HELD_OUT,
        "odd": given.odd,
        "settings": parse_settings(given.set),
    }
    specs = [Path(spec).name if "/" in spec else spec for spec in (given.data, given.outliers) if spec]
    save(f"anomaly_{given.model}_{given.name}", result, seed=given.seeds[0], data=" against ".join(specs))


if __name__ == "__main__":
    main()
