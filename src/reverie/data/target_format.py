"""The properties of a picture file, and the target format that all pictures of a data set are converted to."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from reverie.data.options import CHANNELS, DataOptions
from reverie.errors import ReverieError
from reverie.scale import Kind, Scale, Span, choose_scale

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
CHANNEL_WORDS = {1: "grey", 2: "grey with alpha", 3: "rgb", 4: "rgba"}
AUTO_SIZES = (32, 64, 128)
BYTES: Span = (0.0, 255.0)


@dataclass(frozen=True)
class PictureInfo:
    """Properties of a picture before conversion, after rotation by its EXIF orientation."""

    mode: str
    channels: int
    height: int
    width: int
    bits: int  # bit depth of a value in the file
    kind: Kind = "byte"  # kind of the values as they are decoded, which may have fewer bits than the file
    span: Span | None = BYTES  # smallest and largest value; None: not known yet
    pages: tuple[int, ...] = (0,)  # page numbers of the pictures in the file
    remark: str = ""  # a note for the user


@dataclass(frozen=True)
class TargetFormat:
    """The format that every picture is converted to: shape, fit (data.fit) and scale of the stored values."""

    channels: int
    height: int
    width: int
    fit: str
    scale: Scale = field(default_factory=Scale, repr=False)  # the repr is part of fingerprints: see `build`

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


def choose_target(seen: Sequence[PictureInfo], options: DataOptions, scale: Scale | None = None) -> TargetFormat:
    """The target format for these pictures, from their properties and the options, or with the ``scale`` of a run.

    Raises ReverieError for pictures of different channels if the options do not set any.
    """
    channels = options.fixed_channels()
    if channels is None:
        kinds = Counter(one.channels for one in seen)
        if len(kinds) > 1:
            counts = ", ".join(f"{count} {CHANNEL_WORDS[kind]}" for kind, count in sorted(kinds.items()))
            ways = " or ".join(f"data.channels={name}" for name in CHANNELS)
            raise ReverieError(f"The pictures differ in their channels ({counts}); say what they shall become: {ways}.")
        channels = next(iter(kinds))
    elif channels not in MODES and any(one.channels != channels for one in seen):
        raise ReverieError(f"Pictures cannot become {channels} channels; leave out data.channels={channels}.")
    size = options.fixed_size()
    if size is None:
        sizes = {(one.height, one.width) for one in seen}
        size = sizes.pop() if len(sizes) == 1 else _auto_size(seen)
    return TargetFormat(channels, *size, options.fit, choose_scale(spans_of(seen), options.depth, options.range, scale))


def spans_of(seen: Iterable[PictureInfo]) -> dict[Kind, Span | None]:
    """The smallest and largest value in the files of each kind; None if it is known for none of them."""
    found: dict[Kind, Span | None] = {}
    for one in seen:
        old = found.get(one.kind)
        found[one.kind] = (min(old[0], one.span[0]), max(old[1], one.span[1])) if old and one.span else old or one.span
    return found


def _auto_size(seen: Sequence[PictureInfo]) -> tuple[int, int]:
    median = statistics.median(min(one.height, one.width) for one in seen)
    side = max((side for side in AUTO_SIZES if side <= median), default=AUTO_SIZES[0])
    return side, side
