"""From the bytes of a picture file to (C, H, W) of a target's scale, whatever the file holds; or one reason why not."""

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
Picture = Union[bytes, "Image.Image"]  # its file, or where it is in memory itself, which is not changed
Half = Literal["", "left", "right"]  # of a picture that is two side by side; "" is the whole

ORIENTATION = 0x0112
LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]  # ITU-R 601, as Pillow makes grey of colour


def look(data: Picture, half: Half = "") -> PictureInfo:
    """Reads the header only, where that says enough. Raises Unreadable."""
    try:
        raw = read_foreign(data) if isinstance(data, bytes) else None
        if raw is not None:
            _check_size(raw)
            seen = _seen_raw(raw)
            return replace(seen, width=len(_columns(seen.width, half)), pages=tuple(range(raw.pages)))
        image = _opened(data)
        # PNG may keep EXIF behind the pixels, and asking would decode them all; `decode` sees to that rare case.
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
    except Exception as why:  # Pillow's plugins raise nearly every type there is on files that are broken
        raise Unreadable(damage(why)) from why


def decode(data: Picture, target: TargetFormat, half: Half = "", page: int = 0) -> tuple[Pixels, PictureInfo]:
    """The upright picture or a half of it, fitted to the target, (C, H, W) as its scale stores it. Raises Unreadable.

    A half is cut from the pixels as they are in the file: nothing of the other half gets in. ``page`` is one of the
    file's pictures.
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
    except Exception as why:  # as above
        raise Unreadable(damage(why)) from why


def of_picture(image: Image.Image) -> Pixels:
    """(C, H, W), the values of a picture in memory, upright."""
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    return deep_values(image)[None] if is_deep(image) else pixels(_to_channels(image, _channels(image)))


def _opened(data: Picture) -> Image.Image:
    return opened(data) if isinstance(data, bytes) else data.copy()


def _from_bytes(image: Image.Image, target: TargetFormat, half: Half) -> tuple[Pixels, PictureInfo]:
    """A picture of 8 bits, kept as a picture of Pillow's all the way where the target has 8 bits too."""
    from PIL import ImageOps

    whole, bits, remark = image.size, depth(image), _remark(image)
    # A large photo is decoded at a fraction of its size, at least twice the target; that would blur a seam.
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
    clear = target.scale == PLAIN and made.max() > 4 * SMALL_BYTES  # only pixels so light make such of them
    span = BYTES if clear and cut.mode in ("L", "RGB") else _span(cut)
    return made, PictureInfo(mode, channels, height, len(columns), bits, span=span, remark=remark)


def _remark(image: Image.Image) -> str:
    """What of a file is passed over, as people must know."""
    if image.format != "TIFF" and getattr(image, "is_animated", False):
        return "animated: of each the first picture is taken"
    profile = image.info.get("icc_profile") or b""
    plain = profile.replace(b"\0", b"")  # newer profiles are named in two bytes a letter
    if profile[16:20] == b"RGB " and not any(name in plain for name in (b"sRGB", b"IEC61966")):
        return "with a colour profile other than sRGB: their numbers are taken as they are"
    return ""


def _stretched(image: Image.Image, scale: Scale) -> Image.Image:
    """The picture with its colours, not its alpha, from black to white."""
    if scale.span("byte") == BYTES:
        return image
    table = scale.stored(scale.unit(np.arange(256, dtype=np.uint8))).tolist()
    alpha = image.mode in ("LA", "RGBA")
    colours = len(image.getbands()) - alpha
    return image.point(table * colours + list(range(256)) * alpha)


def _span(image: Image.Image) -> Span:
    """The least and greatest value of the colours of a picture."""
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
    """(C, H, W) in [0, 1] fitted and stored."""
    if picture.shape != target.shape:
        picture = np.stack([_fitted(channel, target) for channel in picture])
    return np.ascontiguousarray(target.scale.stored(picture))


def _fitted(channel: Unit, target: TargetFormat) -> Unit:
    from PIL import Image

    return np.asarray(_fit(Image.fromarray(channel), target), np.float32)


def _parted(array: NDArray[Any], scale: Scale) -> Unit:
    """Bytes (C, H, W) in [0, 1]: the colours by the scale, alpha, the last of two or four, by its type."""
    unit = scale.unit(array)
    if len(array) in (2, 4):
        unit[-1] = array[-1] / np.float32(255)
    return unit


def composed(colour: Unit, alpha: Unit | None, channels: int) -> Unit:
    """Colours (C, H, W) and alpha (1, H, W) in [0, 1] as so many channels. Raises Unreadable.

    Alpha that is not wanted lets white shine through; missing alpha is opaque. Without ``alpha``, of two or four
    channels that shall become others the last is taken for it. Other numbers must be the picture's own.
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
    """A (C, H, W) array of a file's values fitted to the target, as its scale stores them.

    Channel counts that no picture format has must equal the target's.
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
    """(C, H, W) of any type as large as the target says; its values stay between the least and the greatest."""
    if picture.shape[1:] == target.shape[1:]:
        return picture
    made = np.stack([_fitted(channel.astype(np.float32), target) for channel in picture])
    made = made.astype(np.float64).clip(picture.min(), picture.max())
    return np.asarray(made if picture.dtype.kind == "f" else np.rint(made), picture.dtype)


def fitted(pictures: Pixels, target: TargetFormat) -> Pixels:
    """`refit` of (n, C, H, W)."""
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
    """Where a half of a picture lies."""
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
    """In the mode of that many channels. Alpha that is not wanted lets white shine through; missing alpha is opaque."""
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
    if image.size == wanted:  # untouched, pixel for pixel
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
