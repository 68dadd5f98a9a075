"""From the bytes of a picture file to uint8 (C, H, W), whatever the file holds; or one reason why not."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reverie.errors import ReverieError

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]
Half = Literal["", "left", "right"]  # of a picture that is two side by side; "" is the whole

# What Pillow decodes by itself. A closed list: some of its other formats run programs (EPS starts Ghostscript).
FORMATS = (
    *("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "DIB", "TIFF", "PPM", "JPEG2000", "TGA", "ICO", "PCX"),
    *("QOI", "SGI", "DDS"),
)
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
ORIENTATION = 0x0112
_raising = threading.Lock()


class Unreadable(ReverieError):
    """Why a file is no picture; the text goes into the list that the user sees."""


@dataclass(frozen=True)
class Seen:
    """What a file holds, before anything is converted; upright, as its EXIF orientation asks."""

    mode: str
    channels: int
    height: int
    width: int
    bits: int


@dataclass(frozen=True)
class Plan:
    """What every picture is turned into."""

    channels: int
    height: int
    width: int
    fit: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        return self.channels, self.height, self.width


def look(data: bytes, half: Half = "") -> Seen:
    """Reads the header only. Raises Unreadable."""
    try:
        image = opened(data)
        # PNG may keep EXIF behind the pixels, and asking would decode them all; `decode` sees to that rare case.
        asks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        seen = _seen(image, turned=asks and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8))
        return replace(seen, width=len(_columns(seen.width, half)))
    except Unreadable:
        raise
    except Exception as why:  # Pillow's plugins raise nearly every type there is on files that are broken
        raise Unreadable(damage(why)) from why


def decode(data: bytes, plan: Plan, half: Half = "") -> tuple[Pixels, Seen]:
    """The upright picture or a half of it, fitted to the plan, uint8 (C, H, W). Raises Unreadable.

    A half is cut from the pixels as they are in the file: nothing of the other half gets in.
    """
    from PIL import ImageOps

    try:
        image = opened(data)
        whole, bits = image.size, depth(image)
        # A large photo is decoded at a fraction of its size, at least twice the target; that would blur a seam.
        if image.format == "JPEG" and not half:
            image.draft(None, (2 * max(plan.height, plan.width),) * 2)
        image.load()
        drafted = image.size != whole
        turned = drafted and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        ImageOps.exif_transpose(image, in_place=True)
        width, height = (whole[::-1] if turned else whole) if drafted else image.size
        columns = _columns(width, half)
        cut = image.crop((columns.start, 0, columns.stop, height)) if half else image
        seen = replace(_seen(cut, turned=False), height=height, width=len(columns), bits=bits)
        return pixels(_fit(_to_channels(cut, plan.channels), plan)), seen
    except Unreadable:
        raise
    except Exception as why:  # as above
        raise Unreadable(damage(why)) from why


def refit(picture: Pixels, plan: Plan) -> Pixels:
    """A (C, H, W) array fitted to the plan; channel counts that no picture format has must equal the plan's."""
    from PIL import Image

    if picture.shape == plan.shape:
        return picture
    if len(picture) in MODES and plan.channels in MODES:
        image = Image.fromarray(
            np.ascontiguousarray(picture.transpose(1, 2, 0)).squeeze(2 if len(picture) == 1 else ())
        )
        return pixels(_fit(_to_channels(image, plan.channels), plan))
    single = Plan(1, plan.height, plan.width, plan.fit)
    return np.concatenate([refit(channel[None], single) for channel in picture])


def pixels(image: Image.Image) -> Pixels:
    """(C, H, W) of a picture in one of the modes L, LA, RGB, RGBA."""
    array = np.asarray(image, np.uint8)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def encode(picture: Pixels) -> bytes:
    """A PNG of (C, H, W), C from 1 to 4."""
    from PIL import Image

    buffer = io.BytesIO()
    array = np.ascontiguousarray(picture.transpose(1, 2, 0))
    Image.fromarray(array[:, :, 0] if len(picture) == 1 else array).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def opened(data: bytes, most: int = 0) -> Image.Image:
    """The picture by its header, its pixels not yet read; Unreadable where it is none, or larger than the limit.

    The limit is Pillow's, or ``most`` pixels where that is more.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise Unreadable("the file is empty")
    try:
        with _limit(most) as limit:
            image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError as why:  # its own text holds a memory address
        raise Unreadable("not a picture, or of a format that cannot be read") from why
    except Image.DecompressionBombError as why:  # above twice its limit Pillow does not say what it found
        raise Unreadable(f"more than twice as many pixels as the limit of {limit}") from why
    if limit is not None and image.width * image.height > limit:
        raise Unreadable(f"{image.width} x {image.height} pixels are more than the limit of {limit}")
    return image


@contextmanager
def _limit(most: int) -> Iterator[int | None]:
    """Pillow's limit of pixels (None: none), raised to ``most`` for as long as it takes to read a header."""
    from PIL import Image

    limit = Image.MAX_IMAGE_PIXELS
    if limit is None or limit >= most:
        yield limit
        return
    with _raising:  # Pillow's is one for all threads
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
    """What Pillow or numpy said of a file, as a reason to give."""
    text = " ".join(str(why).split())
    return f"damaged: {text or type(why).__name__}"


