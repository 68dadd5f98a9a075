"""Decode picture files to arrays (C, H, W) in a target format, or raise `Unreadable` with the reason.

A target (`reverie.data.target_format.TargetFormat`) is the format that all pictures of a data set are converted to:
channels, height, width, how a picture is fitted to that size, and the `Scale` of its stored values.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, Union

import numpy as np
from numpy.typing import NDArray

from reverie.data.formats import (
    Raw,
    Unreadable,
    damage,
    deep_colour,
    deep_values,
    depth,
    is_deep,
    opened,
    pages_of,
    read_deep,
    read_foreign,
)
from reverie.data.target_format import BYTES, MODES, PictureInfo, TargetFormat
from reverie.scale import PLAIN, SMALL_BYTES, Kind, Scale, Span, kind_of

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[Any]  # uint8, uint16, or float32 in [0, 1]: see `reverie.scale`
Unit = NDArray[np.float32]  # in [0, 1]
Picture = Union[bytes, "Image.Image"]  # the bytes of its file, or a picture in memory, which is not changed
Half = Literal["", "left", "right"]  # half of a picture with a pair side by side; "" is the whole

ORIENTATION = 0x0112
LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]  # ITU-R 601, as Pillow converts colour to grey


def look(data: Picture, half: Half = "") -> PictureInfo:
    """The shape, kind and range of a picture, from its header if that is enough. Raises Unreadable."""
    try:
        raw = read_foreign(data) if isinstance(data, bytes) else None
        if raw is not None:
            _check_size(raw)
            seen = _seen_raw(raw)
            return replace(seen, width=len(_columns(seen.width, half)), pages=tuple(range(raw.pages)))
        image = _opened(data)
        # In a PNG, EXIF may follow the pixels, and reading it would decode them; `decode` handles that rare case.
        asks = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        turned = asks and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
        width, height = image.size[::-1] if turned else image.size
        deep, pages = deep_colour(image), pages_of(image)
        kind: Kind = "float" if image.mode == "F" else "integer" if deep or is_deep(image) else "byte"
        mode, span = f"{image.mode};16" if deep else image.mode, BYTES if kind == "byte" else None
        columns = len(_columns(width, half))
        return PictureInfo(mode, _channels(image), height, columns, depth(image), kind, span, pages)
    except Unreadable:
        raise
    except Exception as why:  # Pillow's plugins raise many types of errors on damaged files
        raise Unreadable(damage(why)) from why


def decode(data: Picture, target: TargetFormat, half: Half = "", page: int = 0) -> tuple[Pixels, PictureInfo]:
    """The picture, upright, or a half of it, in the target format: (C, H, W), and its `PictureInfo`. Raises Unreadable.

    A half is cut out before resizing, so that no pixel of the other half is mixed in. ``page`` is the number of a
    picture in the file.
    """
    try:
        raw = read_foreign(data, page) if isinstance(data, bytes) else None
        if raw is not None:
            _check_size(raw)
            return _from_raw(raw, target, half)
        image = _opened(data)
        if page:
            image.seek(page)
        if is_deep(image) or deep_colour(image):
            return _from_raw(read_deep(image, data if isinstance(data, bytes) else b""), target, half)
        return _from_bytes(image, target, half)
    except Unreadable:
        raise
    except Exception as why:  # as in `look`
        raise Unreadable(damage(why)) from why


def of_picture(image: Image.Image) -> Pixels:
    """The values of a picture in memory, (C, H, W), upright."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    return deep_values(image)[None] if is_deep(image) else pixels(_to_channels(image, _channels(image)))


def _opened(data: Picture) -> Image.Image:
    return opened(data) if isinstance(data, bytes) else data.copy()


def _from_bytes(image: Image.Image, target: TargetFormat, half: Half) -> tuple[Pixels, PictureInfo]:
    """Convert a picture of 8 bits, by Pillow alone if the target has 8 bits too."""
    from PIL import ImageOps

    whole, bits, remark = image.size, depth(image), _remark(image)
    # A large JPEG is decoded at a fraction of its size, at least twice the target; not a half: it would blur the seam.
    if image.format == "JPEG" and not half:
        image.draft(None, (2 * max(target.height, target.width),) * 2)
    image.load()
    drafted = image.size != whole
    turned = drafted and image.getexif().get(ORIENTATION, 1) in (5, 6, 7, 8)
    ImageOps.exif_transpose(image, in_place=True)
    width, height = (whole[::-1] if turned else whole) if drafted else image.size
    columns = _columns(width, half)
    cut = image.crop((columns.start, 0, columns.stop, height)) if half else image
    mode, channels = image.mode, _channels(cut)
    cut = _to_channels(cut, target.channels)
    if target.scale.depth == 8:
        made = pixels(_fit(_stretched(cut, target.scale), target))
    else:
        array = pixels(cut)
        made = _kept(_parted(array, target.scale), target)
    clear = target.scale == PLAIN and made.max() > 4 * SMALL_BYTES  # so bright a result needs pixels that bright
    span = BYTES if clear and cut.mode in ("L", "RGB") else _span(cut)
    return made, PictureInfo(mode, channels, height, len(columns), bits, span=span, remark=remark)


