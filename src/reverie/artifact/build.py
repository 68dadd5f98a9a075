"""Build a new model from a name or class and its settings."""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from reverie import registry
from reverie.config import configure
from reverie.engine.model import ImageSpec, Model
from reverie.engine.randomness import derive, seeded
from reverie.errors import ReverieError, first_line

LARGEST_MODEL = 2**32  # numbers in a model's state; a larger model is a mistake in the settings


def build_model(model: str | type[Model], settings: dict[str, Any], image_spec: ImageSpec, seed: int = 0) -> Model:
    """A new model of a registered name or a class, on the CPU.

    ``settings`` are loosely typed ``model.*`` values; they override the preset of a name. Equal seeds give equal
    weights; torch's own generators are left unchanged. Raises ReverieError for invalid settings, and before anything is
    allocated for settings that make the model larger than `LARGEST_MODEL`.
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
    """The state dict of such a model as meta tensors: types and shapes only.

    Nothing is allocated, unless the constructor of an external class fails on meta tensors.
    """
    try:
        with torch.device("meta"), _Unfilled():
            return _construct(model, settings, image_spec).state_dict()
    except ReverieError as error:
        # An external constructor may read the values of a tensor, which meta tensors do not have.
        kind = registry.load_class(model) if isinstance(model, str) else model
        if kind.__module__.startswith("reverie.") or not isinstance(error.__cause__, RuntimeError | TypeError):
            raise
    with seeded(0):
        return _construct(model, settings, image_spec).state_dict()


class _Unfilled(TorchFunctionMode):
    """Skips normal initialisation of meta tensors, for which torch would import its compiler (about a second)."""

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
