"""Picture files as they are, for changing their pixels and nothing else: size, depth and alpha are kept.

Training brings every picture to 8 bits and one size (decode.py); here a picture is float32 at the depth of its file,
and what a format or Pillow cannot keep is told in a note. Pillow reads and writes 16 bits in grey alone. Pictures are
read up to a billion pixels, where training keeps to Pillow's limit of 89 million: who has one file translated means it.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import (
    MODES,
    Unreadable,
    damage,
    deep_values,
    depth,
    is_deep,
    opaque,
    opened,
    pixels,
    to_bytes,
)
from reverie.data.options import MOST_CHANNELS
from reverie.errors import ReverieError

if TYPE_CHECKING:
    from PIL import Image

Values = NDArray[np.float32]

ARRAY = ".npy"
MOST_PIXELS = 10**9  # of a picture file: 12 GB as float32 in RGB
COLOURS = {b"GRAY": 1, b"RGB ": 3}  # of the colour space that an ICC profile names in its header, at byte 16
LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]  # ITU-R 601, as Pillow makes grey of colour


@dataclass(frozen=True)
class Exact:
    """A picture, upright."""

    pixels: Values  # (C, H, W) in [0, 1], without alpha: 1 grey, 3 RGB, or any other number from an array
    bits: int  # 8 or 16, of each value in the file
    alpha: Values | None = None  # (1, H, W) in [0, 1], 0 where nothing is seen
    notes: tuple[str, ...] = ()  # what reading could not keep
    profile: bytes | None = None  # ICC: what the values mean as colours


@dataclass(frozen=True)
class Kind:
    """A format that pictures are written in."""

    name: str  # Pillow's
    channels: tuple[int, ...]
    deep: bool = False  # keeps 16 bits of grey
    profiles: tuple[int, ...] = ()  # of how many colours it keeps the ICC profile
    options: dict[str, Any] = field(default_factory=dict)


_JPEG = Kind("JPEG", (1, 3), profiles=(1, 3), options={"quality": 95, "subsampling": 0})
_TIFF = Kind("TIFF", (1, 2, 3, 4), deep=True, profiles=(1, 3), options={"compression": "tiff_adobe_deflate"})
KINDS = {
    ".png": Kind("PNG", (1, 2, 3, 4), deep=True, profiles=(1, 3)),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Kind("WEBP", (1, 2, 3, 4), profiles=(3,), options={"lossless": True}),
    ".bmp": Kind("BMP", (1, 3)),
    ".tga": Kind("TGA", (1, 2, 3, 4)),
    ".jp2": Kind("JPEG2000", (1, 2, 3, 4), deep=True),
    ".pgm": Kind("PPM", (1,), deep=True),
    ".ppm": Kind("PPM", (3,)),
}


def read_exact(data: bytes, channels: int = 0) -> Exact:
    """The picture of a file, or of a .npy array (C, H, W), (H, W, C) or (H, W). Raises Unreadable.

    ``channels`` are those of a model: five and more are given by an array alone, and tell on which axis it has them.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's of odd files; what matters is raised, or a note
            return (
                _from_array(data, channels)
                if data.startswith(b"\x93NUMPY")
                else _from_picture(opened(data, MOST_PIXELS))
            )
    except Unreadable:
        raise
    except MemoryError as why:
        raise Unreadable("larger than the memory") from why
    except Exception as why:  # Pillow and numpy raise nearly every type there is on files that are broken
        raise Unreadable(damage(why)) from why


def _from_picture(image: Image.Image) -> Exact:
    from PIL import ImageOps

    bits, profile, notes = depth(image), image.info.get("icc_profile") or None, []
    if getattr(image, "n_frames", 1) > 1:
        notes.append("of several pictures in one file the first was taken")
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if is_deep(image):
        values = deep_values(image)
        seen = opaque(image, values)
        alpha = None if seen is None else seen.astype(np.float32)[None]
        return Exact(*_unit(values[None]), alpha, tuple(notes), profile)
    if bits == 16:
        notes.append("16 bits were read as 8: only grey without alpha is read with 16")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        mode += "A"
    parted = _parted(pixels(image if image.mode == mode else image.convert(mode)), tuple(notes))
    return replace(parted, profile=profile)


def _from_array(data: bytes, channels: int) -> Exact:
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise Unreadable(f"an array of shape {array.shape}; expected is (C, H, W), (H, W, C) or (H, W)")
    usual = ((channels,) if channels > max(MODES) else (), range(1, MOST_CHANNELS + 1), (1, 3, 4))
    first = next((len(array) in some for some in usual if (len(array) in some) != (array.shape[2] in some)), True)
    array = array if first else array.transpose(2, 0, 1)  # where both axes could hold channels, as we write them
    if len(array) > MOST_CHANNELS:
        raise Unreadable(f"an array of shape {array.shape}; no axis holds 1 to {MOST_CHANNELS} channels")
    return _parted(array, ())


