"""What a task says of a model that cannot do it."""

from __future__ import annotations

from reverie.errors import ReverieError, either
from reverie.registry import able


def unable(model: object, doing: str, lacks: str, *capabilities: type) -> ReverieError:
    """One sentence: the model cannot do what was asked for, what it lacks, and which models have these capabilities."""
    return ReverieError(f"{type(model).__name__} cannot {doing}: it has no {lacks}; {either(able(*capabilities))} can.")
