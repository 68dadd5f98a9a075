"""Every model there is, registered or toy, small enough to train in a test."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

import outside  # noqa: F401  (registers a model of its own)
from reverie import registry
from reverie.artifact import build_model
from reverie.capabilities import Translates
from reverie.engine.distributed import World
from reverie.engine.loop import Loop
from reverie.engine.model import ImageSpec, Model
from reverie.engine.plan import Plan, ResolvedPlan
from toys import TOYS, Pictures

NAMES = [*registry.names(), *TOYS]
BATCH_STATISTICS = ("dcgan", "cgan")  # batch normalisation: equal within rounding, not to the bit
SMALL: dict[str, Any] = {"width": 4, "latent": 3}
SPEC = ImageSpec(1, 8, 8, ("cat", "dog", "owl"))
TRANSLATORS = [name for name in registry.names() if issubclass(registry.load_class(name), Translates)]


def settings_for(name: str, **wanted: Any) -> dict[str, Any]:
    """Those of the settings that the model has, and `SMALL`."""
    if name in TOYS:
        return {}
    known = {f.name for f in dataclasses.fields(registry.load_class(name).Config)}
    if name in TRANSLATORS:
        known -= {"network"}  # theirs are other ones than the coders'
    return {k: v for k, v in (SMALL | {"width_d": 4, "pool": 5} | wanted).items() if k in known}


def spec_for(name: str, image_spec: ImageSpec = SPEC) -> ImageSpec:
    """The pictures that model ``name`` can learn: for a translator, side A has the channels, side B one more."""
    if name not in TRANSLATORS or image_spec.sides:
        return image_spec
    return dataclasses.replace(
        image_spec, channels=2 * image_spec.channels + 1, sides=(image_spec.channels, image_spec.channels + 1)
    )


def tiny(name: str, image_spec: ImageSpec = SPEC, seed: int = 0, **settings: Any) -> Model:
    """A small model of that name with seeded weights."""
    if name in TOYS:
        torch.manual_seed(seed)
        return TOYS[name](None, image_spec)
    return build_model(name, settings_for(name) | settings, spec_for(name, image_spec), seed)


def plan(**values: Any) -> ResolvedPlan:
    """A short plan."""
    settings: dict[str, Any] = {
        "steps": 12,
        "batch_size": 8,
        "ema": 0.9,
        "lr_schedule": "cosine",
        "warmup": 0.1,
        "clip": 5,
    }
    return Plan(**(settings | values)).with_defaults(Model.defaults).resolved


def loop_for(name: str, world: World | None = None, image_spec: ImageSpec = SPEC, **values: Any) -> Loop:
    """A loop over random pictures."""
    world = world or World()
    source = Pictures(spec_for(name, image_spec), seed=int(values.get("seed", 0)), rank=world.rank, ranks=world.size)
    return Loop(tiny(name, image_spec), source, plan(**values), torch.device("cpu"), world)
