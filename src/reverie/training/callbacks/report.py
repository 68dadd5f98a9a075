"""Writes the model card and the report of a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer


class Report:
    """Writes README.md (the model card) and report.html after training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_end(self, trainer: Trainer) -> None:
        from reverie.artifact import read_config
        from reverie.reporting.card import write_card
        from reverie.reporting.report import write_report

        write_card(self.folder, read_config(self.folder, brought=True), trainer.weights)
        write_report(self.folder, trainer.weights, trainer.data)