def _remark(image: Image.Image) -> str:
    """A note for the user on what of a file is ignored."""
    if image.format != "TIFF" and getattr(image, "is_animated", False):
        return "animated: of each the first picture is taken"
    profile = image.info.get("icc_profile") or b""
    plain = profile.replace(b"\0", b"")  # newer profiles use two bytes a letter in their names
    if profile[16:20] == b"RGB " and not any(name in plain for name in (b"sRGB", b"IEC61966")):
        return "with a colour profile other than sRGB: their numbers are taken as they are"
    return ""


def _stretched(image: Image.Image, scale: Scale) -> Image.Image:
    """The picture with its colours, but not its alpha, scaled to 0 .. 255."""
    if scale.span("byte") == BYTES:
        return image
    table = scale.stored(scale.unit(np.arange(256, dtype=np.uint8))).tolist()
    alpha = image.mode in ("LA", "RGBA")
    colours = len(image.getbands()) - alpha
    return image.point(table * colours + list(range(256)) * alpha)


def _span(image: Image.Image) -> Span:
    """The smallest and largest value of the colours of a picture, without alpha."""
    extrema = image.getextrema()
    bands: Any = extrema if isinstance(extrema[0], tuple) else (extrema,)
    colours = bands[: len(bands) - (image.mode in ("LA", "RGBA"))]
    return float(min(low for low, _ in colours)), float(max(high for _, high in colours))


def _from_raw(raw: Raw, target: TargetFormat, half: Half) -> tuple[Pixels, PictureInfo]:
    columns = _columns(raw.values.shape[2], half)
    part = slice(columns.start, columns.stop)
    cut = replace(raw, values=raw.values[:, :, part], alpha=None if raw.alpha is None else raw.alpha[:, :, part])
    unit = composed(target.scale.unit(cut.values), cut.alpha, target.channels)
    return _kept(unit, target), replace(_seen_raw(cut), span=cut.span)


def _kept(picture: Unit, target: TargetFormat) -> Pixels:
    """(C, H, W) in [0, 1], fitted to the target and converted to stored values."""
    if picture.shape != target.shape:
        picture = np.stack([_fitted(channel, target) for channel in picture])
    return np.ascontiguousarray(target.scale.stored(picture))


def _fitted(channel: Unit, target: TargetFormat) -> Unit:
    from PIL import Image

    return np.asarray(_fit(Image.fromarray(channel), target), np.float32)


def _parted(array: NDArray[Any], scale: Scale) -> Unit:
    """Bytes (C, H, W) as [0, 1]: colours by the scale, alpha (the last of two or four channels) divided by 255."""
    unit = scale.unit(array)
    if len(array) in (2, 4):
        unit[-1] = array[-1] / np.float32(255)
    return unit


def composed(colour: Unit, alpha: Unit | None, channels: int) -> Unit:
    """Convert colours (C, H, W) and alpha (1, H, W) in [0, 1] to ``channels``. Raises Unreadable.

    For 1 and 3 channels alpha is composited over white; for 2 and 4, missing alpha is opaque. Without ``alpha``, the
    last of two or four channels that must be converted is taken as alpha. Other numbers of channels are not converted.
    """
    if alpha is None and len(colour) == channels:
        return colour
    if alpha is None and len(colour) in (2, 4):
        colour, alpha = colour[:-1], colour[-1:]
    if channels not in MODES or len(colour) not in (1, 3):
        raise Unreadable(f"a picture of {len(colour)} channels, where {channels} are asked for")
    if alpha is not None and channels in (1, 3):
        colour = colour * alpha + (1 - alpha)
    if len(colour) == 3 and channels < 3:
        grey = (colour == colour[:1]).all()
        colour = colour[:1] if grey else (colour * LUMA).sum(0, keepdims=True)
    elif len(colour) == 1 and channels >= 3:
        colour = colour.repeat(3, 0)
    if channels in (2, 4):
        colour = np.concatenate([colour, np.ones_like(colour[:1]) if alpha is None else alpha])
    return colour


