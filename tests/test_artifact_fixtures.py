"""Runs that were written by an older reverie load, and give what they gave.

``fixtures/artifacts`` holds one small run of each family as commit d4b05f4 wrote it, and what its model gave there:
`write` made them, run by hand with that commit's package on the path. They are never made anew: a newer format migrates
them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import reverie
from reverie.capabilities import Bounds, Conditions, Discriminates, Encodes, Samples, Translates

FOLDER = Path(__file__).parent / "fixtures" / "artifacts"
FAMILIES = (
    *("ae", "vae", "cvae", "vaegan", "gan", "dcgan", "cgan", "progan", "stylegan", "stylegan2", "r3gan", "cr3gan"),
    *("pix2pix", "cyclegan"),
)


def outputs(model: object) -> dict[str, NDArray[np.float32]]:
    """What a model gives by each of its capabilities."""
    found: dict[str, NDArray[np.float32]] = {}
    chance = np.random.default_rng(3)
    channels = model.image_spec.channels  # type: ignore[attr-defined]
    images = torch.from_numpy(chance.uniform(-1, 1, (3, channels, 8, 8)).astype(np.float32))
    labels = torch.tensor([2, 0, 1]) if isinstance(model, Conditions) else None
    with torch.no_grad():
        if isinstance(model, Samples):
            found["samples"] = reverie.sample(model, 4, seed=5).numpy()
        if isinstance(model, Encodes):
            found["codes"] = model.encode(images, labels).mean.numpy()
        if isinstance(model, Bounds):
            found["rebuilt"] = reverie.reconstruct(model, images, None if labels is None else labels.tolist()).numpy()
        if isinstance(model, Discriminates):
            found["realness"] = model.realness(images, labels).numpy()
        if isinstance(model, Translates):
            side = images[:, : model.image_spec.sides[0]]  # type: ignore[attr-defined]
            found["translated"] = reverie.translate(model, side).numpy()
    return found


def write() -> None:
    """Make the fixtures."""
    from reverie.artifact import write_config, write_weights
    from runs import config_of, filled

    for name in FAMILIES:
        model = filled(name)
        for value in model.parameters():  # of both signs, that nothing saturates; variances among the buffers stay
            value.data.sub_(0.1)
        write_config(FOLDER / name, config_of(name, model))
        write_weights(FOLDER / name, model)
        np.savez_compressed(FOLDER / name / "outputs.npz", **outputs(reverie.load(FOLDER / name).model))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_run_of_before_gives_what_it_gave(name: str) -> None:
    run = reverie.load(FOLDER / name)
    assert run.name == name
    found = outputs(run.model)
    with np.load(FOLDER / name / "outputs.npz") as wanted:
        assert found.keys() == set(wanted.files)
        for key in found:
            assert found[key] == pytest.approx(wanted[key], abs=2e-5), key  # processors round differently
    assert max(np.ptp(value) for value in found.values()) > 0.005
