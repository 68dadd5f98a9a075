"""Read and write pictures at full resolution, to change their pixels only: size, bit depth and alpha are kept.

For training, pictures are resized (decode.py); here they are float32 at their original size, and notes say what a
format or its decoder cannot keep. The `Scale` of the model (which values are black and white) is used to read and to
write them. Pictures may have up to a billion pixels, more than Pillow's limit of 89 million for training data: a file
that is given to be translated is trusted.
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reverie.data.decode import Pixels, composed, pixels
from reverie.data.formats import (
    Raw,
    Unreadable,
    damage,
    deep_colour,
    deep_values,
    depth,
    is_deep,
    opaque,
    opened,
    read_deep,
    read_foreign,
)
from reverie.data.png import png16
from reverie.data.target_format import MODES
from reverie.errors import ReverieError
from reverie.scale import Scale, in_files, kind_of, quantised

if TYPE_CHECKING:
    from PIL import Image

Values = NDArray[np.float32]

ARRAY = ".npy"
SEVERAL = "of several pictures in one file the first was taken"
MOST_PIXELS = 10**9  # of a picture file: 12 GB as float32 in RGB
COLOURS = {b"GRAY": 1, b"RGB ": 3}  # channels by the colour space in the header of an ICC profile, at byte 16


@dataclass(frozen=True)
class Exact:
    """An upright picture at full resolution."""

    pixels: Values  # (C, H, W) in [0, 1], without alpha: 1 grey, 3 RGB, or any other number from an array
    bits: int  # 8 or 16, of each value in the file
    alpha: Values | None = None  # (1, H, W) in [0, 1], 0 is transparent
    notes: tuple[str, ...] = ()  # what reading could not keep
    profile: bytes | None = None  # ICC profile


@dataclass(frozen=True)
class Kind:
    """A file format for writing pictures."""

    name: str  # Pillow's name of it
    channels: tuple[int, ...]  # numbers of channels that it supports
    deep: tuple[int, ...] = ()  # numbers of channels for which 16 bits are written
    profiles: tuple[int, ...] = ()  # numbers of colour channels for which an ICC profile is written
    options: dict[str, Any] = field(default_factory=dict)


_JPEG = Kind("JPEG", (1, 3), profiles=(1, 3), options={"quality": 95, "subsampling": 0})
_TIFF = Kind(
    "TIFF",
    (1, 2, 3, 4),
    deep=(1, 3, 4) if find_spec("tifffile") else (1,),
    profiles=(1, 3),
    options={"compression": "tiff_adobe_deflate"},
)
KINDS = {
    ".png": Kind("PNG", (1, 2, 3, 4), deep=(1, 2, 3, 4), profiles=(1, 3)),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".webp": Kind("WEBP", (1, 2, 3, 4), profiles=(3,), options={"lossless": True}),
    ".bmp": Kind("BMP", (1, 3)),
    ".tga": Kind("TGA", (1, 2, 3, 4)),
    ".jp2": Kind("JPEG2000", (1, 2, 3, 4), deep=(1,)),
    ".pgm": Kind("PPM", (1,), deep=(1,)),
    ".ppm": Kind("PPM", (3,)),
}


def read_exact(data: bytes, channels: int = 0, scale: Scale | None = None) -> Exact:
    """The picture in the bytes of a file, which may be a .npy array (C, H, W), (H, W, C) or (H, W). Raises Unreadable.

    ``channels`` is the number that the model takes; above four (arrays only) it decides which axis has the channels.
    ``scale`` is the one that the model was trained with: black and white in files of its kind.
    """
    scale = scale or Scale()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of unusual files; problems are raised, or noted
            raw = read_foreign(data, channels=channels)
            if raw is not None:
                notes = (SEVERAL,) * (raw.pages > 1)
                return _parted(raw.values, notes, scale) if raw.alpha is None else _of_raw(raw, notes, None, scale)
            return _from_picture(opened(data, MOST_PIXELS), data, scale)
    except Unreadable:
        raise
    except MemoryError as why:
        raise Unreadable("larger than the memory") from why
    except Exception as why:  # Pillow and numpy raise many types of errors on damaged files
        raise Unreadable(damage(why)) from why


def _from_picture(image: Image.Image, data: bytes, scale: Scale) -> Exact:
    from PIL import ImageOps

    bits, profile, notes = depth(image), image.info.get("icc_profile") or None, []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(SEVERAL)
    if deep_colour(image):
        return _of_raw(read_deep(image, data), tuple(notes), profile, scale)
    image.load()
    ImageOps.exif_transpose(image, in_place=True)
    if is_deep(image):
        values = deep_values(image)
        seen = opaque(image, values)
        alpha = None if seen is None else seen.astype(np.float32)[None]
        return Exact(*_unit(values[None], scale), alpha, tuple(notes), profile)
    if bits == 16:
        notes.append("16 bits were read as 8: nothing here reads such files deeper")
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        mode += "A"
    parted = _parted(pixels(image if image.mode == mode else image.convert(mode)), tuple(notes), scale)
    return replace(parted, profile=profile)


def _of_raw(raw: Raw, notes: tuple[str, ...], profile: bytes | None, scale: Scale) -> Exact:
    return Exact(*_unit(raw.values, scale), raw.alpha, notes, profile)


def _parted(array: NDArray[Any], notes: tuple[str, ...], scale: Scale) -> Exact:
    """The picture in an array (C, H, W) of any bit depth; the last of two or four channels is alpha."""
    if len(array) in (2, 4):
        alpha, _ = _unit(array[-1:], Scale())
        return Exact(*_unit(array[:-1], scale), alpha, notes)
    return Exact(*_unit(array, scale), notes=notes)


def _unit(array: NDArray[Any], scale: Scale) -> tuple[Values, int]:
    """Values of any bit depth as [0, 1], and their bits: 8, or 16 for all others.

    Raises Unreadable, as `to_bytes` does, if the ``scale`` does not apply to them and their range is ambiguous.
    """
    if kind_of(array) != scale.kind or (scale.full and scale.kind != "byte"):
        to_bytes(array)  # raises if the range is ambiguous
    return scale.unit(array), 8 if kind_of(array) == "byte" else 16


def to_channels(exact: Exact, channels: int) -> Exact:
    """The picture with ``channels`` channels in ``pixels``; ``alpha`` is kept as well. Raises Unreadable.

    For 1 and 3 channels alpha is composited over white, as in training; for 2 and 4 the last is alpha, 1 if the picture
    has none. Other numbers of channels are not converted.
    """
    colour, notes = exact.pixels, exact.notes
    if channels not in MODES or len(colour) not in (1, 3):
        if len(colour) != channels:
            raise Unreadable(f"a picture of {len(colour)} channels, where the model takes {channels}")
        return exact
    made = composed(colour, exact.alpha, channels)
    if len(colour) == 3 and channels < 3 and not (colour == colour[:1]).all():
        notes = (*notes, "colour became grey, which the model takes")
    return replace(exact, pixels=made, notes=notes)


def holds(suffix: str, channels: int) -> bool:
    """Whether a file with that suffix can hold a picture of so many channels."""
    kind = KINDS.get(suffix.lower())
    return suffix.lower() == ARRAY or (kind is not None and channels in kind.channels)


def fitting(suffix: str, channels: int) -> str:
    """The suffix if it can hold so many channels, else .png, else .npy."""
    return next(end for end in (suffix, ".png", ARRAY) if holds(end, channels))


def write_exact(
    picture: Values,
    alpha: Values | None,
    bits: int,
    suffix: str,
    profile: bytes | None = None,
    scale: Scale | None = None,
) -> tuple[bytes, list[str]]:
    """The bytes of a file with that suffix, and notes on what it does not keep.

    ``picture`` is (C, H, W) in [0, 1] (clamped; NaN becomes 0). ``alpha`` (1, H, W) is added to one or three channels,
    and ignored for others. ``bits`` is 8 or 16. The ICC ``profile`` is kept if its colour space has as many channels as
    the picture has colours. Values are written between the black and white of ``scale``, if it applies to such files.
    Lossless except for JPEG. Raises ReverieError if the format cannot hold the picture.
    """
    scale = scale or Scale()
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
    bits = max(bits, 8 if scale.kind == "byte" else 16)
    shown = len(picture)
    if alpha is not None and shown in (1, 3):
        if kind is None or shown + 1 in kind.channels:
            shown += 1
        else:
            notes.append(f"{kind.name} keeps no alpha: what was transparent lies on white")
    if bits == 16 and kind is not None and shown not in kind.deep:
        bits = 8
        notes.append(f"16 bits became 8: {kind.name} keeps no more of such pictures here; .png and .npy do")
    array, note = in_files(picture, bits, scale)
    notes += note
    if shown > len(picture) and alpha is not None:
        array = np.concatenate([array, quantised(alpha, bits)])
    buffer = io.BytesIO()
    if kind is None:
        np.save(buffer, array)
    elif bits == 16 and len(array) > 1:
        buffer.write(png16(array, profile) if kind.name == "PNG" else _tiff16(array, profile))
    else:
        _save(array, kind, profile, buffer)
    return buffer.getvalue(), notes


def _tiff16(array: NDArray[Any], profile: bytes | None) -> bytes:
    """The bytes of a 16-bit TIFF of RGB or RGBA, from uint16 (C, H, W)."""
    import tifffile

    buffer = io.BytesIO()
    alpha: dict[str, Any] = {"extrasamples": ["unassalpha"]} if len(array) == 4 else {}
    pixels = np.ascontiguousarray(array.transpose(1, 2, 0))
    tifffile.imwrite(buffer, pixels, photometric="rgb", compression="zlib", iccprofile=profile, **alpha)
    return buffer.getvalue()


def _save(array: NDArray[Any], kind: Kind, profile: bytes | None, buffer: io.BytesIO) -> None:
    from PIL import Image

    image = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    try:
        image.save(buffer, kind.name, **kind.options, **({} if profile is None else {"icc_profile": profile}))
    # The format does not support this size, or Pillow was built without it.
    except (OSError, ValueError, OverflowError, KeyError, struct.error) as why:
        raise ReverieError(
            f"{image.width} x {image.height} pixels can't be written as {kind.name} ({' '.join(str(why).split())}); "
            "choose a .png."
        ) from why


def to_bytes(values: NDArray[Any]) -> Pixels:
    """Values of any bit depth as uint8: 16 bits divided by 257, floats in [0, 1] times 255, booleans as 0 or 255.

    Raises Unreadable if the range is ambiguous: for wider integers, and for floats beyond [0, 1].
    """
    array = values.astype(values.dtype.newbyteorder("="), copy=False)
    if array.dtype == np.uint8:
        return np.asarray(array, np.uint8)
    if array.dtype.kind == "b":
        return np.where(array, np.uint8(255), np.uint8(0))
    if array.size == 0:
        return np.zeros(array.shape, np.uint8)
    if array.dtype == np.uint16:
        return np.asarray((array.astype(np.uint32) + 128) // 257, np.uint8)
    if array.dtype.kind != "f":  # 0 .. 255 in wider integers may be 8-bit values or nearly black
        raise Unreadable(f"values of type {array.dtype}; only uint8, uint16, floats and booleans are understood")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # NaN fails both
        raise Unreadable(f"floats from {low:.4g} to {high:.4g}; only [0, 1] is understood")
    return np.asarray(np.rint(array.astype(np.float32) * np.float32(255)), np.uint8)
