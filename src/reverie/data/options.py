"""The ``data.*`` settings."""

from __future__ import annotations

import re
from dataclasses import dataclass

from reverie.config import check_range, check_settings_of, setting
from reverie.data.layouts import LAYOUTS
from reverie.errors import ReverieError, nearest
from reverie.scale import DEPTHS, parse_range

FITS = ("crop", "pad", "stretch")
SOURCES = (
    "halves",
    "folders",
    "unpaired",
)  # pairs that are in the source; the operators make them from single pictures
OPERATORS = ("edges", "grey", "blur", "mask", "downscale", "night", "invert", "colour", "labels")
CHANNELS = {"grey": 1, "rgb": 3, "rgba": 4}
ARRAY_LAYOUTS = {"nhw": "NHW", "nhwc": "NHWC", "nchw": "NCHW"}  # the axes of an array: number, height, width, channels
LARGEST_SIDE = 16384
MOST_CHANNELS = 16


@dataclass(frozen=True)
class DataOptions:
    """The ``data.*`` settings: how pictures are read and converted. Raises ReverieError for invalid values."""

    size: str = setting(
        "auto", "auto (the common size, else 32, 64 or 128 by the median side) | 64 | 64x48 (height x width)"
    )
    fit: str = setting(
        "crop",
        "how they come to that size: crop resizes the short side and cuts the centre, pad adds zeros",
        choices=FITS,
    )
    channels: str = setting(
        "auto", "auto (what the pictures have; mixed ones are refused) | grey | rgb | rgba | a number"
    )
    depth: str = setting("auto", "bits of a value in the pack; auto is what the files have", choices=DEPTHS)
    range: str = setting(
        "auto", "what is black and white: auto (what the pictures use) | full (of the type) | LOW-HIGH, 0-4095"
    )
    flip: bool = setting(False, "training: mirror half of the pictures")
    shift: int = setting(0, "training: move by up to so many pixels, reflecting at the border", low=0)
    count: int = setting(10000, "`faces` only: how many pictures, all splits together", low=1)
    limit: int = setting(0, "use only so many pictures, spread over the whole source; 0 = all", low=0)
    validation: float = setting(
        0.05, "fraction held out where the source has no validation split of its own", low=0, below=1
    )
    test: float = setting(0.05, "fraction held out where the source has no test split of its own", low=0, below=1)
    pair: str = setting(
        "",
        "two sides, for translation: those of the source, or an operator's picture and the original",
        choices=("", *SOURCES, *OPERATORS),
    )
    swap: bool = setting(False, "exchange the sides A and B")
    sides: str = setting("", "the folders or classes of pairs, A,B; else A is the first by the alphabet")
    layout: str = setting(
        "auto", "how a folder's files lie, or an array's axes", choices=("auto", *LAYOUTS, *ARRAY_LAYOUTS)
    )
    classes: str = setting("", "only these classes, in this order: cat,dog")
    labels: str = setting("", "a table of classes or attributes: a .csv (file, class ...) or StyleGAN's dataset.json")
    split: str = setting("", "a table of splits: a .csv (file, train | validation | test)")
    stream: bool = setting(False, "a torch data set only: read its items anew each time, and not once")

    def __post_init__(self) -> None:
        if self.layout.lower() in ARRAY_LAYOUTS:  # also accept NHWC
            object.__setattr__(self, "layout", self.layout.lower())
        check_settings_of(self, "data")
        if self.stream and self.pair not in ("", "unpaired"):
            raise ReverieError(
                f"data.stream reads a picture anew for each side of a pair, and they would not match; leave out "
                f"data.pair={self.pair} or data.stream."
            )
        if self.sides and self.pair not in ("folders", "unpaired"):
            raise ReverieError("data.sides names the two folders of data.pair=folders, or the sides of unpaired.")
        if self.sides and (len(self.side_names()) != 2 or len(set(self.side_names())) != 2):
            raise ReverieError(f"data.sides={self.sides} must name two sides, as A,B.")
        if len(set(self.class_names())) != len(self.class_names()):
            raise ReverieError(f"data.classes={self.classes} names a class twice.")
        if self.swap and not self.pair:
            raise ReverieError("data.swap exchanges the sides of pairs; say with data.pair how they are made.")
        self.fixed_size()
        self.fixed_channels()
        parse_range(self.range)
        if self.validation + self.test >= 1:
            raise ReverieError(
                f"data.validation={self.validation} and data.test={self.test} must be fractions, together below 1."
            )

    def class_names(self) -> list[str]:
        """The names in ``classes``, in their order; empty if all classes are used."""
        return [name for part in self.classes.split(",") if (name := part.strip())]

    def side_names(self) -> list[str]:
        """The names of sides A and B in ``sides``; empty if it is not set."""
        return [name for part in self.sides.split(",") if (name := part.strip())]

    def fixed_size(self) -> tuple[int, int] | None:
        """(height, width) from ``size``; None for "auto"."""
        return None if self.size == "auto" else parse_size(self.size, "data.size=")

    def fixed_channels(self) -> int | None:
        """The number of channels from ``channels``; None for "auto"."""
        if self.channels == "auto":
            return None
        if self.channels in CHANNELS:
            return CHANNELS[self.channels]
        if not re.fullmatch(r"[0-9]{1,4}", self.channels):
            raise ReverieError(
                f"data.channels cannot be '{self.channels}'{nearest(self.channels, ['auto', *CHANNELS])}"
            )
        check_range("data.channels", int(self.channels), low=1, high=MOST_CHANNELS)
        return int(self.channels)


def parse_size(text: str, what: str) -> tuple[int, int]:
    """(height, width) from "64" or "64x48". Raises ReverieError; ``what`` precedes the text in the message."""
    match = re.fullmatch(r"([0-9]{1,6})(?:x([0-9]{1,6}))?", text)
    if match is None:
        raise ReverieError(f"{what}{text} is no size; write 64, or 64x48 for height x width.")
    height, width = int(match[1]), int(match[2] or match[1])
    for side in (height, width):
        check_range(f"A side in {what}{text}", side, low=1, high=LARGEST_SIDE)
    return height, width
