"""Logs a training: metrics.jsonl, quality.jsonl, events.jsonl, the display, and the model's warnings."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from reverie.engine.events import Record
from reverie.engine.loop import Means

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer


class Recording:
    """Opens the `Record` of a folder when training starts; as a context manager it closes it in any case.

    ``name`` is that of the model. Warnings given before the start are printed at the start.
    """

    def __init__(self, folder: Path, name: str, *, quiet: bool = False) -> None:
        self.folder, self.name, self.quiet = folder, name, quiet
        self.record: Record | None = None
        self._waiting: list[str] = []

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        if self.record:
            self.record.__exit__(kind, value, tb)
            self.record = None

    def on_start(self, trainer: Trainer) -> None:
        plan, step = trainer.plan, trainer.step
        record = Record(self.folder, trainer.steps, resume_at=step, quiet=self.quiet, tensorboard=plan.tensorboard)
        self.record = record.__enter__()
        for sentence in self._waiting:
            record.warn(step, sentence)
        record.say(trainer.data.said)
        of = f"{len(trainer.pictures):,} pictures of {'x'.join(map(str, trainer.data.image_spec.shape))}"
        does = f"{trainer.steps:,} steps of {plan.batch_size}, on {trainer.device}, in {self.folder}"
        record.say(f"{self.name} on {of}: {does}")
        record.event(step, asked=dict(trainer.asked), steps=trainer.steps)

    def on_log(self, trainer: Trainer, means: Means) -> None:
        if self.record:
            self.record.log(trainer.step, trainer.loop.images, means)
            if advice := trainer.loop.model.advice(means, trainer.step / trainer.steps):
                self.record.warn(trainer.step, advice)

    def quality(self, trainer: Trainer, figures: dict[str, Any]) -> bool:
        """Log the quality of pictures; returns whether it is the best so far."""
        return self.record is not None and self.record.quality(trainer.step, trainer.loop.images, figures)

    def event(self, step: int, **fields: Any) -> None:
        """Write a line of events.jsonl."""
        if self.record:
            self.record.event(step, **fields)

    def warn(self, sentence: str) -> None:
        """Print a warning and write it to events.jsonl, when training starts."""
        self._waiting.append(sentence)