def refit(picture: Pixels, target: TargetFormat) -> Pixels:
    """Convert values of a file (C, H, W) to the target format.

    Numbers of channels other than 1 to 4 must equal the target's.
    """
    from PIL import Image

    if picture.dtype != np.uint8 or target.scale != PLAIN:
        return _kept(composed(target.scale.unit(picture), None, target.channels), target)
    if picture.shape == target.shape:
        return picture
    if len(picture) in MODES and target.channels in MODES:
        image = Image.fromarray(
            np.ascontiguousarray(picture.transpose(1, 2, 0)).squeeze(2 if len(picture) == 1 else ())
        )
        return pixels(_fit(_to_channels(image, target.channels), target))
    single = TargetFormat(1, target.height, target.width, target.fit)
    return np.concatenate([refit(channel[None], single) for channel in picture])


def resized(picture: Pixels, target: TargetFormat) -> Pixels:
    """Resize (C, H, W) of any type to the target's height and width; values stay within their old range."""
    if picture.shape[1:] == target.shape[1:]:
        return picture
    made = np.stack([_fitted(channel.astype(np.float32), target) for channel in picture])
    made = made.astype(np.float64).clip(picture.min(), picture.max())
    return np.asarray(made if picture.dtype.kind == "f" else np.rint(made), picture.dtype)


def fitted(pictures: Pixels, target: TargetFormat) -> Pixels:
    """`refit` for a batch (n, C, H, W)."""
    if pictures.shape[1:] != target.shape and len(pictures):
        return np.stack([refit(picture, target) for picture in pictures])
    if pictures.dtype == np.uint8 and target.scale == PLAIN:
        return pictures
    return target.scale.stored(target.scale.unit(pictures))


def _check_size(raw: Raw) -> None:
    from PIL import Image

    _, height, width = raw.values.shape
    if Image.MAX_IMAGE_PIXELS is not None and height * width > Image.MAX_IMAGE_PIXELS:
        raise Unreadable(f"{width} x {height} pixels are more than the limit of {Image.MAX_IMAGE_PIXELS}")


def pixels(image: Image.Image) -> Pixels:
    """(C, H, W) of a picture in one of the modes L, LA, RGB, RGBA."""
    array = np.asarray(image, np.uint8)
    return np.ascontiguousarray(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _columns(width: int, half: Half) -> range:
    """The columns of a half of a picture. Raises Unreadable if the width is odd."""
    if half and width % 2:
        raise Unreadable(f"{width} pixels wide, and only an even width has two halves")
    return range(width // 2 if half == "right" else 0, width // 2 if half == "left" else width)


def _channels(image: Image.Image) -> int:
    grey = image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")
    return (1 if grey else 3) + image.has_transparency_data


def _seen_raw(raw: Raw) -> PictureInfo:
    channels, height, width = raw.values.shape
    channels += raw.alpha is not None
    return PictureInfo(raw.mode, channels, height, width, raw.bits, kind_of(raw.values), None)


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    """Convert to that many channels: alpha that is not needed is composited over white, missing alpha is opaque."""
    from PIL import Image

    alpha = image.has_transparency_data
    if alpha and channels in (1, 3):
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over).convert("RGB")
    elif image.mode not in MODES.values():
        image = image.convert("RGBA" if alpha else "L" if image.mode == "1" else "RGB")
    return (
        image if image.mode == MODES[channels] and "transparency" not in image.info else image.convert(MODES[channels])
    )


def _fit(image: Image.Image, target: TargetFormat) -> Image.Image:
    from PIL import Image

    wanted = (target.width, target.height)
    if image.size == wanted:  # pixels stay unchanged
        return image
    if target.fit == "stretch":
        return image.resize(wanted, Image.Resampling.LANCZOS)
    ratios = target.width / image.width, target.height / image.height
    if target.fit == "crop":
        scale = max(ratios)
        width, height = target.width / scale, target.height / scale
        left, top = (image.width - width) / 2, (image.height - height) / 2
        box = (max(left, 0), max(top, 0), min(left + width, image.width), min(top + height, image.height))
        return image.resize(wanted, Image.Resampling.LANCZOS, box=box)
    scale = min(ratios)
    inner = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    canvas = Image.new(image.mode, wanted)
    canvas.paste(
        image.resize(inner, Image.Resampling.LANCZOS), ((wanted[0] - inner[0]) // 2, (wanted[1] - inner[1]) // 2)
    )
    return canvas
