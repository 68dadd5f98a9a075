"""The error of a task that a model does not support."""

from __future__ import annotations

from reverie.errors import ReverieError, either
from reverie.registry import able


def unsupported(
    model: object, doing: str, lacks: str, *capabilities: type, never: tuple[type, ...] = ()
) -> ReverieError:
    """An error that says what the model cannot do, what it lacks, and which models can.

    These are the models with all of ``capabilities`` and none of ``never``.
    """
    names = either(able(*capabilities, never=never))
    return ReverieError(f"{type(model).__name__} cannot {doing}: it has no {lacks}; {names} can.")
