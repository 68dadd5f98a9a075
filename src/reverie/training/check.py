"""Checks of model, data and callbacks before training."""

from __future__ import annotations

from collections.abc import Sequence

from reverie.capabilities import Translates
from reverie.data import Dataset
from reverie.data.pairs import Pairs
from reverie.engine.distributed import World
from reverie.engine.model import Model
from reverie.engine.plan import Plan
from reverie.errors import ReverieError


def check_trainable(model: Model, data: Dataset, pictures: Dataset, plan: Plan, world: World) -> None:
    """Raise ReverieError if the plan cannot train the model on ``pictures``, the training split of ``data``."""
    name = type(model).__name__
    if model.image_spec != data.image_spec:
        raise ReverieError(
            f"{name} was built for {model.image_spec}, and {data.spec} has {data.image_spec}; build it with the "
            "image_spec of the data: open_dataset(...).image_spec."
        )
    _check_sides(name, model, data)
    if len(pictures) == 0:
        raise ReverieError(f"{data.spec} has no pictures to train on.")
    _, height, width = data.image_spec.shape
    if data.options.shift >= min(height, width):
        raise ReverieError(f"data.shift={data.options.shift} must be smaller than the pictures, {height}x{width}.")
    together = (plan.batch_size or 1) // (world.size * plan.microbatches)
    if 0 < together < model.least_batch:
        raise ReverieError(
            f"{name} needs {model.least_batch} pictures at a time or more, not {together}; give a larger --batch-size."
        )


METHODS = ("on_start", "on_step", "on_log", "on_checkpoint", "on_end")


def checked(callbacks: Sequence[object]) -> Sequence[object]:
    """The callbacks. Raises ReverieError if one is a class or has none of the methods that are called."""
    if not isinstance(callbacks, list | tuple):
        raise ReverieError("Callbacks are given as a list: callbacks=[...].")
    for each in callbacks:
        name = each.__name__ if isinstance(each, type) else type(each).__name__
        if isinstance(each, type):
            raise ReverieError(f"{name} is a class, and a callback is an object of it: callbacks=[{name}()].")
        if not any(callable(getattr(each, method, None)) for method in METHODS):
            raise ReverieError(f"{name} is no callback: it has none of the methods {', '.join(METHODS)}.")
        if hasattr(each, "state_dict") != hasattr(each, "load_state_dict"):
            raise ReverieError(f"{name} has one of state_dict and load_state_dict; a state is kept by both, or none.")
    return callbacks


def storable(value: object) -> bool:
    """Whether JSON restores the value unchanged, which it does not for tuples and keys that are numbers."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and storable(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(storable, value))
    return value is None or isinstance(value, bool | int | float | str)


def whole(data: Dataset) -> Dataset:
    """All splits of a data set that was given as a whole or as its training split. ReverieError for another split."""
    if data.which in ("all", "train"):
        return data.split("all")
    raise ReverieError(
        f"This is the {data.which} split of {data.spec}, and what is learned is always the training split; give the "
        "whole data set, or the pictures themselves."
    )


def _check_sides(name: str, model: Model, data: Dataset) -> None:
    """Raise ReverieError if a model of single pictures gets pairs, or one that needs pairs gets unpaired sides."""
    if not isinstance(data, Pairs):
        return
    if not isinstance(model, Translates):
        raise ReverieError(f"{name} learns single pictures; leave out data.pair, or train pix2pix or cyclegan.")
    if model.learns_pairs and not data.paired:
        raise ReverieError(f"{name} learns from pictures that belong together; train cyclegan on unpaired ones.")
