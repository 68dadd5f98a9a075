"""Saves the training state, and loads it before the first step."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from reverie.engine import checkpoint
from reverie.files import sweep
from reverie.training.callbacks.recording import Recording

if TYPE_CHECKING:
    from reverie.training.trainer import Trainer


class Checkpoints:
    """Keeps the last two states in ``folder``/state, and resumes from the newest intact one.

    >>> trainer = reverie.Trainer(model, data, plan, callbacks=[Checkpoints("here")])
    """

    every_rank = True  # all ranks load the state; rank 0 writes it

    def __init__(self, folder: str | Path, recording: Recording | None = None) -> None:
        self.folder, self.recording = Path(folder), recording
        self.states = checkpoint.CheckpointFolder(self.folder / "state")
        self.saved = 0  # step of the newest state

    def on_start(self, trainer: Trainer) -> None:
        if trainer.world.first:
            sweep(self.folder)
        if (found := self.states.newest()) is not None:
            tensors, meta, damaged = found
            missing = trainer.load_state(tensors, meta)
            self.saved = trainer.step
            for file in damaged:
                self._warn(f"The saved state {file} is damaged; the one before it is used.")
            for name in missing:
                self._warn(f"The state holds that of a callback {name}, which is not given now.")
        trainer.world.barrier()

    def on_checkpoint(self, trainer: Trainer, state: tuple[dict[str, Tensor], dict[str, Any]]) -> None:
        if not trainer.world.first:
            return
        start = time.perf_counter()
        self.states.save(trainer.step, *state)
        self.saved = trainer.step
        if self.recording:
            self.recording.event(trainer.step, saved=True, seconds=round(time.perf_counter() - start, 3))

    def _warn(self, sentence: str) -> None:
        if self.recording:
            self.recording.warn(sentence)
        else:
            logging.getLogger("reverie").warning(sentence)
