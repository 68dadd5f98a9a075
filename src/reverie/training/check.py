"""What must fit before a training begins."""

from __future__ import annotations

from reverie.capabilities import Translates
from reverie.data import Dataset
from reverie.data.pairs import Pairs
from reverie.engine.budget import Plan
from reverie.engine.distributed import World
from reverie.engine.phase import Model
from reverie.errors import ReverieError


def check(model: Model, data: Dataset, pictures: Dataset, plan: Plan, world: World) -> None:
    """Raise ReverieError where a model can't learn ``pictures``, the training ones of ``data``, by a plan."""
    name = type(model).__name__
    if model.facts != data.facts:
        raise ReverieError(
            f"{name} was built for {model.facts}, and {data.spec} has {data.facts}; build it with the facts of the "
            "data: open_dataset(...).facts."
        )
    _check_sides(name, model, data)
    if len(pictures) == 0:
        raise ReverieError(f"{data.spec} has no pictures to train on.")
    _, height, width = data.facts.shape
    if data.options.shift >= min(height, width):
        raise ReverieError(f"data.shift={data.options.shift} must be smaller than the pictures, {height}x{width}.")
    together = (plan.batch_size or 1) // (world.size * plan.microbatches)
    if 0 < together < model.least_batch:
        raise ReverieError(
            f"{name} needs {model.least_batch} pictures at a time or more, not {together}; give a larger --batch-size."
        )


def _check_sides(name: str, model: Model, data: Dataset) -> None:
    """ReverieError where the data has two sides and the model knows one, or pairs are needed and there are none."""
    if not isinstance(data, Pairs):
        return
    if not isinstance(model, Translates):
        raise ReverieError(f"{name} learns single pictures; leave out data.pair, or train pix2pix or cyclegan.")
    if model.learns_pairs and not data.paired:
        raise ReverieError(f"{name} learns from pictures that belong together; train cyclegan on unpaired ones.")