def _columns(width: int, half: Half) -> range:
    """Where a half of a picture lies."""
    if half and width % 2:
        raise Unreadable(f"{width} pixels wide, and only an even width has two halves")
    return range(width // 2 if half == "right" else 0, width // 2 if half == "left" else width)


def depth(image: Image.Image) -> int:
    """Bits of a value in the file, before it is loaded: 1, 8 or 16."""
    if image.mode == "1":
        return 1
    return 16 if image.mode.startswith("I") or any(";16" in str(tile[3]) for tile in getattr(image, "tile", ())) else 8


def _seen(image: Image.Image, turned: bool) -> Seen:
    alpha = image.has_transparency_data
    grey = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
    width, height = image.size[::-1] if turned else image.size
    return Seen(image.mode, (1 if grey else 3) + alpha, height, width, depth(image))


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    """In the mode of that many channels. Alpha that is not wanted lets white shine through; missing alpha is opaque."""
    from PIL import Image

    if is_deep(image):
        values = deep_values(image)
        seen = opaque(image, values)
        image = Image.fromarray(to_bytes(values))
        if seen is not None:
            image.putalpha(Image.fromarray(to_bytes(seen)))
    alpha = image.has_transparency_data
    if alpha and channels in (1, 3):
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over).convert("RGB")
    elif image.mode not in MODES.values():
        image = image.convert("RGBA" if alpha else "L" if image.mode == "1" else "RGB")
    return (
        image if image.mode == MODES[channels] and "transparency" not in image.info else image.convert(MODES[channels])
    )


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow gives more than 8 bits, which it does for grey alone."""
    return image.mode.startswith("I") or image.mode == "F"


def deep_values(image: Image.Image) -> NDArray[Any]:
    """(H, W) of a picture of which `is_deep` holds, uint16 or floats. Raises Unreadable for larger integers."""
    values = np.asarray(image)
    if image.mode == "I":  # how older Pillows open a PNG of 16 bits
        if values.min() < 0 or values.max() > 65535:
            raise Unreadable(f"integers from {values.min()} to {values.max()}; only 8 and 16 bits are understood")
        values = values.astype(np.uint16)
    return values


def opaque(image: Image.Image, values: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Where something is seen, (H, W), in a picture of these `deep_values` one of which it declares to be clear."""
    clear = image.info.get("transparency")
    return np.asarray(values != clear) if isinstance(clear, int) else None


def to_bytes(values: NDArray[Any]) -> Pixels:
    """Values of any depth as uint8: 16 bits divided by 257, floats in [0, 1] times 255, booleans as 0 or 255.

    Raises Unreadable where the range is anyone's guess.
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
    if array.dtype.kind != "f":  # 0 .. 255 in wider integers may be meant as 8 bits or be nearly black
        raise Unreadable(f"values of type {array.dtype}; only uint8, uint16, floats and booleans are understood")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 1):  # not a number fails both
        raise Unreadable(f"floats from {low:.4g} to {high:.4g}; only [0, 1] is understood")
    return np.asarray(np.rint(array.astype(np.float32) * np.float32(255)), np.uint8)


def _fit(image: Image.Image, plan: Plan) -> Image.Image:
    from PIL import Image

    target = (plan.width, plan.height)
    if image.size == target:  # untouched, pixel for pixel
        return image
    if plan.fit == "stretch":
        return image.resize(target, Image.Resampling.LANCZOS)
    ratios = plan.width / image.width, plan.height / image.height
    if plan.fit == "crop":
        scale = max(ratios)
        width, height = plan.width / scale, plan.height / scale
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (max(left, 0), max(top, 0), min(left + width, image.width), min(top + height, image.height))
        return image.resize(target, Image.Resampling.LANCZOS, box=box)
    scale = min(ratios)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new(image.mode, target)
    canvas.paste(
        image.resize(inner, Image.Resampling.LANCZOS), ((target[0] - inner[0]) // 2, (target[1] - inner[1]) // 2)
    )
    return canvas
