"""Measures sample quality during training, and saves the best weights so far as a run in ``best``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from reverie import artifact
from reverie.capabilities import Samples, Translates
from reverie.data import Dataset
from reverie.data.pairs import Pairs
from reverie.engine.model import Model
from reverie.engine.plan import Plan
from reverie.errors import ReverieError
from reverie.evaluation.generation import quality, set_metrics
from reverie.evaluation.translation import translation_metrics
from reverie.run_folder import BEST
from reverie.training.callbacks.recording import Recording

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer

MEASURED = 5000  # number of samples, and of training pictures that they are compared with


class Quality:
    """Measures quality every ``plan.evaluate_every`` pictures, and at the end; the best weights go to ``folder``/best.

    The metrics are prepared at the start, so that errors are raised before the first step.
    """

    def __init__(self, folder: Path, recording: Recording) -> None:
        self.folder, self.recording = folder, recording
        self._before = 0  # pictures seen before the last step

    def on_start(self, trainer: Trainer) -> None:
        self.measure = _measure(trainer.loop.model, trainer.data, trainer.plan, trainer.device)
        self._before = trainer.loop.images

    def on_step(self, trainer: Trainer) -> None:
        every, images, before = trainer.plan.evaluate_every, trainer.loop.images, self._before
        self._before = images
        due = images // every > before // every or trainer.step == trainer.steps or trainer.stopping
        if due and self.recording.quality(trainer, self.measure(trainer.weights)):
            artifact.write_config(self.folder / BEST, artifact.read_config(self.folder, brought=True))
            artifact.write_weights(self.folder / BEST, trainer.weights)


def check_quality(name: str, model: Model) -> None:
    """Raise ReverieError if a model generates no pictures whose quality can be measured."""
    if not isinstance(model, (Samples, Translates)):
        raise ReverieError(f"{name} draws no pictures, so their quality can't be measured; leave evaluate_every out.")


def _measure(model: Model, data: Dataset, plan: Plan, device: torch.device) -> Callable[[Model], dict[str, Any]]:
    """A function that measures the quality of a model's samples or translations, by name."""
    training, test = data.split("train"), data.split("test")
    if isinstance(model, Translates):
        assert isinstance(training, Pairs)
        assert isinstance(test, Pairs)
        translated = translation_metrics(model, training, test, plan.features, MEASURED, plan.seed, device)
        if translated.note:  # without the distance, no weights are the best
            raise ReverieError(translated.note)
        return lambda translator: translated.figures(cast(Translates, translator))
    metrics = set_metrics(training, test, plan.features, MEASURED, plan.seed, device)
    return lambda drawer: quality(cast(Samples, drawer), metrics, MEASURED)
