"""The Python of the README runs, block after block, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from reverie import registry

README = Path(__file__).parents[1] / "README.md"
BUDGET = {'"minutes": 5': '"steps": 3'}  # all that is changed of what is written there
SIDE = 16  # pixels
PICTURES = {"pictures": 400, "new": 4, "mine": 3, "labelled/cat": 80, "labelled/dog": 80}  # folders, and how many


def blocks() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(0)
    for name, count in PICTURES.items():
        (tmp_path / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(tmp_path / name / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "MODELS", dict(registry.MODELS))  # what is registered here is not there afterwards
    names: dict[str, Any] = {}
    assert blocks()
    for code in blocks():
        for written, small in BUDGET.items():
            code = code.replace(written, small)
        exec(compile(code, str(README), "exec"), names)
    assert names["pictures"].shape == names["mixed"].shape == (16, 3, SIDE, SIDE)
    assert names["codes"].shape[0] == len(names["test"])
    assert names["odd"].shape == (4,)
    assert names["run"].name == "mine"
    assert names["translated"].shape == (3, 3, SIDE, SIDE)
    capsys.readouterr()


def test_what_is_changed_is_there() -> None:
    assert all(any(written in code for code in blocks()) for written in BUDGET)
