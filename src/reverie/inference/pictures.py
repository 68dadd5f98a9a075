"""Sets of pictures as tasks and evaluation need them: opening any data, checking it, and reading it in batches."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Protocol, TypeGuard, cast, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from reverie.data import DataOptions, open_dataset
from reverie.data.decode import Pixels
from reverie.data.fingerprint import digest_of
from reverie.data.image_io import to_tensor, to_uint8
from reverie.data.pairs import Pairs
from reverie.data.target_format import CHANNEL_WORDS, MODES
from reverie.deprecated import OldName
from reverie.engine.model import ImageSpec, Model
from reverie.engine.randomness import derive
from reverie.errors import ReverieError
from reverie.inference.labels import Labels, called_by_numbers, classes_of, label_number, names_of

log = logging.getLogger("reverie")  # see `reverie.run_data`

Data = object  # a set of `Pictures`, or whatever `open_dataset` takes: a spec, a folder, arrays, lists, data sets

FARTHEST = 1.5  # largest value accepted in pictures in [-1, 1]: a decoder overshoots a little


class Pictures(Protocol):
    """An indexed set of pictures: `reverie.data.Dataset`, or anything with these members."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        """(n, C, H, W)."""

    @property
    def labels(self) -> NDArray[np.int64] | None:
        """(N,) class numbers, or None."""

    @property
    def names(self) -> Sequence[str]:
        """A name for each picture, (N,)."""

    @property
    def image_spec(self) -> ImageSpec:
        """Shape and class names."""


class Subset:
    """The pictures ``rows`` (N,) of a set, in that order, as a set."""

    facts = OldName("facts", "image_spec")

    def __init__(self, dataset: Pictures, rows: NDArray[np.int64]) -> None:
        self.dataset, self.rows, self.image_spec = dataset, rows, dataset.image_spec
        self.labels = None if dataset.labels is None else dataset.labels[rows]

    @property
    def names(self) -> Sequence[str]:
        names = self.dataset.names
        return [names[row] for row in self.rows]

    @property
    def digests(self) -> Sequence[str] | None:
        """A digest of each picture's content; None where the set has none."""
        digests = digests_of(self.dataset)
        return None if digests is None else [digests[row] for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        return self.dataset.batch(self.rows[indices])


class Held:
    """Pictures (N, C, H, W) in [-1, 1] as a set, without labels; their names are their numbers.

    Raises ReverieError for a tensor of another shape.
    """

    facts = OldName("facts", "image_spec")

    def __init__(self, images: Tensor, image_spec: ImageSpec) -> None:
        if images.ndim != 4:
            raise ReverieError(
                f"A tensor of floats holds pictures (N, C, H, W), and this one has the shape {tuple(images.shape)}; "
                "bring it to that, say by pictures[None] or pictures[:, None]."
            )
        channels, height, width = images.shape[1:]
        self.image_spec = replace(image_spec, channels=channels, height=height, width=width)
        self.labels: NDArray[np.int64] | None = None
        self.names = [str(number) for number in range(len(images))]
        self._unit = ((images.detach().cpu().float() + 1) / 2).clamp(0, 1).numpy()

    def __len__(self) -> int:
        return len(self._unit)

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        return self._unit[indices]


def without(dataset: Pictures, *others: Pictures) -> Subset:
    """The pictures of a set that are in none of ``others``, which are parts of the same source; matched by name."""
    taken = {name for other in others for name in other.names}
    rows = [row for row, name in enumerate(dataset.names) if name not in taken]
    return Subset(dataset, np.array(rows, np.int64))


@runtime_checkable
class Opens(Protocol):
    """A model together with how its data is read, as a `reverie.Run` is."""

    @property
    def model(self) -> object: ...

    def open(self, data: Data, split: Any) -> Pictures:
        """Data, read like the training data of the model."""


def is_pictures(data: Data) -> TypeGuard[Pictures]:
    """Whether this is a set of pictures already."""
    return isinstance(getattr(data, "image_spec", None), ImageSpec) and callable(getattr(data, "batch", None))


def model_of(model: object) -> object:
    """The model of a run, or the model itself."""
    return model.model if isinstance(model, Opens) else model


def pictures_of(model: object, data: Data) -> Pictures:
    """``data`` as a set of pictures for ``model``: unchanged if it is one, else opened.

    It is resized to the model's size, and refused if it has other channels. ``model`` may be a run, which opens data
    as its own was read, or an `ImageSpec`, which gives the shape; without either, pictures keep their shape. A torch
    tensor of floats is taken as pictures in [-1, 1], see `images_of`.
    """
    if is_pictures(data):
        return data
    if isinstance(model, Opens):
        return model.open(data, "all")
    image_spec = model if isinstance(model, ImageSpec) else model.image_spec if isinstance(model, Model) else None
    if image_spec is not None and image_spec.sides:
        raise ReverieError(
            f"{type(model).__name__} learns pairs; open them by Run.open, or by open_dataset with data.pair."
        )
    if are_floats(data):
        return Held(in_range(data), image_spec or ImageSpec(1, 1, 1))  # which takes their shape
    if image_spec is None:
        return open_dataset(cast(Any, data))
    options = DataOptions(size=f"{image_spec.height}x{image_spec.width}")
    opened = open_dataset(cast(Any, data), options, scales=image_spec.scales)
    if opened.image_spec.shape != image_spec.shape:
        raise ReverieError(
            f"{opened.spec} has pictures of {opened.image_spec.channels} channels, not {image_spec.channels}; "
            f"open them with data.channels={image_spec.channels}."
        )
    return opened


def side_of(image_spec: ImageSpec, data: Data, direction: str) -> Tensor:
    """Pictures (N, C, H, W) in [-1, 1] of the source side of a direction ("ab", "ba"), at their own size.

    Of pairs that side is taken; other data is single pictures, which get the side's channels; where they had others,
    the logger ``reverie`` is told. Raises ReverieError for pictures of several sizes.
    """
    if are_floats(data):
        return in_range(data)
    if isinstance(data, Pairs):
        return all_of(data.side(direction[0]))
    if is_pictures(data):
        return all_of(data)
    number = "ab".index(direction[0])
    channels = image_spec.sides[number]
    options = DataOptions(channels=str(channels))
    opened = open_dataset(cast(Any, data), options, scales=image_spec.scales[number : number + 1])
    if len(sizes := opened.found["sizes"]) > 1:
        raise ReverieError(
            f"{opened.spec} holds pictures of several sizes, such as {' and '.join([*sizes][:2])} (height x width); "
            "translate those of each size by themselves, or open them with data.size."
        )
    kept = {CHANNEL_WORDS.get(channels), MODES.get(channels)}
    if others := {*CHANNEL_WORDS.values(), *MODES.values()} & {*opened.found["modes"]} - kept:
        log.info("%s: pictures that are %s are read as %s", opened.spec, " or ".join(sorted(others)), options.channels)
    return all_of(opened)


def images_of(model: object, data: Data) -> Tensor:
    """``data`` as a tensor of pictures (N, C, H, W) in [-1, 1]; arguments as for `pictures_of`.

    A torch tensor of floats is taken as such, like the result of `sample`; ReverieError for values beyond. Everything
    else (uint8 too) is opened, and read completely.
    """
    return images_and_labels(model, data, None)[0]


def images_and_labels(model: object, data: Data, labels: Labels | None) -> tuple[Tensor, Labels | None]:
    """As `images_of`, with the given labels, or else those of the data if the model takes any."""
    if are_floats(data):
        return in_range(data), labels
    dataset, network = pictures_of(model, data), model_of(model)
    return all_of(dataset), names_of(network, model_labels(network, dataset)) if labels is None else labels


def all_of(dataset: Pictures) -> Tensor:
    """All pictures of a set, (N, C, H, W) in [-1, 1]."""
    return to_tensor(dataset.batch(np.arange(len(dataset))))


def are_floats(data: Data) -> TypeGuard[Tensor]:
    """Whether this is a torch tensor of floats, which tasks take as pictures in [-1, 1], like those of `sample`."""
    return isinstance(data, Tensor) and data.is_floating_point()


def in_range(images: Tensor) -> Tensor:
    """Pictures that should be in [-1, 1], as float32; ReverieError where they clearly are not."""
    low, high = (float(end) for end in images.detach().aminmax()) if images.numel() else (0.0, 0.0)
    if not -FARTHEST <= low <= high <= FARTHEST:
        raise ReverieError(
            f"A tensor of floats holds pictures in [-1, 1], and this one reaches from {low:.4g} to {high:.4g}; bring "
            "it there, or give bytes as uint8."
        )
    return images.float()


def unmistakable(images: Tensor) -> Tensor:
    """As `in_range`; ReverieError also where all values are in [0, 1], since that range may be meant."""
    if images.numel() and float(images.detach().min()) >= 0 and float(images.detach().max()) <= 1:
        raise ReverieError(
            "These pictures lie wholly in [0, 1], so they may be meant so or as a part of [-1, 1]; say "
            'range="0-1" or range="-1-1".'
        )
    return in_range(images)


def digests_of(dataset: Pictures) -> Sequence[str] | None:
    """A digest of each picture's content, (N,); None where the set has none, or may return other pictures each time."""
    digests: Sequence[str] | None = getattr(dataset, "digests", None)
    return None if getattr(dataset, "streamed", False) else digests


def pixel_digests_of(dataset: Pictures, batch: int = 256) -> list[bytes]:
    """A digest of each picture's pixels at 8 bits, (N,), independent of where they were read from."""
    looks = []
    for start in range(0, len(dataset), batch):
        pixels = dataset.batch(np.arange(start, min(start + batch, len(dataset))))
        looks += [digest_of(picture.tobytes()) for picture in to_uint8(to_tensor(pixels))]
    return looks


def sample_indices(dataset: Sized, count: int, seed: int = 0) -> NDArray[np.int64]:
    """Indices of ``count`` pictures of the data set (all, where it has no more), sampled by ``seed``, ascending.

    Sampled, not the first or every k-th: a set may be sorted by class, or alternate between classes.
    """
    drawn = np.random.default_rng(derive(seed, "some")).permutation(len(dataset))[:count]
    return np.sort(drawn)


def first(pictures: Tensor | Pictures, count: int) -> Tensor | Pictures:
    """The first ``count`` of pictures, or all where there are no more."""
    if isinstance(pictures, Tensor):
        return pictures[:count]
    return Subset(pictures, np.arange(min(count, len(pictures))))


def sample_pictures(pictures: Tensor | Pictures, count: int, seed: int = 0) -> Tensor | Pictures:
    """``count`` of the pictures, sampled by ``seed`` as by `sample_indices`."""
    rows = sample_indices(pictures, count, seed)
    return pictures[torch.from_numpy(rows)] if isinstance(pictures, Tensor) else Subset(pictures, rows)


@dataclass(frozen=True)
class Read:
    """A batch of a set of pictures, on the model's device."""

    indices: NDArray[np.int64]  # (n,)
    images: Tensor  # (n, C, H, W) in [-1, 1]
    labels: Tensor | None  # (n,) int64; None where the model takes no labels


def device_of(model: object) -> torch.device:
    """The device that a model's weights are on."""
    first = next(chain(model.parameters(), model.buffers()), None) if isinstance(model, nn.Module) else None
    return torch.device("cpu") if first is None else first.device


def check_shape(model: object, shape: Sequence[int]) -> None:
    """Raise ReverieError where the model has an `image_spec` of another (C, H, W)."""
    if isinstance(model, Model) and tuple(shape) != model.image_spec.shape:
        theirs, mine = ("x".join(map(str, each)) for each in (shape, model.image_spec.shape))
        raise ReverieError(
            f"The pictures are {theirs} (channels x height x width), and {type(model).__name__} takes {mine}; open "
            "them with these, say by data.size and data.channels."
        )


def model_labels(
    model: object, dataset: Pictures, indices: NDArray[np.int64] | None = None
) -> NDArray[np.int64] | None:
    """Labels of the pictures ``indices`` (default: all) of a set in the *model's* numbering, matched by class name.

    None where the model takes no labels.
    """
    classes = classes_of(model)
    if not classes:
        return None
    if dataset.labels is None:
        raise ReverieError(f"{type(model).__name__} needs class labels, and this data has none.")
    known = dataset.image_spec.classes or classes
    if called_by_numbers(known) and not any(called_by_numbers([name]) for name in classes):
        theirs, mine = (", ".join(each[:3]) + ", ..." * (len(each) > 3) for each in (known, classes))
        raise ReverieError(
            f"The classes of this data are called by numbers ({theirs}), and those of the model by names ({mine}); "
            "give labels by name."
        )
    present = np.unique(dataset.labels)
    table = np.zeros(len(known), np.int64)
    table[present] = [label_number(known[i], classes) for i in present]
    return table[dataset.labels if indices is None else dataset.labels[indices]]


def read(
    model: object, dataset: Pictures, batch: int = 256, indices: NDArray[np.int64] | None = None
) -> Iterator[Read]:
    """The pictures ``indices`` (default: all), in that order, with their labels where the model takes labels."""
    check_shape(model, dataset.image_spec.shape)
    device = device_of(model)
    labels = model_labels(model, dataset)
    chosen = np.arange(len(dataset)) if indices is None else indices
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        images = to_tensor(dataset.batch(part)).to(device)
        yield Read(part, images, None if labels is None else torch.from_numpy(labels[part]).to(device))
