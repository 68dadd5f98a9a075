"""Folders of runs, written as training would leave them, for tests of what is loaded."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from cases import SPEC, settings_for, tiny
from reverie.artifact import describe, write_config, write_weights
from reverie.data import DataOptions
from reverie.engine.model import ImageSpec, Model
from reverie.engine.plan import Plan


def filled(name: str, image_spec: ImageSpec = SPEC) -> Model:
    """A small model in which every number of the state is its own, so that none can be lost unseen."""
    model = tiny(name, image_spec, **settings_for(name, network="mlp")).eval()
    # As in training and after loading; a grouped convolution rounds differently in another layout.
    torch.nn.utils.convert_conv2d_weight_memory_format(model, torch.channels_last)
    generator = torch.Generator().manual_seed(1)
    for value in model.state_dict().values():
        value.copy_(0.2 * torch.rand(value.shape, generator=generator))
    return model


def config_of(name: str, model: Model) -> dict[str, Any]:
    sections = {"train": asdict(Plan()), "data": asdict(DataOptions())}
    return describe(name, model, sections, {"spec": "digits", "fingerprint": "0", "pictures": 1})


def written(folder: Path, name: str = "vae", image_spec: ImageSpec = SPEC) -> Model:
    model = filled(name, image_spec)
    write_config(folder, config_of(name, model))
    write_weights(folder, model)
    return model
