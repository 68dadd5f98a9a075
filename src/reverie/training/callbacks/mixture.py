"""Fits a mixture to the codes after training (ex-post density estimation), so that every autoencoder can sample."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reverie.capabilities import Reconstructs
from reverie.inference.embed import embed
from reverie.inference.pictures import sample_indices
from reverie.tasks.fit_mixture import fit_mixture

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer

CODES = 10_000


class Mixture:
    """Fits the mixture of an autoencoder to the codes of up to `CODES` training pictures."""

    def on_end(self, trainer: Trainer) -> None:
        weights, trained = trainer.weights, trainer.loop.model
        if isinstance(weights, Reconstructs) and isinstance(trained, Reconstructs):
            codes = embed(
                weights, trainer.pictures, indices=sample_indices(trainer.pictures, CODES, trainer.plan.seed)
            ).codes
            # Stored in the trained model: the averaged one copies its buffers from there.
            fit_mixture(trained, codes, seed=trainer.plan.seed)
