"""Writes the files that make a folder a run: its mark, config.json, the listing of its pictures, and the weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reverie import artifact, training_data
from reverie.provenance import mark_folder

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer


class Folder:
    """Writes the files that `reverie.load` reads.

    ``name`` is the model's name in the registry; ``outside`` says that it cannot be built from its name and settings.
    """

    def __init__(self, folder: Path, name: str, *, outside: bool = False) -> None:
        self.folder, self.name, self.outside = folder, name, outside

    def on_start(self, trainer: Trainer) -> None:
        # The mark comes first: a folder left by a training killed before it wrote config.json is then recognised.
        if not training_data.holds(self.folder, trainer.data.spec):  # a run of an older version may contain its data
            mark_folder(self.folder, "run")
        artifact.write_config(self.folder, self.config_of(trainer))
        if not (self.folder / training_data.LISTING).exists():
            training_data.write_listing(self.folder, trainer.data)

    def on_checkpoint(self, trainer: Trainer, state: object) -> None:
        artifact.write_weights(self.folder, trainer.weights)

    def on_end(self, trainer: Trainer) -> None:
        artifact.write_weights(self.folder, trainer.weights)

    def config_of(self, trainer: Trainer) -> dict[str, Any]:
        """The content of config.json."""
        data = trainer.data
        source = {
            "spec": data.spec,
            "place": training_data.place_of(data.spec),
            "fingerprint": data.fingerprint,
            "pictures": len(trainer.pictures),
        }
        settings = {"train": asdict(trainer.plan), "data": asdict(data.options)}
        return artifact.describe(self.name, trainer.loop.model, settings, source, outside=self.outside)
