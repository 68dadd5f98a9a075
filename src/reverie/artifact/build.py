"""From a name and settings to a fresh model."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from reverie import registry
from reverie.config import configure
from reverie.engine.model import ImageSpec, Model
from reverie.engine.randomness import derive, seeded
from reverie.errors import ReverieError, first_line

LARGEST_MODEL = 2**32  # numbers in a model's state; more is a mistake in the settings


def build_model(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec, seed: int = 0) -> Model:
    """A fresh model of a registered name, or of a class.

    ``settings`` are loosely typed ``model.*`` values; where a name has a preset, they are over that.

    Equal seeds give equal weights, and torch's own generators stay as they were. Raises ReverieError for settings that
    do not fit, and for such as would make it too large, before anything is allocated.
    """
    size = sum(tensor.numel() for tensor in outline(model, settings, image_spec).values())
    if size > LARGEST_MODEL:
        raise ReverieError(
            f"A {called(model)} with these settings for {image_spec.shape} pictures would hold {size:.2g} numbers; "
            "choose a smaller model."
        )
    with seeded(derive(seed, "init")):
        return _construct(model, settings, image_spec)


def outline(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec) -> dict[str, torch.Tensor]:
    """The state of such a model, of which nothing but types and shapes is there.

    Nothing is allocated, unless a constructor from outside cannot do without.
    """
    try:
        with torch.device("meta"), _Unfilled():
            return _construct(model, settings, image_spec).state_dict()
    except ReverieError as error:
        # A constructor from outside may look at a tensor's numbers, of which there are none.
        kind = registry.load_class(model) if isinstance(model, str) else model
        if kind.__module__.startswith("reverie.") or not isinstance(error.__cause__, RuntimeError | TypeError):
            raise
    with seeded(0):
        return _construct(model, settings, image_spec).state_dict()


class _Unfilled(TorchFunctionMode):
    """A meta tensor is not filled with normal numbers, for which torch would import its compiler: a second."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").endswith("normal_"):  # of Tensor, and of torch.nn.init
            tensor = args[0] if args else kwargs.get("tensor")
            if isinstance(tensor, torch.Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


def _construct(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec) -> Model:
    if isinstance(model, str):
        kind, preset = registry.load_class(model), registry.preset(model)
    else:
        kind, preset = model, {}
        registry.check_model_class(kind)
    config: Any = configure(kind.Config, preset | settings, "model")
    try:
        return kind(config, image_spec)
    except (ValueError, RuntimeError, TypeError, ArithmeticError, IndexError) as error:
        raise ReverieError(
            f"No {called(model)} can be built from these settings for {image_spec.shape} pictures: {first_line(error)}."
        ) from error


def called(model: str | type[Model]) -> str:
    return model if isinstance(model, str) else model.__name__
