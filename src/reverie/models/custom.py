"""Networks of one's own: whether they take and give what the model they are given to needs.

A default network is built only where none is given, and is not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from types import EllipsisType
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from reverie.errors import ReverieError, first_line


class Zeros(Protocol):
    """Zeros (1, *shape), float32, where the network lies."""

    def __call__(self, *shape: int) -> Tensor: ...


def fitting(network: nn.Module, name: str, call: Callable[[Any, Zeros], Any], *gives: int | EllipsisType) -> nn.Module:
    """``network``, once it was called with one row of zeros and gave (1, *gives); ReverieError where it does not.

    ``call(network, zeros)`` calls it as the model will; ``...`` at the end of ``gives`` stands for any further axes. It
    is called in eval mode and without gradients, so that nothing changes but lazy layers, which learn their sizes.
    """
    if not isinstance(network, nn.Module):
        raise ReverieError(f"The {name} must be a torch.nn.Module, not {type(network).__name__}.")
    weight, training = next(network.parameters(), None), network.training
    device = None if weight is None else weight.device
    network.eval()
    try:
        with torch.no_grad():
            found = call(network, lambda *shape: torch.zeros(1, *shape, device=device))
    except Exception as error:  # it is anybody's code
        line = first_line(error)[:200]
        raise ReverieError(f"The {name} that was given fails on one row of zeros: {line}.") from error
    finally:
        network.train(training)
    shape, wanted = tuple(getattr(found, "shape", ())), (1, *gives)
    if wanted[-1] is ...:
        wanted = (*wanted[:-1], *shape[len(wanted) - 1 :])
    if shape != wanted:
        raise ReverieError(
            f"The {name} that was given turns one row into {shape or type(found).__name__}, and must give {wanted}; "
            "see the docstring of the model's class."
        )
    return network
