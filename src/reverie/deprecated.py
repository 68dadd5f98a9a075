"""Names of before: they go on working, and warn with the name of now."""

from __future__ import annotations

import inspect
import warnings
from abc import ABCMeta
from collections.abc import Callable
from functools import wraps
from typing import Any

FUNCTIONS = {"Facts": "ImageSpec", "holed": "mask", "coarse": "downsample", "noisy": "add_noise"}  # of `reverie`
METHODS = {  # of models; a family has some of them
    "tell_apart": "discriminator_loss",
    "fool": "generator_loss",
    "judge": "discriminate",
    "even_paths": "path_length_loss",
    "rebuild": "autoencoder_loss",
    "told": "num_classes",
}
SPEC = {"facts": "image_spec"}  # of models, data sets and runs; and the argument of a model's constructor


def warn(old: str, new: str, depth: int = 3) -> None:
    """A DeprecationWarning that points to the caller's line."""
    warnings.warn(f"{old} is called {new} now.", DeprecationWarning, stacklevel=depth)


class OldName:
    """An attribute under its name of before."""

    def __init__(self, old: str, new: str, home: type | None = None) -> None:
        self.old, self.new = old, new
        self.home = home  # the class whose attribute it is, for `super()`; None for one of instances

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:  # whoever looks through a class has not asked for this
            return getattr(kind, self.new)
        warn(f"{kind.__name__}.{self.old}", self.new)
        return getattr(owner, self.new) if self.home is None else vars(self.home)[self.new].__get__(owner, kind)


def accept_old_names(kind: type) -> None:
    """A class of models answers to the names of before, and what it overrides by these is still called."""
    for old, new in (METHODS | SPEC).items():
        mine = vars(kind)
        if old in mine and not isinstance(mine[old], OldName) and hasattr(kind, new) and new not in mine:
            warn(f"{kind.__name__}.{old}", new, depth=5 if isinstance(kind, ABCMeta) else 4)  # which has a frame
            setattr(kind, new, mine[old])
        elif new in mine and old not in mine:
            setattr(kind, old, OldName(old, new, kind))
    build = vars(kind).get("__init__")
    if build is not None and "image_spec" in inspect.signature(build).parameters:
        setattr(kind, "__init__", _accepts_facts(build))  # noqa: B010, mypy takes no other way


def _accepts_facts(build: Callable[..., None]) -> Callable[..., None]:
    @wraps(build)
    def accepting(self: Any, *args: Any, **words: Any) -> None:
        if "facts" in words:
            warn("The argument facts", "image_spec")
            words["image_spec"] = words.pop("facts")
        build(self, *args, **words)

    return accepting
