"""What a task says of a model that cannot do it."""

from __future__ import annotations

from reverie.errors import ReverieError, either
from reverie.registry import able


def unsupported(
    model: object, doing: str, lacks: str, *capabilities: type, never: tuple[type, ...] = ()
) -> ReverieError:
    """One sentence: the model cannot do what was asked for, what it lacks, and which models can.

    Those are the ones with all of these capabilities and none of ``never``.
    """
    names = either(able(*capabilities, never=never))
    return ReverieError(f"{type(model).__name__} cannot {doing}: it has no {lacks}; {names} can.")
