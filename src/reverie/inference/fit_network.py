"""Training of small networks for tasks: reference networks and classifiers. Models are trained by `engine`'s loop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reverie.engine.randomness import DataOrder

RISE = 0.2  # share of the steps over which the learning rate rises

Loss = Callable[[NDArray[np.int64]], Tensor]  # indices (batch,) of pictures -> the loss to minimise


def fit(optimizer: torch.optim.Optimizer, loss: Loss, order: DataOrder, *, steps: int, batch: int) -> None:
    """Train with one learning rate cycle: up to the optimizer's rate in a fifth of the steps, then down to zero."""
    rate = optimizer.defaults["lr"]
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min((step + 1) / (RISE * steps + 1), (1 - step / steps) / (1 - RISE))
        value = loss(order.take(step * batch, batch))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()
