"""Old names: they go on working, and warn with the new name.

A class lists its renamed attributes in ``old_names``. What a user's class or instance overrides by an old name is used
under the new one.
"""

from __future__ import annotations

import warnings
from abc import ABCMeta
from collections.abc import Callable
from functools import wraps
from typing import Any

FUNCTIONS = {"Facts": "ImageSpec", "holed": "mask", "coarse": "downsample", "noisy": "add_noise"}  # of `reverie`


def warn(old: str, new: str, depth: int = 3) -> None:
    """A DeprecationWarning that points to the caller's line."""
    warnings.warn(f"{old} is called {new} now.", DeprecationWarning, stacklevel=depth)


class OldName:
    """An attribute under its old name, to be read and to be set."""

    def __init__(self, old: str, new: str, home: type | None = None) -> None:
        self.old, self.new = old, new
        self.home = home  # the class whose attribute it is, for `super()`; None for one of instances

    def __get__(self, owner: Any, kind: type) -> Any:
        if owner is None:  # whoever looks through a class has not asked for this
            return getattr(kind, self.new)
        warn(f"{kind.__name__}.{self.old}", self.new)
        return getattr(owner, self.new) if self.home is None else vars(self.home)[self.new].__get__(owner, kind)

    def __set__(self, owner: Any, value: Any) -> None:
        warn(f"{type(owner).__name__}.{self.old}", self.new)
        setattr(owner, self.new, value)


def accept_old_names(kind: Any) -> None:
    """Let a class answer to its ``old_names``, and use what it overrides by these."""
    for old, new in kind.old_names.items():
        order = {name: _definer(kind, name) for name in (old, new)}
        if order[old] <= order[new]:  # somebody's own, before reverie's
            warn(f"{kind.__name__}.{old}", new, depth=5 if isinstance(kind, ABCMeta) else 4)  # which has a frame
            if order[old] < order[new]:
                setattr(kind, new, vars(kind.__mro__[order[old]])[old])
        if new in vars(kind) and old not in vars(kind):
            setattr(kind, old, OldName(old, new, kind))
    build = vars(kind).get("__init__")
    code = getattr(build, "__code__", None)
    if code is not None and "image_spec" in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        kind.__init__ = _accepts_facts(build)


def _definer(kind: type, name: str) -> int:
    """The place in the order of its classes of the first that defines a name other than as an old one."""
    for place, each in enumerate(kind.__mro__):
        if name in vars(each) and not isinstance(vars(each)[name], OldName):
            return place
    return len(kind.__mro__)


def _accepts_facts(build: Callable[..., None]) -> Callable[..., None]:
    @wraps(build)
    def accepting(self: Any, *args: Any, **words: Any) -> None:
        if "facts" in words:
            warn("The argument facts", "image_spec")
            words["image_spec"] = words.pop("facts")
        build(self, *args, **words)

    return accepting
