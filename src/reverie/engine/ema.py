"""The exponential moving average (EMA) of the weights, which a run saves and samples from."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from reverie.engine.model import Model

# Updating the average takes a noticeable part of a small model's step. After the FIRST steps, in which the weights
# change fast, it is therefore updated only every EVERY steps, with the decay to the power of EVERY.
FIRST, EVERY = 1000, 4


class EMA:
    """A copy of the model whose parameters are the moving average of the trained ones.

    The decay per step ramps up as min(decay, (1 + t) / (10 + t)), so that the initial weights are soon averaged out.
    Buffers are not averaged: they are copied on each access to `model`.
    """

    def __init__(self, model: Model, decay: float) -> None:
        self.decay = decay
        self._source = model
        self._model = copy.deepcopy(model).eval().requires_grad_(False)
        self._mine: list[Tensor] = list(self._model.parameters())
        self._theirs: list[Tensor] = list(model.parameters())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after step number ``step`` (counted from 1), if an update is due."""
        every = 1 if step <= FIRST else EVERY
        if step % every == 0:
            decay = min(self.decay, (1 + step) / (10 + step)) ** every
            torch._foreach_lerp_(self._mine, self._theirs, 1 - decay)

    @property
    def model(self) -> Model:
        """The averaged model, with current buffers, in eval mode."""
        with torch.no_grad():
            for mine, theirs in zip(self._model.buffers(), self._source.buffers(), strict=True):
                mine.copy_(theirs)
        return self._model
