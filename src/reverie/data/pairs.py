"""Pairs of pictures, for translation from one side to the other.

Either the source has both sides (two halves of each picture, two folders, or two classes), or it has single pictures
and an operator computes the other side when a batch is read. Each side is a `Dataset`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reverie.data import pair_operators
from reverie.data.dataset import Dataset, Packed
from reverie.data.decode import Pixels
from reverie.data.fingerprint import hash_of
from reverie.data.layouts import places
from reverie.data.options import OPERATORS, DataOptions
from reverie.data.sides import ALONE, side
from reverie.data.sources import is_faces
from reverie.data.splits import Division, Split, divide
from reverie.errors import ReverieError, nearest
from reverie.scale import Scale

if TYPE_CHECKING:
    from reverie.data.open import Opener
    from reverie.engine.model import ImageSpec

Make = Callable[[Packed, NDArray[np.int64]], Pixels]  # make(data set, indices (n,)) -> batch (n, C, H, W)

OTHER_SHAPE = "has other proportions than its partner, so that cut to one size they would no longer match"
PORTION = 256  # pictures that an operator computes at a time: it needs four bytes for each value


class Pairs(Dataset):
    """Two sides: each picture is one of side A and one of side B, concatenated along the channels.

    Without pairing (``paired`` is False) the shorter side is repeated: picture i is A[i % len(A)] and B[i % len(B)].
    This does not matter to models such as CycleGAN, which never compare the two.
    """

    def __init__(
        self,
        spec: str,
        options: DataOptions,
        found: dict[str, Any],
        unreadable: list[tuple[str, str]],
        a: Dataset,
        b: Dataset,
    ) -> None:
        super().__init__(spec, options, found, unreadable)
        self.paired = options.pair != "unpaired"
        self._a, self._b, self.which = a, b, b.which

    def __len__(self) -> int:
        return max(len(self._a), len(self._b))

    @cached_property
    def image_spec(self) -> ImageSpec:
        """The specification of both sides together; its ``sides`` are the channels of each."""
        from reverie.engine.model import ImageSpec

        a, b = self._a.image_spec, self._b.image_spec
        channels = (a.channels, b.channels)
        return ImageSpec(sum(channels), b.height, b.width, b.classes, channels, (*a.scales, *b.scales))

    @property
    def labels(self) -> NDArray[np.int64] | None:
        return self._b.labels

    @cached_property
    def names(self) -> Sequence[str]:
        """The name on side A, or "A and B" if the names differ."""
        a, b = self._a.names, self._b.names
        both = ((a[i % len(a)], b[i % len(b)]) for i in range(len(self)))
        return [one if one == other else f"{one} and {other}" for one, other in both]

    @cached_property
    def digests(self) -> Sequence[str]:
        """The digests of both pictures."""
        a, b = self._a.digests, self._b.digests
        return [f"{a[i % len(a)]} {b[i % len(b)]}" for i in range(len(self))]

    @property
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        return self._b.factors if self.paired else None

    @cached_property
    def fingerprint(self) -> str:
        fingerprints = self._a.fingerprint, self._b.fingerprint
        return "; ".join(fingerprints) if self._a.streamed or self._b.streamed else hash_of(fingerprints)

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        """(n, channels of A + channels of B, H, W), a copy."""
        return np.concatenate([side.batch(indices % len(side)) for side in (self._a, self._b)], 1)

    def split(self, which: Split) -> Pairs:
        a, b = self._a.split(which), self._b.split(which)
        return Pairs(self.spec, self.options, self.found, self.unreadable, a, b)

    def side(self, which: str) -> Dataset:
        """One side, "a" or "b", as a data set of its own."""
        sides = {"a": self._a, "b": self._b}
        if which not in sides:
            raise ReverieError(f"There is no side '{which}'{nearest(which, sides)}")
        return sides[which]


class Made(Dataset):
    """The pictures of a data set with an operator applied when a batch is read; the rest is that of the data set."""

    def __init__(self, source: Packed, operator: str, make: Make) -> None:
        super().__init__(source.spec, source.options, source.found, source.unreadable)
        self._source, self._operator, self._make, self.which = source, operator, make, source.which

    def __len__(self) -> int:
        return len(self._source)

    @cached_property
    def image_spec(self) -> ImageSpec:
        channels = self.batch(np.arange(0)).shape[1]
        return replace(self._source.image_spec, channels=channels, scales=(Scale(),))

    @property
    def labels(self) -> NDArray[np.int64] | None:
        return self._source.labels

    @property
    def names(self) -> Sequence[str]:
        return self._source.names

    @property
    def factors(self) -> Mapping[str, NDArray[np.float32]] | None:
        return self._source.factors

    @cached_property
    def fingerprint(self) -> str:
        return hash_of((self._operator, self._source.fingerprint))

    @property
    def digests(self) -> Sequence[str]:
        return self._source.digests

    def batch(self, indices: NDArray[np.int64]) -> Pixels:
        portions = np.split(indices, range(PORTION, len(indices), PORTION))
        return np.concatenate([self._make(self._source, portion) for portion in portions])

    def split(self, which: Split) -> Made:
        return Made(self._source.split(which), self._operator, self._make)


def open_pairs(opener: Opener) -> Pairs:
    """The pairs of a source: `open_dataset` with ``options.pair``.

    If the source has both sides, each has its own pack; the size "auto" is that of side B, and ``options.limit``
    applies to each side. Pairs are divided into splits by the content of side B (see `divide`); unpaired sides each by
    their own. ``options.swap`` is applied last, so that it moves no pair to another split.

    Each side has its own black and white; both are stored at the larger bit depth. Operators work at 8 bits.
    """
    options = opener.options
    if options.swap and opener.scales is not None:
        opener = replace(opener, scales=opener.scales[::-1])
    sides = _made if options.pair in OPERATORS else _held
    a, b, unreadable = sides(opener)
    if options.swap:
        a, b = b, a
    found = b.found if options.pair in OPERATORS else _found(a, b, len(unreadable))
    return Pairs(opener.spec, options, found, unreadable, a, b)


def _single(options: DataOptions) -> DataOptions:
    return replace(options, pair="", swap=False, sides="")


def _found(a: Dataset, b: Dataset, unreadable: int) -> dict[str, Any]:
    sides = {"A": a.found, "B": b.found}
    notes: list[str] = a.found["notes"]
    if notes != b.found["notes"]:
        notes = [f"side {name}: {note}" for name, found in sides.items() for note in found["notes"]]
    said = sides["A"]["read as"]
    if said != sides["B"]["read as"]:
        said = f"{said}; {sides['B']['read as']}"
    return {
        "pictures": max(len(a), len(b)),
        "read as": said,
        **{f"{key} of {name}": found[key] for key in ("sizes", "modes", "bits") for name, found in sides.items()},
        "not pictures": b.found["not pictures"],
        "unreadable": unreadable,
        "classes": b.found["classes"],
        "splits": {name: max(count, b.found["splits"][name]) for name, count in a.found["splits"].items()},
        "notes": notes,
    }


# Pairs made by operators


def _made(opener: Opener) -> tuple[Dataset, Dataset, list[tuple[str, str]]]:
    """Sides A and B made from single pictures, and (name, reason) of unreadable files."""
    name, spec = opener.options.pair, opener.spec
    if opener.options.depth not in ("auto", "8"):
        raise ReverieError(f"data.pair={name} makes pictures of 8 bits; leave out data.depth={opener.options.depth}.")
    if name == "labels" and not is_faces(spec):
        raise ReverieError(f"data.pair=labels is of the built-in faces, not of {spec}; choose another pair, say edges.")
    source, single = opener.find(), _single(opener.options)
    picture = opener.open(source, single, opener.scales[-1] if opener.scales else None)
    if picture.image_spec.depth > 8:
        picture = opener.open(source, replace(single, depth="8"))
    make_a = _label_maps if name == "labels" else partial(_operated, pair_operators.SIDE_A[name])
    b: Dataset = picture
    if name in pair_operators.SIDE_B:
        b = Made(picture, f"{name} of B", partial(_operated, pair_operators.SIDE_B[name]))
    return Made(picture, name, make_a), b, picture.unreadable


def _operated(operator: pair_operators.Operator, source: Packed, indices: NDArray[np.int64]) -> Pixels:
    return operator(source.batch(indices), source.rows[indices])


def _label_maps(source: Packed, indices: NDArray[np.int64]) -> Pixels:
    from reverie.data import faces

    factors = source.factors
    assert factors is not None
    rows = np.stack([factors[factor.name][indices] for factor in faces.FACTORS], 1)
    return faces.render_labels(rows, *source.pack.target.shape[1:])


# Pairs in the source


def _held(opener: Opener) -> tuple[Dataset, Dataset, list[tuple[str, str]]]:
    """Sides A and B of the source, and (name, reason) of unreadable files."""
    options, source, single = opener.options, opener.find(), _single(opener.options)
    first, second = (
        replace(
            source,
            key=(source.key, options.pair, options.sides, number),
            read=partial(side, opener.spec, options, source, number),
        )
        for number in (0, 1)
    )
    scale_a, scale_b = opener.scales or (None, None)
    b = opener.open(second, single, scale_b, arrange=False)
    _, height, width = b.pack.target.shape
    sized = replace(single, size=f"{height}x{width}")
    a = opener.open(first, sized, scale_a, arrange=False)
    depth = max(a.image_spec.depth, b.image_spec.depth)
    if a.image_spec.depth < depth:
        a = opener.open(first, sized, replace(a.pack.target.scale, depth=depth), arrange=False)
    if b.image_spec.depth < depth:
        b = opener.open(second, single, replace(b.pack.target.scale, depth=depth), arrange=False)
    unreadable = dict([*a.unreadable, *b.unreadable])
    if options.pair != "unpaired":
        a, b, alone = _matched(opener.spec, options, a, b)
        unreadable = alone | unreadable
    return a, b, sorted(unreadable.items())


def _matched(spec: str, options: DataOptions, a: Packed, b: Packed) -> tuple[Packed, Packed, dict[str, str]]:
    """Both sides with the pairs that can be read, in the order of side B; and the reason for each file left out."""
    keys = [*a.names, *b.names]
    if options.pair == "folders":
        keys = [place.key for place in places(keys)]
    row_a, row_b = ({key: i for i, key in enumerate(part)} for part in (keys[: len(a)], keys[len(a) :]))
    common = [key for key in row_b if key in row_a]
    if not common:
        name, why = (*a.unreadable, *b.unreadable)[0]
        raise ReverieError(f"No pair in {spec} can be read on both sides; the first unreadable file is {name} ({why}).")
    torn = [key for key in common if options.fit != "stretch" and not _alike(a.sizes[row_a[key]], b.sizes[row_b[key]])]
    if len(torn) == len(common):
        of_a, of_b = row_a[torn[0]], row_b[torn[0]]
        size_a, size_b = ("x".join(map(str, sizes)) for sizes in (a.sizes[of_a], b.sizes[of_b]))
        raise ReverieError(
            f"Cut to one size, the partners in {spec} would no longer match, as they differ in their proportions: "
            f"{a.names[of_a]} is {size_a}, {b.names[of_b]} {size_b} (height x width); data.fit=stretch brings all "
            "of both to one size."
        )
    common = [key for key in common if key not in set(torn)]
    rows_a, rows_b = (np.array([row[key] for key in common]) for row in (row_a, row_b))
    splits, notes = divide({key: np.array(b.pack.index[key])[rows_b] for key in ("splits", "draws")}, options)
    content = hash_of((a.fingerprint, b.fingerprint, rows_a.tolist(), rows_b.tolist()))

    def divided(side: Packed, rows: NDArray[np.int64]) -> Packed:
        members = {name: rows[chosen] for name, chosen in splits.items()}
        return side.divided(Division({"all": rows, **members}, notes, f"{content} {side.fingerprint}"))

    both = divided(a, rows_a), divided(b, rows_b)
    alone = dict.fromkeys({*a.names, *b.names} - {name for side in both for name in side.names}, ALONE)
    alone |= {name: OTHER_SHAPE for key in torn for name in (a.names[row_a[key]], b.names[row_b[key]])}
    return *both, alone


def _alike(one: NDArray[np.int64], other: NDArray[np.int64]) -> bool:
    """Whether two sizes (height, width) have the same aspect ratio, within a pixel of the smaller."""
    (height, width), (least_height, least_width) = sorted((one.tolist(), other.tolist()), reverse=True)
    scales = least_height / height, least_width / width
    return any(abs(height * s - least_height) <= 1 and abs(width * s - least_width) <= 1 for s in scales)
