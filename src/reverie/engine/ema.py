"""The exponential moving average of the weights: what a run samples from and saves."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from reverie.engine.model import Model

# Reading and writing all weights costs a noticeable part of a small model's step. After the first steps, in which the
# weights change fast, the average is therefore updated every few steps, by the decay to that power.
FIRST, EVERY = 1000, 4


class EMA:
    """A copy of the model whose parameters follow the trained ones.

    The decay per step ramps up, min(decay, (1 + t) / (10 + t)), so that the random start is forgotten; buffers are not
    averaged but copied whenever the copy is looked at.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self._source = model
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._mine: list[Tensor] = list(self._model.parameters())
        self._theirs: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the trained weights after step number ``step`` (counted from 1), where that is due."""
        every = 1 if step <= FIRST else EVERY
        if step % every == 0:
            decay = min(self.decay, (1 + step) / (10 + step)) ** every
            torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)

    @property
    def model(self) -> Model:
        """The averaged model, its buffers up to date, in eval mode."""
        with torch.no_grad():
            for mine, theirs in zip(self._model.buffers(), self._source.buffers(), strict=True):
                mine.copy_(theirs)
        return self._model
