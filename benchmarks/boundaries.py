"""How many boundaries between modules does a training cross, from the argument ``data`` to the weights on disk?

    python benchmarks/boundaries.py                      # of the package beside this file
    python benchmarks/boundaries.py --src OLD/src        # of another checkout

A small VAE learns a folder of pictures, once to import what is needed and once to be watched. A module is a file of the
package, and a boundary a pair of modules (caller, callee) of which the one has called the other; what lies between them
and is not reverie's (torch, a context manager) counts for nothing. Prints JSON of two measures:

- ``all``: every boundary that was crossed within `reverie.train`, on whatever business;
- ``path``: those on the way of the data alone: on the stack, from `train` down, whenever a picture's file is opened,
  a picture is decoded for the pack, the pack is written, put in its place or opened, the loop reads pictures out of it,
  and the weights are put in theirs.

Of both also those that are between rooms, the first part of a module's name in the package.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from io import BufferedWriter
from pathlib import Path
from types import FrameType
from typing import Any

Edge = tuple[str, str]

PICTURES, SIDE, STEPS = 24, 16, 4
LOOP = "reverie.engine.loop"  # of whatever reads pictures, that which learns from them


def named(frame: FrameType) -> str:
    """The module that a frame belongs to."""
    return str(frame.f_globals.get("__name__", ""))


def module(frame: FrameType) -> str:
    """As `named`; "" where it is none of the package."""
    name = named(frame)
    return name if name.split(".")[0] == "reverie" else ""


def crossed(frame: FrameType | None) -> Iterator[Edge]:
    """The boundaries on a stack, from its innermost frame outwards."""
    callee = ""
    while frame is not None:
        caller = module(frame)
        if caller and callee and caller != callee:
            yield caller, callee
        callee, frame = caller or callee, frame.f_back


class Watch:
    """Notes the boundaries that are crossed while it is used as a context manager."""

    def __init__(self, data: Path, out: Path, cache: Path) -> None:
        self.all: set[Edge] = set()
        self.path: set[Edge] = set()
        self.data, self.weights, self.cache = f"{data}{os.sep}", str(out / "model.safetensors"), f"{cache}{os.sep}"
        self._on = self._learning = False
        sys.addaudithook(self._audit)  # which cannot be taken away

    def __enter__(self) -> Watch:
        self._on = True
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        self._on = False

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call":
            stream = getattr(called, "__self__", None)
            if isinstance(stream, BufferedWriter) and called.__name__ == "write" and self._is_cached(stream.name):
                self.path.update(crossed(frame))
        elif event != "call":
            return
        elif module(frame):
            self.all.update(list(crossed(frame))[:1])
        elif frame.f_code.co_name == "load" and named(frame) == "PIL.ImageFile":
            if not self._learning:  # later ones are of pictures that the run has drawn
                self.path.update(crossed(frame))
        elif frame.f_code.co_name == "__getitem__" and named(frame).endswith(".memmap"):
            stack = set(crossed(frame))
            if LOOP in {name for edge in stack for name in edge}:
                self._learning = True
                self.path.update(stack)

    def _is_cached(self, place: object) -> bool:
        return str(place).startswith(self.cache) and str(place).endswith((".pack", ".tmp"))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on or event not in ("open", "os.rename"):
            return
        place = str(arguments[event == "os.rename"])
        opened = event == "open" and place.startswith(self.data)
        if opened or self._is_cached(place) or (event == "os.rename" and place == self.weights):
            self.path.update(crossed(sys._getframe(1)))


def measure(folder: str) -> dict[str, Any]:
    """Both measures of the package that is importable, in a folder of their own."""
    import numpy as np
    from PIL import Image

    import reverie

    room = Path(folder)
    noise = np.random.default_rng(0).integers(0, 256, (PICTURES, SIDE, SIDE), np.uint8)
    data, cache = room / "pictures", room / "cache"
    data.mkdir()
    for i, picture in enumerate(noise):
        Image.fromarray(picture).save(data / f"{i:02d}.png")
    plan = {"train": {"steps": STEPS, "batch_size": 8}, "model": {"width": 4, "latent": 4}}
    watch = Watch(data, room / "watched", cache / "watched")
    for name in ("first", "watched"):
        os.environ["REVERIE_CACHE"] = str(cache / name)
        if name == "first":
            reverie.train("vae", str(data), room / name, settings=plan, device="cpu", quiet=True)
        else:
            with watch:
                reverie.train("vae", str(data), room / name, settings=plan, device="cpu", quiet=True)
    return {name: told(edges) for name, edges in (("all", watch.all), ("path", watch.path))}


def told(edges: set[Edge]) -> dict[str, Any]:
    """How many there are, between how many modules, and each as "caller -> callee" within the package."""
    names = sorted((caller.partition(".")[2], callee.partition(".")[2]) for caller, callee in edges)
    rooms = {(caller.partition(".")[0], callee.partition(".")[0]) for caller, callee in names}
    return {
        "boundaries": len(names),
        "between rooms": sum(caller != callee for caller, callee in rooms),
        "modules": len({name for edge in names for name in edge}),
        "edges": [" -> ".join(edge) for edge in names],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the boundaries between modules that a training crosses.")
    parser.add_argument("--src", type=Path, default=Path(__file__).parents[1] / "src", help="where the package lies")
    source = parser.parse_args().src.resolve()
    code = "import json, sys, boundaries; print(json.dumps(boundaries.measure(sys.argv[1]), indent=1))"
    place = {"PYTHONPATH": os.pathsep.join((str(source), str(Path(__file__).parent.resolve())))}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-c", code, folder], env=os.environ | place, check=True)


if __name__ == "__main__":
    main()
