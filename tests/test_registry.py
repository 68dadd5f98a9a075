"""The registry: names load, unknown ones get a hint, and looking does not import torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

import outside  # noqa: F401  (registers a model of its own)
from reverie import capabilities
from reverie.engine.model import Model
from reverie.errors import ReverieError
from reverie.registry import MODELS, load_class, names, preset, promises


@pytest.mark.parametrize("name", names())
def test_every_name_loads_and_its_preset_fits(name: str) -> None:
    cls = load_class(name)
    assert issubclass(cls, Model)
    assert cls.Config(**preset(name)) is not None
    assert MODELS[name].summary
    assert MODELS[name].paper


@pytest.mark.parametrize("name", names())
def test_what_is_said_of_a_model_holds_of_its_class(name: str) -> None:
    kind = load_class(name)
    density, able = promises(name)
    assert density == kind.taxonomy
    known = [
        each
        for each in vars(capabilities).values()
        if isinstance(each, type) and each.__module__ == capabilities.__name__
    ]
    assert sorted(able) == sorted(each.__name__ for each in known if issubclass(kind, each))


def test_unknown_name() -> None:
    with pytest.raises(ReverieError, match="did you mean 'beta-vae'"):
        load_class("betavae")


def test_presets_are_copies() -> None:
    preset("beta-vae")["beta"] = 9
    assert preset("beta-vae") == {"beta": 4.0}


def test_importing_does_not_import_torch() -> None:
    code = "import sys, reverie.registry as r; r.names(); r.preset('vae'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    code = "import atexit, sys; from reverie.cli import main; "
    code += "atexit.register(lambda: print('torch' in sys.modules)); main(['models'])"
    listed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert listed.endswith("\nFalse\n"), "listing models imported torch, which takes a second"
    assert "stylegan2" in listed
