"""Read the values of a picture file at their full bit depth, by Pillow or by another library (`DECODERS`)."""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reverie.data.options import MOST_CHANNELS
from reverie.errors import ReverieError
from reverie.scale import Scale, Span, kind_of

if TYPE_CHECKING:
    from PIL import Image

# Formats that Pillow may decode. Not all of its formats: some run programs (EPS starts Ghostscript).
FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA", "ICO", "PCX"),
    *("QOI", "SGI", "DDS"),
)
SUBFILE, SAMPLES = 254, 277  # TIFF tags: the type of a page (NewSubfileType), and the samples per pixel
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # TIFF tag: the photometric interpretation, and one of its values
REDUCED_OR_MASK = 5  # bits of SUBFILE: the page is a preview of another one, or its transparency mask
DEEP_COLOURS = frozenset(f"{mode};16{order}" for mode in ("RGB", "RGBA") for order in "BLN")
COMMON = (b"\xff\xd8\xff", b"\x89PN")  # first bytes of a JPEG and of a PNG
_raising = threading.Lock()


class Unreadable(ReverieError):
    """A file that cannot be read as a picture. The message is the reason in the list of unreadable files."""


@dataclass(frozen=True)
class Raw:
    """An upright picture with the values of its file."""

    values: NDArray[Any]  # (C, H, W), in the file's type; without alpha if the file declares it
    alpha: NDArray[np.float32] | None  # (1, H, W) in [0, 1], 0 is transparent
    mode: str  # a name for the user
    pages: int = 1  # pictures in the file

    @property
    def bits(self) -> int:
        """Bit depth of a value in the file."""
        return int(self.values.dtype.itemsize) * 8

    @property
    def span(self) -> Span:
        """The smallest and the largest value. Raises Unreadable if they are not finite."""
        low, high = float(self.values.min()), float(self.values.max())
        if not (abs(low) < np.inf and abs(high) < np.inf):
            raise Unreadable(f"values from {low:g} to {high:g}; only finite numbers are understood")
        return low, high


# Files that Pillow reads


def opened(data: bytes, most: int = 0) -> Image.Image:
    """The picture, with only its header read. Raises Unreadable if it is not a picture or has too many pixels.

    The limit is Pillow's or ``most``, whichever is larger.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Unreadable("the file is empty")
    try:
        with _limit(most) as limit:
            image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError as why:  # its message holds a memory address
        raise Unreadable("not a picture, or of a format that cannot be read") from why
    except Image.DecompressionBombError as why:  # above twice the limit, Pillow does not report the size
        raise Unreadable(f"more than twice as many pixels as the limit of {limit}") from why
    if limit is not None and image.width * image.height > limit:
        raise Unreadable(f"{image.width} x {image.height} pixels are more than the limit of {limit}")
    return image


@contextmanager
def _limit(most: int) -> Iterator[int | None]:
    """Yield Pillow's limit of pixels (None: no limit), raised to ``most`` inside the block."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or limit >= most:
        yield limit
        return
    with _raising:  # the limit is global, for all threads
        limit = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = most
        try:
            yield most
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)  # Pillow can be built without some


def damage(why: Exception) -> str:
    """The reason for `Unreadable`, from an error of Pillow or numpy."""
    text = " ".join(str(why).split())
    return f"damaged: {text or type(why).__name__}"


