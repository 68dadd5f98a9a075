"""The scripts in examples/ do what they say, from any folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

FOLDER = Path(__file__).parent.parent / "examples"


def test_the_script_of_one_s_own_model_is_short() -> None:
    assert len((FOLDER / "own_vae.py").read_text().splitlines()) <= 40


@pytest.mark.parametrize("words", [("own_vae.py",), *(("your_data.py", w) for w in ("torch", "huggingface", "labels"))])
def test_an_example_runs(words: tuple[str, ...], tmp_path: Path) -> None:
    place = os.environ | {"PYTHONPATH": os.pathsep.join([str(FOLDER), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, str(FOLDER / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=tmp_path, env=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "killed by signal 9" in done.stdout
    assert "the same bits: True" in done.stdout
    assert "called odd" in done.stdout
    assert "64 pictures in samples.png" in done.stdout  # by another process
    grids = sorted(tmp_path.glob("*.png"))
    assert len(grids) == 2
    for grid in grids:
        with Image.open(grid) as picture:
            assert len(np.unique(np.asarray(picture))) > 10
