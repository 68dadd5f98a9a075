"""Pictures for the tests of the data."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reverie.data import DataOptions, Dataset, open_dataset
from reverie.engine.model import ImageSpec

Opener = Callable[..., Dataset]


def opener(cache: Path) -> Opener:
    """`open_dataset` with a cache of its own; options as keywords."""

    def open_here(spec: object, **options: Any) -> Dataset:
        return open_dataset(str(spec), DataOptions(**options), cache=cache)

    return open_here


class Held:
    """Pictures (N, C, H, W), uint8, as a set in memory; their names are their numbers."""

    def __init__(
        self, pixels: NDArray[np.uint8], labels: NDArray[np.int64] | None = None, classes: tuple[str, ...] = ()
    ) -> None:
        self.pixels, self.labels = pixels, labels
        self.names = [str(i) for i in range(len(pixels))]
        self.image_spec = ImageSpec(*pixels.shape[1:], classes)

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        return self.pixels[indices]


def picture(seed: int = 0, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (8, 8, 3), dtype=np.uint8)


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(seed)).save(buffer, "PNG")
    return buffer.getvalue()


def fill(folder: Path, *names: str) -> Path:
    """PNG files of these names, each with its own noise."""
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(i))
    return folder


def everything(dataset: Dataset) -> np.ndarray:
    return dataset.batch(np.arange(len(dataset)))
