"""Data as a run knows it: read as its own was, and what of it the run has not learned from."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np

from reverie import own_data
from reverie.artifact import Loaded
from reverie.config import configure
from reverie.data import DataOptions, Dataset, open_dataset
from reverie.data import open as opening
from reverie.data.sources import MEMORY
from reverie.errors import ReverieError, printable
from reverie.inference.pictures import Data, Subset, are_floats, digests_of, is_pictures, pixel_digests_of, unmistakable

OWN_FILES = ("layout", "classes", "labels", "split", "stream")  # settings that may say nothing of other data

log = logging.getLogger("reverie")  # hears, in one line, how each source was read


def spec_of(data: Data) -> str:
    """The spec that tells where data lies; "" of what is only in memory."""
    spec = opening.spec_of(data) if isinstance(data, str | Path | Dataset) else MEMORY
    return "" if spec.startswith(MEMORY) else spec


def own(run: Loaded, remedy: str = "give the data") -> str | Dataset:
    """The run's own data: what is at hand of it, or where it lies; where that is gone, one sentence with the remedy."""
    return own_data.own(run.path, run.config["data"], remedy) if run.data is None else run.data


def brought(run: Loaded, data: Data) -> Dataset:
    """The run's own data, which was in memory and is given again. ReverieError where it is other data."""
    options = configure(DataOptions, run.config["settings"]["data"], "data")
    dataset = data if isinstance(data, Dataset) else open_dataset(cast(Any, data), options)
    if dataset.fingerprint != run.config["data"]["fingerprint"]:
        raise ReverieError(f"{run.path} was trained on other pictures than these; give its own, or leave out data.")
    return dataset


def is_own(run: Loaded, data: Data) -> bool:
    """Whether data is the run's own, or lies where that does, however it is written."""
    if data is not None and data is run.data:
        return True
    found, spec = own_data.find_own(run.config["data"]), spec_of(data)
    return found is not None and bool(spec) and own_data.same_place(spec, found)


def whole(run: Loaded, data: Data, given: dict[str, Any] | None = None) -> Dataset:
    """All of a source in the shape of the run's pictures, read as these were but for the options ``given``.

    A `Dataset` is taken as it is, and a torch tensor of floats as pictures in [-1, 1] unless ``given`` has a range.
    Raises ReverieError where the pictures are of another shape, or lie where they could mean two things.
    """
    given = dict(given or {})
    if are_floats(data) and "range" not in given:
        unmistakable(data)
        given["range"] = "-1-1"
    dataset = data if isinstance(data, Dataset) and not given else _read(run, data, given)
    image_spec, name = run.image_spec, spec_of(data) or dataset.spec
    if dataset.image_spec.shape != image_spec.shape:
        raise ReverieError(
            f"{name} has pictures of {dataset.image_spec.shape} (channels, height, width), "
            f"the run was trained on {image_spec.shape}."
        )
    if dataset.image_spec.sides != image_spec.sides:
        raise ReverieError(
            f"{name} has sides of {dataset.image_spec.sides} channels, the run was trained on {image_spec.sides}; "
            "exchange them."
        )
    return dataset


def _read(run: Loaded, data: Data, given: dict[str, Any]) -> Dataset:
    image_spec, mine = run.image_spec, is_own(run, data)
    known = dict(run.config["settings"]["data"])
    if not mine:
        known |= {"limit": 0}
    known |= {"size": f"{image_spec.height}x{image_spec.width}", "flip": False, "shift": 0}
    # What the caller says of values is over the scale of the run's own files.
    scales = None if given.keys() & {"range", "depth"} else image_spec.scales
    options = configure(DataOptions, known | given, "data")
    source = cast(Any, data)
    try:
        dataset = open_dataset(source, options, scales=scales)
    except ReverieError:
        # What said the splits and classes of the run's own files may say nothing of others.
        plain = configure(DataOptions, {k: v for k, v in known.items() if k not in OWN_FILES} | given, "data")
        if mine or plain == options:
            raise
        dataset = open_dataset(source, plain, scales=scales)
    log.info(printable(dataset.said))
    return dataset


def _at_hand(run: Loaded) -> str | Dataset | None:
    """As `own`; None where the run's own data is gone."""
    return own_data.find_own(run.config["data"]) if run.data is None else run.data


def learned(run: Loaded) -> Dataset | None:
    """The pictures that the run has learned from; None where they are gone."""
    mine = _at_hand(run)
    try:
        return None if mine is None else whole(run, mine).split("train")
    except ReverieError:  # it is there, and cannot be read any more
        return None


def held_out(run: Loaded, normal: Data, judged: Data, remedy: str) -> Subset:
    """Pictures of ``normal`` (None: the run's own data) neither learned from nor ``judged``; see `Run.held_out`."""
    given = own(run, "give normal pictures") if normal is None else normal
    known: Any = given if is_pictures(given) else whole(run, given)  # a `Dataset`, unless it was given
    names, digests, looks = set[str](), own_data.learned_digests(run.path), set[bytes]()
    in_memory = not isinstance(given, str | Path)
    mine = _at_hand(run)
    if is_own(run, given):
        names.update((whole(run, mine) if in_memory else known).split("train").names)
    elif mine is None:  # it was in memory, and is gone
        looks.update(own_data.learned_looks(run.path))
    elif in_memory or run.data is not None:
        training = whole(run, mine).split("train")
        looks.update([] if training.streamed else pixel_digests_of(training))
    if judged is not None:
        others = judged if is_pictures(judged) else whole(run, judged)
        place, other = spec_of(known), spec_of(others)
        if place and other and own_data.same_place(place, other):
            names.update(others.names)
        elif in_memory or not other:
            looks.update(pixel_digests_of(others))
    out = np.array([name in names for name in known.names], bool)
    if digests and (told := digests_of(known)) is not None:
        out |= [digest in digests for digest in told]
    if looks:
        out |= [look in looks for look in pixel_digests_of(known)]
    if out.all():
        raise ReverieError(
            f"{spec_of(known) or 'The data'} holds no pictures to calibrate on that were neither learned from nor are "
            f"to be judged; {remedy}."
        )
    return Subset(known, np.flatnonzero(~out))
