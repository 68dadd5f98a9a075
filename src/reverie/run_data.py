"""Open data the way a run's training data was read, and select pictures that the run was not trained on."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import Tensor

from reverie import training_data
from reverie.artifact import Loaded
from reverie.config import configure
from reverie.data import DataOptions, Dataset, open_dataset
from reverie.data import open as opening
from reverie.data.sources import MEMORY
from reverie.data.splits import Split
from reverie.errors import ReverieError, printable
from reverie.inference.labels import Labels
from reverie.inference.pictures import (
    Data,
    Held,
    Pictures,
    Subset,
    are_floats,
    digests_of,
    images_and_labels,
    in_range,
    is_pictures,
    pixel_digests_of,
    unmistakable,
)

OWN_FILES = ("layout", "classes", "labels", "split", "stream")  # settings that may not apply to other data

log = logging.getLogger("reverie")  # gets one line on how each source was read


class WithData(Loaded):
    """A trained model with methods that open data the way its training data was read."""

    def open(self, data: Data = None, split: Split | None = None, **options: Any) -> Dataset:
        """Pictures in the shape, channels, range and bit depth of the run; by default its own data.

        ``split`` is train, validation, test or all; by default test for the run's own data, all for other data.
        ``options`` are data.* settings that override those of the run, say layout="nhwc", range="0-255" or
        labels="labels.csv". A reverie `Dataset` is used unchanged. How a source was read is logged to "reverie".
        Raises ReverieError if the data cannot be read this way, and if the run's own data is gone or was in memory.
        """
        given = own(self) if data is None else data
        dataset = whole(self, given, options)
        if split is None and isinstance(data, Dataset):
            return dataset
        return dataset.split(split or ("test" if self.is_own(given) else "all"))

    def own_data(self, remedy: str = "give the data") -> str:
        """The spec of the data that the run was trained on. Raises ReverieError with the remedy if it is gone."""
        return training_data.own(self.path, self.config["data"], remedy)

    def is_own(self, data: Data) -> bool:
        """Whether data is the run's own: the same object, or a spec of the same place."""
        if data is not None and data is self.data:
            return True
        found, spec = training_data.find_own(self.config["data"]), spec_of(data)
        return found is not None and bool(spec) and training_data.same_place(spec, found)

    def held_out(
        self,
        normal: Data = None,
        judged: Data = None,
        *,
        remedy: str = "judge other pictures, or give others as normal ones",
    ) -> Subset:
        """Normal pictures for calibration that are neither in the training split nor among those to be ``judged``.

        They are taken from ``normal``, by default the run's own data. Files of the same source are compared by name,
        and with training pictures by content too; pictures in memory are compared by content alone. Raises
        ReverieError with the ``remedy`` if none is left.
        """
        given = own(self, "give normal pictures") if normal is None else normal
        known: Any = given if is_pictures(given) else whole(self, given)  # a `Dataset`, or the given set
        names, digests, looks = set[str](), training_data.learned_digests(self.path), set[bytes]()
        in_memory = not isinstance(given, str | Path)
        mine = _at_hand(self)
        if self.is_own(given):
            names.update((whole(self, mine) if in_memory else known).split("train").names)
        elif mine is None:  # it was in memory and is not available any more
            looks.update(training_data.learned_looks(self.path))
        elif in_memory or self.data is not None:
            training = whole(self, mine).split("train")
            looks.update([] if training.streamed else pixel_digests_of(training))
        if judged is not None:
            others = judged if is_pictures(judged) else whole(self, judged)
            place, other = spec_of(known), spec_of(others)
            if place and other and training_data.same_place(place, other):
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
                f"{spec_of(known) or 'The data'} holds no pictures to calibrate on that were neither learned from nor "
                f"are to be judged; {remedy}."
            )
        return Subset(known, np.flatnonzero(~out))


def spec_of(data: Data) -> str:
    """The spec that says where data is stored; "" for data in memory."""
    spec = opening.spec_of(data) if isinstance(data, str | Path | Dataset) else MEMORY
    return "" if spec.startswith(MEMORY) else spec


