"""A training that is measured along the way, for the benchmarks of quality: its words, its run, and its row.

The best weights are those with the smallest Frechet distance along the training; they and the last are measured again
by `reverie.evaluate`. ``minutes`` is the time the budget was reckoned for.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from results import save

import reverie
from reverie.config import configure, parse_settings
from reverie.data import DataOptions, Dataset
from reverie.engine.events import read_metrics, read_quality

PACED = 0.3  # minutes of a trial, which says how many pictures fit the budget: before training nobody knows


def parser_for(doc: str | None, *required: str, seed: bool = True) -> argparse.ArgumentParser:
    """What every benchmark of quality takes, with the options it cannot do without; `parsed` reads the words."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in required:
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--threads", type=int, default=2)
    if seed:
        parser.add_argument("--seed", type=int, default=0)
    return parser


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The words of the command line; torch then uses as many threads as they say."""
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    return given


def arguments(doc: str | None, minutes: float) -> argparse.ArgumentParser:
    """What every such training takes; ``--name`` is of the data or the task, in the file's name."""
    parser = parser_for(doc, "data", "name")
    parser.add_argument("model")
    parser.add_argument("--minutes", type=float, default=minutes)
    parser.add_argument("--measurements", type=int, default=6)
    parser.add_argument("--features", default="auto")
    parser.add_argument("--set", nargs="+", default=[], help="section.key=value, as reverie train takes it")
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--keep", type=Path, help="keep the run in this folder")
    return parser


@dataclass(frozen=True)
class Measured:
    """A finished training."""

    given: argparse.Namespace
    run: reverie.Run
    dataset: Dataset
    lines: list[dict[str, Any]]  # of quality.jsonl
    best: dict[str, Any]  # the line with the smallest distance

    def figures(self, metric: str, along: Callable[[str], bool], **more: Any) -> dict[str, Any]:
        """The figures of the last and the best weights by a metric, and of those along the way what ``along`` says."""
        given, kept = self.given, reverie.load(self.run.path / "best").model
        training, test = self.dataset.split("train"), self.dataset.split("test")
        last, best = (
            reverie.evaluate(model, test, [metric], training=training, features=given.features, **more)[metric]
            for model in (self.run.model, kept)
        )
        return {
            "last": last,
            "best": best,
            "best_at_step": self.best["step"],
            "last_at_step": self.lines[-1]["step"],
            "ratio_of_last_to_best": self.lines[-1]["frechet"] / self.best["frechet"],
            "along_the_way": [{k: v for k, v in line.items() if k == "step" or along(k)} for line in self.lines],
            "images_seen": read_metrics(self.run.path)[-1]["images"],
            "minutes": given.minutes,
            "threads": given.threads,
            "settings": self.run.config["settings"],
        }

    def save(self, kind: str, figures: dict[str, Any]) -> None:
        """Leave benchmarks/results/KIND_MODEL_NAME.json."""
        given = self.given
        data = Path(given.data).name if "/" in given.data else given.data
        save(f"{kind}_{given.model}_{given.name}", figures, seed=given.seed, data=data)


@contextmanager
def measured(given: argparse.Namespace) -> Iterator[Measured]:
    """Train as was asked, measured about ``given.measurements`` times; the run is there until the block ends."""
    settings: dict[str, dict[str, Any]] = {k: dict(v) for k, v in parse_settings(given.set).items()}
    dataset = reverie.open_dataset(given.data, configure(DataOptions, settings["data"], "data"))
    settings["train"] |= {"seed": given.seed, "features": given.features}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary) / "run"
        paced = settings | {"train": settings["train"] | {"minutes": PACED, "evaluate_every": 0}}
        trial = reverie.train(given.model, given.data, Path(temporary) / "trial", settings=paced, quiet=True)
        plan = trial.config["settings"]["train"]
        seen = plan["steps"] * plan["batch_size"] * given.minutes / PACED
        settings["train"] |= {"minutes": given.minutes, "evaluate_every": max(1, int(seen / given.measurements))}
        run = reverie.train(given.model, given.data, folder, settings=settings)
        lines, best = read_quality(folder)
        assert best is not None
        yield Measured(given, run, dataset, lines, best)


def alike(run: reverie.Run, spec: str) -> Dataset:
    """A data set in the shape of a run's pictures, with the run's own settings otherwise; all the pictures it has."""
    options = configure(DataOptions, run.config["settings"]["data"], "data")
    channels, height, width = run.image_spec.shape
    changes: dict[str, Any] = {"size": f"{height}x{width}", "channels": str(channels), "flip": False, "shift": 0}
    return reverie.open_dataset(spec, replace(options, **changes))
