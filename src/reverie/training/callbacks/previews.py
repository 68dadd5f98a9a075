"""Grids of pictures during training, from the same latents and the same held-out pictures each time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reverie.capabilities import Bounds, Conditions, Reconstructs, Samples, Translates
from reverie.data.image_io import save_grid, to_tensor
from reverie.data.pairs import Pairs
from reverie.inference.pictures import sample_indices
from reverie.inference.sample import Prior, sample
from reverie.tasks.reconstruct import comparison_rows, reconstruct
from reverie.tasks.translation_grid import translation_grid

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer

SHOWN = 64  # pictures in a sample grid


class Previews:
    """Writes grids of pictures to ``folder`` every ``plan.sample_every`` steps, and at the end.

    ``STEP.png`` shows samples, ``STEP-reconstructions.png`` reconstructions, ``STEP-ab.png`` and ``STEP-ba.png``
    translations, and at the end ``STEP-mixture.png`` samples of the mixture, each if the model supports it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def on_step(self, trainer: Trainer) -> None:
        every = trainer.plan.sample_every or trainer.steps
        if trainer.step % every == 0 and trainer.step < trainer.steps:
            self.draw(trainer)

    def on_end(self, trainer: Trainer) -> None:
        self.draw(trainer)
        weights = trainer.weights
        if isinstance(weights, Bounds):  # it has a prior; models without one always sample from the mixture
            self._sample(weights, f"{trainer.step:09d}-mixture.png", "mixture")

    def draw(self, trainer: Trainer) -> None:
        """Write the grids of this step."""
        model, step = trainer.weights, trainer.step
        held_out = trainer.data.split("test")
        if isinstance(model, Reconstructs):
            indices = sample_indices(held_out, SHOWN // 2)
            images = to_tensor(held_out.batch(indices))
            labels = held_out.labels[indices] if held_out.labels is not None and isinstance(model, Conditions) else None
            rebuilt = reconstruct(model, images, labels)
            save_grid(comparison_rows(images, rebuilt, 8), self.folder / f"{step:09d}-reconstructions.png", 8)
        if isinstance(model, Samples):
            self._sample(model, f"{step:09d}.png", "model")
        if isinstance(model, Translates) and isinstance(held_out, Pairs):
            for way in model.directions:
                sheet = translation_grid(model, held_out, way, SHOWN // 8)
                save_grid(sheet, self.folder / f"{step:09d}-{way}.png", SHOWN // 8)

    def _sample(self, model: object, name: str, prior: Prior) -> None:
        """Write a grid of samples; with classes, one column for each class."""
        columns = len(model.classes) if isinstance(model, Conditions) else 8
        grid = sample(model, max(1, SHOWN // columns) * columns, prior=prior)
        save_grid(grid, self.folder / name, columns)