def _parted(array: NDArray[Any], notes: tuple[str, ...]) -> Exact:
    """(C, H, W) of any depth; of two or four channels the last is alpha."""
    values, bits = _unit(array)
    if len(values) in (2, 4):
        return Exact(values[:-1], bits, values[-1:], notes)
    return Exact(values, bits, notes=notes)


def _unit(array: NDArray[Any]) -> tuple[Values, int]:
    """Values of any depth in [0, 1], and their bits: floats count as 16. Raises Unreadable as `to_bytes` does."""
    shallow = to_bytes(array)  # refuses what is anyone's guess
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float32), 16
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return np.ascontiguousarray(array, np.float32) / np.float32(65535), 16
    return np.ascontiguousarray(shallow, np.float32) / np.float32(255), 8


def to_channels(exact: Exact, channels: int) -> Exact:
    """The picture with so many channels in ``pixels``; alpha is kept beside them. Raises Unreadable.

    For 1 and 3 channels white shines through what is transparent, as in training; of 2 and 4 channels the last is
    alpha, 1 where the picture has none. Other numbers must be the picture's own.
    """
    colour, alpha, notes = exact.pixels, exact.alpha, exact.notes
    if channels not in MODES or len(colour) not in (1, 3):
        if len(colour) != channels:
            raise Unreadable(f"a picture of {len(colour)} channels, where the model takes {channels}")
        return exact
    if alpha is not None and channels in (1, 3):
        colour = colour * alpha + (1 - alpha)
    if len(colour) == 3 and channels < 3:
        if not (colour == colour[:1]).all():
            colour, notes = (colour * LUMA).sum(0, keepdims=True), (*notes, "colour became grey, which the model takes")
        colour = colour[:1]
    elif len(colour) == 1 and channels >= 3:
        colour = colour.repeat(3, 0)
    if channels in (2, 4):
        colour = np.concatenate([colour, np.ones_like(colour[:1]) if alpha is None else alpha])
    return replace(exact, pixels=colour, notes=notes)


def holds(suffix: str, channels: int) -> bool:
    """Whether a file of that ending can hold a picture of so many channels."""
    kind = KINDS.get(suffix.lower())
    return suffix.lower() == ARRAY or (kind is not None and channels in kind.channels)


def fitting(suffix: str, channels: int) -> str:
    """That ending where it holds so many channels, else .png, else .npy."""
    return next(end for end in (suffix, ".png", ARRAY) if holds(end, channels))


def write_exact(
    picture: Values, alpha: Values | None, bits: int, suffix: str, profile: bytes | None = None
) -> tuple[bytes, list[str]]:
    """The bytes of a file of that ending, and notes on what it does not keep.

    ``picture`` is (C, H, W) in [0, 1] (clamped; not-a-number becomes 0). ``alpha`` (1, H, W) is put beside one or three
    channels; others have what they need. The ICC ``profile`` is kept where it is one of as many colours as the picture
    has. Lossless but for JPEG. Raises ReverieError where the format can't hold it.
    """
    if not holds(suffix, len(picture)):
        end = fitting("", len(picture))
        raise ReverieError(f"Pictures of {len(picture)} channels can't be written as '{suffix}'; choose {end}.")
    notes = []
    kind = KINDS.get(suffix.lower())
    colours = len(picture) - (len(picture) in (2, 4))
    if profile is not None and COLOURS.get(profile[16:20]) != colours:
        notes.append("the colour profile was left out: it is none for the channels of the result")
        profile = None
    elif profile is not None and (kind is None or colours not in kind.profiles):
        notes.append(f"the colour profile was left out: {kind.name if kind else ARRAY} keeps none for such pictures")
        profile = None
    if alpha is not None and len(picture) in (1, 3):
        if kind is None or len(picture) + 1 in kind.channels:
            picture = np.concatenate([picture, alpha])
        else:
            notes.append(f"{kind.name} keeps no alpha: what was transparent lies on white")
    if bits == 16 and kind is not None and not (kind.deep and len(picture) == 1):
        bits = 8
        notes.append("16 bits became 8: only grey .png, .tif, .jp2, .pgm and all .npy are written with 16")
    top = np.float32(2**bits - 1)
    array = np.rint(np.nan_to_num(picture).clip(0, 1) * top).astype(np.uint16 if bits == 16 else np.uint8)
    buffer = io.BytesIO()
    if kind is None:
        np.save(buffer, array)
    else:
        _save(array, kind, profile, buffer)
    return buffer.getvalue(), notes


def _save(array: NDArray[Any], kind: Kind, profile: bytes | None, buffer: io.BytesIO) -> None:
    from PIL import Image

    image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    try:
        image.save(buffer, kind.name, **kind.options, **({} if profile is None else {"icc_profile": profile}))
    # The format has no such sides, or Pillow was built without it.
    except (OSError, ValueError, OverflowError, KeyError) as why:
        raise ReverieError(
            f"{image.width} x {image.height} pixels can't be written as {kind.name} ({' '.join(str(why).split())}); "
            "choose a .png."
        ) from why