def depth(image: Image.Image) -> int:
    """Bit depth of a value in the file, before it is loaded: 1, 8 or 16."""
    if image.mode == "1":
        return 1
    return 16 if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) else 8


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow gives more than 8 bits, which it does only for greyscale pictures."""
    return image.mode.startswith("I") or image.mode == "F"


def deep_values(image: Image.Image) -> NDArray[Any]:
    """The values (H, W) of an `is_deep` picture: uint16 if that holds all integers, else int32; or floats."""
    values = np.asarray(image)
    if image.mode == "I" and values.size and values.min() >= 0 and values.max() <= 65535:
        values = values.astype(np.uint16)  # how older Pillows open a PNG of 16 bits
    if values.dtype.kind == "u" and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = 65535 - values  # Pillow does this only for 8 bits
    return plain(values)


def opaque(image: Image.Image, values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """A mask (H, W), True where a picture with these `deep_values` is opaque; None if no value is transparent."""
    clear = image.info.get("transparency")
    return np.asarray(values != clear) if isinstance(clear, int) else None


def pages_of(image: Image.Image) -> tuple[int, ...]:
    """The page numbers of the pictures in a TIFF, without previews and masks; (0,) for other formats."""
    if image.format != "TIFF":
        return (0,)
    from PIL.TiffImagePlugin import TiffImageFile

    if not isinstance(image, TiffImageFile) or image.n_frames == 1:
        return (0,)
    pages = []
    for page in range(image.n_frames):
        image.seek(page)
        if not image.tag_v2.get(SUBFILE, 0) & REDUCED_OR_MASK:
            pages.append(page)
    image.seek(0)
    return tuple(pages) or (0,)


def deep_colour(image: Image.Image) -> bool:
    """Whether a picture has 16-bit colour: Pillow decodes 8 bits, and `read_deep` gets the others from it."""
    return _raw_mode(image) in DEEP_COLOURS


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", ())
    if not tiles:
        return ""
    args = tiles[0][3]
    return str(args[0] if isinstance(args, tuple) else args)


def read_deep(image: Image.Image, data: bytes) -> Raw:
    """Read the current page of a picture that `is_deep` or has `deep_colour`."""
    from PIL import ImageOps

    if not deep_colour(image):
        mode = image.mode
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        values = deep_values(image)
        seen = opaque(image, values)
        return Raw(values[None], None if seen is None else seen.astype(np.float32)[None], mode)
    # Pillow's unpackers keep the first ("B") or the second ("L") byte of each value: the file is decoded twice.
    name, order = _raw_mode(image)[:-1], _raw_mode(image)[-1]
    big = order == "B" or (order == "N" and sys.byteorder == "big")
    halves = [_unpacked(image, data, name + which) for which in ("BL" if big else "LB")]
    array = (halves[0].astype(np.uint16) << 8 | halves[1]).transpose(2, 0, 1)
    alpha = array[3:].astype(np.float32) / np.float32(65535) if len(array) == 4 else None
    return Raw(np.ascontiguousarray(array[:3]), alpha, f"{image.mode};16")


def _unpacked(image: Image.Image, data: bytes, raw_mode: str) -> NDArray[np.uint8]:
    """The upright pixels (H, W, C) as decoded by the unpacker of Pillow with that raw mode."""
    from PIL import ImageFile, ImageOps

    again: Any = opened(data, image.width * image.height)
    again.seek(image.tell())
    tile: Any = getattr(ImageFile, "_Tile", lambda *parts: parts)  # a plain tuple in Pillow before 11.1
    again.tile = [
        tile(codec, box, offset, (raw_mode, *args[1:]) if isinstance(args, tuple) else raw_mode)
        for codec, box, offset, args in again.tile
    ]
    again.load()
    ImageOps.exif_transpose(again, in_place=True)
    return np.asarray(again)


# Files that Pillow does not read


@dataclass(frozen=True)
class Decoder:
    """A reader of a file format, other than Pillow."""

    knows: Callable[[bytes], bool]
    needs: str  # import name of a package of the extra `formats`; "" if none is needed
    read: Callable[[bytes, int, int], Raw]  # read(data, page, channels of the model or 0)


def read_foreign(data: bytes, page: int = 0, channels: int = 0) -> Raw | None:
    """The picture of a file that one of `DECODERS` reads; None if Pillow is to read it. Raises Unreadable."""
    if data[:3] in COMMON:
        return None
    for decoder in DECODERS:
        if decoder.knows(data):
            if decoder.needs and find_spec(decoder.needs) is None:
                raise Unreadable(f"needs {decoder.needs.replace('_', '-')}: pip install 'reverie[formats]'")
            return decoder.read(data, page, channels)
    return None


def _npy(data: bytes, page: int, channels: int) -> Raw:
    array: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    if array.dtype.kind not in "buif":
        raise Unreadable(f"an array of type {array.dtype}; only numbers are understood")
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or 0 in array.shape:
        raise Unreadable(f"an array of shape {array.shape}; expected is (C, H, W), (H, W, C) or (H, W)")
    usual = ((channels,) if channels > 4 else (), range(1, MOST_CHANNELS + 1), (1, 3, 4))
    first = next((len(array) in some for some in usual if (len(array) in some) != (array.shape[2] in some)), True)
    array = array if first else array.transpose(2, 0, 1)  # if ambiguous, (C, H, W), which reverie writes
    if len(array) > MOST_CHANNELS:
        raise Unreadable(f"an array of shape {array.shape}; no axis holds 1 to {MOST_CHANNELS} channels")
    return Raw(plain(array), None, f"npy {array.dtype}")


def plain(array: NDArray[Any]) -> NDArray[Any]:
    """The array in native byte order; True and False become 255 and 0."""
    if array.dtype.kind == "b":
        return np.where(array, np.uint8(255), np.uint8(0))
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _tiff(data: bytes, page: int, channels: int) -> Raw:
    import tifffile
    from PIL import Image

    with tifffile.TiffFile(io.BytesIO(data)) as file:
        pages = [one for one in file.pages if not int(getattr(one, "subfiletype", 0)) & REDUCED_OR_MASK]
        chosen: Any = pages[page]
        height, width = chosen.imagelength, chosen.imagewidth
        most = Image.MAX_IMAGE_PIXELS
        if most is not None and height * width > most:
            raise Unreadable(f"{width} x {height} pixels are more than the limit of {most}")
        array = chosen.asarray()
        axes, extra = chosen.axes, tuple(chosen.extrasamples)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1) if axes.endswith("S") else array
    if array.ndim != 3 or len(array) > MOST_CHANNELS:
        raise Unreadable(f"a TIFF of shape {array.shape} ({axes}); at most {MOST_CHANNELS} channels are understood")
    if array.dtype.kind not in "buif":
        raise Unreadable(f"values of type {array.dtype}; only real numbers are understood")
    array, alpha = plain(array), None
    if len(array) in (2, 4) and len(extra) == 1 and int(extra[0]) in (1, 2):  # associated or unassociated alpha
        array, alpha = array[:-1], Scale(kind=kind_of(array), high=_white(array)).unit(array[-1:])
    return Raw(np.ascontiguousarray(array), alpha, f"tiff {array.dtype}", len(pages))


def _white(array: NDArray[Any]) -> float:
    return 1.0 if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max)


def _heif(data: bytes, page: int, channels: int) -> Raw:
    import pillow_heif

    # Already upright; values of 10 and 12 bits are in the upper bits of 16.
    file = pillow_heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=False)
    array = np.asarray(file)
    array = array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
    alpha = None
    if len(array) in (2, 4):
        array, alpha = array[:-1], array[-1:].astype(np.float32) / np.float32(_white(array))
    return Raw(np.ascontiguousarray(array), alpha, f"heif {file.mode}")


def _dicom(data: bytes, page: int, channels: int) -> Raw:
    """Values are rescaled as the file says (CT: Hounsfield units); its window is not applied: use data.range."""
    import pydicom
    from pydicom.pixels.processing import apply_rescale

    file = pydicom.dcmread(io.BytesIO(data))
    frames = int(file.get("NumberOfFrames", 1) or 1)
    array = file.pixel_array if frames == 1 else file.pixel_array[page]
    array = np.asarray(array)
    if file.PhotometricInterpretation == "MONOCHROME1":  # the smallest value is white
        array = 2 ** int(file.BitsStored) - 1 - array.astype(np.int32)
    scaled = np.asarray(apply_rescale(array, file))
    if scaled.dtype.kind == "f" and (scaled == np.rint(scaled)).all() and abs(scaled).max() < 2**31:
        scaled = scaled.astype(np.int32)
    return Raw(scaled[None] if scaled.ndim == 2 else scaled.transpose(2, 0, 1), None, f"dicom {array.dtype}", frames)


def _beyond_pillow(data: bytes) -> bool:
    """Whether a TIFF has a type of values or channels that Pillow cannot open, or would drop."""
    from PIL import Image

    if data[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return False
    try:
        with _limit(0), Image.open(io.BytesIO(data), formats=("TIFF",)) as image:
            return int(image.tag_v2.get(SAMPLES, 1)) > 4  # type: ignore[attr-defined]
    except Image.DecompressionBombError:
        return False
    except Exception:  # Pillow raises many types of errors
        return True


DECODERS = (
    Decoder(lambda data: data.startswith(b"\x93NUMPY"), "", _npy),
    Decoder(lambda data: data[128:132] == b"DICM", "pydicom", _dicom),
    Decoder(lambda data: data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftyphevc"), "pillow_heif", _heif),
    Decoder(_beyond_pillow, "tifffile", _tiff),
)