def own(run: WithData, remedy: str = "give the data") -> str | Dataset:
    """The run's own data: the object in memory, or else its spec. Raises ReverieError with the remedy if it is gone."""
    return training_data.own(run.path, run.config["data"], remedy) if run.data is None else run.data


def brought(run: WithData, data: Data) -> Dataset:
    """The run's own data, which was in memory, given again by the caller. Raises ReverieError if it is other data."""
    options = configure(DataOptions, run.config["settings"]["data"], "data")
    dataset = data if isinstance(data, Dataset) else open_dataset(cast(Any, data), options)
    if dataset.fingerprint != run.config["data"]["fingerprint"]:
        raise ReverieError(f"{run.path} was trained on other pictures than these; give its own, or leave out data.")
    return dataset


def whole(run: WithData, data: Data, given: dict[str, Any] | None = None) -> Dataset:
    """All splits of a source, read with the run's data settings, overridden by the options ``given``.

    A `Dataset` is used unchanged; a torch tensor of floats holds pictures in [-1, 1] unless ``given`` has a range.
    Raises ReverieError if the pictures have another shape than the run's, or if their range is ambiguous.
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


def _read(run: WithData, data: Data, given: dict[str, Any]) -> Dataset:
    image_spec, mine = run.image_spec, run.is_own(data)
    known = dict(run.config["settings"]["data"])
    if not mine:
        known |= {"limit": 0}
    known |= {"size": f"{image_spec.height}x{image_spec.width}", "flip": False, "shift": 0}
    # A range or depth from the caller overrides the scale of the run's own files.
    scales = None if given.keys() & {"range", "depth"} else image_spec.scales
    options = configure(DataOptions, known | given, "data")
    source = cast(Any, data)
    try:
        dataset = open_dataset(source, options, scales=scales)
    except ReverieError:
        # The settings for splits and classes of the run's own files may not fit other data.
        plain = configure(DataOptions, {k: v for k, v in known.items() if k not in OWN_FILES} | given, "data")
        if mine or plain == options:
            raise
        dataset = open_dataset(source, plain, scales=scales)
    log.info(printable(dataset.said))
    return dataset


def _at_hand(run: WithData) -> str | Dataset | None:
    """As `own`, but None if the run's own data is gone."""
    return training_data.find_own(run.config["data"]) if run.data is None else run.data


def learned(run: WithData) -> Dataset | None:
    """The training split of the run's own data; None if it is gone."""
    mine = _at_hand(run)
    try:
        return None if mine is None else whole(run, mine).split("train")
    except ReverieError:  # it exists but cannot be read any more
        return None


def measured(
    run: WithData, data: Data, split: Split | None, options: dict[str, Any]
) -> tuple[Pictures, Pictures | None]:
    """The pictures to measure on, and the training pictures to compare new ones with; see `Run.evaluate`."""
    if is_pictures(data):
        return data, None
    given = own(run) if data is None else data
    dataset = whole(run, given, options)
    if split is None and not run.is_own(given):
        return dataset, learned(run)
    return dataset.split(split or "test"), dataset.split("train") if split in (None, "test") else None


def pictures(run: WithData, x: Data, options: dict[str, Any]) -> Tensor | Pictures:
    """The argument of a method as a tensor in [-1, 1] or a set of pictures."""
    if are_floats(x) and options.get("range") in (None, "-1-1"):
        if odd := sorted(options.keys() - {"range"}):
            raise ReverieError(
                f"A tensor of floats is taken as it is, and {odd[0]} would change nothing; leave it out."
            )
        return in_range(x) if "range" in options else unmistakable(x)
    return x if is_pictures(x) and not options else run.open(x, **options)


def images(run: WithData, x: Data, labels: Labels | None, options: dict[str, Any]) -> tuple[Tensor, Labels | None]:
    """Pictures (N, C, H, W) in [-1, 1], and their labels if the model is conditioned on any."""
    return images_and_labels(run.model, pictures(run, x, options), labels)


def as_set(run: WithData, x: Data, options: dict[str, Any]) -> Pictures:
    """The argument of a method as a set of pictures."""
    given = pictures(run, x, options)
    return Held(given, run.image_spec) if isinstance(given, Tensor) else given
