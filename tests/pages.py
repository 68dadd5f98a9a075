"""The Python of README.md and of docs/, block after block, as a reader would run it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
# All that is changed of what is written there: how long is trained.
BUDGETS = ((r'"minutes": \d+', '"steps": 3'), (r'("steps": |steps=)\d+', r"\g<1>12"))

SIDE = 16  # pixels
PICTURES = {"pictures": 400, "new": 4, "mine": 3, "labelled/cat": 80, "labelled/dog": 80}  # folders, and how many


def reader_s(folder: Path) -> None:
    """The folders of pictures that pages speak of."""
    random = np.random.default_rng(0)
    for name, count in PICTURES.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.fromarray(random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)).save(folder / name / f"{number}.png")


def blocks(page: Path) -> list[str]:
    """The blocks of Python on a page, in their order."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def run_page(page: Path) -> dict[str, Any]:
    """Run all blocks of a page as one program in the current folder, shortly; what it has defined, by name."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, code in enumerate(blocks(page), 1):
        for written, short in BUDGETS:
            code = re.sub(written, short, code)
        exec(compile(code, f"{page.name}, block {number}", "exec"), names)
    return names
